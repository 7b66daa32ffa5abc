"""Busy times from calendars that are kept elsewhere.

The rules, in words:

- They are read by a command and stored; no page ever waits for somebody else's server.
- Of several hosts that run the command, one reads a calendar at a time: a lease on its row, taken
  by one conditional UPDATE, and no transaction open while a server is waited for.
- A good reading replaces all stored times of its calendar in one transaction. One that is refused,
  or that was overtaken, changes none of them.
- A calendar counts as stale when its last good reading is older than the clinic allows, when there
  never was one, or when the profile names another address since. By the clinic's policy a stale
  calendar blocks its resource altogether, and a fresh one blocks it beyond what was read.
- Entries that are our own sessions (a clinic may have subscribed to them) take no time: their
  claims do, and they know of a move before that calendar does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from intake_plugin import fetching
from intake_plugin.calendars import busy as calendar
from intake_plugin.errors import ImportRefused, Problem
from intake_plugin.fetching import Bounds, Fetched
from intake_plugin.journeys.office import Office, transaction
from intake_plugin.records.base import EpochSeconds, new_id
from intake_plugin.records.tables import (
    LONGEST_BUSY,
    Appointment,
    AppointmentState,
    BusyReading,
    BusyTime,
    Case,
    Occupancy,
)
from intake_plugin.scheduling.clocks import Interval, instant
from intake_plugin.scheduling.hours import merge
from intake_plugin.settings import BusySource

Result = Literal["read", "unchanged", "refused", "elsewhere"]

OVERLAPS_SHOWN: Final = 50
"""Enough to act on; more of them mean that the wrong calendar is read."""

_DAY: Final = dt.timedelta(days=1)
_PIECE: Final = LONGEST_BUSY // dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came of reading one calendar.

    `unchanged`: it is the same as last time. `elsewhere`: another process is reading it, or was
    faster. `times` is how many stretches are stored.
    """

    source: BusySource
    result: Result
    times: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How well a calendar is known at this moment."""

    source: BusySource
    stale: bool
    read_at: dt.datetime | None = None
    attempted_at: dt.datetime | None = None
    read_until: dt.datetime | None = None
    error: str = ""

    @property
    def blocks(self) -> bool:
        """Whether nothing of the resource is offered because of it."""
        return self.stale and self.source.stale == "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A booked session at a time that a calendar from outside calls busy."""

    reference: str
    resource_id: str
    arrive_at: dt.datetime


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last good reading left, as long as it reaches far enough."""

    sha256: str | None
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class _Lease:
    """The right to store one reading, and up to when it is to know."""

    token: str
    start: dt.datetime
    end: dt.datetime
    known: _Known | None


def refresh(office: Office, source: BusySource, *, afresh: bool = False) -> Reading:
    """Read one calendar and store its busy times.

    `afresh` reads it even if it says that it has not changed. Raises SetupError where the extra
    `busy` is not installed, and Busy when the database gave no lock; the next run tries again.
    """
    calendar.engine()
    lease = _lease(office, source, afresh=afresh)
    if lease is None:
        return Reading(source=source, result="elsewhere")
    look = fetching.patience(source.within, _subject(source))
    try:
        fetched = _fetch(source, lease.known)
        digest = None if fetched.octets is None else hashlib.sha256(fetched.octets).hexdigest()
        changed: dict[str, Any] = {"etag": _kept(fetched.etag, 512)}
        changed["last_modified"] = _kept(fetched.last_modified, 128)
        if fetched.octets is None or (lease.known is not None and digest == lease.known.sha256):
            return _stored(office, source, lease, None, changed)
        times = calendar.read_busy(
            fetched.octets,
            zone=office.clinic.zone,
            start=lease.start,
            end=lease.end,
            limits=source.limits,
            subject=_subject(source),
            step=look,
        )
    except ImportRefused as error:
        return _refused(office, source, lease, error.problems)
    changed |= {"sha256": digest, "read_until": lease.end, "fingerprint": _fingerprint(office, source)}
    return _stored(office, source, lease, list(_pieces(_foreign(office, lease, times))), changed)


def _subject(source: BusySource) -> str:
    return f"The calendar {source.id!r}"


def _kept(text: str | None, longest: int) -> str | None:
    """Return what a server said, or None where no database takes it: then the file is read again."""
    return text if text is not None and len(text) <= longest and text.isprintable() else None


def _fingerprint(office: Office, source: BusySource) -> str:
    return hashlib.sha256(f"{source.source}\n{office.clinic.zone.key}".encode()).hexdigest()


def _mine(office: Office, source: BusySource) -> tuple[sa.ColumnElement[bool], ...]:
    return BusyReading.clinic_id == office.clinic.id, BusyReading.source_id == source.id


def _lease(office: Office, source: BusySource, *, afresh: bool) -> _Lease | None:
    _ensure_row(office, source)
    token = new_id()
    free = sa.or_(BusyReading.leased_until.is_(None), BusyReading.leased_until <= office.now)
    with transaction(office):
        # Fetching and reading take `within` at most, and storing is given as much again.
        until = office.now + 2 * source.within
        claim = sa.update(BusyReading).where(*_mine(office, source), free)
        claim = claim.values(lease=token, leased_until=until, attempted_at=office.now)
        if not _changed(office, claim):
            return None
        row = office.session.execute(
            sa.select(
                BusyReading.fingerprint,
                BusyReading.read_until,
                BusyReading.sha256,
                BusyReading.etag,
                BusyReading.last_modified,
            ).where(*_mine(office, source))
        ).one()
    start = _midnight(office, office.today - _DAY)
    needed = source.ahead.after(office.today)
    # To the end of a month, so that what has not changed is unfolded once a month and not each time.
    end = _midnight(office, (needed.replace(day=1) + 31 * _DAY).replace(day=1))
    reaches = row.read_until is not None and row.read_until >= _midnight(office, needed)
    same = row.fingerprint == _fingerprint(office, source)
    known = _Known(row.sha256, row.etag, row.last_modified) if same and reaches and not afresh else None
    return _Lease(token, start, end, known)


def _midnight(office: Office, date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), office.clinic.zone).astimezone(dt.UTC)


def _ensure_row(office: Office, source: BusySource) -> None:
    if office.session.scalar(sa.select(BusyReading.source_id).where(*_mine(office, source))):
        return
    try:
        with transaction(office):
            office.session.add(BusyReading(clinic_id=office.clinic.id, source_id=source.id))
    except IntegrityError:
        return  # another host was faster


def _changed(office: Office, statement: sa.Update) -> bool:
    result = office.session.execute(statement, execution_options={"synchronize_session": False})
    return cast("sa.CursorResult[Any]", result).rowcount == 1


def _fetch(source: BusySource, known: _Known | None) -> Fetched:
    fetched = fetching.fetch(
        source.source,
        Bounds(
            octets=source.limits.octets,
            within=source.within,
            redirects=source.redirects,
            private_addresses=source.private_addresses,
        ),
        subject=_subject(source),
        etag=known.etag if known else None,
        last_modified=known.last_modified if known else None,
    )
    if fetched.octets is None and known is None:
        words = "Its server says that it has not changed, although nothing was read from there before."
        raise ImportRefused(_subject(source), [Problem("", words)])
    return fetched


def _foreign(office: Office, lease: _Lease, times: Sequence[calendar.BusyTime]) -> Iterator[Interval]:
    """Yield what is busy apart from our own sessions."""
    own = set(
        office.session.scalars(
            sa.select(Appointment.id).where(
                Appointment.clinic_id == office.clinic.id, Appointment.arrive_at >= lease.start
            )
        )
    )
    return (Interval.between(time.start, time.end) for time in times if time.uid not in own)


def _pieces(times: Iterable[Interval]) -> Iterator[Interval]:
    for start, end in merge(sorted(times)):
        for begin in range(start, end, _PIECE):
            yield Interval(begin, min(begin + _PIECE, end))


def _refused(office: Office, source: BusySource, lease: _Lease, problems: Sequence[Problem]) -> Reading:
    values = {"error": "\n".join(map(str, problems)), "lease": None, "leased_until": None}
    with transaction(office):
        held = _changed(office, _still(office, source, lease).values(values))
    return Reading(source=source, result="refused" if held else "elsewhere", problems=tuple(problems))


def _still(office: Office, source: BusySource, lease: _Lease) -> sa.Update:
    return sa.update(BusyReading).where(*_mine(office, source), BusyReading.lease == lease.token)


def _stored(
    office: Office,
    source: BusySource,
    lease: _Lease,
    times: Sequence[Interval] | None,
    changed: dict[str, Any],
) -> Reading:
    """Store a good reading, unless another has overtaken it; None for the times that are there."""
    values = changed | {"read_at": office.now, "error": "", "lease": None, "leased_until": None}
    stretches = sa.delete(BusyTime).where(
        BusyTime.clinic_id == office.clinic.id, BusyTime.source_id == source.id
    )
    rows = [
        {
            "clinic_id": office.clinic.id,
            "source_id": source.id,
            "start_at": instant(start),
            "end_at": instant(end),
        }
        for start, end in times or ()
    ]
    with transaction(office):
        # First, because it locks the row: what follows is one host's alone.
        if not _changed(office, _still(office, source, lease).values(values)):
            return Reading(source=source, result="elsewhere")
        if times is None:
            return Reading(source=source, result="unchanged")
        office.session.execute(stretches, execution_options={"synchronize_session": False})
        if rows:
            office.session.execute(sa.insert(BusyTime), rows)
    return Reading(source=source, result="read", times=len(rows))


def forget_removed(office: Office) -> int:
    """Delete what was read from calendars that the profile no longer names; return how many."""
    listed = [source.id for source in office.clinic.busy]
    with transaction(office):
        gone = office.session.scalars(
            sa.select(BusyReading.source_id).where(
                BusyReading.clinic_id == office.clinic.id, BusyReading.source_id.not_in(listed)
            )
        ).all()
        for table in (BusyTime, BusyReading):
            if gone:
                where = (table.clinic_id == office.clinic.id, table.source_id.in_(gone))
                office.session.execute(
                    sa.delete(table).where(*where), execution_options={"synchronize_session": False}
                )
    return len(gone)


def freshness(office: Office) -> tuple[Freshness, ...]:
    """Return how well each calendar of the clinic's profile is known, in its order."""
    if not office.clinic.busy:
        return ()
    rows = office.session.scalars(
        sa.select(BusyReading)
        .where(BusyReading.clinic_id == office.clinic.id)
        .execution_options(populate_existing=True)
    )
    found = {row.source_id: row for row in rows}
    return tuple(_fresh(office, source, found.get(source.id)) for source in office.clinic.busy)


