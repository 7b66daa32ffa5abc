"""When somebody's own calendar says that they are busy.

Repetition is unfolded by recurring-ical-events (the extra `busy`), entry by entry, so that what is
wrong with one can be told with its name. Doubt always counts as busy:

- Two entries with one UID and one SEQUENCE are both kept, although they should be one.
- Over a change of the clock an entry lasts for its wall time or its exact length, whichever is longer.
- An entry without a UID stands for itself.

Cancelled and transparent entries take no time, nor do those without a length.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event, vRecur

from intake_plugin.calendars.foreign import Contents, Entry, instant, read
from intake_plugin.errors import ImportRefused, Problem, SetupError

_MARGIN: Final = dt.timedelta(days=2)
"""Whole days and zones far away are unfolded a little beyond the range, and cut to it afterwards."""
_TOLD: Final = 20
_DAY: Final = dt.timedelta(days=1)
_MOST_COUNTED: Final = 20_000_000
"""Steps through the rules of one series, each about a microsecond: nothing can stop the engine on its way."""
_TIMES_OF_DAY: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a file is read: octets, entries, and busy times once repetition is unfolded."""

    octets: int
    entries: int
    instances: int


class BusyTime(NamedTuple):
    """A half-open stretch, both ends aware UTC, with the UID of its entry."""

    start: dt.datetime
    end: dt.datetime
    uid: str


def read_busy(
    octets: bytes,
    *,
    zone: ZoneInfo,
    start: dt.datetime,
    end: dt.datetime,
    limits: Limits,
    subject: str = "The calendar",
    step: Callable[[], None] = lambda: None,
) -> list[BusyTime]:
    """Return the busy times of a calendar file that overlap [start, end), cut to it and sorted.

    `zone` is the clinic's. `step` is called before each entry is read and before each series is
    unfolded; raise from it to give up. Raises ImportRefused with every problem of the file, and
    SetupError where the extra `busy` is not installed.
    """
    unfold = engine()
    if len(octets) > limits.octets:
        raise ImportRefused(subject, [Problem("", too_long(limits.octets))])
    contents = read(octets, zone, since=start.date(), entries=limits.entries, step=step)
    problems = list(contents.problems)
    periods = (BusyTime(instant(first, zone), instant(last, zone), "") for first, last in contents.periods)
    found = list(_cut(periods, start, end))
    for group in _series(contents):
        step()
        try:
            found += _within(group, zone, start, end, limits, unfold)
        except _Unfoldable as error:
            problems.append(Problem(group[0].name, str(error)))
        if len(found) > limits.instances:
            break
    if len(found) > limits.instances:
        problems.append(Problem("", _too_many(limits)))
    if problems:
        raise ImportRefused(subject, _few(problems))
    return sorted(found)


def too_long(octets: int) -> str:
    """Say that a file has more octets than the clinic takes."""
    return f"It has more than {octets} octets. Publish fewer past entries, or raise `octets` in the profile."


def _too_many(limits: Limits) -> str:
    return (
        f"Its entries stand for more than {limits.instances} busy times. Publish less of it, or raise "
        "`instances` in the profile."
    )


def _few(problems: Sequence[Problem]) -> list[Problem]:
    rest = len(problems) - _TOLD
    return [*problems[:_TOLD], *([Problem("", f"... and {rest} more like these.")] if rest > 0 else [])]


class _Unfoldable(ValueError):
    """A series that cannot be unfolded."""


def engine() -> Callable[[Calendar], Any]:
    """Return what unfolds repetition; raises SetupError where the extra `busy` is not installed."""
    try:
        return import_module("recurring_ical_events").of  # type: ignore[no-any-return]  # it has no types
    except ImportError:
        raise SetupError(
            "Busy times from other calendars need the package recurring-ical-events. Install "
            "'intake_plugin[busy]'."
        ) from None


