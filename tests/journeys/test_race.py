"""The race for one time: shown to be real with the claims switched off, then shown to be gone.

Without the first test the others would prove nothing: they pass as well when the threads never meet.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from intake_plugin.errors import Busy, Stale, TimeTaken
from intake_plugin.journeys import booking, holding
from intake_plugin.journeys.holding import Choice
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import (
    Appointment,
    Case,
    CaseState,
    Claim,
    Occupancy,
    Series,
)
from intake_plugin.state import KEY, State
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk

WORKERS = 16
ROUNDS = 100
LOST = (TimeTaken, Busy, Stale)
HANGS = 120
"""Seconds after which a thread that has not answered counts as hanging."""


@dataclass
class Field:
    """A clinic with one practitioner and as many patients as workers, each a step before a time."""

    app: Flask
    engine: sa.Engine
    office: Office
    cases: list[str]
    times: list[dict[int, dt.datetime]]
    """A series for each round, all far enough apart to be free whatever was booked before."""

    def act(self, worker: int, what: Callable[[Office, Case], object]) -> str:
        """Do `what` for the worker's own case in a database session of its own, and say how it ended."""
        with self.app.app_context(), Session(self.engine) as session:
            office = replace(self.office, session=session)
            case = session.get_one(Case, (CLINIC.id, self.cases[worker]))
            try:
                what(office, case)
            except LOST as lost:
                return type(lost).__name__
            return "won"

    def race(self, what: Callable[[Office, Case], object], workers: int = WORKERS) -> list[str]:
        """Let all workers do `what` at the same moment."""
        start = threading.Barrier(workers)

        def run(worker: int) -> str:
            start.wait(HANGS)
            return self.act(worker, what)

        with ThreadPoolExecutor(workers) as pool:
            return [future.result(HANGS) for future in [pool.submit(run, n) for n in range(workers)]]

    def reset(self, chosen: Mapping[int, dt.datetime], *, held: bool = False) -> None:
        """Put every case back before its booking, on these times, with nothing stored of any."""
        with Session(self.engine) as session:
            for table in (Claim, Occupancy, Appointment, Series):
                session.execute(sa.delete(table))
            for case in session.scalars(sa.select(Case)):
                choice = Choice(arrivals=chosen, practitioner_id=None, since=NOW, until=NOW)
                case.state, case.plan = CaseState.BOOKING, choice.to_json()
            session.commit()

    def found(self) -> dict[str, int]:
        with Session(self.engine) as session:
            return {
                table.__tablename__: session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
                for table in (Series, Appointment, Occupancy)
            } | {"booked": sum(case.state == CaseState.BOOKED for case in session.scalars(sa.select(Case)))}

    def answers(self) -> list[dict[str, object]]:
        with Session(self.engine) as session:
            return [case.answers for case in session.scalars(sa.select(Case).order_by(Case.id))]

    def double_booked(self) -> int:
        """Count pairs of sessions that overlap on one lane of one resource, by their stretches."""
        with Session(self.engine) as session:
            rows = sorted(
                (each.resource_id, each.lane, each.start_at, each.end_at)
                for each in session.scalars(sa.select(Occupancy))
            )
        return sum(
            one[:2] == other[:2] and other[2] < one[3]
            for index, one in enumerate(rows)
            for other in rows[index + 1 :]
        )


@pytest.fixture
def field(app: Flask, make_desk: Callable[..., Desk]) -> Iterator[Field]:
    state: State = app.extensions[KEY]
    desk = make_desk()
    cases = [desk.signed() for _ in range(WORKERS)]
    engine = sa.create_engine(state.db.engine.url, pool_size=WORKERS, max_overflow=0)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    times = []
    for slot in booking.times(desk.office, cases[0]).slots[:8]:
        booking.choose_first(desk.office, cases[0], slot.arrive)
        choice = holding.choice_of(cases[0])
        assert choice is not None
        times.append(dict(choice.arrivals))
    patient = replace(SETTINGS, lock_timeout=dt.timedelta(seconds=30))
    yield Field(app, engine, replace(desk.office, settings=patient), [case.id for case in cases], times)
    engine.dispose()


