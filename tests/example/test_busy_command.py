"""`flask intake busy`: calendars kept elsewhere are read as often as one likes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup
from flask_sqlalchemy import SQLAlchemy

from intake_plugin import Intake
from intake_plugin.journeys import busy
from intake_plugin.journeys.office import Office
from intake_plugin.settings import BusySource, Clinic
from intake_plugin.testing import approve, clinic, keys

MakeSite = Callable[[Clinic], Flask]
CALENDAR = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:u\r\nDTSTART:21000101T100000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\n"
    "END:VCALENDAR\r\n"
)


@pytest.fixture
def make_site(database_url: str) -> MakeSite:
    """Make a site with one mounted clinic and its tables."""

    def make(profile: Clinic) -> Flask:
        db = SQLAlchemy()
        app = Flask("site")
        app.config.update(SQLALCHEMY_DATABASE_URI=database_url, INTAKE_KEYS=keys())
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"poolclass": sa.NullPool}
        db.init_app(app)
        intake = Intake(db)
        intake.init_app(app)
        app.register_blueprint(intake.blueprint("north", profile), url_prefix="/north/book")
        with app.app_context():
            db.create_all()
        return app

    return make


@pytest.fixture
def entry(tmp_path: Path) -> Mapping[str, str]:
    file = tmp_path / "nurse.ics"
    file.write_text(CALENDAR)
    return {"resource": "nurse", "source": str(file), "stale_after": "PT6H", "stale": "block"}


def run(app: Flask, command: str) -> tuple[int, str]:
    result = CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["intake", command])
    return result.exit_code, result.output


def test_it_says_how_each_reading_went(make_site: MakeSite, entry: Mapping[str, str], tmp_path: Path) -> None:
    app = make_site(clinic(busy=[entry, {**entry, "resource": "room"}]))
    read = "test-clinic, {}: read, 0 busy times\n"
    assert run(app, "busy") == (0, read.format("nurse") + read.format("room"))
    assert run(app, "busy") == (0, "test-clinic, nurse: unchanged\ntest-clinic, room: unchanged\n")
    Path(entry["source"]).write_text("<html>")
    code, output = run(app, "busy")
    assert code == 1
    assert "test-clinic, room: refused, what was read before stays" in output
    assert "It is a web page and no calendar file" in output
    assert str(tmp_path) not in output


def test_a_fault_with_one_calendar_leaves_the_others_to_be_read(
    make_site: MakeSite, entry: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = busy.refresh

    def refresh(office: Office, source: BusySource, *, afresh: bool) -> busy.Reading:
        if source.id == "nurse":
            raise ZeroDivisionError("nobody thought of it")
        return really(office, source, afresh=afresh)

    monkeypatch.setattr(busy, "refresh", refresh)
    code, output = run(make_site(clinic(busy=[entry, {**entry, "resource": "room"}])), "busy")
    assert code == 1
    assert "ZeroDivisionError: nobody thought of it" in output
    assert "test-clinic, room: read, 0 busy times" in output
    assert "test-clinic, nurse: not read, by a fault of the plugin" in output


def test_a_calendar_that_the_profile_no_longer_names_is_forgotten(
    make_site: MakeSite, entry: Mapping[str, str]
) -> None:
    run(make_site(clinic(busy=[entry])), "busy")
    app = make_site(clinic())
    assert run(app, "busy") == (0, "test-clinic: forgot 1, no longer in the profile\n")
    assert run(app, "busy") == (0, "")


def test_without_what_unfolds_repetition_the_site_is_not_ready(
    make_site: MakeSite, entry: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_site(approve(clinic(busy=[entry])))
    assert run(app, "check")[0] == 0
    monkeypatch.setitem(sys.modules, "recurring_ical_events", None)
    for command in ("check", "busy"):
        code, output = run(app, command)
        assert code == 1
        assert "Install 'intake_plugin[busy]'" in output
