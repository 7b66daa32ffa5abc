"""Why a time is not offered: each obstacle by name, and nothing wherever the sweep has the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.slots import Sweep, by_lane, offers, validate
from intake_plugin.scheduling.why import why_not
from tests.scheduling.test_sweep_properties import Case, cases

MakeSweep = Callable[..., Sweep]
LONDON = ZoneInfo("Europe/London")
MONDAY = dt.date(2026, 3, 16)
SUNDAY_BACK = dt.date(2026, 10, 25)
ALL_DAY = dict.fromkeys(range(1, 8), ((dt.time(), dt.time()),))


def at(time: str, date: dt.date = MONDAY) -> dt.datetime:
    return dt.datetime.combine(date, dt.time.fromisoformat(time), LONDON)


def between(start: str, end: str) -> Interval:
    return Interval.between(at(start), at(end))


def taken(start: str, end: str, lane: int = 0) -> Mapping[str, Any]:
    return {"busy": by_lane([(lane, between(start, end))])}


@pytest.mark.parametrize(
    ("time", "resources", "changes", "expected"),
    [
        ("09:00", {}, {}, []),
        ("09:10", {}, {}, [("grid", None)]),
        ("09:00", {}, {"earliest": at("09:30")}, [("notice", None)]),
        ("09:00", {}, {"latest": at("09:00")}, [("horizon", None)]),
        ("09:00", {}, {"not_before": dt.date(2026, 3, 17)}, [("not-before", None)]),
        ("09:00", {}, {"forbidden": {MONDAY}}, [("forbidden", None)]),
        ("12:00", {}, {}, [("hours", None), ("hours", "ana"), ("hours", "room-1")]),
        ("09:00", {"ana": {"open": ()}}, {}, [("hours", "ana")]),
        ("09:00", {"ana": taken("10:00", "10:30")}, {}, [("claim", "ana")]),
        ("09:00", {"ana": taken("10:30", "11:00")}, {}, []),
        (
            "09:00",
            {"ana": {**taken("10:35", "11:00"), "after": dt.timedelta(minutes=10)}},
            {},
            [("buffer", "ana")],
        ),
        ("09:00", {"room-1": {"blocked": (between("08:00", "12:00"),)}}, {}, [("block", "room-1")]),
        ("09:00", {"ana": {**taken("10:00", "10:30"), "lanes": 2}}, {}, []),
        ("09:00", {"ana": taken("10:00", "10:30"), "bea": {}}, {}, []),
        (
            "09:00",
            {"ana": taken("10:00", "10:30"), "bea": taken("10:05", "10:20")},
            {},
            [("claim", "ana"), ("claim", "bea")],
        ),
        ("09:00", {"room-1": None}, {}, [("nobody", None)]),
        (
            "09:10",
            {"ana": taken("10:00", "10:30")},
            {"earliest": at("12:00")},
            [("grid", None), ("notice", None), ("claim", "ana")],
        ),
    ],
)
def test_every_obstacle_has_its_name(
    make_sweep: MakeSweep,
    time: str,
    resources: Mapping[str, Mapping[str, Any] | None],
    changes: Mapping[str, Any],
    expected: list[tuple[str, str | None]],
) -> None:
    wanted: dict[str, Mapping[str, Any] | None] = {"ana": {}, "room-1": {}, **resources}
    sweep = make_sweep(
        MONDAY, MONDAY, resources={name: each for name, each in wanted.items() if each is not None}, **changes
    )
    assert [(each.kind, each.resource_id) for each in why_not(sweep, at(time))] == expected


def test_the_neighbours_on_the_grid_are_told(make_sweep: MakeSweep) -> None:
    (found,) = why_not(make_sweep(MONDAY, MONDAY), at("09:10"))
    assert found.near == (at("09:00"), at("09:30"))


def test_a_fraction_of_a_second_is_not_on_the_grid(make_sweep: MakeSweep) -> None:
    (found,) = why_not(make_sweep(MONDAY, MONDAY), at("09:00") + dt.timedelta(milliseconds=500))
    assert found.kind == "grid"


def test_what_takes_the_time_and_what_the_visit_needs_are_told(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(MONDAY, MONDAY, resources={"ana": taken("10:10", "10:20"), "room-1": {}})
    (found,) = why_not(sweep, at("09:00"))
    assert (found.lane, found.taken, found.needs) == (0, between("10:10", "10:20"), between("10:00", "10:30"))


def test_a_time_the_clock_shows_twice_is_told(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(SUNDAY_BACK, SUNDAY_BACK, weekly=ALL_DAY)
    assert {each.kind for each in why_not(sweep, at("01:00", SUNDAY_BACK))} == {"twice"}
    assert why_not(sweep, at("03:00", SUNDAY_BACK)) == ()


def test_asked_about_one_practitioner_the_others_do_not_count(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(MONDAY, MONDAY, resources={"ana": taken("10:00", "10:30"), "bea": {}, "room-1": {}})
    assert [each.resource_id for each in why_not(sweep, at("09:00"), resource_id="ana")] == ["ana"]
    assert why_not(sweep, at("09:00"), resource_id="bea") == ()
    with pytest.raises(ValueError, match="no resource 'eve'"):
        why_not(sweep, at("09:00"), resource_id="eve")


@settings(deadline=None, max_examples=100)
@given(cases(), st.data())
def test_nothing_stands_in_the_way_exactly_where_the_sweep_has_the_time(
    case: Case, data: st.DataObject
) -> None:
    sweep = case.sweep
    offered = {slot.arrive for slot in offers(sweep, first=case.first, last=case.last)}
    start = dt.datetime.combine(case.first, dt.time(), sweep.zone).astimezone(dt.UTC)
    minutes = data.draw(st.lists(st.integers(0, 3 * 24 * 12 - 1), min_size=20, max_size=40))
    for arrive in {*list(offered)[:20], *(start + dt.timedelta(minutes=5 * minute) for minute in minutes)}:
        assert (not why_not(sweep, arrive)) == (arrive in offered), arrive


@settings(deadline=None, max_examples=60)
@given(cases(), st.data())
def test_for_one_resource_nothing_stands_in_the_way_exactly_where_it_can_be_had(
    case: Case, data: st.DataObject
) -> None:
    asked = data.draw(st.sampled_from(case.sweep.resources))
    alone = replace(
        case.sweep,
        resources=tuple(each for each in case.sweep.resources if each.kind != asked.kind or each is asked),
    )
    start = dt.datetime.combine(case.first, dt.time(), case.sweep.zone).astimezone(dt.UTC)
    for minute in data.draw(st.lists(st.integers(0, 3 * 24 * 12 - 1), min_size=20, max_size=40)):
        arrive = start + dt.timedelta(minutes=5 * minute)
        found = why_not(case.sweep, arrive, resource_id=asked.id)
        assert (not found) == (validate(alone, arrive) is not None), arrive
