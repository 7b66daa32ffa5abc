"""Two apps in one process, each with its own database and keys; and an app factory called twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from intake_plugin.errors import SealBroken
from intake_plugin.records.tables import Case
from intake_plugin.state import KEY
from intake_plugin.testing import keys
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


def test_two_apps_with_databases_of_their_own(make_site: MakeSite, tmp_path: Path) -> None:
    first = make_site(SQLAlchemy(), name="first")
    second = make_site(
        SQLAlchemy(),
        name="second",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'second.sqlite'}",
        INTAKE_KEYS=keys("second"),
    )
    begin(first)
    assert (clinics_of_cases(first), clinics_of_cases(second)) == (["north"], [])
    begin(second)
    begin(second)
    assert (clinics_of_cases(first), clinics_of_cases(second)) == (["north"], ["north", "north"])


def test_two_apps_of_one_factory_share_a_database_object(make_site: MakeSite, tmp_path: Path) -> None:
    db = SQLAlchemy()
    first = make_site(db, name="first")
    second = make_site(db, name="second", SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'second.sqlite'}")
    begin(second)
    assert (clinics_of_cases(first), clinics_of_cases(second)) == ([], ["north"])


def test_an_app_does_not_open_what_another_sealed(make_site: MakeSite) -> None:
    first = make_site(SQLAlchemy(), name="first")
    second = make_site(SQLAlchemy(), name="second", INTAKE_KEYS=keys("second"))
    begin(first)
    case = _only_case(second)
    with second.app_context(), pytest.raises(SealBroken):
        _ = case.answers
    with first.app_context():
        assert case.answers == {}


def _only_case(app: Flask) -> Case:
    with app.app_context():
        session = app.extensions[KEY].db.session
        case: Case = session.scalars(sa.select(Case)).one()
        session.expunge(case)
        return case
