"""Which sessions move along, and what it means to squeeze one in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.moves import Standing, followers, squeeze
from intake_plugin.scheduling.series import window
from intake_plugin.scheduling.slots import Slot, Sweep, by_lane, validate
from tests.scheduling.conftest import seats

MakeSweep = Callable[..., Sweep]
LONDON = ZoneInfo("Europe/London")
MONDAY = dt.date(2026, 3, 16)
END = dt.date(2026, 8, 31)
WEEK = dt.timedelta(weeks=1)


def gap(date: dt.date) -> tuple[dt.date, dt.date, dt.date]:
    return date + 3 * WEEK, date + 4 * WEEK, date + 5 * WEEK


def at(date: dt.date, time: str = "09:00") -> dt.datetime:
    return dt.datetime.combine(date, dt.time.fromisoformat(time), LONDON)


def standing(*weeks: int, first: int = 2) -> list[Standing]:
    """Sessions that many weeks after Monday, numbered from `first`."""
    return [Standing(first + index, at(MONDAY + week * WEEK)) for index, week in enumerate(weeks)]


def moved(sweep: Sweep, date: dt.date) -> Slot:
    slot = validate(sweep, at(date))
    assert slot is not None
    return slot


@pytest.fixture(scope="session")
def sweep(make_sweep: MakeSweep) -> Sweep:
    return make_sweep(MONDAY, END)


@pytest.mark.parametrize(
    ("week", "later", "along"),
    [
        (0, (4, 8, 12), []),
        (1, (4, 8, 12), []),
        (2, (4, 8, 12), [(2, 6), (3, 10), (4, 14)]),
        (3, (4, 8, 12), [(2, 7), (3, 11), (4, 15)]),
        (5, (4, 8, 12), [(2, 9), (3, 13), (4, 17)]),
        (1, (4, 7, 12), []),
        (2, (7, 10, 13), []),
        (0, (6, 9, 12), [(2, 4)]),
    ],
)
def test_sessions_move_along_as_far_as_the_gap_is_broken(
    sweep: Sweep, week: int, later: tuple[int, ...], along: list[tuple[int, int]]
) -> None:
    found = followers(sweep, moved(sweep, MONDAY + week * WEEK), 1, standing(*later), gap, drift_days=3)
    assert [(each.ordinal, each.slot and each.slot.date) for each in found] == [
        (ordinal, MONDAY + weeks * WEEK) for ordinal, weeks in along
    ]


def test_each_keeps_its_own_weekday_and_time(sweep: Sweep) -> None:
    wednesday = MONDAY + dt.timedelta(days=2)
    later = [Standing(2, at(wednesday + 2 * WEEK, "14:00")), Standing(3, at(wednesday + 5 * WEEK, "15:30"))]
    found = followers(sweep, moved(sweep, MONDAY), 1, later, gap, drift_days=3)
    assert [each.slot and each.slot.local_arrive for each in found] == [
        dt.datetime.combine(wednesday + 4 * WEEK, dt.time(14)),
        dt.datetime.combine(wednesday + 8 * WEEK, dt.time(15, 30)),
    ]


def test_a_cancelled_session_in_between_does_not_make_the_next_late(sweep: Sweep) -> None:
    third = [Standing(3, at(MONDAY + 9 * WEEK))]
    assert followers(sweep, moved(sweep, MONDAY), 1, third, gap, drift_days=3) == ()
    assert window(gap, MONDAY, 2) == (MONDAY + 3 * WEEK, MONDAY + 8 * WEEK, MONDAY + 10 * WEEK)


def test_a_session_that_finds_no_time_is_told_and_ends_the_chain(make_sweep: MakeSweep) -> None:
    short = make_sweep(MONDAY, MONDAY + 5 * WEEK, latest=at(MONDAY + 5 * WEEK))
    (found,) = followers(short, moved(short, MONDAY + 3 * WEEK), 1, standing(4, 8), gap, drift_days=3)
    assert (found.ordinal, found.slot) == (2, None)


def test_a_time_picked_for_a_session_that_moves_along_is_kept_and_the_rest_counts_from_it(
    sweep: Sweep,
) -> None:
    picked = at(MONDAY + 8 * WEEK, "10:00")
    found = followers(
        sweep, moved(sweep, MONDAY + 3 * WEEK), 1, standing(4, 8), gap, drift_days=3, chosen={2: picked}
    )
    assert [each.slot and each.slot.arrive for each in found] == [picked, at(MONDAY + 12 * WEEK)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 40), st.lists(st.integers(21, 35), min_size=1, max_size=3))
def test_after_a_move_every_gap_is_kept_and_nothing_moved_without_need(
    make_sweep: MakeSweep, days: int, gaps: list[int]
) -> None:
    sweep = make_sweep(MONDAY, END)
    slot = validate(sweep, at(MONDAY + dt.timedelta(days=days)))
    if slot is None:
        return
    dates = [MONDAY]
    for length in gaps:
        dates.append(dates[-1] + dt.timedelta(days=length))
    later = [Standing(index + 2, at(date)) for index, date in enumerate(dates[1:])]
    found = followers(sweep, slot, 1, later, gap, drift_days=3)
    assert [each.ordinal for each in found] == list(range(2, 2 + len(found)))
    after = [slot.date]
    for each in found:
        assert each.slot is not None
        after.append(each.slot.date)
    after += dates[len(found) + 1 :]
    for earlier, date in pairwise(after):
        assert gap(earlier)[0] <= date <= gap(earlier)[2]
    for index in range(len(found)):
        assert not gap(after[index])[0] <= dates[index + 1] <= gap(after[index])[2]


def busy(lane: int = 0) -> tuple[int, Interval]:
    return lane, Interval.between(at(MONDAY, "08:00"), at(MONDAY, "18:00"))


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"ana": {}, "room-1": {}}, ("ana", 0, "room-1", 0)),
        ({"ana": {"busy": by_lane([busy()])}, "room-1": {}}, ("ana", 1, "room-1", 0)),
        ({"ana": {"busy": by_lane([busy()])}, "bea": {}, "room-1": {}}, ("bea", 0, "room-1", 0)),
        (
            {"ana": {"busy": by_lane([busy()])}, "bea": {}, "room-1": {"busy": by_lane([busy()])}},
            ("bea", 0, "room-1", 1),
        ),
        ({"ana": {"busy": by_lane([busy(), busy(1)])}, "room-1": {}}, ("ana", 2, "room-1", 0)),
        ({"ana": {"blocked": (busy()[1],)}, "room-1": {}}, ("ana", 0, "room-1", 0)),
        ({"ana": {"open": ()}, "room-1": {}}, None),
    ],
    ids=["free", "taken", "another is free", "the room", "squeezed in before", "blocked", "not there"],
)
def test_squeezing_in_takes_lanes_beyond_only_where_it_must(
    make_sweep: MakeSweep, resources: dict[str, dict[str, object]], expected: tuple[object, ...] | None
) -> None:
    slot = squeeze(make_sweep(MONDAY, MONDAY, resources=resources), at(MONDAY))
    assert expected == (slot and seats(slot))


def test_nothing_is_squeezed_in_at_night_or_on_a_forbidden_date(make_sweep: MakeSweep) -> None:
    assert squeeze(make_sweep(MONDAY, MONDAY), at(MONDAY, "03:00")) is None
    assert squeeze(make_sweep(MONDAY, MONDAY, forbidden={MONDAY}), at(MONDAY)) is None