def _fresh(office: Office, source: BusySource, row: BusyReading | None) -> Freshness:
    if row is None:
        return Freshness(source=source, stale=True)
    same = row.fingerprint == _fingerprint(office, source)
    return Freshness(
        source=source,
        stale=_stale(office, source, row.read_at if same else None),
        read_at=row.read_at if same else None,
        attempted_at=row.attempted_at,
        read_until=row.read_until if same else None,
        error=row.error,
    )


def _stale(office: Office, source: BusySource, read_at: dt.datetime | None) -> bool:
    return read_at is None or office.now - read_at > source.stale_after


class _Stored(NamedTuple):
    """What is stored of a calendar; times in seconds since the Unix epoch."""

    fingerprint: str | None
    read_at: int | None
    read_until: int | None
    times: list[Interval]


class Elsewhere(NamedTuple):
    """A stretch that a calendar from outside takes of its resource.

    `known` is false where nobody knows what the calendar says then, and its policy is to block.
    """

    source: BusySource
    time: Interval
    known: bool = True


def blocked(office: Office, start: dt.datetime, end: dt.datetime) -> dict[str, tuple[Interval, ...]]:
    """Return what calendars from outside take of each resource in [start, end), sorted, by resource id.

    One query, and none for a clinic without such calendars.
    """
    taken: dict[str, list[Interval]] = defaultdict(list)
    for each in elsewhere(office, start, end):
        taken[each.source.resource].append(each.time)
    return {resource: tuple(merge(sorted(times))) for resource, times in taken.items()}


