"""From a clinic's profile, a case and what is booked already to the sweep that offers times.

One range query loads what is taken, one more what calendars from outside call busy; everything
else is the profile and the pure rooms. The same sweep offers a time, proposes a series and
validates what a patient chose.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from zoneinfo import ZoneInfo

from intake_plugin.clinical.course import CoursePlan, area_of, plan_course
from intake_plugin.clinical.numbing import NumbingChoice, NumbingPlan, home_contact
from intake_plugin.clinical.numbing import plan as plan_numbing
from intake_plugin.journeys import busy
from intake_plugin.journeys.holding import EVERY_LANE, Look, Stretch, Taken, load_taken
from intake_plugin.journeys.intake import answers_of
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.suitability import Unsuitable, numbing_of, numbing_signed
from intake_plugin.records.tables import TICK, Case
from intake_plugin.scheduling.clocks import Interval, instant
from intake_plugin.scheduling.hours import Dates, merge, open_intervals
from intake_plugin.scheduling.slots import ResourceCalendar, Span, Sweep, by_lane
from intake_plugin.settings import Closure, Hours, Resource

_DAY = dt.timedelta(days=1)
_MARGIN = 2 * _DAY
"""A visit may run over midnight, and buffers further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one session of this case needs: the product on the skin, where, and for how long."""

    choice: NumbingChoice
    home: bool
    contact: dt.timedelta | None
    span: Span
    course: CoursePlan
    stock: tuple[str, ...] | None = None
    """The numbing product that was signed for, or none; None before that, when the clinic's all count."""

    def numbing(self, treatment: dt.datetime) -> NumbingPlan | None:
        """Return when the cream goes on and off for a treatment that starts at `treatment`."""
        return plan_numbing(self.choice, treatment, contact=self.contact, home=self.home)


def session_of(office: Office, case: Case) -> Session:
    """Work out what each session of this case needs, as the answers count today."""
    return _session(office, case, numbing_of(office, case))


def session_signed(office: Office, case: Case, product_id: str | None) -> Session:
    """Work out what a booked session needs, with the numbing product that was signed for, by id.

    Raises NotAsSigned when that product is not used any more.
    """
    stock = () if product_id is None else (product_id,)
    return replace(_session(office, case, numbing_signed(office, case, product_id)), stock=stock)


def _session(office: Office, case: Case, choice: NumbingChoice) -> Session:
    protocol, answers = office.protocol_of(case), answers_of(case)
    policy, timeline = office.treatment_of(case).numbing, protocol.timeline
    product = choice.product
    contact = None if product is None else _contact(choice, policy.contact.get(product.id))
    home = case.numbing_home and policy.home == "approved"
    at_home = home_contact(choice, timeline, area_of(protocol, answers)) if home else None
    home, contact = at_home is not None, at_home or contact
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


def taken_of(
    office: Office, case: Case | None, reach: Sequence[Dates], *, without: Collection[str] = ()
) -> Taken:
    """Load what is taken on the local dates of `reach`, sorted, as this case sees it.

    A stretch is looked for from the day before to the day after, because it may run over midnight.
    `without` names the appointments that are about to move: what they take counts as free. What a
    calendar from outside calls busy takes every lane.
    """
    starts = (midnight_of(office, each.first - _DAY) for each in reach)
    ends = (midnight_of(office, each.last + _MARGIN) for each in reach)
    looks = [Look(start, start, end) for start, end in zip(starts, ends, strict=True)]
    return _taken(office, case, looks, without=without)


def held_of(office: Office, case: Case, span: Span, arrivals: Collection[dt.datetime]) -> Taken:
    """Load what is held for a case around these arrivals; every other seat counts as taken, whoever has it.

    Nobody else can have a seat that is held, but for what takes its resource whole: that lies on a lane
    which the resource does not have.
    """
    buffers = [_buffers(office, each, case.protocol_id) for each in office.clinic.resources]
    before = max((before for before, _ in buffers), default=dt.timedelta()) + TICK
    after = max((after for _, after in buffers), default=dt.timedelta()) + TICK
    begins = span.arrive - max(span.arrive, span.room) - before
    ends = span.arrive + span.treatment + span.after + after
    looks = [Look(each + begins - _DAY, each + begins, each + ends) for each in sorted(arrivals)]
    lanes = min((each.lanes for each in office.clinic.resources), default=1)
    taken = _taken(office, case, looks, from_lane=lanes)
    among = frozenset(each.resource_id for each in taken.mine)
    resources = [each for each in office.clinic.resources if each.id in among]
    others: dict[str, list[tuple[int, Interval]]] = defaultdict(list, taken.busy)
    for look in looks:
        visit = Interval.between(look.start, look.end)
        held = {(each.resource_id, each.lane) for each in taken.mine if _meet(each, visit)}
        for resource in resources:
            unheld = (lane for lane in range(resource.lanes) if (resource.id, lane) not in held)
            others[resource.id] += ((lane, visit) for lane in unheld)
    return replace(taken, busy=others, among=among)


def _meet(held: Stretch, visit: Interval) -> bool:
    return held.start < visit.end and visit.start < held.end


def _taken(
    office: Office,
    case: Case | None,
    looks: Sequence[Look],
    *,
    without: Collection[str] = (),
    from_lane: int | None = None,
) -> Taken:
    taken = load_taken(office, case, looks, without=without, from_lane=from_lane)
    outside = busy.blocked(office, looks[0].start, looks[-1].end)
    if not outside:
        return taken
    together = {
        resource_id: [
            *taken.busy.get(resource_id, ()),
            *((EVERY_LANE, each) for each in outside.get(resource_id, ())),
        ]
        for resource_id in {*taken.busy, *outside}
    }
    return replace(taken, busy=together)


