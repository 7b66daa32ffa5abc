"""What a transaction sees of others, how long it waits for a lock, which failures mean that it waited
in vain, and which of those are worth a second try.

Every database counts its own way: PostgreSQL per transaction, MariaDB per connection in whole
seconds, SQLite per connection for its one writer. What was set on a connection is put back, since
the connection is the host's and goes back into its pool.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_MILLISECOND = dt.timedelta(milliseconds=1)
_SECOND = dt.timedelta(seconds=1)

_GIVEN_UP = frozenset({"40001", "40P01", 1213, 1020, 517})
"""PostgreSQL: serialization failure, deadlock. MariaDB: deadlock, a row changed since the transaction's
snapshot. SQLite: another writer committed since the transaction's snapshot."""
_WAITED = frozenset({"55P03", 1205})
"""The wait for a lock took too long, in PostgreSQL and MariaDB."""
_SQLITE = ("database is locked", "database table is locked")


_COMMITTED = frozenset({"READ COMMITTED", "READ UNCOMMITTED", "AUTOCOMMIT"})
_levels: WeakKeyDictionary[sa.Engine, str] = WeakKeyDictionary()


def sees_only_a_snapshot(connection: sa.Connection) -> bool:
    """Whether what the current transaction reads may be older than the locks it takes.

    MariaDB reads from a snapshot unless it is told otherwise, and so does SQLite where a transaction
    is open: a row that is locked is then read as it is now, and its neighbours as they were.
    """
    if connection.dialect.name == "sqlite":
        return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))
    level = connection.get_execution_options().get("isolation_level")
    if level is None:
        level = _levels.get(connection.engine)
    if level is None:
        level = _levels[connection.engine] = connection.get_isolation_level()
    return level not in _COMMITTED


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


def lost(error: DBAPIError) -> bool:
    """Whether a transaction failed because others had what it needed, and not the database itself."""
    return bool(_codes(error) & (_GIVEN_UP | _WAITED)) or str(error.orig).startswith(_SQLITE)


def worth_again(error: DBAPIError) -> bool:
    """Whether the database gave up a transaction only because of others that ran at the same time."""
    return bool(_codes(error) & _GIVEN_UP)


def _codes(error: DBAPIError) -> set[object]:
    cause, names = error.orig, ("sqlstate", "pgcode", "sqlite_errorcode")
    first = next(iter(getattr(cause, "args", ())), None)
    return {getattr(cause, name, None) for name in names} | ({first} if isinstance(first, int) else set())
