"""A course of sessions: the pattern kept, gaps kept, conflicts shown with other times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.series import Gap, Pattern, Proposal, SeriesProblem, check, propose
from intake_plugin.scheduling.slots import Slot, Sweep, by_lane, offers, validate

MakeSweep = Callable[..., Sweep]
LONDON = ZoneInfo("Europe/London")
FIRST = dt.date(2026, 3, 16)
YEAR = dt.timedelta(days=365)
LONG_DAYS = dict.fromkeys(range(1, 8), ((dt.time(9), dt.time(18)),))


def every(least: int, usual: int, most: int) -> Gap:
    """Return a course's gap in days."""
    waits = tuple(map(dt.timedelta, (least, usual, most)))
    return lambda date: (date + waits[0], date + waits[1], date + waits[2])


FOUR_WEEKS = every(28, 28, 42)


@pytest.fixture(name="year")
def year_fixture(make_sweep: MakeSweep) -> MakeSweep:
    def make(**changes: Any) -> Sweep:
        return make_sweep(FIRST, FIRST + YEAR, **({"weekly": LONG_DAYS} | changes))

    return make


def at(date: str, time: str = "13:00", zone: ZoneInfo = LONDON) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=zone).astimezone(dt.UTC)


def slot(sweep: Sweep, date: str, time: str = "13:00", practitioner_id: str | None = None) -> Slot:
    found = validate(sweep, at(date, time), practitioner_id=practitioner_id)
    assert found is not None
    return found


def times(series: tuple[Proposal, ...]) -> list[str]:
    return [f"{each.slot.local_arrive:%m-%d %H:%M}" if each.slot else "none" for each in series]


def others(proposal: Proposal) -> list[str]:
    return [f"{each.local_arrive:%m-%d %H:%M}" for each in proposal.alternatives]


def dates(series: tuple[Proposal, ...]) -> list[str]:
    return [f"{each.slot.date:%m-%d}" if each.slot else "none" for each in series]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        pytest.param("2026-03-16", ["03-16", "04-13", "05-11", "06-08"], id="C01"),
        pytest.param("2026-06-10", ["06-10", "07-08", "08-05", "09-02"], id="C02"),
        pytest.param("2026-03-16", ["03-16", "04-13", "05-11", "06-08", "07-06", "08-03"], id="C21"),
        pytest.param("2026-03-18", ["03-18", "04-15", "05-13"], id="C24"),
    ],
)
def test_worked_cases_keep_weekday_and_hour_across_the_change(
    year: MakeSweep, first: str, expected: list[str]
) -> None:
    sweep = year()

    series = propose(sweep, slot(sweep, first), sessions=len(expected), gap=FOUR_WEEKS, drift_days=7)

    assert times(series) == [f"{date} 13:00" for date in expected]
    assert [each.ordinal for each in series] == list(range(1, len(expected) + 1))
    assert not any(each.conflict for each in series)
    assert check(sweep, [each.slot for each in series if each.slot], FOUR_WEEKS) == ()


def test_autumn_keeps_the_hour_too(year: MakeSweep) -> None:
    sweep = year()

    series = propose(sweep, slot(sweep, "2026-10-12"), sessions=3, gap=FOUR_WEEKS, drift_days=7)

    assert times(series) == ["10-12 13:00", "11-09 13:00", "12-07 13:00"]


def test_a_closed_date_moves_the_session_within_the_drift_and_the_rest_follow(year: MakeSweep) -> None:
    """A week earlier would break the least gap, so the week after it is."""
    sweep = year(closed=(dt.date(2026, 4, 13),))

    series = propose(sweep, slot(sweep, "2026-03-16"), sessions=4, gap=FOUR_WEEKS, drift_days=7)

    assert dates(series) == ["03-16", "04-20", "05-18", "06-15"]
    assert not any(each.conflict for each in series)


def test_without_drift_the_nearest_time_is_a_conflict(year: MakeSweep) -> None:
    sweep = year(closed=(dt.date(2026, 4, 13),))

    second = propose(sweep, slot(sweep, "2026-03-16"), sessions=2, gap=FOUR_WEEKS, drift_days=3)[1]

    assert times((second,)) == ["04-14 13:00"]
    assert second.conflict
    assert others(second) == ["04-14 12:30", "04-15 13:00", "04-16 13:00"]


def test_a_taken_hour_moves_to_the_nearest_of_the_date_when_no_week_is_free(year: MakeSweep) -> None:
    taken = tuple(
        Interval.between(at(day, "14:00"), at(day, "14:30")) for day in ("2026-04-13", "2026-04-20")
    )
    sweep = year(resources={"ana": {"busy": (taken,)}, "room-1": {}})

    second = propose(sweep, slot(sweep, "2026-03-16"), sessions=2, gap=FOUR_WEEKS, drift_days=7)[1]

    assert times((second,)) == ["04-13 12:30"]
    assert second.conflict
    assert others(second) == [
        "04-13 13:30",
        "04-14 13:00",
        "04-15 13:00",
    ]


