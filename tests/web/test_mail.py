"""From the pages to a patient's mailbox: over a real mail server, read by real calendar readers."""

from __future__ import annotations

import datetime as dt
import logging
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import icalendar
import pytest
import recurring_ical_events
import sqlalchemy as sa
import vobject
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup
from flask_babel import Babel
from ical.calendar_stream import IcsCalendarStream

from intake_plugin import cli
from intake_plugin.journeys.delivery import Delivered
from intake_plugin.loading import MAIL_DEFAULTS, load_clinic
from intake_plugin.records.outbox import MailKind, MailState, Outgoing
from intake_plugin.records.tables import Appointment, Case, CaseState
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY
from intake_plugin.testing import PROFILE, Page, Visitor
from intake_plugin.web import mail, visit
from tests.calendars.conftest import lint_octets
from tests.journeys.mailing import calendar_of, text_of
from tests.mailserver import CUT, MailServer, mail_server
from tests.web.conftest import CLINICIAN, DESK, HOME, NOW, RECEPTION, WREN, MakeSite, Site
from tests.web.test_calendar_words import STEMS, plain
from tests.web.test_changes import booked, case_url, references, times
from tests.web.test_i18n import BARE, LANGUAGE, abroad, folder, translated
from tests.web.test_pages import check

ADDRESS = "https://harbour.example/skin"
LONDON = ZoneInfo("Europe/London")
MakeMailing = Callable[..., Site]

__all__ = ["abroad", "folder"]


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


@pytest.fixture(autouse=True)
def same_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command read the clock of the pages, which stands still."""
    monkeypatch.setattr(cli, "_office", lambda state, clinic: visit.office_of("harbour"))


def with_mail(clinic: Clinic, **changes: Any) -> Clinic:
    given = {"sender": "desk@harbour.example", "name": "Harbour", "notices": "team@harbour.example"}
    policy = load_clinic({**PROFILE, "mail": {**MAIL_DEFAULTS, **given, **changes}}).mail
    return replace(clinic, mail=policy)


@pytest.fixture
def make_mailing(make_site: MakeSite, clinic: Clinic, server: MailServer) -> MakeMailing:
    """Make a site that sends its mail as soon as a request is answered."""

    def make(profile: Clinic = clinic, *, config: dict[str, Any] | None = None, **changes: Any) -> Site:
        settings = {
            "INTAKE_SITE": ADDRESS,
            "INTAKE_DELIVER": "after-commit",
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_PORT": server.port,
            **(config or {}),
        }
        return make_site(with_mail(profile, **changes), **settings)

    return make


def appointments(site: Site) -> list[Appointment]:
    with site.app.app_context():
        return list(site.db.session.scalars(sa.select(Appointment).order_by(Appointment.ordinal)))


def outbox(site: Site) -> list[Outgoing]:
    with site.app.app_context():
        return list(site.db.session.scalars(sa.select(Outgoing).order_by(Outgoing.due_at, Outgoing.id)))


def run(site: Site, *command: str) -> tuple[int, str]:
    result = CliRunner().invoke(FlaskGroup(create_app=lambda: site.app), ["intake", *command])
    return result.exit_code, result.output


Instants = dict[str, tuple[dt.datetime, dt.datetime]]


def by_icalendar(text: str) -> dict[str, tuple[Any, Any]]:
    calendar = icalendar.Calendar.from_ical(text)
    assert isinstance(calendar, icalendar.Calendar)
    return {str(event["UID"]): (event.start, event.end) for event in calendar.events}


def by_ical(text: str) -> dict[str, tuple[Any, Any]]:
    events = IcsCalendarStream.calendar_from_ics(text).events
    return {str(event.uid): (event.start_datetime, event.end_datetime) for event in events}


def by_vobject(text: str) -> dict[str, tuple[Any, Any]]:
    with warnings.catch_warnings():
        # dateutil, which vobject reads times with, still calls datetime.utcfromtimestamp.
        warnings.filterwarnings("ignore", r"datetime\.datetime\.utc", DeprecationWarning)
        events = vobject.readOne(text).vevent_list
        return {event.uid.value: (event.dtstart.value, event.dtend.value) for event in events}


def by_recurring_ical_events(text: str) -> dict[str, tuple[Any, Any]]:
    calendar = icalendar.Calendar.from_ical(text)
    found = recurring_ical_events.of(calendar).between((2026, 1, 1), (2028, 1, 1))
    return {str(event["UID"]): (event["DTSTART"].dt, event["DTEND"].dt) for event in found}


def everyone_reads(message: EmailMessage, told: list[Appointment], method: str | None = None) -> None:
    """Assert that every reader finds these sessions in a message, at zoneinfo's instants."""
    octets = calendar_of(message)
    assert octets is not None
    assert lint_octets(octets, method) == []
    expected = {
        each.id: (
            dt.datetime.fromisoformat(each.local_start).replace(tzinfo=ZoneInfo(each.zone)),
            each.end_at,
        )
        for each in told
    }
    for read in (by_icalendar, by_ical, by_vobject, by_recurring_ical_events):
        found = read(octets.decode())
        assert {uid: found[uid] for uid in expected} == expected, read.__name__


