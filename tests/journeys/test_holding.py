"""Holds: taken for everybody else, free for the case itself, and never a reason to lose anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import blocking, booking, holding, intake, upkeep
from intake_plugin.records.tables import Appointment, Case, CaseState, Claim, Occupancy
from intake_plugin.state import Staff
from intake_plugin.testing import approve, clinic
from tests.journeys.conftest import CLINIC, NOW, Desk

HOLD, MOST = CLINIC.booking.hold, CLINIC.booking.hold_most
LATER_TODAY = 4
"""A time on offer that the clinic's notice does not overtake during the test."""
MINUTE = dt.timedelta(minutes=1)


def held(desk: Desk, case: Case) -> set[dt.datetime | None]:
    """Ends of the case's claims, after comparing them with the stretches that stand for them."""
    # What others committed meanwhile is seen by a new transaction only.
    desk.session.rollback()
    ends = {
        table: set(desk.session.scalars(sa.select(table.expires_at).where(table.hold_id == case.id)))
        for table in (Claim, Occupancy)
    }
    assert ends[Claim] == ends[Occupancy]
    return ends[Claim]


def ticks(desk: Desk) -> list[tuple[str | None, str | None]]:
    rows = desk.session.execute(sa.select(Claim.hold_id, Claim.appointment_id).order_by(Claim.tick))
    return [(hold_id, appointment_id) for hold_id, appointment_id in rows]


def test_choosing_a_time_holds_the_whole_proposed_series(desk: Desk) -> None:
    case, chosen = desk.planned()
    assert held(desk, case) == {NOW + HOLD}
    stretches = desk.session.scalars(sa.select(Occupancy)).all()
    assert len(stretches) == 2 * len(chosen) == 8
    assert {each.appointment_id for each in stretches} == {None}
    assert booking.proposal(desk.office, case).held_until == NOW + HOLD


