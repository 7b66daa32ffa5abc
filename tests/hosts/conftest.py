"""Sites that mount the plugin, each in the shape of a real host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader

from intake_plugin import Intake, StaffHook
from intake_plugin.loading import load_clinic
from intake_plugin.records.tables import Case
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY
from intake_plugin.testing import Page, Visitor, keys

PROFILE = Path(__file__).parent / "north.toml"
LAYOUT = (
    "<!doctype html><html lang=en><head><title>{% block title %}{% endblock %}</title></head>"
    "<body><header>{{ site }}</header>{% block content %}{% endblock %}</body></html>"
)

MakeSite = Callable[..., Flask]


@cache
def north() -> Clinic:
    return load_clinic(PROFILE)


@pytest.fixture
def clinic() -> Clinic:
    return north()


@pytest.fixture
def south() -> Clinic:
    return replace(
        north(), id="south", name="South", zone=ZoneInfo("America/New_York"), base_template="south.html"
    )


@pytest.fixture
def site_url(tmp_path: Path) -> str:
    """The site's database. Where a host's shape matters to the database, a file tries every kind."""
    return f"sqlite:///{tmp_path / 'site.sqlite'}"


@pytest.fixture
def make_site(site_url: str, clinic: Clinic) -> Iterator[MakeSite]:
    """Make a site on a database object of the test's, with clinic North at /north/book."""
    made: list[tuple[Flask, SQLAlchemy]] = []

    def make(
        db: SQLAlchemy,
        *,
        staff: StaffHook | None = None,
        prepare: Callable[[Flask], object] = lambda app: None,
        create: bool = True,
        name: str = "site",
        **config: object,
    ) -> Flask:
        app = Flask(name)
        usual = {"SECRET_KEY": "for tests", "SQLALCHEMY_DATABASE_URI": site_url, "INTAKE_KEYS": keys()}
        app.config.from_mapping(usual | config)
        app.jinja_loader = DictLoader({"site.html": LAYOUT, "south.html": LAYOUT})
        db.init_app(app)
        made.append((app, db))
        intake = Intake(db, staff)
        intake.init_app(app)
        prepare(app)
        app.register_blueprint(intake.blueprint("north", clinic), url_prefix="/north/book")
        if create:
            with app.app_context():
                db.create_all()
        return app

    yield make
    for app, db in made:
        with app.app_context():
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


def begin(app: Flask, mount: str = "north") -> Page:
    """Begin a case as a patient does; return the page that follows the first one."""
    visitor = Visitor.of(app.test_client())
    start = visitor.get(f"/{mount}/book/")
    assert start.reply.status == 200, start.text
    assert start.name == "start"
    page = visitor.submit(start)
    assert page.reply.status == 200, page.text
    assert page.reply.url.endswith(f"/{mount}/book/about-you")
    return page


def clinics_of_cases(app: Flask) -> list[str]:
    """Clinic ids of the cases that are stored, sorted."""
    with app.app_context():
        session = app.extensions[KEY].db.session
        return sorted(session.scalars(sa.select(Case.clinic_id)))
