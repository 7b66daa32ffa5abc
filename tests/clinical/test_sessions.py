"""What follows from an outcome: the course, the cream, the care notes and the consent."""

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.care import care_for
from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.consent import CONSENT_FACTS, documents, render
from intake_plugin.clinical.course import CoursePlan, area_of, plan_course
from intake_plugin.clinical.numbing import NumbingChoice, Refusal, choose, plan
from intake_plugin.clinical.protocol import (
    CareStep,
    Caution,
    Compare,
    ConsentDocument,
    ConsentElement,
    ConsentText,
    Course,
    ElementText,
    Interval,
    Numbing,
    NumbingProduct,
    Protocol,
    Spread,
    Wait,
)
from intake_plugin.clinical.screening import Screening, screen
from intake_plugin.errors import ProtocolError

TODAY = dt.date(2026, 3, 2)
MINUTE = dt.timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")
Clean = Callable[..., dict[str, Answer]]
Dates = Callable[[CoursePlan, dt.date], tuple[dt.date, ...]]


def with_interval(protocol: Protocol, interval: Interval, **limits: Any) -> Protocol:
    course = Course(id="fine_lines", sessions=Spread(min=1, usual=3, max=6), interval=interval)
    others = tuple(course for course in protocol.courses if course.id != "fine_lines")
    changed = replace(protocol.course_limits, **limits)
    return replace(protocol, courses=(course, *others), course_limits=changed)


def test_the_protocols_least_gap_holds_over_a_shorter_interval(microneedling: Protocol, clean: Clean) -> None:
    course = plan_course(microneedling, clean(concern="melasma"))
    melasma = next(item for item in microneedling.courses if item.id == "melasma")
    assert melasma.interval.min.days < microneedling.course_limits.gap_min.days
    assert (course.gap_min, course.gap_usual) == (Wait(days=28), Wait(days=28))


def test_the_greatest_gap_never_passes_the_restart(microneedling: Protocol, clean: Clean) -> None:
    interval = Interval(min=Wait(days=28), usual=Wait(days=28), max=Wait(days=80))
    changed = with_interval(microneedling, interval, leeway=Wait(days=14), restart_after=Wait(days=84))
    assert plan_course(changed, clean()).gap_max == Wait(days=84)
    changed = with_interval(microneedling, interval, leeway=Wait(days=3), restart_after=Wait(days=84))
    assert plan_course(changed, clean()).gap_max == Wait(days=83)


def test_months_clamp_and_keep_to_their_own_gaps(
    microneedling: Protocol, clean: Clean, usual_dates: Dates
) -> None:
    month = Wait(months=1)
    changed = with_interval(
        microneedling, Interval(min=month, usual=month, max=month), leeway=Wait(), gap_min=Wait(days=7)
    )
    course = plan_course(changed, clean())
    dates = usual_dates(course, dt.date(2026, 1, 31))
    assert dates == (dt.date(2026, 1, 31), dt.date(2026, 2, 28), dt.date(2026, 3, 28))
    assert (course.gap_min, course.gap_max) == (month, month)


@pytest.mark.parametrize("sessions", [2, 7])
def test_sessions_outside_the_course_are_refused(
    microneedling: Protocol, clean: Clean, sessions: int
) -> None:
    assert plan_course(microneedling, clean(), sessions=5).sessions == 5
    with pytest.raises(ValueError, match=f"{sessions} sessions are outside .* choose 3 to 6"):
        plan_course(microneedling, clean(), sessions=sessions)


def test_no_course_or_area_without_an_answer(microneedling: Protocol) -> None:
    with pytest.raises(LookupError, match="'concern' has no answer"):
        plan_course(microneedling, {})
    with pytest.raises(LookupError, match="'area' has no answer"):
        area_of(microneedling, {"area": "eyelids"})


GENTLE = NumbingProduct(id="gentle", classes=("amide",), contact_min=30 * MINUTE, contact_max=60 * MINUTE)
STRONG = NumbingProduct(id="strong", classes=("ester",), contact_min=60 * MINUTE, contact_max=120 * MINUTE)


def caution(name: str, **fields: Any) -> Caution:
    fields.setdefault("effects", {"gentle": "ok", "strong": "ok"})
    return Caution(id=name, when=Compare(question=name), **fields)


@pytest.fixture
def creams(microneedling: Protocol) -> Callable[..., Protocol]:
    def protocol(*cautions: Caution, **changes: Any) -> Protocol:
        products = (replace(GENTLE, **changes), STRONG)
        return replace(microneedling, numbing=Numbing(products=products, cautions=cautions))

    return protocol


def chosen(protocol: Protocol, answers: dict[str, Answer], *stock: str) -> NumbingChoice:
    return choose(protocol, answers, today=TODAY, stock=stock or ("gentle", "strong"))


