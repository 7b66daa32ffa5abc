"""Offers with their queries over a large database, and whole series booked by many workers at once.

Offers: 20 practitioners and 20 rooms for 31 days, with the stretches of 100,000 stored appointments
around them, on SQLite and on every PostgreSQL in INTAKE_TEST_DATABASE_URLS.

Bookings, on PostgreSQL: 16 worker processes confirm series that do not meet, against the same 16
inserting the very same rows, one transaction for each series, with nothing looked up, decided or
recorded. Processes, as a site's workers are: threads would measure Python's lock.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from intake_plugin import Intake
from intake_plugin.clinical.answers import Answer
from intake_plugin.clinical.protocol import Question
from intake_plugin.clinical.questionnaire import asked, first_unanswered
from intake_plugin.journeys import access, booking, consent, holding, intake
from intake_plugin.journeys.intake import Identity
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.times import session_of, sweep_of
from intake_plugin.records.base import Base
from intake_plugin.records.tables import (
    Appointment,
    AuditEntry,
    Case,
    Claim,
    Occupancy,
    Series,
)
from intake_plugin.scheduling.hours import Dates
from intake_plugin.scheduling.slots import offers
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY, State
from intake_plugin.testing import approve, clinic, keys

T = TypeVar("T")

NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
FIRST = dt.date(2026, 3, 9)
DAYS = 31
PEOPLE = 20
SESSIONS_A_DAY = 5
STORED = 100_000
BUDGET = 0.025
"""What a month of offers may take with its queries, seconds."""
WORKERS = 16
WARM = 12
"""Series that every worker books before the clock starts: a site's workers have served before.

The driver prepares a statement at its sixth use, and the server keeps one plan for it five uses later.
"""
EACH = 8
"""Series that every worker books in one run after that."""
ROUNDS = 6
WAIT = 300
_CASE = sa.select(Case).where(Case.clinic_id == sa.bindparam("clinic_id"), Case.id == sa.bindparam("case_id"))
"""Built once, like the query by which a page finds its case."""
WRITTEN = (Series, Appointment, Claim, Occupancy, AuditEntry)


def postgresql() -> list[str]:
    """Return the PostgreSQL servers to measure on, as SQLAlchemy URLs."""
    named = os.environ.get("INTAKE_TEST_DATABASE_URLS", "").replace(",", " ").split()
    return [url for url in named if sa.make_url(url).get_backend_name() == "postgresql"]


@contextmanager
def database(server: str | None) -> Iterator[str]:
    """Make an empty database, on a server or as a SQLite file, and remove it again."""
    if server is None:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'clinic.sqlite'}"
        return
    name = f"intake_benchmark_{uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server: str, statement: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def desk(url: str, profile: Clinic) -> Iterator[Office]:
    """Open a clinic's desk on an empty database, inside an app context."""
    db, app = SQLAlchemy(), Flask("benchmark")
    options = {} if url.startswith("sqlite") else {"pool_size": WORKERS, "max_overflow": 0}
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS=options, INTAKE_KEYS=keys())
    db.init_app(app)
    Intake(db).init_app(app)
    state: State = app.extensions[KEY]
    with app.app_context():
        db.create_all()
        with Session(db.engine) as session:
            yield Office(
                clinic=profile, session=session, settings=state.settings, keyring=state.keyring, now=NOW
            )
        db.engine.dispose()


def crowd(people: int) -> Clinic:
    """Return a clinic with as many practitioners as rooms."""
    return approve(
        clinic(
            resources=[
                {"id": f"{kind}-{number}", "kind": kind, "name": f"{kind} {number}"}
                for kind in ("practitioner", "room")
                for number in range(people)
            ]
        )
    )


def patient(office: Office) -> Case:
    """Return the case of a healthy adult who has answered, signed and may choose times."""
    case, _ = access.begin(office, protocol_id="microneedling", locale="en")
    identity = Identity(
        name="Wren Okafor",
        birth_date=dt.date(1991, 3, 14),
        email=f"{case.reference.lower()}@example.com",
        telephone="07700 900123",
    )
    intake.identify(office, case, identity)
    protocol = office.protocol_of(case)
    while page := first_unanswered(protocol, intake.answers_of(case), today=office.today):
        questions = asked(page, protocol, intake.answers_of(case), today=office.today)
        intake.answer(office, case, page.key, {each.link_id: _usual(each) for each in questions})
    intake.submit(office, case, shown=intake.answers_hash(case))
    for document in consent.documents(office, case):
        if not document.settled:
            shown = document.rendered
            act = consent.Act(document_id=shown.id, shown=shown.sha256, button="Sign", name=identity.name)
            consent.sign(office, case, act)
    return case