def test_other_times_lie_on_other_dates_where_there_are_any(year: MakeSweep) -> None:
    sweep = year(weekly={1: ((dt.time(9), dt.time(18)),)})

    series = propose(
        sweep, slot(sweep, "2026-03-16"), sessions=2, gap=every(28, 28, 41), drift_days=7, alternatives=4
    )

    assert others(series[1]) == [
        "04-20 13:00",
        "04-13 12:30",
        "04-13 13:30",
        "04-13 12:00",
    ]


def test_the_practitioner_asked_for_is_kept_where_possible(year: MakeSweep) -> None:
    ill = Interval.between(at("2026-04-12", "00:00"), at("2026-05-01", "00:00"))
    resources = {"ana": {}, "ben": {"blocked": (ill,)}, "room-1": {}}
    sweep = year(resources=resources)
    first = slot(sweep, "2026-03-16", practitioner_id="ben")

    asked = propose(sweep, first, sessions=3, gap=every(28, 28, 40), drift_days=7, practitioner_id="ben")
    anyone = propose(sweep, first, sessions=3, gap=every(28, 28, 40), drift_days=7)

    assert [each.slot.practitioner_id for each in asked if each.slot] == ["ben", "ana", "ben"]
    assert [each.conflict for each in asked] == [False, True, False]
    assert dates(asked) == ["03-16", "04-13", "05-11"]
    assert [each.conflict for each in anyone] == [False, False, False]


def test_the_practitioner_counts_more_than_the_hour_and_less_than_the_drift(year: MakeSweep) -> None:
    def second(ben_is_back: str, **changes: Any) -> str:
        away = Interval.between(at("2026-04-12", "00:00"), at(ben_is_back, "16:00"))
        sweep = year(resources={"ana": {}, "ben": {"blocked": (away,)}, "room-1": {}}, **changes)
        first = slot(sweep, "2026-03-16", practitioner_id="ben")
        found = propose(sweep, first, sessions=2, gap=FOUR_WEEKS, drift_days=2, practitioner_id="ben")[1].slot
        assert found is not None
        return f"{found.practitioner_id} {found.local_arrive:%m-%d %H:%M}"

    assert second("2026-04-13") == "ben 04-13 15:00"
    assert second("2026-04-15") == "ben 04-15 15:00"
    assert second("2026-04-16") == "ana 04-13 13:00"
    assert second("2026-04-16", weekly={1: ((dt.time(13), dt.time(14, 40)),)}) == "ana 04-13 13:00"


def test_of_two_dates_as_near_the_one_with_the_weekday_is_taken(year: MakeSweep) -> None:
    """Thirty days after a Monday is a Wednesday; Monday and Friday are two days off."""
    wednesday, thursday, tuesday = (dt.date(2026, 4, day) for day in (15, 16, 14))
    taken = (Interval.between(at("2026-04-13", "14:00"), at("2026-04-13", "14:30")),)
    sweep = year(closed=(wednesday, thursday, tuesday), resources={"ana": {"busy": (taken,)}, "room-1": {}})

    second = propose(sweep, slot(sweep, "2026-03-16"), sessions=2, gap=every(28, 30, 42), drift_days=4)[1]

    assert times((second,)) == ["04-13 12:30"]
    assert others(second) == ["04-13 13:30", "04-17 13:00", "04-18 13:00"]


def test_other_times_come_from_the_whole_window_when_the_drift_has_too_few(year: MakeSweep) -> None:
    sweep = year(weekly={1: ((dt.time(13), dt.time(14, 40)),)})

    second = propose(sweep, slot(sweep, "2026-03-16"), sessions=2, gap=FOUR_WEEKS, drift_days=6)[1]

    assert times((second,)) == ["04-13 13:00"]
    assert others(second) == ["04-20 13:00", "04-27 13:00"]


@pytest.mark.parametrize(("usual", "expected"), [(20, "04-13"), (60, "04-27")])
def test_a_usual_date_outside_the_window_counts_as_its_edge(
    year: MakeSweep, usual: int, expected: str
) -> None:
    sweep = year()

    series = propose(sweep, slot(sweep, "2026-03-16"), sessions=2, gap=every(28, usual, 42), drift_days=7)

    assert dates(series)[1] == expected
    assert f"{series[1].usual:%m-%d}" == expected


