"""A site whose models are dataclasses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from tests.hosts.conftest import MakeSite, begin, clinics_of_cases

SQLALCHEMY_2_0 = sa.__version__.startswith("2.0.")


class Base(MappedAsDataclass, DeclarativeBase):
    pass


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


@pytest.mark.skipif(not SQLALCHEMY_2_0, reason="Flask-SQLAlchemy 3.1 refuses such a base with SQLAlchemy 2.1")
def test_a_patient_begins_where_the_base_itself_is_a_dataclass(make_site: MakeSite) -> None:
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


@pytest.mark.skipif(SQLALCHEMY_2_0, reason="works with SQLAlchemy 2.0")
def test_the_refusal_of_such_a_base_is_not_the_plugins() -> None:
    """When this stops failing, the test above can run with every SQLAlchemy (flask-sqlalchemy #1420)."""
    with pytest.raises(InvalidRequestError, match="already a dataclass"):
        SQLAlchemy(model_class=Base)


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
