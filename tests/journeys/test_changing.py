"""Moving and cancelling: notice, gaps, all or nothing, calendars, and overlaps with a name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from icalendar import Calendar

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.errors import Busy, NotFound, OutOfTurn, TimeTaken, TooLate
from intake_plugin.journeys import blocking, booking, changing, files
from intake_plugin.journeys.times import session_of
from intake_plugin.records import audit
from intake_plugin.records.tables import Appointment, AppointmentState, AuditEntry, Case, Claim, Occupancy
from intake_plugin.state import Staff
from intake_plugin.testing import PROFILE, approve, clinic
from intake_plugin.web.calendar_words import calendar_words
from tests.journeys.conftest import NOW, Desk, proposed

LONDON = ZoneInfo("Europe/London")
DAY = dt.timedelta(days=1)
TUESDAY = dt.date(2026, 3, 17)
READER = Staff(id="desk-1", name="Jo Kent", role="read")
LINK = "https://clinic.example/book/manage"

Row = tuple[dt.datetime, int, dt.datetime, AppointmentState]


def booked(desk: Desk) -> Case:
    """Book four sessions from the first free time on Tuesday 17 March, 28 days apart: the least there is."""
    case = desk.signed()
    first = booking.times(desk.office, case, first=TUESDAY).slots[0]
    booking.choose_first(desk.office, case, first.arrive)
    booking.confirm(desk.office, case, proposed(desk.office, case))
    return case


def sessions(desk: Desk, case: Case) -> dict[int, Appointment]:
    desk.session.rollback()
    return {each.ordinal: each for each in booking.appointments_of(desk.office, case)}


def seen(desk: Desk, case: Case) -> dict[int, Row]:
    """What a calendar would see of each session."""
    return {
        ordinal: (each.arrive_at, each.sequence, each.modified_at, each.state)
        for ordinal, each in sessions(desk, case).items()
    }


def held(desk: Desk, case: Case) -> dict[int, int]:
    """How many ticks each session claims."""
    rows = desk.session.execute(
        sa.select(Appointment.ordinal, sa.func.count())
        .join(
            Claim, sa.and_(Claim.clinic_id == Appointment.clinic_id, Claim.appointment_id == Appointment.id)
        )
        .where(Appointment.case_id == case.id)
        .group_by(Appointment.ordinal)
    )
    return dict(rows.all())


def stored(desk: Desk) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """Every claim and every stretch there is."""
    desk.session.rollback()
    claims = sa.select(Claim.resource_id, Claim.lane, Claim.tick, Claim.appointment_id)
    stretches = sa.select(
        Occupancy.resource_id, Occupancy.lane, Occupancy.start_at, Occupancy.end_at, Occupancy.appointment_id
    )
    return (
        {tuple(row) for row in desk.session.execute(claims)},
        {tuple(row) for row in desk.session.execute(stretches)},
    )


def actions(desk: Desk, case: Case) -> list[tuple[str, str]]:
    entries = desk.session.scalars(
        sa.select(AuditEntry).where(AuditEntry.object_id == case.id).order_by(AuditEntry.seq)
    )
    return [(each.actor_kind, each.action) for each in entries]


def days_later(desk: Desk, case: Case, ordinal: int, days: int) -> dt.datetime:
    """The session's time of day, that many days later on the local clock."""
    local = sessions(desk, case)[ordinal].arrive_at.astimezone(LONDON)
    return dt.datetime.combine(local.date() + days * DAY, local.time(), LONDON).astimezone(dt.UTC)


@contextmanager
def counting(desk: Desk) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        statements.append(statement)

    engine = desk.session.get_bind()
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_a_move_within_the_gaps_moves_one_session_and_leaves_the_others(desk: Desk) -> None:
    case = booked(desk)
    before, uids = seen(desk, case), [each.id for each in sessions(desk, case).values()]
    later = desk.at(NOW + dt.timedelta(hours=1))
    new = days_later(desk, case, 1, -1)
    changing.move(later.office, case, 1, {1: new})
    after = seen(desk, case)
    assert after == {**before, 1: (new, 1, later.office.now, AppointmentState.BOOKED)}
    moved = sessions(desk, case)[1]
    assert [each.id for each in sessions(desk, case).values()] == uids
    assert moved.local_start == new.astimezone(LONDON).replace(tzinfo=None).isoformat()
    assert moved.cream_on_at == new + dt.timedelta(minutes=30)
    assert moved.cream_off_at == moved.treatment_at == new + dt.timedelta(hours=1)
    assert actions(desk, case)[-1] == ("patient", "move")
    assert audit.verify(desk.session, desk.office.clinic.id) == ()