def test_a_window_without_any_time_stays_empty_and_the_course_goes_on(year: MakeSweep) -> None:
    away = tuple(dt.date(2026, 4, 13) + dt.timedelta(days=day) for day in range(15))
    sweep = year(closed=away)

    series = propose(sweep, slot(sweep, "2026-03-16"), sessions=3, gap=FOUR_WEEKS, drift_days=7)

    assert dates(series) == ["03-16", "none", "05-11"]
    assert (series[1].conflict, series[1].alternatives) == (True, ())
    assert (series[1].earliest, series[1].latest) == (dt.date(2026, 4, 13), dt.date(2026, 4, 27))


def test_what_the_patient_chose_is_kept_and_moves_the_windows_after_it(year: MakeSweep) -> None:
    sweep = year()
    chosen = {2: at("2026-04-16", "10:00")}

    series = propose(
        sweep, slot(sweep, "2026-03-16"), sessions=3, gap=FOUR_WEEKS, drift_days=4, chosen=chosen
    )

    assert times(series) == ["03-16 13:00", "04-16 10:00", "05-18 13:00"]
    assert not any(each.conflict for each in series)
    assert (series[2].earliest, series[2].usual) == (dt.date(2026, 5, 14), dt.date(2026, 5, 14))
    assert others(series[1])[0] == "04-13 13:00"


def test_a_choice_that_has_gone_is_a_conflict_with_other_times(year: MakeSweep) -> None:
    taken = (Interval.between(at("2026-04-16", "11:00"), at("2026-04-16", "11:30")),)
    sweep = year(resources={"ana": {"busy": (taken,)}, "room-1": {}})

    second = propose(
        sweep,
        slot(sweep, "2026-03-16"),
        sessions=2,
        gap=FOUR_WEEKS,
        drift_days=7,
        chosen={2: at("2026-04-16", "10:00")},
    )[1]

    assert (second.slot, second.conflict) == (None, True)
    assert others(second)[0] == "04-13 13:00"


def test_a_later_session_may_pass_the_horizon_only_if_the_sweep_does(year: MakeSweep) -> None:
    sweep = year()
    short = replace(sweep, latest=at("2026-04-01", "00:00"))
    first = slot(short, "2026-03-16")

    assert dates(propose(short, first, sessions=2, gap=FOUR_WEEKS, drift_days=7)) == ["03-16", "none"]
    assert dates(propose(sweep, first, sessions=2, gap=FOUR_WEEKS, drift_days=7)) == ["03-16", "04-13"]


def test_one_session_is_a_series(year: MakeSweep) -> None:
    sweep = year()
    first = slot(sweep, "2026-03-16")

    assert [each.slot for each in propose(sweep, first, sessions=1, gap=FOUR_WEEKS, drift_days=7)] == [first]


def test_a_gap_of_nothing_never_puts_two_sessions_on_one_date(year: MakeSweep) -> None:
    sweep = year()

    series = propose(sweep, slot(sweep, "2026-03-16"), sessions=3, gap=every(0, 0, 9), drift_days=0)

    assert dates(series) == ["03-16", "03-17", "03-18"]


def test_the_pattern_of_a_slot(year: MakeSweep) -> None:
    first = slot(year(), "2026-03-30")

    assert Pattern.of(first) == Pattern(1, dt.time(13), None)
    assert Pattern.of(first, "ana").kept_by(first)
    assert not Pattern.of(first, "ben").kept_by(first)


SECOND = (dt.date(2026, 4, 13), dt.date(2026, 4, 27))


@pytest.mark.parametrize(
    ("second", "problems"),
    [
        (at("2026-04-13"), ()),
        (at("2026-04-27"), ()),
        (at("2026-04-12"), (SeriesProblem(2, "short", *SECOND),)),
        (at("2026-04-28"), (SeriesProblem(2, "long", *SECOND),)),
        (at("2026-04-14"), (SeriesProblem(2, "taken"),)),
        (at("2026-04-15"), (SeriesProblem(2, "not-offered"),)),
        (at("2026-04-16", "13:10"), (SeriesProblem(2, "not-offered"),)),
        (at("2026-04-10"), (SeriesProblem(2, "short", *SECOND), SeriesProblem(2, "taken"))),
        (at("2025-03-16"), (SeriesProblem(2, "short", *SECOND), SeriesProblem(2, "not-offered"))),
    ],
    ids=["least", "most", "short", "long", "taken", "closed", "off the grid", "two reasons", "before notice"],
)
def test_what_keeps_a_series_from_being_booked(
    year: MakeSweep, second: dt.datetime, problems: tuple[SeriesProblem, ...]
) -> None:
    taken = tuple(
        Interval.between(at(day, "14:00"), at(day, "14:30")) for day in ("2026-04-10", "2026-04-14")
    )
    sweep = year(closed=(dt.date(2026, 4, 15),), resources={"ana": {"busy": (taken,)}, "room-1": {}})

    assert check(sweep, [slot(sweep, "2026-03-16"), second], FOUR_WEEKS) == problems


