"""A site with SQLAlchemy 2's own `DeclarativeBase`."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, DeclarativeBaseNoMeta, Mapped, mapped_column

from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


class Base(DeclarativeBase):
    pass


class PlainBase(DeclarativeBaseNoMeta):
    pass


db = SQLAlchemy(model_class=Base)


class Page(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None] = mapped_column(sa.String(80))


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


def test_a_patient_begins_beside_the_sites_own_tables(make_site: MakeSite) -> None:
    app = make_site(db)
    begin(app)
    assert clinics_of_cases(app) == ["north"]
    with app.app_context():
        db.session.add(Page())
        db.session.commit()


def test_a_patient_begins_on_a_base_without_a_metaclass(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy(model_class=PlainBase))
    begin(app)
    assert clinics_of_cases(app) == ["north"]
