"""What is to be told is sent, once and in its present state, whatever the server or the process does."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from intake_plugin.errors import MailRefused
from intake_plugin.journeys import changing, delivery, review, upkeep
from intake_plugin.journeys.intake import Identity
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.writing import Occasion
from intake_plugin.letters import Wording
from intake_plugin.posting import Carrier
from intake_plugin.records import audit, tokens
from intake_plugin.records.outbox import MailKind, MailState, Outgoing
from intake_plugin.records.tables import Case, Feed, Token, TokenPurpose
from intake_plugin.state import Staff
from tests.journeys import mailing
from tests.journeys.conftest import BORN, NOW, Desk
from tests.journeys.mailing import (
    DAY,
    HOUR,
    LONGEST,
    MINUTE,
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


def states(desk: Desk) -> list[MailState]:
    return [row.state for row in rows(desk)]


def test_a_message_is_sent_once_and_what_was_in_it_is_wiped(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    assert bag.deliver(desk, NOW + MINUTE).counts == {"sent": 1}
    assert bag.deliver(desk, NOW + 2 * DAY).counts == {}
    (message,), (row,) = bag.taken, rows(desk)
    assert message["To"] == f"{case.reference.lower()}@example.com"
    assert (row.state, row.ended_at, row.attempts) == (MailState.SENT, NOW + MINUTE, 1)
    assert (row.content, row.lease, row.message_id) == (None, None, message["Message-ID"])
    assert re.fullmatch(r"<[0-9a-f]{32}@clinic\.example>", message["Message-ID"])


def test_what_is_not_due_waits(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, reminders=["P2D"]), Mailbag()
    case = on_tuesday(desk)
    bag.deliver(desk)
    first = sessions(desk, case)[0].arrive_at
    assert bag.deliver(desk, first - 2 * DAY - MINUTE).counts == {}
    assert bag.deliver(desk, first - 2 * DAY).counts == {"sent": 1}
    reminder = bag.taken[-1]
    assert reminder["Subject"] == "Reminder: appointment on Tuesday 17 March 2026"
    assert "Tuesday 17 March 2026: arrive at 09:00" in text_of(reminder)
    assert calendar_of(reminder) is None


def test_a_temporary_refusal_is_tried_again_ever_more_slowly_until_the_clinic_gives_up(
    make_desk: MakeDesk,
) -> None:
    desk = with_mail(make_desk, retry_after="PT2M", retry_most="PT5M", give_up_after="PT30M")
    desk.booked()
    bag, now, waits, seen = Mailbag(), NOW, [], set[str | None]()
    while True:
        bag.errors.append(BUSY)
        found = bag.deliver(desk, now)
        (row,) = rows(desk)
        seen.add(row.message_id)
        if found.given_up:
            break
        assert found.counts == {"later": 1}
        assert (row.state, row.error, row.lease) == (MailState.WAITING, "451 4.3.0", None)
        assert bag.deliver(desk, row.next_at - MINUTE).counts == {}
        waits.append(row.next_at - now)
        now = row.next_at
    assert waits == [2 * MINUTE, 4 * MINUTE, *[5 * MINUTE] * 5]
    assert (row.state, row.attempts, row.ended_at) == (MailState.UNDELIVERABLE, 8, NOW + 31 * MINUTE)
    assert len(seen) == 1
    assert bag.deliver(desk, now + DAY).counts == {}


def test_after_a_refusal_the_same_message_goes_out_with_the_same_links(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    desk.booked()
    tried: list[EmailMessage] = []

    def refuse(message: EmailMessage) -> None:
        tried.append(message)
        raise BUSY

    office = desk.office
    delivery.deliver(lambda: office, Carrier(refuse, LONGEST), mailing.STATIONERY)
    bag = Mailbag()
    bag.deliver(desk, NOW + HOUR)
    first, second = tried[0], bag.taken[0]
    assert first["Message-ID"] == second["Message-ID"]
    assert text_of(first) == text_of(second)
    assert second["Date"].datetime - first["Date"].datetime == HOUR
    links = desk.session.scalars(sa.select(Token).where(Token.purpose == TokenPurpose.MANAGE)).all()
    assert len(links) == 1


@pytest.mark.parametrize("error", [UNKNOWN, smtplib.SMTPDataError(554, b"no"), MailRefused("gone")])
def test_a_refusal_for_good_is_given_up_at_once_and_shown_to_staff(
    make_desk: MakeDesk, clinician: Staff, error: Exception
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    bag.errors.append(error)
    assert bag.deliver(desk).given_up == 1
    (shown,) = review.whole(desk.office, clinician, case.reference).undelivered
    assert (shown.reference, shown.kind) == (case.reference, MailKind.BOOKED)
    assert "pat" not in shown.error
    assert bag.deliver(desk, NOW + DAY).counts == {}
    assert delivery.again(desk.at(NOW + DAY).office) == 1
    assert bag.deliver(desk, NOW + DAY).counts == {"sent": 1}
    assert review.whole(desk.office, clinician, case.reference).undelivered == ()


def test_a_retry_goes_to_the_address_the_patient_has_by_then(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    case = on_tuesday(desk)
    tried: list[EmailMessage] = []

    def refuse(message: EmailMessage) -> None:
        tried.append(message)
        raise BUSY

    office = desk.office
    delivery.deliver(lambda: office, Carrier(refuse, LONGEST), mailing.STATIONERY)
    (row,) = rows(desk)
    old = row.content
    assert old is not None
    right = Identity(name="Pat", birth_date=BORN, email="right@example.com", telephone="1")
    case.identity = right.to_json()
    desk.session.commit()
    bag = Mailbag()
    bag.deliver(desk, NOW + HOUR)
    (message,) = bag.taken
    assert message["To"] == "right@example.com"
    assert old["link"] not in text_of(message)
    assert old["feed"] not in text_of(message)
    links = desk.session.scalars(sa.select(Token).where(Token.purpose == TokenPurpose.MANAGE)).all()
    feeds = desk.session.scalars(sa.select(Feed)).all()
    opened: tuple[Sequence[Token | Feed], ...] = (links, feeds)
    for made, secret in zip(opened, (old["link"], old["feed"]), strict=True):
        open_by = {each.hash: each.revoked_at is None for each in made}
        assert (len(open_by), open_by[tokens.hash_of(secret)], sum(open_by.values())) == (2, False, 1)
    assert audit.verify(desk.session, desk.office.clinic.id) == ()


@pytest.mark.parametrize("calendar", ["attach", "invite"])
def test_a_mailbox_is_written_one_way_only(make_desk: MakeDesk, calendar: str) -> None:
    desk, bag = with_mail(make_desk, calendar=calendar), Mailbag()
    case = on_tuesday(desk)
    case.identity = Identity(name="Pat", birth_date=BORN, email="pat@exämple.com", telephone="1").to_json()
    desk.session.commit()
    bag.errors.append(BUSY)
    bag.deliver(desk)
    bag.deliver(desk, NOW + HOUR)
    assert {message["To"] for message in bag.taken} == {"pat@xn--exmple-cua.com"}
    if calendar == "invite":
        files = [calendar_of(message) or b"" for message in bag.taken]
        assert all(b"mailto:pat@xn--exmple-cua.com" in file.replace(b"\r\n ", b"") for file in files)


def test_a_reminder_on_its_way_is_not_taken_back_nor_sent_again(make_desk: MakeDesk) -> None:
    desk, other = with_mail(make_desk, reminders=["P3D"]), with_mail(make_desk, reminders=["P3D"])
    case, bag = on_tuesday(desk), Mailbag()
    bag.deliver(desk)
    due = sessions(desk, case)[0].arrive_at - 3 * DAY
    # Later than the run began, which therefore leaves what it tells to the next one.
    soon, meanwhile = other.at(due + MINUTE).office, Mailbag()

    def send(message: EmailMessage) -> None:
        mine = other.session.get_one(Case, (case.clinic_id, case.id))
        new = changing.move_times(soon, mine, 1).slots[-1].arrive
        plan = changing.plan_move(soon, mine, 1, {1: new})
        changing.move(soon, mine, 1, plan.arrivals)
        # What tells the new time waits until the reminder of the old one is through.
        assert meanwhile.deliver(other, due + MINUTE).counts == {}
        raise BUSY

    office = desk.at(due).office
    found = delivery.deliver(lambda: office, Carrier(send, LONGEST), mailing.STATIONERY)
    assert found.counts == {"later": 1}
    assert meanwhile.deliver(other, due + HOUR).counts == {"sent": 1, "needless": 1}
    assert [message["Subject"] for message in meanwhile.taken] == ["Your appointments have changed"]


def test_what_kills_its_sender_each_time_is_given_up_in_the_end(
    make_desk: MakeDesk, clinician: Staff
) -> None:
    desk, bag = with_mail(make_desk, give_up_after="P1D"), Mailbag()
    case = on_tuesday(desk)

    def die(_: EmailMessage) -> None:
        raise KeyboardInterrupt

    for hours in (0, 12):
        now = desk.at(NOW + hours * HOUR).office
        with pytest.raises(KeyboardInterrupt):
            delivery.deliver(partial(replace, now), Carrier(die, LONGEST), mailing.STATIONERY)
    assert bag.deliver(desk, NOW + DAY).counts == {"given up": 1}
    (shown,) = review.whole(desk.office, clinician, case.reference).undelivered
    assert (shown.error, bag.taken) == ("interrupted", [])
    # It is tried anew, for as long as any other.
    assert delivery.again(desk.at(NOW + DAY).office) == 1
    assert [row.attempts for row in rows(desk)] == [0]
    assert bag.deliver(desk, NOW + DAY).counts == {"sent": 1}


def test_what_could_not_be_sent_in_time_is_shown_to_staff(make_desk: MakeDesk, clinician: Staff) -> None:
    desk, bag = with_mail(make_desk, reminders=["PT3H"]), Mailbag()
    case = on_tuesday(desk)
    bag.deliver(desk)
    arrive = sessions(desk, case)[0].arrive_at
    bag.errors.append(DOWN)
    bag.deliver(desk, arrive - 2 * HOUR)
    assert bag.deliver(desk, arrive).given_up == 1
    (shown,) = review.whole(desk.office, clinician, case.reference).undelivered
    assert (shown.kind, shown.error) == (MailKind.REMINDER, "ConnectionRefusedError")
    # What nobody tried is only too late.
    second = sessions(desk, case)[1].arrive_at
    assert bag.deliver(desk, second).counts == {"needless": 1}


def test_an_invitation_goes_by_what_the_patient_was_told_before(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, calendar="invite"), Mailbag()
    case = on_tuesday(desk)
    changing.cancel(desk.office, case, 1)
    move_last(desk, case)
    bag.errors.extend([BUSY, BUSY])
    bag.deliver(desk)
    bag.deliver(desk, NOW + HOUR)
    texts = [text_of(message) for message in bag.taken]
    assert sum("subscribe to this address" in text for text in texts) == 1
    assert not any("has a new time" in text for text in texts)
    assert len(desk.session.scalars(sa.select(Feed)).all()) == 1
    later = desk.at(NOW + 2 * HOUR)
    new = changing.move_times(later.office, case, 4).slots[0].arrive
    changing.move(later.office, case, 4, {4: new})
    bag.deliver(desk, NOW + 3 * HOUR)
    assert "Your appointment has a new time." in text_of(bag.taken[-1])
    assert "subscribe to this address" not in text_of(bag.taken[-1])


def test_an_address_that_nobody_can_write_to_is_given_up(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    evil = "pat@example.com\r\nBcc: all@example.org"
    case.identity = Identity(name="Pat", birth_date=BORN, email=evil, telephone="1").to_json()
    desk.session.commit()
    assert bag.deliver(desk).given_up == 1
    assert [row.error for row in rows(desk)] == ["not an address"]
    assert bag.taken == []


def test_what_cannot_be_written_is_not_lost(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    on_tuesday(desk)
    long_name: type[Exception] = type("Wordless" * 20, (Exception,), {})

    def broken(_: Occasion) -> Wording:
        raise long_name

    office = desk.office
    found = delivery.deliver(
        lambda: office, Carrier(bag.send, LONGEST), replace(mailing.STATIONERY, words=broken)
    )
    assert found.counts == {"later": 1}
    (row,) = rows(desk)
    # As much of the name as its column has room for.
    assert (row.error, row.content) == (("Wordless" * 20)[:60], None)
    assert bag.deliver(desk, NOW + HOUR).counts == {"sent": 1}


def test_a_run_ends_when_the_server_is_down_and_takes_nothing_else_along(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    for _ in range(3):
        desk.booked()
    bag.errors.append(DOWN)
    found = bag.deliver(desk)
    assert (found.counts, found.unreachable) == ({"later": 1}, "ConnectionRefusedError")
    assert sorted(row.attempts for row in rows(desk)) == [0, 0, 1]
    bag.errors.append(BUSY)
    assert bag.deliver(desk, NOW + HOUR).counts == {"later": 1, "sent": 2}


def test_whatever_was_written_is_tried_however_much_there_is(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "BATCH", 2)
    desk, bag = with_mail(make_desk, calendar="invite"), Mailbag()
    on_tuesday(desk)
    desk.booked()
    bag.errors.extend([BUSY, UNKNOWN])
    found = bag.deliver(desk)
    assert found.counts == {"later": 1, "given up": 1, "sent": len(rows(desk)) - 2}


# Several at once, and processes that die ----------------------------------------------------------------


def test_two_who_deliver_at_once_send_each_message_once(app: Flask, make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk, calendar="invite")
    for _ in range(4):
        on_tuesday(desk)
    expected = len(rows(desk))
    assert expected == 16
    taken: list[str] = []
    under_way = Counter[str]()
    start, guard = threading.Barrier(2), threading.Lock()

    def send(message: EmailMessage) -> None:
        with guard:
            under_way[message["To"]] += 1
            assert under_way[message["To"]] == 1, "two messages to one patient at once"
            taken.append(message["Message-ID"])
        with guard:
            under_way[message["To"]] -= 1

    def run() -> Counter[str]:
        engine = desk.session.get_bind()
        with app.app_context(), Session(engine) as session:
            office = replace(desk.office, session=session)
            start.wait(30)
            counts = Counter[str]()
            for _ in range(expected):
                found = delivery.deliver(lambda: office, Carrier(send, LONGEST), mailing.STATIONERY)
                counts += found.counts
            return counts

    with ThreadPoolExecutor(2) as pool:
        counts = [each.result(120) for each in [pool.submit(run) for _ in range(2)]]
    assert sum(counts, Counter()) == {"sent": expected}
    assert len(taken) == len(set(taken)) == expected
    assert set(states(desk)) == {MailState.SENT}


def test_whoever_has_the_lease_sends_alone_until_it_is_over(make_desk: MakeDesk) -> None:
    desk, other, bag = with_mail(make_desk), with_mail(make_desk), Mailbag()
    case = on_tuesday(desk)
    desk.at(NOW + MINUTE).screened(medicines=("blood_thinner",))
    sent: list[str] = []

    def send(message: EmailMessage) -> None:
        # While this message is on its way, another host delivers, and the patient moves a session.
        move_last(other, other.session.get_one(Case, (case.clinic_id, case.id)))
        found = bag.deliver(other, NOW + MINUTE)
        sent.extend(message["To"] for message in bag.taken)
        assert found.counts == {"sent": 1}
        raise KeyboardInterrupt

    office = desk.office
    with pytest.raises(KeyboardInterrupt):
        delivery.deliver(lambda: office, Carrier(send, LONGEST), mailing.STATIONERY)
    assert sent == ["inbox@clinic.example"]
    assert bag.deliver(other, NOW + LONGEST - MINUTE).counts == {}
    assert bag.deliver(other, NOW + LONGEST).counts == {"sent": 2}


def test_who_comes_back_after_the_lease_is_over_changes_nothing(make_desk: MakeDesk) -> None:
    desk, other, bag = with_mail(make_desk), with_mail(make_desk), Mailbag()
    desk.booked()

    def send(message: EmailMessage) -> None:
        assert bag.deliver(other, NOW + LONGEST).counts == {"sent": 1}
        raise UNKNOWN

    office = desk.office
    delivery.deliver(lambda: office, Carrier(send, LONGEST), mailing.STATIONERY)
    assert states(desk) == [MailState.SENT]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_killed_while_sending_leaves_the_message_to_be_sent(
    make_desk: MakeDesk, database_url: str, tmp_path: Path, when: str
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    desk.booked()
    file = tmp_path / "taken.json"
    done = subprocess.run(  # noqa: S603 - this very project
        [sys.executable, "-m", "tests.journeys.dying", database_url, str(file), when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    taken = json.loads(file.read_text()) if file.exists() else []
    assert len(taken) == (when == "after")
    (row,) = rows(desk)
    assert (row.state, row.attempts) == (MailState.WAITING, 1)
    assert row.lease is not None
    assert bag.deliver(desk, NOW + LONGEST - MINUTE).counts == {}
    assert bag.deliver(desk, NOW + LONGEST).counts == {"sent": 1}
    # What the server had already is known again by its Message-ID.
    assert {*taken, bag.taken[0]["Message-ID"]} == {row.message_id}


def test_that_it_was_sent_is_written_down_although_the_database_is_busy(make_desk: MakeDesk) -> None:
    desk, other = with_mail(make_desk), make_desk()
    settings = replace(desk.office.settings, lock_timeout=dt.timedelta(seconds=1))
    office, asked = replace(desk.office, settings=settings), list[bool]()
    Desk(office).booked()

    def send(message: EmailMessage) -> None:
        other.session.execute(sa.update(Outgoing).values(error=Outgoing.error))
        asked.clear()

    def at_the_desk() -> Office:
        # Asked what time it is, then for each attempt to write: the second one finds the row free.
        asked.append(True)
        if len(asked) == 3:
            other.session.rollback()
        return office

    found = delivery.deliver(at_the_desk, Carrier(send, LONGEST), mailing.STATIONERY)
    assert found.counts == {"sent": 1}
    assert states(desk) == [MailState.SENT]


def dropped() -> OperationalError:
    words = Exception("server closed the connection unexpectedly")
    return OperationalError("UPDATE", {}, words, connection_invalidated=True)


def test_that_it_was_sent_is_written_down_although_the_connection_was_dropped(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, bag, waited = with_mail(make_desk), Mailbag(), list[float]()
    desk.booked()
    really, asked = delivery._changed, list[bool]()

    def changed(office: Office, statement: sa.Update) -> int:
        asked.append(True)
        # First the lease is taken; then the database is away for a moment.
        if 1 < len(asked) < 5:
            raise dropped()
        return really(office, statement)

    monkeypatch.setattr(delivery, "_changed", changed)
    monkeypatch.setattr(time, "sleep", waited.append)
    found = bag.deliver(desk)
    assert (found.counts, found.unwritten, waited) == ({"sent": 1}, [], [1, 2])
    assert states(desk) == [MailState.SENT]
    assert bag.deliver(desk, NOW + LONGEST).counts == {}


def test_a_database_that_stays_away_costs_the_other_messages_nothing(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    for _ in range(2):
        desk.booked()
    first = min(row.id for row in rows(desk))
    really, broken = delivery._changed, list[str]()

    def changed(office: Office, statement: sa.Update) -> int:
        values = statement.compile().params
        if values.get("state") == MailState.SENT and len(broken) < 5:
            broken.append("")
            raise dropped()
        return really(office, statement)

    monkeypatch.setattr(delivery, "_changed", changed)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    found = bag.deliver(desk)
    assert (found.counts, found.unwritten) == ({"sent": 2}, [first])
    assert sorted(states(desk)) == [MailState.SENT, MailState.WAITING]
    assert caplog.messages == [f"It could not be written down how the attempt at message {first} ended."]


# Looking after what was sent -----------------------------------------------------------------------------


def test_rows_are_deleted_when_the_clinic_keeps_them_no_longer(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    desk, bag = with_mail(make_desk, calendar="invite", reminders=["P2D"], keep_sent="P3D"), Mailbag()
    on_tuesday(desk)
    bag.errors.append(UNKNOWN)
    assert bag.deliver(desk).counts == {"sent": 3, "given up": 1}
    upkeep.expire(desk.at(NOW + 3 * DAY - MINUTE).office)
    assert len(rows(desk)) == 8
    upkeep.expire(desk.at(NOW + 3 * DAY).office)
    assert [row.kind for row in rows(desk)] == [MailKind.REMINDER] * 4


def test_a_draft_that_has_run_out_takes_its_messages_along(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    case = desk.identified()
    desk.session.add(
        Outgoing(
            clinic_id=case.clinic_id,
            key="a",
            kind=MailKind.NOTICE,
            case_id=case.id,
            due_at=NOW,
            next_at=NOW,
        )
    )
    desk.session.commit()
    assert upkeep.expire(desk.at(NOW + 8 * DAY).office) == 1
    assert rows(desk) == []


def test_a_clinic_that_sends_no_mail_any_more_keeps_nothing_unsent(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, reminders=["P2D"]), Mailbag()
    desk.booked()
    desk.booked()
    bag.errors.extend([UNKNOWN, BUSY])
    bag.deliver(desk)
    assert sum(row.content is not None for row in rows(desk)) == 2
    bare = make_desk()
    upkeep.expire(bare.at(NOW + HOUR).office)
    assert set(states(desk)) == {MailState.UNDELIVERABLE, MailState.NEEDLESS}
    assert [row.content for row in rows(desk) if row.content is not None] == []
    upkeep.expire(bare.at(NOW + HOUR + 90 * DAY - MINUTE).office)
    assert set(states(desk)) == {MailState.NEEDLESS}
    upkeep.expire(bare.at(NOW + HOUR + 90 * DAY).office)
    assert rows(desk) == []


def test_the_link_of_a_reminder_ends_with_its_session(make_desk: MakeDesk) -> None:
    desk, bag = with_mail(make_desk, reminders=["P2D"]), Mailbag()
    case = on_tuesday(desk)
    bag.deliver(desk)
    first = sessions(desk, case)[0]
    bag.deliver(desk, first.arrive_at - 2 * DAY)
    links = desk.session.scalars(sa.select(Token).where(Token.purpose == TokenPurpose.MANAGE)).all()
    assert {link.expires_at for link in links} == {
        NOW + desk.office.settings.link_lifetime,
        first.end_at,
    }