def _usual(question: Question) -> Answer | None:
    """Return what a healthy adult says: what is given, else "no" or "none", else the first option."""
    given = {"concern": "fine_lines", "area": "face", "no_alcohol": "yes"}
    if not question.required:
        return None
    options = [option.id for option in question.options]
    usual = [
        each for each in (given.get(question.link_id), "no", "never", "none", *options) if each in options
    ]
    found = usual[0] if usual else "no"
    return (found,) if question.type == "choices" else found


def fill(office: Office, appointments: int) -> None:
    """Store the stretches of so many appointments, on the days from a week before `FIRST` on."""
    rows: list[dict[str, Any]] = []
    start = dt.datetime.combine(FIRST - dt.timedelta(days=7), dt.time(9), dt.UTC)
    for number in range(appointments):
        day, person = divmod(number, SESSIONS_A_DAY * PEOPLE)
        session, person = divmod(person, PEOPLE)
        begins = start + dt.timedelta(days=day, minutes=90 * session + 5 * (person % 6))
        rows += [
            {
                "clinic_id": office.clinic.id,
                "resource_id": resource.id,
                "lane": 0,
                "start_at": begins,
                "end_at": begins + dt.timedelta(minutes=40),
                "appointment_id": f"{number:036d}",
            }
            for resource in office.clinic.resources[person::PEOPLE]
        ]
    office.session.connection().execute(sa.insert(Base.metadata.tables[Occupancy.__tablename__]), rows)
    _settle_in(office)


def _settle_in(office: Office) -> None:
    """Commit, and let PostgreSQL count its rows, as it does by itself on a site within a minute."""
    office.session.commit()
    if office.session.get_bind().dialect.name == "postgresql":
        office.session.execute(sa.text("ANALYZE"))
        office.session.commit()


def offer_seconds(office: Office, case: Case, rounds: int = 15) -> float:
    """Return the best time for a month of offers, its queries included, seconds."""
    needed = session_of(office, case)
    last = FIRST + dt.timedelta(days=DAYS - 1)

    def month() -> None:
        sweep = sweep_of(office, case, needed, [Dates(FIRST, last)])
        assert offers(sweep, first=FIRST, last=last)

    return min(_seconds(month) for _ in range(rounds))