def sweep_of(
    office: Office,
    case: Case,
    session: Session,
    reach: Sequence[Dates],
    *,
    taken: Taken | None = None,
    since: dt.datetime | None = None,
) -> Sweep:
    """Return the sweep of the local dates of `reach`, sorted, for a case.

    `taken` is loaded where it is not given. `since` is the moment from which the clinic's notice
    counts, now if left out.
    """
    taken = taken or taken_of(office, case, reach)
    return sweep_for(
        office,
        protocol_id=case.protocol_id,
        span=session.span,
        reach=reach,
        taken=taken,
        since=since,
        not_before=case.not_before,
        forbidden=Unsuitable(office, case, stock=session.stock),
    )


def sweep_for(
    office: Office,
    *,
    protocol_id: str,
    span: Span,
    reach: Sequence[Dates],
    taken: Taken,
    since: dt.datetime | None = None,
    not_before: dt.date | None = None,
    forbidden: Container[dt.date] = frozenset(),
) -> Sweep:
    """Return the sweep for visits of this span, whoever comes; see `sweep_of`."""
    clinic = office.clinic
    openings = _Openings(office, reach)
    return Sweep(
        zone=clinic.zone,
        grid=clinic.booking.grid,
        span=span,
        opening=openings.of(clinic.hours, clinic.closures),
        resources=tuple(
            _calendar(office, protocol_id, resource, taken.busy.get(resource.id, ()), openings)
            for resource in clinic.resources
            if taken.among is None or resource.id in taken.among
        ),
        needs=tuple(dict.fromkeys(resource.kind for resource in clinic.resources)),
        earliest=(since or office.now) + clinic.booking.notice,
        latest=midnight_of(office, reach[-1].last + _DAY),
        not_before=not_before,
        forbidden=forbidden,
        tick=TICK,
        held=_by_date(taken.mine, clinic.zone),
    )


def _by_date(held: Collection[Stretch], zone: ZoneInfo) -> dict[dt.date, set[tuple[str, int]]]:
    found: dict[dt.date, set[tuple[str, int]]] = defaultdict(set)
    for each in held:
        found[instant(each.start).astimezone(zone).date()].add((each.resource_id, each.lane))
    return found


_Weekly = tuple[tuple[int, tuple[tuple[dt.time, dt.time], ...]], ...]
"""`Hours` as pairs, which can be a key."""


@lru_cache(maxsize=128)
def _open(
    hours: _Weekly, zone: ZoneInfo, first: dt.date, last: dt.date, closures: tuple[Closure, ...]
) -> tuple[Interval, ...]:
    # The same for every patient who looks at these dates, and for the same one on the next page.
    return tuple(open_intervals(dict(hours), zone, first, last, closures))


class _Openings:
    """The openings of some dates, worked out once for all resources with the same hours.

    The day after each is among them, because a visit may run over midnight.
    """

    def __init__(self, office: Office, reach: Sequence[Dates]) -> None:
        self._zone, self._reach = office.clinic.zone, reach
        self._known: dict[tuple[int, tuple[Closure, ...]], tuple[Interval, ...]] = {}

    def of(self, hours: Hours, closures: tuple[Closure, ...]) -> tuple[Interval, ...]:
        """Return the openings of these hours without the closures."""
        # Hours are mappings, which cannot be keys; the clinic's profile outlives this object.
        key = id(hours), closures
        if key not in self._known:
            weekly = tuple(sorted(hours.items()))
            self._known[key] = tuple(
                merge(
                    sorted(
                        interval
                        for first, last in self._reach
                        for interval in _open(weekly, self._zone, first, last + _DAY, closures)
                    )
                )
            )
        return self._known[key]


def _calendar(
    office: Office,
    protocol_id: str,
    resource: Resource,
    taken: Sequence[tuple[int, Interval]],
    openings: _Openings,
) -> ResourceCalendar:
    hours = resource.hours if resource.hours is not None else office.clinic.hours
    # A lane that the resource does not have takes it whole: a block by hand, or a session that
    # somebody put over others, which must not be followed by one more.
    whole = sorted(interval for lane, interval in taken if not 0 <= lane < resource.lanes)
    before, after = _buffers(office, resource, protocol_id)
    return ResourceCalendar(
        id=resource.id,
        kind=resource.kind,
        open=openings.of(hours, resource.closures) if serves(resource, protocol_id) else (),
        busy=by_lane((lane, interval) for lane, interval in taken if lane != EVERY_LANE),
        blocked=tuple(merge(whole)),
        lanes=resource.lanes,
        before=before,
        after=after,
    )


def _buffers(office: Office, resource: Resource, protocol_id: str) -> tuple[dt.timedelta, dt.timedelta]:
    """Return what is kept free of a resource before and after each session of a treatment."""
    treatment = office.clinic.treatments.get(protocol_id)
    if treatment is None:
        return resource.before, resource.after
    return max(resource.before, treatment.before), max(resource.after, treatment.after)


def serves(resource: Resource, protocol_id: str) -> bool:
    """Whether a resource is there for a treatment."""
    return not resource.treatments or protocol_id in resource.treatments


def midnight_of(office: Office, date: dt.date) -> dt.datetime:
    """Return the instant at which a date begins on the clinic's clock, UTC."""
    return dt.datetime.combine(date, dt.time(), office.clinic.zone).astimezone(dt.UTC)