def test_moving_one_session_names_the_next_that_must_move_too(year: MakeSweep) -> None:
    sweep = year()
    moved = [at("2026-03-16"), at("2026-04-20"), at("2026-05-11"), at("2026-06-15")]

    assert check(sweep, moved, FOUR_WEEKS) == (
        SeriesProblem(3, "short", dt.date(2026, 5, 18), dt.date(2026, 6, 1)),
    )


def test_a_slot_is_free_only_with_its_own_practitioner(year: MakeSweep) -> None:
    free = year(resources={"ana": {}, "ben": {}, "room-1": {}})
    first = slot(free, "2026-03-16", practitioner_id="ana")
    taken = (Interval.between(at("2026-03-16", "14:00"), at("2026-03-16", "14:30")),)
    later = year(resources={"ana": {"busy": (taken,)}, "ben": {}, "room-1": {}})

    assert check(later, [first], FOUR_WEEKS) == (SeriesProblem(1, "taken"),)
    assert check(later, [first.arrive], FOUR_WEEKS) == ()


def test_sessions_of_one_series_do_not_take_each_others_time(year: MakeSweep) -> None:
    """Around midnight two dates can be minutes apart: the second one's room is still being cleaned."""
    buffer = {"after": dt.timedelta(hours=2)}
    sweep = year(
        weekly=dict.fromkeys(range(1, 8), ((dt.time(), dt.time()),)),
        resources={"ana": {}, "room-1": buffer},
    )
    evening, night = at("2026-06-01", "22:00"), at("2026-06-02", "00:00")

    assert check(sweep, [evening, night], every(1, 1, 7)) == (SeriesProblem(2, "taken"),)
    assert check(sweep, [evening, at("2026-06-02", "01:30")], every(1, 1, 7)) == ()


zones = st.sampled_from(
    [
        "Europe/London",
        "America/New_York",
        "Asia/Tokyo",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/Sao_Paulo",
    ]
).map(ZoneInfo)


@settings(deadline=None, max_examples=40)
@given(zone=zones, data=st.data())
def test_a_proposed_series_keeps_its_gaps_and_its_hour(
    make_sweep: MakeSweep, zone: ZoneInfo, data: st.DataObject
) -> None:
    """A year's course in which the clinic is closed and the practitioner taken at random."""
    offsets = st.lists(st.integers(1, 300), max_size=40)
    closed = tuple(FIRST + dt.timedelta(days=day) for day in data.draw(offsets))
    begin = int(at("2026-03-17", "00:00", zone).timestamp())
    taken = tuple(
        Interval(begin + day * 86_400, begin + day * 86_400 + hours * 3600)
        for day, hours in data.draw(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 80)), max_size=20))
    )
    sweep = make_sweep(
        FIRST,
        FIRST + YEAR,
        zone=zone,
        closed=closed,
        resources={"ana": {"busy": by_lane((0, each) for each in taken)}, "room-1": {}},
    )
    first = data.draw(st.sampled_from(offers(sweep, first=FIRST, last=FIRST)))
    least = data.draw(st.integers(7, 28))
    usual = least + data.draw(st.integers(0, 14))
    gap = every(least, usual, usual + data.draw(st.integers(0, 28)))
    drift = data.draw(st.integers(0, 7))

    series = propose(sweep, first, sessions=data.draw(st.integers(1, 6)), gap=gap, drift_days=drift)

    for before, each in pairwise(series):
        anchor = before.slot.date if before.slot else before.usual
        assert (each.earliest, each.usual, each.latest) == gap(anchor)
        free = offers(sweep, first=each.earliest, last=each.latest)
        offered = [*each.alternatives, *filter(None, [each.slot])]
        assert {slot.arrive for slot in offered} <= {slot.arrive for slot in free}
        assert len(offered) == len({slot.arrive for slot in offered}) == min(4, len(free))
        kept = [
            abs((slot.date - each.usual).days)
            for slot in free
            if slot.local_arrive.time() == first.local_arrive.time()
            and slot.date.isoweekday() == first.date.isoweekday()
            and abs((slot.date - each.usual).days) <= drift
        ]
        assert each.conflict is not bool(kept)
        if kept:
            assert each.slot is not None
            assert abs((each.slot.date - each.usual).days) == min(kept)
            assert each.slot.local_arrive.time() == first.local_arrive.time()
        elif free:
            assert each.slot is not None
            nearest = min(abs((slot.date - each.usual).days) for slot in free)
            assert abs((each.slot.date - each.usual).days) == nearest
    if all(each.slot for each in series):
        assert check(sweep, [each.slot for each in series if each.slot], gap) == ()
