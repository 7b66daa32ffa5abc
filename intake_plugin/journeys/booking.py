"""Times: the first one chosen, the series proposed, and all of it booked at once or not at all.

The rules of booking, in words:

- A time is taken when its claims are in the database: one row for each tick of each resource,
  with the primary key as the proof. Checking before only makes the usual case friendly.
- A series claims all its sessions in one transaction. If one claim fails, none is made, and the
  patient sees fresh times with everything else kept.
- Claims are inserted in key order, so that two series cannot wait for each other in a circle.
- A page never claims by being looked at.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from intake_plugin.clinical.care import CareEntry, care_for
from intake_plugin.clinical.course import CoursePlan
from intake_plugin.clinical.numbing import NumbingPlan
from intake_plugin.clinical.screening import Finding
from intake_plugin.errors import OutOfTurn, TimeTaken
from intake_plugin.journeys.intake import answers_of, require, screening_of
from intake_plugin.journeys.office import Office, note, writing
from intake_plugin.journeys.times import Session, gap_of, midnight_of, session_of, sweep_of
from intake_plugin.records.tables import (
    TICK,
    Appointment,
    AppointmentState,
    Case,
    CaseState,
    Claim,
    Occupancy,
    Series,
)
from intake_plugin.scheduling.claims import ticks
from intake_plugin.scheduling.series import Gap, ProblemKind, Proposal, check, propose
from intake_plugin.scheduling.slots import Slot, Sweep, offers, validate

WEEK = dt.timedelta(weeks=1)
"""What one page of times shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the patient should know before choosing times."""

    session: Session
    before: tuple[CareEntry, ...]
    advice: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One week of times for the first session, and where other weeks are."""

    slots: tuple[Slot, ...]
    first: dt.date
    last: dt.date
    earlier: dt.date | None
    later: dt.date | None
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSession:
    """One session of the proposed series; `problem` says why it cannot be booked as it stands."""

    proposal: Proposal
    numbing: NumbingPlan | None
    problem: ProblemKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPlan:
    """The whole series as proposed or as the patient changed it."""

    sessions: tuple[PlannedSession, ...]
    session: Session

    @property
    def complete(self) -> bool:
        """Whether every session has a time and no gap is broken."""
        return all(planned.problem is None for planned in self.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedSession:
    """One booked session with what to do before and after it."""

    appointment: Appointment
    care: tuple[CareEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedSeries:
    """The booked course of a case."""

    sessions: tuple[BookedSession, ...]


def advice_of(case: Case) -> tuple[Finding, ...]:
    """Return the advice that goes with this case on every later page."""
    screening = screening_of(case)
    return () if screening is None else tuple(screening.advice)


def times(office: Office, case: Case, *, first: dt.date | None = None) -> Times:
    """Return a week of times for the first session, from `first` or the first week that has any."""
    require(office, case, "times")
    session = session_of(office, case)
    soonest, horizon = _bounds(office, case)
    start = soonest if first is None else min(max(first, soonest), horizon)
    sweep = sweep_of(office, case, session, start, horizon if first is None else start + WEEK)
    if first is None:
        start = _first_week(sweep, start, horizon)
    last = min(start + WEEK - dt.timedelta(days=1), horizon)
    return Times(
        slots=tuple(offers(sweep, first=start, last=last)),
        first=start,
        last=last,
        earlier=max(start - WEEK, soonest) if start > soonest else None,
        later=last + dt.timedelta(days=1) if last < horizon else None,
        session=session,
    )


def _bounds(office: Office, case: Case) -> tuple[dt.date, dt.date]:
    policy = office.clinic.booking
    soonest = (office.now + policy.notice).astimezone(office.clinic.zone).date()
    if case.not_before is not None:
        soonest = max(soonest, case.not_before)
    # A deferral may end past the horizon; a week of times from that date is still offered.
    return soonest, max(policy.horizon.after(office.today), soonest + WEEK)


def _first_week(sweep: Sweep, start: dt.date, horizon: dt.date) -> dt.date:
    while start + WEEK <= horizon:
        if offers(sweep, first=start, last=start + WEEK - dt.timedelta(days=1)):
            break
        start += WEEK
    return start


def choose_first(office: Office, case: Case, arrive: dt.datetime) -> None:
    """Keep the first session's time for the proposal; nothing is claimed yet.

    Raises TimeTaken when the time is not offered (any more).
    """
    with writing(office, case) as locked:
        require(office, locked, "times")
        first, last = _bounds(office, locked)
        if not _offered(office, locked, arrive, first, last):
            raise TimeTaken("This time is no longer free. Choose another one.")
        locked.plan = {"1": arrive.isoformat()}
        note(office, locked, "choose first", {"arrive": arrive.isoformat()})


def _offered(office: Office, case: Case, arrive: dt.datetime, first: dt.date, last: dt.date) -> bool:
    if not midnight_of(office, first) <= arrive < midnight_of(office, last + dt.timedelta(days=1)):
        return False
    date = arrive.astimezone(office.clinic.zone).date()
    return validate(sweep_of(office, case, session_of(office, case), date, date), arrive) is not None


def change(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> None:
    """Keep the patient's own choice of times; the next proposal shows which gaps break."""
    with writing(office, case) as locked:
        require(office, locked, "series")
        locked.plan = {str(ordinal): arrive.isoformat() for ordinal, arrive in chosen.items()}
        note(office, locked, "change series", {"sessions": len(chosen)})


def proposal(office: Office, case: Case) -> SeriesPlan:
    """Return the whole series around the chosen first time, each session with alternatives."""
    require(office, case, "series")
    return _planned(office, case, _chosen(case))


def _chosen(case: Case) -> dict[int, dt.datetime]:
    return {int(key): dt.datetime.fromisoformat(value) for key, value in (case.plan or {}).items()}


def _planned(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> SeriesPlan:
    session = session_of(office, case)
    course = session.course
    start, end = _reach(office, case, course)
    # Before anything is computed from them: a posted date may be thousands of years away.
    if 1 not in chosen or not all(start <= arrive < end for arrive in chosen.values()):
        raise TimeTaken("Not every time lies where this series can be. Choose other times.")
    dates = [arrive.astimezone(office.clinic.zone).date() for arrive in chosen.values()]
    last = min(dates)
    for _ in range(course.sessions):
        last = course.gap_max.after(last)
    sweep = sweep_of(office, case, session, min(dates), max(last, *dates))
    first = validate(sweep, chosen[1])
    if first is None:
        raise TimeTaken("The first time is no longer free. Choose another one.")
    gap = partial(gap_of, course)
    proposals = propose(
        sweep,
        first,
        sessions=course.sessions,
        gap=gap,
        drift_days=office.clinic.booking.drift.days,
        chosen=chosen,
    )
    problems = _problems(sweep, proposals, chosen, gap)
    return SeriesPlan(
        session=session,
        sessions=tuple(
            PlannedSession(
                proposal=each,
                numbing=None if each.slot is None else session.numbing(each.slot.treatment),
                problem=problems.get(each.ordinal),
            )
            for each in proposals
        ),
    )


def _reach(office: Office, case: Case, course: CoursePlan) -> tuple[dt.datetime, dt.datetime]:
    """Return the instants between which every session of a series lies, whatever is chosen."""
    last = _bounds(office, case)[1]
    for _ in range(course.sessions):
        last = course.gap_max.after(last)
    return office.now, midnight_of(office, last + dt.timedelta(days=1))


def _problems(
    sweep: Sweep, proposals: Sequence[Proposal], chosen: Mapping[int, dt.datetime], gap: Gap
) -> dict[int, ProblemKind]:
    """Return the first problem of each session that has one; a session without any time is taken."""
    wanted = {each.ordinal: each.slot or chosen.get(each.ordinal) for each in proposals}
    if None in wanted.values():
        return {ordinal: "taken" for ordinal, slot in wanted.items() if slot is None}
    found: dict[int, ProblemKind] = {}
    for problem in check(sweep, [slot for slot in wanted.values() if slot is not None], gap):
        found.setdefault(problem.ordinal, problem.kind)
    return found


def confirm(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> Series:
    """Book every session of the series in one transaction, or none of it.

    A second confirmation of a booked case returns its series. Raises TimeTaken when a time has
    gone or a gap is broken; the choices are kept, so that the patient changes only what must be.
    """
    try:
        with writing(office, case) as locked:
            if locked.state == CaseState.BOOKED:
                return series_of(office, locked)
            require(office, locked, "series")
            plan = _planned(office, locked, chosen)
            if len(chosen) != plan.session.course.sessions or not plan.complete:
                raise TimeTaken("Not every time can be kept. Choose other times where it says so.")
            series = _book(office, locked, plan)
            locked.state, locked.plan = CaseState.BOOKED, None
            note(
                office,
                locked,
                "book",
                {"series": series.id, "times": [arrive.isoformat() for _, arrive in sorted(chosen.items())]},
            )
    except IntegrityError:
        raise TimeTaken("Somebody else booked one of these times a moment ago.") from None
    return series


def series_of(office: Office, case: Case) -> Series:
    """Return the booked series of a case, which has to be booked."""
    return office.session.scalars(
        sa.select(Series).where(Series.clinic_id == office.clinic.id, Series.case_id == case.id)
    ).one()


def _book(office: Office, case: Case, plan: SeriesPlan) -> Series:
    course = plan.session.course
    product = plan.session.choice.product
    series = Series(
        clinic_id=office.clinic.id,
        case_id=case.id,
        course_id=course.course_id,
        area_id=course.area_id,
        product_id=None if product is None else product.id,
        created_at=office.now,
    )
    office.session.add(series)
    office.session.flush()
    booked: list[tuple[Appointment, Slot]] = []
    for planned in plan.sessions:
        slot = planned.proposal.slot
        if slot is None:
            raise OutOfTurn("series")
        appointment = _appointment(office, series, planned, slot, len(plan.sessions))
        booked.append((appointment, slot))
    office.session.add_all(appointment for appointment, _ in booked)
    office.session.flush()
    _claim(office, booked)
    return series


def _appointment(
    office: Office, series: Series, planned: PlannedSession, slot: Slot, count: int
) -> Appointment:
    numbing = planned.numbing
    return Appointment(
        clinic_id=office.clinic.id,
        id=first_uid(series.id) if planned.proposal.ordinal == 1 else str(uuid.uuid4()),
        series_id=series.id,
        case_id=series.case_id,
        ordinal=planned.proposal.ordinal,
        count=count,
        state=AppointmentState.BOOKED,
        zone=office.clinic.zone.key,
        local_start=slot.local_arrive.isoformat(),
        arrive_at=slot.arrive,
        treatment_at=slot.treatment,
        end_at=slot.end,
        cream_on_at=None if numbing is None else numbing.on,
        cream_off_at=None if numbing is None else numbing.off,
        cream_where=None if numbing is None else numbing.where,
        product_id=None if numbing is None else numbing.product_id,
        practitioner_id=slot.practitioner_id,
        room_id=slot.room_id,
        created_at=office.now,
        modified_at=office.now,
    )


def first_uid(series_id: str) -> str:
    """Return the calendar UID of a series' first session: the series bears its id."""
    return str(uuid.UUID(series_id))


def _claim(office: Office, booked: Sequence[tuple[Appointment, Slot]]) -> None:
    """Insert the claims of all sessions in key order, and the stretches that stand for them."""
    clinic_id = office.clinic.id
    stretches = sorted(
        (claim.resource_id, claim.lane, claim.start, claim.end, appointment.id)
        for appointment, slot in booked
        for claim in slot.claims
    )
    office.session.execute(
        sa.insert(Claim),
        [
            {
                "clinic_id": clinic_id,
                "resource_id": resource_id,
                "lane": lane,
                "tick": tick,
                "appointment_id": appointment_id,
            }
            for resource_id, lane, start, end, appointment_id in stretches
            for tick in ticks(start, end, TICK)
        ],
    )
    office.session.execute(
        sa.insert(Occupancy),
        [
            {
                "clinic_id": clinic_id,
                "resource_id": resource_id,
                "lane": lane,
                "start_at": start,
                "end_at": end,
                "appointment_id": appointment_id,
            }
            for resource_id, lane, start, end, appointment_id in stretches
        ],
    )


def appointments_of(office: Office, case: Case) -> Sequence[Appointment]:
    """Return the sessions of a case in order, cancelled ones included."""
    return office.session.scalars(
        sa.select(Appointment)
        .where(Appointment.clinic_id == office.clinic.id, Appointment.case_id == case.id)
        .order_by(Appointment.ordinal)
    ).all()


def booked(office: Office, case: Case) -> BookedSeries:
    """Return the booked series with the care before and after each session."""
    require(office, case, "done")
    return BookedSeries(
        sessions=tuple(
            BookedSession(
                appointment=appointment,
                care=care_of(office, case, appointment),
            )
            for appointment in appointments_of(office, case)
        )
    )


def notes(office: Office, case: Case) -> Notes:
    """Return how to prepare, before any time is chosen."""
    require(office, case, "notes")
    session = session_of(office, case)
    start = office.now + session.span.arrive
    return Notes(
        session=session,
        before=_care(office, case, start, start + session.span.treatment),
        advice=advice_of(case),
    )


def care_of(office: Office, case: Case, appointment: Appointment) -> tuple[CareEntry, ...]:
    """Return the care before and after one booked session, dated."""
    return _care(office, case, appointment.treatment_at, appointment.end_at)


def _care(office: Office, case: Case, start: dt.datetime, end: dt.datetime) -> tuple[CareEntry, ...]:
    return care_for(
        office.protocol_of(case),
        answers_of(case),
        start=start,
        end=end,
        zone=office.clinic.zone,
        # What applies on the day counts, so that the same rows say the same on every day before.
        today=start.astimezone(office.clinic.zone).date(),
        locale=office.locale_of(case),
    )