def elsewhere(office: Office, start: dt.datetime, end: dt.datetime) -> tuple[Elsewhere, ...]:
    """Return, calendar by calendar, what takes time that touches [start, end); queries as `blocked`."""
    if not office.clinic.busy:
        return ()
    stored, asked = _stored_between(office, start, end), Interval.between(start, end)
    found: list[Elsewhere] = []
    for source in office.clinic.busy:
        calendar = stored.get(source.id)
        # Of another address than the profile names now, nothing counts.
        if calendar is not None and calendar.fingerprint != _fingerprint(office, source):
            calendar = None
        if calendar is not None:
            found += (Elsewhere(source, time) for time in calendar.times if time.end > asked.start)
        unknown = max(_known_until(office, source, calendar), asked.start)
        if source.stale == "block" and unknown < asked.end:
            found.append(Elsewhere(source, Interval(unknown, asked.end), known=False))
    return tuple(found)


def _known_until(office: Office, source: BusySource, calendar: _Stored | None) -> int:
    """Return up to when a calendar is known; nothing of a stale one is."""
    if calendar is None or calendar.read_at is None or calendar.read_until is None:
        return 0
    return 0 if _stale(office, source, instant(calendar.read_at)) else calendar.read_until


def _stored_between(office: Office, start: dt.datetime, end: dt.datetime) -> dict[str, _Stored]:
    """Return what is stored of each calendar that was ever read, with its stretches in a range."""
    values = {"clinic": office.clinic.id, "start": start - LONGEST_BUSY, "end": end}
    times: dict[str, list[Interval]] = defaultdict(list)
    found: dict[str, _Stored] = {}
    for is_reading, source_id, fingerprint, first, last in office.session.execute(_readings(), values):
        if is_reading:
            found[source_id] = _Stored(fingerprint, first, last, times[source_id])
        else:
            times[source_id].append(Interval(first, last))
    return found


