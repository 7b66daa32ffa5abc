"""The desk at which every use case is done: one clinic, one database session, one moment.

Rules of writing, in words:

- A use case commits once, at its end; what fails before leaves nothing behind.
- The case's row is locked before anything is decided from it, and read again if it has changed
  since it was read. Its version is checked on the way out, so that of two tabs one wins and the
  other is told (`Stale`). Every write to a case goes through the ORM, which counts the version.
- A transaction that decides anything sees what others have committed by then. Where the one that
  a request has begun reads from a snapshot, it is ended first and another begun.
- On SQLite, which locks no rows, the same step takes the database's one write lock, so that what
  is read afterwards stays true until the commit.
- Locks are taken in one order: case, or all cases of a person, then claims in key order, then rows of the
  outbox, then the head of the audit chain. Nobody waits for an earlier lock while holding a later one.
  Whose cases are a person's is read before and compared once they are locked.
- Nobody waits for longer than `INTAKE_LOCK_TIMEOUT`.
- The audit entry is written last, in the transaction of the act it records.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from intake_plugin.clinical.protocol import Protocol, Texts
from intake_plugin.errors import Busy, NotFound, NoTreatment, Stale, TimeTaken
from intake_plugin.records import audit, locks
from intake_plugin.records.base import Base
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import AuditEntry, Case
from intake_plugin.settings import Clinic, Settings, Treatment

T = TypeVar("T")

_CASES = Base.metadata.tables[Case.__tablename__]
_LOCK = (
    sa.select(_CASES.c.id, _CASES.c.version)
    .where(_CASES.c.clinic_id == sa.bindparam("clinic_id"), _CASES.c.id == sa.bindparam("case_id"))
    .with_for_update()
)
_LOCK_PERSON = (
    sa.select(_CASES.c.id, _CASES.c.version)
    .where(
        _CASES.c.clinic_id == sa.bindparam("clinic_id"),
        _CASES.c.email_index.in_(sa.bindparam("indexes", expanding=True)),
    )
    .order_by(_CASES.c.id)
    .with_for_update()
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Office:
    """What a use case works with; `now` is an aware UTC instant and the only clock."""

    clinic: Clinic
    session: Session
    settings: Settings
    keyring: KeyRing
    now: dt.datetime

    @property
    def connection(self) -> sa.Connection:
        """The current transaction, for statements on tables; they do not flush what is pending."""
        return self.session.connection({"mapper": Case})

    @property
    def today(self) -> dt.date:
        """The clinic's own calendar date."""
        return self.now.astimezone(self.clinic.zone).date()

    def find_treatment(self, case: Case) -> Treatment | None:
        """Return the treatment a case is for, or None when the clinic's profile no longer has it."""
        return self.clinic.treatments.get(case.protocol_id)

    def treatment_of(self, case: Case) -> Treatment:
        """Return the treatment a case is for.

        Raises NoTreatment when the clinic's profile no longer has it.
        """
        treatment = self.find_treatment(case)
        if treatment is None:
            raise NoTreatment(self.clinic.name, case.protocol_id)
        return treatment

    def protocol_of(self, case: Case) -> Protocol:
        """Return the protocol a case is screened by, with the clinic's changes."""
        return self.treatment_of(case).protocol

    def locale_of(self, case: Case) -> str:
        """Return the case's language, or the clinic's first one when it is no longer offered."""
        return case.locale if case.locale in self.clinic.languages else self.clinic.languages[0]

    def texts_of(self, case: Case) -> Texts:
        """Return the protocol's words in the case's language."""
        return self.protocol_of(case).texts[self.locale_of(case)]

    def title_of(self, case: Case) -> str:
        """Return what the case's treatment is called, nothing when the profile no longer has it."""
        return "" if self.find_treatment(case) is None else self.texts_of(case).title


PATIENT = audit.Actor(kind="patient", id="")
SYSTEM = audit.Actor(kind="system", id="")


class Crossed(Busy):
    """The database gave up one of two transactions that waited for each other; a second try helps."""


class Outrun(TimeTaken):
    """Somebody else took, a moment before, what this transaction was about to take."""


@contextmanager
def transaction(office: Office) -> Iterator[None]:
    """Commit what the block wrote, or nothing of it.

    Raises Stale when somebody else wrote the same case meanwhile, Busy when the database could
    not give a lock in time, and Crossed, which is Busy too, when another try would help. Any other
    failure of the database stays what it is.
    """
    try:
        _see_others(office)
        with locks.patience(office.connection, office.settings.lock_timeout):
            yield
            office.session.flush()
        office.session.commit()
    except StaleDataError:
        office.session.rollback()
        raise Stale("This was changed in another window in the meantime.") from None
    except OperationalError as error:
        office.session.rollback()
        if not locks.lost(error):
            raise
        kind = Crossed if locks.worth_again(error) else Busy
        raise kind("Somebody else is writing at this moment. Nothing was changed.") from error
    except BaseException:
        office.session.rollback()
        raise


def _see_others(office: Office) -> None:
    connection = office.connection
    if not locks.sees_only_a_snapshot(connection):
        return
    # Committed, not rolled back: the site's own code may have left something pending.
    office.session.commit()
    if connection.dialect.name != "sqlite":
        office.session.connection({"mapper": Case}, execution_options={"isolation_level": "READ COMMITTED"})


