"""Sending what the outbox holds: each message once, and none of them lost.

The rules, in words:

- Whoever sends a message first takes a lease on its row, by one conditional UPDATE, and commits it
  before the mail server hears of anything. Nobody else touches the row until the lease is over.
- A case's messages go one at a time: its row is locked while a lease is taken, so that two senders
  cannot overtake each other.
- What a message says is written anew for every attempt, from what is stored at that moment: however
  late it leaves, it tells no time that has been changed since, and goes where the patient wants it
  now. Its Message-ID stays, and so do its links for as long as the address does.
- The row stays until the server has taken the message over. Then its content is wiped.
- What the server refuses for good, what was tried for as long as the clinic wants, and what could not
  be sent before its time was over, is kept as undeliverable and shown to the clinic's staff, who can
  telephone.
- A process that dies with a lease leaves the row to be tried again when the lease is over, but not for
  longer than the clinic wants. If the server had taken the message a moment before, it is sent a second
  time with the same Message-ID.
- The same goes for a database that stays away for all tries to write down how an attempt ended; the
  log then names the row, and the other messages go on.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.message import EmailMessage
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from intake_plugin.errors import Busy, MailRefused
from intake_plugin.journeys.office import Office, keep, transaction
from intake_plugin.journeys.writing import Nothing, Stationery, write
from intake_plugin.posting import Carrier, Failure, failure_of, name_of
from intake_plugin.records.base import UTCDateTime, new_id
from intake_plugin.records.outbox import MailState, Outgoing

BATCH: Final = 100
_TRIES: Final = 5
"""How often the end of an attempt is written down, when the database is busy or out of reach."""
_PAUSE: Final = dt.timedelta(seconds=1)
"""How long to wait for a database that has dropped the connection; twice as long each further time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of one run."""

    counts: Counter[str] = field(default_factory=Counter)
    """`sent`, `later`, `given up`, `needless`: by what became of each message that was tried."""
    failures: Counter[str] = field(default_factory=Counter)
    """How often each code or error kept a message from being sent."""
    unreachable: str = ""
    """Why the mail server took nothing, where the run ended because of it."""
    unwritten: list[str] = field(default_factory=list)
    """Rows of which nobody could write down how their attempt ended; they may be sent once more."""

    @property
    def given_up(self) -> int:
        """How many messages nobody will get."""
        return self.counts["given up"]


@dataclass(frozen=True, slots=True)
class _Due:
    id: str
    case_id: str
    next_at: dt.datetime


@dataclass(frozen=True, slots=True)
class _Leased:
    """The right to send one message, once; `message` is None where nothing is left to tell."""

    row_id: str
    token: str
    attempts: int
    tried_at: dt.datetime
    message: EmailMessage | None
    failure: Failure | None = None
    """Why it could not be written."""


def deliver(
    desk: Callable[[], Office],
    carrier: Carrier,
    stationery: Stationery,
    *,
    only: Collection[str] | None = None,
) -> Delivered:
    """Send what is due at one clinic, or of it `only` some rows, and return what came of it.

    `desk` returns the clinic's office at the present moment; it is asked again for every message.
    Each row is tried once at most, and a run ends early when the mail server cannot be reached.
    """
    found = Delivered()
    for due in _all_due(desk, only):
        leased = _lease(desk(), due, carrier, stationery)
        if leased is None:
            continue
        if leased.message is None and leased.failure is None:
            failure, ended = None, _Ending("needless", _ended(desk(), MailState.NEEDLESS))
        else:
            failure = leased.failure or _send(carrier, leased)
            ended = _ending(desk(), leased, failure)
        found.counts[ended.word] += 1
        if not _write_down(desk, leased, ended.values):
            found.unwritten.append(leased.row_id)
        if failure is not None:
            found.failures[failure.code] += 1
        if failure is not None and failure.unreachable:
            return replace(found, unreachable=failure.code)
    return found


def again(office: Office) -> int:
    """Let what was given up be tried anew, and return how many messages that is.

    What staff tell in another way at the same moment stays as they leave it: `told` locks these rows.
    """
    with transaction(office):
        statement = (
            sa.update(Outgoing)
            .where(Outgoing.clinic_id == office.clinic.id, Outgoing.state == MailState.UNDELIVERABLE)
            .values(state=MailState.WAITING, next_at=office.now, attempts=0, tried_at=None, ended_at=None)
        )
        return _changed(office, statement)


def _all_due(desk: Callable[[], Office], only: Collection[str] | None) -> Iterator[_Due]:
    """Yield what was due when the run began, the longest due first, a batch at a time."""
    began, last = desk().now, None
    while batch := _due(desk(), began, last, only):
        yield from batch
        last = batch[-1]


def _due(office: Office, began: dt.datetime, last: _Due | None, only: Collection[str] | None) -> list[_Due]:
    found = sa.select(Outgoing.id, Outgoing.case_id, Outgoing.next_at).where(
        Outgoing.clinic_id == office.clinic.id,
        Outgoing.state == MailState.WAITING,
        Outgoing.next_at <= began,
    )
    if only is not None:
        found = found.where(Outgoing.id.in_(only))
    if last is not None:
        behind = sa.and_(Outgoing.next_at == last.next_at, Outgoing.id > last.id)
        found = found.where(sa.or_(Outgoing.next_at > last.next_at, behind))
    with transaction(office):
        rows = office.session.execute(found.order_by(Outgoing.next_at, Outgoing.id).limit(BATCH)).all()
    return [_Due(*row) for row in rows]


def _lease(office: Office, due: _Due, carrier: Carrier, stationery: Stationery) -> _Leased | None:
    """Take the right to send a row, with the message to send; None where somebody else has it."""
    with suppress(Busy):
        try:
            with transaction(office):
                return _taken(office, due, carrier, stationery)
        except Busy:
            raise
        except Exception as error:  # whatever cannot be written: the row must say so, and not be lost
            failure = failure_of(error) if isinstance(error, MailRefused) else Failure(name_of(error))
        with transaction(office):
            return _taken(office, due, carrier, stationery, failure)
    return None


def _taken(
    office: Office, due: _Due, carrier: Carrier, stationery: Stationery, failure: Failure | None = None
) -> _Leased | None:
    case = keep(office, due.case_id)
    if case is None:
        return None
    leases = _leases(office, due)
    if any(until > office.now for until in leases.values()):
        return None
    token = new_id()
    claim = (
        sa.update(Outgoing)
        .where(*_row(office, due.id), Outgoing.state == MailState.WAITING, Outgoing.next_at <= office.now)
        .values(
            lease=token,
            next_at=office.now + carrier.longest,
            attempts=Outgoing.attempts + 1,
            tried_at=sa.func.coalesce(Outgoing.tried_at, sa.literal(office.now, UTCDateTime())),
        )
    )
    if not _changed(office, claim):
        return None
    row = office.session.scalars(
        sa.select(Outgoing).where(*_row(office, due.id)).execution_options(populate_existing=True)
    ).one()
    tried_at = row.tried_at or office.now
    policy = office.clinic.mail
    if due.id in leases and policy is not None and office.now >= tried_at + policy.give_up_after:
        # Whoever had it died each time, so nobody could give it up at the end of an attempt.
        failure = Failure("interrupted", lasting=True)
    message = None if failure else write(office, case, row, stationery)
    if message is Nothing.IN_TIME and (row.attempts > 1 or row.error):
        # It was tried and could not be sent while there was time: somebody has to know.
        failure = Failure(row.error or "too late", lasting=True)
    return _Leased(
        due.id, token, row.attempts, tried_at, None if isinstance(message, Nothing) else message, failure
    )


def _row(office: Office, row_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return Outgoing.clinic_id == office.clinic.id, Outgoing.id == row_id


def _leases(office: Office, due: _Due) -> dict[str, dt.datetime]:
    """Return which messages of the case have a lease, and until when: one runs while it is being sent."""
    found = sa.select(Outgoing.id, Outgoing.next_at).where(
        Outgoing.clinic_id == office.clinic.id,
        Outgoing.case_id == due.case_id,
        Outgoing.state == MailState.WAITING,
        Outgoing.lease.is_not(None),
    )
    return {row.id: row.next_at for row in office.session.execute(found)}


def _changed(office: Office, statement: sa.Update) -> int:
    result = office.session.execute(statement, execution_options={"synchronize_session": False})
    return cast("sa.CursorResult[Any]", result).rowcount


def _send(carrier: Carrier, leased: _Leased) -> Failure | None:
    try:
        carrier.send(cast("EmailMessage", leased.message))
    except Exception as error:  # a mailer may be anybody's, and its failure must not cost the row
        return failure_of(error)
    return None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an attempt ended: the word for it, and what the row says from then on."""

    word: str
    values: dict[str, Any]


