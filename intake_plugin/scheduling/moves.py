"""Moving one session of a booked series: which later sessions must move along, and over what.

The rules:

- A session that moves keeps the course's least and greatest gap to the session before it.
- The session after it stays where it is if its date still lies inside the gap, and so does
  everything after that one: their gaps have not changed. Otherwise it moves too, and the question
  goes on to the next.
- What moves along goes to the course's usual interval, not to the nearest date that would do, and
  keeps its own weekday, time and practitioner where possible.
- Over sessions that were cancelled in between, the least gap counts once and the greatest once for
  each step: leaving one out does not make the others late.
- A time that is taken can be given only by squeezing the session in: each kind of resource without
  a free lane gets one beyond its own lanes. Hours, grid, gaps and clinical dates bind here too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

from intake_plugin.scheduling.series import Gap, Pattern, Proposal, propose, window
from intake_plugin.scheduling.slots import Kind, ResourceCalendar, Slot, Sweep, validate


@dataclass(frozen=True, slots=True)
class Standing:
    """A booked session: its place in the course (from 1), its arrival (aware) and its practitioner."""

    ordinal: int
    arrive: dt.datetime
    practitioner_id: str | None = None


def followers(
    sweep: Sweep,
    moved: Slot,
    ordinal: int,
    later: Sequence[Standing],
    gap: Gap,
    *,
    drift_days: int,
    chosen: Mapping[int, dt.datetime] | None = None,
) -> tuple[Proposal, ...]:
    """Return new times for the sessions that must move because session `ordinal` moves to `moved`.

    `later` holds the booked sessions after it in order; `chosen` arrivals (aware) by ordinal that
    were picked instead of a proposal. Give a sweep in which what these sessions take counts as
    free. A session without any time comes with `slot` None, and nothing after it is looked at.
    """
    found: list[Proposal] = []
    before = moved
    for session in later:
        steps = session.ordinal - ordinal
        earliest, _, latest = window(gap, before.date, steps)
        if earliest <= session.arrive.astimezone(sweep.zone).date() <= latest:
            break
        picked = (chosen or {}).get(session.ordinal)
        proposal = propose(
            sweep,
            before,
            sessions=2,
            gap=partial(window, gap, steps=steps),
            drift_days=drift_days,
            practitioner_id=session.practitioner_id,
            pattern=_pattern(sweep, session),
            chosen={} if picked is None else {2: picked},
        )[1]
        found.append(replace(proposal, ordinal=session.ordinal))
        if proposal.slot is None:
            break
        before, ordinal = proposal.slot, session.ordinal
    return tuple(found)


def _pattern(sweep: Sweep, session: Standing) -> Pattern:
    local = session.arrive.astimezone(sweep.zone)
    return Pattern(local.isoweekday(), local.time(), session.practitioner_id)


def squeeze(sweep: Sweep, arrive: dt.datetime, *, practitioner_id: str | None = None) -> Slot | None:
    """Return a slot at `arrive` (aware) that takes a lane beyond its own where a resource has none free.

    As few kinds of resource as possible are overlapped. None where hours, grid, clock or clinical
    date exclude the time whoever is free.
    """
    for count in range(len(sweep.needs) + 1):
        for kinds in combinations(sweep.needs, count):
            slot = validate(_widened(sweep, kinds), arrive, practitioner_id=practitioner_id)
            if slot is not None:
                return slot
    return None


def _widened(sweep: Sweep, kinds: Sequence[Kind]) -> Sweep:
    return replace(
        sweep,
        resources=tuple(_one_more(each) if each.kind in kinds else each for each in sweep.resources),
    )


def _one_more(calendar: ResourceCalendar) -> ResourceCalendar:
    return replace(calendar, lanes=max(calendar.lanes, len(calendar.busy)) + 1, blocked=())
