"""Work outside requests: what has run out is deleted, keys are renewed.

Every command may be run at any time, twice, and on several hosts at once: rows are claimed with
`SKIP LOCKED` where the database has it, and each batch is one transaction.
"""

from __future__ import annotations

import sqlalchemy as sa

from intake_plugin.journeys import holding
from intake_plugin.journeys.office import SYSTEM, Office, transaction
from intake_plugin.records import audit
from intake_plugin.records.tables import Case, CaseState, Decision, Signature, Token

BATCH = 200


def expire(office: Office) -> int:
    """Delete drafts, tokens and holds that have run out, and return the number of drafts.

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
    return deleted


def _expire_holds(office: Office) -> int:
    with transaction(office):
        return holding.clear_lapsed(office, BATCH)


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