def _series(contents: Contents) -> Iterator[list[Entry]]:
    """Yield what belongs together: one entry that may repeat, and what replaces instances of it."""
    by_uid: dict[object, list[Entry]] = defaultdict(list)
    for index, entry in enumerate(contents.entries):
        by_uid[entry.uid or index].append(entry)
    for entries in by_uid.values():
        own = [entry for entry in entries if entry.recurrence_id is None]
        replacing = [entry for entry in entries if entry.recurrence_id is not None]
        newest = max((entry.sequence for entry in own), default=0)
        current = [entry for entry in own if entry.sequence == newest]
        yield [*current[:1], *replacing]
        yield from ([entry] for entry in current[1:])


def _within(
    group: list[Entry],
    zone: ZoneInfo,
    start: dt.datetime,
    end: dt.datetime,
    limits: Limits,
    unfold: Callable[[Calendar], Any],
) -> Iterator[BusyTime]:
    first = group[0]
    if len(group) == 1 and not first.rules and not first.extra and first.recurrence_id is None:
        if first.takes_time:
            yield from _cut([_busy(first.start, first.end, first.uid, zone)], start, end)
        return
    days = (end - start) // _DAY + 1
    rules = [(rule, entry) for entry in group for rule in entry.rules]
    if any(_times_a_day(rule) * days > limits.instances for rule, _ in rules):
        raise _Unfoldable(_too_many(limits))
    if sum(_counted(rule, instant(entry.start, zone), end) for rule, entry in rules) > _MOST_COUNTED:
        raise _Unfoldable(
            "Its repetition began so long ago, or comes so often, that it would take minutes to count. "
            "Let it begin later."
        )
    calendar = Calendar()
    for entry in group:
        calendar.add_component(_event(entry))
    try:
        found = unfold(calendar).between(start - _MARGIN, end + _MARGIN)
        times = [
            _busy(event["DTSTART"].dt, event["DTEND"].dt, first.uid, zone)
            for event in found
            if "TRANSP" not in event
        ]
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        # What the engine raises on a contradiction is not one kind of error.
        raise _Unfoldable(f"Its repetition cannot be followed: {error}.") from None
    yield from _cut(times, start, end)


def _times_a_day(rule: vRecur) -> int:
    return prod(len(rule.get(part, (0,))) for part in _TIMES_OF_DAY)


def _counted(rule: vRecur, start: dt.datetime, end: dt.datetime) -> int:
    """Return how many steps the engine takes through a rule, at the most.

    It counts from the beginning, and a rule that never comes true to the last day there is.
    """
    until = rule.get("UNTIL", [dt.date.max])[0]
    last = until.date() if isinstance(until, dt.datetime) else until
    days = max((last - start.date()).days, 0) + max((end - start) // _DAY, 0) * _times_a_day(rule)
    interval: int = rule.get("INTERVAL", [1])[0]
    return 1 + days // interval


def _event(entry: Entry) -> Event:
    event = Event()
    event.add("UID", entry.uid or "none")
    event.add("SEQUENCE", entry.sequence)
    event.add("DTSTART", entry.start)
    event.add("DTEND", entry.end)
    for rule in entry.rules:
        event.add("RRULE", rule)
    for each in entry.extra:
        event.add("RDATE", [each])
    if entry.excluded:
        event.add("EXDATE", list(entry.excluded))
    if entry.recurrence_id is not None:
        future = {"RANGE": "THISANDFUTURE"} if entry.this_and_future else {}
        event.add("RECURRENCE-ID", entry.recurrence_id, parameters=future)
    if not entry.takes_time:
        event.add("TRANSP", "TRANSPARENT")
    return event


def _busy(start: dt.date, end: dt.date, uid: str, zone: ZoneInfo) -> BusyTime:
    begins, ends = instant(start, zone), instant(end, zone)
    if isinstance(start, dt.datetime) and isinstance(end, dt.datetime) and start.tzinfo is end.tzinfo:
        with contextlib.suppress(OverflowError):
            ends = max(ends, begins + (end - start))
    return BusyTime(begins, ends, uid)


def _cut(times: Iterable[BusyTime], start: dt.datetime, end: dt.datetime) -> Iterator[BusyTime]:
    for time in times:
        begins, ends = max(time.start, start), min(time.end, end)
        if begins < ends:
            yield BusyTime(begins, ends, time.uid)
