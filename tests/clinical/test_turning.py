"""Between two turning dates nothing about a patient changes, whatever was answered."""

import datetime as dt
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.screening import screen
from intake_plugin.clinical.turning import turning_dates
from tests.clinical.test_invariants import PROTOCOL, TODAY, answer_sets


def findings(answers: dict[str, Answer], date: dt.date) -> tuple[list[str], str | None]:
    screening = screen(
        PROTOCOL, answers, today=date, answered_on=TODAY, stock=["PLIAGLIS", "LMX4"], locale="en"
    )
    product = screening.numbing.product
    return [finding.rule_id for finding in screening.findings], None if product is None else product.id


@given(
    answers=answer_sets(), days=st.integers(0, 900), born=st.dates(dt.date(2003, 1, 1), dt.date(2009, 3, 1))
)
def test_the_findings_of_a_date_are_those_of_the_turning_date_before_it(
    answers: dict[str, Answer], days: int, born: dt.date
) -> None:
    answers["birth_date"] = PartialDate.of(born)
    date = TODAY + dt.timedelta(days=days)
    turned = [turn for turn in turning_dates(PROTOCOL, answers, answered_on=TODAY) if TODAY <= turn <= date]
    assert findings(answers, date) == findings(answers, max(turned, default=TODAY))


def test_an_age_that_nobody_reaches_turns_nothing() -> None:
    aged = replace(PROTOCOL, limits={**PROTOCOL.limits, "age_stop_below": 20_000})
    assert turning_dates(aged, {"birth_date": PartialDate(2004, 2, 29)}, answered_on=TODAY)


def test_a_wait_and_a_birthday_turn_on_their_own_days() -> None:
    answers: dict[str, Answer] = {
        "birth_date": PartialDate(2004, 2, 29),
        "recent": ("botulinum",),
        "botulinum_last": PartialDate(2026, 2, 24),
    }
    turns = turning_dates(PROTOCOL, answers, answered_on=TODAY)
    assert dt.date(2026, 3, 10) in turns
    assert dt.date(2026, 3, 1) in turns
    assert dt.date(2022, 3, 1) in turns
