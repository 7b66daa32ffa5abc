"""Attributes that are encrypted at rest and read as plain Python values.

A sealed attribute stands over a binary column. The ciphertext is bound to its place, table,
column, clinic and row, so that a value copied into another row or column no longer opens.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

from flask import current_app
from sqlalchemy import ColumnElement, LargeBinary, and_, func, literal, type_coerce

from intake_plugin.records.base import INFO_KEY, Base

if TYPE_CHECKING:
    from intake_plugin.records.keyring import KeyRing

T = TypeVar("T")


class Sealed(Generic[T]):
    """A descriptor that seals on assignment and opens on reading.

    It stands after the column it writes, which bears its name and `_sealed`, and after the row's
    `clinic_id` and `id`::

        note_sealed: Mapped[bytes] = mapped_column("note", init=False)
        note: Sealed[str] = Sealed(str)

    Values are JSON. Reading returns a fresh copy each time, so a change inside it is not noticed:
    assign the changed value back. `None` is stored as NULL. Reading and writing need an
    application context, because each app has its own key ring; `SealBroken` is raised when the
    stored value was altered or moved.
    """

    def __init__(self, default: Callable[[], T]) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._column = f"{name}_sealed"

    @overload
    def __get__(self, row: None, owner: type) -> Self: ...
    @overload
    def __get__(self, row: Base, owner: type) -> T: ...
    def __get__(self, row: Base | None, owner: type) -> Self | T:
        if row is None:
            return self
        envelope = getattr(row, self._column)
        if envelope is None:
            return cast("T", None)
        return cast("T", json.loads(current_keyring().open(envelope, self._place(row))))

    def __set__(self, row: Base, value: T) -> None:
        # The constructor passes the descriptor itself when the argument was left out.
        plain = self._default() if isinstance(value, Sealed) else value
        if plain is None:
            setattr(row, self._column, None)
            return
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        setattr(row, self._column, current_keyring().seal(text.encode(), self._place(row)))

    def is_older(self, row: type[Base]) -> ColumnElement[bool]:
        """Return the condition that a row's value was sealed by another key than the newest."""
        column, beginning = getattr(row, self._column), current_keyring().beginning
        start = type_coerce(func.substr(column, 1, len(beginning)), LargeBinary)
        return and_(column.is_not(None), start != literal(beginning, LargeBinary))

    def reseal(self, row: Base) -> bool:
        """Seal the value of `row` again if an older key sealed it; return whether it did."""
        envelope = getattr(row, self._column)
        if envelope is None or current_keyring().is_current(envelope):
            return False
        self.__set__(row, self.__get__(row, type(row)))
        return True

    def _place(self, row: Any) -> bytes:
        return f"{row.__tablename__}|{self._name}|{row.clinic_id}|{row.id}".encode()


def sealed_of(row: type[Base]) -> tuple[Sealed[Any], ...]:
    """Return the sealed attributes of a table, none for most."""
    return tuple(value for value in vars(row).values() if isinstance(value, Sealed))


def current_keyring() -> KeyRing:
    """Return the key ring of the app whose context is active."""
    keyring: KeyRing = current_app.extensions[INFO_KEY].keyring
    return keyring
