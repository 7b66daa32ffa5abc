"""The audit chain: who did what to which record and when, in an order nobody can quietly change.

Each clinic has one chain. An entry holds the hash of the entry before it, so that a changed,
removed or inserted entry shows; printing the last hash on the patient's copy anchors all that
went before. An entry says nothing of what was answered: of the act's details only a keyed hash
is stored, which proves the details to whoever has them and cannot be guessed from the database.

Rules of locking, in words:

- An entry is written in the transaction of the act it records: both are stored or neither is.
- The head of a clinic's chain is the last lock a transaction takes. Everything else is written
  before (`record` flushes it), and nothing but the commit comes after, because every other act of
  the clinic waits for it.
- One transaction writes to one clinic's chain. Writing to several, take them in order of clinic id.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from intake_plugin.errors import IntakeError, Problem
from intake_plugin.records.base import Base, store
from intake_plugin.records.sealed import current_keyring
from intake_plugin.records.tables import AuditEntry, AuditHead

GENESIS = "0" * 64
"""What the first entry of a chain has for a predecessor."""

_HEADS = Base.metadata.tables[AuditHead.__tablename__]
_HEAD = sa.select(_HEADS.c.seq, _HEADS.c.hash).where(_HEADS.c.clinic_id == sa.bindparam("clinic"))
_LOCKED_HEAD = _HEAD.with_for_update()
# Compared and set in one statement: SQLite knows no row locks, and a plain read may be stale.
_ADVANCE = sa.update(_HEADS).where(
    _HEADS.c.clinic_id == sa.bindparam("clinic"), _HEADS.c.seq == sa.bindparam("from_seq")
)
_ATTEMPTS = 3
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted. `id` is the case for a patient, the host's id for staff, empty for the system."""

    kind: Literal["patient", "staff", "system"]
    id: str = ""


def record(
    session: Session,
    *,
    clinic_id: str,
    now: dt.datetime,
    actor: Actor,
    action: str,
    object_kind: str,
    object_id: str,
    payload: Mapping[str, Any],
) -> AuditEntry:
    """Append an entry to a clinic's chain in the caller's transaction, and return it.

    `payload` holds the details of the act in JSON types; only its keyed hash is stored. Call it
    last, right before the commit (see the rules above).
    """
    session.flush()
    connection = _connection(session)
    for _ in range(_ATTEMPTS):
        head = _read_head(connection, clinic_id, lock=True)
        if head is None:
            _create_head(connection, clinic_id)
            continue
        entry = AuditEntry(
            clinic_id=clinic_id,
            seq=head.seq + 1,
            at=now.astimezone(dt.UTC),
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            object_kind=object_kind,
            object_id=object_id,
            payload_hash=current_keyring().mac("audit", canonical(payload)),
            prev_hash=head.hash,
            hash="",
        )
        entry.hash = _hash(entry)
        if _advance_head(connection, head, entry):
            store(session, [entry])
            return entry
    raise IntakeError(
        f"The audit chain of clinic {clinic_id!r} moved on although its head was locked. "
        "Its database does not lock rows; use SQLite, PostgreSQL or MariaDB (InnoDB)."
    )


def head(session: Session, clinic_id: str) -> str:
    """Return the hash of a clinic's last entry, `GENESIS` if there is none."""
    found = _read_head(_connection(session), clinic_id, lock=False)
    return GENESIS if found is None else found.hash


def verify(session: Session, clinic_id: str) -> tuple[Problem, ...]:
    """Walk a clinic's chain and return every place where it is broken; empty means sound.

    The walk ends where the chain ended when it began, so that acts in between do not disturb it.
    """
    problems: list[Problem] = []
    seq, previous = 0, GENESIS
    end, last = _read_end(session, clinic_id)
    entries = session.scalars(
        sa.select(AuditEntry)
        .where(AuditEntry.clinic_id == clinic_id, AuditEntry.seq <= end.seq)
        .order_by(AuditEntry.seq)
        .execution_options(yield_per=_BATCH, populate_existing=True)
    )
    for entry in entries:
        problems.extend(_broken(entry, seq + 1, previous))
        seq, previous = entry.seq, entry.hash
    if last > end.seq:
        problems.append(Problem(f"entry {last}", "is stored, but the chain's head names an earlier one"))
    if (end.seq, end.hash) != (seq, previous):
        problems.append(
            Problem(
                f"entry {seq}", "is the last one stored, but the chain's head names another: some are missing"
            )
        )
    return tuple(problems)


