from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from intake_plugin.records.tables import TICK, Claim


def claims(
    first: int, count: int, appointment_id: str, *, resource_id: str = "ana", lane: int = 0
) -> list[Claim]:
    return [
        Claim(
            clinic_id="north",
            resource_id=resource_id,
            lane=lane,
            tick=tick,
            appointment_id=appointment_id,
        )
        for tick in range(first, first + count)
    ]


def test_a_tick_is_five_minutes_since_the_epoch(now: dt.datetime) -> None:
    assert dt.timedelta(minutes=5) == TICK
    assert (now - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // TICK == 5_915_826


@pytest.mark.parametrize("first", [95, 100, 104, 111])
def test_a_time_that_overlaps_by_one_tick_is_refused_whole(session: Session, first: int) -> None:
    session.add_all(claims(100, 12, "a"))
    session.commit()
    session.add_all(claims(first, 12, "b"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.rollback()
    assert session.scalars(sa.select(Claim.appointment_id).distinct()).all() == ["a"]


def test_times_that_touch_and_other_lanes_are_free(session: Session) -> None:
    for free in (
        claims(100, 12, "a"),
        claims(88, 12, "b"),
        claims(112, 12, "c"),
        claims(100, 12, "d", lane=1),
        claims(100, 12, "e", resource_id="Ana"),
    ):
        session.add_all(free)
        session.commit()


def test_of_many_who_take_one_time_at_once_one_gets_it(
    app: Flask, make_session: Callable[[], Session]
) -> None:
    takers = 8
    start = Barrier(takers)

    def take(taker: int) -> bool:
        with make_session() as session:
            session.add_all(claims(100 + taker, 12, str(taker)))
            start.wait()
            try:
                session.commit()
            except DBAPIError:
                session.rollback()
                return False
            return True

    with ThreadPoolExecutor(takers) as pool:
        won = list(pool.map(take, range(takers)))
    with make_session() as session:
        stored = session.execute(
            sa.select(Claim.appointment_id, sa.func.count()).group_by(Claim.appointment_id)
        ).all()
    assert won.count(True) == 1
    assert [tuple(row) for row in stored] == [(str(won.index(True)), 12)]
