"""Three-valued conditions, pages of questions, and what is dropped when answers change."""

import datetime as dt
from dataclasses import replace
from itertools import product

import pytest

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.conditions import Known, Truth
from intake_plugin.clinical.protocol import (
    All,
    AnyOf,
    Compare,
    Condition,
    Option,
    Protocol,
    Question,
    Rule,
    Section,
    Wait,
    Within,
)
from intake_plugin.clinical.questionnaire import (
    asked,
    first_unanswered,
    options_of,
    pages,
    prune,
    walk,
)

TODAY = dt.date(2026, 3, 2)


@pytest.fixture(scope="module")
def small(microneedling: Protocol) -> Protocol:
    """A protocol of few questions; everything that these tests do not look at is the real one's."""
    skin = Section(
        id="skin",
        questions=(
            Question(link_id="sore", type="yes-no", unsure=True),
            Question(link_id="since", type="date", enable_when=Compare(question="sore"), precision="month"),
            Question(
                link_id="bad",
                type="yes-no",
                enable_when=Within(question="since", within="month"),
            ),
            Question(
                link_id="used",
                type="choices",
                options=(Option(id="acid"), Option(id="scrub"), Option(id="none", exclusive=True)),
            ),
            Question(link_id="weeks", type="number", minimum=0, maximum=40, required=False),
        ),
    )
    plans = Section(
        id="plans",
        questions=(
            Question(link_id="trip", type="date", tense="future", required=False),
            Question(link_id="note", type="text", required=False),
            Question(
                link_id="extra",
                type="choice",
                options=(
                    Option(id="plain"),
                    Option(id="glow", optional=True),
                    Option(id="calm", enable_when=Compare(question="sore")),
                ),
            ),
            Question(link_id="vaccine", type="yes-no", optional_rule="off"),
        ),
    )
    off = Rule(
        id="off", outcome=microneedling.rules[0].outcome, when=Compare(question="vaccine"), active=False
    )
    return replace(
        microneedling,
        sections=(skin, plans),
        derived=(replace(microneedling.derived[0], id="age"),),
        waits={"month": Wait(months=1), "fortnight": Wait(days=14)},
        limits={"few": 3},
        rules=(off,),
    )


def is_(question: str, answer: str | int | bool = "yes") -> Compare:
    return Compare(question=question, answer=answer)


def not_(question: str, answer: str) -> Compare:
    return Compare(question=question, operator="!=", answer=answer)


MARCH = PartialDate(2026, 3)
LAST_FORTNIGHT = PartialDate(2026, 2, 17)


