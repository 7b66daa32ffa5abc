"""Moving and cancelling what is booked, by the patient's link and by the clinic's staff.

The rules, in words:

- A patient moves a session until the clinic's notice for moves before it begins, and cancels it
  until the notice for cancellations. Staff do both until it begins.
- New times come from the sweep that offered the first ones, in which the sessions about to move
  take nothing. Patients keep the clinic's notice for the new time, staff only the present.
- A move that breaks the gap to a later session takes that session along, and those after it as far
  as needed, all in one transaction: old claims deleted, new ones inserted, or nothing at all.
- A moved session keeps the numbing cream that was signed for; where the clinic no longer uses it,
  nothing moves.
- Every session that visibly changes keeps its calendar UID and gets the next SEQUENCE and the time
  of the change in the same transaction. Numbing times are worked out anew.
- Cancelling one session leaves the others as they are.
- Only staff can put a session over what is taken, and only by saying why: name and reason are kept
  with the session and in the audit trail.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from intake_plugin.clinical.numbing import NumbingPlan
from intake_plugin.errors import NotFound, OutOfTurn, TimeTaken, TooLate
from intake_plugin.fetching import place_of
from intake_plugin.journeys import busy, holding, outbox
from intake_plugin.journeys.blocking import blocks_between
from intake_plugin.journeys.booking import WEEK, appointments_of, bounds
from intake_plugin.journeys.holding import Taken, stretches_of
from intake_plugin.journeys.intake import require
from intake_plugin.journeys.office import PATIENT, Office, decided, note, writing
from intake_plugin.journeys.times import Session, gap_of, midnight_of, session_signed, sweep_of, taken_of
from intake_plugin.records import audit
from intake_plugin.records.tables import Appointment, AppointmentState, Case, CaseState, Occupancy
from intake_plugin.scheduling.hours import Dates
from intake_plugin.scheduling.moves import Standing, followers, squeeze
from intake_plugin.scheduling.series import ProblemKind, Proposal, window
from intake_plugin.scheduling.slots import Slot, Sweep, offers, validate
from intake_plugin.state import Staff


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveTimes:
    """One week of new times for a session, the dates it may have, and where other weeks are."""

    appointment: Appointment
    slots: tuple[Slot, ...]
    first: dt.date
    last: dt.date
    earlier: dt.date | None
    later: dt.date | None
    earliest: dt.date
    latest: dt.date


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """One session at its new time; `problem` says why it cannot be booked as it stands.

    `proposal` is there for a session that moves along, with its window and other times.
    """

    appointment: Appointment
    slot: Slot | None
    numbing: NumbingPlan | None
    proposal: Proposal | None = None
    problem: ProblemKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What a session would be put over: another case's session, a block by hand, an entry elsewhere."""

    resource_id: str
    start: dt.datetime
    end: dt.datetime
    reference: str | None = None
    reason: str = ""
    place: str = ""
    """Where the calendar from outside is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A session at its new time and every later session that has to move along, in order.

    `overlaps` says that the time is taken, `met` by what.
    """

    sessions: tuple[Moving, ...]
    taken: Taken
    overlaps: bool = False
    met: tuple[Met, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every session that moves has a time that keeps its gap."""
        return all(moving.problem is None and moving.slot is not None for moving in self.sessions)

    @property
    def arrivals(self) -> dict[int, dt.datetime]:
        """The new arrivals by session."""
        return {each.appointment.ordinal: each.slot.arrive for each in self.sessions if each.slot is not None}


def may_write(staff: Staff | None) -> None:
    """Raise NotFound for an account of the clinic that may only read."""
    if staff is not None and staff.role != "decide":
        raise NotFound("Your account can read cases but not change them.")


def movable(office: Office, appointment: Appointment, staff: Staff | None = None) -> bool:
    """Whether a session can still be moved by its patient, or by `staff`."""
    return _open(office, appointment, office.clinic.booking.move_notice, staff)


def cancellable(office: Office, appointment: Appointment, staff: Staff | None = None) -> bool:
    """Whether a session can still be cancelled by its patient, or by `staff`."""
    return _open(office, appointment, office.clinic.booking.cancel_notice, staff)


def _open(office: Office, appointment: Appointment, notice: dt.timedelta, staff: Staff | None) -> bool:
    if appointment.state != AppointmentState.BOOKED:
        return False
    if staff is not None:
        return staff.role == "decide" and appointment.arrive_at > office.now
    return appointment.arrive_at > office.now and appointment.arrive_at - notice >= office.now


def session_to_cancel(office: Office, case: Case, ordinal: int, staff: Staff | None = None) -> Appointment:
    """Return the session for the page that asks whether to cancel it; see `cancel` for errors."""
    may_write(staff)
    appointment = _find(office, case, ordinal)
    if appointment.state != AppointmentState.BOOKED:
        raise OutOfTurn("done")
    if not cancellable(office, appointment, staff):
        raise TooLate("This session begins too soon to be cancelled here.")
    return appointment


def cancel(office: Office, case: Case, ordinal: int, *, staff: Staff | None = None) -> None:
    """Cancel one session and free its time; the others stay.

    Cancelling a cancelled session changes nothing. Raises NotFound for a session the series does
    not have or an account that may only read, TooLate inside the clinic's notice.
    """
    may_write(staff)
    with writing(office, case) as locked:
        appointment = _find(office, locked, ordinal)
        if appointment.state == AppointmentState.CANCELLED:
            return
        if not cancellable(office, appointment, staff):
            raise TooLate("This session begins too soon to be cancelled here.")
        holding.free(office, [appointment.id])
        appointment.state = AppointmentState.CANCELLED
        _touch(office, appointment)
        outbox.cancelled(office, locked, appointment)
        details = {"session": ordinal, "appointment": appointment.id, "sequence": appointment.sequence}
        note(office, locked, "cancel", details, actor=_actor(staff))


def _actor(staff: Staff | None) -> audit.Actor:
    return PATIENT if staff is None else audit.Actor(kind="staff", id=staff.id)


def _find(office: Office, case: Case, ordinal: int) -> Appointment:
    return _pick(_booked(office, case), ordinal)


def _booked(office: Office, case: Case) -> Sequence[Appointment]:
    require(office, case, "done")
    if case.state != CaseState.BOOKED:
        raise OutOfTurn("done")
    return appointments_of(office, case)


def _pick(appointments: Sequence[Appointment], ordinal: int) -> Appointment:
    for appointment in appointments:
        if appointment.ordinal == ordinal:
            return appointment
    raise NotFound(f"This series has no session {ordinal}.")


@dataclass(frozen=True, slots=True)
class _Course:
    """What a move of one session has to do with: the session, its neighbours, its window."""

    office: Office
    case: Case
    staff: Staff | None
    session: Session
    appointment: Appointment
    later: tuple[Appointment, ...]
    earliest: dt.date
    latest: dt.date

    @property
    def moving_ids(self) -> list[str]:
        return [self.appointment.id, *(each.id for each in self.later)]

    def sweep(self, first: dt.date, last: dt.date) -> tuple[Sweep, Taken]:
        # A day more, because a visit may run over midnight.
        last += dt.timedelta(days=1)
        reach = [Dates(first, last)]
        taken = taken_of(self.office, self.case, reach, without=self.moving_ids)
        found = sweep_of(self.office, self.case, self.session, reach, taken=taken)
        return found if self.staff is None else replace(found, earliest=self.office.now), taken


def _course(office: Office, case: Case, ordinal: int, staff: Staff | None) -> _Course:
    may_write(staff)
    appointments = _booked(office, case)
    appointment = _pick(appointments, ordinal)
    if appointment.state != AppointmentState.BOOKED:
        raise OutOfTurn("done")
    if not movable(office, appointment, staff):
        raise TooLate("This session begins too soon to be moved here.")
    standing = [each for each in appointments if each.state == AppointmentState.BOOKED]
    session = session_signed(office, case, appointment.product_id)
    before = max(
        (each for each in standing if each.ordinal < ordinal), key=lambda each: each.ordinal, default=None
    )
    earliest, latest = _window(office, case, session, appointment, before)
    return _Course(
        office=office,
        case=case,
        staff=staff,
        session=session,
        appointment=appointment,
        later=tuple(each for each in standing if each.ordinal > ordinal),
        earliest=max(earliest, case.not_before or earliest),
        latest=latest,
    )


def _window(
    office: Office, case: Case, session: Session, appointment: Appointment, before: Appointment | None
) -> tuple[dt.date, dt.date]:
    zone = office.clinic.zone
    if before is None:
        # Nothing holds the first session but the horizon, or the date it has now where that is later.
        now_on = appointment.arrive_at.astimezone(zone).date()
        return office.today, max(bounds(office, case)[1], now_on)
    date = before.arrive_at.astimezone(zone).date()
    steps = appointment.ordinal - before.ordinal
    earliest, _, latest = window(partial(gap_of, session.course), date, steps)
    return max(earliest, office.today), latest


def move_times(
    office: Office, case: Case, ordinal: int, *, first: dt.date | None = None, staff: Staff | None = None
) -> MoveTimes:
    """Return a week of new times for a session, from `first` or the week it is in now.

    Raises NotFound, OutOfTurn or TooLate as `move` does.
    """
    course = _course(office, case, ordinal, staff)
    wanted = course.appointment.arrive_at.astimezone(office.clinic.zone).date() if first is None else first
    start = max(course.earliest, min(wanted, course.latest))
    last = max(start, min(start + WEEK - dt.timedelta(days=1), course.latest))
    # A window that has passed, or that the case's own date leaves empty, offers nothing.
    found = offers(course.sweep(start, last)[0], first=start, last=min(last, course.latest))
    return MoveTimes(
        appointment=course.appointment,
        slots=tuple(slot for slot in found if slot.arrive != course.appointment.arrive_at),
        first=start,
        last=last,
        earlier=max(start - WEEK, course.earliest) if start > course.earliest else None,
        later=last + dt.timedelta(days=1) if last < course.latest else None,
        earliest=course.earliest,
        latest=course.latest,
    )


def plan_move(
    office: Office,
    case: Case,
    ordinal: int,
    chosen: Mapping[int, dt.datetime],
    *,
    staff: Staff | None = None,
    overlap: bool = False,
) -> Move:
    """Return what moving session `ordinal` to `chosen[ordinal]` (aware) means; nothing is written.

    `chosen` may hold times for sessions that move along. `overlap` puts the session over what is
    taken, for staff only. Raises TimeTaken when the time is not offered, and what `move` raises.
    """
    return _planned(_course(office, case, ordinal, staff), chosen, overlap=overlap)


def _planned(course: _Course, chosen: Mapping[int, dt.datetime], *, overlap: bool) -> Move:
    office, ordinal = course.office, course.appointment.ordinal
    start, end = (
        midnight_of(office, course.earliest),
        midnight_of(office, course.latest + dt.timedelta(days=1)),
    )
    # Before anything is computed from them: a posted date may be thousands of years away.
    if not start <= chosen[ordinal] < end:
        raise TimeTaken("This session cannot be at that time. Choose another one.")
    date = chosen[ordinal].astimezone(office.clinic.zone).date()
    sweep, taken = course.sweep(date, _reach(course, date))
    own = course.appointment.practitioner_id
    slot = validate(sweep, chosen[ordinal], practitioner_id=own) or validate(sweep, chosen[ordinal])
    overlaps = slot is None and overlap
    if overlaps:
        slot = squeeze(sweep, chosen[ordinal], practitioner_id=own) or squeeze(sweep, chosen[ordinal])
    if slot is None:
        raise TimeTaken("This time is not free. Choose another one.")
    along = followers(
        sweep,
        slot,
        ordinal,
        [Standing(each.ordinal, each.arrive_at, each.practitioner_id) for each in course.later],
        partial(gap_of, course.session.course),
        drift_days=office.clinic.booking.drift.days,
        chosen={key: arrive for key, arrive in chosen.items() if sweep.earliest <= arrive < sweep.latest},
    )
    by_ordinal = {each.ordinal: each for each in course.later}
    return Move(
        sessions=(
            Moving(appointment=course.appointment, slot=slot, numbing=course.session.numbing(slot.treatment)),
            *(_moving(course, by_ordinal[each.ordinal], each) for each in along),
        ),
        taken=taken,
        overlaps=overlaps,
        met=_met(course, slot) if overlaps else (),
    )


def _reach(course: _Course, date: dt.date) -> dt.date:
    """Return the last date a later session can have once this one is on `date`."""
    last = course.later[-1].ordinal if course.later else course.appointment.ordinal
    for _ in range(last - course.appointment.ordinal):
        date = gap_of(course.session.course, date)[2]
    return date


def _met(course: _Course, slot: Slot) -> tuple[Met, ...]:
    """Return what lies where the slot would be: sessions that stay, blocks by hand, entries elsewhere."""
    office = course.office
    taken = sa.or_(
        *(
            sa.and_(
                Occupancy.resource_id == claimed.resource_id,
                Occupancy.start_at > claimed.start - dt.timedelta(days=1),
                Occupancy.start_at < claimed.end,
                Occupancy.end_at > claimed.start,
            )
            for claimed in slot.claims
        )
    )
    standing = sa.or_(Occupancy.hold_id.is_(None), Occupancy.expires_at > office.now)
    rows = office.session.execute(
        sa.select(Occupancy, Case.reference)
        .join_from(Occupancy, Appointment, _same(Occupancy.appointment_id, Appointment), isouter=True)
        .join(Case, _same(Appointment.case_id, Case), isouter=True)
        .where(Occupancy.clinic_id == office.clinic.id, taken, standing)
        .order_by(Occupancy.start_at, Occupancy.resource_id)
    ).all()
    sessions = [
        Met(resource_id=each.resource_id, start=each.start_at, end=each.end_at, reference=reference)
        for each, reference in rows
        if each.appointment_id not in course.moving_ids
    ]
    blocks = [
        Met(resource_id=block.resource_id, start=block.start_at, end=block.end_at, reason=block.reason)
        for claimed in slot.claims
        for block in blocks_between(office, claimed.start, claimed.end)
        if block.resource_id == claimed.resource_id
    ]
    outside = [
        Met(
            resource_id=claimed.resource_id,
            start=each.time.starts,
            end=each.time.ends,
            place=place_of(each.source.source) if each.known else "",
        )
        for claimed in slot.claims
        for each in busy.elsewhere(office, claimed.start, claimed.end)
        if each.source.resource == claimed.resource_id
    ]
    return (*sessions, *blocks, *outside)


def _same(column: Any, table: type[Appointment | Case]) -> sa.ColumnElement[bool]:
    return sa.and_(table.clinic_id == Occupancy.clinic_id, table.id == column)


def _moving(course: _Course, appointment: Appointment, proposal: Proposal) -> Moving:
    slot = proposal.slot
    problem: ProblemKind | None = None
    if slot is None:
        problem = "taken"
    elif slot.date < proposal.earliest:
        problem = "short"
    elif slot.date > proposal.latest:
        problem = "long"
    return Moving(
        appointment=appointment,
        slot=slot,
        numbing=None if slot is None else course.session.numbing(slot.treatment),
        proposal=proposal,
        problem=problem,
    )


def move(
    office: Office,
    case: Case,
    ordinal: int,
    chosen: Mapping[int, dt.datetime],
    *,
    staff: Staff | None = None,
    reason: str | None = None,
) -> None:
    """Move a session, and with it every later session whose gap breaks, or nothing.

    `chosen` holds the new arrivals (aware) of exactly the sessions that move. `reason` is given by
    staff who put the session over what is taken. Moving a session to where it is changes nothing.
    Raises TimeTaken when a time has gone or the sessions that must move are others than those
    chosen, TooLate inside the clinic's notice, OutOfTurn for a cancelled session, NotFound for a
    session the series does not have or an account that may only read, ValueError for a patient's
    overlap or one without a reason.
    """
    if reason is not None and (staff is None or not reason.strip()):
        raise ValueError("Only staff can put a session over another, and only with a reason.")

    def act() -> None:
        with writing(office, case) as locked:
            course = _course(office, locked, ordinal, staff)
            if course.appointment.arrive_at == chosen[ordinal]:
                return
            plan = _planned(course, chosen, overlap=reason is not None)
            if not plan.complete or plan.arrivals != dict(chosen):
                raise TimeTaken("Not every session can move as chosen. Look at the times once more.")
            _carry_out(course, plan, _overlap(plan, staff, reason))
            outbox.moved(office, locked, [each.appointment for each in plan.sessions])
            action = "overlap" if plan.overlaps else "move"
            note(office, locked, action, _details(plan, reason), actor=_actor(staff))

    decided(office, act)


def _overlap(plan: Move, staff: Staff | None, reason: str | None) -> dict[str, Any] | None:
    if not plan.overlaps or staff is None:
        return None
    return {"staff_id": staff.id, "staff_name": staff.name, "reason": reason}


def _carry_out(course: _Course, plan: Move, overlap: dict[str, Any] | None) -> None:
    wanted: dict[holding.Stretch, str] = {}
    for moving in plan.sessions:
        if moving.slot is not None:
            _place(course.office, moving.appointment, moving.slot, moving.numbing)
            wanted |= dict.fromkeys(stretches_of(moving.slot), moving.appointment.id)
    plan.sessions[0].appointment.overlap = overlap
    course.office.session.flush()
    holding.free(course.office, [each.appointment.id for each in plan.sessions])
    holding.book(course.office, course.case, wanted, plan.taken)


def _place(office: Office, appointment: Appointment, slot: Slot, numbing: NumbingPlan | None) -> None:
    appointment.zone = office.clinic.zone.key
    appointment.local_start = slot.local_arrive.isoformat()
    appointment.arrive_at = slot.arrive
    appointment.treatment_at = slot.treatment
    appointment.end_at = slot.end
    appointment.cream_on_at = None if numbing is None else numbing.on
    appointment.cream_off_at = None if numbing is None else numbing.off
    appointment.cream_where = None if numbing is None else numbing.where
    appointment.product_id = None if numbing is None else numbing.product_id
    appointment.practitioner_id = slot.practitioner_id
    appointment.room_id = slot.room_id
    appointment.overlap = None
    _touch(office, appointment)


def _touch(office: Office, appointment: Appointment) -> None:
    """Let calendars see the change: RFC 5546 section 2.1.4 wants the next SEQUENCE."""
    appointment.sequence += 1
    appointment.modified_at = office.now


def _details(plan: Move, reason: str | None) -> dict[str, Any]:
    return {
        "times": {str(ordinal): arrive.isoformat() for ordinal, arrive in plan.arrivals.items()},
        "sequences": {str(each.appointment.ordinal): each.appointment.sequence for each in plan.sessions},
        "reason": reason if plan.overlaps else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Two sessions that have one resource at the same time beyond what it holds."""

    appointment_id: str
    reference: str
    resource_id: str


def shared_times(office: Office, appointments: Sequence[Appointment]) -> tuple[Shared, ...]:
    """Return with which other cases' sessions these are doubled, from either side, for the desk."""
    lanes = {resource.id: resource.lanes for resource in office.clinic.resources}
    ours, theirs = aliased(Occupancy), aliased(Occupancy)
    rows = office.session.execute(
        sa.select(ours.appointment_id, ours.resource_id, ours.lane, theirs.lane, Case.reference)
        .join_from(
            ours,
            theirs,
            sa.and_(
                theirs.clinic_id == ours.clinic_id,
                theirs.resource_id == ours.resource_id,
                theirs.appointment_id != ours.appointment_id,
                theirs.start_at < ours.end_at,
                theirs.end_at > ours.start_at,
            ),
        )
        .join(
            Appointment,
            sa.and_(Appointment.clinic_id == theirs.clinic_id, Appointment.id == theirs.appointment_id),
        )
        .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
        .where(
            ours.clinic_id == office.clinic.id,
            ours.appointment_id.in_([each.id for each in appointments]),
        )
        .order_by(ours.start_at, Case.reference)
    ).all()
    return tuple(
        Shared(appointment_id=mine, reference=reference, resource_id=resource_id)
        for mine, resource_id, lane, other, reference in rows
        if mine is not None and max(lane, other) >= lanes.get(resource_id, 1)
    )
