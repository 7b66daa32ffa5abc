"""Times: the first one chosen, the series proposed, and all of it booked at once or not at all.

The rules of booking, in words:

- A time is taken when its claims are in the database: one row for each tick of each resource,
  with the primary key as the proof. Checking before only makes the usual case friendly.
- Choosing times holds them for a while (see `holding`), booking them makes them the patient's.
- A series claims all its sessions in one transaction. If one claim fails, none is made; the times
  are looked at again, with whoever else is free, and only then the patient is asked.
- A page never claims or releases anything by being looked at.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import sqlalchemy as sa

from intake_plugin.clinical import screening as screens
from intake_plugin.clinical.care import CareEntry, care_for
from intake_plugin.clinical.course import CoursePlan
from intake_plugin.clinical.numbing import NumbingPlan
from intake_plugin.clinical.protocol import Wait
from intake_plugin.clinical.screening import Finding
from intake_plugin.errors import OutOfTurn, Stale, TimeTaken
from intake_plugin.journeys import holding, outbox
from intake_plugin.journeys.consent import still_settled
from intake_plugin.journeys.holding import Choice, Taken, choice_of
from intake_plugin.journeys.intake import addresses_of, answers_of, contradicted, refer, require, submitted_of
from intake_plugin.journeys.office import Office, decided, note, writing, writing_one_of
from intake_plugin.journeys.times import (
    Session,
    gap_of,
    held_of,
    midnight_of,
    serves,
    session_of,
    sweep_of,
    taken_of,
)
from intake_plugin.records.base import store
from intake_plugin.records.tables import Appointment, AppointmentState, Case, CaseState, Series
from intake_plugin.scheduling.clocks import seconds
from intake_plugin.scheduling.hours import Dates
from intake_plugin.scheduling.series import Gap, Pattern, ProblemKind, Proposal, check, propose
from intake_plugin.scheduling.slots import Slot, Sweep, days, offers, validate
from intake_plugin.settings import Resource

WEEK = dt.timedelta(weeks=1)
"""What one page of times shows."""

_HAD: frozenset[ProblemKind | None] = frozenset({None, "short", "long"})
"""Problems of a session whose time is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What the patient should know before choosing times."""

    session: Session
    before: tuple[CareEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One week of times for the first session, and where other weeks are."""

    practitioner_id: str | None
    """Whose times these are; None for anybody's."""
    slots: tuple[Slot, ...]
    first: dt.date
    last: dt.date
    earlier: dt.date | None
    later: dt.date | None
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Which days of a month have times for the first session, and where other months are."""

    first: dt.date
    days: Mapping[dt.date, int]
    """How many times there are on each date that has any."""
    practitioner_id: str | None
    """Whose times these are; None for anybody's."""
    before: dt.date | None
    after: dt.date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSession:
    """One session of the proposed series; `problem` says why it cannot be booked as it stands."""

    proposal: Proposal
    numbing: NumbingPlan | None
    problem: ProblemKind | None
    usual: bool
    """Whether it keeps the weekday, the time and the practitioner asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPlan:
    """The whole series as proposed or as the patient changed it."""

    sessions: tuple[PlannedSession, ...]
    session: Session
    taken: Taken
    choice: Choice

    @property
    def slots(self) -> dict[int, Slot]:
        """The sessions that can be had, by number."""
        return {
            planned.proposal.ordinal: planned.proposal.slot
            for planned in self.sessions
            if planned.proposal.slot is not None and planned.problem in _HAD
        }

    @property
    def held_until(self) -> dt.datetime:
        """When the hold ends or ended, aware, UTC."""
        return self.choice.until

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
    stored = submitted_of(case)
    return screens.advice_from_json(stored["screening"]) if stored else ()


def practitioners(office: Office, case: Case) -> tuple[Resource, ...]:
    """Return who can be asked for; empty where there is no choice."""
    found = tuple(
        resource
        for resource in office.clinic.resources
        if resource.kind == "practitioner" and serves(resource, case.protocol_id)
    )
    return found if len(found) > 1 else ()


def times(
    office: Office, case: Case, *, first: dt.date | None = None, practitioner_id: str | None = None
) -> Times:
    """Return a week of times for the first session, from `first` or the first week that has any.

    `practitioner_id` asks for one practitioner's times; an unknown one counts as none.
    """
    require(office, case, "times")
    asked = _asked(office, case, practitioner_id)
    session = session_of(office, case)
    soonest, horizon = bounds(office, case)
    start = soonest if first is None else min(max(first, soonest), horizon)
    sweep = sweep_of(office, case, session, [Dates(start, horizon if first is None else start + WEEK)])
    if first is None:
        start = _first_week(sweep, start, horizon, asked)
    last = min(start + WEEK - dt.timedelta(days=1), horizon)
    return Times(
        practitioner_id=asked,
        slots=tuple(offers(sweep, first=start, last=last, practitioner_id=asked)),
        first=start,
        last=last,
        earlier=max(start - WEEK, soonest) if start > soonest else None,
        later=last + dt.timedelta(days=1) if last < horizon else None,
        session=session,
    )


def month(office: Office, case: Case, *, date: dt.date, practitioner_id: str | None = None) -> Month:
    """Return how many times for the first session each day of a month has; see `times`."""
    require(office, case, "times")
    asked = _asked(office, case, practitioner_id)
    soonest, horizon = bounds(office, case)
    first = min(max(date, soonest), horizon).replace(day=1)
    following = Wait(months=1).after(first)
    start, last = max(first, soonest), min(following - dt.timedelta(days=1), horizon)
    sweep = sweep_of(office, case, session_of(office, case), [Dates(start, last)])
    return Month(
        first=first,
        days=days(sweep, first=start, last=last, practitioner_id=asked),
        practitioner_id=asked,
        before=Wait(months=1).before(first) if soonest < first else None,
        after=following if following <= horizon else None,
    )


def _asked(office: Office, case: Case, practitioner_id: str | None) -> str | None:
    known = {resource.id for resource in practitioners(office, case)}
    return practitioner_id if practitioner_id in known else None


def _first_week(sweep: Sweep, start: dt.date, horizon: dt.date, asked: str | None) -> dt.date:
    while start + WEEK <= horizon:
        if days(sweep, first=start, last=start + WEEK - dt.timedelta(days=1), practitioner_id=asked):
            break
        start += WEEK
    return start


def bounds(office: Office, case: Case) -> tuple[dt.date, dt.date]:
    """Return the first and the last date that a first session can have."""
    policy = office.clinic.booking
    soonest = (office.now + policy.notice).astimezone(office.clinic.zone).date()
    if case.not_before is not None:
        soonest = max(soonest, case.not_before)
    horizon = policy.horizon.after(office.today)
    if case.not_before is not None and case.not_before > horizon:
        # A deferral may end past the horizon; a week of times from that date is still offered.
        horizon = soonest + WEEK
    return soonest, max(horizon, soonest)


def choose_first(
    office: Office, case: Case, arrive: dt.datetime, *, practitioner_id: str | None = None
) -> None:
    """Choose the first session's time; it and the series proposed around it are held.

    Raises TimeTaken when the time is not offered (any more).
    """

    def act() -> None:
        with writing(office, case) as locked:
            require(office, locked, "times")
            first, last = bounds(office, locked)
            start, end = midnight_of(office, first), midnight_of(office, last + dt.timedelta(days=1))
            if not start <= arrive < end:
                raise TimeTaken("This time is not offered. Choose another one.")
            choice = _begun(office, locked, {1: arrive}, practitioner_id)
            plan = _planned(office, locked, choice, alternatives=0)
            if 1 not in plan.slots or not _by(plan.slots[1], practitioner_id):
                raise TimeTaken("This time is no longer free. Choose another one.")
            held = _hold(office, locked, plan)
            note(office, locked, "choose first", held.to_json())

    decided(office, act)


def _begun(
    office: Office, case: Case, arrivals: Mapping[int, dt.datetime], practitioner_id: str | None
) -> Choice:
    """Return a new choice; one made while another is held counts from when that one was first held."""
    before = choice_of(case)
    since = until = office.now
    if before is not None and before.until > office.now:
        since, until = before.since, before.until
    return Choice(arrivals=arrivals, practitioner_id=practitioner_id, since=since, until=until)


def _by(slot: Slot, practitioner_id: str | None) -> bool:
    return practitioner_id is None or slot.practitioner_id == practitioner_id


def change(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> None:
    """Keep the patient's own choice of times and hold what can be had of it.

    The next proposal shows which gaps break and which times have gone.
    """
    _choose_again(office, case, chosen, "change series")


def extend(office: Office, case: Case, chosen: Mapping[int, dt.datetime] | None = None) -> None:
    """Hold the chosen times for longer, as far as the clinic's `hold_most`.

    `chosen` is what the patient changed meanwhile; left out, the choice stays. A hold that has run
    out is made anew; what somebody else took meanwhile is shown by the next proposal.
    """
    _choose_again(office, case, chosen, "extend hold")


def _choose_again(office: Office, case: Case, chosen: Mapping[int, dt.datetime] | None, action: str) -> None:
    def act() -> None:
        with writing(office, case) as locked:
            require(office, locked, "series")
            before = _choice(locked)
            choice = replace(before, arrivals=dict(before.arrivals if chosen is None else chosen))
            if choice.until <= office.now:
                choice = replace(choice, since=office.now)
            try:
                plan = _planned(office, locked, choice, alternatives=0)
            except TimeTaken:
                # Kept as posted, so that the page can say what is wrong with it.
                holding.release(office, locked)
                held = replace(choice, until=office.now)
                locked.plan = held.to_json()
            else:
                held = _hold(office, locked, plan, arrivals=choice.arrivals)
            note(office, locked, action, held.to_json())

    decided(office, act)


def _hold(
    office: Office, case: Case, plan: SeriesPlan, *, arrivals: Mapping[int, dt.datetime] | None = None
) -> Choice:
    """Hold what can be had of a plan, and keep its arrivals, or others, as the patient's choice."""
    policy = office.clinic.booking
    wanted = holding.apart(plan.slots)
    until = min(office.now + policy.hold, plan.choice.since + policy.hold_most) if wanted else office.now
    holding.hold(office, case, wanted, plan.taken, until)
    found = {ordinal: slot.arrive for ordinal, slot in plan.slots.items()}
    held = replace(
        plan.choice,
        arrivals=found if arrivals is None else arrivals,
        until=until,
        practitioners={ordinal: slot.practitioner_id for ordinal, slot in plan.slots.items()},
    )
    case.plan = held.to_json()
    return held


