"""What must never happen, whatever a patient answers."""

import datetime as dt
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.course import plan_course
from intake_plugin.clinical.numbing import NumbingChoice, plan
from intake_plugin.clinical.protocol import Outcome, Protocol, Question
from intake_plugin.clinical.questionnaire import asked, first_unanswered, options_of, pages, prune
from intake_plugin.clinical.reach import worlds
from intake_plugin.clinical.screening import Screening, from_json, screen, screen_safely, to_json
from intake_plugin.loading import effective, load_protocol

TODAY = dt.date(2026, 3, 2)
LONG_AGO = PartialDate(2023, 3, 2)
STOCK = ("LMX4", "EMLA", "PLIAGLIS", "BLT", "LT23_7")
PUBLISHED = load_protocol("microneedling")
PROTOCOL = effective(PUBLISHED, offers=("prp", "rf"), rules_on=("S44",))
BENIGN_YES = {"no_alcohol", "diabetes_controlled"}
"""Questions where "yes" is the harmless answer."""

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def screened(answers: Mapping[str, Answer], today: dt.date = TODAY) -> Screening:
    return screen(PROTOCOL, answers, today=today, stock=STOCK, locale="en", answered_on=TODAY)


def harmless(question: Question, offered: list[str]) -> Answer:
    match question.type:
        case "yes-no":
            return "yes" if question.link_id in BENIGN_YES else "no"
        case "choice":
            return offered[0]
        case "choices":
            return ("none",)
        case "date":
            return LONG_AGO
        case "number":
            return question.minimum or 0
        case _:
            return "nothing more"


dates = st.dates(TODAY - dt.timedelta(days=800), TODAY)


def anything(question: Question, offered: list[str]) -> st.SearchStrategy[Answer]:
    match question.type:
        case "yes-no":
            return st.sampled_from(["no", "yes"])
        case "choice":
            return st.sampled_from(offered)
        case "choices":
            exclusive = {option.id for option in question.options if option.exclusive}
            shared = [option for option in offered if option not in exclusive]
            some = st.lists(st.sampled_from(shared), min_size=1, max_size=3, unique=True)
            return some.map(lambda chosen: tuple(option for option in offered if option in chosen))
        case "date":
            exact = dates.map(PartialDate.of)
            if question.precision == "day":
                return exact
            return exact | dates.map(lambda date: PartialDate(date.year, date.month))
        case "number":
            return st.integers(question.minimum or 0, question.maximum or 200)
        case _:
            return st.text(min_size=1).filter(str.strip)


@st.composite
def answer_sets(draw: st.DrawFn) -> dict[str, Answer]:
    """A complete set of answers in which a few questions, and all follow-ups, say anything at all."""
    told = draw(st.sets(st.sampled_from(sorted(PROTOCOL.questions)), max_size=5))
    age = draw(st.integers(16, 80))
    answers: dict[str, Answer] = {"birth_date": PartialDate(TODAY.year - age, 1, 15)}
    for page in pages(PROTOCOL):
        for question in asked(page, PROTOCOL, answers, today=TODAY):
            offered = [option.id for option in options_of(question, PROTOCOL, answers, today=TODAY)]
            followed = question.enable_when is not None
            if question.link_id not in told and question.type == "text":
                continue
            if question.link_id in told or followed:
                answers[question.link_id] = draw(anything(question, offered))
            else:
                answers[question.link_id] = harmless(question, offered)
    return answers


def last_date(screening: Screening) -> dt.date:
    """The date from which a case may go on, as late as can be where there is none."""
    if screening.outcome is Outcome.STOP or screening.until_healed:
        return dt.date.max
    return screening.not_before or dt.date.min


@given(answer_sets())
@quick
def test_a_complete_set_leaves_nothing_open(answers: dict[str, Answer]) -> None:
    assert first_unanswered(PROTOCOL, answers, today=TODAY) is None
    assert prune(PROTOCOL, answers, today=TODAY) == (answers, ())
    assert not [finding for finding in screened(answers).findings if finding.undetermined]


@given(answer_sets())
@quick
def test_a_stop_hides_every_date(answers: dict[str, Answer]) -> None:
    screening = screened({**answers, "pregnant": "yes"})
    assert screening.outcome is Outcome.STOP
    assert screening.not_before is None
    assert not screening.bookable