def _ending(office: Office, leased: _Leased, failure: Failure | None) -> _Ending:
    if failure is None:
        return _Ending("sent", _ended(office, MailState.SENT))
    policy = office.clinic.mail
    if policy is None or failure.lasting or office.now >= leased.tried_at + policy.give_up_after:
        return _Ending("given up", _ended(office, MailState.UNDELIVERABLE, failure.code))
    next_at = office.now + policy.wait_after(leased.attempts)
    return _Ending("later", {"lease": None, "next_at": next_at, "error": failure.code})


def _ended(office: Office, state: MailState, error: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {"state": state, "lease": None, "error": error, "ended_at": office.now}
    return values if state == MailState.UNDELIVERABLE else {**values, "content_sealed": None}


def _write_down(desk: Callable[[], Office], leased: _Leased, values: dict[str, Any]) -> bool:
    """Change a row for as long as the lease on it is ours, and return whether that could be done.

    That it was sent must be known to the next run, so a database that is busy, or that has dropped
    the connection while the mail server took its time, is asked more than once. Nothing is written
    twice by that: the first time gives the lease back.
    """
    for attempt in range(_TRIES):
        try:
            office = desk()
            mine = sa.update(Outgoing).where(*_row(office, leased.row_id), Outgoing.lease == leased.token)
            with transaction(office):
                _changed(office, mine.values(values))
        except Busy:
            continue
        except DBAPIError:
            if attempt not in (
                0,
                _TRIES - 1,
            ):  # a fresh connection may do, and the last try waits for nothing
                time.sleep(_PAUSE.total_seconds() * 2 ** (attempt - 1))
        else:
            return True
    _log.error("It could not be written down how the attempt at message %s ended.", leased.row_id)
    return False
