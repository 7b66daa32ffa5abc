"""Consent: the text as shown, its own act, and what makes a signature stop counting."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import replace
from itertools import count

import pytest
import sqlalchemy as sa
from flask import Flask

from intake_plugin.clinical.answers import to_json
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys import consent, intake
from intake_plugin.journeys.consent import Act, DocumentState
from intake_plugin.journeys.intake import answers_of
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import AuditEntry, Case, CaseState, Signature
from intake_plugin.state import KEY
from intake_plugin.testing import keys
from tests.journeys.conftest import CLINIC, NOW, Desk


def act(document: DocumentState, *, name: str = "Pat Example", shown: str | None = None) -> Act:
    return Act(
        document_id=document.rendered.id,
        shown=document.rendered.sha256 if shown is None else shown,
        button="Sign",
        name=name,
        ip="192.0.2.1",
        user_agent="Browser",
    )


def document(desk: Desk, case: Case, document_id: str) -> DocumentState:
    return next(state for state in consent.documents(desk.office, case) if state.rendered.id == document_id)


def test_the_documents_are_treatment_numbing_data_and_two_for_photos(desk: Desk) -> None:
    states = consent.documents(desk.office, desk.screened())
    required = {state.rendered.id for state in states if state.rendered.required}
    assert required == {"treatment", "numbing", "data_processing"}
    assert {state.rendered.id for state in states} - required == {"photos_record", "photos_marketing"}


def test_the_text_names_the_clinic_the_product_and_how_long_records_are_kept(desk: Desk) -> None:
    case = desk.screened()
    assert CLINIC.name in document(desk, case, "treatment").rendered.text
    assert "30 to 60 minutes" in document(desk, case, "numbing").rendered.text
    assert "8 years" in document(desk, case, "data_processing").rendered.text


def test_what_was_shown_is_stored_letter_for_letter(desk: Desk) -> None:
    case = desk.screened()
    shown = document(desk, case, "treatment")
    consent.sign(desk.office, case, act(shown))
    stored = desk.session.scalars(sa.select(Signature)).one()
    assert stored.text == shown.rendered.text
    assert stored.sha256 == hashlib.sha256(stored.text.encode()).hexdigest()
    assert (stored.locale, stored.version, stored.button) == ("en", shown.rendered.version, "Sign")
    assert stored.signer == {"name": "Pat Example", "ip": "192.0.2.1", "user_agent": "Browser"}
    assert stored.answers_hash == case.answers_hash
    entry = desk.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
    assert entry is not None
    assert (entry.action, entry.prev_hash) == ("sign", stored.chain_head)


def test_booking_opens_when_every_document_is_signed_or_declined(desk: Desk) -> None:
    case = desk.screened()
    for state in consent.documents(desk.office, case):
        assert case.state == CaseState.CONSENT
        settle = consent.sign if state.rendered.required else consent.decline
        settle(desk.office, case, act(state))
    assert case.state == CaseState.BOOKING


def test_a_text_that_changed_since_it_was_shown_is_not_signed(desk: Desk) -> None:
    case = desk.screened()
    with pytest.raises(Stale):
        consent.sign(desk.office, case, act(document(desk, case, "treatment"), shown="0" * 64))
    assert desk.session.scalars(sa.select(Signature)).all() == []


def test_a_required_document_cannot_be_declined_nor_signed_without_a_name(desk: Desk) -> None:
    case = desk.screened()
    treatment = document(desk, case, "treatment")
    with pytest.raises(NotFound):
        consent.decline(desk.office, case, act(treatment))
    with pytest.raises(ValueError, match="typed name"):
        consent.sign(desk.office, case, act(treatment, name="  "))


def test_a_form_that_is_sent_twice_leaves_one_signature_and_a_change_of_mind_another(desk: Desk) -> None:
    case = desk.screened()
    minutes = (NOW + dt.timedelta(minutes=each) for each in count())
    for name in ("Pat Example", " Pat Example ", "Pat E. Example"):
        consent.sign(desk.at(next(minutes)).office, case, act(document(desk, case, "treatment"), name=name))
    photos = document(desk, case, "photos_marketing")
    for settle in (consent.sign, consent.sign, consent.decline, consent.decline, consent.sign):
        settle(desk.at(next(minutes)).office, case, act(photos))
    kept = desk.session.scalars(sa.select(Signature).order_by(Signature.signed_at)).all()
    assert [each.signer["name"] for each in kept if each.document_id == "treatment"] == [
        "Pat Example",
        "Pat E. Example",
    ]
    assert len([each for each in kept if each.document_id == "photos_marketing"]) == 3


@pytest.mark.parametrize(
    "answers", [{"pregnant": "yes"}, {"medicines": ("blood_thinner",)}, {"unwell": "yes"}]
)
def test_nothing_is_signed_while_nothing_may_be_booked(desk: Desk, answers: dict[str, str]) -> None:
    case = desk.screened(**answers)
    with pytest.raises(OutOfTurn):
        consent.sign(desk.office, case, act(document(desk, case, "treatment")))


def test_a_signature_given_for_other_answers_does_not_count(desk: Desk) -> None:
    case = desk.signed()
    signed = len(consent.documents(desk.office, case))
    intake.reopen(desk.office, case)
    intake.answer(desk.office, case, "goal", {"concern": "pores"})
    intake.submit(desk.office, case, shown=intake.answers_hash(case))
    assert case.state == CaseState.CONSENT
    assert {state.signature for state in consent.documents(desk.office, case)} == {None}
    assert len(desk.session.scalars(sa.select(Signature)).all()) == signed


def test_the_hash_of_the_answers_cannot_be_worked_out_from_likely_answers(desk: Desk) -> None:
    case = desk.screened()
    likely = json.dumps(to_json(answers_of(case)), sort_keys=True, ensure_ascii=False).encode()
    guesses = {hashlib.sha256(likely).hexdigest(), KeyRing.parse(keys("other")).mac("answers", likely)}
    assert case.answers_hash not in guesses
    assert case.answers_hash == desk.office.keyring.mac("answers", likely)


def test_what_was_signed_counts_after_the_keys_have_changed(desk: Desk, app: Flask) -> None:
    case = desk.signed()
    checked = intake.answers_hash(case)
    ring = KeyRing.parse(f"{keys('new')},{keys()}")
    app.extensions[KEY] = replace(app.extensions[KEY], keyring=ring)
    assert intake.answers_hash(case) != checked
    assert all(state.settled for state in consent.documents(desk.office, case))
    intake.reopen(desk.office, case)
    intake.submit(desk.office, case, shown=checked)
    assert all(state.settled for state in consent.documents(desk.office, case))
