"""From a row of the outbox to the message it stands for, as things are at this moment.

What a message says and what it does not: days and times of arrival, and from when to prepare. No
treatment, no cream, no answer and no name; those are in the calendar's descriptions, or behind the
patient's link, which asks for the date of birth.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from enum import Enum, auto
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from intake_plugin.calendars import FILENAME, Message, Party, Style, Visit, Words
from intake_plugin.calendars.files import mail_cancel, mail_invite, mail_series, patient_series
from intake_plugin.journeys.booking import appointments_of
from intake_plugin.journeys.feeds import add_patient_feed, patient_secret, stop_feed
from intake_plugin.journeys.intake import identity_of
from intake_plugin.journeys.office import SYSTEM, Office, note
from intake_plugin.journeys.outbox import lead_of
from intake_plugin.journeys.visits import PatientVisits, style_of
from intake_plugin.letters import Attached, Letter, Wording, compose, mailbox, message_id
from intake_plugin.records import tokens
from intake_plugin.records.base import new_id
from intake_plugin.records.outbox import MailKind, MailState, Outgoing
from intake_plugin.records.tables import (
    AT_HOME,
    Appointment,
    AppointmentState,
    Case,
    CaseState,
    TokenPurpose,
)
from intake_plugin.settings import Clinic, MailPolicy

_SERIES = frozenset({MailKind.BOOKED, MailKind.MOVED, MailKind.CANCELLED})
_INVITATIONS = frozenset({MailKind.REQUEST, MailKind.CANCEL})
_SUBSCRIBABLE = frozenset({MailKind.BOOKED, MailKind.REQUEST})
"""The first of these that reaches a patient brings the address of a calendar to subscribe to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as a message tells it, on the clinic's clock."""

    ordinal: int
    count: int
    arrive: dt.datetime
    prepare: dt.datetime | None
    """From when the patient prepares at home, where that is by the clock."""
    cancelled: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Occasion:
    """What is to be put into words; what a message of its kind does not have is empty."""

    kind: MailKind
    clinic: Clinic
    locale: str
    sessions: tuple[Session, ...] = ()
    changed: bool = False
    """Whether the patient was told another time of the session before."""
    attached: bool = False
    """Whether a calendar file goes along."""
    link: str = ""
    subscribe: str = ""
    """The address of a calendar to subscribe to."""
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stationery:
    """What the pages give to a message: words in a language, and addresses that work from outside."""

    words: Callable[[Occasion], Wording]
    calendar_words: Callable[[str], Words]
    language: Callable[[str], str]
    """From a locale to the way in which a header names it."""
    manage: str
    """The patient's page, without a token."""
    link: Callable[[str], str]
    feed: Callable[[str], str] | None
    """None where the site is reached without TLS: RFC 7986 section 8 wants it for such an address."""
    record: Callable[[str], str]
    """From a case's reference to its page behind the clinic's login; empty for none."""


class Nothing(Enum):
    """Why there is no message."""

    TO_TELL = auto()
    """It is no longer true, or another message says it."""
    IN_TIME = auto()
    """What it is about is over."""


def write(office: Office, case: Case, row: Outgoing, stationery: Stationery) -> EmailMessage | Nothing:
    """Return the message of a leased row, or why there is none.

    The case is locked. The secrets in the links are made at the first attempt and kept, sealed, for
    the next ones to the same address; where the patient has another one by then, they are made anew
    and open nothing any more. Raises MailRefused for an address that cannot be written to.
    """
    policy = office.clinic.mail
    if policy is None:
        return Nothing.TO_TELL
    if row.kind == MailKind.NOTICE:
        return _notice(office, policy, case, row, stationery)
    identity = identity_of(case)
    appointments = [] if row.kind == MailKind.DECIDED else appointments_of(office, case)
    told = _told(office, row, appointments)
    if identity is None:
        return Nothing.TO_TELL
    if isinstance(told, Nothing):
        return told
    # Written one way only: a calendar answers an invitation for the very address it came to.
    to = mailbox(identity.email)
    known: dict[str, str] | None = row.content
    earlier = _earlier(office, row)
    if known is not None and known["to"] == to:
        content = known
    else:
        feed = bool(known["feed"]) if known else _brings_feed(row, earlier)
        until = told[0].end_at if row.kind == MailKind.REMINDER else None
        content = _content(office, case, to, feed=feed and stationery.feed is not None, until=until)
    locale = office.locale_of(case)
    calendar = _calendar(office, policy, case, row, told, to, stationery)
    occasion = Occasion(
        kind=row.kind,
        clinic=office.clinic,
        locale=locale,
        sessions=tuple(_session(each) for each in told),
        changed=_has_changed(row, earlier),
        attached=calendar is not None and calendar.method is None,
        link=stationery.link(content["link"]),
        subscribe=stationery.feed(content["feed"]) if stationery.feed and content["feed"] else "",
    )
    message = _letter(office, policy, row, to, stationery, occasion, calendar)
    if content is not known:
        _keep(office, case, row, content, instead_of=known)
    return message