@given(answer_sets())
@quick
def test_the_most_serious_finding_decides(answers: dict[str, Answer]) -> None:
    screening = screened(answers)
    outcomes = [finding.outcome for finding in screening.findings]
    assert screening.outcome == min(outcomes, key=lambda outcome: outcome.rank, default=Outcome.CLEAR)
    if Outcome.REVIEW in outcomes or Outcome.STOP in outcomes:
        assert not screening.bookable
    if screening.bookable:
        due = [finding.not_before for finding in screening.findings if finding.not_before]
        assert screening.not_before == max(due, default=None)


@given(answer_sets(), st.data())
@quick
def test_another_yes_never_helps(answers: dict[str, Answer], data: st.DataObject) -> None:
    candidates = [
        question
        for question in PROTOCOL.questions.values()
        if question.link_id in answers
        and question.link_id not in BENIGN_YES
        and (question.type == "choices" or answers[question.link_id] == "no")
    ]
    question = data.draw(st.sampled_from(candidates))
    before = screened(answers)
    more = dict(answers)
    if question.type == "yes-no":
        more[question.link_id] = "yes"
    else:
        added = data.draw(st.sampled_from([o.id for o in question.options if not o.exclusive]))
        chosen = {*_chosen(answers[question.link_id]), added} - {"none"}
        more[question.link_id] = tuple(o.id for o in question.options if o.id in chosen)
    after = screened(more)
    assert after.outcome.rank <= before.outcome.rank
    assert last_date(after) >= last_date(before)


def _chosen(answer: Answer) -> tuple[str, ...]:
    assert isinstance(answer, tuple)
    return answer


@given(answer_sets(), st.data())
@quick
def test_a_blank_answer_never_passes(answers: dict[str, Answer], data: st.DataObject) -> None:
    known = Known(PROTOCOL, answers, today=TODAY)
    needed = [
        link_id
        for link_id in answers
        if link_id == "birth_date" or (PROTOCOL.questions[link_id].required and known.asked(link_id))
    ]
    blank = data.draw(st.sampled_from(needed))
    rest = {link_id: answer for link_id, answer in answers.items() if link_id != blank}
    screening = screened(rest)
    assert screening.outcome in {Outcome.REVIEW, Outcome.STOP}
    assert not screening.bookable


UNSURE_QUESTIONS = [question.link_id for question in PROTOCOL.questions.values() if question.unsure]


@pytest.mark.parametrize("link_id", UNSURE_QUESTIONS)
def test_not_sure_goes_to_a_clinician(link_id: str) -> None:
    answers = _answers_that_ask(link_id)
    before = {finding.rule_id for finding in screened(answers).findings}
    screening = screened({**answers, link_id: UNSURE})
    new = [finding for finding in screening.findings if finding.rule_id not in before or finding.undetermined]
    assert screening.outcome in {Outcome.REVIEW, Outcome.STOP}
    assert any(finding.outcome is Outcome.REVIEW for finding in new)


def _answers_that_ask(link_id: str) -> dict[str, Answer]:
    """Return harmless answers, except those without which `link_id` would not be asked."""
    found = worlds(PROTOCOL, [PROTOCOL.questions[link_id].enable_when])
    assert found is not None
    needed = next(dict(world.answers) for world in found if world.asked(link_id))
    answers: dict[str, Answer] = {"birth_date": PartialDate(1985, 1, 15)}
    for page in pages(PROTOCOL):
        for question in asked(page, PROTOCOL, answers, today=TODAY):
            offered = [option.id for option in options_of(question, PROTOCOL, answers, today=TODAY)]
            answers[question.link_id] = needed.get(question.link_id, harmless(question, offered))
    return answers


@given(answer_sets(), st.integers(0, 500))
@quick
def test_every_session_is_allowed_on_its_own_day(answers: dict[str, Answer], later: int) -> None:
    first = screened(answers)
    assume(first.bookable)
    start = max(TODAY, first.not_before or TODAY) + dt.timedelta(days=later)
    course = plan_course(PROTOCOL, answers)
    dates = accumulate(
        range(course.sessions - 1), lambda date, _: course.gap_usual.after(date), initial=start
    )
    for date in dates:
        again = screened(answers, date)
        assert again.outcome not in {Outcome.STOP, Outcome.DEFER}
        assert again.not_before is None


