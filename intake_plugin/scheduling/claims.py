"""What a session takes from a resource.

A claim is the half-open time for which one lane of one resource belongs to one session, its
buffers included. A store of claims counts it in ticks: whole steps since the Unix epoch, the start
rounded down and the end up. Two claims of one lane that overlap share at least one tick, so a
store that refuses the same (resource, lane, tick) twice cannot hold an overlap.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from intake_plugin.scheduling.clocks import EPOCH


class Claim(NamedTuple):
    """One lane of one resource from `start` to `end` (aware, UTC, half-open), buffers included."""

    resource_id: str
    lane: int
    start: dt.datetime
    end: dt.datetime

    def ticks(self, tick: dt.timedelta) -> range:
        """Return the numbers of the ticks the claim touches."""
        return ticks(self.start, self.end, tick)


def ticks(start: dt.datetime, end: dt.datetime, tick: dt.timedelta) -> range:
    """Return the numbers, counted in `tick` since the Unix epoch, of the ticks that [start, end) touches.

    Empty when `end` is not after `start`. Raises ValueError for a tick that is not positive.
    """
    if tick <= dt.timedelta():
        raise ValueError(f"A tick of {tick} cannot count time. Pass a positive duration.")
    if end <= start:
        return range(0)
    return range((start - EPOCH) // tick, -((EPOCH - end) // tick))
