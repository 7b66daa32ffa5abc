"""The clinic's desk: who may see and decide what, and what a decision lifts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys import booking, intake, review
from intake_plugin.journeys.review import Ruling
from intake_plugin.records.tables import AuditEntry, Case, CaseState, Decision, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, Desk

APRIL = dt.date(2026, 4, 1)


def decide(desk: Desk, staff: Staff, case: Case, verdict: Verdict, **changes: object) -> None:
    ruling = Ruling(verdict=verdict, note="Spoke to the patient.", version=case.version)
    review.decide(desk.office, staff, case.reference, replace(ruling, **changes))  # type: ignore[arg-type]


def test_a_cleared_review_goes_on_to_consent_and_can_be_booked(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    decide(desk, clinician, case, Verdict.CLEAR)
    desk.sign_all(case)
    booking.confirm(desk.office, case, desk.plan(case))
    assert case.state == CaseState.BOOKED


def test_clearing_keeps_the_dates_of_the_protocol_and_clearing_from_a_date_sets_its_own(
    desk: Desk, clinician: Staff
) -> None:
    answers: dict[str, Answer] = {
        "medicines": ("blood_thinner",),
        "recent": ("botulinum",),
        "botulinum_last": PartialDate(2026, 2, 24),
    }
    kept, shortened = desk.screened(**answers), desk.screened(**answers)
    decide(desk, clinician, kept, Verdict.CLEAR)
    decide(desk, clinician, shortened, Verdict.CLEAR_FROM, not_before=dt.date(2026, 3, 5))
    for case, first in ((kept, dt.date(2026, 3, 10)), (shortened, dt.date(2026, 3, 5))):
        desk.sign_all(case)
        assert booking.times(desk.office, case).slots[0].date == first


def test_a_decision_lifts_only_what_stood_when_it_was_made(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    decide(desk, clinician, case, Verdict.CLEAR)
    desk.sign_all(case)
    case.screening = {**(case.screening or {}), "lifted": ["S12"]}
    desk.session.commit()
    assert booking.times(desk.office, case).slots == ()


def test_a_stop_is_decided_only_where_the_rule_lets_a_clinician(desk: Desk, clinician: Staff) -> None:
    firm, open_to_override = desk.screened(pregnant="yes"), desk.screened(scars=("keloid",))
    with pytest.raises(OutOfTurn):
        decide(desk, clinician, firm, Verdict.CLEAR)
    decide(desk, clinician, open_to_override, Verdict.CLEAR)
    assert open_to_override.state == CaseState.CONSENT


def test_declining_ends_the_case(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    decide(desk, clinician, case, Verdict.DECLINE)
    assert intake.next_step(desk.office, case).name == "outcome"
    with pytest.raises(OutOfTurn):
        decide(desk, clinician, case, Verdict.CLEAR)


def test_changed_answers_need_a_new_decision(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    decide(desk, clinician, case, Verdict.CLEAR, home_numbing=True)
    intake.reopen(desk.office, case)
    intake.submit(desk.office, case, shown=intake.answers_hash(case))
    assert (case.state, case.numbing_home) == (CaseState.REVIEW, False)


def test_who_may_only_read_decides_nothing(desk: Desk) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    with pytest.raises(NotFound):
        decide(desk, Staff(id="r-1", name="Reception", role="read"), case, Verdict.CLEAR)


def test_a_page_read_before_somebody_else_decided_decides_nothing(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk()
    case = desk.screened(scars=("keloid",), medicines=("blood_thinner",))
    with pytest.raises(Stale):
        decide(desk, clinician, case, Verdict.CLEAR, version=case.version - 1)
    assert desk.session.scalars(sa.select(Decision)).all() == []


@pytest.mark.parametrize(
    ("verdict", "not_before"),
    [
        (Verdict.CLEAR_FROM, None),
        (Verdict.CLEAR, dt.date(2026, 4, 1)),
        (Verdict.DECLINE, dt.date(2026, 4, 1)),
    ],
)
def test_a_date_goes_with_clear_from_and_with_nothing_else(
    desk: Desk, clinician: Staff, verdict: Verdict, not_before: dt.date | None
) -> None:
    with pytest.raises(ValueError, match="date"):
        decide(desk, clinician, desk.screened(medicines=("blood_thinner",)), verdict, not_before=not_before)


def test_the_whole_case_names_the_decision_and_the_reading_is_recorded(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(medicines=("blood_thinner",))
    decide(desk, clinician, case, Verdict.CLEAR)
    found = review.whole(desk.office, clinician, case.reference)
    assert [(d.staff_name, d.note, d.answers_hash) for d in found.decisions] == [
        ("Dr Example", "Spoke to the patient.", case.answers_hash)
    ]
    assert {"concern", "medicines"} <= {each.question.link_id for each in found.answered}
    last = desk.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
    assert last is not None
    assert (last.action, last.actor_kind, last.actor_id) == ("read", "staff", "dr-1")


def test_the_queue_lists_what_patients_submitted_newest_first_and_no_draft(desk: Desk) -> None:
    desk.begun()
    older = desk.screened()
    newer = desk.at(desk.office.now + dt.timedelta(minutes=1)).screened(medicines=("blood_thinner",))
    page = review.queue(desk.office)
    assert [row.case.reference for row in page.rows] == [newer.reference, older.reference]
    assert [row.name for row in page.rows] == ["Pat Example"] * 2
    waiting = review.queue(desk.office, state=CaseState.REVIEW)
    assert [row.case.reference for row in waiting.rows] == [newer.reference]


def test_one_clinic_never_sees_another_ones_case(make_desk: Callable[..., Desk], clinician: Staff) -> None:
    case = make_desk().screened(medicines=("blood_thinner",))
    elsewhere = make_desk(clinic=replace(CLINIC, id="elsewhere"))
    assert review.queue(elsewhere.office).rows == ()
    with pytest.raises(NotFound):
        review.whole(elsewhere.office, clinician, case.reference)
    with pytest.raises(NotFound):
        decide(elsewhere, clinician, case, Verdict.CLEAR)


def test_cases_with_the_same_e_mail_address_are_shown_together(desk: Desk, clinician: Staff) -> None:
    desk.email = "pat@example.com"
    stopped, second = desk.screened(pregnant="yes"), desk.screened()
    found = review.whole(desk.office, clinician, second.reference)
    assert [case.reference for case in found.related] == [stopped.reference]
