"""Each kind of question: what it accepts, what it says otherwise, and that nothing typed is lost."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.protocol import BIRTH_DATE, Option, Outcome, Protocol, Question, QuestionText
from intake_plugin.clinical.questionnaire import Page, asked, options_of, pages
from intake_plugin.clinical.screening import screen
from intake_plugin.settings import Clinic
from intake_plugin.web import forms
from intake_plugin.web.forms import AnswersForm, Asking

TODAY = dt.date(2026, 3, 2)
BORN = dt.date(1991, 3, 14)
WORDS = QuestionText(
    text="What is it?",
    missing="Say what it is",
    short="It",
    options={"a": "Apple", "b": "Pear", "z": "None of these"},
)
OPTIONS = (Option(id="a"), Option(id="b"), Option(id="z", exclusive=True))


@pytest.fixture(autouse=True, scope="module")
def context() -> Iterator[None]:
    with Flask(__name__).app_context():
        yield


def question(kind: Any, **more: Any) -> Question:
    return Question(link_id="q", type=kind, options=OPTIONS if kind in {"choice", "choices"} else (), **more)


def make(
    asked: Question, posted: dict[str, Any] | None = None, given: dict[str, Answer] | None = None
) -> AnswersForm:
    asking = Asking(
        texts={"q": WORDS}, options={"q": OPTIONS}, today=TODAY, birth_date=BORN, given=given or {}
    )
    return forms.page_form([asked], asking, None if posted is None else MultiDict(posted))


def result(asked: Question, posted: dict[str, Any]) -> Answer | str | None:
    """Return the answer, or the complaint."""
    form = make(asked, posted)
    return form.answers["q"] if form.validate() else form.mistakes[0].message


DAY, MONTH = question("date"), question("date", precision="month")
DATES: list[tuple[Question, tuple[str, str, str], Answer | str]] = [
    (DAY, ("27", "2", "2026"), PartialDate(2026, 2, 27)),
    (DAY, (" 27 ", " Feb ", "2026"), PartialDate(2026, 2, 27)),
    (DAY, ("27", "february", "2026"), PartialDate(2026, 2, 27)),
    (DAY, ("27", "Sept.", "2025"), PartialDate(2025, 9, 27)),
    (DAY, ("٢٧", "٢", "٢٠٢٦"), PartialDate(2026, 2, 27)),
    (DAY, ("02", "03", "2026"), PartialDate(2026, 3, 2)),
    (DAY, ("", "", ""), "Say what it is"),
    (DAY, ("", "2", "2026"), "It must include a day"),
    (DAY, ("27", "", "2026"), "It must include a month"),
    (DAY, ("27", "2", ""), "It must include a year"),
    (DAY, ("", "", "2026"), "It must include a day and month"),
    (DAY, ("", "2", ""), "It must include a day and year"),
    (DAY, ("27", "", ""), "It must include a month and year"),
    (DAY, ("27", "2", "26"), "Year must include 4 numbers"),
    (DAY, ("27", "2", "20266"), "Year must include 4 numbers"),
    (DAY, ("27", "2", "twen"), "Year must include 4 numbers"),
    (DAY, ("27", "2", "0000"), "It must be a real date"),
    (DAY, ("30", "2", "2026"), "It must be a real date"),
    (DAY, ("29", "2", "2025"), "It must be a real date"),
    (DAY, ("29", "2", "2024"), PartialDate(2024, 2, 29)),
    (DAY, ("0", "2", "2026"), "It must be a real date"),
    (DAY, ("-1", "2", "2026"), "It must be a real date"),
    (DAY, ("1.5", "2", "2026"), "It must be a real date"),
    (DAY, ("²", "2", "2026"), "It must be a real date"),
    (DAY, ("27", "13", "2025"), "It must be a real date"),
    (DAY, ("27", "Ma", "2025"), "It must be a real date"),
    (DAY, ("27", "ju", "2025"), "It must be a real date"),
    (DAY, ("27", "Brumaire", "2025"), "It must be a real date"),
    (DAY, ("1" * 5000, "2", "2025"), "It must be a real date"),
    (DAY, ("3", "3", "2026"), "It must be today or in the past"),
    (DAY, ("1", "1", "9999"), "It must be today or in the past"),
    (DAY, ("13", "3", "1991"), "It must be on or after 14 March 1991"),
    (DAY, ("14", "3", "1991"), PartialDate(1991, 3, 14)),
    (MONTH, ("", "January", "2026"), PartialDate(2026, 1)),
    (MONTH, ("5", "January", "2026"), PartialDate(2026, 1, 5)),
    (MONTH, ("", "3", "2026"), PartialDate(2026, 3)),
    (MONTH, ("", "4", "2026"), "It must be today or in the past"),
    (MONTH, ("", "", "2026"), "It must include a month"),
    (MONTH, ("5", "", ""), "It must include a month and year"),
    (MONTH, ("", "2", "1991"), "It must be on or after 14 March 1991"),
    (MONTH, ("", "3", "1991"), PartialDate(1991, 3)),
    (question("date", tense="future"), ("1", "3", "2026"), "It must be today or in the future"),
    (question("date", tense="future"), ("2", "3", "2026"), PartialDate(2026, 3, 2)),
    (question("date", tense="future"), ("1", "1", "9999"), "It must be on or before 1 March 2146"),
    (question("date", tense="any"), ("1", "1", "2027"), PartialDate(2027, 1, 1)),
]


@pytest.mark.parametrize(
    ("asked", "parts", "expected"),
    DATES,
    ids=[f"{number} {' '.join(parts)[:24]}" for number, (_, parts, _) in enumerate(DATES)],
)
def test_dates(asked: Question, parts: tuple[str, str, str], expected: Answer | str) -> None:
    posted = {f"q-{name}": text for name, text in zip(("day", "month", "year"), parts, strict=True)}
    assert result(asked, posted) == expected


@pytest.mark.parametrize(
    ("parts", "focus"),
    [
        (("27", "", "2026"), "q-month"),
        (("27", "2", ""), "q-year"),
        (("", "", ""), "q-day"),
        (("30", "2", "2026"), "q-day"),
        (("27", "x", "2026"), "q-month"),
        (("27", "2", "26"), "q-year"),
        (("27", "2", "2027"), "q-day"),
    ],
)
def test_the_summary_leads_to_the_part_at_fault(parts: tuple[str, str, str], focus: str) -> None:
    form = make(DAY, {f"q-{name}": text for name, text in zip(("day", "month", "year"), parts, strict=True)})
    assert not form.validate()
    assert form.mistakes[0].field_id == focus


CHOICES: list[tuple[Question, dict[str, Any], Answer | str | None]] = [
    (question("yes-no"), {"q": "yes"}, "yes"),
    (question("yes-no"), {"q": "no"}, "no"),
    (question("yes-no"), {"q": "unsure"}, "Say what it is"),
    (question("yes-no"), {"q": "maybe"}, "Say what it is"),
    (question("yes-no"), {}, "Say what it is"),
    (question("yes-no", unsure=True), {"q": "unsure"}, UNSURE),
    (question("yes-no", required=False), {}, None),
    (question("yes-no", required=False), {"q": "maybe"}, "Say what it is"),
    (question("choice"), {"q": "a"}, "a"),
    (question("choice"), {"q": "c"}, "Say what it is"),
    (question("choice"), {"q": ["b", "a"]}, "b"),
    (question("choices"), {"q": ["b", "a"]}, ("a", "b")),
    (question("choices"), {"q": ["a", "a"]}, ("a",)),
    (question("choices"), {"q": ["z"]}, ("z",)),
    (question("choices"), {"q": ["a", "c"]}, ("a",)),
    (question("choices"), {"q": ["c"]}, "Say what it is"),
    (question("choices"), {}, "Say what it is"),
    (question("choices", required=False), {}, None),
    (
        question("choices"),
        {"q": ["a", "z"]},
        "Select what applies to you, or select “None of these” and nothing else",
    ),
    (question("choices", unsure=True), {"q": ["unsure"]}, UNSURE),
    (
        question("choices", unsure=True),
        {"q": ["a", "unsure"]},
        "Select what applies to you, or select “I’m not sure” and nothing else",
    ),
    (question("number", minimum=0, maximum=60), {"q": " 20 "}, 20),
    (question("number", minimum=0, maximum=60), {"q": "٢٠"}, 20),
    (question("number", minimum=0, maximum=60), {"q": "-1"}, "It must be between 0 and 60"),
    (question("number", minimum=0, maximum=60), {"q": "61"}, "It must be between 0 and 60"),
    (question("number", minimum=1), {"q": "0"}, "It must be 1 or more"),
    (question("number", maximum=9), {"q": "10"}, "It must be 9 or fewer"),
    (question("number"), {"q": "2.5"}, "It must be a whole number"),
    (question("number"), {"q": "9" * 5000}, "It must be a whole number"),
    (question("number"), {"q": "½"}, "It must be a whole number"),
    (question("number"), {"q": ""}, "Say what it is"),
    (question("number", unsure=True), {"q": "", "q-unsure": "unsure"}, UNSURE),
    (
        question("number", unsure=True),
        {"q": "3", "q-unsure": "unsure"},
        "Enter an answer or select “I’m not sure”, not both",
    ),
    (question("number"), {"q": "3", "q-unsure": "unsure"}, 3),
    (question("date", unsure=True), {"q-unsure": "unsure"}, UNSURE),
    (question("text", max_length=5), {"q": " a  b "}, "a b"),
    (question("text", max_length=5), {"q": "abcdef"}, "It must be 5 characters or fewer"),
    (question("text", max_length=5), {"q": "a\x00\x07b\u202e"}, "ab"),
    (question("text"), {"q": "one\r\n\r\ntwo\x00"}, "one\n\ntwo"),
    (question("text"), {"q": "x" * 4001}, "It must be 4000 characters or fewer"),
    (question("text", required=False), {"q": "  "}, None),
]


@pytest.mark.parametrize(("asked", "posted", "expected"), CHOICES)
def test_other_kinds(asked: Question, posted: dict[str, Any], expected: Answer | str | None) -> None:
    assert result(asked, posted) == expected


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("name", "", "Enter your full name"),
        ("name", "x" * 201, "Full name must be 200 characters or fewer"),
        ("email", "", "Enter your e-mail address"),
        ("email", "wren", "Enter an e-mail address in the correct form, like name@example.com"),
        ("email", "wren@", "Enter an e-mail address in the correct form, like name@example.com"),
        ("email", "a b@example.com", "Enter an e-mail address in the correct form, like name@example.com"),
        (
            "email",
            "x" * 250 + "@example.com",
            "Enter an e-mail address in the correct form, like name@example.com",
        ),
        ("telephone", "", "Enter your telephone number"),
        ("telephone", "call me", "Enter a telephone number, like 01632 960 001 or +44 808 157 0192"),
        ("birth_date", "", "Enter your date of birth"),
    ],
)
def test_about_you(field: str, typed: str, message: str) -> None:
    form = forms.make_form(forms.about_you_controls(TODAY), MultiDict({field: typed}))
    assert not form.validate()
    assert message in [mistake.message for mistake in form.mistakes]


@pytest.mark.parametrize(
    "number", ["07700 900123", "+49 (0)30 / 123-456", "112 233", "0044.20.7946.0000 ext 5"]
)
def test_a_telephone_number_has_any_form(number: str) -> None:
    form = forms.make_form(forms.about_you_controls(TODAY), MultiDict({"telephone": number}))
    form.validate()
    assert form["telephone"].errors == []
    assert form.answers["telephone"] == number


def test_a_birth_date_is_neither_to_come_nor_older_than_anybody() -> None:
    for year, words in (("2027", "today or in the past"), ("1890", "on or after 1 March 1906")):
        posted = {"birth_date-day": "3", "birth_date-month": "4", "birth_date-year": year}
        form = forms.make_form(forms.about_you_controls(TODAY), MultiDict(posted))
        form.validate()
        assert form["birth_date"].errors == [f"Date of birth must be {words}"]


def test_a_type_without_a_control_is_named_with_those_that_have_one() -> None:
    strange = replace(question("text"), type="slider")  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(
        ValueError, match=r"'q' has the type 'slider'.*choice, choices, date, number, text, yes-no"
    ):
        make(strange)


ANSWERS: list[tuple[Question, Answer]] = [
    (question("yes-no", unsure=True), "yes"),
    (question("yes-no", unsure=True), UNSURE),
    (question("choice"), "b"),
    (question("choices"), ("a", "b")),
    (question("choices", unsure=True), UNSURE),
    (question("date"), PartialDate(2025, 2, 7)),
    (MONTH, PartialDate(2025, 2)),
    (question("date", unsure=True), UNSURE),
    (question("number"), 0),
    (question("number", unsure=True), UNSURE),
    (question("text", max_length=40), "it's <this>"),
    (question("text"), "two\nlines"),
]


@pytest.mark.parametrize(("asked", "answer"), ANSWERS)
def test_an_answer_shown_and_sent_again_is_the_same(asked: Question, answer: Answer) -> None:
    shown = make(asked, given={"q": answer})
    assert shown.answers == {"q": answer}
    sent = make(asked, as_posted(shown))
    assert sent.validate()
    assert sent.answers == {"q": answer}


def as_posted(form: AnswersForm) -> dict[str, Any]:
    """Return what a browser sends for a form as it is shown."""
    (control,) = form.fields
    if control.kind == "date":
        posted: dict[str, Any] = {f"q-{part}": text for part, text in control.parts.items()}
    elif control.kind in {"radios", "checkboxes"}:
        posted = {"q": [option.data for option in control if option.checked]}
    else:
        posted = {"q": control._value()}
    return posted | ({"q-unsure": "unsure"} if getattr(control, "ticked", False) else {})


KINDS: tuple[Literal["yes-no", "choice", "choices", "date", "text", "number"], ...] = (
    "yes-no",
    "choice",
    "choices",
    "date",
    "text",
    "number",
)
NAMES = st.sampled_from(["q", "q-day", "q-month", "q-year", "q-unsure"])
VALUES = st.one_of(
    st.text(max_size=30), st.sampled_from(["yes", "a", "z", "unsure", "31", "2", "2026", "0", "feb"])
)


@settings(max_examples=500, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    unsure=st.booleans(),
    required=st.booleans(),
    precision=st.sampled_from(["day", "month"]),
    tense=st.sampled_from(["past", "future", "any"]),
    posted=st.lists(st.tuples(NAMES, VALUES), max_size=8),
)
def test_whatever_is_posted_is_answered_or_refused_and_typed_again(
    kind: Any, unsure: bool, required: bool, precision: Any, tense: Any, posted: list[tuple[str, str]]
) -> None:
    asked = question(kind, unsure=unsure, required=required, precision=precision, tense=tense)
    asking = Asking(texts={"q": WORDS}, options={"q": OPTIONS}, today=TODAY, birth_date=BORN)
    form = forms.page_form([asked], asking, MultiDict(posted))
    valid = form.validate()
    (control,) = form.fields
    assert len(control.errors) == (0 if valid else 1)
    assert valid == (not form.mistakes)
    if valid:
        answer = form.answers["q"]
        assert answer is not None or not required
        assert answer is not UNSURE or unsure
        if isinstance(answer, PartialDate):
            assert answer.latest >= BORN
            assert tense != "past" or answer.earliest <= TODAY
    else:
        assert control.focus.startswith("q")


def posting(question: Question, options: tuple[Option, ...], chance: random.Random) -> dict[str, Any]:
    """Return what somebody might send for a question, sensible more often than not."""
    name, offered = question.link_id, [option.id for option in options]
    unsure = {f"{name}-unsure": "unsure"} if question.unsure and chance.random() < 0.05 else {}
    match question.type:
        case "yes-no":
            return {name: chance.choice(["yes", "no", "no", "unsure"])}
        case "choice":
            return {name: chance.choice([*offered, "unsure"])}
        case "choices":
            return {
                name: chance.sample(offered, chance.randint(1, min(2, len(offered))))
                if chance.random() < 0.4
                else ["none"]
            }
        case "date":
            day = TODAY - dt.timedelta(days=chance.randint(-20, 900))
            parts = {f"{name}-day": day.day, f"{name}-month": day.month, f"{name}-year": day.year}
            return unsure or {key: str(value) for key, value in parts.items()}
        case "number":
            return unsure or {name: str(chance.randint(-2, 80))}
        case _:
            return {name: chance.choice(["", "words", "x" * 5000])}


def answered(protocol: Protocol, every: tuple[Page, ...], chance: random.Random) -> dict[str, Answer]:
    """Answer every page of a protocol by its form; a page refused is left unanswered."""
    answers: dict[str, Answer] = {
        BIRTH_DATE: PartialDate.of(TODAY - dt.timedelta(days=chance.randint(6000, 30000)))
    }
    texts = protocol.words("en").questions
    for page in every:
        here = asked(page, protocol, answers, today=TODAY)
        options = {
            each.link_id: options_of(each, protocol, answers, today=TODAY) for each in here if each.options
        }
        posted: dict[str, Any] = {}
        for each in here:
            posted |= posting(each, options.get(each.link_id, ()), chance)
        form = forms.page_form(here, Asking(texts=texts, options=options, today=TODAY), MultiDict(posted))
        if form.validate():
            answers |= {name: answer for name, answer in form.answers.items() if answer is not None}
    return answers


@pytest.mark.parametrize("part", range(4))
def test_two_thousand_answer_sets_through_the_pages_are_screened(clinic: Clinic, part: int) -> None:
    treatment = clinic.treatments["microneedling"]
    protocol, chance = treatment.protocol, random.Random(part)
    every = pages(protocol)
    seen: set[Outcome] = set()
    for _ in range(500):
        answers = answered(protocol, every, chance)
        found = screen(protocol, answers, today=TODAY, stock=treatment.numbing.stock, locale="en")
        required = [
            each.link_id
            for page in every
            for each in asked(page, protocol, answers, today=TODAY)
            if each.required and answers.get(each.link_id, UNSURE) is UNSURE
        ]
        assert not required or found.outcome.rank <= Outcome.REVIEW.rank, required
        assert found.bookable == (found.outcome.rank > Outcome.REVIEW.rank and not found.until_healed)
        seen.add(found.outcome)
    assert seen >= {Outcome.STOP, Outcome.REVIEW}