def extendable(office: Office, plan: SeriesPlan) -> bool:
    """Whether pressing once more would hold the times for longer."""
    most = plan.choice.since + office.clinic.booking.hold_most
    return plan.held_until <= office.now or plan.held_until < most


def proposal(office: Office, case: Case) -> SeriesPlan:
    """Return the whole series around the chosen first time, each session with alternatives."""
    require(office, case, "series")
    return _planned(office, case, _choice(case))


def _choice(case: Case) -> Choice:
    choice = choice_of(case)
    if choice is None:
        raise OutOfTurn("times")
    return choice


def _planned(
    office: Office, case: Case, choice: Choice, *, alternatives: int = 3, held: bool = False
) -> SeriesPlan:
    """Work out the series; if `held`, of nothing but the seats that are held at the times chosen."""
    session = session_of(office, case)
    course, chosen, asked = session.course, choice.arrivals, choice.practitioner_id
    start, end = _reach(office, case, course)
    # Before anything is computed from them: a posted date may be thousands of years away.
    horizon = midnight_of(office, bounds(office, case)[1] + dt.timedelta(days=1))
    inside = all(start <= arrive < end for arrive in chosen.values())
    if 1 not in chosen or not inside or chosen[1] >= horizon:
        raise TimeTaken("Not every time lies where this series can be. Choose other times.")
    dates = {ordinal: arrive.astimezone(office.clinic.zone).date() for ordinal, arrive in chosen.items()}
    reach = [Dates(date, date) for date in sorted(set(dates.values()))]
    if alternatives or len(chosen) < course.sessions:
        reach = [Dates(reach[0].first, max(reach[-1].last, _latest(course, dates)))]
    taken = held_of(office, case, session.span, chosen.values()) if held else taken_of(office, case, reach)
    since = choice.since if _kept_in_time(office, session, choice, taken) else office.now
    sweep = sweep_of(office, case, session, reach, taken=taken, since=since)
    first = validate(sweep, chosen[1], practitioner_id=asked) or validate(sweep, chosen[1])
    gap = partial(gap_of, course)
    proposals = propose(
        sweep,
        first or chosen[1],
        sessions=course.sessions,
        gap=gap,
        drift_days=office.clinic.booking.drift.days,
        practitioner_id=asked,
        chosen=chosen,
        alternatives=alternatives,
    )
    problems = _problems(sweep, proposals, chosen, gap)
    return SeriesPlan(
        session=session,
        taken=taken,
        choice=choice,
        sessions=tuple(
            PlannedSession(
                proposal=each,
                numbing=None if each.slot is None else session.numbing(each.slot.treatment),
                problem=problems.get(each.ordinal),
                usual=each.slot is None or _kept(proposals[0].slot, each.slot, asked),
            )
            for each in proposals
        ),
    )