def test_a_held_time_is_offered_to_nobody_else_and_to_the_case_itself(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk()
    case, chosen = one.planned()
    others = other.signed()
    assert chosen[1] not in {slot.arrive for slot in booking.times(other.office, others).slots}
    with pytest.raises(TimeTaken):
        booking.choose_first(other.office, others, chosen[1])
    assert chosen[1] in {slot.arrive for slot in booking.times(one.office, case).slots}


def test_a_hold_that_has_run_out_is_free_and_looking_deletes_nothing(make_desk: Callable[..., Desk]) -> None:
    one = make_desk()
    case, chosen = one.planned(LATER_TODAY)
    other = make_desk().at(NOW + HOLD)
    others = other.signed()
    before = ticks(one)
    assert chosen[1] in {slot.arrive for slot in booking.times(other.office, others).slots}
    one.session.commit()
    assert ticks(one) == before
    booking.choose_first(other.office, others, chosen[1])
    assert held(one, case) == set()
    assert held(other, others) == {NOW + HOLD + HOLD}


def test_a_hold_just_before_its_end_still_stands(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk().at(NOW + HOLD - MINUTE)
    _, chosen = one.planned()
    with pytest.raises(TimeTaken):
        booking.choose_first(other.office, other.signed(), chosen[1])


def test_booking_turns_the_hold_into_claims_in_place(desk: Desk) -> None:
    case, chosen = desk.planned()
    rows = len(ticks(desk))
    booking.confirm(desk.office, case, chosen)
    assert held(desk, case) == set()
    booked = ticks(desk)
    assert len(booked) == rows
    appointments = set(desk.session.scalars(sa.select(Appointment.id)))
    assert {appointment for _, appointment in booked} == appointments
    assert {hold for hold, _ in booked} == {None}
    assert not desk.session.scalars(sa.select(Claim).where(Claim.expires_at.is_not(None))).all()


def test_what_is_held_is_booked_although_somebody_else_is_freer_now(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    two_of_each = [
        {"id": f"{kind}-{number}", "kind": kind, "name": kind}
        for kind in ("practitioner", "room")
        for number in range(2)
    ]
    desk = make_desk(clinic=approve(clinic(resources=two_of_each)))
    case, chosen = desk.planned()
    seats = sa.select(Occupancy.resource_id, Occupancy.lane, Occupancy.start_at)
    before = set(desk.session.execute(seats).all())
    hour = dt.timedelta(hours=1)
    for arrive in chosen.values():
        for resource_id in {resource_id for resource_id, _, _ in before}:
            blocking.block(
                desk.office, clinician, resource_id, arrive + 3 * hour, arrive + 5 * hour, "Meeting"
            )
    booking.confirm(desk.office, case, chosen)
    assert set(desk.session.execute(seats).all()) == before


def test_pressing_once_more_holds_for_longer_up_to_the_clinics_most(desk: Desk) -> None:
    case, chosen = desk.planned()
    presses, now = 0, NOW
    while booking.extendable(desk.at(now).office, booking.proposal(desk.at(now).office, case)):
        now += HOLD - MINUTE
        booking.extend(desk.at(now).office, case)
        presses += 1
        assert held(desk, case) == {min(now + HOLD, NOW + MOST)}
    assert presses >= 10
    assert held(desk, case) == {NOW + MOST}
    booking.confirm(desk.at(NOW + MOST - MINUTE).office, case, chosen)


def test_a_hold_that_has_run_out_is_held_again_if_nobody_came(desk: Desk) -> None:
    case, chosen = desk.planned(-1)
    late = desk.at(NOW + MOST + HOLD)
    booking.extend(late.office, case)
    assert held(desk, case) == {NOW + MOST + HOLD + HOLD}
    booking.confirm(late.office, case, chosen)


def test_who_lost_a_hold_loses_no_answer_and_no_choice(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk().at(NOW + HOLD)
    case, chosen = one.planned(LATER_TODAY)
    moved = chosen | {3: booking.proposal(one.office, case).sessions[2].proposal.alternatives[0].arrive}
    booking.change(one.office, case, moved)
    late = one.at(NOW + HOLD + MINUTE)
    others = other.signed()
    booking.choose_first(other.office, others, chosen[1])
    case_id = case.id
    with pytest.raises(TimeTaken):
        booking.confirm(late.office, case, moved)
    booking.extend(late.office, case)
    one.session.expire_all()
    case = one.session.get_one(Case, (CLINIC.id, case_id))
    assert case.state == CaseState.BOOKING
    choice = holding.choice_of(case)
    assert choice is not None
    assert choice.arrivals == moved
    assert intake.answers_of(case)["concern"] == "fine_lines"
    plan = booking.proposal(late.office, case)
    lost = {each.proposal.ordinal for each in plan.sessions if each.problem}
    assert 1 in lost
    assert all(len(each.proposal.alternatives) >= 2 for each in plan.sessions if each.problem)
    kept = {ordinal: slot.arrive for ordinal, slot in plan.slots.items()}
    assert kept == {ordinal: arrive for ordinal, arrive in moved.items() if ordinal not in lost}


def test_choosing_anew_and_going_back_to_the_questions_release(desk: Desk) -> None:
    case, chosen = desk.planned()
    later = booking.times(desk.office, case).slots[-1].arrive
    booking.choose_first(desk.office, case, later)
    claimed = desk.session.scalars(sa.select(Occupancy.start_at)).all()
    assert min(claimed) > chosen[1]
    assert len(claimed) == 8
    intake.reopen(desk.office, case)
    assert not desk.session.scalars(sa.select(Claim)).all()
    assert not desk.session.scalars(sa.select(Occupancy)).all()


def test_a_held_time_can_be_booked_although_the_notice_passes(desk: Desk) -> None:
    case = desk.signed()
    first = booking.times(desk.office, case).slots[0].arrive
    just = desk.at(first - CLINIC.booking.notice)
    booking.choose_first(just.office, case, first)
    minute_later = desk.at(first - CLINIC.booking.notice + MINUTE)
    plan = booking.proposal(minute_later.office, case)
    assert plan.complete
    booking.confirm(minute_later.office, case, {ordinal: slot.arrive for ordinal, slot in plan.slots.items()})


def test_upkeep_deletes_what_has_run_out_and_nothing_else(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk()
    booked = one.booked()
    lapsed, _ = one.planned()
    late = other.at(NOW + HOLD)
    standing = late.signed()
    late.plan(standing)
    upkeep.expire(make_desk().at(NOW + HOLD).office)
    assert held(one, lapsed) == set()
    assert held(one, standing) == {NOW + HOLD + HOLD}
    series = booking.booked(one.office, booked).sessions
    claimed = set(one.session.scalars(sa.select(Claim.appointment_id).where(Claim.hold_id.is_(None))))
    assert claimed == {each.appointment.id for each in series}


TWO = clinic(
    resources=[
        {"id": "ana", "kind": "practitioner", "name": "Ana"},
        {"id": "ben", "kind": "practitioner", "name": "Ben"},
        {"id": "room-1", "kind": "room", "name": "Room 1"},
        {"id": "room-2", "kind": "room", "name": "Room 2"},
    ]
)


def test_who_asks_for_a_practitioner_gets_them_in_every_session(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=TWO)
    for asked in ("ana", "ben"):
        case = desk.signed()
        times = booking.times(desk.office, case, practitioner_id=asked)
        assert times.practitioner_id == asked
        assert {slot.practitioner_id for slot in times.slots} == {asked}
        booking.choose_first(desk.office, case, times.slots[0].arrive, practitioner_id=asked)
        plan = booking.proposal(desk.office, case)
        booking.confirm(desk.office, case, {o: slot.arrive for o, slot in plan.slots.items()})
        sessions = booking.booked(desk.office, case).sessions
        assert {each.appointment.practitioner_id for each in sessions} == {asked}


def test_a_time_of_a_busy_practitioner_cannot_be_asked_for(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=TWO)
    case = desk.signed()
    first = booking.times(desk.office, case, practitioner_id="ana").slots[0].arrive
    booking.choose_first(desk.office, case, first, practitioner_id="ana")
    other = desk.signed()
    with pytest.raises(TimeTaken):
        booking.choose_first(desk.office, other, first, practitioner_id="ana")
    booking.choose_first(desk.office, other, first)
    assert booking.proposal(desk.office, other).slots[1].practitioner_id == "ben"


def test_one_practitioner_is_no_choice(desk: Desk) -> None:
    case = desk.signed()
    assert booking.practitioners(desk.office, case) == ()
    assert booking.times(desk.office, case, practitioner_id="nobody").practitioner_id is None


def test_the_month_shows_exactly_the_days_that_have_times(desk: Desk) -> None:
    case = desk.signed()
    page = booking.times(desk.office, case)
    found: dict[dt.date, int] = {}
    first: dt.date | None = page.first
    while first is not None:
        week = booking.times(desk.office, case, first=first)
        for slot in week.slots:
            found[slot.date] = found.get(slot.date, 0) + 1
        first = week.later
    shown: dict[dt.date, int] = {}
    date: dt.date | None = page.first
    while date is not None:
        month = booking.month(desk.office, case, date=date)
        assert {each.replace(day=1) for each in month.days} <= {month.first}
        assert month.before == (None if not shown else max(shown).replace(day=1))
        shown |= month.days
        date = month.after
    assert shown == found
    assert booking.month(desk.office, case, date=dt.date(9999, 1, 1)).first == max(found).replace(day=1)
