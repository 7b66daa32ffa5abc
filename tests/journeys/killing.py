"""Kill a booking process at a random moment, again and again, and look at what it left.

Run as `python -m tests.journeys.killing URL FILE`: FILE holds the cases and their series as JSON.
It is a process of its own because it forks, which a process with threads should not do.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import select
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from intake_plugin.journeys import booking
from intake_plugin.journeys.holding import Choice
from intake_plugin.journeys.office import Office
from intake_plugin.records import audit
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import Appointment, Case, CaseState, Claim, Occupancy, Series
from intake_plugin.state import KEY, State
from intake_plugin.testing import keys
from tests.journeys.conftest import CLINIC, NOW, SETTINGS

KILLS = 50
SPREAD = 0.03
"""Within how many seconds of the beginning of a booking the process dies."""

Work = Mapping[str, Mapping[int, dt.datetime]]


def application(url: str) -> Flask:
    app, db = Flask("killing"), SQLAlchemy()
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS={"poolclass": NullPool})
    db.init_app(app)
    app.extensions[KEY] = State(
        settings=SETTINGS, keyring=KeyRing.parse(keys()), db=db, staff=None, csp_nonce=None
    )
    return app


def office_of(app: Flask, session: Session) -> Office:
    state: State = app.extensions[KEY]
    return Office(clinic=CLINIC, session=session, settings=SETTINGS, keyring=state.keyring, now=NOW)


def reset(session: Session, work: Work) -> None:
    for table in (Claim, Occupancy, Appointment, Series):
        session.execute(sa.delete(table))
    for case in session.scalars(sa.select(Case)):
        choice = Choice(arrivals=work[case.id], practitioner_id=None, since=NOW, until=NOW)
        case.state, case.plan = CaseState.BOOKING, choice.to_json()
    session.commit()


def book_until_killed(app: Flask, engine: sa.Engine, work: Work, started: int) -> None:
    with Session(engine) as session:
        office = office_of(app, session)
        for case_id, chosen in work.items():
            case = session.get_one(Case, (CLINIC.id, case_id))
            os.write(started, b"b")
            booking.confirm(office, case, chosen)


def run_and_kill(app: Flask, engine: sa.Engine, work: Work, dice: random.Random) -> None:
    """Let a process book, and kill it a random moment after it began a random one of its bookings."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            book_until_killed(app, engine, work, writer)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    for _ in range(dice.randint(1, len(work))):
        os.read(reader, 1)
    select.select([], [], [], dice.uniform(0, SPREAD))
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the process failed by itself"


def look(session: Session, work: Work) -> int:
    """Return how many series there are, after comparing every trace that a booking leaves."""
    series = {each.case_id: each.id for each in session.scalars(sa.select(Series))}
    booked = set(session.scalars(sa.select(Case.id).where(Case.state == CaseState.BOOKED)))
    assert set(series) == booked, "a case is booked exactly when it has a series"
    appointments = session.scalars(sa.select(Appointment)).all()
    count = Counter(each.series_id for each in appointments)
    assert count == {series[case_id]: len(work[case_id]) for case_id in booked}, "whole series or nothing"
    ids = {each.id for each in appointments}
    stretches = session.scalars(sa.select(Occupancy)).all()
    assert Counter(each.appointment_id for each in stretches) == dict.fromkeys(ids, 2)
    ticks = sorted(tuple(row) for row in session.execute(sa.select(Claim.resource_id, Claim.tick)))
    tick = 300
    taken = sorted(
        (each.resource_id, number)
        for each in stretches
        for number in range(int(each.start_at.timestamp()) // tick, -(-int(each.end_at.timestamp()) // tick))
    )
    assert ticks == taken, "the claims are those of the stretches"
    return len(series)


def main(url: str, file: str) -> None:
    app = application(url)
    stored = json.loads(Path(file).read_text())
    work = {
        case_id: {int(ordinal): dt.datetime.fromisoformat(arrive) for ordinal, arrive in chosen.items()}
        for case_id, chosen in stored.items()
    }
    dice = random.Random(11)
    found: list[int] = []
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
        for _ in range(KILLS):
            with Session(engine) as session:
                reset(session, work)
            run_and_kill(app, engine, work, dice)
            with Session(engine) as session:
                if engine.dialect.name != "sqlite":
                    # One snapshot: the server may still be ending the dead process's transaction.
                    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
                found.append(look(session, work))
        with Session(engine) as session:
            assert audit.verify(session, CLINIC.id) == ()
    print(json.dumps(found))  # noqa: T201 - the answer to who started it


if __name__ == "__main__":
    main(*sys.argv[1:])