def test_without_claims_one_time_is_booked_many_times_over(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails, the races below do not meet and prove nothing."""
    workers = 4
    looked = threading.Barrier(workers)
    planned = booking._planned

    def wait_after_looking(*args: object, **kwargs: object) -> object:
        plan = planned(*args, **kwargs)  # type: ignore[arg-type]
        looked.wait(HANGS)
        return plan

    monkeypatch.setattr(booking, "_planned", wait_after_looking)
    monkeypatch.setattr(holding, "book", lambda *args: None)
    if field.engine.dialect.name == "sqlite":
        # SQLite has one writer: only without its lock can two look at the same time.
        monkeypatch.setattr("intake_plugin.journeys.office._lock_sqlite", lambda *args: None)
    chosen = field.times[0]
    field.reset(chosen)
    results = field.race(lambda office, case: booking.confirm(office, case, chosen), workers)
    assert results.count("won") == workers
    assert field.found()["intake_series"] == workers


def test_with_claims_exactly_one_of_sixteen_books_in_a_hundred_rounds(field: Field) -> None:
    before = field.answers()
    ended: Counter[str] = Counter()
    for number in range(ROUNDS):
        chosen = field.times[number % len(field.times)]
        field.reset(chosen)
        results = field.race(lambda office, case: booking.confirm(office, case, chosen))  # noqa: B023 - run at once
        ended.update(results)
        assert results.count("won") == 1, results
        assert field.found() == {
            "intake_series": 1,
            "intake_appointment": len(chosen),
            "intake_occupancy": 2 * len(chosen),
            "booked": 1,
        }
        assert field.double_booked() == 0
    assert ended["won"] == ROUNDS
    assert field.answers() == before


def test_of_sixteen_whose_holds_ran_out_one_after_another_one_books(field: Field) -> None:
    """Each held the series once and lost it to the next; then all of them press at the same moment."""
    hold = CLINIC.booking.hold
    chosen = field.times[-1]  # The clinic's notice does not overtake it meanwhile.
    for number in range(ROUNDS // 10):
        field.reset(chosen)
        now = NOW + number * dt.timedelta(minutes=1)
        for worker in (0, 1):
            now += hold
            held = field.act(worker, lambda office, case: booking.extend(replace(office, now=now), case))  # noqa: B023
            assert held == "won"
        now += hold
        results = field.race(
            lambda office, case: booking.confirm(replace(office, now=now), case, chosen)  # noqa: B023
        )
        assert results.count("won") == 1, results
        assert field.double_booked() == 0
        assert field.found()["intake_occupancy"] == 2 * len(chosen)


def test_of_sixteen_who_choose_one_time_one_holds_it(field: Field) -> None:
    for number in range(ROUNDS // 10):
        arrive = field.times[number % len(field.times)][1]
        field.reset(field.times[0])
        results = field.race(lambda office, case: booking.choose_first(office, case, arrive))  # noqa: B023
        assert results.count("won") == 1, results
        assert field.double_booked() == 0
        with Session(field.engine) as session:
            assert len(set(session.scalars(sa.select(Claim.hold_id)))) == 1


@pytest.mark.parametrize("act", ["hold", "book"])
def test_whoever_asks_for_anybody_gets_the_next_who_is_free(field: Field, act: str) -> None:
    """Four practitioners and four rooms: four patients win, and nobody before all four are taken."""
    resources = tuple(
        replace(resource, id=f"{resource.id}-{number}")
        for resource in CLINIC.resources
        for number in range(4)
    )
    field.office = replace(field.office, clinic=replace(CLINIC, resources=resources))
    for chosen in field.times[:5]:
        field.reset(chosen)
        if act == "hold":
            results = field.race(lambda office, case: booking.choose_first(office, case, chosen[1]))  # noqa: B023
        else:
            results = field.race(lambda office, case: booking.confirm(office, case, chosen))  # noqa: B023
        assert results.count("won") == 4, results
        assert field.double_booked() == 0
        assert field.found()["intake_occupancy"] == 4 * 2 * len(chosen)


def test_a_lock_that_is_not_given_in_time_is_told_and_not_waited_for(field: Field) -> None:
    chosen = field.times[0]
    field.reset(chosen)
    impatient = replace(SETTINGS, lock_timeout=dt.timedelta(seconds=1))
    field.office = replace(field.office, settings=impatient)
    with Session(field.engine) as blocker:
        blocker.execute(sa.update(Case).values(locale="en").execution_options(synchronize_session=False))
        begun = dt.datetime.now(dt.UTC)
        assert field.act(0, lambda office, case: booking.confirm(office, case, chosen)) == "Busy"
        assert dt.datetime.now(dt.UTC) - begun < dt.timedelta(seconds=20)
        blocker.rollback()
    assert field.act(0, lambda office, case: booking.confirm(office, case, chosen)) == "won"
    with field.engine.connect() as connection:
        assert patience_of(connection) not in {1, 1000}


def patience_of(connection: sa.Connection) -> int | None:
    """How long this connection waits when nobody says otherwise, or None where it says so in words."""
    match connection.dialect.name:
        case "sqlite":
            return int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())
        case "mysql" | "mariadb":
            return int(connection.exec_driver_sql("SELECT @@innodb_lock_wait_timeout").scalar_one())
        case _:
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"
            return None
