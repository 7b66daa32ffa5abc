"""The further sessions of a course, proposed one after another, and the check before they are booked.

The rules:

- The first session, chosen by the patient, sets the pattern: weekday, time of day on the local
  clock, and the practitioner if one was asked for.
- Each further session lies inside the window its predecessor opens: never before the course's
  least gap, never after its greatest. The window is worked out from the session really proposed
  or chosen, so that moving one moves the windows of those after it.
- Inside the window the whole pattern is kept if a date within the clinic's drift from the usual
  date allows it, nearest date first. Otherwise the nearest time counts: within the drift before
  outside it, the practitioner asked for before others, then nearest date, same weekday, nearest
  minute, earlier before later.
- Every session carries alternatives, on different dates where the window has them. One without
  any time stays empty and says so; its successors count from its usual date.
- Times come from `slots.offers` and from nowhere else. Give a sweep whose openings, claims and
  `latest` reach as far as the course can: the horizon binds the first session only.
- The loops end: as many sessions as asked, each window as long as the course says.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, islice
from typing import Literal, NamedTuple

from intake_plugin.scheduling.clocks import instant, seconds
from intake_plugin.scheduling.slots import Board, Slot, Sweep, board, validate

Gap = Callable[[dt.date], tuple[dt.date, dt.date, dt.date]]
"""From one session's local date to the earliest, usual and latest date of the next."""

