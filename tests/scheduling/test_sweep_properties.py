"""The sweep against a plain reading of its rules, minute by minute, in zones and on days that change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.claims import Claim
from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.hours import Weekly, merge, open_intervals
from intake_plugin.scheduling.slots import (
    Kind,
    ResourceCalendar,
    Slot,
    Span,
    Sweep,
    by_lane,
    days,
    offers,
    validate,
)
from tests.scheduling.conftest import seats, ticks_of

STEP = dt.timedelta(minutes=5)
MINUTE = dt.timedelta(minutes=1)
CHANGES = {
    "Europe/London": ("2026-03-29", "2026-10-25", "2026-06-10"),
    "America/New_York": ("2026-03-08", "2026-11-01", "2026-06-10"),
    "Asia/Tokyo": ("2026-03-29",),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04", "2026-06-10"),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22", "2026-06-10"),
    "America/Sao_Paulo": ("2018-02-17", "2018-02-18", "2018-11-04", "2026-06-10"),
}


@dataclass(frozen=True)
class Case:
    """A sweep with the weekly hours it was made from."""

    weekly: Weekly
    own: dict[str, Weekly]
    sweep: Sweep
    first: dt.date
    last: dt.date


def minutes(low: int, high: int, step: int = 5) -> st.SearchStrategy[dt.timedelta]:
    return st.integers(low // step, high // step).map(lambda count: dt.timedelta(minutes=count * step))


spans = st.builds(
    Span, arrive=minutes(0, 60), room=minutes(0, 45), treatment=minutes(5, 90), after=minutes(0, 20)
)


@st.composite
def weeks(draw: st.DrawFn) -> Weekly:
    marks = sorted(draw(st.just({0, 48}) | st.sets(st.integers(0, 48), min_size=2, max_size=4)))
    times = [dt.time(mark // 2 % 24, mark % 2 * 30) for mark in marks]
    openings = tuple(zip(times[::2], times[1::2], strict=False))
    return dict.fromkeys(range(1, 8), openings)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(sorted(CHANGES)))
    zone, middle = ZoneInfo(name), dt.date.fromisoformat(draw(st.sampled_from(CHANGES[name])))
    first, last = middle - dt.timedelta(days=1), middle + dt.timedelta(days=1)
    weekly = draw(weeks())
    own: dict[str, Weekly] = {}
    resources = []
    kinds: tuple[Kind, ...] = ("practitioner", "room")
    for kind in kinds:
        for number in range(draw(st.integers(1, 2))):
            resource = f"{kind}-{number}"
            own[resource] = draw(st.one_of(st.just(weekly), weeks()))
            resources.append(draw(calendars(resource, kind, own[resource], zone, first, last)))
    start = dt.datetime.combine(first, dt.time(), zone).astimezone(dt.UTC)
    sweep = Sweep(
        zone=zone,
        grid=draw(st.sampled_from([15, 20, 30, 50])) * MINUTE,
        span=draw(spans),
        opening=tuple(open_intervals(weekly, zone, first, last)),
        resources=tuple(resources),
        earliest=start + draw(minutes(0, 24 * 60)),
        latest=start + dt.timedelta(days=2) + draw(minutes(0, 24 * 60)),
        not_before=draw(st.sampled_from([None, middle])),
        forbidden=draw(st.sampled_from([frozenset(), frozenset([last])])),
        tick=draw(st.sampled_from([1, 2])) * STEP,
    )
    return Case(weekly, own, sweep, first, last)


@st.composite
def calendars(
    draw: st.DrawFn, name: str, kind: Kind, weekly: Weekly, zone: ZoneInfo, first: dt.date, last: dt.date
) -> ResourceCalendar:
    lanes = draw(st.integers(1, 2))
    start = int(dt.datetime.combine(first, dt.time(), zone).timestamp())
    interval = st.builds(
        lambda begin, length: Interval(start + begin * 60, start + (begin + length) * 60),
        st.integers(0, 3 * 24 * 60),
        st.integers(0, 300),
    )
    return ResourceCalendar(
        id=name,
        kind=kind,
        open=tuple(open_intervals(weekly, zone, first, last)),
        busy=by_lane(draw(st.lists(st.tuples(st.integers(0, lanes), interval), max_size=6))),
        blocked=tuple(merge(sorted(draw(st.lists(interval, max_size=2))))),
        lanes=lanes,
        before=draw(minutes(0, 20)),
        after=draw(minutes(0, 20)),
    )


class Oracle:
    """The rules read out slowly: one minute, one tick, one wall clock at a time."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sweep = case.sweep

    def offers(self) -> Iterator[tuple[dt.datetime, str, int, str, int]]:
        free: dict[dt.datetime, list[Claim]] = {}
        lost: dict[tuple[dt.date, str], int] = {}
        for arrive in self._arrivals():
            date = self._local(arrive).date()
            free[arrive] = []
            for resource in self.sweep.resources:
                there, seats = self._seats(resource, arrive)
                free[arrive].extend(seats)
                lost[date, resource.id] = lost.get((date, resource.id), 0) + there - len(seats)
        for arrive, seats in free.items():
            date = self._local(arrive).date()
            seats.sort(key=lambda seat: (lost[date, seat.resource_id], seat.resource_id, seat.lane))
            practitioner = next((seat for seat in seats if seat.resource_id.startswith("pr")), None)
            room = next((seat for seat in seats if seat.resource_id.startswith("ro")), None)
            if practitioner and room:
                yield arrive, *practitioner[:2], *room[:2]

    def _arrivals(self) -> Iterator[dt.datetime]:
        sweep = self.sweep
        moment = dt.datetime.combine(self.case.first, dt.time(), dt.UTC) - dt.timedelta(days=1)
        for _ in range(5 * 24 * 60 // 5):
            moment += STEP
            local, span = self._local(moment), sweep.span
            treatment = moment + span.arrive
            end = treatment + span.treatment + span.after
            if (
                self.case.first <= local.date() <= self.case.last
                and (local.hour * 60 + local.minute) * MINUTE % sweep.grid == dt.timedelta()
                and not any(map(self._twice, (moment, treatment - span.room, treatment, end)))
                and sweep.earliest <= moment < sweep.latest
                and (sweep.not_before is None or local.date() >= sweep.not_before)
                and local.date() not in sweep.forbidden
                and self._open(self.case.weekly, moment, end)
            ):
                yield moment

    def _seats(self, resource: ResourceCalendar, arrive: dt.datetime) -> tuple[int, list[Claim]]:
        span = self.sweep.span
        start = arrive + span.arrive
        end = start + span.treatment
        if resource.kind == "room":
            start, end = start - span.room, end + span.after
        if not self._open(self.case.own[resource.id], start, end):
            return 0, []
        seats = []
        for lane in range(resource.lanes):
            claim = Claim(resource.id, lane, start - resource.before, end + resource.after)
            taken = resource.blocked + (resource.busy[lane] if lane < len(resource.busy) else ())
            wanted = set(ticks_of(claim.start, claim.end, self.sweep.tick))
            if not any(wanted & set(ticks_of(one.starts, one.ends, self.sweep.tick)) for one in taken):
                seats.append(claim)
        return resource.lanes, seats

    def _open(self, weekly: Weekly, start: dt.datetime, end: dt.datetime) -> bool:
        """Read the wall clock every five minutes; all hours, spans and offsets here are multiples of that."""
        while start < end:
            local = self._local(start)
            if not self.case.first <= local.date() <= self.case.last:
                return False
            if not any(
                opens <= local.time() < (closes if closes > opens else dt.time.max)
                for opens, closes in weekly[local.isoweekday()]
            ):
                return False
            start += STEP
        return True

    def _local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(self.sweep.zone).replace(tzinfo=None)

    def _twice(self, moment: dt.datetime) -> bool:
        local = moment.astimezone(self.sweep.zone)
        return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


@settings(deadline=None, max_examples=120)
@given(cases())
def test_the_sweep_offers_what_the_rules_allow_and_nothing_else(case: Case) -> None:
    found = [(slot.arrive, *seats(slot)) for slot in offers(case.sweep, first=case.first, last=case.last)]

    assert found == list(Oracle(case).offers())


@settings(deadline=None, max_examples=60)
@given(cases(), st.data())
def test_what_is_offered_validates_and_what_is_not_does_not(case: Case, data: st.DataObject) -> None:
    slots = {slot.arrive: slot for slot in offers(case.sweep, first=case.first, last=case.last)}
    start = case.sweep.earliest - dt.timedelta(hours=2)
    asked = start + data.draw(st.integers(0, 4 * 24 * 12)) * STEP

    assert {arrive: validate(case.sweep, arrive) for arrive in slots} == slots
    assert validate(case.sweep, asked) == slots.get(asked)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_a_month_and_its_days_agree(case: Case) -> None:
    counted = days(case.sweep, first=case.first, last=case.last)
    dates = [case.first + dt.timedelta(days=number) for number in range((case.last - case.first).days + 1)]
    by_day = [slot for date in dates for slot in offers(case.sweep, first=date, last=date)]

    assert offers(case.sweep, first=case.first, last=case.last) == by_day
    assert counted == {date: count for date in dates if (count := sum(slot.date == date for slot in by_day))}


@settings(deadline=None, max_examples=60)
@given(cases())
def test_asking_for_a_practitioner_offers_exactly_the_times_that_one_is_free(case: Case) -> None:
    found = offers(case.sweep, first=case.first, last=case.last)
    ids = [resource.id for resource in case.sweep.resources if resource.kind == "practitioner"]
    each = {name: offers(case.sweep, first=case.first, last=case.last, practitioner_id=name) for name in ids}

    assert {slot.arrive for slots in each.values() for slot in slots} == {slot.arrive for slot in found}
    assert all(slot.practitioner_id == name for name, slots in each.items() for slot in slots)


@settings(deadline=None, max_examples=50)
@given(cases(), st.data())
def test_no_two_accepted_visits_share_a_tick_of_a_lane(case: Case, data: st.DataObject) -> None:
    """Book until nothing is left or twenty visits are in; the store of ticks never sees one twice."""
    sweep = case.sweep
    stored = {
        (resource.id, lane, tick)
        for resource in sweep.resources
        for lane in range(resource.lanes)
        for interval in resource.blocked + (resource.busy[lane] if lane < len(resource.busy) else ())
        for tick in ticks_of(interval.starts, interval.ends, sweep.tick)
    }
    for _ in range(20):
        free = offers(sweep, first=case.first, last=case.last)
        if not free:
            break
        slot = data.draw(st.sampled_from(free))
        rows = {
            (claim.resource_id, claim.lane, tick)
            for claim in slot.claims
            for tick in ticks_of(claim.start, claim.end, sweep.tick)
        }
        assert not rows & stored
        stored |= rows
        sweep = book(sweep, slot)
        if slot.arrive in {later.arrive for later in offers(sweep, first=case.first, last=case.last)}:
            later = validate(sweep, slot.arrive)
            assert later is not None
            assert not {claim[:2] for claim in later.claims} >= {claim[:2] for claim in slot.claims}


def book(sweep: Sweep, slot: Slot) -> Sweep:
    """Return the sweep with the slot's claims among the busy times."""
    taken = {
        claim.resource_id: (claim.lane, Interval.between(claim.start, claim.end)) for claim in slot.claims
    }
    return replace(
        sweep,
        resources=tuple(
            replace(each, busy=by_lane([*pairs(each), taken[each.id]])) if each.id in taken else each
            for each in sweep.resources
        ),
    )


def pairs(resource: ResourceCalendar) -> list[tuple[int, Interval]]:
    return [(lane, interval) for lane, claims in enumerate(resource.busy) for interval in claims]
