"""Opening hours as instants.

The rules:

- Intervals are half-open: a place open from 9 to 12 is open at 9 and closed at 12.
- The clock on the wall decides. An instant is open when the local clock reads inside the hours of
  its local date. An opening that starts or ends in the hour skipped in spring is therefore clipped,
  and one that contains the hour shown twice in autumn is an hour longer.
- Weekdays are ISO: Monday is 1. An opening that ends at 00:00 ends with its day; one past midnight
  is written as two.
- A closed date has no opening at all. Openings that touch become one, across midnight too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from intake_plugin.scheduling.clocks import DAY, Interval, around, clip, midnight

Weekly = Mapping[int, tuple[tuple[dt.time, dt.time], ...]]
"""ISO weekday (Monday is 1) -> opening intervals in local time."""


class DateRange(Protocol):
    """Anything with a first and a last date, both included."""

    @property
    def first(self) -> dt.date:
        """The first date."""

    @property
    def last(self) -> dt.date:
        """The last date."""


class Dates(NamedTuple):
    """The plainest `DateRange`."""

    first: dt.date
    last: dt.date


def open_intervals(
    weekly: Weekly,
    zone: ZoneInfo,
    first: dt.date,
    last: dt.date,
    closed: Collection[dt.date] | Collection[DateRange] = (),
) -> list[Interval]:
    """Return the openings of the local dates `first` to `last`, both included, sorted and merged.

    Raises ValueError for an opening that ends before it starts.
    """
    if last < first:
        return []
    week = {weekday: [_wall(*opening) for opening in openings] for weekday, openings in weekly.items()}
    shut = _closed_dates(closed, first, last)
    dates = map(dt.date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    walls = [
        (start + opens, start + closes)
        for date in dates
        if date not in shut
        for start in (midnight(date),)
        for opens, closes in week.get(date.isoweekday(), ())
    ]
    return merge(sorted(chain.from_iterable(clip(walls, stretch) for stretch in around(zone, first, last))))


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Join sorted intervals that touch or overlap, and drop empty ones."""
    merged: list[Interval] = []
    last = None
    for interval in intervals:
        if interval.end <= interval.start:
            continue
        if last is not None and interval.start <= last.end:
            last = merged[-1] = Interval(last.start, max(last.end, interval.end))
        else:
            merged.append(last := interval)
    return merged


def _wall(opens: dt.time, closes: dt.time) -> tuple[int, int]:
    start, end = _since_midnight(opens), _since_midnight(closes) or DAY
    if end <= start:
        raise ValueError(
            f"The opening {opens:%H:%M} to {closes:%H:%M} ends before it starts. "
            "Write an opening past midnight as two, the first ending at 00:00."
        )
    return start, end


def _since_midnight(time: dt.time) -> int:
    return time.hour * 3600 + time.minute * 60 + time.second


def _closed_dates(
    closed: Collection[dt.date] | Collection[DateRange], first: dt.date, last: dt.date
) -> set[dt.date]:
    dates: set[dt.date] = set()
    for entry in closed:
        span = Dates(entry, entry) if isinstance(entry, dt.date) else entry
        start, end = max(span.first, first).toordinal(), min(span.last, last).toordinal()
        dates.update(map(dt.date.fromordinal, range(start, end + 1)))
    return dates
