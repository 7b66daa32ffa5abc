"""A site with an app factory and profiles in files, as in the README."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader

from intake_plugin import Intake, current_clinic
from intake_plugin.errors import ConfigurationError
from intake_plugin.testing import keys
from tests.hosts.conftest import LAYOUT, PROFILE, begin

db = SQLAlchemy()
intake = Intake(db)


def create_app(folder: Path) -> Flask:
    app = Flask("factory", root_path=str(folder))
    app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'site.sqlite'}", INTAKE_KEYS=keys())
    app.jinja_loader = DictLoader({"site.html": LAYOUT})
    db.init_app(app)
    assert intake.init_app(app) is app
    app.register_blueprint(intake.blueprint("north", "clinics/north.toml"), url_prefix="/north/book")
    with app.app_context():
        db.create_all()
    return app


def test_each_call_makes_a_site_of_its_own(tmp_path: Path) -> None:
    for name in ("first", "second"):
        folder = tmp_path / name
        (folder / "clinics").mkdir(parents=True)
        shutil.copy(PROFILE, folder / "clinics" / "north.toml")
        app = create_app(folder)
        begin(app)
        with app.test_request_context("/north/book/"):
            assert current_clinic.name == "North Clinic"
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def test_a_profile_with_mistakes_names_its_file_and_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "clinics").mkdir()
    text = PROFILE.read_text().replace('notice = "PT24H"', 'notice = "a day"').replace("grid =", "gird =")
    (tmp_path / "clinics" / "north.toml").write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        create_app(tmp_path)
    assert "north.toml" in str(raised.value)
    assert "gird" in str(raised.value)
    assert "a day" in str(raised.value)
