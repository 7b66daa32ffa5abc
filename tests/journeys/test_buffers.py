"""Buffers and lanes from the profile to what is claimed, offered, moved and told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import blocking, booking, changing
from intake_plugin.journeys.office import SYSTEM
from intake_plugin.journeys.why import why_not_offered
from intake_plugin.records.tables import Appointment, Case, Claim, Occupancy
from intake_plugin.settings import Clinic
from intake_plugin.state import Staff
from intake_plugin.testing import approve, clinic
from tests.journeys.conftest import NOW, Desk

MINUTE = dt.timedelta(minutes=1)
DATE = dt.date(2026, 3, 10)
AFTERCARE = 10
"""Minutes in the room after the treatment."""


def buffered(nurse: dict[str, Any], room: dict[str, Any], treatment: dict[str, Any]) -> Clinic:
    return approve(
        clinic(
            resources=[
                {"id": "nurse", "kind": "practitioner", "name": "Nurse", **nurse},
                {"id": "room", "kind": "room", "name": "Room", **room},
            ],
            treatments=[{"protocol": "microneedling", **treatment}],
        )
    )


def taken(desk: Desk, appointment: Appointment) -> dict[str, tuple[dt.timedelta, dt.timedelta]]:
    """How long before the treatment and after the visit's end each resource is claimed."""
    desk.session.rollback()
    found = desk.session.scalars(sa.select(Occupancy).where(Occupancy.appointment_id == appointment.id))
    return {
        each.resource_id: (appointment.treatment_at - each.start_at, each.end_at - appointment.end_at)
        for each in found
    }


def first_at(desk: Desk, arrive: dt.datetime | None = None) -> Case:
    """Book a series, its first session at `arrive` or as early as there is one on the date."""
    case = desk.signed()
    slots = booking.times(desk.office, case, first=DATE).slots
    booking.choose_first(desk.office, case, arrive or slots[0].arrive)
    plan = booking.proposal(desk.office, case)
    booking.confirm(desk.office, case, {ordinal: slot.arrive for ordinal, slot in plan.slots.items()})
    return case


def starts(desk: Desk, case: Case) -> list[dt.datetime]:
    slots = booking.times(desk.office, case, first=DATE).slots
    return [slot.treatment for slot in slots if slot.date == DATE]


@pytest.mark.parametrize(
    ("nurse", "room", "treatment", "expected"),
    [
        ({}, {}, {}, {"nurse": (0, 0), "room": (0, 0)}),
        ({"before": "PT5M"}, {"after": "PT20M"}, {}, {"nurse": (5, 0), "room": (0, 20)}),
        ({}, {}, {"before": "PT10M", "after": "PT15M"}, {"nurse": (10, 15), "room": (10, 15)}),
        (
            {"before": "PT5M", "after": "PT30M"},
            {"before": "PT15M"},
            {"before": "PT10M", "after": "PT25M"},
            {"nurse": (10, 30), "room": (15, 25)},
        ),
    ],
    ids=["none", "resources", "treatment", "the-longer-counts"],
)
def test_buffers_are_claimed_and_the_next_session_keeps_its_distance(
    make_desk: Callable[..., Desk],
    nurse: dict[str, Any],
    room: dict[str, Any],
    treatment: dict[str, Any],
    expected: dict[str, tuple[int, int]],
) -> None:
    desk = make_desk(clinic=buffered(nurse, room, treatment))
    booked = first_at(desk)
    session = booking.appointments_of(desk.office, booked)[0]
    # The practitioner is there for the treatment alone, the room for the aftercare too.
    assert taken(desk, session) == {
        "nurse": (expected["nurse"][0] * MINUTE, (expected["nurse"][1] - AFTERCARE) * MINUTE),
        "room": (expected["room"][0] * MINUTE, expected["room"][1] * MINUTE),
    }
    ticks = desk.session.scalars(sa.select(Claim.tick).where(Claim.appointment_id == session.id)).all()
    assert len(ticks) == sum(
        (before + after + (session.end_at - session.treatment_at)) // (5 * MINUTE)
        for before, after in taken(desk, session).values()
    )
    apart = max(after + before for before, after in taken(desk, session).values())
    nearest = min(start for start in starts(desk, desk.signed()) if start >= session.end_at)
    grid = desk.office.clinic.booking.grid
    assert apart <= nearest - session.end_at < apart + grid


