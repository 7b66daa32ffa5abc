"""Ticks: what a store of claims counts."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.claims import Claim, ticks

TICK = dt.timedelta(minutes=5)
NINE = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)


def at(minutes: float) -> dt.datetime:
    return NINE + dt.timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        (0, 60, 12),
        (0, 61, 13),
        (-1, 60, 13),
        (1, 2, 1),
        (4, 6, 2),
        (5, 10, 1),
        (0, 0, 0),
        (10, 5, 0),
        (0, 0.01, 1),
    ],
)
def test_the_start_is_rounded_down_and_the_end_up(start: float, end: float, count: int) -> None:
    assert len(ticks(at(start), at(end), TICK)) == count


def test_ticks_count_from_the_epoch() -> None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    assert ticks(epoch, epoch + dt.timedelta(minutes=15), TICK) == range(3)
    assert ticks(epoch - TICK, epoch, TICK) == range(-1, 0)
    assert Claim("ana", 0, at(0), at(5)).ticks(TICK) == range(NINE_TICK, NINE_TICK + 1)


NINE_TICK = int(NINE.timestamp()) // 300


def test_a_tick_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="Pass a positive duration"):
        ticks(at(0), at(5), dt.timedelta())


moments = st.integers(0, 200)


@settings(deadline=None)
@given(moments, moments, moments, moments)
def test_overlapping_claims_share_a_tick(a: int, b: int, c: int, d: int) -> None:
    one, other = sorted((a, b)), sorted((c, d))
    overlap = max(one[0], other[0]) < min(one[1], other[1])

    shared = set(ticks(at(one[0]), at(one[1]), TICK)) & set(ticks(at(other[0]), at(other[1]), TICK))

    assert shared if overlap else one[1] > other[0] - 5 or not shared
