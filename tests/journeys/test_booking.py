"""Times, the proposed series, and all of it booked or nothing, on every kind of database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from icalendar import Calendar

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.errors import OutOfTurn, TimeTaken
from intake_plugin.journeys import booking, files, intake, review
from intake_plugin.journeys.holding import choice_of
from intake_plugin.journeys.review import Ruling
from intake_plugin.records.tables import Appointment, CaseState, Claim, Occupancy, Series, Verdict
from intake_plugin.state import Staff
from intake_plugin.web.calendar_words import calendar_words
from tests.journeys.conftest import CLINIC, NOW, Desk

LONDON = ZoneInfo("Europe/London")
LATER = NOW + CLINIC.booking.hold
"""When what was held at NOW is free again."""
LINK = "https://clinic.example/book/manage"


def counts(desk: Desk) -> dict[str, int]:
    return {
        table.__tablename__: desk.session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        for table in (Series, Appointment, Claim, Occupancy)
    }


def nothing_booked(desk: Desk) -> bool:
    """Whether there are claims of holds at most."""
    booked = sa.select(Claim.tick).where(Claim.appointment_id.is_not(None))
    found = counts(desk)
    return not (found["intake_series"] or found["intake_appointment"] or desk.session.scalars(booked).all())


def test_the_whole_way_books_four_sessions_four_weeks_apart(desk: Desk) -> None:
    case, chosen = desk.planned()
    series = booking.confirm(desk.office, case, chosen)
    sessions = booking.booked(desk.office, case).sessions
    dates = [each.appointment.arrive_at.astimezone(LONDON) for each in sessions]
    assert len(sessions) == 4
    assert {(later - earlier).days for earlier, later in pairwise(dates)} <= {27, 28}
    assert {(date.isoweekday(), date.time()) for date in dates} == {(dates[0].isoweekday(), dates[0].time())}
    assert (series.course_id, series.area_id, series.product_id) == ("fine_lines", "face", "LMX4")
    assert intake.next_step(desk.office, case).name == "done"


def test_the_cream_goes_on_half_an_hour_before_the_treatment_and_half_an_hour_after_the_arrival(
    desk: Desk,
) -> None:
    half = dt.timedelta(minutes=30)
    for each in booking.booked(desk.office, desk.booked()).sessions:
        session = each.appointment
        assert session.cream_on_at == session.arrive_at + half
        assert session.cream_off_at == session.treatment_at == session.arrive_at + 2 * half
        assert session.cream_where == "clinic"


def test_times_keep_notice_opening_hours_and_the_outcomes_date(desk: Desk) -> None:
    case = desk.signed(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    times = booking.times(desk.office, case)
    assert times.slots[0].date == dt.date(2026, 3, 16)
    assert times.earlier is None
    for slot in times.slots:
        assert dt.time(9) <= slot.local_arrive.time()
        assert slot.end.astimezone(slot.zone).time() <= dt.time(17, 30)
        assert slot.local_arrive.isoweekday() <= 5
    clear = booking.times(desk.office, desk.signed())
    assert clear.slots[0].arrive >= NOW + desk.office.clinic.booking.notice


def test_every_week_of_the_horizon_can_be_turned_to_and_no_other(desk: Desk) -> None:
    case = desk.signed()
    page = booking.times(desk.office, case)
    seen = [page.first]
    while page.later is not None:
        page = booking.times(desk.office, case, first=page.later)
        seen.append(page.first)
    assert page.last == desk.office.clinic.booking.horizon.after(desk.office.today)
    assert booking.times(desk.office, case, first=dt.date(9999, 1, 1)).last == page.last
    assert booking.times(desk.office, case, first=dt.date.min).first == seen[0]


def test_a_booked_time_is_not_offered_again(desk: Desk) -> None:
    taken = {each.appointment.arrive_at for each in booking.booked(desk.office, desk.booked()).sessions}
    other = desk.signed()
    assert not taken & {slot.arrive for slot in booking.times(desk.office, other).slots}
    with pytest.raises(TimeTaken):
        booking.choose_first(desk.office, other, min(taken))


@pytest.mark.parametrize(
    "arrive",
    [
        dt.datetime(2026, 3, 8, 10, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 4, 3, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 4, 10, 7, tzinfo=dt.UTC),
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 31, 23, tzinfo=dt.UTC),
    ],
    ids=["a Sunday", "at night", "off the grid", "the year 1", "the year 9999"],
)
def test_a_time_that_was_never_offered_is_not_taken(desk: Desk, arrive: dt.datetime) -> None:
    case = desk.signed()
    with pytest.raises(TimeTaken):
        booking.choose_first(desk.office, case, arrive)
    assert case.plan is None


def test_each_session_has_at_least_two_alternatives_inside_its_window(desk: Desk) -> None:
    case, _ = desk.planned()
    for planned in booking.proposal(desk.office, case).sessions[1:]:
        proposal = planned.proposal
        assert len(proposal.alternatives) >= 2
        assert all(proposal.earliest <= slot.date <= proposal.latest for slot in proposal.alternatives)


def test_changing_a_session_shows_which_gaps_break_and_cannot_be_booked(desk: Desk) -> None:
    case, chosen = desk.planned()
    for moved, problem in ((-7, "short"), (28, "long")):
        changed = {**chosen, 4: chosen[4] + dt.timedelta(days=moved)}
        booking.change(desk.office, case, changed)
        plan = booking.proposal(desk.office, case)
        assert [planned.problem for planned in plan.sessions] == [None, None, None, problem]
        with pytest.raises(TimeTaken):
            booking.confirm(desk.office, case, changed)
    assert nothing_booked(desk)


@pytest.mark.parametrize("year", [1, 9999])
def test_a_session_thousands_of_years_away_is_refused_at_once(desk: Desk, year: int) -> None:
    case, chosen = desk.planned()
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, {**chosen, 3: dt.datetime(year, 6, 1, tzinfo=dt.UTC)})


def test_part_of_a_series_cannot_be_booked(desk: Desk) -> None:
    case, chosen = desk.planned()
    for missing in (1, 4):
        with pytest.raises(TimeTaken):
            booking.confirm(desk.office, case, {k: v for k, v in chosen.items() if k != missing})
    assert nothing_booked(desk)


def test_the_loser_of_a_time_loses_nothing_else(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk().at(LATER)
    winner, chosen = one.planned(-1)
    loser, same = other.planned(-1)
    one = one.at(LATER + CLINIC.booking.hold)
    assert same == chosen
    booking.confirm(one.office, winner, chosen)
    before = counts(one)
    with pytest.raises(TimeTaken):
        booking.confirm(other.office, loser, same)
    assert counts(one) == before
    other.session.expire_all()
    assert loser.state == CaseState.BOOKING
    choice = choice_of(loser)
    assert choice is not None
    assert choice.arrivals == chosen
    assert intake.answers_of(loser)["concern"] == "fine_lines"


def test_confirming_twice_books_once(desk: Desk) -> None:
    case, chosen = desk.planned()
    first = booking.confirm(desk.office, case, chosen)
    before = counts(desk)
    assert booking.confirm(desk.office, case, chosen) is first
    assert counts(desk) == before


def test_cream_at_home_needs_the_clinic_the_product_and_a_clinician(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    ruling = Ruling(verdict=Verdict.CLEAR, note="Small area.", version=case.version, home_numbing=True)
    review.decide(desk.office, clinician, case.reference, ruling)
    desk.sign_all(case)
    booking.confirm(desk.office, case, desk.plan(case))
    session = booking.booked(desk.office, case).sessions[0].appointment
    assert session.cream_where == "home"
    assert session.cream_on_at is not None
    assert session.arrive_at == session.treatment_at - dt.timedelta(minutes=30)
    assert session.cream_on_at == session.arrive_at - dt.timedelta(minutes=15)


def test_the_file_has_the_same_instants_as_the_records(desk: Desk) -> None:
    case = desk.booked()
    octets = files.series_file(desk.office, case, calendar_words(), link=LINK)
    read = Calendar.from_ical(octets)
    sessions = [each.appointment for each in booking.booked(desk.office, case).sessions]
    assert {event.get("UID"): event.start for event in read.events} == {
        session.id: session.arrive_at for session in sessions
    }
    single = Calendar.from_ical(files.session_file(desk.office, case, 2, calendar_words(), link=LINK))
    assert [event.get("UID") for event in single.events] == [sessions[1].id]


def test_there_is_no_file_before_the_booking(desk: Desk) -> None:
    with pytest.raises(OutOfTurn):
        files.series_file(desk.office, desk.signed(), calendar_words(), link=LINK)
