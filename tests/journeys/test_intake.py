"""From the first answer to the outcome, on every kind of database."""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.protocol import Outcome
from intake_plugin.clinical.questionnaire import prune
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys import intake
from intake_plugin.journeys.intake import Step, answers_hash, answers_of, dropped_of, next_step
from intake_plugin.records import audit
from intake_plugin.records.tables import AuditEntry, CaseState
from tests.journeys.conftest import CLINIC, NOW, Desk


def test_a_case_goes_from_about_you_through_the_questions_to_the_check(desk: Desk) -> None:
    case = desk.begun()
    assert next_step(desk.office, case) == Step("about-you")
    case = desk.identified()
    first = next_step(desk.office, case)
    assert first.name == "questions"
    case = desk.answered()
    assert next_step(desk.office, case) == Step("check")


@pytest.mark.parametrize("step", ["check", "outcome", "consent", "notes", "times", "series", "done"])
def test_no_step_is_reached_before_its_turn(desk: Desk, step: str) -> None:
    with pytest.raises(OutOfTurn) as caught:
        intake.require(desk.office, desk.identified(), step)
    assert caught.value.step == "questions"


def test_a_later_page_of_questions_waits_for_the_earlier_ones(desk: Desk) -> None:
    with pytest.raises(OutOfTurn):
        intake.answer(desk.office, desk.identified(), "medicines", {"isotretinoin": "never"})


def test_a_page_the_answers_do_not_ask_for_does_not_exist(desk: Desk) -> None:
    with pytest.raises(NotFound):
        intake.require(desk.office, desk.answered(), "questions", "medicines-2")


OUTCOMES: list[tuple[dict[str, Answer], Outcome, CaseState, dt.date | None]] = [
    ({}, Outcome.CLEAR, CaseState.CONSENT, None),
    ({"no_alcohol": "no"}, Outcome.ADVISE, CaseState.CONSENT, None),
    (
        {"recent": ("botulinum",), "botulinum_last": PartialDate(2026, 2, 24)},
        Outcome.DEFER,
        CaseState.CONSENT,
        dt.date(2026, 3, 10),
    ),
    ({"unwell": "yes"}, Outcome.DEFER, CaseState.WAITING, None),
    ({"medicines": ("blood_thinner",)}, Outcome.REVIEW, CaseState.REVIEW, None),
    ({"pregnant": UNSURE}, Outcome.REVIEW, CaseState.REVIEW, None),
    ({"pregnant": "yes"}, Outcome.STOP, CaseState.STOPPED, None),
]


@pytest.mark.parametrize(("answers", "outcome", "state", "not_before"), OUTCOMES)
def test_each_outcome_leads_where_it_must(
    desk: Desk,
    answers: dict[str, Answer],
    outcome: Outcome,
    state: CaseState,
    not_before: dt.date | None,
) -> None:
    case = desk.screened(**answers)
    assert (case.outcome, case.state, case.not_before) == (outcome, state, not_before)


def test_a_failure_inside_screening_is_a_review(make_desk: Callable[..., Desk]) -> None:
    treatment = CLINIC.treatments["microneedling"]
    broken = replace(treatment, numbing=replace(treatment.numbing, stock=("a cream nobody knows",)))
    desk = make_desk(clinic=replace(CLINIC, treatments={"microneedling": broken}))
    case = desk.screened()
    screening = intake.screening_of(case)
    assert screening is not None
    assert [finding.rule_id for finding in screening.findings] == ["failure"]
    assert case.state == CaseState.REVIEW


def test_answers_checked_in_another_window_are_not_submitted(desk: Desk) -> None:
    case = desk.answered()
    shown = answers_hash(case)
    first = next(iter(desk.office.protocol_of(case).sections)).id
    intake.answer(desk.office, case, first, {"concern": "pores"})
    with pytest.raises(Stale):
        intake.submit(desk.office, case, shown=shown)
    assert case.state == CaseState.DRAFT


