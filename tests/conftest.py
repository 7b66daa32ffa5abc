"""What several rooms' tests share: a database of their own, on every kind of server that is configured."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

SERVERS = tuple(
    sa.make_url(url) for url in os.environ.get("INTAKE_TEST_DATABASE_URLS", "").replace(",", " ").split()
)
"""Servers besides SQLite, as SQLAlchemy URLs between commas or spaces. None is skipped once it is named."""


@pytest.fixture(autouse=True)
def loggers() -> None:
    """Let every logger speak again: what a program configures for itself silences those of others."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(params=[None, *SERVERS], ids=lambda url: url.get_backend_name() if url else "sqlite")
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database that is this test's alone: a SQLite file, then each server."""
    if request.param is None:
        yield f"sqlite:///{tmp_path / 'test.sqlite'}"
        return
    server: sa.URL = request.param
    name = f"intake_test_{uuid4().hex[:12]}"
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
        _execute(server, f"DROP DATABASE {name}{force}")


def _execute(server: sa.URL, statement: str) -> None:
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
