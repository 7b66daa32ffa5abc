"""From a clinic's profile, a case and what is booked already to the sweep that offers times.

One range query loads what is taken; everything else is the profile and the pure rooms. The same
sweep offers a time, proposes a series and validates what a patient chose.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from intake_plugin.clinical.course import CoursePlan, area_of, plan_course
from intake_plugin.clinical.numbing import NumbingChoice, NumbingPlan
from intake_plugin.clinical.numbing import plan as plan_numbing
from intake_plugin.journeys.intake import answers_of
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.suitability import Unsuitable, numbing_of
from intake_plugin.records.tables import TICK, Case, Occupancy
from intake_plugin.scheduling.clocks import Interval
from intake_plugin.scheduling.hours import open_intervals
from intake_plugin.scheduling.slots import ResourceCalendar, Span, Sweep, by_lane
from intake_plugin.settings import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one session of this case needs: the product on the skin, where, and for how long."""

    choice: NumbingChoice
    home: bool
    contact: dt.timedelta | None
    span: Span
    course: CoursePlan

    def numbing(self, treatment: dt.datetime) -> NumbingPlan | None:
        """Return when the cream goes on and off for a treatment that starts at `treatment`."""
        return plan_numbing(self.choice, treatment, contact=self.contact, home=self.home)


def session_of(office: Office, case: Case) -> Session:
    """Work out what each session of this case needs, as the answers count today."""
    protocol, answers = office.protocol_of(case), answers_of(case)
    policy, timeline = office.treatment_of(case).numbing, protocol.timeline
    choice = numbing_of(office, case)
    product = choice.product
    home = product is not None and product.home and policy.home == "approved" and case.numbing_home
    contact = None if product is None else _contact(choice, policy.contact.get(product.id))
    at_clinic = dt.timedelta() if contact is None or home else contact
    lead = timeline.arrive_before_numbing if at_clinic else timeline.arrive_without_numbing
    span = Span(
        arrive=at_clinic + lead,
        room=at_clinic,
        treatment=area_of(protocol, answers).treatment,
        after=timeline.aftercare,
    )
    return Session(
        choice=choice, home=home, contact=contact, span=span, course=plan_course(protocol, answers)
    )


def _contact(choice: NumbingChoice, usual: dt.timedelta | None) -> dt.timedelta | None:
    """Return the clinic's usual contact, cut to what the patient's cautions leave; else the minimum."""
    if usual is None or choice.contact_max is None:
        return choice.contact_min
    return min(usual, choice.contact_max)


def gap_of(course: CoursePlan, date: dt.date) -> tuple[dt.date, dt.date, dt.date]:
    """Return the earliest, usual and latest date of the session after one on `date`."""
    return course.gap_min.after(date), course.gap_usual.after(date), course.gap_max.after(date)


def sweep_of(office: Office, case: Case, session: Session, first: dt.date, last: dt.date) -> Sweep:
    """Load what is taken from `first` to `last` (local dates, both included) into one sweep."""
    clinic = office.clinic
    taken = _taken(office, first, last)
    return Sweep(
        zone=clinic.zone,
        grid=clinic.booking.grid,
        span=session.span,
        opening=tuple(open_intervals(clinic.hours, clinic.zone, first, last, clinic.closures)),
        resources=tuple(
            _calendar(office, case, resource, taken.get(resource.id, ()), first, last)
            for resource in clinic.resources
        ),
        needs=tuple(dict.fromkeys(resource.kind for resource in clinic.resources)),
        earliest=office.now + clinic.booking.notice,
        latest=midnight_of(office, last + dt.timedelta(days=1)),
        not_before=case.not_before,
        forbidden=Unsuitable(office, case),
        tick=TICK,
    )


def _calendar(
    office: Office,
    case: Case,
    resource: Resource,
    taken: Sequence[tuple[int, Interval]],
    first: dt.date,
    last: dt.date,
) -> ResourceCalendar:
    hours = resource.hours if resource.hours is not None else office.clinic.hours
    serves = not resource.treatments or case.protocol_id in resource.treatments
    return ResourceCalendar(
        id=resource.id,
        kind=resource.kind,
        open=tuple(open_intervals(hours, office.clinic.zone, first, last, resource.closures))
        if serves
        else (),
        busy=by_lane(taken),
        lanes=resource.lanes,
        before=resource.before,
        after=resource.after,
    )


def _taken(office: Office, first: dt.date, last: dt.date) -> dict[str, list[tuple[int, Interval]]]:
    """One range query; a stretch is looked for from the day before, because it may run over midnight."""
    start = midnight_of(office, first - dt.timedelta(days=1))
    rows = office.session.execute(
        sa.select(Occupancy.resource_id, Occupancy.lane, Occupancy.start_at, Occupancy.end_at)
        .where(
            Occupancy.clinic_id == office.clinic.id,
            Occupancy.start_at >= start,
            Occupancy.start_at < midnight_of(office, last + dt.timedelta(days=1)),
        )
        .order_by(Occupancy.start_at)
    )
    taken: dict[str, list[tuple[int, Interval]]] = defaultdict(list)
    for resource_id, lane, start_at, end_at in rows:
        taken[resource_id].append((lane, Interval.between(start_at, end_at)))
    return taken


def midnight_of(office: Office, date: dt.date) -> dt.datetime:
    """Return the instant at which a date begins on the clinic's clock, UTC."""
    return dt.datetime.combine(date, dt.time(), office.clinic.zone).astimezone(dt.UTC)
