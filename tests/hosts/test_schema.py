"""A site that keeps all its tables in a schema it names."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from intake_plugin.records.tables import Case
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


def schema_of(site_url: str) -> str:
    """A schema of the test's database: PostgreSQL makes one, MariaDB's and SQLite's is the database."""
    url = sa.make_url(site_url)
    names = {"sqlite": "main", "postgresql": "clinic_app"}
    return names.get(url.get_backend_name(), str(url.database))


def test_the_tables_and_the_queries_meet_in_the_sites_schema(make_site: MakeSite, site_url: str) -> None:
    schema = schema_of(site_url)

    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema=schema)

    db = SQLAlchemy(model_class=Base)
    options = {"execution_options": {"schema_translate_map": {None: schema}}}
    app = make_site(db, create=False, SQLALCHEMY_ENGINE_OPTIONS=options)
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            with db.engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(schema))
        db.create_all()
        assert sa.inspect(db.engine).has_table(Case.__tablename__, schema=schema)
    begin(app)
    assert clinics_of_cases(app) == ["north"]
