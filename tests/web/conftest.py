"""A small site with one clinic, at a moment that stands still, and a patient who fills in the pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from werkzeug.test import TestResponse

from intake_plugin import Intake, Staff
from intake_plugin.loading import load_clinic
from intake_plugin.records.tables import Case
from intake_plugin.settings import Approval, Clinic
from intake_plugin.testing import Page, Visitor, keys
from intake_plugin.web import visit

NOW = dt.datetime(2026, 3, 2, 10, 0, tzinfo=dt.UTC)
HOME = "/book/"
DESK = "/book/staff/"
LAYOUT = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><title>{% block title %}{% endblock %}</title>"
    "{% block head %}{% endblock %}</head>"
    "<body><header>Harbour</header>{% block content %}{% endblock %}</body></html>"
)
WREN: Mapping[str, Any] = {
    "name": "Wren Okafor",
    "birth_date": dt.date(1991, 3, 14),
    "email": "wren.okafor@example.com",
    "telephone": "07700 900123",
    "concern": "fine_lines",
    "area": "face",
    "no_alcohol": "yes",
}
"""Somebody with nothing remarkable to tell."""

CLINICIAN = Staff(id="7", name="Dr Ana Ruiz", role="decide")
RECEPTION = Staff(id="8", name="Jo Kent", role="read")


@cache
def _clinic() -> Clinic:
    return load_clinic(Path(__file__).parent / "clinic.toml")


def approved(clinic: Clinic) -> Clinic:
    """Return `clinic` with somebody answering for each of its treatments."""
    treatments = {
        key: replace(
            each,
            approval=Approval(
                by="Dr Ana Ruiz",
                role="Medical director",
                on=dt.date(2026, 3, 1),
                version=each.protocol.version,
                fingerprint=each.fingerprint,
            ),
        )
        for key, each in clinic.treatments.items()
    }
    return replace(clinic, treatments=treatments)


@dataclass
class Site:
    """The site as tests use it; `staff` is who is signed in at the desk."""

    app: Flask
    db: SQLAlchemy
    staff: Staff | None = None
    client: FlaskClient = field(init=False)
    """The browser of the newest visitor."""

    def visitor(self) -> Visitor:
        """Return somebody with a browser of their own."""
        self.client = self.app.test_client()
        return Visitor.of(self.client)

    def get(self, path: str, client: Any = None, **more: Any) -> TestResponse:
        """Ask for one page without following redirects."""
        response: TestResponse = (client or self.app.test_client()).get(path, **more)
        return response

    def to(self, page: str, answers: Mapping[str, Any] = {}) -> tuple[Visitor, Page]:
        """Return a visitor on the first page named `page`, having answered like Wren, with changes."""
        visitor = self.visitor()
        return visitor, visitor.walk(visitor.get(HOME), {**WREN, **answers}, until=frozenset({page}))

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what the cases look like in the database, to see that nothing was written."""
        with self.app.app_context():
            return [tuple(row) for row in self.db.session.execute(sa.select(Case.__table__))]

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """Count the statements sent to the database."""
        statements: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
            statements.append(statement)

        with self.app.app_context():
            engine = self.db.engine
        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)


MakeSite = Callable[..., Site]


@pytest.fixture
def clinic() -> Clinic:
    return approved(_clinic())


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "now", lambda: NOW)


@pytest.fixture
def make_site(clinic: Clinic) -> Iterator[MakeSite]:
    made: list[Site] = []

    def make(
        profile: Clinic = clinic,
        *,
        url: str = "sqlite://",
        templates: Mapping[str, str] = {},
        prepare: Callable[[Flask], object] = lambda app: None,
        **config: Any,
    ) -> Site:
        db = SQLAlchemy()
        app = Flask("site")
        app.config.from_mapping(
            {"SECRET_KEY": "for tests", "SQLALCHEMY_DATABASE_URI": url, "INTAKE_KEYS": keys()} | config
        )
        app.jinja_loader = DictLoader({"site.html": LAYOUT, **templates})
        db.init_app(app)
        site = Site(app, db)
        made.append(site)
        intake = Intake(db, staff=lambda: site.staff)
        intake.init_app(app)
        prepare(app)
        app.register_blueprint(intake.blueprint("harbour", profile), url_prefix="/book")
        with app.app_context():
            db.create_all()
        return site

    yield make
    for site in made:
        with site.app.app_context():
            site.db.session.remove()
            site.db.engine.dispose()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()
