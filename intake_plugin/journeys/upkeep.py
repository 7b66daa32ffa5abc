"""Work outside requests: what has run out is deleted, what an older key sealed is sealed again.

Every command may be run at any time, twice, and on several hosts at once: rows are claimed with
`SKIP LOCKED` where the database has it, and each batch is one transaction. What is read in order to be
written again cannot change in between: its rows are locked, or on SQLite the whole database is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from intake_plugin.journeys import holding
from intake_plugin.journeys.intake import answers_hashes, identity_of
from intake_plugin.journeys.office import SYSTEM, Office, alone, transaction
from intake_plugin.loading import MAIL_DEFAULTS
from intake_plugin.reading import exact_time
from intake_plugin.records import audit
from intake_plugin.records.base import Base
from intake_plugin.records.outbox import MailState, Outgoing
from intake_plugin.records.sealed import sealed_of
from intake_plugin.records.tables import Case, CaseState, Decision, Signature, Token

BATCH = 200


def expire(office: Office) -> int:
    """Delete drafts, tokens, holds and messages that have run out, and return the number of drafts.

    A draft is what nothing was ever signed or decided on: no part of it is a record of treatment.
    """
    deleted = 0
    while batch := _expire_batch(office):
        deleted += batch
    with transaction(office):
        office.session.execute(
            sa.delete(Token).where(Token.clinic_id == office.clinic.id, Token.expires_at <= office.now)
        )
    while _expire_holds(office):
        pass
    if office.clinic.mail is None:
        _end_messages(office)
    while _expire_messages(office):
        pass
    return deleted


def _expire_holds(office: Office) -> int:
    with transaction(office):
        return holding.clear_lapsed(office, BATCH)


def _end_messages(office: Office) -> None:
    """End what a clinic that sends no mail any more has left unsent, and wipe what was in it."""
    mine = sa.update(Outgoing).where(Outgoing.clinic_id == office.clinic.id)
    nobody_sends = sa.or_(Outgoing.lease.is_(None), Outgoing.next_at <= office.now)
    waiting = mine.where(Outgoing.state == MailState.WAITING, nobody_sends)
    given_up = mine.where(Outgoing.state == MailState.UNDELIVERABLE, Outgoing.content_sealed.is_not(None))
    ended = {"state": MailState.NEEDLESS, "ended_at": office.now, "lease": None}
    with transaction(office):
        for statement in (waiting.values(ended), given_up):
            office.session.execute(
                statement.values(content_sealed=None), execution_options={"synchronize_session": False}
            )


def _expire_messages(office: Office) -> int:
    """Delete what is left of messages that ended as long ago as the clinic keeps them."""
    policy = office.clinic.mail
    kept = exact_time(MAIL_DEFAULTS["keep_sent"]) if policy is None else policy.keep_sent
    with transaction(office):
        ended = (
            sa.select(Outgoing.id)
            .where(Outgoing.clinic_id == office.clinic.id, Outgoing.ended_at <= office.now - kept)
            .order_by(Outgoing.ended_at)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        ids = office.session.scalars(ended).all()
        if ids:
            office.session.execute(
                sa.delete(Outgoing).where(Outgoing.clinic_id == office.clinic.id, Outgoing.id.in_(ids))
            )
    return len(ids)


def _has(record: type[Signature | Decision]) -> sa.ColumnElement[bool]:
    return sa.exists().where(record.clinic_id == Case.clinic_id, record.case_id == Case.id)


def _expire_batch(office: Office) -> int:
    with transaction(office):
        drafts = office.session.scalars(
            sa.select(Case)
            .where(
                Case.clinic_id == office.clinic.id,
                Case.state == CaseState.DRAFT,
                Case.expires_at <= office.now,
                *(~_has(record) for record in (Signature, Decision)),
            )
            .order_by(Case.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        if not drafts:
            return 0
        ids = [case.id for case in drafts]
        office.session.execute(
            sa.delete(Token).where(Token.clinic_id == office.clinic.id, Token.case_id.in_(ids))
        )
        office.session.execute(
            sa.delete(Outgoing).where(Outgoing.clinic_id == office.clinic.id, Outgoing.case_id.in_(ids))
        )
        for case in drafts:
            office.session.delete(case)
        for case_id in ids:
            audit.record(
                office.session,
                clinic_id=office.clinic.id,
                now=office.now,
                actor=SYSTEM,
                action="expire",
                object_kind="case",
                object_id=case_id,
                payload={},
            )
    return len(ids)


def outdated(session: Session, clinic_id: str | None = None) -> int:
    """Return how many records an older key sealed, in one clinic or in all that are stored."""
    return sum(
        session.scalar(
            sa.select(sa.func.count())
            .select_from(table)
            .where(_is_older(table), *(() if clinic_id is None else (table.clinic_id == clinic_id,)))
        )
        or 0
        for table in _sealed_tables()
    )


def rotate(office: Office) -> Iterator[int]:
    """Seal again, with the newest key, what an older one sealed; yield the size of each batch done.

    What is done stays done: stopped and begun anew, it goes on where it was. A record that somebody
    else holds is passed over; `outdated` counts what is left. Raises Stale or Busy when a patient
    wrote at the same moment: begin anew.
    """
    for table in _sealed_tables():
        after = ""
        while batch := _rotate_batch(office, table, after):
            after = batch[-1]
            yield len(batch)


def _sealed_tables() -> tuple[Any, ...]:
    rows = (mapper.class_ for mapper in Base.registry.mappers)
    return tuple(sorted((row for row in rows if sealed_of(row)), key=lambda row: str(row.__tablename__)))


def _is_older(table: Any) -> sa.ColumnElement[bool]:
    return sa.or_(*(attribute.is_older(table) for attribute in sealed_of(table)))


def _rotate_batch(office: Office, table: Any, after: str) -> Sequence[str]:
    with transaction(office):
        alone(office)
        rows = office.session.scalars(
            sa.select(table)
            .where(table.clinic_id == office.clinic.id, table.id > after, _is_older(table))
            .order_by(table.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        ).all()
        for row in rows:
            # Its hashes first: they are found by what the older keys made of the same answers.
            if isinstance(row, Case):
                _rehash(office, row)
            for attribute in sealed_of(table):
                attribute.reseal(row)
        if rows:
            audit.record(
                office.session,
                clinic_id=office.clinic.id,
                now=office.now,
                actor=SYSTEM,
                action="rotate keys",
                object_kind="clinic",
                object_id=office.clinic.id,
                payload={"table": table.__tablename__, "records": len(rows), "key": office.keyring.newest},
            )
        return [row.id for row in rows]


def _rehash(office: Office, case: Case) -> None:
    """Hash a case's address and answers with the newest key, and what was signed or decided on them."""
    identity = identity_of(case)
    if identity is not None:
        case.email_index = office.keyring.email_index(identity.email)
    fresh, *older = answers_hashes(case)
    if case.answers_hash in older:
        case.answers_hash = fresh
    for record in (Signature, Decision):
        office.session.execute(
            sa.update(record)
            .where(
                record.clinic_id == case.clinic_id,
                record.case_id == case.id,
                record.answers_hash.in_(older),
            )
            .values(answers_hash=fresh),
            execution_options={"synchronize_session": False},
        )
