"""The worked cases C01 to C24 of the reference policy RP-1.

Every case is asked on Monday 2026-03-02 in Europe/London for a treatment at 14:00.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.course import CoursePlan, plan_course
from intake_plugin.clinical.numbing import NumbingChoice, home_contact, plan
from intake_plugin.clinical.protocol import Protocol
from intake_plugin.clinical.screening import Screening, screen

LONDON = ZoneInfo("Europe/London")
ALL_CREAMS = ("LMX4", "EMLA", "PLIAGLIS", "BLT", "LT23_7")


@dataclass(frozen=True)
class Case:
    id: str
    outcome: str
    fires: set[str]
    """Ids of the rules that fire."""
    age: int = 35
    answers: dict[str, Answer] = field(default_factory=dict)
    wants: str = "03-16"
    sessions: str | None = None
    """Every date of the course, when the case may go on at all."""
    stock: tuple[str, ...] = ("LMX4",)
    cream: str | None = "LMX4 13:30-14:00"
    not_before: str | None = None
    override: bool = False


def on(text: str) -> PartialDate:
    return PartialDate.of(dt.date.fromisoformat(text))


def date(month_and_day: str) -> dt.date:
    return dt.date.fromisoformat(f"2026-{month_and_day}")


CASES = [
    Case("C01", "clear", set(), sessions="03-16 04-13 05-11 06-08"),
    Case(
        "C02",
        "defer",
        {"S01b"},
        age=28,
        answers={"concern": "acne_scars", "isotretinoin": "stopped", "isotretinoin_last": on("2025-12-10")},
        not_before="06-10",
        sessions="06-10 07-08 08-05 09-02",
    ),
    Case("C03", "stop", {"S01a"}, age=24, answers={"isotretinoin": "now"}, override=True),
    Case(
        "C04",
        "review",
        {"S04b"},
        age=30,
        answers={"concern": "texture", "skin_history": ("cold_sores",)},
        sessions="03-16 04-13 05-11",
    ),
    Case("C05", "defer", {"S04a"}, answers={"skin_today": ("cold_sore",)}, cream=None),
    Case(
        "C06",
        "defer",
        {"S20"},
        answers={"recent": ("botulinum",), "botulinum_last": on("2026-02-24")},
        wants="03-05",
        not_before="03-10",
        sessions="03-10 04-07 05-05 06-02",
    ),
    Case(
        "C07",
        "defer",
        {"S21"},
        answers={"recent": ("filler",), "filler_last": on("2026-02-16")},
        wants="03-05",
        not_before="03-16",
        sessions="03-16 04-13 05-11 06-08",
    ),
    Case(
        "C08",
        "defer",
        {"S25b"},
        answers={"skincare": ("prescribed_retinoid",), "retinoid_last": on("2026-03-01")},
        wants="03-05",
        not_before="03-06",
        sessions="03-06 04-03 05-01 05-29",
    ),
    Case("C09", "stop", {"S06a", "numbing"}, answers={"pregnant": "yes"}),
    Case(
        "C10",
        "review",
        {"S08"},
        answers={"medicines": ("blood_thinner",)},
        sessions="03-16 04-13 05-11 06-08",
    ),
    Case(
        "C11", "advise", {"S09"}, answers={"medicines": ("painkiller",)}, sessions="03-16 04-13 05-11 06-08"
    ),
    Case("C12", "stop", {"S07"}, answers={"conditions": ("bleeding_disorder",)}),
    Case("C13", "stop", {"S05"}, answers={"scars": ("keloid",)}, override=True),
    Case("C14", "advise", {"S32"}, age=33, answers={"concern": "melasma"}, sessions="03-16 04-13 05-11"),
    Case(
        "C15",
        "review",
        {"S33b"},
        age=19,
        answers={"concern": "acne_scars"},
        sessions="03-16 04-13 05-11 06-08",
    ),
    Case("C16", "stop", {"S33", "numbing"}, age=16),
    Case("C17", "stop", {"S14b"}, answers={"conditions": ("diabetes",), "diabetes_controlled": "no"}),
    Case(
        "C18",
        "defer",
        {"S27a"},
        answers={"concern": "texture", "sun_recent": ("sunburn",), "sunburn_last": on("2026-02-27")},
        wants="03-09",
        not_before="03-13",
        sessions="03-13 04-10 05-08",
    ),
    Case(
        "C19",
        "review",
        {"S30", "numbing"},
        answers={"concern": "texture", "allergy": ("amide",)},
        sessions="03-16 04-13 05-11",
        stock=ALL_CREAMS,
        cream=None,
    ),
    Case(
        "C20",
        "advise",
        {"S30b"},
        answers={"allergy": ("paba",)},
        sessions="03-16 04-13 05-11 06-08",
        stock=("PLIAGLIS", "BLT", "LT23_7", "LMX4", "EMLA"),
    ),
    Case(
        "C21",
        "advise",
        {"off_label_scalp"},
        age=40,
        answers={"concern": "alopecia", "area": "scalp"},
        sessions="03-16 04-13 05-11 06-08 07-06 08-03",
    ),
    Case(
        "C22",
        "clear",
        set(),
        age=45,
        sessions="03-16 04-13 05-11 06-08",
        stock=("EMLA",),
        cream="EMLA 13:00-14:00",
    ),
    Case(
        "C23",
        "defer",
        {"S02"},
        answers={"concern": "acne_scars", "skin_today": ("active_acne",)},
        cream=None,
    ),
    Case(
        "C24",
        "defer",
        {"S43"},
        answers={"concern": "pores", "recent": ("microneedling",), "microneedling_last": on("2026-02-18")},
        wants="03-09",
        not_before="03-18",
        sessions="03-18 04-15 05-13",
    ),
]


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
with_course = pytest.mark.parametrize("case", [c for c in CASES if c.sessions], ids=lambda case: case.id)
with_numbing = pytest.mark.parametrize(
    "case", [c for c in CASES if c.outcome != "stop"], ids=lambda case: case.id
)


@pytest.fixture
def answers(
    case: Case, clean: Callable[..., dict[str, Answer]], quiz: Callable[[int], dict[str, Answer]]
) -> dict[str, Answer]:
    skin_type_v = quiz(3) if case.id == "C14" else {}
    return clean(age=case.age, **skin_type_v, **case.answers)


@pytest.fixture
def screening(case: Case, answers: dict[str, Answer], microneedling: Protocol, today: dt.date) -> Screening:
    return screen(microneedling, answers, today=today, stock=case.stock, locale="en")


@every_case
def test_outcome_and_the_rules_behind_it(case: Case, screening: Screening) -> None:
    assert screening.outcome == case.outcome
    assert {finding.rule_id for finding in screening.findings} == case.fires
    assert screening.overridable is case.override


@every_case
def test_earliest_date(case: Case, screening: Screening) -> None:
    assert screening.not_before == (date(case.not_before) if case.not_before else None)
    goes_on = case.sessions is not None and case.outcome != "review"
    assert screening.bookable is goes_on
    if goes_on:
        first = case.sessions.split()[0] if case.sessions else ""
        assert max(date(case.wants), screening.not_before or date(case.wants)) == date(first)


@with_course
def test_dates_of_the_course(
    case: Case,
    answers: dict[str, Answer],
    microneedling: Protocol,
    usual_dates: Callable[[CoursePlan, dt.date], tuple[dt.date, ...]],
) -> None:
    dates = [date(session) for session in (case.sessions or "").split()]
    course = plan_course(microneedling, answers)
    assert list(usual_dates(course, dates[0])) == dates
    for before, after in pairwise(dates):
        assert course.gap_min.after(before) <= after <= course.gap_max.after(before)


@with_numbing
def test_cream_on_and_off(case: Case, screening: Screening) -> None:
    start = dt.datetime.combine(date(case.wants), dt.time(14), LONDON)
    numbing = plan(screening.numbing, start)
    if case.cream is None:
        assert numbing is None
        assert screening.numbing.product is None
        assert {refusal.effect for refusal in screening.numbing.refusals} == {"block"}
        assert len(screening.numbing.refusals) == len(case.stock)
    else:
        assert numbing is not None
        times = (moment.astimezone(LONDON).strftime("%H:%M") for moment in (numbing.on, numbing.off))
        assert f"{numbing.product_id} {'-'.join(times)}" == case.cream
        assert numbing.where == "clinic"


@every_case
def test_every_finding_says_why_and_by_which_version(screening: Screening, microneedling: Protocol) -> None:
    for finding in screening.findings:
        assert finding.reason
        assert finding.sources
        assert finding.protocol_version == microneedling.version


def test_c19_every_cream_holds_what_the_patient_must_not_have(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date
) -> None:
    answers = clean(allergy=("amide",))
    numbing = screen(microneedling, answers, today=today, stock=ALL_CREAMS, locale="en").numbing
    assert numbing.decision == "review"
    assert [refusal.product_id for refusal in numbing.refusals] == list(ALL_CREAMS)


def test_c20_passes_over_the_ester_creams_that_the_clinic_likes_better(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date
) -> None:
    answers = clean(allergy=("paba",))
    stock = ("PLIAGLIS", "BLT", "LT23_7", "EMLA")
    numbing = screen(microneedling, answers, today=today, stock=stock, locale="en").numbing
    assert numbing.product is not None
    assert (numbing.product.id, numbing.decision) == ("EMLA", "use")
    assert {refusal.product_id for refusal in numbing.refusals} == {"PLIAGLIS", "BLT", "LT23_7"}


@pytest.mark.parametrize(
    ("local_time", "fits"), [("11:59", False), ("12:00", True), ("13:00", True), ("13:01", False)]
)
def test_c22_the_sixty_minute_cream_goes_on_from_noon_to_one(
    local_time: str,
    fits: bool,
    microneedling: Protocol,
    clean: Callable[..., dict[str, Answer]],
    today: dt.date,
) -> None:
    choice = screen(microneedling, clean(age=45), today=today, stock=("EMLA",), locale="en").numbing
    start = dt.datetime(2026, 3, 16, 14, tzinfo=LONDON)
    put_on = dt.datetime.combine(date("03-16"), dt.time.fromisoformat(local_time), LONDON)
    if fits:
        numbing = plan(choice, start, contact=start - put_on)
        assert numbing is not None
        assert (numbing.on, numbing.off) == (put_on, start)
        assert numbing.earliest_on <= put_on <= numbing.latest_on
    else:
        with pytest.raises(ValueError, match="EMLA stays on for 60 to 120 minutes in this case"):
            plan(choice, start, contact=start - put_on)


def test_cream_at_home_is_on_before_the_patient_sets_out_or_not_at_home_at_all(
    microneedling: Protocol,
) -> None:
    areas = {area.id: area for area in microneedling.areas}
    lmx4, emla = (
        NumbingChoice(product, product.contact_min, product.contact_max, "use")
        for product in microneedling.numbing.products
        if product.id in {"LMX4", "EMLA"}
    )
    at_home = home_contact(lmx4, microneedling.timeline, areas["face"])
    assert at_home == dt.timedelta(minutes=45)
    assert home_contact(lmx4, microneedling.timeline, areas["legs"]) is None
    assert home_contact(emla, microneedling.timeline, areas["face"]) is None
    short = replace(lmx4, contact_max=dt.timedelta(minutes=40))
    assert home_contact(short, microneedling.timeline, areas["face"]) is None