@given(answer_sets(), st.data())
@quick
def test_no_day_before_the_earliest_is_allowed(answers: dict[str, Answer], data: st.DataObject) -> None:
    used = data.draw(st.dates(TODAY - dt.timedelta(days=4), TODAY))
    answers = {**answers, "skincare": ("acids",), "acids_last": PartialDate.of(used)}
    first = screened(answers)
    assume(first.not_before is not None)
    assert first.not_before is not None
    day = data.draw(st.dates(TODAY, first.not_before - dt.timedelta(days=1)))
    again = screened(answers, day)
    assert again.not_before is not None
    assert again.not_before > day


@given(answer_sets())
@quick
def test_rules_of_an_add_on_are_silent_without_it(answers: dict[str, Answer]) -> None:
    scopes = {rule.id: rule.scope for rule in PROTOCOL.rules}
    chosen = set(_chosen(answers["add_ons"]))
    for finding in screened(answers).findings:
        scope = scopes.get(finding.rule_id)
        assert scope not in {"prp", "rf"} or scope in chosen


@given(answer_sets())
@quick
def test_a_screening_survives_storage(answers: dict[str, Answer]) -> None:
    screening = screened(answers)
    assert from_json(json.loads(json.dumps(to_json(screening)))) == screening


ZONES = ("Europe/London", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")


@given(
    answer_sets(),
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 12, 31)),  # noqa: DTZ001 - the zone is drawn next
    st.sampled_from(ZONES),
    st.timedeltas(dt.timedelta(days=-40), dt.timedelta(days=40)),
)
@quick
def test_the_cream_keeps_its_limits_wherever_the_session_moves(
    answers: dict[str, Answer], local: dt.datetime, zone: str, moved: dt.timedelta
) -> None:
    choice = screened(answers).numbing
    assume(choice.product is not None)
    start = local.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)
    for moment in (start, start + moved):
        numbing = plan(choice, moment)
        assert numbing is not None
        assert choice.product is not None
        assert numbing.off == moment
        assert choice.product.contact_min <= numbing.off - numbing.on <= choice.product.contact_max
        assert numbing.off - numbing.earliest_on <= choice.product.contact_max
        assert numbing.earliest_on <= numbing.on <= numbing.latest_on


@pytest.mark.parametrize("product", PUBLISHED.numbing.products, ids=lambda product: product.id)
def test_no_cream_is_given_less_than_its_time_or_more(product: object) -> None:
    choice = screen(PUBLISHED, {}, today=TODAY, stock=[_id(product)], locale="en").numbing
    found = next(item for item in PUBLISHED.numbing.products if item.id == _id(product))
    choice = NumbingChoice(found, found.contact_min, choice.contact_max or found.contact_max, "use")
    start = dt.datetime(2026, 3, 16, 14, tzinfo=dt.UTC)
    minute = dt.timedelta(minutes=1)
    for contact in (found.contact_min - minute, found.contact_max + minute):
        with pytest.raises(ValueError, match=f"{found.id} stays on for"):
            plan(choice, start, contact=contact)


def _id(product: object) -> str:
    return str(getattr(product, "id", ""))


def test_the_sixty_minute_cream_is_never_given_thirty() -> None:
    emla = next(product for product in PUBLISHED.numbing.products if product.id == "EMLA")
    assert emla.contact_min == dt.timedelta(minutes=60)
    choice = NumbingChoice(emla, emla.contact_min, emla.contact_max, "use")
    with pytest.raises(ValueError, match="EMLA stays on for 60 to 120 minutes in this case, not 30"):
        plan(choice, dt.datetime(2026, 3, 16, 14, tzinfo=dt.UTC), contact=dt.timedelta(minutes=30))


NONSENSE: list[Answer] = [
    "yes",
    "no",
    "none",
    "now",
    "face",
    "x" * 300,
    "",
    (),
    ("none",),
    ("none", "botulinum"),
    ("rf", "prp"),
    0,
    -7,
    10**30,
    True,
    UNSURE,
    LONG_AGO,
    PartialDate(2026, 3),
    PartialDate(2026, 2, 30),
    PartialDate(2026, 13, 1),
    PartialDate(9999, 12, 31),
    PartialDate(0, 1, 1),
]