ProblemKind = Literal["short", "long", "taken", "not-offered"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a patient asks the whole series to keep: ISO weekday, local time, practitioner."""

    weekday: int
    time: dt.time
    practitioner_id: str | None = None

    @classmethod
    def of(cls, slot: Slot, practitioner_id: str | None = None) -> Pattern:
        """Return the pattern a first session sets; the practitioner counts only if asked for."""
        local = slot.local_arrive
        return cls(local.isoweekday(), local.time(), practitioner_id)

    def kept_by(self, slot: Slot) -> bool:
        """Whether a slot has this weekday, time and, if one was asked for, practitioner."""
        return Pattern.of(slot, self.practitioner_id and slot.practitioner_id) == self


@dataclass(frozen=True, slots=True)
class Proposal:
    """One session of a proposed series; `ordinal` counts from 1.

    `earliest`, `usual` and `latest` are the local dates its predecessor allows. `conflict` is true
    where the pattern could not be kept, or, for a time the patient chose, where it cannot be had.
    """

    ordinal: int
    slot: Slot | None
    alternatives: tuple[Slot, ...]
    earliest: dt.date
    usual: dt.date
    latest: dt.date
    conflict: bool


@dataclass(frozen=True, slots=True)
class SeriesProblem:
    """Why a session cannot be booked as chosen; `earliest` and `latest` are the dates it may have.

    `short` and `long`: the gap from the session before. `taken`: somebody else has the time.
    `not-offered`: hours, grid, notice or a clinical date exclude the time whoever is free.
    """

    ordinal: int
    kind: ProblemKind
    earliest: dt.date | None = None
    latest: dt.date | None = None


def window(gap: Gap, date: dt.date, steps: int = 1) -> tuple[dt.date, dt.date, dt.date]:
    """Return the earliest, usual and latest date of the session `steps` after one on `date`.

    Over sessions that were left out in between, the least gap counts once and the greatest once for
    each step.
    """
    earliest = max(gap(date)[0], date + dt.timedelta(days=1))
    usual = latest = date
    for _ in range(steps):
        usual, latest = gap(usual)[1], gap(latest)[2]
    return earliest, max(earliest, min(usual, latest)), latest


def propose(
    sweep: Sweep,
    first: Slot | dt.datetime,
    *,
    sessions: int,
    gap: Gap,
    drift_days: int,
    practitioner_id: str | None = None,
    pattern: Pattern | None = None,
    chosen: Mapping[int, dt.datetime] | None = None,
    alternatives: int = 3,
) -> tuple[Proposal, ...]:
    """Return the whole series, the first session included.

    `first` given as an arrival (aware) is a time that cannot be had any more: it still sets the
    pattern, and carries alternatives of its own date. `pattern` is what the further sessions keep
    instead of the first one's weekday and time. `practitioner_id` is the practitioner the patient
    asked for. `chosen` holds arrivals (aware) by ordinal that the patient picked instead of a
    proposal; they are kept, and what follows counts from them. `alternatives` is how many other
    times to name for each session; none spares the search where `chosen` has the time.
    """
    lead = first if isinstance(first, Slot) else Slot(first, sweep.span, sweep.zone, None, None)
    pattern = pattern or Pattern.of(lead, practitioner_id)
    series = [_leading(sweep, pattern, lead, alternatives, lost=lead is not first)]
    for ordinal in range(2, sessions + 1):
        before = series[-1]
        earliest, usual, latest = window(gap, before.slot.date if before.slot else before.usual)
        search = _Search(sweep, pattern, earliest, usual, latest, drift_days)
        picked = (chosen or {}).get(ordinal)
        ranked = search.ranked(alternatives + 1) if picked is None or alternatives else []
        if picked is None:
            slot = ranked[0].slot if ranked else None
            conflict = slot is None or ranked[0].inexact
        else:
            slot = _picked(ranked, picked) or _validated(sweep, picked, practitioner_id)
            conflict = slot is None
        own = None if slot is None else seconds(slot.arrive)
        others = _spread([other for other in ranked if other.arrival != own], alternatives)
        series.append(Proposal(ordinal, slot, others, earliest, usual, latest, conflict))
    return tuple(series)


def _leading(sweep: Sweep, pattern: Pattern, first: Slot, alternatives: int, *, lost: bool) -> Proposal:
    date = first.date
    if not lost:
        return Proposal(1, first, (), date, date, date, conflict=False)
    others = _Search(sweep, pattern, date, date, date, 0).ranked(alternatives) if alternatives else []
    named = tuple(other.slot for other in others[:alternatives])
    return Proposal(1, None, named, date, date, date, conflict=True)


def check(
    sweep: Sweep, slots: Sequence[Slot | dt.datetime | None], gap: Gap, *, swept: bool = False
) -> tuple[SeriesProblem, ...]:
    """Return everything that keeps these sessions from being booked together, in order of sessions.

    A session given as a slot must be free with its practitioner; one given as an arrival (aware)
    with any; None is a session for which there is no time, and the gaps to its neighbours are not
    known. `swept` says that the slots come from this very sweep, which is then not asked for them
    again. Empty when the series can be booked as it stands.
    """
    problems: list[SeriesProblem] = []
    found = [
        session if session is None or (swept and isinstance(session, Slot)) else _offered(sweep, session)
        for session in slots
    ]
    own = _overlapping(found)
    before: dt.date | None = None
    for index, session in enumerate(slots):
        ordinal = index + 1
        if session is None:
            problems.append(SeriesProblem(ordinal, "taken"))
            before = None
            continue
        date = _arrival(session).astimezone(sweep.zone).date()
        if before is not None:
            earliest, _, latest = window(gap, before)
            if date < earliest:
                problems.append(SeriesProblem(ordinal, "short", earliest, latest))
            elif date > latest:
                problems.append(SeriesProblem(ordinal, "long", earliest, latest))
        before = date
        if found[index] is None:
            empty = _offered(_without_claims(sweep), session)
            problems.append(SeriesProblem(ordinal, "taken" if empty else "not-offered"))
        elif index in own:
            problems.append(SeriesProblem(ordinal, "taken"))
    return tuple(problems)


class _Time(NamedTuple):
    """A time that can be had; the nearer it comes to what is wanted, the earlier it sorts."""

    inexact: bool
    """The pattern is not kept whole, or not within the drift."""
    far: bool
    other: bool
    """The practitioner asked for is not free."""
    days: int
    weekday: bool
    off: int
    """How many seconds the hour is off."""
    arrival: int
    date: dt.date
    place: int
    board: Board

    @property
    def slot(self) -> Slot:
        return self.board.slot(self.place)


@dataclass(frozen=True, slots=True)
class _Search:
    """The window of one session and how near a time in it comes to what is wanted."""

    sweep: Sweep
    pattern: Pattern
    earliest: dt.date
    usual: dt.date
    latest: dt.date
    drift_days: int

    def ranked(self, enough: int) -> list[_Time]:
        """Return times nearest first; those of the drift alone if they are enough, else of the whole window.

        Of one date no more than `enough` are among them: those after them cannot matter.
        """
        drift = dt.timedelta(days=self.drift_days)
        first, last = max(self.usual - drift, self.earliest), min(self.usual + drift, self.latest)
        near = self._times(first, last, enough)
        return sorted(near if len(near) >= enough else self._times(self.earliest, self.latest, enough))

    def _times(self, first: dt.date, last: dt.date, enough: int) -> Collection[_Time]:
        asked = self.pattern.practitioner_id
        anybody = self._on(board(self.sweep, first=first, last=last), enough, other=asked is not None)
        found = {time.arrival: time for time in anybody}
        if asked is not None:
            own = board(self.sweep, first=first, last=last, practitioner_id=asked)
            found |= {time.arrival: time for time in self._on(own, enough, other=False)}
        return found.values()

    def _on(self, times: Board, enough: int, *, other: bool) -> Iterator[_Time]:
        wanted = _seconds(self.pattern.time)
        for day in times.days:
            days = abs((day.date - self.usual).days)
            far, weekday = days > self.drift_days, day.date.isoweekday() != self.pattern.weekday
            nearest = sorted([(abs(second - wanted), place) for place, second in times.walls(day)])
            for off, place in nearest[:enough]:
                inexact, arrival = far or other or weekday or off > 0, times.arrivals[place]
                yield _Time(inexact, far, other, days, weekday, off, arrival, day.date, place, times)


def _spread(ranked: Sequence[_Time], count: int) -> tuple[Slot, ...]:
    """Take the nearest time of each date first, then the nearest of what is left."""
    by_date: dict[dt.date, _Time] = {}
    for time in ranked:
        by_date.setdefault(time.date, time)
    leading = list(by_date.values())[:count]
    taken = {time.arrival for time in leading}
    rest = (time for time in ranked if time.arrival not in taken)
    return tuple(time.slot for time in islice(chain(leading, rest), count))


def _picked(ranked: Sequence[_Time], arrive: dt.datetime) -> Slot | None:
    """Return the slot of a time that was looked through already, which spares a sweep of its date."""
    moment = seconds(arrive)
    found = next((time for time in ranked if time.arrival == moment), None)
    return found.slot if found is not None and instant(moment) == arrive else None


def _validated(sweep: Sweep, arrive: dt.datetime, practitioner_id: str | None) -> Slot | None:
    asked = validate(sweep, arrive, practitioner_id=practitioner_id) if practitioner_id else None
    return asked or validate(sweep, arrive)


def _offered(sweep: Sweep, session: Slot | dt.datetime) -> Slot | None:
    practitioner_id = session.practitioner_id if isinstance(session, Slot) else None
    return validate(sweep, _arrival(session), practitioner_id=practitioner_id)


def _arrival(session: Slot | dt.datetime) -> dt.datetime:
    return session.arrive if isinstance(session, Slot) else session


def _overlapping(slots: Sequence[Slot | None]) -> set[int]:
    """Return the index of every slot that claims what an earlier one of the same series claims."""
    claims = [(index, claim) for index, slot in enumerate(slots) if slot for claim in slot.claims]
    return {
        max(left, right)
        for (left, one), (right, other) in combinations(claims, 2)
        if one[:2] == other[:2] and one.start < other.end and other.start < one.end
    }


def _without_claims(sweep: Sweep) -> Sweep:
    return replace(sweep, resources=tuple(replace(each, busy=(), blocked=()) for each in sweep.resources))


def _seconds(time: dt.time) -> int:
    return (time.hour * 60 + time.minute) * 60 + time.second
