"""One deliberately broken protocol per refusal."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from intake_plugin.clinical.linter import lint
from intake_plugin.clinical.protocol import (
    All,
    AnyOf,
    Area,
    Band,
    CareStep,
    Caution,
    Compare,
    Condition,
    ConsentDocument,
    ConsentElement,
    ConsentText,
    Course,
    CourseLimits,
    Derived,
    ElementText,
    Interval,
    Numbing,
    NumbingProduct,
    Option,
    Outcome,
    ProductText,
    Protocol,
    Question,
    QuestionText,
    Rule,
    RuleText,
    Section,
    Source,
    Spread,
    Texts,
    Timeline,
    TimelineStep,
    Units,
    Wait,
    Window,
    Within,
)

SAID = (Source(ref="BOOK", grade="A"),)
WEEKS_4 = Wait(days=28)
MINUTE = dt.timedelta(minutes=1)


def yes(question: str) -> Compare:
    return Compare(question=question)


def quiz(link_id: str) -> Question:
    options = tuple(Option(id=f"o{points}", score=points) for points in range(3))
    return Question(link_id=link_id, type="choice", options=options)


def sound() -> Protocol:
    """Return a small protocol with one of everything and nothing wrong."""
    sections = (
        Section(
            id="goal",
            questions=(
                Question(link_id="concern", type="choice", options=(Option(id="lines"), Option(id="scars"))),
                Question(link_id="area", type="choice", options=(Option(id="face"), Option(id="back"))),
                quiz("eyes"),
                quiz("hair"),
            ),
        ),
        Section(
            id="skin",
            questions=(
                Question(link_id="sore", type="yes-no", unsure=True),
                Question(link_id="peeled", type="yes-no"),
                Question(link_id="peeled_on", type="date", enable_when=yes("peeled")),
                Question(
                    link_id="used",
                    type="choices",
                    options=(Option(id="acid"), Option(id="scrub"), Option(id="none", exclusive=True)),
                ),
                Question(link_id="weeks", type="number", minimum=0, maximum=40, required=False),
                Question(link_id="vaccine", type="yes-no", optional_rule="R5"),
            ),
        ),
    )
    rules = (
        Rule(id="R1", outcome=Outcome.STOP, when=yes("sore"), override=True, sources=SAID),
        Rule(
            id="R2", outcome=Outcome.DEFER, when=yes("peeled"), since="peeled_on", wait="peel", sources=SAID
        ),
        Rule(
            id="R3",
            outcome=Outcome.REVIEW,
            when=All(
                all=(
                    Compare(question="tone", operator=">=", answer=2),
                    Compare(question="used", answer="acid"),
                )
            ),
            sources=SAID,
        ),
        Rule(
            id="R4",
            outcome=Outcome.STOP,
            when=Compare(question="age", operator="<", answer="@adult"),
            sources=SAID,
        ),
        Rule(id="R5", outcome=Outcome.ADVISE, when=yes("vaccine"), active=False, sources=SAID),
    )
    return Protocol(
        id="small",
        version="1",
        course_question="concern",
        area_question="area",
        references={"BOOK": "A book"},
        waits={"peel": WEEKS_4},
        limits={"adult": 18},
        sections=sections,
        derived=(
            Derived(id="age", kind="age", questions=("birth_date",)),
            Derived(
                id="tone",
                kind="score",
                questions=("eyes", "hair"),
                bands=(Band(value=1, up_to=1), Band(value=2, up_to=4)),
                sources=SAID,
            ),
        ),
        rules=rules,
        course_limits=CourseLimits(
            gap_min=WEEKS_4, leeway=Wait(days=7), restart_after=Wait(days=84), sources=SAID
        ),
        courses=tuple(
            Course(
                id=concern,
                sessions=Spread(min=1, usual=3, max=6),
                interval=Interval(min=WEEKS_4, usual=WEEKS_4, max=Wait(days=42)),
                sources=SAID,
            )
            for concern in ("lines", "scars")
        ),
        areas=(
            Area(id="face", cm2=200, treatment=30 * MINUTE),
            Area(id="back", cm2=900, treatment=60 * MINUTE),
        ),
        numbing=Numbing(
            products=(
                NumbingProduct(
                    id="cream",
                    classes=("amide",),
                    contact_min=30 * MINUTE,
                    contact_max=60 * MINUTE,
                    sources=SAID,
                ),
            ),
            cautions=(Caution(id="sore", when=yes("sore"), effects={"cream": "review"}, sources=SAID),),
        ),
        timeline=Timeline(
            arrive_before_numbing=10 * MINUTE,
            arrive_without_numbing=10 * MINUTE,
            aftercare=10 * MINUTE,
            quiet_after=Wait(days=3),
            steps=(TimelineStep(id="cleanse"),),
            sources=SAID,
        ),
        care=(
            CareStep(id="sun", phase="before", starts=Wait(days=14), sources=SAID),
            CareStep(id="wash", phase="after", ends=dt.timedelta(hours=8), sources=SAID),
        ),
        consent=(
            ConsentDocument(id="treatment", version="1", elements=(ConsentElement(id="nature"),)),
            ConsentDocument(id="photos", version="1", required=False, elements=(ConsentElement(id="use"),)),
        ),
        texts={"en": words()},
    )


def words() -> Texts:
    def asks(*options: str) -> QuestionText:
        return QuestionText(text="?", missing="Answer it", options=dict.fromkeys(options, "option"))

    def held(*ids: str) -> dict[str, RuleText]:
        return {name: RuleText(reason="Because", next="Call us") for name in ids}

    def consents(element: str) -> ConsentText:
        return ConsentText(
            title="Consent",
            statement="I agree",
            elements={element: ElementText(heading="What", body="At {clinic}, {sessions} times.\n\nWell.")},
        )

    return Texts(
        title="Small",
        summary="A small treatment",
        units=Units(
            contact="{least} to {most} minutes",
            year="{n} year",
            years="{n} years",
            month="{n} month",
            months="{n} months",
            day="{n} day",
            days="{n} days",
        ),
        sections={"goal": "Goal", "skin": "Skin"},
        questions={
            "concern": asks("lines", "scars"),
            "area": asks("face", "back"),
            "eyes": asks("o0", "o1", "o2"),
            "hair": asks("o0", "o1", "o2"),
            "sore": asks(),
            "peeled": asks(),
            "peeled_on": asks(),
            "used": asks("acid", "scrub", "none"),
            "weeks": QuestionText(text="?"),
            "vaccine": asks(),
        },
        rules=held(
            *("R1", "R2", "R3", "R4", "R5"),
            *("unanswered", "failure", "numbing_review", "numbing_without", "conflict"),
        ),
        derived={"age": "Age", "tone": "Tone"},
        products={"cream": ProductText(name="Cream", about="A cream")},
        cautions={"sore": "Sore skin"},
        timeline={"cleanse": "We cleanse"},
        care={"sun": "Shade", "wash": "Do not wash"},
        consent={"treatment": consents("nature"), "photos": consents("use")},
    )


def problems(protocol: Protocol) -> list[str]:
    return [str(problem) for problem in lint(protocol)]


def test_a_sound_protocol_has_no_problem() -> None:
    assert problems(sound()) == []


Change = Callable[[Protocol], Protocol]


@dataclass(frozen=True)
class Broken:
    name: str
    change: Change
    place: str
    says: str


def with_rule(rule_id: str, /, **fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        rules = (replace(rule, **fields) if rule.id == rule_id else rule for rule in protocol.rules)
        return replace(protocol, rules=tuple(rules))

    return change


def when(condition: Condition) -> Change:
    """Give the review R3 another condition."""
    return with_rule("R3", when=condition)


def with_question(name: str, /, **fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        sections = (
            replace(
                section,
                questions=tuple(
                    replace(question, **fields) if question.link_id == name else question
                    for question in section.questions
                ),
            )
            for section in protocol.sections
        )
        return replace(protocol, sections=tuple(sections))

    return change


def with_first(field: str, **fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        first, *rest = getattr(protocol, field)
        changes: Any = {field: (replace(first, **fields), *rest)}
        return replace(protocol, **changes)

    return change


def with_part(field: str, **fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        changes: Any = {field: replace(getattr(protocol, field), **fields)}
        return replace(protocol, **changes)

    return change


def with_fields(**fields: Any) -> Change:
    return lambda protocol: replace(protocol, **fields)


def with_product(**fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        products = (replace(protocol.numbing.products[0], **fields),)
        return replace(protocol, numbing=replace(protocol.numbing, products=products))

    return change


def with_caution(**fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        cautions = (replace(protocol.numbing.cautions[0], **fields),)
        return replace(protocol, numbing=replace(protocol.numbing, cautions=cautions))

    return change


def with_derived(derived_id: str, **fields: Any) -> Change:
    def change(protocol: Protocol) -> Protocol:
        values = (replace(item, **fields) if item.id == derived_id else item for item in protocol.derived)
        return replace(protocol, derived=tuple(values))

    return change


def with_words(**fields: Any) -> Change:
    return lambda protocol: replace(protocol, texts={"en": replace(protocol.texts["en"], **fields)})


def without_words(table: str, name: str) -> Change:
    def change(protocol: Protocol) -> Protocol:
        entries = getattr(protocol.texts["en"], table)
        return with_words(**{table: {key: value for key, value in entries.items() if key != name}})(protocol)

    return change


def with_consent_body(body: str) -> Change:
    text = words().consent["treatment"]
    element = ElementText(heading="What", body=body)
    return with_words(consent={**words().consent, "treatment": replace(text, elements={"nature": element})})


def twice(field: str) -> Change:
    def change(protocol: Protocol) -> Protocol:
        items = getattr(protocol, field)
        changes: Any = {field: (*items, items[0])}
        return replace(protocol, **changes)

    return change


ABOVE_AND_BELOW = All(
    all=(
        Compare(question="age", operator="<", answer=18),
        Compare(question="age", operator=">", answer="@adult"),
    )
)

REFUSALS = [
    # Ids
    Broken("two rules of one name", twice("rules"), "small.toml: rules.R1", "2 entries have the id 'R1'"),
    Broken("two sections", twice("sections"), "small.toml: sections.goal", "2 entries have the id"),
    Broken("two courses", twice("courses"), "small.toml: courses.lines", "2 entries"),
    Broken("two consents", twice("consent"), "small.toml: consent.treatment", "2 entries"),
    Broken("two care steps", twice("care"), "small.toml: care.sun", "2 entries"),
    Broken(
        "two options",
        with_question("used", options=(Option(id="acid"), Option(id="acid"), Option(id="none"))),
        "small.toml: questions.used.options.acid",
        "2 entries",
    ),
    Broken(
        "odd link id",
        with_question("weeks", link_id="Weeks-1"),
        "small.toml: questions.Weeks-1",
        "small letters",
    ),
    Broken(
        "own birth date", with_question("weeks", link_id="birth_date"), "questions.birth_date", "ask it again"
    ),
    Broken("a kept id", with_rule("R4", id="failure"), "rules.failure", "kept for a finding of the engine"),
    # Sources
    Broken("rule without source", with_rule("R1", sources=()), "small.toml: rules.R1.sources", "no source"),
    Broken(
        "unknown source",
        with_rule("R1", sources=(Source(ref="BOOKS", grade="A"),)),
        "small.toml: rules.R1.sources",
        "no reference 'BOOKS'. Did you mean 'BOOK'?",
    ),
    Broken("product without source", with_product(sources=()), "numbing.products.cream.sources", "no source"),
    Broken("caution without source", with_caution(sources=()), "numbing.cautions.sore.sources", "no source"),
    Broken("care without source", with_first("care", sources=()), "care.sun.sources", "no source"),
    Broken("course without source", with_first("courses", sources=()), "courses.lines.sources", "no source"),
    # Questions
    Broken("choice without options", with_question("used", options=()), "questions.used", "needs options"),
    Broken(
        "options of a yes-no",
        with_question("sore", options=(Option(id="a"),)),
        "questions.sore",
        "has no options",
    ),
    Broken(
        "exclusive choice",
        with_question("concern", options=(Option(id="lines", exclusive=True), Option(id="scars"))),
        "questions.concern",
        "make it 'choices'",
    ),
    Broken(
        "unsure twice",
        with_question(
            "area", unsure=True, options=(Option(id="face"), Option(id="back"), Option(id="unsure"))
        ),
        "questions.area",
        "twice",
    ),
    Broken("limits of a date", with_question("peeled_on", minimum=1), "questions.peeled_on", "Only a number"),
    Broken("limits crossed", with_question("weeks", minimum=41), "questions.weeks", "minimum 41 is above"),
    Broken("month of a yes-no", with_question("sore", precision="month"), "questions.sore", "Only a date"),
    Broken("length of a number", with_question("weeks", max_length=3), "questions.weeks", "Only text"),
    Broken(
        "unknown optional rule",
        with_question("vaccine", optional_rule="R6"),
        "questions.vaccine.optional_rule",
        "no rule 'R6'",
    ),
    Broken(
        "empty section",
        lambda p: replace(p, sections=(*p.sections, Section(id="more", questions=()))),
        "sections.more",
        "no question",
    ),
    # Conditions
    Broken("unknown question", when(yes("sores")), "rules.R3.when", "'sores'. Did you mean 'sore'?"),
    Broken(
        "unknown option",
        when(Compare(question="used", answer="acids")),
        "rules.R3.when",
        "no option 'acids'. Did you mean 'acid'?",
    ),
    Broken(
        "a yes-no that is neither",
        when(Compare(question="sore", answer="maybe")),
        "rules.R3.when",
        "'yes' or 'no', never 'maybe'",
    ),
    Broken(
        "an order of words",
        when(Compare(question="concern", operator=">", answer="lines")),
        "rules.R3.when",
        "has no order",
    ),
    Broken(
        "a number and a word", when(Compare(question="weeks", answer="many")), "rules.R3.when", "is a number"
    ),
    Broken(
        "unknown limit",
        when(Compare(question="age", operator="<", answer="@adlut")),
        "rules.R3.when",
        "no limit 'adlut'. Did you mean 'adult'?",
    ),
    Broken("a date as a word", when(yes("peeled_on")), "rules.R3.when", "is a date"),
    Broken("the birth date as a word", when(yes("birth_date")), "rules.R3.when", "derived age"),
    Broken(
        "exists nothing",
        when(Compare(question="weeks", operator="exists", answer=3)),
        "rules.R3.when",
        "'exists' compares",
    ),
    Broken(
        "within of a yes-no",
        when(Within(question="sore", within="peel")),
        "rules.R3.when",
        "not a date question",
    ),
    Broken(
        "within an unknown wait",
        when(Within(question="peeled_on", within="peal")),
        "rules.R3.when",
        "no wait 'peal'. Did you mean 'peel'?",
    ),
    Broken("empty any", when(AnyOf(any=())), "rules.R3.when", "never true"),
    Broken("empty any inside", when(All(all=(yes("sore"), AnyOf(any=())))), "rules.R3.when", "never true"),
    # Order
    Broken(
        "a condition on a later question",
        with_question("eyes", enable_when=yes("sore")),
        "small.toml: questions.eyes.enable_when",
        "'sore', which is not on an earlier page",
    ),
    Broken(
        "an option that depends on a later question",
        with_question("area", options=(Option(id="face"), Option(id="back", enable_when=yes("sore")))),
        "small.toml: questions.area.enable_when",
        "not on an earlier page",
    ),
    Broken(
        "a question that depends on itself",
        with_question("peeled", enable_when=yes("peeled")),
        "small.toml: questions.peeled.enable_when",
        "not on an earlier page",
    ),
    Broken(
        "an answer about nothing",
        with_question("used", depends=("aera",)),
        "small.toml: questions.used.depends",
        "no question 'aera'. Did you mean 'area'?",
    ),
    Broken(
        "an answer about a later one",
        with_question("eyes", depends=("sore",)),
        "small.toml: questions.eyes.depends",
        "'sore' is asked later",
    ),
    # Windows
    Broken(
        "a window of nothing",
        with_question("used", window=Window(least=Wait(), waits=("peel",))),
        "small.toml: questions.used.window",
        "no time at all",
    ),
    Broken(
        "a window of an unknown wait",
        with_question("used", window=Window(least=WEEKS_4, waits=("peal",))),
        "small.toml: questions.used.window",
        "no wait 'peal'. Did you mean 'peel'?",
    ),
    Broken(
        "a window that a wait outruns",
        with_question("peeled", window=Window(least=WEEKS_4, waits=())),
        "small.toml: rules.R2.wait",
        "its window leaves out 'peel'",
    ),
    Broken(
        "a window that a running wait outruns",
        lambda p: when(Within(question="peeled_on", within="peel"))(
            with_question("peeled", window=Window(least=WEEKS_4, waits=()))(p)
        ),
        "small.toml: rules.R3.when",
        "its window leaves out 'peel'",
    ),
    Broken(
        "a window that nobody reads",
        with_question("peeled", window=Window(least=WEEKS_4, waits=("peel",))),
        "small.en.toml: questions.peeled.text",
        "must say {window}",
    ),
    Broken(
        "a hint with braces",
        with_words(questions={**words().questions, "weeks": QuestionText(text="?", hint="In {window}")}),
        "small.en.toml: questions.weeks.hint",
        "braces",
    ),
    # Derived
    Broken(
        "score of a later question",
        with_derived("tone", questions=("eyes", "hare")),
        "derived.tone.questions",
        "'hare'. Did you mean 'hair'?",
    ),
    Broken(
        "score of a yes-no", with_derived("tone", questions=("sore",)), "derived.tone", "cannot be summed"
    ),
    Broken(
        "bands that stop short",
        with_derived("tone", bands=(Band(value=1, up_to=1), Band(value=2, up_to=3))),
        "derived.tone",
        "The bands end at 3, but the score can be 4",
    ),
    Broken(
        "bands out of order",
        with_derived("tone", bands=(Band(value=1, up_to=3), Band(value=2, up_to=3), Band(value=3, up_to=4))),
        "derived.tone",
        "reach further",
    ),
    Broken(
        "a band beyond every score",
        with_derived("tone", bands=(Band(value=1, up_to=4), Band(value=2, up_to=9))),
        "derived.tone",
        "No answers reach the band up to 9",
    ),
    Broken(
        "age of a yes-no",
        with_derived("age", questions=("sore",)),
        "derived.age",
        "exactly one date question",
    ),
    # Rules
    Broken(
        "unknown wait",
        with_rule("R2", wait="peeling"),
        "small.toml: rules.R2.wait",
        "no wait 'peeling'. Did you mean 'peel'?",
    ),
    Broken("since of a yes-no", with_rule("R2", since="sore"), "rules.R2.since", "not a date question"),
    Broken(
        "since of nothing", with_rule("R2", since="peeld_on"), "rules.R2.since", "Did you mean 'peeled_on'?"
    ),
    Broken("wait without since", with_rule("R2", since=None), "rules.R2", "both 'since'"),
    Broken(
        "deferral without date",
        with_rule("R3", outcome=Outcome.DEFER),
        "rules.R3",
        "needs 'since' and 'wait'",
    ),
    Broken("dated and until healed", with_rule("R2", until_healed=True), "rules.R2", "split it in two"),
    Broken(
        "advice until healed", with_rule("R5", until_healed=True), "rules.R5.until_healed", "does not wait"
    ),
    Broken("override of a review", with_rule("R3", override=True), "rules.R3.override", "Only a stop"),
    Broken("a stop of a part", with_rule("R1", excludes=True), "rules.R1.excludes", "not a part of it"),
    Broken(
        "a wait of nothing",
        with_fields(waits={"peel": Wait()}),
        "rules.R2.wait",
        "the rule never fires",
    ),
    Broken(
        "an unused wait", with_fields(waits={"peel": WEEKS_4, "tan": WEEKS_4}), "waits.tan", "change nothing"
    ),
    Broken("an unused limit", with_fields(limits={"adult": 18, "old": 80}), "limits.old", "change nothing"),
    # Courses and areas
    Broken("no course question", with_fields(course_question="concerns"), "course_question", "'concern'?"),
    Broken(
        "several concerns", with_question("concern", type="choices"), "course_question", "one answer decides"
    ),
    Broken(
        "concern without course",
        with_fields(courses=sound().courses[:1]),
        "questions.concern.options.scars",
        "none of that name among the courses",
    ),
    Broken(
        "course without concern",
        with_first("courses", id="line"),
        "courses.line",
        "no option 'line'. Did you mean 'lines'?",
    ),
    Broken(
        "area without size",
        with_fields(areas=sound().areas[:1]),
        "questions.area.options.back",
        "among the areas",
    ),
    Broken("area of nothing", with_first("areas", cm2=0), "areas.face", "more than nothing"),
    Broken(
        "sessions that fall",
        with_first("courses", sessions=Spread(min=4, usual=3, max=6)),
        "courses.lines",
        "Sessions must rise: 1 <= 4 <= 3 <= 6",
    ),
    Broken(
        "intervals that fall",
        with_first("courses", interval=Interval(min=WEEKS_4, usual=Wait(days=56), max=Wait(days=42))),
        "courses.lines",
        "Intervals must rise",
    ),
    Broken(
        "a gap longer than the course's",
        with_part("course_limits", gap_min=Wait(days=49)),
        "courses.lines",
        "longer than the greatest interval P42D",
    ),
    Broken(
        "a usual gap that restarts",
        with_part("course_limits", restart_after=Wait(days=21)),
        "courses.lines",
        "a course starts again",
    ),
    Broken(
        "a clinician's gap that is no shorter",
        with_first("courses", clinician_gap_min=WEEKS_4),
        "courses.lines",
        "must be shorter",
    ),
    # Numbing
    Broken(
        "contact crossed",
        with_product(contact_min=90 * MINUTE),
        "small.toml: numbing.products.cream",
        "least contact 1:30:00 exceeds its greatest 1:00:00",
    ),
    Broken(
        "at home under a physician's eye",
        with_product(home=True, physician_on_site=True),
        "numbing.products.cream",
        "cannot be put on at home",
    ),
    Broken(
        "caution of an unknown product",
        with_caution(effects={"cream": "block", "creme": "block"}),
        "numbing.cautions.sore",
        "no numbing product 'creme'. Did you mean 'cream'?",
    ),
    Broken(
        "silent caution", with_caution(effects={}), "numbing.cautions.sore", "says nothing of the product"
    ),
    Broken("idle caution", with_caution(effects={"cream": "ok"}), "numbing.cautions.sore", "changes nothing"),
    Broken(
        "caution with a longer limit",
        with_caution(contact_max={"cream": 90 * MINUTE}),
        "numbing.cautions.sore",
        "no shorter than the product's own",
    ),
    # Care and consent
    Broken(
        "care that ends first", with_first("care", ends=Wait(days=20)), "care.sun", "ends before it starts"
    ),
    Broken(
        "nothing to sign",
        with_first("consent", required=False),
        "consent",
        "No consent document has to be signed",
    ),
    Broken(
        "consent without version", with_first("consent", version=""), "consent.treatment.version", "version"
    ),
    Broken("empty consent", with_first("consent", elements=()), "consent.treatment", "no element"),
    # Words
    Broken("no language", with_fields(texts={}), "small.toml", "put small.en.toml beside it"),
    Broken("no title", with_words(title=" "), "small.en.toml: title", "empty"),
    Broken(
        "rule without message", without_words("rules", "R1"), "small.en.toml: rules.R1", "has no words for it"
    ),
    Broken(
        "no words for an open answer",
        without_words("rules", "unanswered"),
        "small.en.toml: rules.unanswered",
        "no words",
    ),
    Broken(
        "section without title", without_words("sections", "goal"), "small.en.toml: sections.goal", "no words"
    ),
    Broken(
        "product without name",
        without_words("products", "cream"),
        "small.en.toml: products.cream",
        "no words",
    ),
    Broken("care without words", without_words("care", "sun"), "small.en.toml: care.sun", "no words"),
    Broken(
        "words for nobody",
        with_words(sections={"goal": "Goal", "skin": "Skin", "skins": "Skin"}),
        "small.en.toml: sections.skins",
        "no 'skins'. Did you mean 'skin'?",
    ),
    Broken(
        "option without words",
        with_words(
            questions={
                **words().questions,
                "area": QuestionText(text="?", missing="!", options={"face": "F"}),
            }
        ),
        "small.en.toml: questions.area.options.back",
        "no words",
    ),
    Broken(
        "required without error text",
        with_words(questions={**words().questions, "sore": QuestionText(text="?")}),
        "small.en.toml: questions.sore.missing",
        "left empty",
    ),
    Broken(
        "held up without a next step",
        with_words(rules={**words().rules, "R1": RuleText(reason="Because")}),
        "small.en.toml: rules.R1.next",
        "not told what can be done",
    ),
    Broken(
        "a review with words for the unsure",
        with_words(
            rules={**words().rules, "R3": RuleText(reason="Because", next="Wait", unsure_next="Wait")}
        ),
        "small.en.toml: rules.R3.unsure_next",
        "Only a stop or a deferral",
    ),
    Broken(
        "a rule with an empty reason",
        with_words(rules={**words().rules, "R5": RuleText(reason="")}),
        "small.en.toml: rules.R5.reason",
        "empty",
    ),
    Broken(
        "braces that nothing fills",
        with_words(sections={"goal": "Goal {clinic}", "skin": "Skin"}),
        "small.en.toml: sections.goal",
        "braces",
    ),
    Broken(
        "unknown placeholder",
        with_consent_body("At {clinc}."),
        "small.en.toml: consent.treatment.elements.nature.body",
        "no placeholder {clinc}. Did you mean 'clinic'?",
    ),
    Broken(
        "a lonely brace",
        with_consent_body("At {clinic."),
        "small.en.toml: consent.treatment.elements.nature.body",
        "without its partner",
    ),
    # Reach
    Broken(
        "both yes and no",
        when(All(all=(yes("sore"), Compare(question="sore", answer="no")))),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "young and old",
        with_rule("R3", when=ABOVE_AND_BELOW),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "two exclusive choices",
        when(All(all=(Compare(question="used", answer="none"), Compare(question="used", answer="acid")))),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "a number out of range",
        when(Compare(question="weeks", operator=">", answer=40)),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "a band that is not there",
        when(Compare(question="tone", operator=">", answer=2)),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "a follow-up of the other answer",
        when(
            All(
                all=(
                    Compare(question="peeled", answer="no"),
                    Within(question="peeled_on", within="peel"),
                )
            )
        ),
        "small.toml: rules.R3.when",
        "exclude each other",
    ),
    Broken(
        "a date that is not asked",
        with_rule("R2", when=yes("sore")),
        "small.toml: rules.R2.since",
        "while 'peeled_on' is not asked",
    ),
]


@pytest.mark.parametrize("broken", REFUSALS, ids=lambda broken: broken.name)
def test_refusal(broken: Broken) -> None:
    found = problems(broken.change(sound()))
    assert any(broken.place in problem and broken.says in problem for problem in found), found


def test_all_problems_at_once() -> None:
    protocol = sound()
    changes = [
        with_rule("R1", sources=()),
        with_rule("R2", wait="peeling"),
        with_question("used", options=()),
        with_product(contact_min=90 * MINUTE),
        with_first("courses", sessions=Spread(min=4, usual=3, max=6)),
        without_words("rules", "R1"),
        with_consent_body("At {clinc}."),
    ]
    for change in changes:
        protocol = change(protocol)
    found = "\n".join(problems(protocol))
    for place in (
        "small.toml: rules.R1.sources:",
        "small.toml: rules.R2.wait:",
        "small.toml: questions.used:",
        "small.toml: numbing.products.cream:",
        "small.toml: courses.lines:",
        "small.en.toml: rules.R1:",
        "small.en.toml: consent.treatment.elements.nature.body:",
    ):
        assert place in found


def test_too_many_combinations_are_not_called_impossible() -> None:
    many = tuple(Question(link_id=f"q{number}", type="yes-no") for number in range(20))
    protocol = sound()
    section = Section(id="many", questions=many)
    texts = replace(
        words(),
        sections={**words().sections, "many": "Many"},
        questions={**words().questions, **{q.link_id: QuestionText(text="?", missing="!") for q in many}},
    )
    protocol = replace(protocol, sections=(*protocol.sections, section), texts={"en": texts})
    contradiction = All(
        all=(*(yes(question.link_id) for question in many), Compare(question="q0", answer="no"))
    )
    assert problems(when(contradiction)(protocol)) == []