@cache
def _readings() -> sa.Executable:
    # Tables and not entities: the mapper would have no part in it, and takes its time.
    reading, time = BusyReading.__table__.c, BusyTime.__table__.c
    readings = sa.select(
        sa.true(),
        reading.source_id,
        reading.fingerprint,
        EpochSeconds(reading.read_at),
        EpochSeconds(reading.read_until),
    ).where(reading.clinic_id == sa.bindparam("clinic"))
    times = sa.select(
        sa.false(),
        time.source_id,
        sa.null(),
        EpochSeconds(time.start_at),
        EpochSeconds(time.end_at),
    ).where(
        time.clinic_id == sa.bindparam("clinic"),
        time.start_at > sa.bindparam("start"),
        time.start_at < sa.bindparam("end"),
    )
    return sa.union_all(readings, times)


def overlaps(office: Office) -> tuple[Overlap, ...]:
    """Return the booked sessions to come at which a calendar from outside calls their resource busy.

    They were booked before the entry was there, or its calendar was stale; the first ones only.
    """
    if not office.clinic.busy:
        return ()
    meeting = sa.or_(
        *(
            sa.and_(Occupancy.resource_id == source.resource, _last_before_end(source) > Occupancy.start_at)
            for source in office.clinic.busy
        )
    )
    statement = (
        sa.select(Case.reference, Occupancy.resource_id, Appointment.arrive_at)
        .join(
            Appointment,
            sa.and_(Appointment.clinic_id == Occupancy.clinic_id, Appointment.id == Occupancy.appointment_id),
        )
        .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
        .where(
            Occupancy.clinic_id == office.clinic.id,
            Occupancy.start_at >= office.now,
            meeting,
            Appointment.state == AppointmentState.BOOKED,
        )
        .distinct()
        .order_by(Appointment.arrive_at, Case.reference, Occupancy.resource_id)
        .limit(OVERLAPS_SHOWN)
    )
    return tuple(
        Overlap(reference=reference, resource_id=resource_id, arrive_at=arrive_at)
        for reference, resource_id, arrive_at in office.session.execute(statement)
    )


def _last_before_end(source: BusySource) -> sa.ScalarSelect[Any]:
    """Return when the last stretch of a calendar that begins before a session's end is over.

    Its stretches do not overlap, so that no other can reach further into the session: one look into
    the primary key instead of a comparison with them all.
    """
    return (
        sa.select(BusyTime.end_at)
        .where(
            BusyTime.clinic_id == Occupancy.clinic_id,
            BusyTime.source_id == source.id,
            BusyTime.start_at < Occupancy.end_at,
        )
        .order_by(BusyTime.start_at.desc())
        .limit(1)
        .correlate(Occupancy)
        .scalar_subquery()
    )
