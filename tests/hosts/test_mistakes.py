"""What goes wrong when a site mounts the plugin, and what the site is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase

from intake_plugin import Intake
from intake_plugin.errors import ConfigurationError, KeyRingError, LayoutError, SetupError
from intake_plugin.settings import Clinic
from intake_plugin.testing import keys
from tests.hosts.conftest import MakeSite, begin


def bare(db: SQLAlchemy, **config: object) -> Flask:
    app = Flask("bare")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", INTAKE_KEYS=keys(), **config)
    db.init_app(app)
    return app


def test_init_app_forgotten(clinic: Clinic) -> None:
    db = SQLAlchemy()
    app = bare(db)
    blueprint = Intake(db).blueprint("north", clinic)
    with pytest.raises(SetupError, match=r"Call Intake.init_app\(app\) before .* 'north'"):
        app.register_blueprint(blueprint)
    assert [rule.endpoint for rule in app.url_map.iter_rules()] == ["static"]


def test_init_app_twice() -> None:
    db = SQLAlchemy()
    app = bare(db)
    Intake(db).init_app(app)
    with pytest.raises(SetupError, match="called twice"):
        Intake(db).init_app(app)


@pytest.mark.parametrize("key_ring", [None, "", "nonsense"])
def test_no_key(key_ring: str | None) -> None:
    db = SQLAlchemy()
    app = bare(db)
    app.config["INTAKE_KEYS"] = key_ring
    with pytest.raises((KeyRingError, ConfigurationError), match="flask intake new-key"):
        Intake(db).init_app(app)


@pytest.mark.parametrize("key_ring", [keys().encode(), [keys()], {"k1": keys()}, lambda: [keys()]])
def test_a_key_ring_of_another_type_is_refused_and_not_repeated(key_ring: object) -> None:
    db = SQLAlchemy()
    app = bare(db)
    app.config["INTAKE_KEYS"] = key_ring
    with pytest.raises(ConfigurationError, match="INTAKE_KEYS: This is not text") as raised:
        Intake(db).init_app(app)
    assert keys().partition(":")[2] not in str(raised.value)


def test_one_name_for_two_clinics(clinic: Clinic, south: Clinic) -> None:
    db = SQLAlchemy()
    app, intake = bare(db), Intake(db)
    intake.init_app(app)
    app.register_blueprint(intake.blueprint("north", clinic), url_prefix="/north")
    with pytest.raises(
        SetupError, match=r"already has a blueprint named 'north'.*intake\.blueprint\('another"
    ):
        app.register_blueprint(intake.blueprint("north", south), url_prefix="/south")


def test_a_name_the_site_uses_itself(clinic: Clinic) -> None:
    db = SQLAlchemy()
    app, intake = bare(db), Intake(db)
    intake.init_app(app)
    app.register_blueprint(Blueprint("north", __name__))
    with pytest.raises(SetupError, match="already has a blueprint named 'north'"):
        app.register_blueprint(intake.blueprint("north", clinic), url_prefix="/north")


def test_one_clinic_id_in_two_profiles(clinic: Clinic) -> None:
    db = SQLAlchemy()
    app, intake = bare(db), Intake(db)
    intake.init_app(app)
    app.register_blueprint(intake.blueprint("north", clinic), url_prefix="/north")
    with pytest.raises(SetupError, match=r"'north' and 'other' have different profiles .* id 'north'"):
        app.register_blueprint(
            intake.blueprint("other", replace(clinic, name="Another clinic")), url_prefix="/other"
        )


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    db = SQLAlchemy()
    app, intake = bare(db), Intake(db)
    intake.init_app(app)
    with pytest.raises((ConfigurationError, FileNotFoundError), match="nowhere"):
        app.register_blueprint(intake.blueprint("north", tmp_path / "nowhere.toml"), url_prefix="/north")


def test_a_table_of_the_site_has_our_name() -> None:
    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)
    sa.Table("intake_case", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("intake_token", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(SetupError, match="tables named intake_case, intake_token"):
        Intake(db).init_app(bare(db))
    assert set(db.metadata.tables) == {"intake_case", "intake_token"}


def test_a_table_that_takes_our_name_later() -> None:
    db = SQLAlchemy()
    Intake(db).init_app(bare(db))
    with pytest.raises(InvalidRequestError, match="'intake_case' is already defined"):
        sa.Table("intake_case", db.metadata, sa.Column("id", sa.Integer, primary_key=True))


def test_a_default_schema_our_queries_would_miss() -> None:
    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema="clinic_app")

    db = SQLAlchemy(model_class=Base)
    with pytest.raises(SetupError, match=r'"schema_translate_map": \{None: "clinic_app"\}\}\}\.'):
        Intake(db).init_app(bare(db))


def test_a_layout_without_the_block(make_site: MakeSite) -> None:
    def empty_layout(app: Flask) -> None:
        app.jinja_loader = DictLoader({"site.html": "<!doctype html><html><body></body></html>"})

    app = make_site(SQLAlchemy(), prepare=empty_layout)
    app.testing = True
    with pytest.raises(LayoutError, match=r"'site\.html' has no block named 'content'"):
        begin(app)
