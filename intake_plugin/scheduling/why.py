"""Why a time is not offered, by the same steps that offer it.

Each step of the sweep is asked about one arrival alone, so that its answer is the sweep's own. The
promise, held by a property test: `why_not` finds nothing exactly where `offers` has the time.

A kind of resource stands in the way only when none of its resources is free; then every one says
what takes it. Asked about one resource, the others of its kind count as absent.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from intake_plugin.scheduling.clocks import SECOND, Interval, ambiguous, around, instant, seconds
from intake_plugin.scheduling.slots import (
    Kind,
    Part,
    ResourceCalendar,
    Sweep,
    claim_of,
    drop_overlaps,
    keep_inside,
    on_grid,
    part_of,
    printed,
)

ObstacleKind = Literal[
    "grid",
    "twice",
    "notice",
    "horizon",
    "not-before",
    "forbidden",
    "hours",
    "nobody",
    "claim",
    "buffer",
    "block",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One thing that keeps an arrival from being offered.

    `grid`: not on the clinic's grid; `near` has the arrivals before and after it. `twice`: `needs`
    begins a part of the visit that the clock shows twice. `notice`, `horizon`: outside the sweep's
    own bounds. `not-before`, `forbidden`: the clinical outcome. `hours`: `needs` is not inside one
    opening, the clinic's where `resource_id` is None. `nobody`: no resource of `whose` exists.
    `claim`: a lane is taken by `taken`; `buffer`: only the resource's buffers meet it. `block`:
    `taken` takes every lane.
    """

    kind: ObstacleKind
    whose: Kind | None = None
    resource_id: str | None = None
    lane: int | None = None
    needs: Interval | None = None
    taken: Interval | None = None
    near: tuple[dt.datetime, ...] = ()


def why_not(sweep: Sweep, arrive: dt.datetime, *, resource_id: str | None = None) -> tuple[Obstacle, ...]:
    """Return everything that keeps an arrival (aware) from being offered, empty where it is offered.

    `resource_id` asks for that practitioner or room. Raises ValueError for a resource that the
    sweep does not have, and for a naive datetime.
    """
    if resource_id is not None:
        sweep = _only(sweep, resource_id)
    # In UTC, because a time that a zone shows twice equals nothing in another zone (PEP 495).
    visit = _of_visit(sweep, arrive.astimezone(dt.UTC))
    moment = seconds(arrive)
    return (*visit, *(each for kind in sweep.needs for each in _of_kind(sweep, kind, moment)))


def _only(sweep: Sweep, resource_id: str) -> Sweep:
    asked = next((each for each in sweep.resources if each.id == resource_id), None)
    if asked is None:
        raise ValueError(f"The sweep has no resource {resource_id!r}. Ask about one of its resources.")
    others = tuple(each for each in sweep.resources if each.kind != asked.kind or each is asked)
    return replace(sweep, resources=others)


def _of_visit(sweep: Sweep, arrive: dt.datetime) -> Iterator[Obstacle]:
    moment, date = seconds(arrive), arrive.astimezone(sweep.zone).date()
    visit = part_of(sweep.span, "visit")
    clock = around(sweep.zone, date, date, margin=visit.end)
    grid = list(chain.from_iterable(on_grid(date, sweep.grid // SECOND, clock)))
    if moment not in grid or instant(moment) != arrive:
        near = grid[max(bisect_left(grid, moment) - 1, 0) : bisect_right(grid, moment) + 1]
        yield Obstacle(kind="grid", near=tuple(map(instant, near)))
    for start, end in ambiguous(clock):
        for shown in sorted(printed(sweep.span)):
            if start <= moment + shown < end:
                yield Obstacle(kind="twice", needs=Interval(moment + shown, moment + visit.end))
    if arrive < sweep.earliest:
        yield Obstacle(kind="notice")
    if arrive >= sweep.latest:
        yield Obstacle(kind="horizon")
    if sweep.not_before is not None and date < sweep.not_before:
        yield Obstacle(kind="not-before")
    if date in sweep.forbidden:
        yield Obstacle(kind="forbidden")
    if not _inside(sweep.opening, moment, visit):
        yield Obstacle(kind="hours", needs=_at(visit, moment))


def _of_kind(sweep: Sweep, kind: Kind, moment: int) -> Sequence[Obstacle]:
    found = [
        list(_of_resource(sweep, calendar, moment)) for calendar in sweep.resources if calendar.kind == kind
    ]
    if not found:
        return [Obstacle(kind="nobody", whose=kind)]
    return [obstacle for each in found for obstacle in each] if all(found) else []


def _of_resource(sweep: Sweep, calendar: ResourceCalendar, moment: int) -> Iterator[Obstacle]:
    part = part_of(sweep.span, calendar.kind)
    claim = claim_of(part, calendar)
    tick = sweep.tick // SECOND
    whose, resource_id = calendar.kind, calendar.id
    if not _inside(calendar.open, moment, part):
        yield Obstacle(kind="hours", whose=whose, resource_id=resource_id, needs=_at(part, moment))
    needs = _at(claim, moment)
    for taken in calendar.blocked:
        if _meets(taken, moment, claim, tick):
            yield Obstacle(kind="block", whose=whose, resource_id=resource_id, needs=needs, taken=taken)
    lanes = [
        [taken for taken in _busy(calendar, lane) if _meets(taken, moment, claim, tick)]
        for lane in range(calendar.lanes)
    ]
    if all(lanes):
        for lane, met in enumerate(lanes):
            for taken in met:
                kind: ObstacleKind = "claim" if _meets(taken, moment, part, tick=1) else "buffer"
                yield Obstacle(
                    kind=kind, whose=whose, resource_id=resource_id, lane=lane, needs=needs, taken=taken
                )


def _busy(calendar: ResourceCalendar, lane: int) -> Sequence[Interval]:
    return calendar.busy[lane] if lane < len(calendar.busy) else ()


def _at(part: Part, moment: int) -> Interval:
    return Interval(moment + part.start, moment + part.end)


def _inside(openings: Sequence[Interval], moment: int, part: Part) -> bool:
    keep_inside(mask := bytearray(1), [moment], openings, part)
    return bool(mask[0])


def _meets(taken: Interval, moment: int, claim: Part, tick: int) -> bool:
    drop_overlaps(mask := bytearray(b"\x01"), [moment], (taken,), claim, tick)
    return not mask[0]