def offer_ratios(server: str | None) -> list[tuple[str, float, float]]:
    """Return the rows of the offers on one database."""
    found: dict[int, float] = {}
    for stored in (STORED // 10, STORED):
        with database(server) as url, desk(url, crowd(PEOPLE)) as office:
            case = patient(office)
            fill(office, stored)
            found[stored] = offer_seconds(office, case)
    name = "SQLite" if server is None else "PostgreSQL"
    return [
        (f"a month of offers with queries, {STORED:,} stored, {name}, over 25 ms", found[STORED] / BUDGET, 1),
        (f"the same over {STORED // 10:,} stored, {name}", found[STORED] / found[STORED // 10], 1.2),
    ]


def booking_ratio(server: str) -> tuple[str, float, float]:
    """Return the row of the bookings: several rounds of both in one database, all together."""
    booked = inserted = 0.0
    with database(server) as url, desk(url, crowd(3)) as office:
        work = [_choose(office) for _ in range(WORKERS * (WARM + EACH))]
        _settle_in(office)
        chosen = _chosen(office)
        for _ in range(ROUNDS):
            booked += _book_all(office, work)
            rows = _stored(office)
            assert len(rows) == len(work)
            _put_back(office, chosen, held=False)
            inserted += _insert_all(office, rows)
            _put_back(office, chosen, held=True)
    return f"bare INSERTs of a series over its booking, {WORKERS} workers, rate", booked / inserted, 2


def _chosen(office: Office) -> dict[str, list[dict[str, Any]]]:
    """Return what a booking changes, as it is before: the cases, and what is held for them."""
    found = {}
    for stored in (Case, Claim, Occupancy):
        table = Base.metadata.tables[stored.__tablename__]
        found[table.name] = [dict(row) for row in office.session.execute(sa.select(table)).mappings()]
    return found


def _put_back(office: Office, chosen: Mapping[str, list[dict[str, Any]]], *, held: bool) -> None:
    """Remove every booking, and let the cases choose once more."""
    connection = office.session.connection()
    for written in reversed(WRITTEN):
        booked = [AuditEntry.action == "book"] if written is AuditEntry else []
        connection.execute(sa.delete(written).where(*booked))
    table = Base.metadata.tables[Case.__tablename__]
    back = sa.update(table).where(
        table.c.clinic_id == office.clinic.id, table.c.id == sa.bindparam("case_id")
    )
    before = [
        {"case_id": row["id"], **{name: row[name] for name in ("state", "plan", "version", "updated_at")}}
        for row in chosen[table.name]
    ]
    connection.execute(back, before)
    if held:
        for stored in (Claim, Occupancy):
            table = Base.metadata.tables[stored.__tablename__]
            connection.execute(sa.insert(table), chosen[table.name])
    office.session.commit()


def _choose(office: Office) -> tuple[str, Mapping[int, dt.datetime]]:
    """Return a case and its series, which meets no other, because all are held until all are found."""
    case = patient(office)
    booking.choose_first(office, case, booking.times(office, case).slots[0].arrive)
    choice = holding.choice_of(case)
    assert choice is not None
    return case.id, choice.arrivals


def _book_all(office: Office, work: Sequence[tuple[str, Mapping[int, dt.datetime]]]) -> float:
    def book(engine: sa.Engine, one: tuple[str, Mapping[int, dt.datetime]]) -> None:
        case_id, arrivals = one
        with Session(engine) as session:
            mine = replace(office, session=session)
            case = session.scalars(_CASE, {"clinic_id": office.clinic.id, "case_id": case_id}).one()
            booking.confirm(mine, case, arrivals)

    return _together(office, book, work)


def _stored(office: Office) -> list[dict[str, list[dict[str, Any]]]]:
    """Return the rows of every series, by table."""
    connection = office.session.connection()
    rows = {
        table.__tablename__: [
            dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name
            for row in connection.execute(sa.select(Base.metadata.tables[table.__tablename__]))
        ]
        for table in WRITTEN
    }
    office.session.rollback()
    owner = {row["id"]: row["series_id"] for row in rows[Appointment.__tablename__]}
    by_series: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows[Series.__tablename__]:
        by_series[row["id"]] = {table.__tablename__: [] for table in WRITTEN}
        by_series[row["id"]][Series.__tablename__] = [row]
    for table in (Appointment, Claim, Occupancy):
        for row in rows[table.__tablename__]:
            series_id = row.get("series_id") or owner[row["appointment_id"]]
            by_series[series_id][table.__tablename__].append(row)
    entries = [row for row in rows[AuditEntry.__tablename__] if row["action"] == "book"]
    for series, entry in zip(by_series.values(), entries, strict=True):
        series[AuditEntry.__tablename__] = [entry]
    return list(by_series.values())


def _insert_all(office: Office, rows: Sequence[Mapping[str, list[dict[str, Any]]]]) -> float:
    def insert(engine: sa.Engine, series: Mapping[str, list[dict[str, Any]]]) -> None:
        with engine.begin() as connection:
            for name, found in series.items():
                connection.execute(sa.insert(Base.metadata.tables[name]), found)

    return _together(office, insert, rows)


def _together(office: Office, act: Callable[[sa.Engine, T], None], work: Sequence[T]) -> float:
    """Let all workers, each a process with a connection, begin at once; return how long they took.

    Seconds, without starting, warming up and ending the processes.
    """
    forking = multiprocessing.get_context("fork")
    start, end = forking.Barrier(WORKERS + 1), forking.Barrier(WORKERS + 1)
    url = office.session.get_bind(Case).engine.url

    def run(worker: int) -> None:
        engine, mine = sa.create_engine(url), work[worker::WORKERS]
        for each in mine[:WARM]:
            act(engine, each)
        start.wait(WAIT)
        for each in mine[WARM:]:
            act(engine, each)
        end.wait(WAIT)

    workers = [forking.Process(target=run, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    start.wait(WAIT)
    begun = time.perf_counter()
    end.wait(WAIT)
    taken = time.perf_counter() - begun
    for worker in workers:
        worker.join(WAIT)
    assert all(worker.exitcode == 0 for worker in workers)
    return taken


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, ratio, the most it may be); the rows of PostgreSQL where a server is named."""
    rows = offer_ratios(None)
    for server in postgresql():
        rows += offer_ratios(server)
        rows.append(booking_ratio(server))
    return rows


if __name__ == "__main__":
    for name, ratio, limit in ratios():
        print(f"{name}: {ratio:.2f} (limit {limit:g})")