def events(message: EmailMessage) -> dict[str, Any]:
    octets = calendar_of(message)
    assert octets is not None
    calendar = icalendar.Calendar.from_ical(octets)
    return {str(event["UID"]): event for event in calendar.walk("VEVENT")}


def test_a_booking_is_in_the_patients_mailbox_when_the_page_says_so(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing()
    booked(site)
    (received,) = server.received
    message, sessions = received.message, appointments(site)
    assert received.to == ("wren-0@example.com",)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "text/plain", "text/calendar",
    ]  # fmt: skip
    assert len(sessions) == 4
    everyone_reads(message, sessions)
    text = text_of(message)
    for each in sessions:
        local = each.arrive_at.astimezone(LONDON)
        assert f"{each.ordinal}/4  {local:%A %-d %B %Y}: arrive at {local:%H:%M}\n" in text
    (row,) = outbox(site)
    assert (row.state, row.kind, row.message_id) == (
        MailState.SENT,
        MailKind.BOOKED,
        message["Message-ID"],
    )


def linked(text: str, what: str) -> str:
    found = re.search(rf"{ADDRESS}/book/({what}/\S+)", text)
    assert found is not None, text
    return HOME + found[1]


def test_what_is_linked_in_a_message_opens(make_mailing: MakeMailing, server: MailServer) -> None:
    site = make_mailing()
    booked(site)
    text = text_of(server.messages[0])
    elsewhere = site.visitor()
    page = elsewhere.get(linked(text, "link"))
    assert page.name == "link"
    page = elsewhere.submit(page, {"birth_date": WREN["birth_date"]})
    assert (page.name, page.reply.status) == ("manage", 200)
    feed = site.get(linked(text, "cal"))
    assert feed.status_code == 200
    assert set(by_icalendar(feed.text)) >= {each.id for each in appointments(site)}