@contextmanager
def writing(office: Office, case: Case) -> Iterator[Case]:
    """Lock `case`, yield it as it is stored now, and commit (see `transaction`)."""
    with _writing(office, case) as (locked, _):
        yield locked


@contextmanager
def writing_one_of(office: Office, case: Case, indexes: Sequence[str]) -> Iterator[tuple[Case, bool]]:
    """Lock `case` as `writing` does, and with it, in one order, every case stored under the same address.

    `indexes` are the blind indexes of the address. Yields the case, and whether there is another one.
    """
    with _writing(office, case, indexes) as found:
        yield found


@contextmanager
def _writing(office: Office, case: Case, indexes: Sequence[str] = ()) -> Iterator[tuple[Case, bool]]:
    # From its identity: asking a row of an ended transaction for its id would read before locking.
    _, case_id = sa.inspect(case).identity or (case.clinic_id, case.id)
    with transaction(office):
        _lock_sqlite(office, case_id)
        versions = _lock_rows(office, case_id, indexes)
        locked = _as_stored(office, case, case_id, versions)
        if locked is None:
            raise NotFound("This case is no longer stored.")
        yield locked, len(versions) > 1


def _lock_rows(office: Office, case_id: str, indexes: Sequence[str]) -> Mapping[str, int]:
    """Lock the row of a case, and of those with the same address, and return their versions by id."""
    mine = {"clinic_id": office.clinic.id}
    found = _versions(office, _LOCK_PERSON, mine | {"indexes": indexes}) if indexes else {}
    if case_id not in found:
        found |= _versions(office, _LOCK, mine | {"case_id": case_id})
    return found


def _versions(office: Office, lock: sa.Select[tuple[str, int]], values: Mapping[str, Any]) -> dict[str, int]:
    return {row.id: row.version for row in office.connection.execute(lock, values)}


def _as_stored(office: Office, case: Case, case_id: str, versions: Mapping[str, int]) -> Case | None:
    """Return a locked case as it is stored now, or None if it is gone."""
    known = sa.inspect(case)
    version = known.dict.get("version") if known.session is office.session else None
    if version is not None and versions.get(case_id) == version:
        return case
    statement = (
        sa.select(Case)
        .where(Case.clinic_id == office.clinic.id, Case.id == case_id)
        .execution_options(populate_existing=True)
    )
    return office.session.scalars(statement).one_or_none()


def keep(office: Office, case_id: str) -> Case | None:
    """Lock a case until the end of the transaction without changing it; None where somebody else has it.

    It comes first in a transaction, like the lock of `writing`.
    """
    _lock_sqlite(office, case_id)
    statement = (
        sa.select(Case)
        .where(Case.clinic_id == office.clinic.id, Case.id == case_id)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return office.session.scalars(statement).one_or_none()


def alone(office: Office) -> None:
    """Let nobody else write to SQLite, which locks no rows, until the end of the transaction.

    It comes first in a transaction that locks rows of other tables than the case's.
    """
    _lock_sqlite(office, case_id="")


def _lock_sqlite(office: Office, case_id: str) -> None:
    # SQLite takes its lock for the statement, whether or not there is such a case.
    if office.connection.dialect.name == "sqlite":
        mine = sa.update(_CASES).where(_CASES.c.clinic_id == office.clinic.id, _CASES.c.id == case_id)
        office.connection.execute(mine.values(id=_CASES.c.id))


def decided(office: Office, act: Callable[[], T]) -> T:
    """Run a use case that takes times until it is decided, each try in a transaction of its own.

    After losing a time to somebody else it looks again, and takes the next practitioner or room
    that is free; every such loss means that one lane more is taken at the time of one session, so
    there are no more tries than lanes times sessions. Two transactions that waited for each other
    are tried once more. Raises TimeTaken when all are taken, Busy when the database gave no lock.
    """
    crossed = False
    for _ in range(1 + _losses(office.clinic)):
        try:
            return act()
        except Outrun:
            continue
        except Crossed:
            if crossed:
                raise
            crossed = True
    raise TimeTaken("Somebody else booked one of these times a moment ago.")


def _losses(clinic: Clinic) -> int:
    """Return how often somebody can be outrun before every lane at the times of a course is taken."""
    lanes = sum(resource.lanes for resource in clinic.resources)
    courses = (course for each in clinic.treatments.values() for course in each.protocol.courses)
    return lanes * max((course.sessions.max for course in courses), default=1)


def note(
    office: Office,
    case: Case,
    action: str,
    payload: Mapping[str, Any],
    *,
    actor: audit.Actor = PATIENT,
) -> AuditEntry:
    """Leave the audit entry of an act on a case in the current transaction; the act's last write."""
    if sa.inspect(case).modified:
        case.updated_at = office.now
    if actor is PATIENT:
        actor = audit.Actor(kind="patient", id=case.id)
    return audit.record(
        office.session,
        clinic_id=office.clinic.id,
        now=office.now,
        actor=actor,
        action=action,
        object_kind="case",
        object_id=case.id,
        payload=payload,
    )
