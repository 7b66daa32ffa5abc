"""Claims: what a case takes of the clinic's time, held for a while or booked.

The rules of holding, in words:

- A hold is the same claims that a booking makes, with the case as `hold_id` and an end. To
  everybody else its time is taken; to the case itself it is free.
- A hold that has run out counts for nothing. Reading ignores it; it is deleted by whoever takes
  its place, in the same transaction and only if it has still run out, or by `flask intake expire`.
- A hold becomes a booking in place. Nobody can come between, because the rows never go.
- Rows are written in key order, so that two series do not wait for each other in a circle.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from intake_plugin.journeys.office import Office, Outrun
from intake_plugin.records.base import Base, EpochSeconds
from intake_plugin.records.tables import TICK, Block, Case, Claim, Occupancy
from intake_plugin.scheduling.claims import ticks
from intake_plugin.scheduling.clocks import Interval, instant, seconds
from intake_plugin.scheduling.slots import Slot

EVERY_LANE = -1
"""The lane of what takes a resource whole."""

_TICK = TICK // dt.timedelta(seconds=1)
_CLAIMS = Base.metadata.tables[Claim.__tablename__]
_OCCUPANCIES = Base.metadata.tables[Occupancy.__tablename__]
_BLOCKS = Base.metadata.tables[Block.__tablename__]


def _lane(table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return tuple(table.c[name] == sa.bindparam(f"in_{name}") for name in ("clinic_id", "resource_id", "lane"))


_HELD_STRETCH: Mapping[sa.Table, tuple[sa.ColumnElement[bool], ...]] = {
    _CLAIMS: (
        *_lane(_CLAIMS),
        _CLAIMS.c.tick >= sa.bindparam("first_tick"),
        _CLAIMS.c.tick < sa.bindparam("end_tick"),
        _CLAIMS.c.hold_id == sa.bindparam("of"),
    ),
    _OCCUPANCIES: (
        *_lane(_OCCUPANCIES),
        _OCCUPANCIES.c.start_at == sa.bindparam("begins_at"),
        _OCCUPANCIES.c.hold_id == sa.bindparam("of"),
    ),
}
# Built once: a statement costs more to build than to run.
_EXTEND = {
    table: sa.update(table).where(*which).values(expires_at=sa.bindparam("set_expires_at"))
    for table, which in _HELD_STRETCH.items()
}
_BOOK = {
    table: sa.update(table)
    .where(*which)
    .values(appointment_id=sa.bindparam("set_appointment_id"), hold_id=sa.null(), expires_at=sa.null())
    for table, which in _HELD_STRETCH.items()
}
_RELEASE = {table: sa.delete(table).where(*which) for table, which in _HELD_STRETCH.items()}
_CLEAR = {
    table: release.where(table.c.expires_at <= sa.bindparam("now")) for table, release in _RELEASE.items()
}
_OCCUPY = sa.insert(_OCCUPANCIES)


_HELD = ("clinic_id", "resource_id", "lane", "hold_id", "expires_at", "appointment_id")
"""What the claims of one stretch have in common."""


def _claim_ticks() -> sa.Insert:
    """Return the statement that claims a stretch, in order; the database counts its ticks.

    A row for each tick sent from here would cost more than all the rest of a booking.
    """
    tick = sa.select(sa.bindparam("first_tick", type_=sa.BigInteger).label("tick")).cte(
        "ticks", recursive=True
    )
    tick = tick.union_all(
        sa.select(tick.c.tick + 1).where(tick.c.tick + 1 < sa.bindparam("end_tick", type_=sa.BigInteger))
    )
    held = [sa.bindparam(name, type_=_CLAIMS.c[name].type) for name in _HELD]
    return sa.insert(_CLAIMS).from_select([*_HELD, "tick"], sa.select(*held, tick.c.tick))


_CLAIM = _claim_ticks()


class Look(NamedTuple):
    """What is looked for: what begins in [since, end) and ends after `start`; aware instants, UTC."""

    since: dt.datetime
    start: dt.datetime
    end: dt.datetime


class Stretch(NamedTuple):
    """A time of one lane of one resource, seconds since the Unix epoch; stretches sort in key order."""

    resource_id: str
    lane: int
    start: int
    end: int

    @property
    def ticks(self) -> range:
        """The numbers of the ticks that the stretch touches."""
        return ticks(self.start, self.end, _TICK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What is stored of some ranges of time, as one case sees it."""

    busy: Mapping[str, list[tuple[int, Interval]]]
    """Lane and time by resource: booked, or held for somebody else."""
    lapsed: Mapping[Stretch, str] = field(default_factory=dict)
    """Held once for somebody else, with the hold."""
    mine: frozenset[Stretch] = frozenset()
    """Held for the case itself, or once held, wherever it lies."""
    among: frozenset[str] | None = None
    """The resources that are looked at, where the others do not come into question; by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The times a patient chose, as the case's plan keeps them, and until when they are held."""

    arrivals: Mapping[int, dt.datetime]
    """By session number; aware."""
    practitioner_id: str | None
    """The practitioner asked for."""
    since: dt.datetime
    """When the times were first held; the clinic's notice counts from then while the hold stands."""
    until: dt.datetime
    """When the hold ends; not after `since` where nothing could be held."""
    practitioners: Mapping[int, str | None] = field(default_factory=dict)
    """Whose times they are, by session number, as the patient was shown them."""

    def holds(self, arrivals: Mapping[int, dt.datetime], now: dt.datetime) -> bool:
        """Whether these are the times that were held when the choice was made, and the hold stands."""
        return (
            self.until > now
            and dict(arrivals) == self.arrivals
            and arrivals.keys() == self.practitioners.keys()
        )

    def to_json(self) -> dict[str, Any]:
        """Return the choice in plain JSON types."""
        return {
            "arrivals": {str(ordinal): arrive.isoformat() for ordinal, arrive in self.arrivals.items()},
            "practitioner": self.practitioner_id,
            "practitioners": {str(ordinal): each for ordinal, each in self.practitioners.items()},
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_json` wrote."""
        return cls(
            arrivals={
                int(ordinal): dt.datetime.fromisoformat(arrive)
                for ordinal, arrive in stored["arrivals"].items()
            },
            practitioner_id=stored["practitioner"],
            practitioners={int(ordinal): each for ordinal, each in stored["practitioners"].items()},
            since=dt.datetime.fromisoformat(stored["since"]),
            until=dt.datetime.fromisoformat(stored["until"]),
        )


def choice_of(case: Case) -> Choice | None:
    """Return what the patient of a case chose, or None before they did."""
    return None if case.plan is None else Choice.from_json(case.plan)


def stretches_of(slot: Slot) -> list[Stretch]:
    """Return what one session takes, buffers included."""
    return [
        Stretch(claim.resource_id, claim.lane, seconds(claim.start), seconds(claim.end, up=True))
        for claim in slot.claims
    ]


def apart(slots: Mapping[int, Slot]) -> dict[Stretch, int]:
    """Return what sessions take, with their number; one that overlaps an earlier one takes nothing."""
    found: dict[Stretch, int] = {}
    used: set[tuple[str, int, int]] = set()
    for ordinal, slot in sorted(slots.items()):
        stretches = stretches_of(slot)
        ticks = {(each.resource_id, each.lane, tick) for each in stretches for tick in each.ticks}
        if used.isdisjoint(ticks):
            used |= ticks
            found |= dict.fromkeys(stretches, ordinal)
    return found


def load_taken(
    office: Office,
    case: Case | None,
    looks: Sequence[Look],
    *,
    without: Collection[str] = (),
    from_lane: int | None = None,
) -> Taken:
    """Read, with one query, what is taken as `looks` say, in order, and the blocks between the outermost.

    To `case` its own hold is free; it is read whole, wherever it lies. `without` names appointments
    whose time counts as free. Of what others have, `from_lane` leaves out the lanes below it.
    """
    own, moving = case is not None, bool(without)
    values = {
        "clinic_id": office.clinic.id,
        "now": office.now,
        **{f"{name}_{n}": at for n, look in enumerate(looks) for name, at in look._asdict().items()},
        **({"hold_id": case.id} if case is not None else {}),
        **({"without": list(without)} if moving else {}),
        **({} if from_lane is None else {"from_lane": from_lane}),
    }
    # All at once: thousands of rows cost as much to fetch one by one as to read.
    rows = office.connection.execute(
        _reading(len(looks), own=own, moving=moving, upper=from_lane is not None), values
    ).all()
    busy: dict[str, list[tuple[int, Interval]]] = defaultdict(list)
    lapsed: dict[Stretch, str] = {}
    mine: set[Stretch] = set()
    for resource_id, lane, begins, ends, hold_id, has_run_out in rows:
        if hold_id is None:
            busy[resource_id].append((lane, Interval(begins, ends)))
        elif case is not None and hold_id == case.id:
            mine.add(Stretch(resource_id, lane, begins, ends))
        elif has_run_out:
            lapsed[Stretch(resource_id, lane, begins, ends)] = hold_id
        else:
            busy[resource_id].append((lane, Interval(begins, ends)))
    return Taken(busy=busy, lapsed=lapsed, mine=frozenset(mine))


@cache
def _reading(looks: int, *, own: bool, moving: bool, upper: bool) -> sa.CompoundSelect[Any]:
    """Return the query of `load_taken`, which costs more to build than to run."""
    stored = _OCCUPANCIES.c
    begun = sa.select(
        stored.resource_id,
        stored.lane,
        EpochSeconds(stored.start_at),
        EpochSeconds(stored.end_at),
        stored.hold_id,
        stored.expires_at <= sa.bindparam("now"),
    ).where(stored.clinic_id == sa.bindparam("clinic_id"))
    taken = begun.where(
        sa.or_(
            *(
                sa.and_(
                    stored.start_at >= sa.bindparam(f"since_{number}"),
                    stored.start_at < sa.bindparam(f"end_{number}"),
                    stored.end_at > sa.bindparam(f"start_{number}"),
                )
                for number in range(looks)
            )
        )
    )
    if moving:
        others = stored.appointment_id.not_in(sa.bindparam("without", expanding=True))
        taken = taken.where(sa.or_(stored.appointment_id.is_(None), others))
    if upper:
        taken = taken.where(stored.lane >= sa.bindparam("from_lane"))
    held = [begun.where(stored.hold_id == sa.bindparam("hold_id"))] if own else []
    return sa.union_all(taken, *held, _blocks(looks))


def _blocks(looks: int) -> sa.Select[Any]:
    by_hand = _BLOCKS.c
    return sa.select(
        by_hand.resource_id,
        sa.literal(EVERY_LANE),
        EpochSeconds(by_hand.start_at),
        EpochSeconds(by_hand.end_at),
        sa.null(),
        sa.false(),
    ).where(
        by_hand.clinic_id == sa.bindparam("clinic_id"),
        by_hand.end_at > sa.bindparam("start_0"),
        by_hand.start_at < sa.bindparam(f"end_{looks - 1}"),
    )


def hold(office: Office, case: Case, wanted: Collection[Stretch], taken: Taken, until: dt.datetime) -> None:
    """Hold exactly these stretches for a case until `until`; what it held besides is released.

    Raises Outrun when somebody else was faster.
    """
    fresh = _settle(office, case, wanted, taken, _EXTEND, lambda _: {"set_expires_at": until})
    values = {"hold_id": case.id, "expires_at": until, "appointment_id": None}
    _insert(office, dict.fromkeys(fresh, values))


def book(office: Office, case: Case, wanted: Mapping[Stretch, str], taken: Taken) -> None:
    """Take these stretches for appointments, by id; what the case held becomes theirs or is released.

    Raises Outrun when somebody else was faster.
    """
    fresh = _settle(office, case, wanted, taken, _BOOK, lambda each: {"set_appointment_id": wanted[each]})
    values = {"hold_id": None, "expires_at": None}
    _insert(office, {each: {**values, "appointment_id": wanted[each]} for each in fresh})


def free(office: Office, appointment_ids: Collection[str]) -> None:
    """Free the time of appointments that are cancelled or about to move."""
    for table in (_CLAIMS, _OCCUPANCIES):
        which = (table.c.clinic_id == office.clinic.id, table.c.appointment_id.in_(appointment_ids))
        office.connection.execute(sa.delete(table).where(*which))


def release(office: Office, case: Case) -> None:
    """Release whatever is held for a case."""
    _delete(office, _stored(office, Occupancy.hold_id == case.id))


def clear_lapsed(office: Office, limit: int) -> int:
    """Delete up to `limit` stretches of holds that have run out, and return how many were found."""
    found = _stored(office, Occupancy.expires_at <= office.now, limit=limit)
    _delete(office, found, lapsed=True)
    return len(found)


def _stored(office: Office, *which: sa.ColumnElement[bool], limit: int | None = None) -> dict[Stretch, str]:
    rows = office.session.execute(
        sa.select(
            Occupancy.resource_id,
            Occupancy.lane,
            EpochSeconds(Occupancy.start_at),
            EpochSeconds(Occupancy.end_at),
            Occupancy.hold_id,
        )
        .where(Occupancy.clinic_id == office.clinic.id, Occupancy.hold_id.is_not(None), *which)
        .limit(limit)
    )
    return {
        Stretch(resource_id, lane, begins, ends): hold_id or ""
        for resource_id, lane, begins, ends, hold_id in rows
    }


def _settle(
    office: Office,
    case: Case,
    wanted: Collection[Stretch],
    taken: Taken,
    become: Mapping[sa.Table, sa.Update],
    to: Callable[[Stretch], dict[str, Any]],
) -> list[Stretch]:
    """Let what is held of the stretches wanted become what it shall, and make room for the rest.

    What the case holds besides is released. Returns the rest.
    """
    fresh = [each for each in wanted if each not in taken.mine]
    _delete(office, dict.fromkeys(taken.mine.difference(wanted), case.id))
    _delete(office, _in_the_way(fresh, taken.lapsed), lapsed=True)
    kept = sorted(taken.mine.intersection(wanted))
    changed = 0
    for table, statement in become.items():
        rows = [_key(office, table, each) | {"of": case.id} | to(each) for each in kept]
        changed += _many(office, statement, rows)
    if changed != sum(1 + len(each.ticks) for each in kept):
        raise Outrun("A hold ran out, and somebody else took one of its times.")
    return fresh


def _in_the_way(wanted: Iterable[Stretch], lapsed: Mapping[Stretch, str]) -> dict[Stretch, str]:
    ticks = {(each.resource_id, each.lane, tick) for each in wanted for tick in each.ticks}
    return {
        stretch: hold_id
        for stretch, hold_id in lapsed.items()
        if any((stretch.resource_id, stretch.lane, tick) in ticks for tick in stretch.ticks)
    }


def _delete(office: Office, held: Mapping[Stretch, str], *, lapsed: bool = False) -> None:
    """Delete held stretches and their claims; if `lapsed`, only what has still run out by then."""
    now = {"now": office.now} if lapsed else {}
    for table, statement in (_CLEAR if lapsed else _RELEASE).items():
        keys = [_key(office, table, stretch) | {"of": held[stretch]} | now for stretch in sorted(held)]
        _many(office, statement, keys)


def _insert(office: Office, fresh: Mapping[Stretch, Mapping[str, Any]]) -> None:
    ordered = sorted(fresh)
    common = [
        {
            "clinic_id": office.clinic.id,
            "resource_id": stretch.resource_id,
            "lane": stretch.lane,
            **fresh[stretch],
        }
        for stretch in ordered
    ]
    claims = [
        {**each, "first_tick": stretch.ticks.start, "end_tick": stretch.ticks.stop}
        for stretch, each in zip(ordered, common, strict=True)
    ]
    stretches = [
        {**each, "start_at": instant(stretch.start), "end_at": instant(stretch.end)}
        for stretch, each in zip(ordered, common, strict=True)
    ]
    try:
        _many(office, _CLAIM, claims)
        _many(office, _OCCUPY, stretches)
    except IntegrityError as error:
        raise Outrun("Somebody else took one of these times.") from error


def _key(office: Office, table: sa.Table, stretch: Stretch) -> dict[str, Any]:
    key = {
        "in_clinic_id": office.clinic.id,
        "in_resource_id": stretch.resource_id,
        "in_lane": stretch.lane,
    }
    if table is _CLAIMS:
        return {**key, "first_tick": stretch.ticks.start, "end_tick": stretch.ticks.stop}
    return {**key, "begins_at": instant(stretch.start)}


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"set_{name}": value for name, value in values.items()}


def _many(office: Office, statement: sa.Executable, rows: Sequence[dict[str, Any]]) -> int:
    """Run a statement for every row in one round trip where the driver can; return how many rows changed."""
    if not rows:
        return 0
    return office.connection.execute(statement, rows).rowcount
