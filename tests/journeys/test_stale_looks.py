"""What was true at the look and is not at the write: nobody's hold is deleted, nobody's time taken twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import booking, holding, review
from intake_plugin.journeys.holding import Stretch, Taken
from intake_plugin.journeys.office import Outrun
from intake_plugin.journeys.review import Ruling
from intake_plugin.journeys.suitability import Unsuitable
from intake_plugin.journeys.times import taken_of
from intake_plugin.records.tables import Case, CaseState, Claim, Occupancy, Verdict
from intake_plugin.scheduling.hours import Dates
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, NOW, Desk

HOLD, MOST = CLINIC.booking.hold, CLINIC.booking.hold_most
LATE = NOW + HOLD
MINUTE = dt.timedelta(minutes=1)


def looked(desk: Desk, case: Case, chosen: dict[int, dt.datetime]) -> Taken:
    """What a case sees of the dates of these times; the transaction of the look is over then."""
    dates = [arrive.astimezone(CLINIC.zone).date() for arrive in chosen.values()]
    taken = taken_of(desk.office, case, [Dates(min(dates), max(dates))])
    desk.session.rollback()
    return taken


def held(desk: Desk, case_id: str) -> tuple[list[dt.datetime | None], ...]:
    desk.session.rollback()
    return tuple(
        list(desk.session.scalars(sa.select(table.expires_at).where(table.hold_id == case_id)))
        for table in (Claim, Occupancy)
    )


def test_a_hold_that_was_extended_after_the_look_is_not_deleted(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk().at(LATE)
    case, chosen = one.planned(-1)
    rival = other.signed()
    taken = looked(other, rival, chosen)
    assert taken.lapsed
    booking.extend(one.at(LATE).office, case)
    standing = held(one, case.id)
    one.session.rollback()
    with pytest.raises(Outrun):
        holding.hold(other.office, rival, list(taken.lapsed), taken, LATE + HOLD)
    other.session.rollback()
    assert held(one, case.id) == standing
    assert {LATE + HOLD} == {end for ends in standing for end in ends}


def test_expiring_spares_a_hold_that_was_extended_after_the_look(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make_desk(), make_desk().at(LATE)
    case, _ = one.planned(-1)
    stored = holding._stored

    def then_extended(*args: object, **kwargs: object) -> dict[Stretch, str]:
        found = stored(*args, **kwargs)  # type: ignore[arg-type]
        other.session.rollback()
        monkeypatch.setattr(holding, "_stored", stored)
        booking.extend(one.at(LATE).office, case)
        return found

    monkeypatch.setattr(holding, "_stored", then_extended)
    assert holding.clear_lapsed(other.office, 100) > 0
    other.session.commit()
    assert {LATE + HOLD} == {end for ends in held(one, case.id) for end in ends}


@pytest.mark.parametrize("act", ["hold", "book"])
def test_a_hold_that_ran_out_and_was_taken_after_the_look_is_not_had(
    make_desk: Callable[..., Desk], act: str
) -> None:
    one, other = make_desk(), make_desk().at(LATE)
    case, chosen = one.planned(-1)
    rival = other.signed()
    taken = looked(one, case, chosen)
    booking.choose_first(other.office, rival, chosen[1])
    theirs = held(other, rival.id)
    late = one.at(LATE).office
    acts: dict[str, Callable[[], None]] = {
        "hold": lambda: holding.hold(late, case, taken.mine, taken, LATE + HOLD),
        "book": lambda: holding.book(late, case, dict.fromkeys(taken.mine, "mine"), taken),
    }
    with pytest.raises(Outrun):
        acts[act]()
    one.session.rollback()
    assert held(other, rival.id) == theirs


@pytest.mark.parametrize("verdict", [Verdict.DECLINE, Verdict.ASK_AGAIN])
def test_a_decision_releases_what_is_held(desk: Desk, clinician: Staff, verdict: Verdict) -> None:
    case, _ = desk.planned()
    assert all(held(desk, case.id))
    ruling = Ruling(verdict=verdict, note="Spoke to the patient.", version=case.version)
    review.decide(desk.office, clinician, case.reference, ruling)
    assert case.state != CaseState.BOOKING
    assert held(desk, case.id) == ([], [])


def test_after_a_lapse_the_notice_and_the_clinics_most_count_anew(desk: Desk) -> None:
    case, _ = desk.planned(-1)
    late = desk.at(LATE + MINUTE)
    booking.extend(late.office, case)
    choice = holding.choice_of(case)
    assert choice is not None
    assert choice.since == LATE + MINUTE
    now = LATE + MINUTE
    while booking.extendable(desk.at(now).office, booking.proposal(desk.at(now).office, case)):
        now += HOLD - MINUTE
        booking.extend(desk.at(now).office, case)
    assert set(held(desk, case.id)[0]) == {LATE + MINUTE + MOST}


def test_a_time_whose_hold_ran_out_inside_the_notice_is_gone(desk: Desk) -> None:
    case = desk.signed()
    first = booking.times(desk.office, case).slots[0].arrive
    just = first - CLINIC.booking.notice
    booking.choose_first(desk.at(just).office, case, first)
    late = desk.at(just + HOLD + MINUTE)
    plan = booking.proposal(late.office, case)
    assert plan.sessions[0].problem is not None
    choice = holding.choice_of(case)
    assert choice is not None
    with pytest.raises(TimeTaken):
        booking.confirm(late.office, case, choice.arrivals)


def test_each_date_is_screened_for_itself(desk: Desk) -> None:
    case = desk.signed(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    assert case.not_before is not None
    unsuitable = Unsuitable(desk.office, case)
    day = dt.timedelta(days=1)
    assert case.not_before - day in unsuitable
    assert case.not_before not in unsuitable
    assert case.not_before - day in unsuitable