def test_the_old_time_is_free_again_and_the_new_one_taken(desk: Desk) -> None:
    case = booked(desk)
    old, new = seen(desk, case)[1][0], days_later(desk, case, 1, -1)
    amount = held(desk, case)
    changing.move(desk.office, case, 1, {1: new})
    assert held(desk, case) == amount
    other = desk.signed()
    offered = {slot.arrive for slot in booking.times(desk.office, other, first=new.date()).slots}
    assert old in offered
    assert new not in offered


@pytest.mark.parametrize("ordinal", [1, 2])
def test_a_move_that_breaks_a_gap_names_the_later_sessions_and_moves_them_together(
    desk: Desk, ordinal: int
) -> None:
    case = booked(desk)
    before = seen(desk, case)
    course = session_of(desk.office, case).course
    first = changing.move_times(desk.office, case, ordinal).latest
    chosen = {ordinal: days_later(desk, case, ordinal, 14)}
    assert chosen[ordinal].date() <= first
    plan = changing.plan_move(desk.office, case, ordinal, chosen)
    assert [each.appointment.ordinal for each in plan.sessions] == list(range(ordinal, 5))
    assert plan.complete
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, ordinal, chosen)
    assert seen(desk, case) == before
    changing.move(desk.office, case, ordinal, plan.arrivals)
    after = seen(desk, case)
    assert {n: row[0] for n, row in after.items() if n >= ordinal} == plan.arrivals
    assert [after[n][1] for n in sorted(after)] == [0] * (ordinal - 1) + [1] * (5 - ordinal)
    dates = [after[n][0].astimezone(LONDON).date() for n in sorted(after)]
    for earlier, date in pairwise(dates):
        assert course.gap_min.after(earlier) <= date <= course.gap_max.after(earlier)
    assert {n: row for n, row in after.items() if n < ordinal} == {
        n: row for n, row in before.items() if n < ordinal
    }


def test_a_session_that_moves_along_can_be_put_elsewhere_but_not_outside_its_gap(desk: Desk) -> None:
    case = booked(desk)
    chosen = {3: days_later(desk, case, 3, 14)}
    (_, along) = changing.plan_move(desk.office, case, 3, chosen).sessions
    assert along.proposal is not None
    other = along.proposal.alternatives[0].arrive
    outside = along.proposal.earliest - 7 * DAY
    early = dt.datetime.combine(outside, dt.time(10), LONDON)
    plan = changing.plan_move(desk.office, case, 3, {**chosen, 4: early})
    assert [each.problem for each in plan.sessions] == [None, "short"]
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 3, {**chosen, 4: early})
    changing.move(desk.office, case, 3, {**chosen, 4: other})
    assert seen(desk, case)[4][0] == other


def test_nothing_moves_when_one_of_the_times_was_taken_meanwhile(make_desk: Callable[..., Desk]) -> None:
    desk, other = make_desk(), make_desk()
    case = booked(desk)
    plan = changing.plan_move(desk.office, case, 2, {2: days_later(desk, case, 2, 14)})
    wanted = plan.arrivals
    rival = booked(other)
    changing.move(other.office, rival, 4, {4: wanted[4]})
    before = seen(desk, case), stored(desk)
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 2, wanted)
    assert (seen(desk, case), stored(desk)) == before
    again = changing.plan_move(desk.office, case, 2, {2: wanted[2]})
    assert again.complete
    assert again.arrivals[4] != wanted[4]


