"""The sweep on worked days: hours, breaks, buffers, lanes, notice, clinical dates, change days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.scheduling.claims import Claim
from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.slots import Slot, Span, Sweep, by_lane, days, offers, validate
from tests.scheduling.conftest import seats

MakeSweep = Callable[..., Sweep]
LONDON = ZoneInfo("Europe/London")
MONDAY = dt.date(2026, 3, 16)
ALL_DAY = dict.fromkeys(range(1, 8), ((dt.time(), dt.time()),))


def minutes(count: int) -> dt.timedelta:
    return dt.timedelta(minutes=count)


def local(time: str, date: dt.date = MONDAY, zone: ZoneInfo = LONDON) -> dt.datetime:
    return dt.datetime.combine(date, dt.time.fromisoformat(time), zone)


def busy(*times: str, date: dt.date = MONDAY) -> tuple[Interval, ...]:
    """Return intervals written "10:00-11:00"."""
    ends = (time.split("-") for time in times)
    return tuple(Interval.between(local(start, date), local(end, date)) for start, end in ends)


def arrivals(sweep: Sweep, date: dt.date = MONDAY, practitioner_id: str | None = None) -> list[str]:
    found = offers(sweep, first=date, last=date, practitioner_id=practitioner_id)
    return [f"{slot.local_arrive:%H:%M}" for slot in found]


def only(sweep: Sweep, time: str, practitioner_id: str | None = None) -> Slot:
    slot = validate(sweep, local(time), practitioner_id=practitioner_id)
    assert slot is not None
    return slot


def test_a_visit_lies_inside_one_opening(make_sweep: MakeSweep) -> None:
    """A visit of 100 minutes ends at 12:40 and 17:40 at the latest; it never runs over the break."""
    sweep = make_sweep(MONDAY, MONDAY)

    assert arrivals(sweep) == [
        "09:00", "09:30", "10:00", "10:30", "11:00", "14:00", "14:30", "15:00", "15:30", "16:00",
    ]  # fmt: skip


def test_a_visit_may_end_when_the_clinic_closes(make_sweep: MakeSweep) -> None:
    weekly = {1: ((dt.time(9), dt.time(10, 40)),)}

    assert arrivals(make_sweep(MONDAY, MONDAY, weekly=weekly)) == ["09:00"]


def test_the_day_of_a_slot(make_sweep: MakeSweep) -> None:
    """Worked case C01 with the cream put on at the clinic: on 13:30, off and treatment at 14:00."""
    weekly = {1: ((dt.time(9), dt.time(18)),)}
    fields = {"before": minutes(5), "after": minutes(15)}
    slot = only(make_sweep(MONDAY, MONDAY, weekly=weekly, resources={"ana": {}, "room-1": fields}), "13:00")

    assert slot.local_treatment.time() == dt.time(14)
    assert slot.end.astimezone(slot.zone).time() == dt.time(14, 40)
    assert slot.date == MONDAY
    assert seats(slot) == (
        "ana",
        0,
        "room-1",
        0,
    )
    assert slot.claims == (
        Claim("ana", 0, local("14:00"), local("14:30")),
        Claim("room-1", 0, local("13:25"), local("14:55")),
    )
    assert slot.arrive.tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("resources", "gone"),
    [
        ({"ana": {"busy": (busy("10:30-11:00"),)}}, ["09:30"]),
        ({"ana": {"busy": (busy("10:00-10:30"),)}}, ["09:00"]),
        ({"ana": {"busy": (busy("10:59-11:01"),)}}, ["09:30", "10:00"]),
        ({"room-1": {"busy": (busy("10:30-11:00"),)}}, ["09:00", "09:30", "10:00"]),
        ({"ana": {"busy": (busy("11:00-11:30"),), "before": minutes(30)}}, ["10:00", "10:30"]),
        ({"ana": {"busy": (busy("11:00-11:30"),), "after": minutes(30)}}, ["09:30", "10:00"]),
        ({"ana": {"blocked": busy("08:00-11:30")}}, ["09:00", "09:30", "10:00"]),
        ({"ana": {"open": busy("10:30-18:00")}}, ["09:00"]),
        ({"ana": {"open": busy("14:00-17:30")}}, ["09:00", "09:30", "10:00", "10:30", "11:00"]),
        ({"ana": {"open": busy("10:00-18:00"), "before": minutes(30)}}, []),
        ({"room-1": {"open": busy("10:00-18:00")}}, ["09:00"]),
        ({"ana": {"busy": (busy("10:30-10:30"),)}}, []),
    ],
    ids=[
        "practitioner: the treatment only", "half-open at both ends", "a minute on either side",
        "room: from the cream on to the end", "buffer before", "buffer after", "blocked by hand",
        "own hours, later start", "own hours, afternoons", "buffers may pass the opening",
        "own hours of the room", "nothing takes nothing",
    ],
)  # fmt: skip
def test_what_takes_a_time(
    make_sweep: MakeSweep, resources: dict[str, dict[str, object]], gone: list[str]
) -> None:
    free = arrivals(make_sweep(MONDAY, MONDAY))
    taken = make_sweep(MONDAY, MONDAY, resources={"ana": {}, "room-1": {}} | resources)

    assert [time for time in free if time not in arrivals(taken)] == gone


def test_lanes_hold_as_many_sessions_as_they_say(make_sweep: MakeSweep) -> None:
    one = by_lane([(0, busy("10:00-11:30")[0])])
    both = by_lane([(0, busy("10:00-11:30")[0]), (1, busy("10:30-11:00")[0])])

    def lane(claims: tuple[tuple[Interval, ...], ...]) -> int | None:
        sweep = make_sweep(MONDAY, MONDAY, resources={"ana": {"lanes": 2, "busy": claims}, "room-1": {}})
        slot = validate(sweep, local("09:30"))
        return slot.practitioner.lane if slot and slot.practitioner else None

    assert [lane(()), lane(one), lane(both)] == [0, 1, None]


def test_a_claim_in_a_lane_that_no_longer_exists_takes_nothing(make_sweep: MakeSweep) -> None:
    claims = by_lane([(3, busy("09:00-18:00")[0])])

    assert arrivals(make_sweep(MONDAY, MONDAY, resources={"ana": {"busy": claims}, "room-1": {}}))
    assert by_lane([]) == ()


def test_the_least_busy_of_the_day_is_chosen_then_the_first_by_id(make_sweep: MakeSweep) -> None:
    tuesday = MONDAY + dt.timedelta(days=1)
    resources = {
        "cleo": {"busy": (busy("15:00-15:30", date=tuesday),)},
        "ben": {},
        "ana": {"busy": (busy("15:00-15:30", "16:00-16:30"),)},
        "room-1": {},
    }
    sweep = make_sweep(MONDAY, tuesday, resources=resources)

    found = offers(sweep, first=MONDAY, last=tuesday)

    assert {slot.practitioner_id for slot in found if slot.date == MONDAY} == {"ben"}
    assert {slot.practitioner_id for slot in found if slot.date == tuesday} == {"ana"}
    assert only(sweep, "09:00", "cleo").practitioner_id == "cleo"


def test_the_next_free_practitioner_is_taken(make_sweep: MakeSweep) -> None:
    resources = {
        "ana": {"busy": (busy("10:00-10:30"),)},
        "ben": {"busy": (busy("14:00-18:00"),)},
        "room-1": {},
    }
    sweep = make_sweep(MONDAY, MONDAY, resources=resources)

    assert only(sweep, "09:00").practitioner_id == "ben"
    assert only(sweep, "09:30").practitioner_id == "ana"
    assert "09:00" not in arrivals(sweep, practitioner_id="ana")
    assert arrivals(sweep, practitioner_id="nobody") == []


def test_every_kind_needed_must_be_there(make_sweep: MakeSweep) -> None:
    without_room = make_sweep(MONDAY, MONDAY, resources={"ana": {}})

    assert arrivals(without_room) == []
    slot = only(replace(without_room, needs=("practitioner",)), "09:00")
    assert (slot.room, len(slot.claims)) == (None, 1)


def test_a_resource_without_hours_serves_nobody(make_sweep: MakeSweep) -> None:
    assert arrivals(make_sweep(MONDAY, MONDAY, resources={"ana": {"open": ()}, "room-1": {}})) == []


def test_notice_and_horizon_are_half_open(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(MONDAY, MONDAY, earliest=local("09:30"), latest=local("11:00"))
    later = replace(sweep, earliest=local("09:30") + dt.timedelta(microseconds=1))

    assert arrivals(sweep) == ["09:30", "10:00", "10:30"]
    assert arrivals(later) == ["10:00", "10:30"]
    assert validate(sweep, local("09:00")) is None
    assert validate(sweep, local("11:00")) is None


def test_the_clinical_outcome_is_part_of_the_sweep(make_sweep: MakeSweep) -> None:
    sunday = MONDAY + dt.timedelta(days=6)
    sweep = make_sweep(
        MONDAY,
        sunday,
        not_before=MONDAY + dt.timedelta(days=2),
        forbidden={MONDAY + dt.timedelta(days=3)},
    )

    assert days(sweep, first=MONDAY, last=sunday) == {
        MONDAY + dt.timedelta(days=2): 10,
        MONDAY + dt.timedelta(days=4): 10,
        MONDAY + dt.timedelta(days=5): 10,
    }
    assert validate(sweep, local("09:00", MONDAY + dt.timedelta(days=1))) is None
    assert validate(sweep, local("09:00", MONDAY + dt.timedelta(days=3))) is None


def test_a_closed_date_has_no_times(make_sweep: MakeSweep) -> None:
    tuesday = MONDAY + dt.timedelta(days=1)

    assert list(days(make_sweep(MONDAY, tuesday, closed=(MONDAY,)), first=MONDAY, last=tuesday)) == [tuesday]


def test_the_grid_counts_from_local_midnight(make_sweep: MakeSweep) -> None:
    """25 minutes do not divide a day: 21 and 22 steps after midnight are 08:45 and 09:10."""
    found = arrivals(make_sweep(MONDAY, MONDAY, grid=minutes(25)))

    assert found == [
        "09:10",
        "09:35",
        "10:00",
        "10:25",
        "10:50",
        "11:15",
        "14:10",
        "14:35",
        "15:00",
        "15:25",
        "15:50",
        "16:15",
    ]


@pytest.mark.parametrize("arrive", ["09:10", "08:30", "11:30", "18:00", "23:59"])
def test_a_time_that_is_not_offered_is_not_valid(make_sweep: MakeSweep, arrive: str) -> None:
    assert validate(make_sweep(MONDAY, MONDAY), local(arrive)) is None


def test_a_fraction_of_a_second_is_another_time(make_sweep: MakeSweep) -> None:
    assert validate(make_sweep(MONDAY, MONDAY), local("09:00") + dt.timedelta(microseconds=1)) is None


def test_spring_skips_an_hour_of_arrivals(make_sweep: MakeSweep) -> None:
    sunday = dt.date(2026, 3, 29)
    found = arrivals(make_sweep(sunday, sunday, weekly=ALL_DAY), sunday)

    assert found[:5] == ["00:00", "00:30", "02:00", "02:30", "03:00"]


def test_autumn_offers_no_time_that_reads_twice(make_sweep: MakeSweep) -> None:
    """Arrival, cream on, treatment and end are printed; each of them stays out of 01:00 to 02:00."""
    saturday, sunday = dt.date(2026, 10, 24), dt.date(2026, 10, 25)
    sweep = make_sweep(saturday, sunday, weekly=ALL_DAY)
    found = offers(sweep, first=saturday, last=sunday)

    assert [
        f"{slot.local_arrive:%d %H:%M}"
        for slot in found
        if slot.local_arrive.hour > 20 or slot.date == sunday
    ][:7] == ["24 21:00", "24 21:30", "24 22:00", "24 22:30", "24 23:00", "25 02:00", "25 02:30"]
    for slot in found:
        printed = (
            slot.local_arrive,
            slot.local_treatment - minutes(30),
            slot.local_treatment,
            slot.end.astimezone(slot.zone).replace(tzinfo=None),
        )
        assert not any(
            moment.date() == sunday and dt.time(1) <= moment.time() < dt.time(2) for moment in printed
        )


def test_any_dates_may_be_asked(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(MONDAY, MONDAY)

    assert len(offers(sweep, first=dt.date.min, last=dt.date.max)) == 10
    assert offers(sweep, first=dt.date.max, last=dt.date.max) == []
    assert offers(sweep, first=dt.date.min, last=dt.date.min) == []
    assert offers(sweep, first=MONDAY, last=MONDAY - dt.timedelta(days=1)) == []
    assert offers(replace(sweep, opening=()), first=dt.date.min, last=dt.date.max) == []
    assert validate(sweep, dt.datetime.max.replace(tzinfo=dt.UTC)) is None
    endless = replace(
        sweep,
        earliest=dt.datetime.min.replace(tzinfo=dt.UTC),
        latest=dt.datetime.max.replace(tzinfo=dt.UTC),
    )
    assert len(offers(endless, first=dt.date.min, last=dt.date.max)) == 10


def test_busy_time_is_widened_to_the_tick_of_the_store(make_sweep: MakeSweep) -> None:
    """A claim that ends a minute into a tick keeps the whole tick, as its row does."""
    resources = {"ana": {"busy": (busy("09:00-10:01"),)}, "room-1": {}}
    sweep = make_sweep(MONDAY, MONDAY, resources=resources, grid=minutes(1), tick=minutes(5))

    assert arrivals(sweep)[0] == "09:05"
    assert arrivals(replace(sweep, tick=minutes(1)))[0] == "09:01"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"grid": dt.timedelta()}, id="no grid"),
        pytest.param({"tick": dt.timedelta()}, id="no tick"),
        pytest.param({"earliest": dt.datetime(2026, 1, 1)}, id="naive"),  # noqa: DTZ001 - the mistake meant
    ],
)
def test_a_sweep_that_cannot_work_is_refused(make_sweep: MakeSweep, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"need at least a second|has no time zone"):
        make_sweep(MONDAY, MONDAY, **changes)


@pytest.mark.parametrize(
    "fields",
    [
        {"busy": (busy("10:00-11:00", "09:00-09:30"),)},
        {"busy": ((), busy("09:00-12:00", "10:00-11:00"))},
        {"blocked": busy("10:00-11:00", "09:00-12:00")},
        {"open": busy("14:00-18:00", "09:00-13:00")},
    ],
)
def test_intervals_out_of_order_are_refused_before_they_can_be_missed(
    make_sweep: MakeSweep, fields: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"'ana' are not in order\. Sort them and pass them through hours"):
        make_sweep(MONDAY, MONDAY, resources={"ana": fields, "room-1": {}})


def test_openings_out_of_order_are_refused(make_sweep: MakeSweep) -> None:
    with pytest.raises(ValueError, match="'opening' are not in order"):
        make_sweep(MONDAY, MONDAY, opening=busy("14:00-18:00", "09:00-13:00"))


def test_claims_come_in_any_order(make_sweep: MakeSweep) -> None:
    claims = [(0, each) for each in busy("15:00-15:30", "10:00-12:00", "10:30-11:00", "16:00-16:00")]

    assert by_lane(claims) == (busy("10:00-12:00", "15:00-15:30"),)


@pytest.mark.parametrize("parts", [(0, 0, 0, 0), (-1, 0, 30, 0), (0, 0, 30, -1)])
def test_a_span_that_cannot_be_is_refused(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="Check the protocol's timeline"):
        Span(*map(minutes, parts))
