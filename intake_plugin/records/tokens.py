"""Secrets that open one thing: cookies and links of a case, and feeds.

A token has 256 random bits and one purpose. Only its SHA-256 is stored: a value nobody can guess
needs no salt, and a look-up by hash leaves nothing to time (ASVS 5.0, 7.2.3 and 11.5.1).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from intake_plugin.records.tables import Case, Token, TokenPurpose

_BYTES = 32


def new_secret() -> str:
    """Return a fresh secret of 256 random bits, fit for an address."""
    return secrets.token_urlsafe(_BYTES)


def hash_of(raw: str) -> str:
    """Return what is stored of a secret: its SHA-256, as hexadecimal digits."""
    # What arrives in a URL or a cookie may be anything, lone surrogates included.
    return hashlib.sha256(raw.encode(errors="surrogatepass")).hexdigest()


def issue(
    session: Session,
    clinic_id: str,
    case_id: str,
    purpose: TokenPurpose,
    now: dt.datetime,
    lifetime: dt.timedelta,
) -> str:
    """Store a new token for a case and return its raw form, which is kept nowhere else."""
    raw = new_secret()
    session.add(
        Token(
            clinic_id=clinic_id,
            hash=hash_of(raw),
            case_id=case_id,
            purpose=purpose,
            created_at=now,
            expires_at=now + lifetime,
        )
    )
    return raw


def find(session: Session, clinic_id: str, raw: str, purpose: TokenPurpose, now: dt.datetime) -> Token | None:
    """Return the token, or None if it is unknown, of another purpose, revoked or past its time.

    Its case comes along in the same query.
    """
    statement = sa.select(Token).options(joinedload(Token.case, innerjoin=True)).where(*_living())
    return session.scalars(statement, _values(clinic_id, raw, purpose, now)).one_or_none()


def find_case(
    session: Session, clinic_id: str, raw: str, purpose: TokenPurpose, now: dt.datetime
) -> Case | None:
    """Return the case that a token opens, or None as `find` does."""
    return session.scalars(_case(), _values(clinic_id, raw, purpose, now)).one_or_none()


@cache
def _case() -> sa.Select[Case]:
    # Every page begins with this query, and building it costs more than running it.
    owns = sa.and_(Case.clinic_id == Token.clinic_id, Case.id == Token.case_id)
    return sa.select(Case).join(Token, owns).where(*_living())


def _living() -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Token.clinic_id == sa.bindparam("clinic_id"),
        Token.hash == sa.bindparam("hash"),
        Token.purpose == sa.bindparam("purpose"),
        Token.revoked_at.is_(None),
        Token.expires_at > sa.bindparam("now"),
    )


def _values(clinic_id: str, raw: str, purpose: TokenPurpose, now: dt.datetime) -> dict[str, object]:
    return {"clinic_id": clinic_id, "hash": hash_of(raw), "purpose": purpose, "now": now}


def revoke(session: Session, clinic_id: str, raw: str, now: dt.datetime) -> None:
    """Let a token open nothing any more."""
    session.execute(
        sa.update(Token)
        .where(Token.clinic_id == clinic_id, Token.hash == hash_of(raw), Token.revoked_at.is_(None))
        .values(revoked_at=now),
        execution_options={"synchronize_session": False},
    )


def prolong(
    session: Session,
    clinic_id: str,
    case_id: str,
    purpose: TokenPurpose,
    now: dt.datetime,
    until: dt.datetime,
) -> None:
    """Let every living token of a case and purpose live until then."""
    session.execute(
        sa.update(Token)
        .where(
            Token.clinic_id == clinic_id,
            Token.case_id == case_id,
            Token.purpose == purpose,
            Token.revoked_at.is_(None),
            Token.expires_at > now,
        )
        .values(expires_at=until),
        execution_options={"synchronize_session": False},
    )