@pytest.mark.parametrize(
    ("answers", "condition", "truth"),
    [
        ({"sore": "yes"}, is_("sore"), True),
        ({"sore": "yes"}, is_("sore", answer=True), True),
        ({"sore": "no"}, is_("sore", answer=False), True),
        ({"sore": "no"}, is_("sore"), False),
        ({}, is_("sore"), None),
        ({}, not_("sore", "yes"), None),
        ({"sore": UNSURE}, is_("sore"), None),
        ({"sore": "maybe"}, is_("sore"), None),
        # a follow-up that is not asked does not apply, whatever is still stored for it
        ({"sore": "no", "since": MARCH}, Within(question="since", within="month"), False),
        ({"sore": "no"}, is_("bad"), False),
        ({"sore": "no"}, not_("bad", "yes"), False),
        ({"sore": UNSURE}, not_("bad", "yes"), None),
        ({"sore": "yes"}, is_("bad"), None),
        # several choices: contains
        ({"used": ("acid", "scrub")}, is_("used", "acid"), True),
        ({"used": ("scrub",)}, is_("used", "acid"), False),
        ({"used": ("scrub",)}, not_("used", "acid"), True),
        ({"used": ()}, not_("used", "acid"), None),
        ({"used": ("none", "acid")}, is_("used", "acid"), None),
        ({"used": ("soap",)}, not_("used", "acid"), None),
        # numbers and limits
        ({"weeks": 3}, Compare(question="weeks", operator="<=", answer="@few"), True),
        ({"weeks": 4}, Compare(question="weeks", operator="<=", answer="@few"), False),
        ({"weeks": 4}, Compare(question="weeks", operator="!=", answer=3), True),
        ({"weeks": 41}, Compare(question="weeks", operator=">", answer=3), None),
        # exists
        ({"note": "hello"}, Compare(question="note", operator="exists"), True),
        ({"note": "  "}, Compare(question="note", operator="exists"), False),
        ({}, Compare(question="note", operator="exists", answer=True), False),
        ({}, Compare(question="note", operator="exists", answer="no"), True),
        ({"sore": UNSURE}, Compare(question="sore", operator="exists"), None),
        # within: the wait still runs; a month counts from its end but not from the future
        ({"sore": "yes", "since": LAST_FORTNIGHT}, Within(question="since", within="fortnight"), True),
        (
            {"sore": "yes", "since": PartialDate(2026, 2, 16)},
            Within(question="since", within="fortnight"),
            False,
        ),
        ({"sore": "yes", "since": MARCH}, Within(question="since", within="fortnight"), True),
        ({"sore": "yes", "since": PartialDate(2026, 2)}, Within(question="since", within="month"), True),
        ({"sore": "yes", "since": PartialDate(2026, 2, 30)}, Within(question="since", within="month"), None),
        ({"trip": PartialDate(2026, 4, 1)}, Within(question="trip", within="fortnight"), True),
        # age in completed years
        ({"birth_date": PartialDate(2008, 3, 2)}, Compare(question="age", operator=">=", answer=18), True),
        ({"birth_date": PartialDate(2008, 3, 3)}, Compare(question="age", operator=">=", answer=18), False),
        ({"birth_date": PartialDate(2027, 1, 1)}, Compare(question="age", operator=">=", answer=18), None),
        ({}, Compare(question="age", operator=">=", answer=18), None),
    ],
)
def test_truth(small: Protocol, answers: dict[str, Answer], condition: Condition, truth: Truth) -> None:
    assert Known(small, answers, today=TODAY).truth(condition) is truth


@pytest.mark.parametrize(
    ("today", "years"), [((2025, 2, 28), 24), ((2025, 3, 1), 25), ((2024, 2, 28), 23), ((2024, 2, 29), 24)]
)
def test_a_birthday_on_the_29th_of_february(small: Protocol, today: tuple[int, int, int], years: int) -> None:
    known = Known(small, {"birth_date": PartialDate(2000, 2, 29)}, today=dt.date(*today))
    assert known.derived("age") == years


KLEENE: dict[str, Truth] = {"yes": True, "no": False, "": None}


@pytest.mark.parametrize(("left", "right"), list(product(KLEENE, repeat=2)))
def test_kleene(small: Protocol, left: str, right: str) -> None:
    answers: dict[str, Answer] = {"used": ("acid",) if left == "yes" else ("none",), "sore": right}
    if not left:
        del answers["used"]
    if not right:
        del answers["sore"]
    parts = (is_("used", "acid"), is_("sore"))
    truths = [KLEENE[left], KLEENE[right]]
    both = False if False in truths else None if None in truths else True
    either = True if True in truths else None if None in truths else False
    assert Known(small, answers, today=TODAY).truth(All(all=parts)) is both
    assert Known(small, answers, today=TODAY).truth(AnyOf(any=parts)) is either


def test_empty_all_is_true_and_empty_any_is_not(small: Protocol) -> None:
    assert Known(small, {}, today=TODAY).truth(All(all=())) is True
    assert Known(small, {}, today=TODAY).truth(AnyOf(any=())) is False


@pytest.mark.parametrize(
    ("item", "total", "skin_type"), [(0, 0, 1), (1, 10, 2), (2, 20, 3), (3, 30, 5), (4, 40, 6)]
)
def test_the_skin_type_quiz(microneedling: Protocol, item: int, total: int, skin_type: int) -> None:
    value = next(value for value in microneedling.derived if value.id == "fitzpatrick")
    parts = [microneedling.questions[link_id] for link_id in value.questions]
    assert sum(part.options[item].score or 0 for part in parts) == total
    answers: dict[str, Answer] = {part.link_id: part.options[item].id for part in parts}
    assert Known(microneedling, answers, today=TODAY).derived("fitzpatrick") == skin_type
    del answers[parts[0].link_id]
    assert Known(microneedling, answers, today=TODAY).derived("fitzpatrick") is None


