"""How long a transaction waits for a lock, and which failures are worth a second try.

Every database counts its own way: PostgreSQL per transaction, MariaDB per connection in whole
seconds, SQLite per connection for its one writer. What was set on a connection is put back, since
the connection is the host's and goes back into its pool.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_MILLISECOND = dt.timedelta(milliseconds=1)
_SECOND = dt.timedelta(seconds=1)

_STATES = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock."""
_CODES = frozenset({1020, 1213})
"""MariaDB: a row changed since the transaction's snapshot, deadlock."""
_SQLITE = frozenset({517})
"""SQLite: another writer committed since the transaction's snapshot."""


@contextmanager
def patience(connection: sa.Connection, timeout: dt.timedelta) -> Iterator[None]:
    """Let every statement of the block wait at most `timeout` for a lock, rounded up to what is countable."""
    match connection.dialect.name:
        case "postgresql":
            # Ends with the transaction by itself.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {-(-timeout // _MILLISECOND)}")
            yield
        case "mysql" | "mariadb":
            before = "SET @intake_lock_wait = @@SESSION.innodb_lock_wait_timeout"
            connection.exec_driver_sql(
                f"{before}, SESSION innodb_lock_wait_timeout = {-(-timeout // _SECOND)}"
            )
            with _put_back(connection, "SET SESSION innodb_lock_wait_timeout = @intake_lock_wait"):
                yield
        case "sqlite":
            before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {-(-timeout // _MILLISECOND)}")
            with _put_back(connection, f"PRAGMA busy_timeout = {before}"):
                yield
        case _:
            yield


@contextmanager
def _put_back(connection: sa.Connection, statement: str) -> Iterator[None]:
    try:
        yield
    finally:
        # A connection that broke is thrown away by its pool; a second error would hide the first.
        with suppress(DBAPIError):
            connection.exec_driver_sql(statement)


def worth_again(error: DBAPIError) -> bool:
    """Whether the database gave up a transaction only because of others that ran at the same time."""
    cause = error.orig
    code = getattr(cause, "args", None) or (None,)
    return (
        getattr(cause, "sqlstate", None) in _STATES
        or code[0] in _CODES
        or getattr(cause, "sqlite_errorcode", None) in _SQLITE
    )
