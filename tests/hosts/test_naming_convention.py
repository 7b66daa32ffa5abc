"""A site with its own naming convention: its names stay its own, and ours stay ours."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from intake_plugin.records.base import Base as Ours
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases

NAMES = {
    "ix": "site_ix_%(column_0_label)s",
    "uq": "site_uq_%(table_name)s_%(column_0_name)s",
    "ck": "site_ck_%(table_name)s_%(constraint_name)s",
    "fk": "site_fk_%(table_name)s_%(column_0_name)s",
    "pk": "site_pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMES)


db = SQLAlchemy(model_class=Base)


class Page(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(sa.String(32), index=True)


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


def test_every_constraint_and_index_bears_the_same_name_as_on_any_other_site(make_site: MakeSite) -> None:
    app = make_site(db)
    begin(app)
    assert clinics_of_cases(app) == ["north"]
    with app.app_context():
        stored = sa.inspect(db.engine)
        assert [index["name"] for index in stored.get_indexes("page")] == ["site_ix_page_slug"]
        for table in Ours.metadata.tables.values():
            names = {index.name for index in table.indexes}
            found = {index["name"] for index in stored.get_indexes(table.name)}
            assert names <= found
            assert not [name for name in found if str(name).startswith("site_")]
            uniques = {unique["name"] for unique in stored.get_unique_constraints(table.name)}
            keys = {key["name"] for key in stored.get_foreign_keys(table.name)}
            assert uniques | keys == {
                constraint.name
                for constraint in table.constraints
                if isinstance(constraint, sa.UniqueConstraint | sa.ForeignKeyConstraint)
            }
