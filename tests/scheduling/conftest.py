"""A clinic small enough to check by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.scheduling.claims import ticks
from intake_plugin.scheduling.clocks import SECOND, seconds
from intake_plugin.scheduling.hours import Weekly, open_intervals
from intake_plugin.scheduling.slots import ResourceCalendar, Slot, Span, Sweep

LONDON = ZoneInfo("Europe/London")
WEEK: Weekly = dict.fromkeys(range(1, 7), ((dt.time(9), dt.time(13)), (dt.time(14), dt.time(18))))
SPAN = Span(
    arrive=dt.timedelta(minutes=60),
    room=dt.timedelta(minutes=30),
    treatment=dt.timedelta(minutes=30),
    after=dt.timedelta(minutes=10),
)


def ticks_of(start: dt.datetime, end: dt.datetime, tick: dt.timedelta) -> range:
    """Return the ticks that [start, end) touches, as a store of claims counts them."""
    return ticks(seconds(start), seconds(end, up=True), tick // SECOND)


def seats(slot: Slot) -> tuple[str | None, int | None, str | None, int | None]:
    """Return the practitioner and their lane, the room and its lane."""
    practitioner, room = slot.practitioner, slot.room
    return (
        slot.practitioner_id,
        practitioner.lane if practitioner else None,
        slot.room_id,
        room.lane if room else None,
    )


MakeSweep = Callable[..., Sweep]


@pytest.fixture(scope="session")
def make_sweep() -> MakeSweep:
    """Return a maker of a clinic's sweep: Monday to Saturday, 9 to 13 and 14 to 18, one of each kind."""

    def make(
        first: dt.date,
        last: dt.date,
        *,
        weekly: Weekly = WEEK,
        zone: ZoneInfo = LONDON,
        closed: tuple[dt.date, ...] = (),
        resources: Mapping[str, Mapping[str, Any]] | None = None,
        **changes: Any,
    ) -> Sweep:
        opening = tuple(open_intervals(weekly, zone, first, last, closed))
        wanted = resources or {"ana": {}, "room-1": {}}
        calendars = tuple(
            replace(
                ResourceCalendar(
                    id=name, kind="room" if name.startswith("room") else "practitioner", open=opening
                ),
                **fields,
            )
            for name, fields in wanted.items()
        )
        sweep = Sweep(
            zone=zone,
            grid=dt.timedelta(minutes=30),
            span=SPAN,
            opening=opening,
            resources=calendars,
            earliest=dt.datetime.combine(first, dt.time(), zone),
            latest=dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), zone),
            tick=dt.timedelta(minutes=5),
        )
        return replace(sweep, **changes)

    return make
