"""Ways in which somebody unsuitable could slip through, or somebody suitable get stuck; each is closed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest

from intake_plugin.clinical import screening as screens
from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.protocol import Wait
from intake_plugin.errors import OutOfTurn, TimeTaken
from intake_plugin.journeys import booking, consent, intake, review
from intake_plugin.journeys.review import Ruling
from intake_plugin.journeys.suitability import WITHOUT
from intake_plugin.records.tables import Case, CaseState, Verdict
from intake_plugin.settings import Clinic
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, NOW, Desk


def rule_ids(case: Case) -> set[str]:
    screening = intake.screening_of(case)
    assert screening is not None
    return {finding.rule_id for finding in screening.findings}


def ruling(case: Case, verdict: Verdict, **changes: object) -> Ruling:
    return replace(
        Ruling(verdict=verdict, note="Spoke to the patient.", version=case.version),
        **changes,  # type: ignore[arg-type]
    )


def stocked(*products: str) -> Clinic:
    treatment = CLINIC.treatments["microneedling"]
    changed = replace(treatment, numbing=replace(treatment.numbing, stock=products))
    return replace(CLINIC, treatments={"microneedling": changed})


def test_another_area_opens_every_question_that_was_asked_about_the_first(desk: Desk) -> None:
    case = desk.screened(concern="acne_scars", area="chest")
    intake.reopen(desk.office, case)
    intake.answer(desk.office, case, "place", {"area": "face"})
    assert "skin_today" not in intake.answers_of(case)
    assert intake.given_of(case)["skin_today"] == ("none",)
    assert intake.next_step(desk.office, case).name == "questions"
    with pytest.raises(OutOfTurn):
        intake.submit(desk.office, case, shown=intake.answers_hash(case))


def test_an_answer_given_again_stands_again(desk: Desk) -> None:
    case = desk.answered(concern="acne_scars", area="chest")
    intake.answer(desk.office, case, "place", {"area": "back"})
    assert "skin_today" not in intake.answers_of(case)
    intake.answer(desk.office, case, "health", {"conditions": ("none",)})
    intake.answer(
        desk.office,
        case,
        "skin",
        dict.fromkeys(("skin_today", "skin_marks", "scars", "skin_history"), ("none",)),
    )
    assert intake.answers_of(case)["skin_today"] == ("none",)


@pytest.mark.parametrize("state", [CaseState.CONSENT, CaseState.BOOKING])
def test_accepted_answers_have_to_be_checked_again_after_a_while(desk: Desk, state: CaseState) -> None:
    case = desk.screened() if state == CaseState.CONSENT else desk.signed()
    valid = desk.office.protocol_of(case).answers_valid
    assert valid is not None
    later = desk.at(NOW + dt.timedelta(days=valid.days))
    assert intake.next_step(later.office, case).name == "outcome"
    with pytest.raises(OutOfTurn):
        booking.times(later.office, case)
    intake.reopen(later.office, case)
    intake.submit(later.office, case, shown=intake.answers_hash(case))
    assert intake.next_step(later.office, case).name == "consent"


def test_a_series_proposed_in_time_is_not_booked_too_late(desk: Desk) -> None:
    case, chosen = desk.planned()
    later = desk.at(NOW + dt.timedelta(days=60))
    with pytest.raises(OutOfTurn):
        booking.confirm(later.office, case, chosen)


def test_changed_rules_have_to_be_answered_before_booking(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    case = desk.signed()
    treatment = CLINIC.treatments["microneedling"]
    protocol = replace(treatment.protocol, waits={**treatment.protocol.waits, "botulinum": Wait(days=30)})
    changed = replace(treatment, protocol=protocol, fingerprint="0" * 64)
    new = make_desk(clinic=replace(CLINIC, treatments={"microneedling": changed}), session=desk.session)
    assert intake.next_step(new.office, case).name == "outcome"


AGAINST: list[dict[str, Answer]] = [{"pregnant": "yes"}, {"medicines": ("blood_thinner",)}]


@pytest.mark.parametrize("earlier", AGAINST)
def test_who_was_stopped_or_waits_for_a_clinician_does_not_pass_by_starting_again(
    desk: Desk, earlier: dict[str, Answer]
) -> None:
    desk.email = "pat@example.com"
    desk.screened(**earlier)
    again = desk.screened()
    assert again.state == CaseState.REVIEW
    assert "conflict" in rule_ids(again)


def test_a_second_series_of_the_same_treatment_is_a_clinicians_matter(desk: Desk) -> None:
    desk.email = "pat@example.com"
    desk.booked()
    assert "conflict" in rule_ids(desk.screened())


def test_what_has_healed_and_who_is_another_person_do_not_stand_against_a_case(desk: Desk) -> None:
    desk.email = "pat@example.com"
    desk.screened(skin_today=("wound",))
    assert "conflict" not in rule_ids(desk.screened())
    desk.screened(dt.date(1985, 1, 1), pregnant="yes")
    assert "conflict" not in rule_ids(desk.screened())


def test_a_failed_screening_cannot_be_cleared_only_asked_again(
    desk: Desk, clinician: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(screens, "screen", fail)
        case = desk.screened(pregnant="yes")
    assert rule_ids(case) == {"failure"}
    with pytest.raises(OutOfTurn):
        review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.CLEAR))
    review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.ASK_AGAIN))
    assert intake.next_step(desk.office, case).name == "check"
    intake.submit(desk.office, case, shown=intake.answers_hash(case))
    assert case.state == CaseState.STOPPED


def test_a_cream_nobody_looked_at_is_not_lifted_with_another_one(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk(clinic=stocked("LMX4"))
    case = desk.screened(numbing_health=("methaemoglobinaemia",))
    review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.CLEAR, numbing="LMX4"))
    desk.sign_all(case)
    assert booking.times(desk.office, case).slots
    other = make_desk(clinic=stocked("LT23_7"), session=desk.session)
    assert booking.times(other.office, case).slots == ()


def test_where_the_cream_is_open_a_clearance_chooses_one_or_none(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk(clinic=stocked("LMX4", "EMLA"))
    case = desk.screened(numbing_health=("methaemoglobinaemia",))
    assert review.numbing_choices(desk.office, case) == ("LMX4", WITHOUT)
    with pytest.raises(ValueError, match="numbing is open"):
        review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.CLEAR))
    review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.CLEAR, numbing=WITHOUT))
    desk.sign_all(case)
    booking.confirm(desk.office, case, desk.plan(case))
    sessions = booking.booked(desk.office, case).sessions
    assert {each.appointment.product_id for each in sessions} == {None}


def test_nothing_is_booked_on_a_consent_for_another_cream(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=stocked("LMX4"))
    case, chosen = desk.planned()
    other = make_desk(clinic=stocked("EMLA"), session=desk.session)
    with pytest.raises(OutOfTurn) as caught:
        booking.confirm(other.office, case, chosen)
    assert caught.value.step == "consent"
    assert case.state == CaseState.CONSENT


def test_unchanged_answers_need_no_second_signature(desk: Desk) -> None:
    case = desk.signed()
    intake.reopen(desk.office, case)
    intake.submit(desk.office, case, shown=intake.answers_hash(case))
    assert case.state == CaseState.CONSENT
    consent.proceed(desk.office, case)
    assert intake.next_step(desk.office, case).name == "times"


def test_an_unsigned_document_keeps_the_booking_shut(desk: Desk) -> None:
    with pytest.raises(OutOfTurn):
        consent.proceed(desk.office, desk.screened())


def test_a_clearance_can_be_taken_back_until_the_series_is_booked(desk: Desk, clinician: Staff) -> None:
    case = desk.signed()
    review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.DECLINE))
    assert intake.next_step(desk.office, case).name == "outcome"


def test_a_case_given_back_stays_on_the_clinics_list(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(pregnant="yes")
    review.decide(desk.office, clinician, case.reference, ruling(case, Verdict.ASK_AGAIN))
    assert [row.case.reference for row in review.queue(desk.office).rows] == [case.reference]


def test_a_face_only_answer_left_over_is_asked_again_and_not_held_against_the_patient(desk: Desk) -> None:
    case = desk.answered(recent=("face_surgery",), face_surgery_date=PartialDate(2020, 1))
    intake.answer(desk.office, case, "goal", {"concern": "acne_scars"})
    intake.answer(desk.office, case, "place", {"area": "chest"})
    assert intake.next_step(desk.office, case).name == "questions"


def test_the_signed_copy_stays_as_it_was_signed(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk()
    case = desk.booked()
    signed = [document.rendered.text for document in consent.documents(desk.office, case)]
    moved = replace(CLINIC, contact=replace(CLINIC.contact, telephone="020 7946 9999"))
    after = consent.documents(make_desk(clinic=moved, session=desk.session).office, case)
    assert [document.rendered.text for document in after] == signed
    assert all(document.signature for document in after)


def test_a_decision_names_no_date_beyond_the_records(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    far = ruling(case, Verdict.CLEAR_FROM, not_before=dt.date(9999, 12, 30))
    with pytest.raises(ValueError, match="cannot name a date"):
        review.decide(desk.office, clinician, case.reference, far)


def test_the_first_session_stays_inside_the_horizon_however_it_is_asked_for(desk: Desk) -> None:
    case, chosen = desk.planned()
    shift = dt.timedelta(days=7 * 19)
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, {ordinal: arrive + shift for ordinal, arrive in chosen.items()})


def test_sessions_are_booked_by_their_own_numbers(desk: Desk) -> None:
    case, chosen = desk.planned()
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, {**{k: v for k, v in chosen.items() if k != 4}, 99: chosen[4]})