def _notice(
    office: Office, policy: MailPolicy, case: Case, row: Outgoing, stationery: Stationery
) -> EmailMessage | Nothing:
    if case.state != CaseState.REVIEW or not policy.notices:
        return Nothing.TO_TELL
    occasion = Occasion(
        kind=row.kind,
        clinic=office.clinic,
        locale=office.clinic.languages[0],
        link=stationery.record(case.reference),
        reference=case.reference,
    )
    return _letter(office, policy, row, policy.notices, stationery, occasion, None)


def _told(
    office: Office, row: Outgoing, appointments: Sequence[Appointment]
) -> Sequence[Appointment] | Nothing:
    """Return the sessions that a message is about, or why it has become needless."""
    if row.kind == MailKind.DECIDED:
        return ()
    if row.kind in _SERIES:
        to_come = [each for each in appointments if each.end_at > office.now]
        if not to_come:
            return Nothing.IN_TIME
        standing = any(each.state == AppointmentState.BOOKED for each in to_come)
        return appointments if standing or row.kind == MailKind.CANCELLED else Nothing.TO_TELL
    mine = [each for each in appointments if each.id == row.appointment_id]
    if not mine or _is_overtaken(office, row, mine[0]):
        return Nothing.TO_TELL
    return Nothing.IN_TIME if mine[0].arrive_at <= office.now else mine


def _is_overtaken(office: Office, row: Outgoing, appointment: Appointment) -> bool:
    """Whether a message about one session is no longer true, or a later one says the same anew."""
    cancelled = appointment.state == AppointmentState.CANCELLED
    if row.kind == MailKind.REMINDER:
        # One that was on its way when its session was moved could not be taken back.
        return cancelled or row.due_at + lead_of(row) != appointment.arrive_at
    if cancelled != (row.kind == MailKind.CANCEL):
        return True
    later = sa.select(Outgoing.id).where(
        Outgoing.clinic_id == row.clinic_id,
        Outgoing.case_id == row.case_id,
        Outgoing.appointment_id == row.appointment_id,
        Outgoing.kind.in_(_INVITATIONS),
        Outgoing.state.in_((MailState.WAITING, MailState.SENT)),
        Outgoing.sequence > row.sequence,
    )
    return office.session.scalar(later.limit(1)) is not None


def _earlier(office: Office, row: Outgoing) -> Sequence[Outgoing]:
    """Return the other messages of the case that first tell of sessions, or tell of them anew."""
    if row.kind not in _SUBSCRIBABLE:
        return ()
    return office.session.scalars(
        sa.select(Outgoing).where(
            Outgoing.clinic_id == row.clinic_id,
            Outgoing.case_id == row.case_id,
            Outgoing.kind.in_(_SUBSCRIBABLE),
            Outgoing.id != row.id,
        )
    ).all()


def _has_changed(row: Outgoing, earlier: Sequence[Outgoing]) -> bool:
    """Whether the patient was told another time of the session before."""
    if not row.sequence:
        return False
    mine = [each for each in earlier if each.appointment_id == row.appointment_id]
    before = [each for each in mine if (each.sequence or 0) < row.sequence]
    # Rows are deleted in the end, and then there is only the SEQUENCE to go by.
    return not before or any(each.state == MailState.SENT for each in before)


def _brings_feed(row: Outgoing, earlier: Sequence[Outgoing]) -> bool:
    """Whether a message is the first of its case that reaches the patient, as far as one can know."""
    if row.kind not in _SUBSCRIBABLE or (row.sequence and not earlier):
        return False
    return not any(each.state == MailState.SENT or _holds_feed(each) for each in earlier)


