"""Which failures of a database mean "somebody else is writing", and which are failures."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

_POSTGRESQL = frozenset({"55P03", "40P01", "40001"})
"""Lock not available, deadlock, serialization failure."""
_MARIADB = frozenset({1205, 1213, 1020})
"""Lock wait time-out, deadlock, row changed since the transaction's snapshot."""
_SQLITE = ("database is locked", "database table is locked")


def lost_a_lock(error: DBAPIError) -> bool:
    """Whether a transaction failed only because of others at the same time, so that trying again helps."""
    cause = error.orig
    first = next(iter(getattr(cause, "args", ())), None)
    return (
        getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) in _POSTGRESQL
        or first in _MARIADB
        or (isinstance(first, str) and first.startswith(_SQLITE))
    )
