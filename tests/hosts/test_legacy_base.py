"""A site that never chose a base class: `SQLAlchemy()` and `db.Model` with `db.Column`."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import foreign

from intake_plugin.records.tables import Case
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


def test_a_patient_begins(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy())
    begin(app)
    assert clinics_of_cases(app) == ["north"]


def test_a_table_of_the_site_may_refer_to_a_case(make_site: MakeSite) -> None:
    db = SQLAlchemy()

    class Invoice(db.Model):  # type: ignore[name-defined,misc]  # made at run time
        __table_args__ = (
            db.ForeignKeyConstraint(["clinic_id", "case_id"], ["intake_case.clinic_id", "intake_case.id"]),
            {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"},
        )
        id = db.Column(db.Integer, primary_key=True)
        clinic_id = db.Column(db.String(64), nullable=False)
        case_id = db.Column(db.String(32), nullable=False)
        case = db.relationship(
            Case,
            primaryjoin=lambda: sa.and_(
                foreign(Invoice.clinic_id) == Case.clinic_id, foreign(Invoice.case_id) == Case.id
            ),
        )

    app = make_site(db)
    begin(app)
    with app.app_context():
        case = db.session.scalars(sa.select(Case)).one()
        db.session.add(Invoice(clinic_id=case.clinic_id, case_id=case.id))
        db.session.commit()
        invoice: Any = db.session.scalars(sa.select(Invoice)).one()
        assert invoice.case is case