def canonical(payload: Mapping[str, Any]) -> bytes:
    """Return `payload` as the one JSON text that stands for it."""
    return json.dumps(
        payload, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode()


def _broken(entry: AuditEntry, expected: int, previous: str) -> list[Problem]:
    where, problems = f"entry {entry.seq}", []
    if entry.seq != expected:
        last = entry.seq - 1
        gap = f"entry {expected}" if expected == last else f"entries {expected} to {last}"
        problems.append(Problem(where, f"follows a gap: {gap} missing"))
    if entry.prev_hash != previous:
        problems.append(Problem(where, "does not continue the entry before it"))
    if entry.hash != _hash(entry):
        problems.append(Problem(where, "was changed after it was written"))
    return problems


def _hash(entry: AuditEntry) -> str:
    content = {
        "clinic_id": entry.clinic_id,
        "seq": entry.seq,
        "at": entry.at.isoformat(timespec="microseconds"),
        "actor": [entry.actor_kind, entry.actor_id],
        "action": entry.action,
        "object": [entry.object_kind, entry.object_id],
        "payload": entry.payload_hash,
        "previous": entry.prev_hash,
    }
    return hashlib.sha256(canonical(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class _Head:
    seq: int
    hash: str


def _connection(session: Session) -> sa.Connection:
    return session.connection({"mapper": AuditHead})


def _read_head(connection: sa.Connection, clinic_id: str, *, lock: bool) -> _Head | None:
    row = connection.execute(_LOCKED_HEAD if lock else _HEAD, {"clinic": clinic_id}).one_or_none()
    return None if row is None else _Head(row.seq, row.hash)


def _read_end(session: Session, clinic_id: str) -> tuple[_Head, int]:
    """Return a chain's head and the last number stored, both of one moment: one statement reads them."""
    last = sa.select(sa.func.max(AuditEntry.seq)).where(AuditEntry.clinic_id == clinic_id)
    head = sa.select(AuditHead.seq, AuditHead.hash).where(AuditHead.clinic_id == clinic_id).subquery()
    row = session.execute(
        sa.select(last.scalar_subquery(), head.c.seq, head.c.hash).select_from(
            sa.select(sa.literal(1)).subquery().outerjoin(head, sa.true())
        )
    ).one()
    return _Head(row[1] or 0, row[2] or GENESIS), row[0] or 0


def _advance_head(connection: sa.Connection, head: _Head, entry: AuditEntry) -> bool:
    step = {"clinic": entry.clinic_id, "from_seq": head.seq, "seq": entry.seq, "hash": entry.hash}
    return connection.execute(_ADVANCE, step).rowcount == 1


def _create_head(connection: sa.Connection, clinic_id: str) -> None:
    # The first two acts of a clinic may meet here; the second waits and finds the row.
    row = {"clinic_id": clinic_id, "seq": 0, "hash": GENESIS}
    connection.execute(_insert_once(connection.dialect.name).values(row))


def _insert_once(dialect: str) -> sa.Insert:
    """Return an INSERT into the heads that leaves a row that is there as it is."""
    # Imported where needed: a dialect costs every app's start, and an app needs one.
    if dialect in {"postgresql", "sqlite"}:
        package = import_module(f"sqlalchemy.dialects.{dialect}")
        return cast("sa.Insert", package.insert(AuditHead).on_conflict_do_nothing())
    if dialect in {"mysql", "mariadb"}:
        insert = import_module("sqlalchemy.dialects.mysql").insert(AuditHead)
        # INSERT IGNORE would leave a shared lock behind, and two of those wait for each other.
        return cast("sa.Insert", insert.on_duplicate_key_update(clinic_id=insert.inserted.clinic_id))
    return sa.insert(AuditHead)
