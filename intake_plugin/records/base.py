"""The plugin's own declarative base, its column types, and the copies that a host's DDL tools see.

Queries go through `Base`: typed constructors, exact result types, and our own names for every
constraint, whatever the host's base looks like. The host's metadata gets copies of the table
definitions, so that `db.create_all()` and `flask db migrate` know the tables; nothing else uses
the copies.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass, Mapper, Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from intake_plugin.errors import SetupError

INFO_KEY = "intake_plugin"

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# Identifiers differ by case everywhere, as they do in SQLite and PostgreSQL; MariaDB's usual
# collation would take the clinics "north" and "North" for one.
TABLE_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}

StateT = TypeVar("StateT", bound=StrEnum)


class UTCDateTime(sa.types.TypeDecorator[dt.datetime]):
    """An instant: aware in (any zone), aware UTC out, stored as naive UTC with microseconds.

    A naive value is refused, because nobody can say which instant it means.
    """

    impl = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, _dialect: sa.Dialect) -> dt.datetime | None:
        """Return `value` as naive UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(
                f"{value!r} has no time zone; give an aware datetime, such as datetime.now(UTC)."
            )
        return value.astimezone(dt.UTC).replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, _dialect: sa.Dialect) -> dt.datetime | None:
        """Return the stored instant as aware UTC."""
        return None if value is None else value.replace(tzinfo=dt.UTC)


class EpochSeconds(sa.sql.functions.FunctionElement[int]):
    """A stored instant as whole seconds since the Unix epoch, counted by the database.

    Reading thousands of instants as numbers costs a fraction of making a datetime of each.
    """

    inherit_cache = True
    type = sa.BigInteger()
    name = "epoch_seconds"


_EPOCH_SECONDS = {
    "sqlite": "CAST(ROUND((JULIANDAY({}) - 2440587.5) * 86400) AS INTEGER)",
    "postgresql": "CAST(EXTRACT(epoch FROM {}) AS BIGINT)",
    "mysql": "TIMESTAMPDIFF(SECOND, '1970-01-01', {})",
    "mariadb": "TIMESTAMPDIFF(SECOND, '1970-01-01', {})",
}


@compiles(EpochSeconds)
def _compile_epoch_seconds(element: EpochSeconds, compiler: sa.sql.compiler.SQLCompiler, **kw: Any) -> str:
    return _EPOCH_SECONDS[compiler.dialect.name].format(compiler.process(element.clauses, **kw))


class State(sa.types.TypeDecorator[StateT]):
    """A `StrEnum` stored by its value in a plain string, so that a new member is not a migration."""

    impl = sa.String(16)
    cache_ok = True

    def __init__(self, members: type[StateT]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: StateT | None, _dialect: sa.Dialect) -> str | None:
        """Return the string to store."""
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, _dialect: sa.Dialect) -> StateT | None:
        """Return the member that was stored."""
        return None if value is None else self.members(value)


Bytes = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
"""Binary values up to 16 MB; MariaDB's plain BLOB ends at 64 KB."""

LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
"""Text up to 16 MB; MariaDB's plain TEXT ends at 64 KB."""


def new_id() -> str:
    """Return a fresh row id: 32 hexadecimal digits."""
    return uuid4().hex


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False, repr=False):
    """Base of every table of the plugin; rows are made with keyword arguments only.

    Rows compare by identity, and their `repr` shows the primary key alone, so that no answer and
    no name can reach a log through a traceback.
    """

    metadata = sa.MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {dt.datetime: UTCDateTime(), bytes: Bytes}

    def __repr__(self) -> str:
        state = sa.inspect(self)
        columns = [state.mapper.get_property_by_column(column).key for column in state.mapper.primary_key]
        key = ", ".join(f"{name}={state.dict.get(name)!r}" for name in columns)
        return f"<{type(self).__name__} {key}>"


class _Layout(NamedTuple):
    """How rows of one class are stored; worked out once for each class."""

    mapper: Mapper[Any]
    insert: sa.Insert
    columns: tuple[tuple[str, str], ...]
    """Name of each column, and the attribute that has its value."""
    version: str | None


@cache
def _layout(row: type[Base]) -> _Layout:
    mapper = sa.inspect(row)
    versions = mapper.version_id_col
    return _Layout(
        mapper=mapper,
        insert=sa.insert(Base.metadata.tables[row.__tablename__]),
        columns=tuple((attribute.columns[0].name, attribute.key) for attribute in mapper.column_attrs),
        version=None if versions is None else mapper.get_property_by_column(versions).key,
    )


def store(session: Session, rows: Sequence[Base]) -> None:
    """Insert fresh rows of one table with one statement; from then on they are detached, as they were stored.

    It writes what a flush would write, without the unit of work, which costs a booking more than its
    statements. What has to be stored before has been flushed before.
    """
    layout = _layout(type(rows[0]))
    for row in rows:
        if layout.version is not None:
            set_committed_value(row, layout.version, 1)
        for _, key in layout.columns:
            # A default that nobody has set is not in the row yet, and would be read back for it.
            if key not in row.__dict__:
                set_committed_value(row, key, getattr(row, key))
    values = [{name: row.__dict__[key] for name, key in layout.columns} for row in rows]
    session.connection({"mapper": layout.mapper}).execute(layout.insert, values)
    for row in rows:
        make_transient_to_detached(row)


def add_tables_to(metadata: sa.MetaData) -> None:
    """Copy the plugin's table definitions into a host's `metadata`, for its DDL tools only.

    Does nothing when they are there already. Raises `SetupError` when the host has tables of the
    same name, or a default schema, which the plugin's own queries would not look into.
    """
    if metadata.info.get(INFO_KEY):
        return
    # The tables are known to `Base` once their modules are imported, and those import this one.
    import_module("intake_plugin.records.outbox")
    _refuse_clashes(metadata)
    for table in Base.metadata.sorted_tables:
        _make_plain(table, table.to_metadata(metadata))
    # The mark stands here and not on the tables, because Alembic writes Table.info into migrations.
    metadata.info[INFO_KEY] = True


def _refuse_clashes(metadata: sa.MetaData) -> None:
    schema = metadata.schema
    prefix = f"{schema}." if schema else ""
    clash = sorted(name for name in Base.metadata.tables if prefix + name in metadata.tables)
    if clash:
        raise SetupError(
            f"This site already has tables named {', '.join(clash)}. intake_plugin keeps its records under "
            "those names; rename the site's own tables before calling Intake.init_app(app)."
        )


def _make_plain(ours: sa.Table, copy: sa.Table) -> None:
    """Strip from `copy` what a generated migration could not say without importing the plugin."""
    for column in copy.columns:
        if isinstance(column.type, sa.types.TypeDecorator):
            column.type = column.type.impl_instance
    # A host's naming convention would rename the copies, and two sites' databases would differ.
    names = {tuple(index.columns.keys()): index.name for index in ours.indexes}
    for index in copy.indexes:
        index.name = names[tuple(index.columns.keys())]
