"""A booked case whose protocol has changed since: what moves, what does not, what the desk is told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest

from intake_plugin.clinical.protocol import (
    Caution,
    Compare,
    Operator,
    Outcome,
    Protocol,
    Rule,
    RuleText,
    Section,
)
from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import booking, changing
from intake_plugin.journeys.office import SYSTEM
from intake_plugin.journeys.suitability import recheck_of
from intake_plugin.journeys.times import session_of
from intake_plugin.journeys.why import Why, why_not_offered
from intake_plugin.records.tables import Case
from intake_plugin.settings import Clinic
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, Desk

PROTOCOL = CLINIC.treatments["microneedling"].protocol


def asking(protocol: Protocol) -> Protocol:
    """The protocol with one required question more."""
    new = replace(protocol.questions["pregnant"], link_id="new")
    texts = {
        locale: replace(
            words,
            questions={**words.questions, "new": replace(words.questions["pregnant"], short="Something new")},
        )
        for locale, words in protocol.texts.items()
    }
    return replace(protocol, sections=(*protocol.sections, Section(id="more", questions=(new,))), texts=texts)


def ruled(protocol: Protocol, question: str, answer: str | int, operator: Operator = "=") -> Protocol:
    """The protocol with a stop more."""
    when = Compare(question=question, operator=operator, answer=answer)
    rule = Rule(id="NEW", outcome=Outcome.STOP, when=when)
    texts = {
        locale: replace(words, rules={**words.rules, "NEW": RuleText(reason="Something new forbids it.")})
        for locale, words in protocol.texts.items()
    }
    return replace(protocol, rules=(*protocol.rules, rule), texts=texts)


def scored(protocol: Protocol) -> Protocol:
    """The protocol with the new question in its skin type score, which rules rest on."""
    protocol = asking(protocol)
    (score,) = (each for each in protocol.derived if each.kind == "score")
    derived = tuple(
        replace(each, questions=(*each.questions, "new")) if each is score else each
        for each in protocol.derived
    )
    return ruled(replace(protocol, derived=derived), score.id, 6, ">=")


def cautious(protocol: Protocol) -> Protocol:
    """The protocol with a caution on the new question against the cream that was chosen."""
    protocol = asking(protocol)
    caution = Caution(
        id="new", when=Compare(question="new", operator="=", answer="yes"), effects={"LMX4": "block"}
    )
    numbing = replace(protocol.numbing, cautions=(*protocol.numbing.cautions, caution))
    return replace(protocol, numbing=numbing)


def renamed(protocol: Protocol) -> Protocol:
    """The protocol with another id for an option that the patient chose."""
    sections = tuple(
        replace(
            section,
            questions=tuple(
                replace(
                    question,
                    options=tuple(
                        replace(option, id="at_no_time") if option.id == "never" else option
                        for option in question.options
                    ),
                )
                if question.link_id == "isotretinoin"
                else question
                for question in section.questions
            ),
        )
        for section in protocol.sections
    )
    return replace(protocol, sections=sections)


def running(protocol: Protocol) -> Clinic:
    treatment = replace(CLINIC.treatments["microneedling"], protocol=protocol, fingerprint="0" * 64)
    return replace(CLINIC, treatments={"microneedling": treatment})


def ask(desk: Desk, case: Case, local: dt.datetime) -> Why:
    return why_not_offered(desk.office, local, actor=SYSTEM, reference=case.reference)


@pytest.fixture
def desk_of(make_desk: Callable[..., Desk]) -> Callable[[Protocol], tuple[Desk, Case]]:
    """Book a series, then change the protocol."""

    def change(protocol: Protocol) -> tuple[Desk, Case]:
        before = make_desk()
        case = before.booked()
        return make_desk(clinic=running(protocol), session=before.session), case

    return change


@pytest.mark.parametrize(
    "protocol",
    [asking(PROTOCOL), ruled(asking(PROTOCOL), "new", "yes"), scored(PROTOCOL), cautious(PROTOCOL)],
    ids=["question", "stop-on-it", "score-with-it", "caution-on-it"],
)
@pytest.mark.parametrize("by_staff", [False, True], ids=["patient", "staff"])
def test_what_nobody_was_asked_keeps_no_session_where_it_is(
    desk_of: Callable[[Protocol], tuple[Desk, Case]], clinician: Staff, protocol: Protocol, by_staff: bool
) -> None:
    desk, case = desk_of(protocol)
    staff = clinician if by_staff else None
    week = changing.move_times(desk.office, case, 2, staff=staff)
    assert week.slots
    plan = changing.plan_move(desk.office, case, 2, {2: week.slots[0].arrive}, staff=staff)
    changing.move(desk.office, case, 2, plan.arrivals, staff=staff)
    moved = booking.appointments_of(desk.office, case)[1]
    assert (moved.arrive_at, moved.product_id) == (week.slots[0].arrive, "LMX4")
    assert session_of(desk.office, case).choice.decision == "use"


def test_the_desk_is_told_what_to_ask_and_why_not_says_that_it_is_no_reason(
    desk_of: Callable[[Protocol], tuple[Desk, Case]],
) -> None:
    desk, case = desk_of(ruled(asking(PROTOCOL), "new", "yes"))
    appointments = booking.appointments_of(desk.office, case)
    recheck = recheck_of(desk.office, case, appointments)
    assert recheck is not None
    assert [question.link_id for question in recheck.unasked] == ["new"]
    assert recheck.forbidden == {}
    free = dt.datetime.fromisoformat(appointments[0].local_start) + dt.timedelta(days=1)
    found = ask(desk, case, free)
    assert found.reasons == ()
    assert found.unasked == ("Something new",)


@pytest.mark.parametrize("by_staff", [False, True], ids=["patient", "staff"])
def test_a_new_stop_on_what_the_patient_said_binds_every_move(
    desk_of: Callable[[Protocol], tuple[Desk, Case]], clinician: Staff, by_staff: bool
) -> None:
    desk, case = desk_of(ruled(PROTOCOL, "isotretinoin", "never"))
    staff = clinician if by_staff else None
    standing = booking.appointments_of(desk.office, case)
    assert changing.move_times(desk.office, case, 2, staff=staff).slots == ()
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 2, {2: standing[1].arrive_at + dt.timedelta(days=1)}, staff=staff)
    recheck = recheck_of(desk.office, case, standing)
    assert recheck is not None
    assert {ordinal: [each.rule_id for each in found] for ordinal, found in recheck.forbidden.items()} == {
        ordinal: ["NEW"] for ordinal in (1, 2, 3, 4)
    }
    later = dt.datetime.fromisoformat(standing[0].local_start) + dt.timedelta(days=1)
    reasons = ask(desk, case, later).reasons
    assert [each.finding.rule_id for each in reasons if each.finding] == ["NEW"]
    changing.cancel(desk.office, case, 2, staff=staff)


def test_an_answer_that_fits_no_longer_goes_on_forbidding(
    desk_of: Callable[[Protocol], tuple[Desk, Case]],
) -> None:
    desk, case = desk_of(renamed(PROTOCOL))
    assert changing.move_times(desk.office, case, 2).slots == ()
    local = dt.datetime.fromisoformat(booking.appointments_of(desk.office, case)[0].local_start)
    found = ask(desk, case, local + dt.timedelta(days=1))
    assert "unanswered" in {each.finding.rule_id for each in found.reasons if each.finding}
    assert found.unasked == ()


def test_nothing_is_to_check_while_the_protocol_is_as_it_was(desk: Desk) -> None:
    case = desk.booked()
    assert recheck_of(desk.office, case, booking.appointments_of(desk.office, case)) is None
