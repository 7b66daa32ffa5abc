"""Who may see a case: this device's cookie, and the patient's own link with the date of birth.

A link never stays in the address bar: it is swapped for a cookie. Only hashes of tokens are
stored, each token has one purpose, and a link that was tried with five wrong dates of birth is
revoked. Each link counts by itself, so that nobody can shut a patient out with another one; those in
reminders end with their session, so that few can be tried.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from intake_plugin.errors import NotFound, OutOfTurn
from intake_plugin.journeys.intake import identity_of, next_step
from intake_plugin.journeys.office import Office, note, transaction, writing
from intake_plugin.records import tokens
from intake_plugin.records.references import new_reference
from intake_plugin.records.tables import Case, CaseState, Token, TokenPurpose
from intake_plugin.settings import Treatment

ATTEMPTS = 5
"""Wrong dates of birth after which a link is revoked (ASVS 2.4.1)."""


REFERENCES = 5
"""References tried for a new case: two cases with one are rare, five in a row mean something else."""


def begin(office: Office, *, protocol_id: str, locale: str) -> tuple[Case, str]:
    """Open a case and return it with the raw session token for the patient's cookie.

    Raises NotFound when the clinic does not offer the treatment.
    """
    treatment = office.clinic.offered.get(protocol_id)
    if treatment is None:
        raise NotFound(f"{office.clinic.name} does not offer {protocol_id!r}.")
    if locale not in office.clinic.languages:
        locale = office.clinic.languages[0]
    for _ in range(REFERENCES - 1):
        # The only thing of a new case that another one may have already is its reference.
        with suppress(IntegrityError):
            return _begin(office, treatment, protocol_id, locale)
    return _begin(office, treatment, protocol_id, locale)


def _begin(office: Office, treatment: Treatment, protocol_id: str, locale: str) -> tuple[Case, str]:
    with transaction(office):
        case = Case(
            clinic_id=office.clinic.id,
            reference=new_reference(),
            protocol_id=protocol_id,
            protocol_version=treatment.protocol.version,
            fingerprint=treatment.fingerprint,
            locale=locale,
            state=CaseState.DRAFT,
            created_at=office.now,
            updated_at=office.now,
            expires_at=office.now + office.settings.draft_lifetime,
        )
        office.session.add(case)
        office.session.flush()
        raw = _session_token(office, case)
        note(office, case, "begin", {"protocol": protocol_id, "fingerprint": treatment.fingerprint})
    return case, raw


def current(office: Office, raw: str | None) -> Case | None:
    """Return the case of a session cookie, or None when there is none or it has run out."""
    if not raw:
        return None
    case = tokens.find_case(office.session, office.clinic.id, raw, TokenPurpose.SESSION, office.now)
    return None if case is None else _living(office, case)


def make_link(office: Office, case: Case) -> str:
    """Return a new raw token for the patient's own link; earlier links go on working.

    Raises OutOfTurn before the date of birth is known. A link that asks for nothing could be sent
    to somebody else, whose answers would then be open to whoever made it.
    """
    with writing(office, case) as locked:
        if locked.identity is None:
            raise OutOfTurn(next_step(office, locked).name)
        lifetime = office.settings.link_lifetime
        raw = tokens.issue(
            office.session, office.clinic.id, locked.id, TokenPurpose.MANAGE, office.now, lifetime
        )
        note(office, locked, "link", {"purpose": TokenPurpose.MANAGE})
    return raw


def open_link(office: Office, raw: str) -> Case:
    """Return the case a patient's link leads to.

    Raises NotFound when the link is unknown, revoked or has run out.
    """
    return _linked(office, raw)[1]


def verify(office: Office, raw: str, birth_date: dt.date | None) -> str | None:
    """Return a raw session token when the date of birth fits the link's case, else None.

    Raises NotFound for a link that is unknown or was tried too often.
    """
    token, case = _linked(office, raw)
    with writing(office, case) as locked:
        _count_attempt(office, token)
        known = identity_of(locked)
        if known is None or known.birth_date != birth_date:
            if token.attempts >= ATTEMPTS:
                token.revoked_at = office.now
            note(office, locked, "link refused", {"attempts": token.attempts})
            return None
        token.attempts = 0
        token.used_at = token.used_at or office.now
        fresh = _session_token(office, locked)
        note(office, locked, "link opened", {})
    return fresh


def _count_attempt(office: Office, token: Token) -> None:
    """Take one of the link's attempts before it is known whether it is a right one.

    Counted and compared in one statement, so that nobody gets more attempts by making them at once.
    """
    office.session.execute(
        sa.update(Token)
        .where(Token.clinic_id == token.clinic_id, Token.hash == token.hash)
        .values(attempts=Token.attempts + 1),
        execution_options={"synchronize_session": False},
    )
    office.session.refresh(token, with_for_update=True)
    if token.revoked_at is not None or token.attempts > ATTEMPTS:
        raise NotFound("This link does not open anything any more.")


def leave(office: Office, raw: str) -> None:
    """Forget this device: its cookie opens nothing from now on."""
    with transaction(office):
        found = tokens.find(office.session, office.clinic.id, raw, TokenPurpose.SESSION, office.now)
        if found is not None:
            found.revoked_at = office.now
            note(office, found.case, "leave", {})


def set_locale(office: Office, case: Case, locale: str) -> None:
    """Go on in another language the clinic offers."""
    if locale not in office.clinic.languages:
        raise NotFound(f"{office.clinic.name} has no pages in {locale!r}.")
    with writing(office, case) as locked:
        locked.locale = locale
        note(office, locked, "language", {"locale": locale})


def _session_token(office: Office, case: Case) -> str:
    lifetime = office.settings.draft_lifetime
    return tokens.issue(office.session, office.clinic.id, case.id, TokenPurpose.SESSION, office.now, lifetime)


def _linked(office: Office, raw: str) -> tuple[Token, Case]:
    token = tokens.find(office.session, office.clinic.id, raw, TokenPurpose.MANAGE, office.now)
    case = None if token is None else _living(office, token.case)
    if token is None or case is None:
        raise NotFound("This link does not open anything any more.")
    return token, case


def _living(office: Office, case: Case) -> Case | None:
    run_out = case.expires_at is not None and case.expires_at <= office.now
    return None if case.state == CaseState.DRAFT and run_out else case
