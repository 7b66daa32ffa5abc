"""How often the database is asked: the same however far the offers reach and however many there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask

from intake_plugin.journeys import booking
from intake_plugin.state import KEY, State
from intake_plugin.testing import approve, clinic
from tests.journeys.conftest import NOW, Desk

RANGES = ("intake_occupancy", "intake_busy", "intake_block")
"""Tables that a sweep reads a range of."""
RANGE_QUERIES = 5
"""The most that offers may need."""
BOOKING = 13
"""The most statements that booking a series may need, whatever its length."""


@contextmanager
def counting(app: Flask) -> Iterator[list[str]]:
    statements: list[str] = []
    state: State = app.extensions[KEY]

    def seen(connection: object, cursor: object, statement: str, *more: object) -> None:
        if not statement.startswith(("PRAGMA", "SET ")):
            statements.append(statement)

    sa.event.listen(state.db.engine, "before_cursor_execute", seen)
    try:
        yield statements
    finally:
        sa.event.remove(state.db.engine, "before_cursor_execute", seen)


def ranges(statements: list[str]) -> int:
    return sum(any(table in statement for table in RANGES) for statement in statements)


@pytest.fixture
def desk_of(make_desk: Callable[..., Desk]) -> Callable[[int], Desk]:
    """Make desks of clinics with so many practitioners and rooms."""

    def make(people: int) -> Desk:
        resources = [
            {"id": f"{kind}-{number}", "kind": kind, "name": kind}
            for kind in ("practitioner", "room")
            for number in range(people)
        ]
        return make_desk(clinic=approve(clinic(resources=resources)))

    return make


@pytest.mark.parametrize("people", [1, 20])
def test_offers_take_the_same_few_queries_for_a_week_a_month_and_the_whole_horizon(
    app: Flask, desk_of: Callable[[int], Desk], people: int
) -> None:
    desk = desk_of(people)
    desk.booked()
    case = desk.signed()
    week = NOW.date() + dt.timedelta(days=7)
    offered = (
        lambda: booking.times(desk.office, case, first=week),
        lambda: booking.times(desk.office, case),
        lambda: booking.month(desk.office, case, date=week),
    )
    counted = set()
    for offer in offered:
        with counting(app) as statements:
            assert offer()
        assert 1 <= ranges(statements) <= RANGE_QUERIES, statements
        counted.add(ranges(statements))
    assert len(counted) == 1


def test_a_proposed_series_takes_no_more_range_queries_than_a_week(app: Flask, desk: Desk) -> None:
    case, _ = desk.planned()
    with counting(app) as statements:
        booking.proposal(desk.office, case)
    assert 1 <= ranges(statements) <= RANGE_QUERIES, statements


@pytest.mark.parametrize("people", [1, 20])
def test_booking_takes_as_many_statements_for_four_sessions_as_for_three(
    app: Flask, desk_of: Callable[[int], Desk], people: int
) -> None:
    desk = desk_of(people)
    counted = set()
    lengths = set()
    for concern in ("fine_lines", "stretch_marks", "texture"):
        case, chosen = desk.planned(concern=concern)
        lengths.add(len(chosen))
        with counting(app) as statements:
            booking.confirm(desk.office, case, chosen)
        assert len(statements) <= BOOKING, statements
        counted.add(len(statements))
    assert len(lengths) > 1
    assert len(counted) == 1
