"""Opening hours as instants: worked days, both change days, closures, and the merging of intervals."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.clocks import Interval, ambiguous, around, instant, seconds, stretches
from intake_plugin.scheduling.hours import Dates, Weekly, merge, open_intervals

LONDON = ZoneInfo("Europe/London")
SPRING = dt.date(2026, 3, 29)
AUTUMN = dt.date(2026, 10, 25)


def daily(*hours: str) -> Weekly:
    """Return a week with the same hours each day, each written "09:00-12:00"."""
    openings = [hour.split("-") for hour in hours]
    times = tuple((dt.time.fromisoformat(opens), dt.time.fromisoformat(closes)) for opens, closes in openings)
    return dict.fromkeys(range(1, 8), times)


def utc(intervals: list[Interval]) -> list[str]:
    return [f"{each.starts:%d %H:%M}-{each.ends:%d %H:%M}" for each in intervals]


@pytest.mark.parametrize(
    ("zone", "date", "hours", "expected"),
    [
        ("Europe/London", "2026-03-27", ["09:00-17:00"], ["27 09:00-27 17:00"]),
        ("Europe/London", "2026-03-30", ["09:00-17:00"], ["30 08:00-30 16:00"]),
        ("Europe/London", "2026-06-01", ["09:00-12:00", "13:00-17:00"],
         ["01 08:00-01 11:00", "01 12:00-01 16:00"]),
        ("Europe/London", "2026-06-01", ["18:00-00:00"], ["01 17:00-01 23:00"]),
        ("Europe/London", "2026-03-29", ["00:30-03:00"], ["29 00:30-29 02:00"]),
        ("Europe/London", "2026-03-29", ["01:30-03:00"], ["29 01:00-29 02:00"]),
        ("Europe/London", "2026-03-29", ["00:00-01:30"], ["29 00:00-29 01:00"]),
        ("Europe/London", "2026-03-29", ["01:10-01:50"], []),
        ("Europe/London", "2026-10-25", ["00:30-03:00"], ["24 23:30-25 03:00"]),
        ("Europe/London", "2026-10-25", ["01:30-03:00"], ["25 00:30-25 01:00", "25 01:30-25 03:00"]),
        ("Australia/Lord_Howe", "2026-04-05", ["01:00-03:00"], ["04 14:00-04 16:30"]),
        ("America/Sao_Paulo", "2018-11-04", ["00:00-06:00"], ["04 03:00-04 08:00"]),
        ("Pacific/Apia", "2011-12-30", ["09:00-17:00"], []),
    ],
    ids=[
        "winter", "summer", "a break", "to midnight", "over the gap", "starts in the gap", "ends in the gap",
        "inside the gap", "over the fold", "starts in the fold", "half an hour", "no midnight",
        "a date that never was",
    ],
)  # fmt: skip
def test_a_worked_day(zone: str, date: str, hours: list[str], expected: list[str]) -> None:
    day = dt.date.fromisoformat(date)

    assert utc(open_intervals(daily(*hours), ZoneInfo(zone), day, day, ())) == expected


def test_weekdays_are_iso() -> None:
    saturdays = {6: ((dt.time(9), dt.time(12)),)}

    found = open_intervals(saturdays, LONDON, dt.date(2026, 6, 1), dt.date(2026, 6, 14), ())

    assert [each.starts.date() for each in found] == [dt.date(2026, 6, 6), dt.date(2026, 6, 13)]


def test_closures_take_whole_local_dates() -> None:
    first, last = dt.date(2026, 6, 1), dt.date(2026, 6, 7)
    shut = [
        Dates(dt.date(2025, 12, 24), dt.date(2026, 6, 2)),
        Dates(dt.date(2026, 6, 6), dt.date(9999, 12, 31)),
    ]

    by_range = open_intervals(daily("00:00-00:00"), LONDON, first, last, shut)
    by_date = open_intervals(
        daily("00:00-00:00"), LONDON, first, last, {dt.date(2026, 6, day) for day in (1, 2, 6, 7)}
    )

    assert utc(by_range) == ["02 23:00-05 23:00"]
    assert by_date == by_range


def test_no_range_no_hours() -> None:
    assert open_intervals(daily("09:00-17:00"), LONDON, AUTUMN, SPRING, ()) == []


def test_an_opening_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"22:00 to 02:00 ends before it starts\. Write an opening past midnight"
    ):
        open_intervals(daily("22:00-02:00"), LONDON, SPRING, SPRING, ())


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Casablanca",
        "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu",
    ],
)  # fmt: skip
def test_an_instant_is_open_when_its_wall_clock_reads_inside_the_hours(zone: str) -> None:
    """Every half hour of sixteen years in which each of these zones but two changed its clock."""
    area, first, last = ZoneInfo(zone), dt.date(2010, 1, 1), dt.date(2026, 1, 1)
    opening = open_intervals(daily("01:30-02:30", "23:00-00:00"), area, first, last, ())
    starts = {moment for each in opening for moment in range(each.start, each.end, 900)}

    for moment in range(seconds(dt.datetime(2010, 1, 2, tzinfo=dt.UTC)), opening[-1].end, 1800):
        local = instant(moment).astimezone(area).time()
        inside = dt.time(1, 30) <= local < dt.time(2, 30) or local >= dt.time(23)
        assert (moment in starts) is inside, instant(moment).astimezone(area)


def test_the_clock_shows_an_hour_twice_only_in_autumn() -> None:
    clock = around(LONDON, dt.date(2026, 1, 1), dt.date(2026, 12, 31))

    assert utc(ambiguous(clock)) == ["25 00:00-25 02:00"]


def test_stretches_follow_each_other_without_a_hole() -> None:
    start, end = (
        seconds(dt.datetime(2000, 1, 1, tzinfo=dt.UTC)),
        seconds(dt.datetime(2030, 1, 1, tzinfo=dt.UTC)),
    )

    clock = stretches(ZoneInfo("Africa/Casablanca"), start, end)

    assert [clock[0].start, *(each.start for each in clock[1:])] == [
        start,
        *(each.end for each in clock[:-1]),
    ]
    assert clock[-1].end == end
    assert len(clock) > 40


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no time zone\. Pass an aware datetime"):
        Interval.between(dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 2))  # noqa: DTZ001 - the mistake meant


def test_an_interval_widens_to_whole_seconds() -> None:
    start = dt.datetime(2026, 1, 1, 9, 0, 0, 700_000, tzinfo=dt.UTC)

    whole = Interval.between(start, start + dt.timedelta(seconds=1))

    assert (whole.starts.time(), whole.ends.time()) == (dt.time(9), dt.time(9, 0, 2))


intervals = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: Interval(pair[0], sum(pair))),
    max_size=8,
).map(sorted)


def points(found: list[Interval]) -> set[int]:
    return {point for start, end in found for point in range(start, end)}


@settings(deadline=None)
@given(intervals)
def test_merging_keeps_every_point_and_leaves_gaps_between(given: list[Interval]) -> None:
    merged = merge(given)

    assert points(merged) == points(given)
    assert all(one.end < other.start for one, other in pairwise(merged))
    assert all(start < end for start, end in merged)