def nonsense(rng: random.Random) -> dict[str, Answer]:
    ids = ["birth_date", "no_such_question", *PROTOCOL.questions]
    return {link_id: _some_answer(link_id, rng) for link_id in ids if rng.random() < 0.8}


def _some_answer(link_id: str, rng: random.Random) -> Answer:
    question = PROTOCOL.questions.get(link_id)
    if question is None or not question.options or rng.random() < 0.3:
        return rng.choice(NONSENSE)
    option = rng.choice(question.options).id
    return (option,) if question.type == "choices" else option


def test_two_thousand_answer_sets_never_raise() -> None:
    rng = random.Random(20260302)
    outcomes = set()
    for _ in range(2000):
        answers = nonsense(rng)
        screening = screened(answers)
        outcomes.add(screening.outcome)
        kept, dropped = prune(PROTOCOL, answers, today=TODAY)
        assert prune(PROTOCOL, kept, today=TODAY) == (kept, ())
        assert "no_such_question" not in kept
        assert ("no_such_question" in dropped) is ("no_such_question" in answers)
        if screening.bookable:
            assert first_unanswered(PROTOCOL, answers, today=TODAY) is None
    assert {Outcome.STOP, Outcome.REVIEW} <= outcomes


def test_a_failure_is_a_review_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(PROTOCOL, waits={})
    answers: dict[str, Answer] = {"recent": ("botulinum",), "botulinum_last": PartialDate(2026, 2, 24)}
    screening = screen_safely(broken, answers, today=TODAY, stock=STOCK, locale="en")
    assert screening.outcome is Outcome.REVIEW
    assert [finding.rule_id for finding in screening.findings] == ["failure"]
    assert not screening.bookable
    assert "KeyError" in caplog.text
    assert "botulinum" not in caplog.text


def test_a_failure_without_any_words_is_still_a_review() -> None:
    screening = screen_safely(replace(PROTOCOL, texts={}), {}, today=TODAY, stock=STOCK, locale="en")
    assert screening.outcome is Outcome.REVIEW


MEDICINES = {
    "en": r"warfarin|heparin|apixaban|rivaroxaban|dabigatran|clopidogrel|blood.?thin|anticoagul|antiplatelet"
    r"|prescribed|prescription|isotretinoin|tretinoin|tablet|medicine|medication|steroid|antibiotic",
}
STOPPING = {
    "en": r"\b(stop|stopping|pause|pausing|skip|quit|discontinue|withhold|omit|come off|leave out"
    r"|do not take|don't take|avoid taking|take a break from)\b",
}
KEEPING = {
    "en": r"\b(do not|don't|never|not|nobody) ((?!and)\w+ ){0,3}(stop|pause|skip|come off)\b"
    r"|\b(stopped|keep taking|carry on|not prescribed|ask the person|ask your|nobody prescribed)\b",
}


def tells_to_stop(text: str, language: str) -> bool:
    """Whether a sentence of `text` tells the reader to stop a medicine that was prescribed."""
    for sentence in re.split(r"(?<=[.!?;])\s+|\n\n", text):
        said = sentence.casefold()
        stops = re.search(STOPPING[language], said) and re.search(MEDICINES[language], said)
        if stops and not re.search(KEEPING[language], said):
            return True
    return False


def words(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for item in value.values():
                yield from words(item)
        case _:
            for name in getattr(value, "__dataclass_fields__", ()):
                yield from words(getattr(value, name))


@pytest.mark.parametrize(
    "sentence",
    [
        "Stop taking warfarin 3 days before.",
        "Pause your prescribed aspirin.",
        "Discontinue this medication.",
        "Do not drink alcohol and stop your blood thinner.",
    ],
)
def test_the_search_for_such_words_finds_them(sentence: str) -> None:
    assert tells_to_stop(sentence, "en")


@pytest.mark.parametrize("name", ["microneedling", "light_peel"])
def test_no_text_tells_a_patient_to_stop_a_prescribed_medicine(name: str) -> None:
    protocol: Protocol = load_protocol(name)
    for language, texts in protocol.texts.items():
        told = [text for text in words(texts) if tells_to_stop(text, language)]
        assert told == []
