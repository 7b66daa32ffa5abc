"""What a session takes from a resource.

A claim is the half-open time for which one lane of one resource belongs to one session, its
buffers included. A store of claims counts it in ticks: whole steps since the Unix epoch, the start
rounded down and the end up. Two claims of one lane that overlap share at least one tick, so a
store that refuses the same (resource, lane, tick) twice cannot hold an overlap.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple


class Claim(NamedTuple):
    """One lane of one resource from `start` to `end` (aware, UTC, half-open), buffers included."""

    resource_id: str
    lane: int
    start: dt.datetime
    end: dt.datetime


def ticks(start: int, end: int, tick: int) -> range:
    """Return the numbers of the ticks that [start, end) touches; all in seconds since the Unix epoch.

    Empty when `end` is not after `start`. Raises ValueError for a tick that is not positive.
    """
    if tick <= 0:
        raise ValueError(f"A tick of {tick} seconds cannot count time. Pass a positive one.")
    return range(start // tick, -(-end // tick)) if start < end else range(0)