def _holds_feed(row: Outgoing) -> bool:
    return row.state == MailState.WAITING and row.content is not None and bool(row.content["feed"])


def _content(
    office: Office, case: Case, address: str, *, feed: bool, until: dt.datetime | None
) -> dict[str, str]:
    """Return where a message goes, and fresh secrets for the links in it.

    A link is good for as long as any, but for one that is wanted `until` then only: with each link that
    works somebody can try five dates of birth, and reminders are the most of what is sent.
    """
    lifetime = office.settings.link_lifetime
    if until is not None:
        lifetime = min(lifetime, until - office.now)
    link = tokens.issue(office.session, office.clinic.id, case.id, TokenPurpose.MANAGE, office.now, lifetime)
    return {"to": address, "link": link, "feed": patient_secret() if feed else ""}


def _keep(
    office: Office,
    case: Case,
    row: Outgoing,
    content: dict[str, str],
    *,
    instead_of: dict[str, str] | None,
) -> None:
    """Keep the secrets for later attempts, and leave the audit entries; the last thing before the commit.

    What was made for another address opens nothing from now on.
    """
    row.content = content
    if instead_of is not None:
        tokens.revoke(office.session, office.clinic.id, instead_of["link"], office.now)
        if instead_of["feed"]:
            stop_feed(office, case, instead_of["feed"])
        note(office, case, "link revoked", {"message": row.id}, actor=SYSTEM)
    if content["feed"]:
        add_patient_feed(office, case, content["feed"], actor=SYSTEM)
    note(office, case, "link", {"purpose": TokenPurpose.MANAGE, "message": row.id}, actor=SYSTEM)


def _session(appointment: Appointment) -> Session:
    zone = ZoneInfo(appointment.zone)
    cancelled = appointment.state == AppointmentState.CANCELLED
    at_home = appointment.cream_where == AT_HOME and not cancelled
    prepare = appointment.cream_on_at if at_home else None
    return Session(
        ordinal=appointment.ordinal,
        count=appointment.count,
        arrive=appointment.arrive_at.astimezone(zone),
        prepare=None if prepare is None else prepare.astimezone(zone),
        cancelled=cancelled,
    )


def _calendar(
    office: Office,
    policy: MailPolicy,
    case: Case,
    row: Outgoing,
    told: Sequence[Appointment],
    address: str,
    stationery: Stationery,
) -> Attached | None:
    if row.kind not in _SERIES | _INVITATIONS:
        return None
    style = style_of(office, stationery.calendar_words(office.locale_of(case)))
    view = PatientVisits.of(office, case, stationery.manage)
    visits = [view.visit(each) for each in told]
    if row.kind in _SERIES:
        return Attached(octets=_file(office, row.kind, visits, style), filename=FILENAME)
    message = Message(
        stamp=office.now,
        organizer=Party(email=policy.sender, name=policy.name),
        attendee=Party(email=address),
    )
    if row.kind == MailKind.REQUEST:
        return Attached(octets=mail_invite(visits[0], style, message), filename=FILENAME, method="REQUEST")
    return Attached(octets=mail_cancel(visits[0], style, message), filename=FILENAME, method="CANCEL")


def _file(office: Office, kind: MailKind, visits: Sequence[Visit], style: Style) -> bytes:
    """Return the file of a series; after a change it marks what was cancelled, for calendars that have it."""
    if kind == MailKind.BOOKED:
        return mail_series(visits, style)
    now, kept = office.now, office.clinic.calendar.keep_cancelled
    return patient_series(visits, style, now=now, keep_cancelled=kept)


def _letter(
    office: Office,
    policy: MailPolicy,
    row: Outgoing,
    to: str,
    stationery: Stationery,
    occasion: Occasion,
    calendar: Attached | None,
) -> EmailMessage:
    if row.message_id is None:
        row.message_id = message_id(new_id(), policy.sender)
    return compose(
        Letter(
            message_id=row.message_id,
            date=office.now,
            sender=policy.sender,
            sender_name=policy.name,
            to=to,
            language=stationery.language(occasion.locale),
            wording=stationery.words(occasion),
            calendar=calendar,
        )
    )
