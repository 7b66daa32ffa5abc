"""A clinic that sends mail, and what reads it there: rows, and a mailer that a test holds in its hand."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Any

import sqlalchemy as sa

from intake_plugin.journeys import booking, changing, delivery
from intake_plugin.journeys.delivery import Delivered
from intake_plugin.journeys.writing import Stationery
from intake_plugin.loading import MAIL_DEFAULTS, load_clinic
from intake_plugin.posting import Carrier
from intake_plugin.records.outbox import MailKind, Outgoing
from intake_plugin.records.tables import Appointment, Case
from intake_plugin.settings import Clinic, MailPolicy
from intake_plugin.testing import PROFILE
from intake_plugin.web import mail
from tests.journeys.conftest import CLINIC, NOW, Desk, proposed

SITE = "https://clinic.example/book/"
LONGEST = dt.timedelta(minutes=5)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
STATIONERY = Stationery(
    words=mail._words,
    calendar_words=mail._calendar_words,
    language=str,
    manage=f"{SITE}manage",
    link=lambda raw: f"{SITE}link/{raw}",
    feed=lambda raw: f"{SITE}cal/{raw}.ics",
    record=lambda reference: f"{SITE}staff/cases/{reference}",
)


def policy(**changes: Any) -> MailPolicy:
    """Return a clinic's `[mail]`, read as from its file."""
    given = {
        "sender": "desk@clinic.example",
        "name": "Test Clinic",
        "notices": "inbox@clinic.example",
        **changes,
    }
    found = load_clinic({**PROFILE, "mail": {**MAIL_DEFAULTS, **given}}).mail
    assert found is not None
    return found


def mailing(**changes: Any) -> Clinic:
    """Return the tests' clinic, which sends mail."""
    return replace(CLINIC, mail=policy(**changes))


def with_mail(make_desk: Callable[..., Desk], **changes: Any) -> Desk:
    return make_desk(clinic=mailing(**changes))


def rows(desk: Desk, *kinds: MailKind) -> list[Outgoing]:
    """Return the rows as they are stored, the first due first."""
    desk.session.rollback()
    found = sa.select(Outgoing).order_by(Outgoing.due_at, Outgoing.key)
    if kinds:
        found = found.where(Outgoing.kind.in_(kinds))
    return list(desk.session.scalars(found.execution_options(populate_existing=True)))


def told(desk: Desk) -> list[tuple[MailKind, int | None]]:
    """Return what there is to tell, with the SEQUENCE of the session it is about."""
    return [(row.kind, row.sequence) for row in rows(desk)]


def on_tuesday(desk: Desk) -> Case:
    """Book four sessions from Tuesday 17 March on, two weeks ahead."""
    case = desk.signed()
    first = booking.times(desk.office, case, first=dt.date(2026, 3, 17)).slots[0]
    booking.choose_first(desk.office, case, first.arrive)
    booking.confirm(desk.office, case, proposed(desk.office, case))
    return case


def sessions(desk: Desk, case: Case) -> list[Appointment]:
    desk.session.rollback()
    return list(booking.appointments_of(desk.office, case))


def move_last(desk: Desk, case: Case) -> dt.datetime:
    """Move the last session of the series, and return its new time."""
    new = changing.move_times(desk.office, case, 4).slots[-1].arrive
    changing.move(desk.office, case, 4, {4: new})
    return new


@dataclass
class Mailbag:
    """A mailer that keeps what it is given; `errors` are raised first, one for each message."""

    errors: deque[Exception] = field(default_factory=deque)
    taken: list[EmailMessage] = field(default_factory=list)

    def send(self, message: EmailMessage) -> None:
        if self.errors:
            raise self.errors.popleft()
        self.taken.append(message)

    def deliver(self, desk: Desk, now: dt.datetime = NOW, **more: Any) -> Delivered:
        """Run the delivery once at a moment that stands still."""
        office = replace(desk.office, now=now)
        return delivery.deliver(lambda: office, Carrier(self.send, LONGEST), STATIONERY, **more)


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def calendar_of(message: EmailMessage) -> bytes | None:
    """Return the calendar in a message, attached or alternative."""
    for part in message.walk():
        if part.get_content_type() == "text/calendar":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload
    return None