def product_of(choice: NumbingChoice) -> tuple[str | None, str]:
    return (choice.product.id if choice.product else None, choice.decision)


PREGNANT_BLOCKS: dict[str, Any] = {"effects": {"gentle": "block", "strong": "ok"}}
PREGNANT_REVIEWS: dict[str, Any] = {"effects": {"gentle": "review", "strong": "ok"}}


def test_the_clinics_order_decides(creams: Callable[..., Protocol], clean: Clean) -> None:
    assert product_of(chosen(creams(), clean(), "gentle", "strong")) == ("gentle", "use")
    assert product_of(chosen(creams(), clean(), "strong", "gentle")) == ("strong", "use")


def test_a_clinic_without_cream_needs_no_decision(creams: Callable[..., Protocol], clean: Clean) -> None:
    assert choose(creams(), clean(), today=TODAY, stock=()) == NumbingChoice(None, None, None, "none")


@pytest.mark.parametrize("fields", [PREGNANT_BLOCKS, PREGNANT_REVIEWS])
@pytest.mark.parametrize("answer", ["yes", UNSURE])
def test_a_caution_passes_over_a_product(
    creams: Callable[..., Protocol], clean: Clean, fields: dict[str, Any], answer: Answer
) -> None:
    protocol = creams(caution("pregnant", **fields))
    assert product_of(chosen(protocol, clean(pregnant=answer))) == ("strong", "use")
    assert product_of(chosen(protocol, clean(pregnant="no"))) == ("gentle", "use")


def test_an_open_caution_is_a_matter_for_a_clinician(creams: Callable[..., Protocol], clean: Clean) -> None:
    protocol = creams(caution("pregnant", **PREGNANT_BLOCKS))
    choice = chosen(protocol, clean(pregnant=UNSURE), "gentle")
    assert product_of(choice) == ("gentle", "review")
    assert choice.refusals == (Refusal("gentle", "review", ("pregnant",)),)


@pytest.mark.parametrize("fallback", ["review", "without"])
def test_no_product_allowed(
    creams: Callable[..., Protocol], clean: Clean, fallback: Literal["review", "without"]
) -> None:
    protocol = creams(caution("pregnant", **PREGNANT_BLOCKS))
    protocol = replace(protocol, numbing=replace(protocol.numbing, none_allowed=fallback))
    choice = chosen(protocol, clean(pregnant="yes"), "gentle")
    assert product_of(choice) == (None, fallback)
    assert plan(choice, dt.datetime(2026, 3, 16, 14, tzinfo=dt.UTC)) is None
    screening = screen(protocol, clean(pregnant="yes"), today=TODAY, stock=("gentle",), locale="en")
    numbing = next(finding for finding in screening.findings if finding.rule_id == "numbing")
    assert numbing.outcome == ("review" if fallback == "review" else "advise")


def test_a_caution_shortens_the_contact(creams: Callable[..., Protocol], clean: Clean) -> None:
    shorter = caution("pregnant", contact_max={"gentle": 40 * MINUTE})
    choice = chosen(creams(shorter), clean(pregnant="yes"))
    assert (product_of(choice), choice.contact_max) == (("gentle", "use"), 40 * MINUTE)
    start = dt.datetime(2026, 3, 16, 14, tzinfo=dt.UTC)
    numbing = plan(choice, start, contact=40 * MINUTE)
    assert numbing is not None
    assert numbing.earliest_on == numbing.on == start - 40 * MINUTE
    with pytest.raises(ValueError, match="gentle stays on for 30 to 40 minutes in this case, not 45"):
        plan(choice, start, contact=45 * MINUTE)


def test_a_product_left_less_than_its_minimum_is_refused(
    creams: Callable[..., Protocol], clean: Clean
) -> None:
    shorter = caution("pregnant", contact_max={"strong": 30 * MINUTE})
    choice = chosen(creams(shorter), clean(pregnant="yes"), "strong")
    assert product_of(choice) == (None, "review")
    assert choice.refusals == (Refusal("strong", "block", ("contact",)),)


def test_area_and_age_limits(creams: Callable[..., Protocol], clean: Clean) -> None:
    limited = creams(area_max_cm2=400, age_min=18)
    assert product_of(chosen(limited, clean(area="chest", age=18), "gentle")) == ("gentle", "use")
    assert chosen(limited, clean(area="back"), "gentle").refusals == (Refusal("gentle", "block", ("area",)),)
    assert chosen(limited, clean(age=17), "gentle").refusals == (Refusal("gentle", "block", ("age",)),)
    unknown = {key: value for key, value in clean().items() if key not in {"area", "birth_date"}}
    assert chosen(limited, unknown, "gentle").refusals == (Refusal("gentle", "review", ("area", "age")),)