def test_why_not_names_a_treatments_buffer_and_a_move_keeps_it(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk(clinic=buffered({}, {}, {"before": "PT15M", "after": "PT30M"}))
    standing, other = first_at(desk), desk.signed()
    session = booking.appointments_of(desk.office, standing)[0]
    lead, grid = session.treatment_at - session.arrive_at, desk.office.clinic.booking.grid
    # Outside what the session keeps free after it, but not far enough for what this one keeps free before it.
    close = NOW + -(-(session.end_at + 30 * MINUTE - lead - NOW) // grid) * grid
    local = close.astimezone(desk.office.clinic.zone).replace(tzinfo=None)
    found = why_not_offered(desk.office, local, actor=SYSTEM, reference=other.reference)
    assert {(each.kind, each.resource and each.resource.id, each.reference) for each in found.reasons} == {
        ("buffer", "room", standing.reference)
    }
    free = close + grid
    assert free in offered(desk, other)
    moved = first_at(desk, free + dt.timedelta(hours=3))
    with pytest.raises(TimeTaken):
        changing.move(desk.office, moved, 1, {1: close}, staff=clinician)
    changing.move(desk.office, moved, 1, {1: free})
    first = booking.appointments_of(desk.office, moved)[0]
    assert taken(desk, first)["room"] == (15 * MINUTE, 30 * MINUTE)


def test_a_buffer_that_runs_over_midnight_is_seen_on_the_next_day(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=buffered({}, {"after": "PT18H"}, {}))
    case = desk.signed()
    last = [slot.arrive for slot in booking.times(desk.office, case, first=DATE).slots if slot.date == DATE][
        -1
    ]
    booking.choose_first(desk.office, case, last)
    plan = booking.proposal(desk.office, case)
    booking.confirm(desk.office, case, {ordinal: slot.arrive for ordinal, slot in plan.slots.items()})
    free = booking.appointments_of(desk.office, case)[0].end_at + dt.timedelta(hours=18)
    assert free.date() == DATE + dt.timedelta(days=1)
    slots = booking.times(desk.office, desk.signed(), first=free.date()).slots
    assert slots[0].date == free.date()
    assert free <= slots[0].treatment < free + desk.office.clinic.booking.grid


SHARED = approve(
    clinic(
        resources=[
            {"id": "ana", "kind": "practitioner", "name": "Ana"},
            {"id": "ben", "kind": "practitioner", "name": "Ben"},
            {"id": "cleo", "kind": "practitioner", "name": "Cleo"},
            {"id": "room", "kind": "room", "name": "Room", "lanes": 2, "after": "PT10M"},
        ]
    )
)
"""Three practitioners and a room for two patients at a time."""


def lanes(desk: Desk, case: Case) -> list[int]:
    desk.session.rollback()
    return list(
        desk.session.scalars(
            sa.select(Occupancy.lane)
            .join(Appointment, Appointment.id == Occupancy.appointment_id)
            .where(Appointment.case_id == case.id, Occupancy.resource_id == "room")
            .order_by(Occupancy.start_at)
        )
    )


def offered(desk: Desk, case: Case) -> set[dt.datetime]:
    return {slot.arrive for slot in booking.times(desk.office, case, first=DATE).slots}


def test_a_room_of_two_lanes_holds_two_patients_and_refuses_the_third(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk(clinic=SHARED)
    one, two, third = desk.signed(), desk.signed(), desk.signed()
    arrive = booking.times(desk.office, one, first=DATE).slots[0].arrive
    # A hold takes a lane as a booking does.
    booking.choose_first(desk.office, one, arrive)
    booking.choose_first(desk.office, two, arrive)
    assert arrive not in offered(desk, third)
    with pytest.raises(TimeTaken):
        booking.choose_first(desk.office, third, arrive)
    for case in (one, two):
        plan = booking.proposal(desk.office, case)
        booking.confirm(desk.office, case, {ordinal: slot.arrive for ordinal, slot in plan.slots.items()})
    assert {lanes(desk, one)[0], lanes(desk, two)[0]} == {0, 1}
    sessions = [booking.appointments_of(desk.office, case)[0] for case in (one, two)]
    assert {each.arrive_at for each in sessions} == {arrive}
    assert len({each.practitioner_id for each in sessions}) == 2
    assert arrive not in offered(desk, third)

    # A third practitioner is free: what is full is the room.
    local = dt.datetime.fromisoformat(sessions[0].local_start)
    told = why_not_offered(desk.office, local, actor=SYSTEM, reference=third.reference)
    named = {(each.resource.id if each.resource else None, each.reference) for each in told.reasons}
    assert named == {("room", one.reference), ("room", two.reference)}

    # Who moves away frees a lane, and who moves there takes it.
    changing.move(desk.office, one, 1, {1: arrive + dt.timedelta(hours=3)})
    assert arrive in offered(desk, third)
    late = first_at(desk, arrive + dt.timedelta(hours=4))
    changing.move(desk.office, late, 1, {1: arrive})
    assert arrive not in offered(desk, third)
    assert {lanes(desk, two)[0], lanes(desk, late)[0]} == {0, 1}
    with pytest.raises(TimeTaken):
        changing.move(desk.office, one, 1, {1: arrive})

    # So does a cancelled session; an overlap is a third lane, and only by name.
    changing.cancel(desk.office, two, 1)
    changing.move(desk.office, one, 1, {1: arrive})
    assert {lanes(desk, one)[0], lanes(desk, late)[0]} == {0, 1}
    over = first_at(desk, arrive + dt.timedelta(hours=5))
    changing.move(desk.office, over, 1, {1: arrive}, staff=clinician, reason="Sisters")
    assert lanes(desk, over)[0] == 2


def test_a_block_takes_every_lane(make_desk: Callable[..., Desk], clinician: Staff) -> None:
    desk = make_desk(clinic=SHARED)
    case = desk.signed()
    arrive = booking.times(desk.office, case, first=DATE).slots[0].arrive
    blocking.block(desk.office, clinician, "room", NOW, arrive + dt.timedelta(days=1), "Paint")
    assert arrive not in offered(desk, case)
