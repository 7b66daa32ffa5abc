"""The wall clock of a zone in whole seconds.

Everything inside the sweep is an integer: seconds since the Unix epoch for an instant, the same
count read off the local clock for a wall time. A zone is cut into stretches of constant offset, so
that both directions are one addition. Two things follow that no other code has to know:

- A wall time that the clock skips lies in no stretch, so nothing can be placed on it.
- A wall time that the clock shows twice belongs to two stretches. All instants of such an hour,
  first and second, are `ambiguous`: a patient who reads the time cannot tell which is meant.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
DAY = 86_400
SECOND = dt.timedelta(seconds=1)


class Interval(NamedTuple):
    """A half-open interval of instants, both ends in seconds since the Unix epoch."""

    start: int
    end: int

    @classmethod
    def between(cls, start: dt.datetime, end: dt.datetime) -> Interval:
        """Return the interval from one aware datetime to another, widened to whole seconds.

        Raises ValueError for a datetime without a zone.
        """
        return cls(seconds(start), seconds(end, up=True))

    @property
    def starts(self) -> dt.datetime:
        """The first instant, aware, UTC."""
        return instant(self.start)

    @property
    def ends(self) -> dt.datetime:
        """The first instant after the interval, aware, UTC."""
        return instant(self.end)


class Stretch(NamedTuple):
    """Instants [start, end) during which the local clock is `offset` seconds ahead of UTC."""

    start: int
    end: int
    offset: int


def seconds(moment: dt.datetime, *, up: bool = False) -> int:
    """Return whole seconds since the Unix epoch, rounded down, or up if `up`.

    Raises ValueError for a datetime without a zone.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone. Pass an aware datetime, for example in UTC.")
    return -((EPOCH - moment) // SECOND) if up else (moment - EPOCH) // SECOND


def instant(moment: int) -> dt.datetime:
    """Return the aware UTC datetime of a second since the Unix epoch."""
    return EPOCH + dt.timedelta(seconds=moment)


def midnight(date: dt.date) -> int:
    """Return 00:00 of a date as read off the local clock, in seconds."""
    return (date.toordinal() - EPOCH_ORDINAL) * DAY


_BLOCK = 64 * DAY
"""A zone is looked at in blocks of so many seconds, each once in a process."""
_FIRST, _LAST = midnight(dt.date.min) + 2 * DAY, midnight(dt.date.max) - 2 * DAY
"""Instants whose local date exists in every zone."""


def stretches(zone: ZoneInfo, start: int, end: int) -> list[Stretch]:
    """Cut [start, end) where the zone changes its clock."""
    found: list[Stretch] = []
    for block in range(start // _BLOCK, -(-end // _BLOCK)):
        for stretch in _block(zone, block):
            begin, finish = max(stretch.start, start), min(stretch.end, end)
            if begin >= finish:
                continue
            if found and found[-1].offset == stretch.offset:
                begin = found.pop().start
            found.append(Stretch(begin, finish, stretch.offset))
    return found


@lru_cache(maxsize=1024)
def _block(zone: ZoneInfo, number: int) -> tuple[Stretch, ...]:
    """Return the stretches of one block of days, which are the same for everybody who asks.

    Looks once a day, since no zone of the tz database changes its clock twice within one.
    """
    found: list[Stretch] = []
    start, end = max(number * _BLOCK, _FIRST), min((number + 1) * _BLOCK, _LAST)
    if start >= end:
        return ()
    begin, offset = start, _offset(zone, start)
    for day in range(start, end, DAY):
        following = min(day + DAY, end)
        new = _offset(zone, following)
        if new != offset:
            change = _change(zone, day, following)
            found.append(Stretch(begin, change, offset))
            begin, offset = change, new
    if begin < end:
        found.append(Stretch(begin, end, offset))
    return tuple(found)


def around(zone: ZoneInfo, first: dt.date, last: dt.date, *, margin: int = 0) -> list[Stretch]:
    """Return the stretches that hold every instant of the local dates `first` to `last`.

    A day more on either side covers every offset; `margin` seconds are added after it.
    """
    return stretches(zone, midnight(first) - DAY, midnight(last) + 2 * DAY + margin)


def clip(walls: Iterable[tuple[int, int]], stretch: Stretch) -> Iterator[Interval]:
    """Yield the instants of a stretch at which the local clock reads inside one of some [start, end)."""
    first, last, offset = stretch
    for wall_start, wall_end in walls:
        start, end = wall_start - offset, wall_end - offset
        if start < last and end > first:
            yield Interval(max(start, first), min(end, last))


def ambiguous(clock: Sequence[Stretch]) -> list[Interval]:
    """Return the instants whose wall time the clock shows twice."""
    return [
        Interval(later.start - back, later.start + back)
        for earlier, later in pairwise(clock)
        if (back := earlier.offset - later.offset) > 0
    ]


def _offset(zone: ZoneInfo, moment: int) -> int:
    utc = instant(moment)
    return (utc.astimezone(zone).replace(tzinfo=dt.UTC) - utc) // SECOND


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """Find the first second in (before, after] with another offset than `before`."""
    offset = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after