def test_a_product_the_protocol_does_not_know(creams: Callable[..., Protocol], clean: Clean) -> None:
    with pytest.raises(ValueError, match=r"no numbing product 'gentel'\. Did you mean 'gentle'"):
        chosen(creams(), clean(), "gentel")


@pytest.mark.parametrize(
    ("home", "allowed", "where"), [(True, True, "home"), (True, False, "clinic"), (False, True, "clinic")]
)
def test_where_the_cream_goes_on(
    creams: Callable[..., Protocol], clean: Clean, home: bool, allowed: bool, where: str
) -> None:
    choice = chosen(creams(home=allowed), clean())
    numbing = plan(choice, dt.datetime(2026, 3, 16, 14, tzinfo=dt.UTC), home=home)
    assert numbing is not None
    assert numbing.where == where


def test_times_without_a_zone_are_refused(creams: Callable[..., Protocol], clean: Clean) -> None:
    with pytest.raises(ValueError, match="aware"):
        plan(chosen(creams(), clean()), dt.datetime(2026, 3, 16, 14))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize(
    ("start", "on"),
    [
        # 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00
        (dt.datetime(2026, 3, 29, 3, 10, tzinfo=BERLIN), "01:40"),
        (dt.datetime(2026, 10, 25, 3, 10, tzinfo=BERLIN), "02:40"),
    ],
)
def test_contact_is_exact_across_a_clock_change(
    creams: Callable[..., Protocol], clean: Clean, start: dt.datetime, on: str
) -> None:
    numbing = plan(chosen(creams(), clean()), start)
    assert numbing is not None
    assert numbing.off - numbing.on == 30 * MINUTE
    assert f"{numbing.on.astimezone(BERLIN):%H:%M}" == on
    assert numbing.on.tzinfo is dt.UTC


def cared(protocol: Protocol, step: CareStep, answers: dict[str, Answer]) -> list[tuple[object, object]]:
    texts = {"en": replace(protocol.texts["en"], care={step.id: "Words"})}
    changed = replace(protocol, care=(step,), texts=texts)
    start = dt.datetime(2026, 3, 29, 0, 30, tzinfo=dt.UTC)
    entries = care_for(
        changed,
        answers,
        start=start,
        end=start + dt.timedelta(hours=1),
        zone=BERLIN,
        today=TODAY,
        locale="en",
    )
    return [(entry.starts, entry.ends) for entry in entries]


START = dt.datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)
END = dt.datetime(2026, 3, 29, 3, 30, tzinfo=BERLIN)
DAY = dt.timedelta(hours=24)


@pytest.mark.parametrize(
    ("step", "starts", "ends"),
    [
        (CareStep(id="x", phase="before", starts=Wait(days=14)), dt.date(2026, 3, 15), START),
        (
            CareStep(id="x", phase="before", starts=Wait(months=1), ends=Wait(days=1)),
            dt.date(2026, 2, 28),
            dt.date(2026, 3, 28),
        ),
        (CareStep(id="x", phase="before", starts=DAY), dt.datetime(2026, 3, 28, 1, 30, tzinfo=BERLIN), START),
        (CareStep(id="x", phase="before"), dt.date(2026, 3, 29), START),
        (CareStep(id="x", phase="after", ends=DAY), END, dt.datetime(2026, 3, 30, 3, 30, tzinfo=BERLIN)),
        (
            CareStep(id="x", phase="after", starts=Wait(days=1), ends=Wait(days=7)),
            dt.date(2026, 3, 30),
            dt.date(2026, 4, 5),
        ),
        (CareStep(id="x", phase="urgent"), END, None),
    ],
)
def test_days_count_by_the_calendar_and_hours_exactly(
    microneedling: Protocol, clean: Clean, step: CareStep, starts: object, ends: object
) -> None:
    assert cared(microneedling, step, clean()) == [(starts, ends)]


def test_a_care_step_is_left_out_only_when_it_certainly_does_not_apply(
    microneedling: Protocol, clean: Clean
) -> None:
    step = CareStep(id="x", phase="before", when=Compare(question="smoking"))
    assert cared(microneedling, step, clean(smoking="no")) == []
    assert len(cared(microneedling, step, clean(smoking="yes"))) == 1
    assert len(cared(microneedling, step, clean(smoking=UNSURE))) == 1


FACTS = {name: f"<{name}>" for name in CONSENT_FACTS}