def test_a_move_and_a_cancellation_are_told_with_the_file(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing()
    visitor, _ = booked(site)
    page = visitor.get(f"{HOME}sessions/4/move")
    visitor.submit(visitor.submit(page, {"arrive": times(page)[-1]}), press="move")
    visitor.submit(visitor.get(f"{HOME}sessions/3/cancel"))
    _, moved, cancelled = server.messages
    _, second, third, fourth = appointments(site)
    assert (moved["Subject"], cancelled["Subject"]) == (
        "Your appointments have changed",
        "An appointment has been cancelled",
    )
    everyone_reads(moved, [second, fourth])
    assert events(moved)[fourth.id]["SEQUENCE"] == 1
    everyone_reads(cancelled, [second, fourth])
    gone = events(cancelled)[third.id]
    assert (gone["STATUS"], gone["SEQUENCE"], gone.subcomponents) == ("CANCELLED", 1, [])
    local = third.arrive_at.astimezone(LONDON)
    assert f"3/4  {local:%A %-d %B %Y} at {local:%H:%M}: cancelled\n" in text_of(cancelled)


def test_invitations_come_one_for_each_session_and_follow_each_change(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing(calendar="invite")
    visitor, _ = booked(site)
    sessions = appointments(site)
    assert [list(events(message)) for message in server.messages] == [[each.id] for each in sessions]
    for message, each in zip(server.messages, sessions, strict=True):
        assert [part.get_content_type() for part in message.walk()] == [
            "multipart/alternative", "text/plain", "text/calendar",
        ]  # fmt: skip
        part = list(message.walk())[2]
        assert part["Content-Type"].params == {"method": "REQUEST", "charset": "utf-8"}
        assert part.get_content_disposition() is None
        everyone_reads(message, [each], "REQUEST")
        event = events(message)[each.id]
        assert event["DTSTAMP"].dt == message["Date"].datetime == NOW
        assert event["ORGANIZER"] == "mailto:desk@harbour.example"
        assert event["ATTENDEE"] == "mailto:wren-0@example.com"
        assert event["ATTENDEE"].params == {"PARTSTAT": "ACCEPTED", "RSVP": "FALSE"}
        assert len(event.subcomponents) == 2
    page = visitor.get(f"{HOME}sessions/4/move")
    visitor.submit(visitor.submit(page, {"arrive": times(page)[-1]}), press="move")
    visitor.submit(visitor.get(f"{HOME}sessions/4/cancel"))
    *_, moved, cancelled = server.messages
    last = appointments(site)[3]
    assert events(moved)[last.id]["SEQUENCE"] == 1
    assert text_of(server.messages[3]).startswith("This is your appointment.\n")
    assert text_of(moved).startswith("Your appointment has a new time.\n")
    everyone_reads(moved, [last], "REQUEST")
    gone = events(cancelled)[last.id]
    assert (gone["STATUS"], gone["SEQUENCE"], gone.subcomponents) == ("CANCELLED", 2, [])
    everyone_reads(cancelled, [last], "CANCEL")
    assert list(cancelled.walk())[2]["Content-Type"].params["method"] == "CANCEL"
    assert len(server.messages) == 6


def test_the_desk_tells_the_patient_too(make_mailing: MakeMailing, server: MailServer) -> None:
    site = make_mailing()
    booked(site)
    site.staff = CLINICIAN
    desk = site.visitor()
    desk.submit(desk.get(f"{case_url(site)}/sessions/4/cancel"))
    assert [each.to for each in server.received] == [("wren-0@example.com",)] * 2


def test_a_case_for_the_clinic_is_told_to_it_and_its_decision_to_the_patient(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing()
    site.to("outcome", {"medicines": ["blood_thinner"]})
    notice = server.received[0]
    assert notice.to == ("team@harbour.example",)
    site.staff = CLINICIAN
    path = urlsplit(re.findall(r"https://\S+", text_of(notice.message))[0]).path.removeprefix("/skin")
    desk = site.visitor()
    page = desk.get(path)
    assert page.reply.status == 200
    answer = {"verdict": "decline", "note": "Not for now."}
    assert desk.submit(page, answer).reply.status == 200
    assert server.received[1].to == (WREN["email"],)
    told = server.messages[1]
    assert text_of(told).startswith("The clinic has looked at your answers. Open your link.\n")
    # The next visit of the link shows what it is about.
    elsewhere = site.visitor()
    page = elsewhere.submit(elsewhere.get(linked(text_of(told), "link")), {"birth_date": WREN["birth_date"]})
    assert page.reply.status == 200


# What others can read --------------------------------------------------------------------------------


@pytest.fixture
def forbidden_in(clinic: Clinic) -> Callable[[str], list[str]]:
    """Return what a text says of the treatment or the patient."""
    told = {plain(stem) for stem in STEMS}
    for treatment in clinic.treatments.values():
        texts = treatment.protocol.texts["en"]
        told |= {plain(texts.title), *(plain(each.name) for each in texts.products.values())}
    told |= {plain(str(WREN[name])) for name in ("name", "telephone")} | {"wren", "okafor"}
    return lambda text: sorted(word for word in told if word in plain(text))


def waiting(site: Site) -> str:
    with site.app.app_context():
        found = sa.select(Case.reference).where(Case.state == CaseState.REVIEW)
        return site.db.session.scalars(found).one()


def every_kind(site: Site, server: MailServer) -> dict[str, EmailMessage]:
    """Let the site send every kind of message, and return them by their kind."""
    visitor, _ = booked(site, email="p@example.com")
    page = visitor.get(f"{HOME}sessions/4/move")
    visitor.submit(visitor.submit(page, {"arrive": times(page)[-1]}), press="move")
    visitor.submit(visitor.get(f"{HOME}sessions/3/cancel"))
    site.to("outcome", {"medicines": ["blood_thinner"], "email": "q@example.com"})
    site.staff = CLINICIAN
    desk = site.visitor()
    desk.submit(
        desk.get(f"{DESK}cases/{waiting(site)}"),
        {"verdict": "clear", "note": "Fine.", "numbing": "LMX4"},
    )
    sent = {row.message_id: row.kind for row in outbox(site)}
    return {sent[message["Message-ID"]]: message for message in server.messages}


@pytest.mark.parametrize("calendar", ["attach", "invite"])
def test_headers_are_neutral_and_so_is_the_text(
    make_mailing: MakeMailing,
    server: MailServer,
    calendar: str,
    forbidden_in: Callable[[str], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = make_mailing(calendar=calendar, reminders=["P2D"])
    found = every_kind(site, server)
    first = appointments(site)[0]
    monkeypatch.setattr(visit, "now", lambda: first.arrive_at - dt.timedelta(days=1))
    assert run(site, "deliver")[0] == 0
    reminder = server.messages[-1]
    assert reminder["Subject"].startswith("Reminder: ")
    found[MailKind.REMINDER] = reminder
    series = {"booked", "moved", "cancelled"} if calendar == "attach" else {"request", "cancel"}
    assert set(found) == {"decided", "notice", "reminder"} | series
    clinic = site.app.extensions["intake_plugin"].clinics["harbour"]
    own = (clinic.name, clinic.contact.address, clinic.contact.telephone)
    for kind, message in found.items():
        headers = "\n".join(f"{name}: {value}" for name, value in message.items())
        shown = headers.replace(message["Message-ID"], "")
        assert forbidden_in(shown) == [], kind
        text = text_of(message)
        for each in own:
            text = text.replace(each, "")
        text = re.sub(r"(https|webcal)://\S+", "", text)
        # It may say that a clinic is a clinic, and name a clinician to the clinic.
        assert set(forbidden_in(text)) <= {"clinic"}, (kind, text)


def test_a_message_speaks_the_language_of_its_case(
    make_mailing: MakeMailing, server: MailServer, abroad: Clinic, folder: Path
) -> None:
    def prepare(app: Flask) -> None:
        app.root_path = str(folder)
        Babel(app, default_translation_directories=str(folder / "translations"))

    site = make_mailing(abroad, config={"prepare": prepare, "templates": {"bare.html": BARE}})
    visitor = site.visitor()
    given = {**WREN, "locale": LANGUAGE}
    visitor.walk(visitor.get(f"{HOME}?lang={LANGUAGE}"), given, until=frozenset({"done"}))
    message = server.messages[0]
    assert message["Subject"] == translated("Your appointments")
    text_part = message.get_body(("plain",))
    assert text_part is not None
    assert text_part["Content-Language"] == LANGUAGE
    text = text_of(message)
    for known in ("Harbour Skin", "2 Quay Street, London"):
        text = text.replace(known, "")
    assert re.findall(r"[A-Za-z]{2,}", re.sub(r"(https|webcal)://\S+", "", text)) == []
    assert str(next(iter(events(message).values()))["SUMMARY"]) == translated("Appointment")


# When it goes wrong ----------------------------------------------------------------------------------


def done(page: Page) -> bool:
    return (page.name, page.reply.status) == ("done", 200)


@pytest.mark.parametrize("reply", ["451 4.3.0 later", CUT])
def test_no_failure_of_the_mail_server_reaches_the_patient(
    make_mailing: MakeMailing, server: MailServer, reply: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_mailing()
    server.data.append(reply)
    _, page = site.to("done")
    assert done(page)
    (row,) = outbox(site)
    assert (row.state, row.attempts) == (MailState.WAITING, 1)
    monkeypatch.setattr(visit, "now", lambda: NOW + dt.timedelta(hours=1))
    assert run(site, "deliver") == (0, "harbour: 1 sent, 0 later, 0 given up, 0 needless\n")
    assert run(site, "deliver") == (0, "harbour: 0 sent, 0 later, 0 given up, 0 needless\n")
    assert {message["Message-ID"] for message in server.messages} == {row.message_id}
    assert len(server.messages) == (2 if reply == CUT else 1)


@pytest.mark.parametrize(
    ("config", "logged"),
    [
        ({"MAIL_PORT": 1}, "ConnectionRefusedError"),
        ({"MAIL_SERVER": None}, "MAIL_SERVER is not set"),
        ({"INTAKE_SITE": ""}, "Set INTAKE_SITE"),
    ],
)
def test_a_site_that_cannot_send_answers_its_patients_and_says_why_in_the_log(
    make_mailing: MakeMailing,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    config: dict[str, Any],
    logged: str,
) -> None:
    site = make_mailing(config=config)
    # Whatever other tests of this process have done to the loggers above it.
    monkeypatch.setattr(site.app.logger, "handlers", [caplog.handler])
    with caplog.at_level(logging.WARNING, logger=site.app.logger.name):
        _, page = site.to("done")
    assert done(page)
    assert [row.state for row in outbox(site)] == [MailState.WAITING]
    assert logged in caplog.text
    assert "wren" not in caplog.text.lower()


def test_by_default_only_the_command_sends(make_mailing: MakeMailing, server: MailServer) -> None:
    site = make_mailing(config={"INTAKE_DELIVER": "command"})
    site.to("done")
    assert server.messages == []
    assert run(site, "deliver")[0] == 0
    assert len(server.messages) == 1


def test_what_nobody_can_be_told_is_on_the_desk_until_staff_have_told_it(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing(config={"INTAKE_DELIVER": "command"})
    site.to("done")
    server.rcpt.append("550 5.1.1 <wren.okafor@example.com>: no such user")
    code, output = run(site, "deliver")
    assert code == 1
    assert "1 given up. The clinic's desk names the cases." in output
    assert "wren" not in output
    reference = references(site)[0]
    site.staff = RECEPTION
    page = site.visitor().get(DESK)
    check(page)
    assert f"Messages could not be delivered. Tell these patients another way: {reference}" in page.text
    page = site.visitor().get(f"{DESK}cases/{reference}")
    check(page)
    assert "Could not be delivered by mail The booked sessions:" in page.text
    assert "(550 5.1.1)" in page.text
    assert "The patient has been told" not in page.text
    assert site.app.test_client().post(f"{DESK}cases/{reference}/told").status_code == 403
    site.staff = CLINICIAN
    desk = site.visitor()
    page = desk.get(f"{DESK}cases/{reference}")
    told = next(form for form in page.forms if form.action.endswith("/told"))
    page = desk._read(desk.send("POST", told.action, told.filled({})))
    assert (page.reply.status, "Could not be delivered" in page.text) == (200, False)
    assert "could not be delivered" not in desk.get(DESK).text
    assert run(site, "deliver", "--again")[1].count("to be tried once more") == 0


def test_what_was_given_up_can_be_tried_once_more(make_mailing: MakeMailing, server: MailServer) -> None:
    site = make_mailing(config={"INTAKE_DELIVER": "command"})
    site.to("done")
    server.rcpt.append("550 5.1.1 no such user")
    assert run(site, "deliver")[0] == 1
    code, output = run(site, "deliver", "--again")
    assert (code, len(server.messages)) == (0, 1)
    assert output.startswith("harbour: 1 to be tried once more\nharbour: 1 sent,")


def test_the_command_says_when_the_server_cannot_be_reached(make_mailing: MakeMailing) -> None:
    site = make_mailing(config={"INTAKE_DELIVER": "command", "MAIL_PORT": 1})
    site.to("done")
    code, output = run(site, "deliver")
    assert code == 0
    assert "harbour: ConnectionRefusedError (1)\n" in output
    assert "harbour: the mail server could not be used, so the rest waits\n" in output


def test_a_clinic_that_cannot_send_does_not_keep_the_next_one_from_it(
    make_mailing: MakeMailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_mailing()
    state = site.app.extensions["intake_plugin"]
    clinic = state.clinics["harbour"]
    clinics = {"a": replace(clinic, id="a"), "b": replace(clinic, id="b"), "c": replace(clinic, id="c")}
    monkeypatch.setattr(cli, "_mounts", lambda _: clinics)
    monkeypatch.setattr(cli, "_office", lambda _, clinic: clinic.id)

    def deliver(_: Any, mount: str, __: Any) -> Delivered:
        if mount == "a":
            raise KeyError("pat@example.com")
        return Delivered(counts=Counter(sent=1), unwritten=["0f"] if mount == "b" else [])

    monkeypatch.setattr("intake_plugin.web.mail.deliver", deliver)
    code, output = run(site, "deliver")
    assert code == 1
    assert "a: KeyError\n" in output
    assert "pat@example.com" not in output
    assert "b: how it ended could not be written down, so it may be sent again: 0f\n" in output
    assert "c: 1 sent, 0 later, 0 given up, 0 needless\n" in output
    assert "Not everything was done at a, b. Run this again." in output


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"MAIL_SERVER": None}, "MAIL_SERVER is not set"),
        ({"MAIL_SUPPRESS_SEND": True}, "MAIL_SUPPRESS_SEND is set"),
        ({"INTAKE_SITE": ""}, 'INTAKE_SITE = "https://www.example.org"'),
        ({"INTAKE_SITE": "", "SERVER_NAME": "harbour.example"}, "PREFERRED_URL_SCHEME"),
    ],
)
def test_a_site_that_cannot_send_is_not_ready(
    make_mailing: MakeMailing, config: dict[str, Any], words: str
) -> None:
    site = make_mailing(config=config)
    code, output = run(site, "check")
    assert code == 1
    assert f"Harbour Skin: {words}" in output or words in output
    secure = {"INTAKE_SITE": "", "SERVER_NAME": "harbour.example", "PREFERRED_URL_SCHEME": "https"}
    assert run(make_mailing(config=secure), "check")[0] == 0


@pytest.mark.parametrize("command", ["check", "deliver"])
def test_without_the_extra_the_commands_say_what_to_install(
    make_mailing: MakeMailing, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    site = make_mailing()
    monkeypatch.setitem(sys.modules, "flask_mailman", None)
    code, output = run(site, command)
    assert code == 1
    assert "Install 'intake_plugin[mail]'" in output


def test_a_hosts_own_mailer_is_used_and_needs_no_server(
    make_mailing: MakeMailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_mailing(config={"MAIL_SERVER": None})
    monkeypatch.setitem(sys.modules, "flask_mailman", None)
    taken: list[EmailMessage] = []
    site.app.extensions[KEY] = replace(site.app.extensions[KEY], mailer=taken.append)
    assert run(site, "check")[0] == 0
    site.to("done")
    assert [message["To"] for message in taken] == [WREN["email"]]


def test_a_clinic_without_mail_needs_nothing(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    monkeypatch.setitem(sys.modules, "flask_mailman", None)
    assert run(site, "check")[0] == 0
    assert run(site, "deliver") == (0, "")


def test_links_may_begin_with_what_flask_knows_of_the_site(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing(
        config={
            "INTAKE_SITE": "",
            "SERVER_NAME": "skin.example",
            "PREFERRED_URL_SCHEME": "https",
            "APPLICATION_ROOT": "/x",
        }
    )
    assert isinstance(site.visitor(), Visitor)
    with site.app.app_context():
        state = site.app.extensions["intake_plugin"]
        made = mail.stationery(site.app, state, "harbour")
    assert made.link("abc") == "https://skin.example/x/book/link/abc"
    assert made.record("K7M-2QXF") == "https://skin.example/x/book/staff/cases/K7M-2QXF"


def test_whoever_lies_about_the_sites_name_gets_no_link_to_it(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing()
    visitor = site.visitor()
    liar = site.client
    liar.environ_base["HTTP_HOST"] = "evil.example"
    visitor.walk(visitor.get(HOME), WREN, until=frozenset({"done"}))
    octets = server.received[0].octets + (calendar_of(server.messages[0]) or b"")
    assert b"evil.example" not in octets
    assert ADDRESS in text_of(server.messages[0])


def test_a_site_without_tls_sends_no_address_to_subscribe_to(
    make_mailing: MakeMailing, server: MailServer
) -> None:
    site = make_mailing(config={"INTAKE_SITE": "http://localhost:5000"})
    site.to("done")
    text = text_of(server.messages[0])
    assert "/cal/" not in text
    assert "http://localhost:5000/book/link/" in text
