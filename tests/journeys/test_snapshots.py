"""Databases that read from snapshots: whatever a site has set, what is decided sees what others decided."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import booking, changing, intake
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Case
from intake_plugin.state import KEY, State
from intake_plugin.testing import approve, clinic
from tests.journeys.conftest import CLINIC, Desk

PEOPLE = 4
HANGS = 120
SNAPSHOTS = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # How MariaDB begins from 11.6 on: a row that changed since the snapshot is refused.
    "mysql": "SET SESSION innodb_snapshot_isolation = ON",
    "sqlite": "PRAGMA journal_mode = WAL",
}


@pytest.fixture
def engine(app: Flask) -> sa.Engine:
    """The site's engine, told to keep every transaction on its snapshot."""
    state: State = app.extensions[KEY]
    engine = state.db.engine

    @sa.event.listens_for(engine, "connect")
    def keep(connection: object, _record: object) -> None:
        if engine.dialect.name == "sqlite":
            # What SQLAlchemy tells sites to do that want SQLite's transactions to be whole.
            connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(SNAPSHOTS[engine.dialect.name])
        cursor.close()
        if engine.dialect.name == "postgresql":
            connection.commit()  # type: ignore[attr-defined]

    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    engine.dispose()
    return engine


def days_later(desk: Desk, case: Case, ordinal: int, days: int) -> dt.datetime:
    """When session `ordinal` would begin so many days later, at the same time of the clinic's clock."""
    arrive = booking.appointments_of(desk.office, case)[ordinal - 1].arrive_at.astimezone(CLINIC.zone)
    return (arrive.replace(tzinfo=None) + dt.timedelta(days=days)).replace(tzinfo=CLINIC.zone)


def read(make_desk: Callable[..., Desk], case_id: str) -> tuple[Desk, Case]:
    """Read a case as a request does before it acts."""
    desk = make_desk()
    return desk, desk.session.get_one(Case, (CLINIC.id, case_id))


@pytest.mark.parametrize("database", ["as it comes", "keeping snapshots"])
def test_two_windows_that_move_two_sessions_do_not_break_the_gap_between_them(
    request: pytest.FixtureRequest, make_desk: Callable[..., Desk], database: str
) -> None:
    if database == "keeping snapshots":
        request.getfixturevalue("engine")
    desk = make_desk()
    case = desk.signed()
    booking.choose_first(
        desk.office, case, booking.times(desk.office, case, first=dt.date(2026, 3, 17)).slots[0].arrive
    )
    choice = booking.proposal(desk.office, case).choice
    booking.confirm(desk.office, case, choice.arrivals)
    for ordinal in (2, 3):
        plan = changing.plan_move(desk.office, case, ordinal, {ordinal: days_later(desk, case, ordinal, 7)})
        changing.move(desk.office, case, ordinal, plan.arrivals)
    wanted = {2: days_later(desk, case, 2, 7), 3: days_later(desk, case, 3, -7)}
    desk.session.commit()
    one, two = read(make_desk, case.id), read(make_desk, case.id)
    changing.move(one[0].office, one[1], 2, {2: wanted[2]})
    with pytest.raises(TimeTaken):
        changing.move(two[0].office, two[1], 3, {3: wanted[3]})


def test_patients_who_are_not_in_each_others_way_all_get_through(
    app: Flask, engine: sa.Engine, make_desk: Callable[..., Desk]
) -> None:
    resources = [
        {"id": f"{kind}-{number}", "kind": kind, "name": kind}
        for kind in ("practitioner", "room")
        for number in range(PEOPLE)
    ]
    desk = make_desk(clinic=approve(clinic(resources=resources)))
    choosing = [desk.signed().id for _ in range(PEOPLE)]
    answering = [desk.identified() for _ in range(PEOPLE)]
    page = intake.next_step(desk.office, answering[0]).key or ""
    arrive = booking.times(desk.office, desk.session.get_one(Case, (CLINIC.id, choosing[0]))).slots[0].arrive
    together(app, engine, desk, choosing, lambda office, case: booking.choose_first(office, case, arrive))
    together(
        app,
        engine,
        desk,
        [case.id for case in answering],
        lambda office, case: intake.answer(office, case, page, {"concern": "fine_lines"}),
    )


def together(
    app: Flask, engine: sa.Engine, desk: Desk, case_ids: list[str], act: Callable[[Office, Case], object]
) -> None:
    """Let every patient act at the same moment, each in a request of their own; whatever fails, fails."""
    desk.session.commit()
    start = threading.Barrier(len(case_ids))

    def request(case_id: str) -> None:
        start.wait(HANGS)
        with app.app_context(), Session(engine) as session:
            office = replace(desk.office, session=session)
            act(office, session.get_one(Case, (CLINIC.id, case_id)))

    with ThreadPoolExecutor(len(case_ids)) as pool:
        for running in [pool.submit(request, case_id) for case_id in case_ids]:
            running.result(HANGS)
