"""What somebody else does between a page and its button, or between a look and the claims."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from intake_plugin.clinical import screening as screens
from intake_plugin.clinical.protocol import Wait
from intake_plugin.errors import NotAsSigned, OutOfTurn, TimeTaken
from intake_plugin.journeys import blocking, booking, changing, consent, holding, review
from intake_plugin.journeys.holding import Choice
from intake_plugin.journeys.office import Outrun
from intake_plugin.records.tables import Case, CaseState, Series, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, NOW, Desk, proposed
from tests.journeys.test_holding import TWO
from tests.journeys.test_safety import rule_ids, ruling, stocked

HOLD, MOST = CLINIC.booking.hold, CLINIC.booking.hold_most
MINUTE = dt.timedelta(minutes=1)


def test_a_hold_that_ran_out_and_was_taken_is_not_booked(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    case, chosen = desk.planned(-1)
    late, rival = desk.at(NOW + HOLD), make_desk().at(NOW + HOLD)
    looked = holding.load_taken(late.office, case, [holding.Look(NOW, NOW, NOW + dt.timedelta(days=365))])
    desk.session.commit()
    rivals = rival.signed()
    booking.choose_first(rival.office, rivals, chosen[1])
    booking.confirm(rival.office, rivals, proposed(rival.office, rivals))
    assert looked.mine
    with pytest.raises(Outrun):
        holding.book(late.office, case, dict.fromkeys(looked.mine, "an appointment"), looked)
    late.session.rollback()
    with pytest.raises(TimeTaken):
        booking.confirm(late.office, case, chosen)
    assert desk.session.scalars(sa.select(Series.case_id)).all() == [rivals.id]


class Lost(NamedTuple):
    """A patient, some time after the hold, whose times with the practitioner asked for a rival has booked."""

    late: Desk
    case: Case
    chosen: dict[int, dt.datetime]
    rival: Desk
    rivals: Case


def lost_to_a_rival(make_desk: Callable[..., Desk]) -> Lost:
    desk, rival = make_desk(clinic=TWO), make_desk(clinic=TWO).at(NOW + HOLD + MINUTE)
    case = desk.signed()
    slots = booking.times(desk.office, case, practitioner_id="ana").slots
    booking.choose_first(desk.office, case, slots[-1].arrive, practitioner_id="ana")
    chosen = proposed(desk.office, case)
    rivals = rival.signed()
    booking.choose_first(rival.office, rivals, chosen[1], practitioner_id="ana")
    booking.confirm(rival.office, rivals, proposed(rival.office, rivals))
    return Lost(desk.at(NOW + HOLD + 2 * MINUTE), case, chosen, rival, rivals)


def test_who_asked_for_somebody_is_not_booked_with_another_unseen(make_desk: Callable[..., Desk]) -> None:
    late, case, chosen, _, _ = lost_to_a_rival(make_desk)
    with pytest.raises(TimeTaken):
        booking.confirm(late.office, case, chosen)
    # The page after it shows who it would be, and then it is the patient's own choice.
    booking.change(late.office, case, chosen)
    assert {slot.practitioner_id for slot in booking.proposal(late.office, case).slots.values()} == {"ben"}
    booking.confirm(late.office, case, chosen)
    assert {each.practitioner_id for each in booking.appointments_of(late.office, case)} == {"ben"}


def test_of_two_cases_of_one_person_the_second_goes_to_a_clinician(desk: Desk, clinician: Staff) -> None:
    desk.email = "pat@example.com"
    first, second = desk.signed(), desk.signed()
    chosen, others = desk.plan(first), desk.plan(second)
    booking.confirm(desk.office, first, chosen)
    with pytest.raises(OutOfTurn) as sent:
        booking.confirm(desk.office, second, others)
    assert sent.value.step == "outcome"
    assert (second.state, second.plan) == (CaseState.REVIEW, None)
    assert screens.CONFLICT in rule_ids(second)
    assert desk.session.scalars(sa.select(Series.case_id)).all() == [first.id]
    review.decide(desk.office, clinician, second.reference, ruling(second, Verdict.CLEAR))
    # What was signed counts again: neither the texts nor the answers have changed.
    desk.sign_all(second)
    if second.state == CaseState.CONSENT:
        consent.proceed(desk.office, second)
    booking.confirm(desk.office, second, desk.plan(second))
    assert second.state == CaseState.BOOKED


def test_a_moved_session_keeps_the_cream_that_was_signed_for(make_desk: Callable[..., Desk]) -> None:
    case = make_desk(clinic=stocked("LMX4")).booked()
    both = make_desk(clinic=stocked("EMLA", "LMX4"))
    mine = both.session.get_one(Case, (CLINIC.id, case.id))
    plan = changing.plan_move(both.office, mine, 2, later(both, mine))
    changing.move(both.office, mine, 2, plan.arrivals)
    assert {each.product_id for each in booking.appointments_of(both.office, mine)} == {"LMX4"}
    other = make_desk(clinic=stocked("EMLA"))
    mine = other.session.get_one(Case, (CLINIC.id, case.id))
    for act in (changing.plan_move, changing.move):
        with pytest.raises(NotAsSigned):
            act(other.office, mine, 2, later(other, mine))
    with pytest.raises(NotAsSigned):
        changing.move_times(other.office, mine, 2)


def later(desk: Desk, case: Case) -> dict[int, dt.datetime]:
    """A week after the second session, at the same time."""
    return {2: booking.appointments_of(desk.office, case)[1].arrive_at + dt.timedelta(days=7)}


def test_choosing_the_same_time_again_does_not_hold_it_for_ever(desk: Desk) -> None:
    case, chosen = desk.planned(-1)
    now = NOW
    for _ in range(MOST // (HOLD - MINUTE) + 2):
        now += HOLD - MINUTE
        if chosen_until(case) <= now:
            break
        booking.choose_first(desk.at(now).office, case, chosen[1])
    assert chosen_until(case) == NOW + MOST


def chosen_until(case: Case) -> dt.datetime:
    choice = holding.choice_of(case)
    assert isinstance(choice, Choice)
    return choice.until


def test_only_a_time_that_is_held_can_be_had_inside_the_notice(desk: Desk) -> None:
    case = desk.signed()
    slots = booking.times(desk.office, case).slots
    booking.choose_first(desk.office, case, slots[-1].arrive)
    now = NOW
    while now + CLINIC.booking.notice <= slots[0].arrive:
        now += HOLD - MINUTE
        booking.extend(desk.at(now).office, case)
    late = desk.at(now)
    booking.change(late.office, case, {1: slots[0].arrive})
    plan = booking.proposal(late.office, case)
    arrivals = {ordinal: slot.arrive for ordinal, slot in plan.slots.items()}
    with pytest.raises(TimeTaken):
        booking.confirm(late.office, case, {**arrivals, 1: slots[0].arrive})


def test_a_broken_gap_is_shown_although_another_session_has_no_time(desk: Desk, clinician: Staff) -> None:
    case, chosen = desk.planned()
    booking.change(desk.office, case, {1: chosen[1], 2: chosen[2] - dt.timedelta(days=7)})
    start, end = NOW + dt.timedelta(days=60), NOW + dt.timedelta(days=200)
    blocking.block(desk.office, clinician, "room", start, end, "Building works")
    problems = {each.proposal.ordinal: each.problem for each in booking.proposal(desk.office, case).sessions}
    assert problems[2] == "short"
    assert problems[4] == "taken"


def test_a_short_horizon_is_kept_and_only_a_deferral_goes_past_it(make_desk: Callable[..., Desk]) -> None:
    week = replace(CLINIC, booking=replace(CLINIC.booking, horizon=Wait(days=7)))
    desk = make_desk(clinic=week)
    last = NOW.date() + dt.timedelta(days=7)
    case = desk.signed()
    assert booking.bounds(desk.office, case)[1] == last
    assert all(slot.date <= last for slot in booking.times(desk.office, case).slots)
    case.not_before = last + dt.timedelta(days=30)
    soonest, horizon = booking.bounds(desk.office, case)
    assert (soonest, horizon) == (case.not_before, case.not_before + booking.WEEK)
