"""Consent: which documents this case needs, shown whole, and the act of signing each.

What is stored is the text the patient saw, letter for letter, with its hash, version, language,
the wording of the button, the hash of the answers and the head of the audit chain at that moment.
A signature counts while the text and the answers are the ones it was given for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.consent import RenderedConsent, render
from intake_plugin.clinical.consent import documents as documents_for
from intake_plugin.clinical.numbing import NumbingChoice
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys.intake import answers_of, is_submitted, next_step, require, submitted_of
from intake_plugin.journeys.office import Office, note, writing
from intake_plugin.journeys.suitability import course_of, numbing_of
from intake_plugin.records import audit
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Case, CaseState, Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentState:
    """A document of this case and the signature that counts for it now, if any."""

    rendered: RenderedConsent
    signature: Signature | None

    @property
    def settled(self) -> bool:
        """Signed, or declined where declining is allowed."""
        return _settles(None if self.signature is None else self.signature.declined, self.rendered)


_SIGNATURES = Base.metadata.tables[Signature.__tablename__]
_GIVEN_FOR = (
    sa.select(*(_SIGNATURES.c[name] for name in ("document_id", "sha256", "answers_hash", "declined")))
    .where(
        _SIGNATURES.c.clinic_id == sa.bindparam("clinic_id"), _SIGNATURES.c.case_id == sa.bindparam("case_id")
    )
    .order_by(_SIGNATURES.c.signed_at)
)
"""All of a case's signatures that tells whether they count; their texts are long and sealed."""
_SETTLED = "settled"
"""The key of `Case.screening` with the texts for which the booking was opened, see `_texts`."""
SIGNED_FOR_GOOD = frozenset({CaseState.BOOKED, CaseState.CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Act:
    """How a document was signed or declined."""

    document_id: str
    shown: str
    """SHA-256 of the text on the page."""
    button: str
    name: str = ""
    ip: str = ""
    user_agent: str = ""


def documents(office: Office, case: Case) -> tuple[DocumentState, ...]:
    """Return the documents of this case in order, each with the signature that counts.

    Once the series is booked these are the copies as they were signed, whatever the clinic's texts
    say since.
    """
    values = {"clinic_id": office.clinic.id, "case_id": case.id}
    given = office.session.scalars(_given(), values, execution_options={"populate_existing": True}).all()
    counting = [signature for signature in given if is_submitted(case, signature.answers_hash)]
    if case.state in SIGNED_FOR_GOOD:
        return _copies(counting)
    return tuple(
        DocumentState(rendered=rendered, signature=_latest(counting, rendered))
        for rendered in _rendered(office, case)
    )


@cache
def _given() -> sa.Select[Signature]:
    return (
        sa.select(Signature)
        .where(
            Signature.clinic_id == sa.bindparam("clinic_id"),
            Signature.case_id == sa.bindparam("case_id"),
        )
        .order_by(Signature.signed_at)
    )


def _latest(counting: Sequence[Signature], rendered: RenderedConsent) -> Signature | None:
    same = [
        signature
        for signature in counting
        if signature.document_id == rendered.id and signature.sha256 == rendered.sha256
    ]
    return same[-1] if same else None


def _copies(counting: Sequence[Signature]) -> tuple[DocumentState, ...]:
    latest = {each.document_id: each for each in counting}
    return tuple(
        DocumentState(rendered=_as_signed(signature), signature=signature) for signature in latest.values()
    )


def _as_signed(signature: Signature) -> RenderedConsent:
    title, *paragraphs, statement = signature.text.split("\n\n")
    return RenderedConsent(
        id=signature.document_id,
        version=signature.version,
        locale=signature.locale,
        title=title,
        elements=(("", tuple(paragraphs)),),
        statement=statement,
        required=not signature.declined,
        text=signature.text,
        sha256=signature.sha256,
    )


def proceed(office: Office, case: Case) -> None:
    """Open the booking when every document is settled, also by signatures given before.

    Raises OutOfTurn when one is still to be signed.
    """
    with writing(office, case) as locked:
        require(office, locked, "consent")
        if not settled(office, locked):
            raise OutOfTurn("consent")
        if locked.state == CaseState.CONSENT:
            _open_booking(office, locked)
            note(office, locked, "consent complete", {})


def settled(office: Office, case: Case) -> bool:
    """Whether every document, as it reads now, is signed, or declined where it may be."""
    if case.state in SIGNED_FOR_GOOD:
        return True
    last = {
        (row.document_id, row.sha256): row.declined
        for row in office.connection.execute(_GIVEN_FOR, {"clinic_id": office.clinic.id, "case_id": case.id})
        if is_submitted(case, row.answers_hash)
    }
    return all(_settles(last.get((each.id, each.sha256)), each) for each in _rendered(office, case))


def _open_booking(office: Office, case: Case) -> None:
    """Let times be chosen, and remember for which texts every document was settled."""
    case.state, texts = CaseState.BOOKING, _texts(office, case)
    if submitted_of(case).get(_SETTLED) != texts:
        case.screening = {**submitted_of(case), _SETTLED: texts}


def still_settled(office: Office, case: Case) -> bool:
    """Whether the texts that opened the booking are those of today; what was signed is read where not.

    Whatever is signed or declined afterwards renews or forgets what was remembered, so the texts decide.
    """
    return submitted_of(case).get(_SETTLED) == _texts(office, case) or settled(office, case)


def _texts(office: Office, case: Case) -> list[Any]:
    """Return what tells the documents as they read now, and the answers they stand on, from any others."""
    rendered = _rendered(office, case)
    return [case.answers_hash, *([each.id, each.required, each.sha256] for each in rendered)]


def _settles(declined: bool | None, rendered: RenderedConsent) -> bool:
    """Whether the last act on a document, None for none, leaves nothing to be done."""
    return declined is not None and not (declined and rendered.required)


def _rendered(office: Office, case: Case) -> tuple[RenderedConsent, ...]:
    known = Known(office.protocol_of(case), answers_of(case), today=office.today)
    choice = numbing_of(office, case)
    facts, locale = _facts(office, case, choice), office.locale_of(case)
    return tuple(
        render(document, known, locale=locale, facts=facts)
        for document in documents_for(known, product=choice.product)
    )


def _facts(office: Office, case: Case, choice: NumbingChoice) -> dict[str, str]:
    clinic, protocol, texts = office.clinic, office.protocol_of(case), office.texts_of(case)
    course = course_of(office, case)
    product = choice.product
    return {
        "clinic": clinic.name,
        "address": clinic.contact.address,
        "telephone": clinic.contact.telephone,
        "email": clinic.contact.email,
        "emergency": clinic.contact.emergency,
        "controller": clinic.name,
        "complaints": clinic.contact.email,
        "retention": texts.length(clinic.retention),
        "product": texts.products[product.id].name if product else "",
        "product_contact": texts.contact(choice.contact_min, choice.contact_max),
        "sessions": str(course.sessions),
        "course": texts.questions[protocol.course_question].options[course.course_id],
        "area": texts.questions[protocol.area_question].options[course.area_id],
        **clinic.consent_facts,
    }


def sign(office: Office, case: Case, act: Act) -> None:
    """Sign a document with a typed name.

    Signing again under the same name changes nothing. Raises Stale when the text on the page is not
    the text as it stands now.
    """
    if not act.name.strip():
        raise ValueError("A signature needs a typed name.")
    _store(office, case, act, declined=False)


def decline(office: Office, case: Case, act: Act) -> None:
    """Decline an optional document.

    Raises NotFound when the document is required: it is signed, or the booking ends here.
    """
    _store(office, case, act, declined=True)


def _store(office: Office, case: Case, act: Act, *, declined: bool) -> None:
    with writing(office, case) as locked:
        if locked.state not in {CaseState.CONSENT, CaseState.BOOKING}:
            raise OutOfTurn(next_step(office, locked).name)
        require(office, locked, "consent")
        state = _asked_for(office, locked, act.document_id)
        if declined and state.rendered.required:
            raise NotFound("This document is needed for the treatment and cannot be left out.")
        if act.shown != state.rendered.sha256:
            raise Stale("The text has changed since it was shown. Read it once more before signing.")
        if _repeated(state.signature, act, declined=declined):
            return
        office.session.add(_signature(office, locked, state.rendered, act, declined=declined))
        office.session.flush()
        if settled(office, locked):
            _open_booking(office, locked)
        elif _SETTLED in submitted_of(locked):
            locked.screening = {name: each for name, each in submitted_of(locked).items() if name != _SETTLED}
        action = "decline" if declined else "sign"
        note(office, locked, action, {"document": act.document_id, "sha256": act.shown, "button": act.button})


def _repeated(signature: Signature | None, act: Act, *, declined: bool) -> bool:
    """Whether the form was sent twice: the same act under the same name leaves one record."""
    if signature is None or signature.declined != declined:
        return False
    return bool(signature.signer["name"] == act.name.strip())


def _asked_for(office: Office, case: Case, document_id: str) -> DocumentState:
    for state in documents(office, case):
        if state.rendered.id == document_id:
            return state
    raise NotFound("This document is not part of your consent.")


def _signature(
    office: Office, case: Case, rendered: RenderedConsent, act: Act, *, declined: bool
) -> Signature:
    signer: dict[str, Any] = {"name": act.name.strip(), "ip": act.ip, "user_agent": act.user_agent}
    return Signature(
        clinic_id=office.clinic.id,
        case_id=case.id,
        document_id=rendered.id,
        version=rendered.version,
        locale=rendered.locale,
        text=rendered.text,
        sha256=rendered.sha256,
        button=act.button,
        answers_hash=case.answers_hash or "",
        chain_head=audit.head(office.session, office.clinic.id),
        signed_at=office.now,
        declined=declined,
        signer=signer,
    )