def test_an_answer_no_longer_asked_is_kept_in_the_draft_and_dropped_with_the_submit(desk: Desk) -> None:
    case = desk.answered(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    intake.answer(desk.office, case, "recent", {"recent": ("none",)})
    assert answers_of(case)["filler_last"] == PartialDate(2026, 2, 16)
    intake.submit(desk.office, case, shown=answers_hash(case))
    assert "filler_last" not in answers_of(case)
    assert dropped_of(case) == ("filler_last",)
    assert case.state == CaseState.CONSENT


def test_a_page_takes_no_answers_that_it_does_not_ask(desk: Desk) -> None:
    with pytest.raises(ValueError, match="does not ask pregnant"):
        intake.answer(desk.office, desk.answered(), "goal", {"pregnant": "no"})


def test_going_back_reopens_the_answers_only_where_nobody_waits_for_them(desk: Desk) -> None:
    case = desk.screened()
    intake.reopen(desk.office, case)
    assert (case.state, case.screening, case.outcome) == (CaseState.DRAFT, None, None)
    assert next_step(desk.office, case) == Step("check")
    for answers in ({"pregnant": "yes"}, {"medicines": ("blood_thinner",)}):
        with pytest.raises(OutOfTurn):
            intake.reopen(desk.office, desk.screened(**answers))


def test_two_windows_at_once_lose_nothing(make_desk: Callable[..., Desk]) -> None:
    one, other = make_desk(), make_desk()
    case = one.answered()
    twin = other.session.get_one(type(case), (case.clinic_id, case.id))
    assert twin.answers == case.answers
    other.session.commit()
    intake.answer(one.office, case, "goal", {"concern": "pores"})
    intake.answer(other.office, twin, "goal", {"pressure": "yes"})
    one.session.expire_all()
    kept = answers_of(case)
    assert (kept["concern"], kept["pressure"]) == ("pores", "yes")


def test_what_was_opened_of_a_case_counts_while_its_seals_are_the_same(desk: Desk) -> None:
    case, other = desk.answered(), desk.answered(pressure="yes")
    assert answers_of(case) is answers_of(case)
    intake.answer(desk.office, case, "goal", {"concern": "pores"})
    assert [answers_of(each)["concern"] for each in (case, other)] == ["pores", "fine_lines"]
    case.answers = {intake.GIVEN: {}}
    assert answers_of(case).keys() == {"birth_date"}
    case.identity = None
    assert answers_of(case) == {}
    assert answers_of(other)["pressure"] == "yes"


def test_the_answers_that_count_are_worked_out_for_each_day(desk: Desk) -> None:
    case = desk.answered(recent=("filler",), filler_last=PartialDate(2026, 2, 16))
    offices = [desk.office, desk.at(NOW + dt.timedelta(days=365)).office]
    counted = [[intake.counting_of(office, case) for office in offices] for _ in range(2)]
    assert counted[0][0] is counted[1][0]
    assert [
        prune(office.protocol_of(case), answers_of(case), today=office.today)[0] for office in offices
    ] == (counted[0])


def test_nothing_opened_outlives_the_session_that_loaded_it(desk: Desk) -> None:
    def opened() -> int:
        gc.collect()
        return sum(type(each) is intake._Opened for each in gc.get_objects())

    before = opened()
    case = desk.answered()
    assert answers_of(case)
    assert opened() > before
    del case
    desk.session.close()
    assert opened() == before


def test_every_act_leaves_an_entry_in_a_sound_chain(desk: Desk) -> None:
    case = desk.screened()
    actions = desk.session.scalars(
        sa.select(AuditEntry.action).where(AuditEntry.object_id == case.id).order_by(AuditEntry.seq)
    ).all()
    assert actions[:2] == ["begin", "identify"]
    assert set(actions[2:-1]) == {"answer"}
    assert actions[-1] == "submit"
    assert audit.verify(desk.session, CLINIC.id) == ()


def test_no_answer_and_no_name_is_readable_in_the_database(desk: Desk, database_url: str) -> None:
    desk.screened(medicines=("blood_thinner",))
    desk.session.commit()
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        stored = repr(connection.execute(sa.text("SELECT * FROM intake_case")).all())
        stored += repr(connection.execute(sa.text("SELECT * FROM intake_audit")).all())
    engine.dispose()
    for secret in ("Pat Example", "pat@example.com", "1990", "blood_thinner", "fine_lines"):
        assert secret not in stored
