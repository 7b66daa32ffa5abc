"""Why a time is not offered at this clinic: the sweep's own answer, with the names that belong to it.

Asked about a case, the visit is that case's and so are the clinical findings; reading them leaves
an audit entry. Without one, the visit is the shortest of any treatment that the practitioner or
room asked about serves.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from intake_plugin.clinical.protocol import Protocol
from intake_plugin.clinical.screening import Finding
from intake_plugin.errors import NotAsSigned, NotFound, did_you_mean
from intake_plugin.journeys import busy
from intake_plugin.journeys.blocking import blocks_between
from intake_plugin.journeys.booking import bounds, series_of
from intake_plugin.journeys.office import Office, note, transaction
from intake_plugin.journeys.review import by_reference
from intake_plugin.journeys.suitability import Unsuitable, unasked_of
from intake_plugin.journeys.times import (
    Session,
    midnight_of,
    serves,
    session_of,
    session_signed,
    sweep_for,
    sweep_of,
    taken_of,
)
from intake_plugin.records import audit
from intake_plugin.records.tables import TICK, Appointment, Block, Case, CaseState, Occupancy
from intake_plugin.scheduling.clocks import SECOND, Interval
from intake_plugin.scheduling.hours import Dates
from intake_plugin.scheduling.slots import Span, Sweep
from intake_plugin.scheduling.why import Obstacle, ObstacleKind, why_not
from intake_plugin.settings import Closure, Resource

ReasonKind = ObstacleKind | Literal["skipped", "closure", "treatment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One obstacle with its names.

    Besides the kinds of `Obstacle`: `skipped`, a time that the clock leaves out; `closure`, hours
    missing because of `closure`; `treatment`, a resource that is not there for it. `start` and
    `end` (aware, UTC) are what takes the time, or for `hours` and `twice` what the visit needs.
    `reference` is the case whose session is in the way; `block` the block; `elsewhere` the entry
    of a calendar from outside; `finding` the clinical one. `near` are the neighbours on the grid.
    """

    kind: ReasonKind
    resource: Resource | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    near: tuple[dt.datetime, ...] = ()
    closure: Closure | None = None
    reference: str | None = None
    block: Block | None = None
    elsewhere: busy.Elsewhere | None = None
    finding: Finding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer: no reasons means that the time is offered.

    `arrive` is None for a time the clock skips. `earliest` ends the notice and `latest` the horizon of a
    first session; `not_before` is the
    case's own date.
    """

    local: dt.datetime
    arrive: dt.datetime | None
    protocol_id: str
    resource: Resource | None
    case: Case | None
    span: Span
    earliest: dt.datetime
    latest: dt.datetime
    not_before: dt.date | None
    reasons: tuple[Reason, ...]
    unasked: tuple[str, ...] = ()
    """What a booked case was never asked, in its language: no reason, but to be asked."""


def why_not_offered(
    office: Office,
    local: dt.datetime,
    *,
    actor: audit.Actor,
    resource_id: str | None = None,
    reference: str | None = None,
) -> Why:
    """Return why a patient cannot arrive at `local` (the clinic's clock, naive).

    `resource_id` asks for one practitioner or room, `reference` for one case. Raises NotFound for
    a resource or case the clinic does not have, and for a date beyond every calendar.
    """
    resource = None if resource_id is None else _resource(office, resource_id)
    with transaction(office):
        case = None if reference is None else by_reference(office, reference)
        try:
            found = _answer(office, local, resource, case)
        except OverflowError:
            raise NotFound("This date is beyond every calendar. Ask about a date near today.") from None
        if case is not None:
            note(office, case, "why not", {"time": local.isoformat()}, actor=actor)
    return found


def _resource(office: Office, resource_id: str) -> Resource:
    for resource in office.clinic.resources:
        if resource.id == resource_id:
            return resource
    near = did_you_mean(resource_id, (each.id for each in office.clinic.resources))
    raise NotFound(f"{office.clinic.name} has no practitioner or room {resource_id!r}.{near}")


def _answer(office: Office, local: dt.datetime, resource: Resource | None, case: Case | None) -> Why:
    arrive, date = _instant(office, local), local.date()
    # A day more, because a visit may run over midnight.
    last = date + dt.timedelta(days=1)
    if case is None:
        protocol_id, span = _shortest(office, resource)
        reach = [Dates(date, last)]
        taken = taken_of(office, None, reach)
        sweep = sweep_for(office, protocol_id=protocol_id, span=span, reach=reach, taken=taken)
    else:
        protocol_id = case.protocol_id
        sweep = sweep_of(office, case, _needed(office, case), [Dates(date, last)])
    sweep = replace(sweep, latest=_horizon(office, case))
    reasons = (
        [Reason(kind="skipped")] if arrive is None else _reasons(office, sweep, arrive, resource, protocol_id)
    )
    return Why(
        local=local,
        arrive=arrive,
        protocol_id=protocol_id,
        resource=resource,
        case=case,
        span=sweep.span,
        earliest=sweep.earliest,
        latest=sweep.latest,
        not_before=sweep.not_before,
        reasons=tuple(reasons),
        unasked=() if case is None else _unasked(office, case, date),
    )


def _instant(office: Office, local: dt.datetime) -> dt.datetime | None:
    zone = office.clinic.zone
    moment = local.replace(tzinfo=zone).astimezone(dt.UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == local else None


def _shortest(office: Office, resource: Resource | None) -> tuple[str, Span]:
    """Return the treatment with the shortest visit of those a resource serves, all if it serves none."""
    treatments = office.clinic.treatments
    served = [key for key in treatments if resource is None or serves(resource, key)]
    spans = {key: _span(treatments[key].protocol) for key in served or treatments}
    return min(spans.items(), key=lambda item: item[1].arrive + item[1].treatment + item[1].after)


def _span(protocol: Protocol) -> Span:
    timeline = protocol.timeline
    return Span(
        arrive=timeline.arrive_without_numbing,
        room=dt.timedelta(),
        treatment=min(area.treatment for area in protocol.areas),
        after=timeline.aftercare,
    )


def _needed(office: Office, case: Case) -> Session:
    if case.state == CaseState.BOOKED:
        # Where the signed cream is not used any more nothing moves, which the page of the move says.
        with suppress(NotAsSigned):
            return session_signed(office, case, series_of(office, case).product_id)
    return session_of(office, case)


def _horizon(office: Office, case: Case | None) -> dt.datetime:
    """Return the end of the dates that a first session may have, as the page of times counts them."""
    last = office.clinic.booking.horizon.after(office.today) if case is None else bounds(office, case)[1]
    return midnight_of(office, last + dt.timedelta(days=1))


def _reasons(
    office: Office, sweep: Sweep, arrive: dt.datetime, resource: Resource | None, protocol_id: str
) -> Iterator[Reason]:
    resources = {each.id: each for each in office.clinic.resources}
    date = arrive.astimezone(sweep.zone).date()
    for obstacle in why_not(sweep, arrive, resource_id=None if resource is None else resource.id):
        whose = None if obstacle.resource_id is None else resources[obstacle.resource_id]
        match obstacle.kind:
            case "forbidden":
                yield from _findings(sweep, date)
            case "hours":
                yield _hours(office, obstacle, whose, date, protocol_id)
            case "claim" | "buffer" | "block" if whose is not None:
                yield from _takers(office, obstacle, whose)
            case _:
                yield Reason(kind=obstacle.kind, resource=whose, near=obstacle.near, **_ends(obstacle.needs))


def _ends(interval: Interval | None) -> dict[str, Any]:
    return {} if interval is None else {"start": interval.starts, "end": interval.ends}


def _findings(sweep: Sweep, date: dt.date) -> Iterator[Reason]:
    if not isinstance(sweep.forbidden, Unsuitable):
        raise TypeError("The sweep of a case asks its screening.")
    for finding in sweep.forbidden.findings(date):
        yield Reason(kind="forbidden", finding=finding)


def _unasked(office: Office, case: Case, date: dt.date) -> tuple[str, ...]:
    words = office.texts_of(case).questions
    found = (words[question.link_id] for question in unasked_of(office, case, date))
    return tuple(each.short or each.text for each in found)


def _hours(
    office: Office, obstacle: Obstacle, resource: Resource | None, date: dt.date, protocol_id: str
) -> Reason:
    clinic = office.clinic
    if resource is not None and not serves(resource, protocol_id):
        return Reason(kind="treatment", resource=resource)
    for closure in clinic.closures if resource is None else resource.closures:
        if closure.first <= date <= closure.last:
            return Reason(kind="closure", resource=resource, closure=closure)
    return Reason(kind="hours", resource=resource, **_ends(obstacle.needs))


def _takers(office: Office, obstacle: Obstacle, resource: Resource) -> Iterator[Reason]:
    """Yield who takes the time: the stretches joined into one interval are told apart again."""
    if obstacle.needs is None or obstacle.taken is None:
        return
    found = list(
        _named(office, obstacle.kind, obstacle.lane, resource, _common(obstacle.needs, obstacle.taken))
    )
    # What is gone by the time it is named is still told.
    yield from found or [Reason(kind=obstacle.kind, resource=resource, **_ends(obstacle.taken))]


def _common(needs: Interval, taken: Interval) -> Interval:
    """Return where two intervals meet, widened by a tick where they meet in the ticks alone."""
    start, end = max(needs.start, taken.start), min(needs.end, taken.end)
    tick = TICK // SECOND
    return Interval(start, end) if start < end else Interval(end - tick, start + tick)


def _named(
    office: Office, kind: ObstacleKind, lane: int | None, resource: Resource, common: Interval
) -> Iterator[Reason]:
    for occupancy, reference in _sessions(office, resource, common):
        if occupancy.lane == lane or (kind == "block" and occupancy.lane >= resource.lanes):
            start, end = occupancy.start_at, occupancy.end_at
            yield Reason(kind=kind, resource=resource, start=start, end=end, reference=reference)
    if kind == "block":
        for block in blocks_between(office, common.starts, common.ends):
            if block.resource_id == resource.id:
                start, end = block.start_at, block.end_at
                yield Reason(kind=kind, resource=resource, start=start, end=end, block=block)
        for each in busy.elsewhere(office, common.starts, common.ends):
            if each.source.resource == resource.id:
                start, end = each.time.starts, each.time.ends
                yield Reason(kind=kind, resource=resource, start=start, end=end, elsewhere=each)


def _sessions(office: Office, resource: Resource, common: Interval) -> Iterator[tuple[Occupancy, str | None]]:
    owner = sa.and_(Appointment.clinic_id == Occupancy.clinic_id, Appointment.id == Occupancy.appointment_id)
    rows = office.session.execute(
        sa.select(Occupancy, Case.reference)
        .join_from(Occupancy, Appointment, owner, isouter=True)
        .join(
            Case,
            sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id),
            isouter=True,
        )
        .where(
            Occupancy.clinic_id == office.clinic.id,
            Occupancy.resource_id == resource.id,
            Occupancy.start_at > common.starts - dt.timedelta(days=1),
            Occupancy.start_at < common.ends,
            Occupancy.end_at > common.starts,
        )
        .order_by(Occupancy.lane, Occupancy.start_at)
    ).all()
    yield from ((occupancy, reference) for occupancy, reference in rows)