def _planned_as_held(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> SeriesPlan:
    """Work out a series from what it holds; where other or longer time is needed, from all that is free."""
    choice = _choice(case)
    asked = replace(choice, arrivals=chosen)
    if choice.holds(chosen, office.now):
        plan = _planned(office, case, asked, alternatives=0, held=True)
        if plan.complete and plan.taken.mine.issuperset(holding.apart(plan.slots)):
            return plan
    return _planned(office, case, asked, alternatives=0)


def _kept_in_time(office: Office, session: Session, choice: Choice, taken: Taken) -> bool:
    """Whether the clinic's notice counts from when the times were first held.

    A held time stays the patient's to book, although the notice passes meanwhile; no other time does.
    """
    soon = office.now + office.clinic.booking.notice
    starts = [seconds(arrive + session.span.arrive) for arrive in choice.arrivals.values() if arrive < soon]
    return choice.until > office.now and all(
        any(each.start <= start < each.end for each in taken.mine) for start in starts
    )


def _kept(first: Slot | None, slot: Slot, practitioner_id: str | None) -> bool:
    return first is None or Pattern.of(first, practitioner_id).kept_by(slot)


def _latest(course: CoursePlan, dates: Mapping[int, dt.date]) -> dt.date:
    """Return the last date on which any session of a series can be offered, with some dates chosen."""
    before = latest = dates[1]
    for ordinal in range(2, course.sessions + 1):
        _, usual, longest = gap_of(course, before)
        latest = max(latest, longest)
        # Where the chosen time turns out to be taken, the next session counts from the usual date.
        before = max(dates[ordinal], usual) if ordinal in dates else longest
    return latest


def _reach(office: Office, case: Case, course: CoursePlan) -> tuple[dt.datetime, dt.datetime]:
    """Return the instants between which every session of a series lies, whatever is chosen."""
    last = bounds(office, case)[1]
    for _ in range(course.sessions):
        last = course.gap_max.after(last)
    return office.now, midnight_of(office, last + dt.timedelta(days=1))


def _problems(
    sweep: Sweep, proposals: Sequence[Proposal], chosen: Mapping[int, dt.datetime], gap: Gap
) -> dict[int, ProblemKind]:
    """Return the first problem of each session that has one; a session without any time is taken."""
    wanted = [each.slot or chosen.get(each.ordinal) for each in proposals]
    found: dict[int, ProblemKind] = {}
    for problem in check(sweep, wanted, gap, swept=True):
        found.setdefault(problem.ordinal, problem.kind)
    return found


def confirm(office: Office, case: Case, chosen: Mapping[int, dt.datetime]) -> Series:
    """Book every session of the series in one transaction, or none of it.

    A second confirmation of a booked case returns its series. Raises TimeTaken when a time has
    gone or a gap is broken; the choices are kept, so that the patient changes only what must be.
    Raises OutOfTurn with the step that comes first: a consent that no longer says what will be
    done is to be signed again, and a clinician looks at a second case of the same person.
    """

    def act() -> Series | str:
        # Two cases of one person may have been submitted before either was booked. All of the person's
        # are locked, so that of two at the same moment one is decided after the other.
        addresses = addresses_of(office, case)
        with writing_one_of(office, case, addresses) as (locked, others):
            if locked.state == CaseState.BOOKED:
                return series_of(office, locked)
            require(office, locked, "series")
            if addresses_of(office, locked) != addresses:
                raise Stale("This was changed in another window in the meantime.")
            if others and contradicted(office, locked):
                refer(office, locked)
                return "outcome"
            if not still_settled(office, locked):
                # The texts have changed since they were signed: another cream, say.
                locked.state = CaseState.CONSENT
                note(office, locked, "consent outdated", {})
                return "consent"
            plan = _planned_as_held(office, locked, chosen)
            if chosen.keys() != {each.proposal.ordinal for each in plan.sessions} or not plan.complete:
                raise TimeTaken("Not every time can be kept. Choose other times where it says so.")
            if not _as_shown(plan):
                raise TimeTaken("Not every time is with the practitioner who was shown. Look once more.")
            series = _book(office, locked, plan)
            locked.state, locked.plan = CaseState.BOOKED, None
            note(
                office,
                locked,
                "book",
                {"series": series.id, "times": [arrive.isoformat() for _, arrive in sorted(chosen.items())]},
            )
        return series

    found = decided(office, act)
    if isinstance(found, str):
        raise OutOfTurn(found)
    return found


def _as_shown(plan: SeriesPlan) -> bool:
    """Whether each session is with who was asked for, or with who the patient was shown instead."""
    asked, shown = plan.choice.practitioner_id, plan.choice.practitioners
    return asked is None or all(
        slot.practitioner_id in {asked, shown.get(ordinal)} for ordinal, slot in plan.slots.items()
    )


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
    appointments: dict[int, Appointment] = {}
    for planned in plan.sessions:
        slot = planned.proposal.slot
        if slot is None:
            raise OutOfTurn("series")
        ordinal = planned.proposal.ordinal
        appointments[ordinal] = _appointment(office, series, planned, slot, len(plan.sessions))
    apart = holding.apart(plan.slots)
    if set(apart.values()) != appointments.keys():
        raise TimeTaken("Two of these times lie too close together. Choose another one for one of them.")
    wanted = {stretch: appointments[ordinal].id for stretch, ordinal in apart.items()}
    # The claims first: whoever is too late has written nothing else yet.
    holding.book(office, case, wanted, plan.taken)
    store(office.session, [series])
    office.session.add(series)
    store(office.session, list(appointments.values()))
    outbox.booked(office, series, appointments.values())
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
