"""A site whose models are dataclasses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


def test_a_patient_begins_where_the_base_itself_is_a_dataclass(make_site: MakeSite) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    if not sa.__version__.startswith("2.0."):
        # Flask-SQLAlchemy itself refuses such a base (its issue 1420). Once it does not, this fails,
        # and what follows can run with every SQLAlchemy.
        with pytest.raises(InvalidRequestError, match="already a dataclass"):
            SQLAlchemy(model_class=Base)
        return

    db = SQLAlchemy(model_class=Base)

    class Page(db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        title: Mapped[str] = mapped_column(sa.String(80))

    app = make_site(db)
    begin(app)
    assert clinics_of_cases(app) == ["north"]
    with app.app_context():
        db.session.add(Page(title="Prices"))
        db.session.commit()


def test_a_patient_begins_where_single_models_are_dataclasses(make_site: MakeSite) -> None:
    class PlainBase(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=PlainBase)

    class Page(MappedAsDataclass, db.Model):  # type: ignore[name-defined,misc]  # made at run time
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        title: Mapped[str] = mapped_column(sa.String(80))

    app = make_site(db)
    begin(app)
    assert clinics_of_cases(app) == ["north"]
    with app.app_context():
        db.session.add(Page(title="Prices"))
        db.session.commit()
