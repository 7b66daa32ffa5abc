"""What a message says, early or late: how things stand, and nothing that others should not read."""

from __future__ import annotations

import datetime as dt
import re
import smtplib
from collections import Counter
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import icalendar
import pytest
import sqlalchemy as sa

from intake_plugin.journeys import access, changing, feeds, review
from intake_plugin.journeys.review import Ruling
from intake_plugin.records import audit
from intake_plugin.records.tables import AT_HOME, AuditEntry, Feed, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import BORN, NOW, Desk
from tests.journeys.mailing import (
    DAY,
    HOUR,
    MINUTE,
    SITE,
    Mailbag,
    calendar_of,
    move_last,
    on_tuesday,
    rows,
    sessions,
    text_of,
    with_mail,
)

MakeDesk = Callable[..., Desk]
ROOT = Path(__file__).parents[2]
BUSY = smtplib.SMTPRecipientsRefused({"pat@example.com": (451, b"4.3.0 pat@example.com: later")})
UNKNOWN = smtplib.SMTPRecipientsRefused({"pat@example.com": (550, b"5.1.1 pat@example.com: unknown")})
DOWN = ConnectionRefusedError("nobody there")


def sequences(message: EmailMessage) -> dict[str, int]:
    octets = calendar_of(message)
    assert octets is not None
    calendar = icalendar.Calendar.from_ical(octets)
    return {str(event["UID"]): int(str(event["SEQUENCE"])) for event in calendar.walk("VEVENT")}