@pytest.fixture
def consenting(microneedling: Protocol) -> Protocol:
    document = ConsentDocument(
        id="own",
        version="7",
        elements=(
            ConsentElement(id="what"),
            ConsentElement(id="smokers", when=Compare(question="smoking")),
        ),
    )
    cream = ConsentDocument(
        id="cream", version="1", needs_numbing=True, elements=(ConsentElement(id="what"),)
    )
    words = ConsentText(
        title="Consent for {clinic}",
        statement="I agree.",
        elements={
            "what": ElementText(heading="What", body="First {sessions}.\n\nThen {area}.\n"),
            "smokers": ElementText(heading="Smoking", body="It heals slower."),
        },
    )
    texts = {"en": replace(microneedling.texts["en"], consent={"own": words, "cream": words})}
    return replace(microneedling, consent=(document, cream), texts=texts)


def test_the_text_that_is_signed(consenting: Protocol, clean: Clean) -> None:
    own = consenting.consent[0]
    facts = {**FACTS, "clinic": "North {area}"}
    rendered = render(own, Known(consenting, clean(smoking="no"), today=TODAY), locale="en", facts=facts)
    assert rendered.elements == (("What", ("First <sessions>.", "Then <area>.")),)
    assert (
        rendered.text == "Consent for North {area}\n\nWhat\n\nFirst <sessions>.\n\nThen <area>.\n\nI agree."
    )
    assert rendered.sha256 == hashlib.sha256(rendered.text.encode("utf-8")).hexdigest()
    assert (rendered.id, rendered.version, rendered.required) == ("own", "7", True)
    smoker = render(own, Known(consenting, clean(smoking="yes"), today=TODAY), locale="en", facts=facts)
    assert "It heals slower." in smoker.text
    assert smoker.sha256 != rendered.sha256
    unsure = render(own, Known(consenting, clean(smoking=UNSURE), today=TODAY), locale="en", facts=facts)
    assert unsure.text == smoker.text


def test_a_fact_that_is_missing_stops_the_consent(consenting: Protocol, clean: Clean) -> None:
    own = consenting.consent[0]
    with pytest.raises(ProtocolError, match=r"no fact for \{sessions\}") as caught:
        render(own, Known(consenting, clean(), today=TODAY), locale="en", facts={"clinic": "North"})
    assert len(caught.value.problems) == 2


def test_numbing_consent_only_with_a_product(consenting: Protocol, clean: Clean) -> None:
    def ids(product: NumbingProduct | None) -> list[str]:
        return [found.id for found in documents(Known(consenting, clean(), today=TODAY), product=product)]

    assert ids(None) == ["own"]
    assert ids(GENTLE) == ["own", "cream"]


@pytest.mark.parametrize("name", ["microneedling", "light_peel"])
def test_every_consent_of_the_package_renders(name: str, request: pytest.FixtureRequest) -> None:
    protocol: Protocol = request.getfixturevalue(name)
    for language in protocol.texts:
        for document in protocol.consent:
            rendered = render(document, Known(protocol, {}, today=TODAY), locale=language, facts=FACTS)
            assert "{" not in rendered.text
            assert all(paragraphs for _, paragraphs in rendered.elements)


PEEL: dict[str, Answer] = {
    "birth_date": PartialDate(1990, 5, 5),
    "concern": "dull_skin",
    "area": "face",
    "isotretinoin": "never",
    "skin_tans": "burns_then_tans",
}


def peel_answers(protocol: Protocol, changes: dict[str, Answer]) -> dict[str, Answer]:
    harmless: dict[str, Answer] = {"yes-no": "no", "choices": ("none",)}
    base = {
        link_id: harmless[question.type]
        for link_id, question in protocol.questions.items()
        if question.type in harmless and question.enable_when is None
    }
    return {**base, **PEEL, **changes}


@pytest.mark.parametrize(
    ("changes", "outcome", "not_before"),
    [
        ({}, "clear", None),
        ({"pregnant": "yes"}, "stop", None),
        ({"breastfeeding": UNSURE}, "review", None),
        (
            {"recent": ("light_peel",), "light_peel_last": PartialDate(2026, 2, 20)},
            "defer",
            dt.date(2026, 3, 20),
        ),
        ({"skin_today": ("cold_sore",)}, "defer", None),
        ({"skin_tans": "tans"}, "advise", None),
        ({"birth_date": PartialDate(2010, 5, 5)}, "stop", None),
    ],
)
def test_the_same_engine_runs_another_treatment(
    light_peel: Protocol,
    changes: dict[str, Answer],
    outcome: str,
    not_before: dt.date | None,
    usual_dates: Dates,
) -> None:
    answers = peel_answers(light_peel, changes)
    screening: Screening = screen(light_peel, answers, today=TODAY, stock=(), locale="en")
    assert (screening.outcome, screening.not_before) == (outcome, not_before)
    assert screening.numbing.decision == "none"
    dates = usual_dates(plan_course(light_peel, answers), dt.date(2026, 4, 1))
    assert dates == (dt.date(2026, 4, 1), dt.date(2026, 4, 29), dt.date(2026, 5, 27))