def test_follow_ups_stand_on_further_pages(small: Protocol) -> None:
    shape = [(page.key, page.number, [q.link_id for q in page.questions]) for page in pages(small)]
    assert shape == [
        ("skin", 1, ["sore", "used", "weeks"]),
        ("skin-2", 2, ["since"]),
        ("skin-3", 3, ["bad"]),
        ("plans", 1, ["trip", "note", "extra", "vaccine"]),
    ]


@pytest.mark.parametrize("name", ["microneedling", "light_peel"])
def test_no_page_asks_what_depends_on_itself(name: str, request: pytest.FixtureRequest) -> None:
    protocol: Protocol = request.getfixturevalue(name)
    listed = [question.link_id for page in pages(protocol) for question in page.questions]
    assert sorted(listed) == sorted(protocol.questions)
    keys = [page.key for page in pages(protocol)]
    assert len(set(keys)) == len(keys)


def test_only_pages_with_something_to_ask_are_walked(small: Protocol) -> None:
    assert [page.key for page, _ in walk(small, {"sore": "no"}, today=TODAY)] == ["skin", "plans"]
    keys = [page.key for page, _ in walk(small, {"sore": "yes", "since": MARCH}, today=TODAY)]
    assert keys == ["skin", "skin-2", "skin-3", "plans"]


def test_a_question_of_a_rule_that_is_off_is_not_asked(small: Protocol) -> None:
    plans = pages(small)[-1]
    assert [q.link_id for q in asked(plans, small, {}, today=TODAY)] == ["trip", "note", "extra"]
    on = replace(small, rules=(replace(small.rules[0], active=True),))
    assert [q.link_id for q in asked(plans, on, {}, today=TODAY)][-1] == "vaccine"


def test_options_to_show(small: Protocol) -> None:
    extra = small.questions["extra"]

    def shown(answers: dict[str, Answer], *offers: str) -> list[str]:
        return [option.id for option in options_of(extra, small, answers, today=TODAY, offers=offers)]

    assert shown({}) == ["plain"]
    assert shown({"sore": "no"}, "glow") == ["plain", "glow"]
    assert shown({"sore": "yes"}, "glow") == ["plain", "glow", "calm"]


def test_first_unanswered_page(small: Protocol) -> None:
    answers: dict[str, Answer] = {"sore": UNSURE, "used": ("none",)}
    page = first_unanswered(small, answers, today=TODAY)
    assert page is not None
    assert page.key == "plans"
    assert first_unanswered(small, {**answers, "extra": "plain"}, today=TODAY) is None
    back = first_unanswered(small, {**answers, "extra": "plain", "sore": "yes"}, today=TODAY)
    assert back is not None
    assert back.key == "skin-2"


def test_prune_drops_what_is_no_longer_asked_and_says_so(small: Protocol) -> None:
    answers: dict[str, Answer] = {
        "birth_date": PartialDate(1985, 1, 15),
        "sore": "no",
        "since": MARCH,
        "bad": "yes",
        "used": ("acid", "soap"),
        "extra": "calm",
        "gone": "yes",
    }
    kept, dropped = prune(small, answers, today=TODAY)
    assert kept == {"birth_date": PartialDate(1985, 1, 15), "sore": "no", "used": ("acid",)}
    assert set(dropped) == {"since", "bad", "used.soap", "extra", "gone"}
    assert answers["bad"] == "yes"


def test_prune_follows_a_chain_of_dropped_answers(small: Protocol) -> None:
    chained = replace(
        small,
        sections=(
            Section(
                id="chain",
                questions=(
                    Question(link_id="a", type="choice", options=(Option(id="x"),)),
                    Question(link_id="b", type="yes-no", enable_when=is_("a", "x")),
                    Question(link_id="c", type="yes-no", enable_when=is_("b")),
                ),
            ),
        ),
    )
    kept, dropped = prune(chained, {"a": "y", "b": "yes", "c": "yes"}, today=TODAY)
    assert kept == {}
    assert set(dropped) == {"a", "b", "c"}
