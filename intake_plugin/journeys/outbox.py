"""What there is to tell by mail, written down in the transaction of the act that makes it so.

The rules, in words:

- A row is written with the act or not at all, and sent by `delivery` once it is committed.
- Its key is made of the change it tells of, so that the same change cannot be told twice, whatever
  is repeated or pressed again.
- A reminder is a row that is due later. Whatever moves or cancels its session takes it back and
  writes another one in the same transaction. One that is on its way at that moment stays, and whoever
  sends it sees to it that it does not go out a second time.
- Rows are written after the claims and before the head of the audit chain, in one statement.
- A clinic without `[mail]` in its profile writes nothing. What it wrote while it had one is taken back
  all the same.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from intake_plugin.journeys.office import Office, note, writing
from intake_plugin.records import audit
from intake_plugin.records.base import Base, new_id
from intake_plugin.records.outbox import MailKind, MailState, Outgoing
from intake_plugin.records.tables import Appointment, Case, Series

SHOWN = 50
"""Enough to act on; more undeliverable messages mean that the mail server is set up wrongly."""

_FRESH = "intake_outbox"
_TABLE = Base.metadata.tables[Outgoing.__tablename__]


def booked(office: Office, series: Series, appointments: Collection[Appointment]) -> None:
    """A series was booked."""
    policy = office.clinic.mail
    if policy is None:
        return
    if policy.calendar == "invite":
        rows = [_of(office, MailKind.REQUEST, each) for each in appointments]
    else:
        rows = [_row(office, MailKind.BOOKED, series.case_id, series.id)]
    _write(office, [*rows, *_reminders(office, appointments)])


def moved(office: Office, case: Case, appointments: Sequence[Appointment]) -> None:
    """Sessions have new times; all of one act, the one that was asked for first."""
    _take_reminders_back(office, case, appointments)
    policy = office.clinic.mail
    if policy is None:
        return
    told = appointments if policy.calendar == "invite" else appointments[:1]
    kind = MailKind.REQUEST if policy.calendar == "invite" else MailKind.MOVED
    _write(office, [*(_of(office, kind, each) for each in told), *_reminders(office, appointments)])


def cancelled(office: Office, case: Case, appointment: Appointment) -> None:
    """One session was cancelled."""
    _take_reminders_back(office, case, [appointment])
    policy = office.clinic.mail
    if policy is None:
        return
    kind = MailKind.CANCEL if policy.calendar == "invite" else MailKind.CANCELLED
    _write(office, [_of(office, kind, appointment)])


def decided(office: Office, case: Case, decision_id: str) -> None:
    """A clinician decided; whatever it was, the message only says that there is an answer."""
    if office.clinic.mail is not None:
        _write(office, [_row(office, MailKind.DECIDED, case.id, decision_id)])


def referred(office: Office, case: Case) -> None:
    """A case waits for a clinician. `case.version` tells this time from any other."""
    if office.clinic.mail is not None and office.clinic.mail.notices:
        _write(office, [_row(office, MailKind.NOTICE, case.id, f"{case.id}:{case.version}")])


def _of(office: Office, kind: MailKind, appointment: Appointment) -> dict[str, Any]:
    change = f"{appointment.id}:{appointment.sequence}"
    about = {"appointment_id": appointment.id, "sequence": appointment.sequence}
    return _row(office, kind, appointment.case_id, change) | about


def _row(office: Office, kind: MailKind, case_id: str, change: str) -> dict[str, Any]:
    return {
        "clinic_id": office.clinic.id,
        "key": f"{change}:{kind}",
        "kind": kind,
        "case_id": case_id,
        "appointment_id": None,
        "sequence": None,
        "state": MailState.WAITING,
        "due_at": office.now,
        "next_at": office.now,
        "attempts": 0,
        "error": "",
    }


def _reminders(office: Office, appointments: Iterable[Appointment]) -> Iterator[dict[str, Any]]:
    """Yield a row for each reminder that is still to come."""
    leads = office.clinic.mail.reminders if office.clinic.mail else ()
    for appointment in appointments:
        for lead in leads:
            due = appointment.arrive_at - lead
            if due > office.now:
                row = _of(office, MailKind.REMINDER, appointment)
                key = f"{row['key']}:{lead // dt.timedelta(seconds=1)}"
                yield {**row, "key": key, "due_at": due, "next_at": due}


def lead_of(reminder: Outgoing) -> dt.timedelta:
    """Return how long before the arrival a reminder was meant to come."""
    return dt.timedelta(seconds=int(reminder.key.rpartition(":")[2]))


def _take_reminders_back(office: Office, case: Case, appointments: Iterable[Appointment]) -> None:
    """Delete the reminders of sessions, but for those that somebody is sending at this moment.

    The case is locked, so nobody takes a lease meanwhile. What is on its way ends by its lease, and
    is not sent again: `writing` sees that its session has changed.
    """
    table = _TABLE.c
    _connection(office).execute(
        sa.delete(_TABLE).where(
            table.clinic_id == office.clinic.id,
            table.case_id == case.id,
            table.kind == MailKind.REMINDER,
            table.state == MailState.WAITING,
            sa.or_(table.lease.is_(None), table.next_at <= office.now),
            table.appointment_id.in_([each.id for each in appointments]),
        )
    )


def _write(office: Office, rows: Sequence[dict[str, Any]]) -> None:
    # In order, because rows that are due at once leave in the order of their ids.
    ids = sorted(new_id() for _ in rows)
    values = [{**row, "id": row_id} for row, row_id in zip(rows, ids, strict=True)]
    _connection(office).execute(sa.insert(_TABLE), values)
    if office.settings.deliver == "after-commit":
        office.session.info.setdefault(_FRESH, []).extend(ids)


def _connection(office: Office) -> sa.Connection:
    return office.session.connection({"mapper": Outgoing})


def take_fresh(office: Office) -> tuple[str, ...]:
    """Return, once, the rows that this session has written; some of them may have been rolled back."""
    return tuple(office.session.info.pop(_FRESH, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """A message that did not reach anybody, for the desk."""

    reference: str
    kind: MailKind
    ordinal: int | None
    """The session it is about, where it is about one."""
    error: str
    since: dt.datetime


def undelivered(office: Office, case: Case | None = None) -> tuple[Undelivered, ...]:
    """Return the messages that could not be delivered, of one case or of the whole clinic, newest first."""
    found = (
        sa.select(Outgoing, Case.reference, Appointment.ordinal)
        .join(Case, sa.and_(Case.clinic_id == Outgoing.clinic_id, Case.id == Outgoing.case_id))
        .join(
            Appointment,
            sa.and_(Appointment.clinic_id == Outgoing.clinic_id, Appointment.id == Outgoing.appointment_id),
            isouter=True,
        )
        .where(Outgoing.clinic_id == office.clinic.id, Outgoing.state == MailState.UNDELIVERABLE)
        .order_by(Outgoing.ended_at.desc(), Outgoing.id)
        .limit(SHOWN)
    )
    if case is not None:
        found = found.where(Outgoing.case_id == case.id)
    return tuple(
        Undelivered(
            reference=reference,
            kind=row.kind,
            ordinal=ordinal,
            error=row.error,
            since=row.ended_at or row.due_at,
        )
        for row, reference, ordinal in office.session.execute(found)
    )


def told(office: Office, case: Case, actor: audit.Actor) -> None:
    """Record that staff have told the patient what could not be delivered; nothing of it is tried again."""
    with writing(office, case) as locked:
        rows = office.session.scalars(
            sa.select(Outgoing)
            .where(
                Outgoing.clinic_id == office.clinic.id,
                Outgoing.case_id == locked.id,
                Outgoing.state == MailState.UNDELIVERABLE,
            )
            .order_by(Outgoing.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        ).all()
        for row in rows:
            row.state, row.content = MailState.TOLD, None
        if rows:
            note(office, locked, "told", {"messages": [row.id for row in rows]}, actor=actor)
