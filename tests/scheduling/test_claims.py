"""Ticks: what a store of claims counts."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.scheduling.claims import ticks
from tests.scheduling.conftest import ticks_of

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
    assert len(ticks_of(at(start), at(end), TICK)) == count


def test_ticks_count_from_the_epoch() -> None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

    assert ticks_of(epoch, epoch + dt.timedelta(minutes=15), TICK) == range(3)
    assert ticks_of(epoch - TICK, epoch, TICK) == range(-1, 0)
    nine = int(NINE.timestamp())
    assert ticks(nine, nine + 300, 300) == range(nine // 300, nine // 300 + 1)


def test_a_tick_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="Pass a positive one"):
        ticks(0, 300, 0)


moments = st.integers(0, 200)


@settings(deadline=None)
@given(moments, moments, moments, moments)
def test_overlapping_claims_share_a_tick(a: int, b: int, c: int, d: int) -> None:
    one, other = sorted((a, b)), sorted((c, d))
    overlap = max(one[0], other[0]) < min(one[1], other[1])

    shared = set(ticks_of(at(one[0]), at(one[1]), TICK)) & set(ticks_of(at(other[0]), at(other[1]), TICK))

    assert shared if overlap else one[1] > other[0] - 5 or not shared
