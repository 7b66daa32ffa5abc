from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from intake_plugin.records.base import Base, add_tables_to
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.references import new_reference
from intake_plugin.records.tables import Case
from intake_plugin.settings import Settings
from intake_plugin.state import KEY, State
from intake_plugin.testing import keys

NOW = dt.datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=dt.UTC)

MakeApp = Callable[..., Flask]
MakeCase = Callable[..., Case]


@pytest.fixture
def now() -> dt.datetime:
    return NOW


@pytest.fixture
def make_app(database_url: str) -> Iterator[MakeApp]:
    """Make an app on the test's database, with a key ring of its own."""
    made: list[tuple[Flask, SQLAlchemy]] = []

    def make(ring: str = keys()) -> Flask:
        app, db = Flask("records"), SQLAlchemy()
        app.config["SQLALCHEMY_DATABASE_URI"] = database_url
        db.init_app(app)
        add_tables_to(db.metadata)
        app.extensions[KEY] = State(
            settings=Settings(
                draft_lifetime=dt.timedelta(days=1),
                link_lifetime=dt.timedelta(days=1),
                lock_timeout=dt.timedelta(seconds=5),
                mail_timeout=dt.timedelta(seconds=5),
            ),
            keyring=KeyRing.parse(ring),
            db=db,
            staff=None,
            csp_nonce=None,
        )
        with app.app_context():
            db.create_all()
        made.append((app, db))
        return app

    yield make
    for app, db in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def app(make_app: MakeApp) -> Iterator[Flask]:
    app = make_app()
    with app.app_context():
        yield app


@pytest.fixture
def make_session(app: Flask) -> Iterator[Callable[[], Session]]:
    """Open sessions on the test's database, each with a connection of its own."""
    engine, sessions = app.extensions[KEY].db.engine, list[Session]()

    def make() -> Session:
        session = Session(engine)
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def session(make_session: Callable[[], Session]) -> Session:
    return make_session()


@pytest.fixture
def make_case() -> MakeCase:
    def make(**columns: Any) -> Case:
        given: dict[str, Any] = {
            "clinic_id": "north",
            "reference": new_reference(),
            "protocol_id": "microneedling",
            "protocol_version": "1",
            "fingerprint": "f" * 64,
            "locale": "en",
            "created_at": NOW,
            "updated_at": NOW,
        }
        return Case(**(given | columns))

    return make


@pytest.fixture
def sealed_columns() -> tuple[tuple[str, str], ...]:
    """Every (table, column) that holds a sealed value."""
    return tuple(
        (mapper.local_table.name, column.name)  # type: ignore[attr-defined]  # a Table, as every mapper's here
        for mapper in Base.registry.mappers
        for column in mapper.columns
        if mapper.get_property_by_column(column).key.endswith("_sealed")
    )
