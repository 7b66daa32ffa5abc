"""The pure sweep: every time that 20 practitioners and 20 rooms can offer in a month.

No database is asked; the busy times are laid in memory as the queries would return them.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

from intake_plugin.scheduling.clocks import DAY, Interval, seconds
from intake_plugin.scheduling.hours import open_intervals
from intake_plugin.scheduling.slots import Kind, ResourceCalendar, Span, Sweep, offers

ZONE = ZoneInfo("Europe/London")
FIRST = dt.date(2026, 3, 9)
DAYS = 31
BUDGET = 0.025
"""What a month of offers may take, seconds."""
WEEK = {day: ((dt.time(9), dt.time(13)), (dt.time(13, 30), dt.time(18))) for day in range(1, 8)}
SPAN = Span(
    arrive=dt.timedelta(minutes=60),
    room=dt.timedelta(minutes=30),
    treatment=dt.timedelta(minutes=30),
    after=dt.timedelta(minutes=10),
)


def month(practitioners: int = 20, days: int = DAYS, sessions_a_day: int = 5) -> Sweep:
    """Return a clinic's sweep with `sessions_a_day` claims for every resource on every day."""
    last = FIRST + dt.timedelta(days=days - 1)
    opening = tuple(open_intervals(WEEK, ZONE, FIRST, last))
    dice = random.Random(7)  # noqa: S311 - the same busy month in every run, not a secret
    kinds: tuple[Kind, ...] = ("practitioner", "room")
    return Sweep(
        zone=ZONE,
        grid=dt.timedelta(minutes=15),
        span=SPAN,
        opening=opening,
        resources=tuple(
            ResourceCalendar(
                id=f"{kind}-{number}",
                kind=kind,
                open=opening,
                busy=(_claims(dice, days, sessions_a_day),),
                after=dt.timedelta(minutes=10),
            )
            for kind in kinds
            for number in range(practitioners)
        ),
        earliest=dt.datetime.combine(FIRST, dt.time(), ZONE),
        latest=dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), ZONE),
        tick=dt.timedelta(minutes=5),
    )


def sweep_seconds(practitioners: int = 20, days: int = DAYS, *, rounds: int = 15) -> float:
    """Return the best time of one sweep over the whole range, seconds."""
    sweep = month(practitioners, days)
    last = FIRST + dt.timedelta(days=days - 1)
    return _best(lambda: offers(sweep, first=FIRST, last=last), rounds)


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, ratio, the most it may be): one month against its budget, and how the sweep grows."""
    base = sweep_seconds()
    return [
        ("offers of 20 practitioners for a month, over 25 ms", base / BUDGET, 1),
        ("offers, 62 days over 31 days", sweep_seconds(days=2 * DAYS) / base, 2.5),
        ("offers, 20 practitioners over 2", base / sweep_seconds(practitioners=2), 12),
    ]


def main() -> None:
    """Print the time of the sweep and its growth."""
    sweep = month()
    last = FIRST + dt.timedelta(days=DAYS - 1)
    found = len(offers(sweep, first=FIRST, last=last))
    claims = sum(len(lane) for calendar in sweep.resources for lane in calendar.busy)
    print(f"20 practitioners, 20 rooms, {DAYS} days, {claims} claims: {found} times")
    print(f"one sweep: {sweep_seconds() * 1e3:.1f} ms")
    for name, ratio, _limit in ratios():
        print(f"{name}: {ratio:.2f}")


def _claims(dice: random.Random, days: int, sessions: int) -> tuple[Interval, ...]:
    start = seconds(dt.datetime.combine(FIRST, dt.time(), ZONE))
    hours = range(9 * 3600, 17 * 3600, 300)
    return tuple(
        Interval(begin, begin + 2400)
        for day in range(days)
        for begin in (start + day * DAY + offset for offset in sorted(dice.sample(hours, sessions)))
    )


def _best(work: Callable[[], object], rounds: int) -> float:
    times: list[float] = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


if __name__ == "__main__":
    main()
