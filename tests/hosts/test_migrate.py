"""A site that owns its migrations with Flask-Migrate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from intake_plugin.records.base import Base as Ours
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Page(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(sa.String(32), index=True)


@pytest.fixture
def site_url(database_url: str) -> str:
    return database_url


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """Alembic's env.py configures logging for the process; leave it as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def site(make_site: MakeSite, logging_kept: None) -> Flask:
    return make_site(db, prepare=lambda app: flask_migrate.Migrate(app, db), create=False)


def revisions(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted((folder / "versions").glob("*.py"))]


def db_kind(site: Flask) -> str:
    with site.app_context():
        return db.engine.dialect.name


def differences() -> list[Any]:
    """What a stricter comparison than Flask-Migrate's default still finds."""
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, db.metadata))


# The env.py that Flask-Migrate writes into the site asks Flask-SQLAlchemy in the old way first.
@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")
def test_the_site_writes_our_tables_once_and_never_drops_them(site: Flask, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    with site.app_context():
        flask_migrate.init(str(folder))
        flask_migrate.migrate(str(folder))
        flask_migrate.upgrade(str(folder))
        flask_migrate.migrate(str(folder))
        assert differences() == []
    (written,) = revisions(folder)
    upgrade, _ = written.split("def downgrade()")
    assert upgrade.count("op.create_table('intake_") == len(Ours.metadata.tables)
    assert "drop_table" not in upgrade
    assert "intake_plugin" not in written
    begin(site)
    assert clinics_of_cases(site) == ["north"]
    if db_kind(site) in {"mysql", "mariadb"}:
        return  # Alembic's downgrade drops each index before its table; MariaDB keeps those of foreign keys
    with site.app_context():
        flask_migrate.downgrade(str(folder))
        assert set(sa.inspect(db.engine).get_table_names()) == {"alembic_version"}