def test_of_two_who_move_to_one_time_one_gets_it(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival comes between the sweep and the claims, where only the database can tell."""
    desk, other = make_desk(), make_desk()
    case, rival = booked(desk), booked(other)
    wanted = days_later(desk, case, 1, -1)
    desk.session.commit()
    other.session.commit()
    # SQLite has one writer, so there it is the rival who is sent away.
    alone = desk.session.get_bind().dialect.name == "sqlite"
    carry_out = changing._carry_out

    def late(*args: Any) -> None:
        monkeypatch.setattr(changing, "_carry_out", carry_out)
        with pytest.raises(Busy) if alone else nullcontext():
            changing.move(other.office, rival, 1, {1: wanted})
        carry_out(*args)

    monkeypatch.setattr(changing, "_carry_out", late)
    before = seen(desk, case), seen(other, rival)
    with nullcontext() if alone else pytest.raises(TimeTaken):
        changing.move(desk.office, case, 1, {1: wanted})
    winner, loser = ((desk, case), (other, rival)) if alone else ((other, rival), (desk, case))
    assert seen(*winner)[1][0] == wanted
    assert seen(*loser) == before[alone]


def test_patients_move_and_cancel_until_each_notice_and_staff_until_the_session_begins(
    desk: Desk, clinician: Staff
) -> None:
    profile = approve(
        clinic(booking={**PROFILE["booking"], "move_notice": "PT72H", "cancel_notice": "PT24H"})
    )
    case = booked(desk)
    session = sessions(desk, case)[1]
    arrive, second = session.arrive_at, dt.timedelta(seconds=1)
    for before, move, cancel, staff in (
        (dt.timedelta(hours=72), True, True, True),
        (dt.timedelta(hours=72) - second, False, True, True),
        (dt.timedelta(hours=24), False, True, True),
        (dt.timedelta(hours=24) - second, False, False, True),
        (second, False, False, True),
        (dt.timedelta(), False, False, False),
    ):
        office = replace(desk.office, clinic=profile, now=arrive - before)
        assert changing.movable(office, session) is move
        assert changing.cancellable(office, session) is cancel
        assert changing.movable(office, session, clinician) is staff
        assert changing.cancellable(office, session, clinician) is staff
        assert not changing.movable(office, session, READER)


def test_too_late_is_told_and_nothing_is_written(desk: Desk, clinician: Staff) -> None:
    case = booked(desk)
    before, arrive = seen(desk, case), seen(desk, case)[1][0]
    late = desk.at(arrive - dt.timedelta(hours=47))
    new = {1: days_later(desk, case, 1, -1)}
    for act in (
        lambda: changing.move_times(late.office, case, 1),
        lambda: changing.plan_move(late.office, case, 1, new),
        lambda: changing.move(late.office, case, 1, new),
        lambda: changing.session_to_cancel(late.office, case, 1),
        lambda: changing.cancel(late.office, case, 1),
    ):
        with pytest.raises(TooLate):
            act()
    assert seen(desk, case) == before
    changing.move(late.office, case, 1, new, staff=clinician)
    assert seen(desk, case)[1][0] == new[1]
    assert actions(desk, case)[-1] == ("staff", "move")


def test_patients_keep_the_notice_for_the_new_time_and_staff_do_not(desk: Desk, clinician: Staff) -> None:
    case = booked(desk)
    soon = dt.datetime.combine(NOW.date() + DAY, dt.time(9, 15), LONDON)
    assert soon < NOW + desk.office.clinic.booking.notice
    with pytest.raises(TimeTaken):
        changing.plan_move(desk.office, case, 1, {1: soon})
    plan = changing.plan_move(desk.office, case, 1, {1: soon}, staff=clinician)
    changing.move(desk.office, case, 1, plan.arrivals, staff=clinician)
    assert seen(desk, case)[1][0] == soon


def test_cancelling_one_keeps_the_others_and_frees_exactly_its_time(desk: Desk) -> None:
    case = booked(desk)
    before, amount = seen(desk, case), held(desk, case)
    claims, stretches = stored(desk)
    uid = sessions(desk, case)[2].id
    later = desk.at(NOW + dt.timedelta(hours=1))
    changing.cancel(later.office, case, 2)
    cancelled = (before[2][0], 1, later.office.now, AppointmentState.CANCELLED)
    assert seen(desk, case) == {**before, 2: cancelled}
    assert held(desk, case) == {ordinal: count for ordinal, count in amount.items() if ordinal != 2}
    assert stored(desk) == (
        {row for row in claims if row[-1] != uid},
        {row for row in stretches if row[-1] != uid},
    )
    changing.cancel(desk.at(NOW + dt.timedelta(hours=2)).office, case, 2)
    assert seen(desk, case)[2] == cancelled
    assert actions(desk, case).count(("patient", "cancel")) == 1
    with pytest.raises(OutOfTurn):
        changing.move_times(desk.office, case, 2)
    with pytest.raises(OutOfTurn):
        changing.session_to_cancel(desk.office, case, 2)


def test_after_a_cancelled_session_the_next_counts_from_the_one_before(desk: Desk) -> None:
    case = booked(desk)
    course = session_of(desk.office, case).course
    first = seen(desk, case)[1][0].astimezone(LONDON).date()
    changing.cancel(desk.office, case, 2)
    found = changing.move_times(desk.office, case, 3)
    assert found.earliest == course.gap_min.after(first)
    assert found.latest == course.gap_max.after(course.gap_max.after(first))
    changing.move(desk.office, case, 1, {1: days_later(desk, case, 1, -1)})
    assert [row[1] for row in seen(desk, case).values()] == [1, 1, 0, 0]


def test_every_time_offered_for_a_move_can_be_had_and_the_present_one_is_not_among_them(desk: Desk) -> None:
    case = booked(desk)
    page = changing.move_times(desk.office, case, 2)
    assert page.slots
    assert page.appointment.arrive_at not in {slot.arrive for slot in page.slots}
    weeks = 1
    while page.later is not None:
        page = changing.move_times(desk.office, case, 2, first=page.later)
        assert all(page.earliest <= slot.date <= page.latest for slot in page.slots)
        weeks += 1
    assert page.last == page.latest
    assert weeks <= 1 + (page.latest - page.earliest).days // 7
    for far in (dt.date.min, dt.date.max):
        assert page.earliest <= changing.move_times(desk.office, case, 2, first=far).first <= page.latest
    for slot in page.slots[:2]:
        assert changing.plan_move(desk.office, case, 2, {2: slot.arrive}).sessions[0].slot == slot


NEVER = {
    "a Sunday": dt.datetime(2026, 5, 17, 10, tzinfo=dt.UTC),
    "at night": dt.datetime(2026, 5, 13, 3, tzinfo=dt.UTC),
    "off the grid": dt.datetime(2026, 5, 13, 10, 7, tzinfo=dt.UTC),
    "the year 1": dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    "the year 9999": dt.datetime(9999, 12, 31, 23, tzinfo=dt.UTC),
}


def test_a_time_that_is_not_offered_is_refused_for_the_session_and_for_one_that_moves_along(
    desk: Desk, clinician: Staff
) -> None:
    case = booked(desk)
    before, late = seen(desk, case), days_later(desk, case, 2, 14)
    for arrive in NEVER.values():
        for chosen in ({2: arrive}, {2: late, 3: arrive}):
            with pytest.raises(TimeTaken):
                changing.move(desk.office, case, 2, chosen)
            with pytest.raises(TimeTaken):
                changing.move(desk.office, case, 2, chosen, staff=clinician, reason="Anything goes")
    assert seen(desk, case) == before


def test_moving_to_where_it_is_changes_nothing(desk: Desk) -> None:
    case = booked(desk)
    before = seen(desk, case)
    changing.move(desk.office, case, 1, {1: before[1][0]})
    assert seen(desk, case) == before
    assert ("patient", "move") not in actions(desk, case)


def test_a_date_that_the_answers_forbid_is_not_offered_for_a_move(desk: Desk, clinician: Staff) -> None:
    case = desk.signed(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    booking.confirm(desk.office, case, desk.plan(case))
    assert changing.move_times(desk.office, case, 1).earliest == dt.date(2026, 3, 16)
    early = dt.datetime(2026, 3, 12, 10, tzinfo=dt.UTC)
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 1, {1: early}, staff=clinician, reason="In a hurry")


def test_where_the_cases_own_date_lies_behind_the_gap_nothing_is_offered(desk: Desk) -> None:
    case = booked(desk)
    case.not_before = dt.date(2026, 12, 1)
    desk.session.commit()
    assert changing.move_times(desk.office, case, 4).slots == ()
    for new in (days_later(desk, case, 4, 1), dt.datetime(2026, 12, 1, 10, tzinfo=dt.UTC)):
        with pytest.raises(TimeTaken):
            changing.move(desk.office, case, 4, {4: new})


def test_there_is_nothing_to_move_before_the_booking_or_beyond_the_series(desk: Desk) -> None:
    with pytest.raises(OutOfTurn):
        changing.move_times(desk.office, desk.signed(), 1)
    case = booked(desk)
    for ordinal in (0, 5):
        with pytest.raises(NotFound):
            changing.move_times(desk.office, case, ordinal)
        with pytest.raises(NotFound):
            changing.cancel(desk.office, case, ordinal)


def test_an_account_that_may_only_read_changes_nothing(desk: Desk) -> None:
    case = booked(desk)
    before, new = seen(desk, case), {4: days_later(desk, case, 4, 1)}
    for reason in (None, "because"):
        with pytest.raises(NotFound):
            changing.move(desk.office, case, 4, new, staff=READER, reason=reason)
    with pytest.raises(NotFound):
        changing.cancel(desk.office, case, 2, staff=READER)
    assert seen(desk, case) == before


def test_a_session_is_put_over_another_only_by_staff_who_say_why(desk: Desk, clinician: Staff) -> None:
    standing, case = booked(desk), booked(desk)
    taken = {1: seen(desk, standing)[1][0]}
    for staff in (None, clinician):
        with pytest.raises(TimeTaken):
            changing.move(desk.office, case, 1, taken, staff=staff)
    with pytest.raises(ValueError, match="Only staff"):
        changing.move(desk.office, case, 1, taken, reason="Please")
    with pytest.raises(ValueError, match="with a reason"):
        changing.move(desk.office, case, 1, taken, staff=clinician, reason="  ")
    before = stored(desk)
    plan = changing.plan_move(desk.office, case, 1, taken, staff=clinician, overlap=True)
    assert plan.overlaps
    assert {(each.resource_id, each.reference) for each in plan.met} == {
        ("nurse", standing.reference),
        ("room", standing.reference),
    }
    assert stored(desk) == before
    changing.move(desk.office, case, 1, plan.arrivals, staff=clinician, reason="Both agreed to come")
    session = sessions(desk, case)[1]
    assert session.arrive_at == taken[1]
    assert session.overlap == {
        "staff_id": clinician.id,
        "staff_name": clinician.name,
        "reason": "Both agreed to come",
    }
    claims, _ = stored(desk)
    assert {row[1] for row in claims if row[-1] == session.id} == {1}
    assert actions(desk, case)[-1] == ("staff", "overlap")
    for one, other in ((case, standing), (standing, case)):
        shared = changing.shared_times(desk.office, list(sessions(desk, one).values()))
        assert {(each.appointment_id, each.reference) for each in shared} == {
            (sessions(desk, one)[1].id, other.reference)
        }


def test_what_stands_over_another_is_not_followed_by_one_more(desk: Desk, clinician: Staff) -> None:
    standing, case = booked(desk), booked(desk)
    taken = seen(desk, standing)[1][0]
    changing.move(desk.office, case, 1, {1: taken}, staff=clinician, reason="Both agreed to come")
    changing.cancel(desk.office, standing, 1)
    third = desk.signed()
    assert taken not in {slot.arrive for slot in booking.times(desk.office, third, first=TUESDAY).slots}
    changing.move(desk.office, case, 1, {1: days_later(desk, case, 1, -1)})
    assert sessions(desk, case)[1].overlap is None
    assert taken in {slot.arrive for slot in booking.times(desk.office, third, first=TUESDAY).slots}


def test_an_overlap_of_a_free_time_is_a_move(desk: Desk, clinician: Staff) -> None:
    case = booked(desk)
    new = {1: days_later(desk, case, 1, -1)}
    changing.move(desk.office, case, 1, new, staff=clinician, reason="To be sure")
    assert sessions(desk, case)[1].overlap is None
    assert actions(desk, case)[-1] == ("staff", "move")


def test_an_overlap_takes_later_sessions_along_like_any_move(desk: Desk, clinician: Staff) -> None:
    standing, case = booked(desk), booked(desk)
    target = days_later(desk, case, 1, 14)
    away = changing.plan_move(desk.office, standing, 1, {1: target})
    changing.move(desk.office, standing, 1, away.arrivals)
    plan = changing.plan_move(desk.office, case, 1, {1: target}, staff=clinician, overlap=True)
    assert plan.overlaps
    assert len(plan.sessions) == 4
    changing.move(desk.office, case, 1, plan.arrivals, staff=clinician, reason="Twins")
    found = sessions(desk, case)
    assert found[1].overlap is not None
    assert [found[ordinal].overlap for ordinal in (2, 3, 4)] == [None] * 3


def test_a_block_by_hand_removes_its_times_and_gives_them_back(desk: Desk, clinician: Staff) -> None:
    case = desk.signed()
    free = [slot.arrive for slot in booking.times(desk.office, case).slots]
    start = dt.datetime.combine(free[0].date(), dt.time(), LONDON)
    made = blocking.block(desk.office, clinician, "room", start, start + 3 * DAY, "The floor is being laid")
    left = [slot.arrive for slot in booking.times(desk.office, case, first=free[0].date()).slots]
    assert left == [arrive for arrive in free if arrive >= start + 3 * DAY]
    with pytest.raises(TimeTaken):
        booking.choose_first(desk.office, case, free[0])
    (row,) = blocking.blocks(desk.office)
    assert (row.block.reason, row.block.staff_name, row.booked) == (
        "The floor is being laid",
        clinician.name,
        (),
    )
    blocking.unblock(desk.office, clinician, made.id)
    assert [slot.arrive for slot in booking.times(desk.office, case, first=free[0].date()).slots] == free
    entries = desk.session.scalars(sa.select(AuditEntry).where(AuditEntry.object_kind == "block")).all()
    assert [(each.actor_id, each.action) for each in entries] == [("dr-1", "block"), ("dr-1", "unblock")]
    with pytest.raises(NotFound):
        blocking.unblock(desk.office, clinician, made.id)


def test_a_block_says_who_is_booked_inside_it_and_leaves_them(desk: Desk, clinician: Staff) -> None:
    case = booked(desk)
    before, arrive = seen(desk, case), seen(desk, case)[1][0]
    blocking.block(desk.office, clinician, "nurse", arrive - DAY, arrive + DAY, "Ill")
    (row,) = blocking.blocks(desk.office)
    assert row.booked == (case.reference,)
    assert seen(desk, case) == before
    plan = changing.plan_move(
        desk.office, booked(desk), 1, {1: arrive + dt.timedelta(minutes=15)}, staff=clinician, overlap=True
    )
    assert {(each.resource_id, each.reference, each.reason) for each in plan.met} >= {("nurse", None, "Ill")}


def test_a_block_needs_a_resource_an_order_a_reason_and_somebody_who_may(
    desk: Desk, clinician: Staff
) -> None:
    for resource, hours, reason, staff, error in (
        ("nobody", 1, "Ill", clinician, NotFound),
        ("room", 1, "Ill", READER, NotFound),
        ("room", 0, "Ill", clinician, ValueError),
        ("room", -1, "Ill", clinician, ValueError),
        ("room", 1, " ", clinician, ValueError),
    ):
        with pytest.raises(error):
            blocking.block(desk.office, staff, resource, NOW, NOW + dt.timedelta(hours=hours), reason)
    made = blocking.block(desk.office, clinician, "room", NOW, NOW + DAY, "Paint")
    with pytest.raises(NotFound):
        blocking.unblock(desk.office, READER, made.id)
    other = replace(desk.office, clinic=replace(desk.office.clinic, id="another-clinic"))
    with pytest.raises(NotFound):
        blocking.unblock(other, clinician, made.id)
    assert blocking.blocks(other) == ()


def test_the_calendar_file_follows_a_move_and_a_cancellation(desk: Desk) -> None:
    case = booked(desk)

    def download(now: dt.datetime) -> dict[str, tuple[object, int, str, object]]:
        octets = files.series_file(desk.at(now).office, case, calendar_words(), link=LINK)
        return {
            str(event["UID"]): (
                event.start,
                event.sequence,
                str(event["STATUS"]),
                event.last_modified,
            )
            for event in Calendar.from_ical(octets).events
        }

    before = download(NOW)
    uids = {ordinal: each.id for ordinal, each in sessions(desk, case).items()}
    moved_at, cancelled_at = NOW + dt.timedelta(hours=1), NOW + dt.timedelta(hours=2)
    new = days_later(desk, case, 4, 2)
    changing.move(desk.at(moved_at).office, case, 4, {4: new})
    changing.cancel(desk.at(cancelled_at).office, case, 3)
    after = download(NOW + dt.timedelta(hours=3))
    assert set(before) == set(after) == set(uids.values())
    assert after[uids[4]] == (new, 1, "CONFIRMED", moved_at)
    assert after[uids[3]] == (before[uids[3]][0], 1, "CANCELLED", cancelled_at)
    for ordinal in (1, 2):
        assert after[uids[ordinal]] == before[uids[ordinal]]


def test_a_move_takes_the_same_few_statements_however_much_is_booked(desk: Desk) -> None:
    taken: list[int] = []
    for _ in range(2):
        case = booked(desk)
        plan = changing.plan_move(desk.office, case, 2, {2: days_later(desk, case, 2, 14)})
        chosen = plan.arrivals
        assert len(chosen) == 3
        desk.session.commit()
        with counting(desk) as statements:
            changing.move(desk.office, case, 2, chosen)
        # What is taken, and what the case holds, in one.
        assert sum("FROM intake_occupancy" in each and "SELECT" in each for each in statements) == 1
        taken.append(len(statements))
        for _ in range(3):
            booked(desk)
    assert taken[0] == taken[1] <= 20, statements
