"""The times a patient can choose: one sweep that both offers and validates.

The rules, which the sweep below obeys in one pass:

- A slot is named by its arrival. Arrivals lie on the clinic's grid, counted on the local clock from
  midnight of each date. Arrival, start of the room, treatment and end are all printed for the
  patient, so none of them may fall into an hour the clock shows twice; an arrival the clock skips
  does not exist.
- The whole visit, from arrival to end, lies inside one opening of the clinic. The practitioner's
  part lies inside one opening of the practitioner, the room's part inside one of the room.
- Every kind of resource the session needs gives one lane. A lane is free when the claim, which is
  the resource's part widened by the resource's buffers, overlaps nothing that is busy. Busy times
  are claims already, so buffers keep their distance from each other. Buffers may run past the
  opening: hours say when patients are seen, not when a room is cleaned.
- No arrival before the end of notice, none at or after the horizon, none on a local date before the
  clinical outcome allows it or on one that a rule forbids.
- Of several free resources one that is held for the patient on that date is taken, then the one
  with the fewest arrivals of that date lost to claims, then the first by id; of its lanes the
  lowest. The choice depends on nothing but the date, so a sweep of a month and a sweep of its one
  day agree.
- Everything is half-open: a session may start at the second another ends.
- Offering and validating are the same act. A time is valid when the sweep of its date offers it.
- The loops end: a sweep never looks beyond the openings it was given, whatever dates are asked.

To book, sweep again inside the transaction and let the store of claims have the last word.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import attrgetter, itemgetter
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from intake_plugin.scheduling.claims import Claim
from intake_plugin.scheduling.clocks import (
    DAY,
    EPOCH_ORDINAL,
    SECOND,
    Interval,
    Stretch,
    ambiguous,
    around,
    instant,
    midnight,
    seconds,
)
from intake_plugin.scheduling.hours import merge

Kind = Literal["practitioner", "room"]

_END = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Span:
    """How a session lies around the start of its treatment.

    The patient arrives `arrive` before it, the room is needed from `room` before it (the cream
    going on, or zero), the practitioner for `treatment`, and room and patient for `after` more.
    Raises ValueError for a negative part or an empty treatment.
    """

    arrive: dt.timedelta
    room: dt.timedelta
    treatment: dt.timedelta
    after: dt.timedelta

    def __post_init__(self) -> None:
        nothing = dt.timedelta()
        if min(self.arrive, self.room, self.after) < nothing or self.treatment <= nothing:
            raise ValueError(f"{self} has a negative part or no treatment. Check the protocol's timeline.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceCalendar:
    """When a practitioner or a room is there, and what already takes its time.

    `open` holds the resource's own openings, empty for one that does not serve the treatment.
    `busy` holds the claims of each lane, as `by_lane` makes them; a lane left out has none.
    `blocked` holds what takes every lane at once. `before` and `after` are the buffers a new claim
    brings with it. Raises ValueError for intervals out of order: a sweep looks only at those near
    its dates, and finds them by their order.
    """

    id: str
    kind: Kind
    open: tuple[Interval, ...]
    busy: tuple[tuple[Interval, ...], ...] = ()
    blocked: tuple[Interval, ...] = ()
    lanes: int = 1
    before: dt.timedelta = dt.timedelta()
    after: dt.timedelta = dt.timedelta()

    def __post_init__(self) -> None:
        for intervals in (self.open, self.blocked, *self.busy):
            _require_order(self.id, intervals)


def by_lane(claims: Iterable[tuple[int, Interval]]) -> tuple[tuple[Interval, ...], ...]:
    """Bring (lane, interval) pairs, in any order, into the shape of `ResourceCalendar.busy`."""
    lanes: dict[int, list[Interval]] = {}
    for lane, interval in claims:
        lanes.setdefault(lane, []).append(interval)
    return tuple(tuple(merge(sorted(lanes.get(lane, ())))) for lane in range(max(lanes, default=-1) + 1))


class Seat(NamedTuple):
    """One lane of a resource as given to a slot, with the buffers its claim needs."""

    resource_id: str
    lane: int
    before: dt.timedelta
    after: dt.timedelta


@dataclass(frozen=True, slots=True)
class Slot:
    """One bookable visit: its arrival (aware, UTC), its span, and the seats chosen for it."""

    arrive: dt.datetime
    span: Span
    zone: ZoneInfo
    practitioner: Seat | None
    room: Seat | None

    @property
    def treatment(self) -> dt.datetime:
        """Start of the treatment, aware, UTC."""
        return self.arrive + self.span.arrive

    @property
    def end(self) -> dt.datetime:
        """End of the patient's visit, aware, UTC."""
        return self.treatment + self.span.treatment + self.span.after

    @property
    def local_arrive(self) -> dt.datetime:
        """The arrival on the clinic's clock, naive."""
        return self._local(self.arrive)

    @property
    def local_treatment(self) -> dt.datetime:
        """The start of the treatment on the clinic's clock, naive."""
        return self._local(self.treatment)

    @property
    def date(self) -> dt.date:
        """The local date of the arrival."""
        return self.local_arrive.date()

    @property
    def practitioner_id(self) -> str | None:
        """The practitioner's resource id, or None where the session needs none."""
        return self.practitioner.resource_id if self.practitioner else None

    @property
    def room_id(self) -> str | None:
        """The room's resource id, or None where the session needs none."""
        return self.room.resource_id if self.room else None

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What the visit takes from its resources, buffers included."""
        done = self.treatment + self.span.treatment
        parts = (
            (self.practitioner, self.treatment, done),
            (self.room, self.treatment - self.span.room, self.end),
        )
        return tuple(
            Claim(seat.resource_id, seat.lane, start - seat.before, end + seat.after)
            for seat, start, end in parts
            if seat is not None
        )

    def _local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None, fold=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Everything that decides which times exist, in one value.

    `opening` holds the clinic's openings as `open_intervals` returns them. `earliest` is now plus notice and
    `latest` the end of the horizon, both aware; an arrival lies in [earliest, latest). A session
    takes one seat of every kind in `needs`, so a clinic that lists no rooms leaves them out there.
    `tick` is the step in which claims are stored; busy times are widened to it, so that nothing is
    offered that the store would refuse. `held` has, by local date, the (resource id, lane) of what is
    held for the patient: free to them, and theirs first. Raises ValueError for naive datetimes, an
    empty grid, or openings out of order.
    """

    zone: ZoneInfo
    grid: dt.timedelta
    span: Span
    opening: tuple[Interval, ...]
    resources: tuple[ResourceCalendar, ...]
    earliest: dt.datetime
    latest: dt.datetime
    not_before: dt.date | None = None
    forbidden: Container[dt.date] = frozenset()
    needs: tuple[Kind, ...] = ("practitioner", "room")
    tick: dt.timedelta = SECOND
    held: Mapping[dt.date, Container[tuple[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for end in (self.earliest, self.latest):
            seconds(end)
        _require_order("opening", self.opening)
        if min(self.grid, self.tick) < SECOND:
            raise ValueError(f"A grid of {self.grid} and a tick of {self.tick} need at least a second each.")


def offers(sweep: Sweep, *, first: dt.date, last: dt.date, practitioner_id: str | None = None) -> list[Slot]:
    """Return one slot for every arrival possible on the local dates `first` to `last`, in order.

    `practitioner_id` asks for one practitioner; nothing is offered for an unknown one.
    """
    found = board(sweep, first=first, last=last, practitioner_id=practitioner_id)
    return [slot for day in found.days for slot in found.slots(day)]


def validate(sweep: Sweep, arrive: dt.datetime, *, practitioner_id: str | None = None) -> Slot | None:
    """Return the slot `offers` has for this arrival (aware), or None if it has none."""
    if not sweep.earliest <= arrive < sweep.latest:
        return None
    date, moment = arrive.astimezone(sweep.zone).date(), seconds(arrive)
    found = board(sweep, first=date, last=date, practitioner_id=practitioner_id)
    index = bisect_left(found.arrivals, moment)
    offered = (
        found.arrivals[index : index + 1] == [moment] and found.free[index] and instant(moment) == arrive
    )
    return found.slot(index) if offered else None


def days(
    sweep: Sweep, *, first: dt.date, last: dt.date, practitioner_id: str | None = None
) -> dict[dt.date, int]:
    """Return how many arrivals `offers` has on each local date from `first` to `last` that has any."""
    found = board(sweep, first=first, last=last, practitioner_id=practitioner_id)
    counts = ((day.date, found.free.count(1, day.first, day.end)) for day in found.days)
    return {date: count for date, count in counts if count}


class Day(NamedTuple):
    """A local date and its arrivals, `arrivals[first:end]`."""

    date: dt.date
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class _Resource:
    """A resource over arrivals: 1 in `inside` where it is there, in each of `lanes` where it is free."""

    calendar: ResourceCalendar
    inside: bytearray
    lanes: list[bytearray]

    def lost(self, day: Day) -> int:
        """Return how many arrivals of a day are lost to claims, over all lanes."""
        lost = self.inside.count(1, day.first, day.end) * len(self.lanes)
        for lane in self.lanes:
            lost -= lane.count(1, day.first, day.end)
        return lost


_Lanes = Sequence[tuple[ResourceCalendar, int, bytearray]]
_DAY_END = attrgetter("end")


@dataclass(frozen=True, slots=True)
class Board:
    """Arrivals in order, with 1 in `free` where every kind needed has a free lane.

    Who takes a time is chosen when its slot is asked for, so that looking through many times is cheap.
    """

    sweep: Sweep
    clock: Sequence[Stretch]
    arrivals: list[int]
    days: list[Day]
    resources: dict[Kind, list[_Resource]]
    free: bytes

    def walls(self, day: Day) -> list[tuple[int, int]]:
        """Return the index of each arrival of a day that can be had, with its time of day in seconds."""
        found: list[tuple[int, int]] = []
        for begins, ends, offset in self.clock:
            low = bisect_left(self.arrivals, begins, day.first, day.end)
            high = bisect_left(self.arrivals, ends, low, day.end)
            ahead = offset - midnight(day.date)
            free = compress(range(low, high), self.free[low:high])
            found += [(index, self.arrivals[index] + ahead) for index in free]
        return found

    def slot(self, index: int) -> Slot:
        """Return the slot of an arrival that can be had."""
        return self._slot(index, *self._order(self.days[bisect_right(self.days, index, key=_DAY_END)]))

    def slots(self, day: Day) -> list[Slot]:
        """Return the slots of a day, in order."""
        practitioners, rooms = self._order(day)
        free = compress(range(day.first, day.end), self.free[day.first : day.end])
        return [self._slot(index, practitioners, rooms) for index in free]

    def _order(self, day: Day) -> tuple[_Lanes, _Lanes]:
        """Return the lanes of practitioners and of rooms in the order in which they are given on a day."""
        find, held = self.resources.get, self.sweep.held.get(day.date, ())
        return _fairest_first(find("practitioner", ()), day, held), _fairest_first(
            find("room", ()), day, held
        )

    def _slot(self, index: int, practitioners: _Lanes, rooms: _Lanes) -> Slot:
        return Slot(
            instant(self.arrivals[index]),
            self.sweep.span,
            self.sweep.zone,
            _first_free(practitioners, index),
            _first_free(rooms, index),
        )


class Part(NamedTuple):
    """Some part of a visit, in seconds from the arrival."""

    start: int
    end: int


def board(sweep: Sweep, *, first: dt.date, last: dt.date, practitioner_id: str | None = None) -> Board:
    """Return what `offers` has on the local dates `first` to `last`, before anybody is chosen for it."""
    clock, arrivals, dates = _arrivals(sweep, first, last)
    parts = {kind: part_of(sweep.span, kind) for kind in sweep.needs}
    resources: dict[Kind, list[_Resource]] = {kind: [] for kind in sweep.needs}
    for calendar in sweep.resources:
        pinned = practitioner_id is not None and calendar.kind == "practitioner"
        if calendar.kind in resources and (not pinned or calendar.id == practitioner_id):
            part = parts[calendar.kind]
            resources[calendar.kind].append(_resource(calendar, part, arrivals, sweep.tick // SECOND))
    free = int.from_bytes(b"\x01" * len(arrivals))
    for kind in resources.values():
        any_lane = 0
        for resource in kind:
            for lane in resource.lanes:
                any_lane |= int.from_bytes(lane)
        free &= any_lane
    return Board(sweep, clock, arrivals, dates, resources, free.to_bytes(len(arrivals)))


def _arrivals(sweep: Sweep, first: dt.date, last: dt.date) -> tuple[Sequence[Stretch], list[int], list[Day]]:
    """List the arrivals the clinic itself allows: grid, clock, opening, notice, horizon, dates."""
    dates = _dates(sweep, first, last)
    if not dates:
        return (), [], []
    length = part_of(sweep.span, "visit").end
    clock = around(sweep.zone, dates[0], dates[-1], margin=length)
    grid: list[int] = []
    ends: list[int] = []
    for date in dates:
        for arrivals in on_grid(date, sweep.grid // SECOND, clock):
            grid.extend(arrivals)
        ends.append(len(grid))
    allowed = _allowed(sweep, grid, clock)
    found = list(compress(grid, allowed))
    listed: list[Day] = []
    begin = index = 0
    for date, end in zip(dates, ends, strict=True):
        count = allowed.count(1, begin, end)
        if count:
            listed.append(Day(date, index, index + count))
        begin, index = end, index + count
    return clock, found, listed


def _dates(sweep: Sweep, first: dt.date, last: dt.date) -> list[dt.date]:
    """List the dates worth looking at; a day to spare on both sides stands in for the offset."""
    if not sweep.opening:
        return []
    start = max(seconds(sweep.earliest), sweep.opening[0].start)
    end = min(seconds(sweep.latest), sweep.opening[-1].end)
    begin = max(first, sweep.not_before or first).toordinal()
    begin = max(begin, start // DAY - 1 + EPOCH_ORDINAL)
    finish = min(last.toordinal(), end // DAY + 1 + EPOCH_ORDINAL)
    dates = map(dt.date.fromordinal, range(begin, finish + 1))
    return [date for date in dates if date not in sweep.forbidden]


def on_grid(date: dt.date, grid: int, clock: Sequence[Stretch]) -> Iterator[range]:
    """Yield the arrivals on the clinic's grid of seconds, in order, for each stretch that shows them."""
    for begins, ends, offset in clock:
        day = midnight(date) - offset
        start, end = max(day, begins), min(day + DAY, ends)
        if start < end:
            yield range(start + (day - start) % grid, end, grid)


def _allowed(sweep: Sweep, grid: list[int], clock: Sequence[Stretch]) -> bytearray:
    allowed = bytearray(len(grid))
    keep_inside(allowed, grid, sweep.opening, part_of(sweep.span, "visit"))
    notice = bisect_left(grid, seconds(sweep.earliest, up=True))
    horizon = bisect_left(grid, seconds(sweep.latest, up=True))
    allowed[:notice] = bytes(notice)
    allowed[horizon:] = bytes(len(grid) - horizon)
    for start, end in ambiguous(clock):
        for moment in printed(sweep.span):
            low, high = bisect_left(grid, start - moment), bisect_left(grid, end - moment)
            allowed[low:high] = bytes(high - low)
    return allowed


def _resource(calendar: ResourceCalendar, part: Part, arrivals: list[int], tick: int) -> _Resource:
    claim = claim_of(part, calendar)
    inside = bytearray(len(arrivals))
    keep_inside(inside, arrivals, calendar.open, part)
    drop_overlaps(blocked := inside[:], arrivals, calendar.blocked, claim, tick)
    masks: list[bytearray] = []
    for lane in range(calendar.lanes):
        masks.append(blocked[:])
        if lane < len(calendar.busy):
            drop_overlaps(masks[-1], arrivals, calendar.busy[lane], claim, tick)
    return _Resource(calendar, inside, masks)


def part_of(span: Span, whose: Kind | Literal["visit"]) -> Part:
    """Return the part of a visit during which a kind of resource, or the patient, is needed."""
    treatment = span.arrive
    if whose == "practitioner":
        return Part(treatment // SECOND, _up(treatment + span.treatment))
    end = _up(treatment + span.treatment + span.after)
    return Part((treatment - span.room) // SECOND if whose == "room" else 0, end)


def claim_of(part: Part, calendar: ResourceCalendar) -> Part:
    """Return what a visit takes from a resource: its part, and the resource's buffers."""
    return Part(part.start - _up(calendar.before), part.end + _up(calendar.after))


def printed(span: Span) -> frozenset[int]:
    """Return the moments of a visit that a patient reads off the clock, in seconds from the arrival."""
    visit, room = part_of(span, "visit"), part_of(span, "room")
    return frozenset((visit.start, room.start, part_of(span, "practitioner").start, visit.end))


def _up(duration: dt.timedelta) -> int:
    return -(-duration // SECOND)


def keep_inside(mask: bytearray, arrivals: list[int], openings: Sequence[Interval], part: Part) -> None:
    """Set 1 in `mask` for each arrival whose part lies inside one opening."""
    before, after = part.start, part.end
    for opening in _near(openings, arrivals, part):
        low, high = bisect_left(arrivals, opening.start - before), bisect_right(arrivals, opening.end - after)
        if low < high:
            mask[low:high] = b"\x01" * (high - low)


def drop_overlaps(
    mask: bytearray, arrivals: list[int], busy: Sequence[Interval], claim: Part, tick: int
) -> None:
    """Set 0 in `mask` for each arrival whose claim shares a tick (seconds) with a busy interval."""
    for start, end in _near(busy, arrivals, Part(claim.start - tick, claim.end + tick)):
        low = bisect_right(arrivals, start - start % tick - claim.end)
        high = bisect_left(arrivals, end + -end % tick - claim.start, low)
        if low < high and start < end:
            mask[low:high] = bytes(high - low)


def _near(intervals: Sequence[Interval], arrivals: list[int], part: Part) -> Sequence[Interval]:
    """Return the intervals that can touch this part of any visit."""
    if not arrivals or not intervals:
        return ()
    low = bisect_right(intervals, arrivals[0] + part.start, key=_END)
    high = bisect_left(intervals, (arrivals[-1] + part.end,))
    return intervals[low:high]


def _require_order(where: str, intervals: Sequence[Interval]) -> None:
    ends = list(map(_END, intervals))
    if list(intervals) != sorted(intervals) or ends != sorted(ends):
        raise ValueError(
            f"The intervals of {where!r} are not in order. Sort them and pass them through hours.merge."
        )


def _fairest_first(resources: Sequence[_Resource], day: Day, held: Container[tuple[str, int]]) -> _Lanes:
    """Return the lanes of some resources in the order in which they are given on a day."""
    ordered = sorted(resources, key=lambda each: (each.lost(day), each.calendar.id))
    lanes = [(each.calendar, number, lane) for each in ordered for number, lane in enumerate(each.lanes)]
    return sorted(lanes, key=lambda each: (each[0].id, each[1]) not in held) if held else lanes


def _first_free(lanes: _Lanes, index: int) -> Seat | None:
    for calendar, number, free in lanes:
        if free[index]:
            return Seat(calendar.id, number, calendar.before, calendar.after)
    return None