def test_the_link_and_the_feed_in_a_message_open_what_they_should(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    bag.deliver(desk)
    text = text_of(bag.taken[0])
    link = re.search(rf"{SITE}link/(\S+)", text)
    feed = re.search(rf"{SITE}cal/(\S+)\.ics", text)
    assert link is not None
    assert feed is not None
    assert f"webcal://clinic.example/book/cal/{feed[1]}.ics" in text
    assert access.verify(desk.office, link[1], BORN) is not None
    assert access.verify(desk.office, link[1], BORN + DAY) is None
    found = feeds.find(desk.office, feed[1])
    assert found is not None
    assert found.case_id == case.id
    assert audit.verify(desk.session, desk.office.clinic.id) == ()
    made = desk.session.scalars(sa.select(AuditEntry.action).where(AuditEntry.actor_kind == "system")).all()
    assert list(made) == ["feed made", "link"]


def test_later_messages_bring_no_second_feed(make_desk: MakeDesk) -> None:
    for calendar, first in (("attach", 1), ("invite", 4)):
        desk, bag = with_mail(make_desk, calendar=calendar), Mailbag()
        desk.session.execute(sa.delete(Feed))
        desk.session.commit()
        case = on_tuesday(desk)
        bag.deliver(desk)
        move_last(desk, case)
        bag.deliver(desk)
        texts = [text_of(message) for message in bag.taken]
        assert [f"{SITE}cal/" in text for text in texts] == [True, *[False] * first]
        assert "17 March 2026" in texts[0]
        assert len(desk.session.scalars(sa.select(Feed)).all()) == 1


# What a message says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lead", "line"),
    [
        (MINUTE * 45, "1/4  Tuesday 17 March 2026: start to prepare at 08:15, arrive at 09:00"),
        (
            HOUR * 10,
            "1/4  Tuesday 17 March 2026: arrive at 09:00; start to prepare on Monday 16 March 2026 at 23:00",
        ),
        (None, "1/4  Tuesday 17 March 2026: arrive at 09:00"),
    ],
)
def test_who_prepares_at_home_by_the_clock_is_told_when_and_not_what(
    make_desk: MakeDesk, lead: dt.timedelta | None, line: str
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    first, second, *_ = sessions(desk, case)
    first.cream_where = "clinic" if lead is None else AT_HOME
    first.cream_on_at = first.arrive_at - (lead or -MINUTE)
    desk.session.commit()
    bag.deliver(desk)
    text = text_of(bag.taken[0])
    assert f"\n{line}\n" in text
    # On the other side of a clock change, as the clock shows it then.
    local = second.arrive_at.astimezone(desk.office.clinic.zone)
    assert local.utcoffset() == HOUR
    assert f"\n2/4  {local:%A %-d %B %Y}: arrive at {local:%H:%M}\n" in text
    assert not re.search("cream|numb", text)


def test_one_session_is_not_counted(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    only, *others = sessions(desk, case)
    only.count = 1
    for each in others:
        desk.session.delete(each)
    desk.session.commit()
    bag.deliver(desk)
    assert bag.taken[0]["Subject"] == "Your appointment"
    assert text_of(bag.taken[0]).startswith(
        "Your appointment is booked.\n\nTuesday 17 March 2026: arrive at 09:00\n\n"
    )


# What is said when it is said late -------------------------------------------------------------------


def test_a_message_that_leaves_late_tells_no_time_that_has_been_changed(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    old = sessions(desk, case)[3].arrive_at
    bag.errors.append(BUSY)
    bag.deliver(desk)
    new = move_last(desk.at(NOW + MINUTE), case)
    assert bag.deliver(desk, NOW + MINUTE).counts == {"sent": 1}
    assert bag.deliver(desk, NOW + HOUR).counts == {"sent": 1}
    assert [message["Subject"] for message in bag.taken] == [
        "Your appointments have changed",
        "Your appointments",
    ]
    for message in bag.taken:
        assert f"{new:%-d %B %Y}: arrive at" in text_of(message)
        assert f"{old:%-d %B %Y}: arrive at" not in text_of(message)
        assert sequences(message)[sessions(desk, case)[3].id] == 1


def test_an_invitation_that_a_later_one_overtook_is_needless(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, calendar="invite"), Mailbag()
    case = on_tuesday(desk)
    uids = [each.id for each in sessions(desk, case)]
    move_last(desk.at(NOW + MINUTE), case)
    changing.cancel(desk.at(NOW + 2 * MINUTE).office, case, 3)
    found = bag.deliver(desk, NOW + HOUR)
    assert found.counts == {"needless": 2, "sent": 4}
    sent = Counter[tuple[str, str]]()
    for message in bag.taken:
        ((uid, sequence),) = sequences(message).items()
        octets = calendar_of(message) or b""
        method = "CANCEL" if b"\r\nMETHOD:CANCEL\r\n" in octets else "REQUEST"
        sent[uid, f"{method} {sequence}"] += 1
    assert sent == {
        (uids[0], "REQUEST 0"): 1,
        (uids[1], "REQUEST 0"): 1,
        (uids[2], "CANCEL 1"): 1,
        (uids[3], "REQUEST 1"): 1,
    }
    assert {row.content for row in rows(desk)} == {None}


def test_a_series_cancelled_before_it_was_told_is_only_told_as_cancelled(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    for ordinal in (1, 2, 3, 4):
        changing.cancel(desk.office, case, ordinal)
    assert bag.deliver(desk).counts == {"needless": 1, "sent": 4}
    assert {message["Subject"] for message in bag.taken} == {"An appointment has been cancelled"}
    octets = calendar_of(bag.taken[-1])
    assert octets is not None
    # Each session, and its entry "prepare" where there is one.
    assert octets.count(b"STATUS:CANCELLED") == octets.count(b"BEGIN:VEVENT") >= 4


@pytest.mark.parametrize("calendar", ["attach", "invite"])
def test_what_has_passed_is_not_told(make_desk: MakeDesk, calendar: str) -> None:
    desk, bag = with_mail(make_desk, calendar=calendar), Mailbag()
    case = on_tuesday(desk)
    changing.cancel(desk.office, case, 4)
    last = max(each.end_at for each in sessions(desk, case))
    assert set(bag.deliver(desk, last).counts) == {"needless"}
    assert bag.taken == []


def test_a_reminder_of_a_session_that_has_begun_is_needless(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, reminders=["P2D"]), Mailbag()
    case = on_tuesday(desk)
    bag.deliver(desk)
    assert bag.deliver(desk, sessions(desk, case)[0].arrive_at).counts == {"needless": 1}


def test_a_notice_is_needless_once_somebody_has_decided(make_desk: MakeDesk, clinician: Staff) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    waiting, decided = (desk.screened(medicines=("blood_thinner",)) for _ in range(2))
    ruling = Ruling(verdict=Verdict.DECLINE, note="No.", version=decided.version)
    review.decide(desk.office, clinician, decided.reference, ruling)
    assert bag.deliver(desk).counts == {"sent": 2, "needless": 1}
    notice = next(message for message in bag.taken if message["To"] == "inbox@clinic.example")
    assert notice["Subject"] == "Somebody waits for an answer"
    assert f"{SITE}staff/cases/{waiting.reference}" in text_of(notice)
    answer = next(message for message in bag.taken if message is not notice)
    assert answer["Subject"] == "An answer to your request"
    assert text_of(answer).startswith("The clinic has looked at your answers. Open your link.\n")
