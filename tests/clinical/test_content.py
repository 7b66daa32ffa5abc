"""The content of the package's protocols, against the tables of the reference policy RP-1.

The tables here were copied from the policy, not from the protocol, so that a slip in either shows.
"""

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.clinical.answers import Answer
from intake_plugin.clinical.care import care_for
from intake_plugin.clinical.changes import effective
from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.consent import CONSENT_FACTS, documents
from intake_plugin.clinical.linter import lint
from intake_plugin.clinical.protocol import CareStep, Compare, Protocol, Rule, Texts, Wait
from intake_plugin.clinical.questionnaire import depends_on, outdated, walk
from intake_plugin.clinical.screening import screen
from intake_plugin.loading import load_clinic, load_protocol
from intake_plugin.testing import PROFILE

DOCS = Path(__file__).parents[2] / "docs" / "protocols.md"
PROTOCOLS = ("microneedling", "light_peel")

RULES = """
S01a stop override | S01b defer isotretinoin | S02 defer healed | S03 stop healed | S04a defer healed
S04b review | S05 stop override | S05b review | S06a stop | S06b stop override | S07 stop | S08 review
S09 advise | S10 advise | S11 advise | S12 review | S13 stop | S13b defer radiation_area | S13c review
S14 review | S14b stop healed | S15a stop | S15b stop override | S15c review | S16 stop healed
S16b review | S17 stop healed | S17b review | S18 stop | S18b review | S19 stop | S19b review
S20 defer botulinum | S21 defer filler | S22a defer peel_light | S22b defer peel_deep
S23a defer laser_nonablative | S23b defer laser_ablative | S24 defer hair_removal | S25 defer retinoid
S25b defer retinoid | S26 defer acids_bpo | S27a defer sunburn | S27b defer tan_selftan
S28a defer face_surgery | S28b defer scar_floor | S28c review | S29 stop | S29b review | S30 review
S30b advise | S31 stop | S31b advise | S32 advise | S32b review | S33 stop | S33b review | S34 review
S35 defer healed | S36 advise | S36b review | S37 stop | S37b review | S38 advise excludes
S39 review excludes | S40 advise excludes | S41 stop healed | S41b stop override healed | S42 review
S43 defer previous_needling | S44 advise off | S45 review | S45b review | S46 advise | S46b review
off_label_scalp advise
"""

WAITS = {
    "isotretinoin": "P6M",
    "botulinum": "P14D",
    "filler": "P28D",
    "peel_light": "P28D",
    "peel_deep": "P3M",
    "laser_nonablative": "P28D",
    "laser_ablative": "P3M",
    "hair_removal": "P7D",
    "retinoid": "P5D",
    "acids_bpo": "P5D",
    "sunburn": "P14D",
    "tan_selftan": "P14D",
    "face_surgery": "P12M",
    "scar_floor": "P42D",
    "scar_review": "P12M",
    "radiation_area": "P3M",
    "previous_needling": "P28D",
}

COURSES = {
    "fine_lines": (3, 4, 6, 4, 4, 6),
    "neck_lines": (4, 4, 4, 4, 4, 4),
    "acne_scars": (3, 4, 8, 4, 4, 8),
    "surgical_scar": (3, 3, 6, 4, 4, 8),
    "stretch_marks": (3, 4, 6, 4, 4, 6),
    "melasma": (2, 3, 6, 2, 4, 4),
    "pores": (1, 3, 6, 4, 4, 6),
    "texture": (3, 3, 6, 4, 4, 6),
    "sun_damage": (3, 4, 6, 2, 4, 6),
    "laxity": (4, 4, 6, 4, 4, 6),
    "alopecia": (3, 6, 15, 1, 4, 4),
}
"""Sessions least, usual, greatest; weeks between them least, usual, greatest."""

CONTACT = {"LMX4": (30, 60), "EMLA": (60, 120), "PLIAGLIS": (30, 60), "BLT": (20, 30), "LT23_7": (30, 60)}

AREAS = {
    "face": (200, 30),
    "neck": (150, 30),
    "face_neck": (350, 45),
    "chest": (400, 60),
    "back": (1800, 60),
    "abdomen": (600, 60),
    "arms": (600, 60),
    "legs": (3000, 60),
    "scalp": (300, 60),
    "small_patch": (150, 60),
}
"""Square centimetres and minutes of treatment."""

AREA_MOST = {"LMX4": 900, "EMLA": 400, "PLIAGLIS": 400, "BLT": None, "LT23_7": None}

CARE = """
before_peel peel_light | before_laser laser_nonablative | before_filler filler | before_sunbed P28D
before_botulinum botulinum | before_sun tan_selftan | before_hair_removal hair_removal
before_supplements P7D | before_tell_us P7D | before_retinoid retinoid | before_acids acids_bpo
before_painkillers P3D | before_recheck P2D | before_antiviral P2D when | before_alcohol P1D
day_clean_skin P0D | day_no_shaving P0D | day_eat P0D | day_no_numbing P0D
after_hydrator 0-24 | after_makeup 0-24 | after_shade 0-24 | after_touching 0-24 | after_alcohol 0-24
after_washing 4-24 | after_exercise 0-72 | after_heat_water 0-72 | after_events 0-72
after_painkillers 0-72 | after_actives 0-168 | after_picking 0-168 | after_waxing 0-168
after_bland 24-168 | after_sunscreen 24-672 | after_sun 24-672 | after_injectables 0-336
call_worse P2D | call_infection P0D | call_cold_sore P0D | call_rash P0D | call_bumps P0D | call_dark P0D
urgent_breathing P0D | urgent_collapse P0D | urgent_colour P0D | urgent_confusion P0D | urgent_fever P0D
"""
"""From which day or by which wait before a session; from which to which hour after it."""

ABOUT_THE_AREA = {
    "near_eyes",
    "conditions",
    "radiation_area",
    "radiation_last",
    "prp_serious",
    "prp_other",
    "skin_today",
    "skin_marks",
    "skin_history",
    "recent",
    "skincare",
    "sun_recent",
    "microneedling_last",
    "botulinum_last",
    "filler_last",
    "light_peel_last",
    "deep_peel_last",
    "deep_treatment_last",
    "laser_last",
    "resurfacing_laser_last",
    "hair_removal_last",
    "retinoid_last",
    "acids_last",
    "sunburn_last",
    "tan_last",
    "fitz_exposed",
}

CREAMS = tuple(CONTACT)
MATRIX = {
    "amide_allergy": "X X X X X",
    "ester_paba_allergy": "- - X X X",
    "methaemoglobinaemia": "R X R X R",
    "g6pd": "R X R X R",
    "methaemoglobin_medicines": "R X R X R",
    "antiarrhythmic_1": "R R R R R",
    "antiarrhythmic_3": "R R R R R",
    "liver": "R R R R R",
    "pseudocholinesterase": "- - X X X",
    "sulfonamide_allergy": "R R R R R",
    "pregnancy_breastfeeding": "R X X X X",
    "atopic_dermatitis": "R R R R R",
    "broken_skin": "X X X X X",
}


def described(rule: Rule) -> str:
    marks = (
        ("override", rule.override),
        ("healed", rule.until_healed),
        ("excludes", rule.excludes),
        ("off", not rule.active),
    )
    words = [rule.id, rule.outcome.value, rule.wait, *(name for name, is_so in marks if is_so)]
    return " ".join(filter(None, words))


def patient_texts(texts: Texts) -> Iterator[tuple[str, str]]:
    """Yield every text a patient may read, with its place."""
    yield "title", texts.title
    yield "summary", texts.summary
    for link_id, question in texts.questions.items():
        yield from (
            (f"questions.{link_id}", text) for text in (question.text, question.hint, question.missing)
        )
        yield from ((f"questions.{link_id}.{option}", label) for option, label in question.options.items())
    for rule_id, rule in texts.rules.items():
        yield from ((f"rules.{rule_id}", text) for text in (rule.reason, rule.next, rule.unsure_next))
    for product_id, product in texts.products.items():
        yield f"products.{product_id}", product.about
    for kind, table in (("timeline", texts.timeline), ("care", texts.care)):
        yield from ((f"{kind}.{name}", text) for name, text in table.items())
    for document_id, document in texts.consent.items():
        yield f"consent.{document_id}", document.statement
        for element_id, element in document.elements.items():
            yield f"consent.{document_id}.{element_id}", f"{element.heading}\n{element.body}"


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    name: str = request.param
    return load_protocol(name)


def test_every_rule_of_the_policy_has_its_outcome(microneedling: Protocol) -> None:
    policy = [line.strip() for line in RULES.replace("\n", "|").split("|") if line.strip()]
    assert sorted(described(rule) for rule in microneedling.rules) == sorted(policy)


def test_every_wait_of_the_policy(microneedling: Protocol) -> None:
    assert {name: str(wait) for name, wait in microneedling.waits.items()} == WAITS


def test_every_course_of_the_policy(microneedling: Protocol) -> None:
    found = {}
    for course in microneedling.courses:
        sessions, interval = course.sessions, course.interval
        weeks = [wait.days / 7 for wait in (interval.min, interval.usual, interval.max)]
        found[course.id] = (sessions.min, sessions.usual, sessions.max, *weeks)
    assert found == COURSES


def test_only_a_clinician_needles_the_scalp_more_often_than_every_four_weeks(microneedling: Protocol) -> None:
    shorter = {course.id: course.clinician_gap_min for course in microneedling.courses}
    assert {name: str(gap) for name, gap in shorter.items() if gap} == {"alopecia": "P7D"}
    assert microneedling.course_limits.gap_min == Wait(days=28)


def test_every_contact_time_of_the_policy(microneedling: Protocol) -> None:
    minute = dt.timedelta(minutes=1)
    assert {
        product.id: (product.contact_min / minute, product.contact_max / minute)
        for product in microneedling.numbing.products
    } == CONTACT


def test_every_row_of_the_contraindication_matrix(microneedling: Protocol) -> None:
    letters = {"ok": "-", "review": "R", "block": "X"}
    assert {
        caution.id: " ".join(letters[caution.effects[cream]] for cream in CREAMS)
        for caution in microneedling.numbing.cautions
    } == MATRIX


def test_every_area_of_the_policy(microneedling: Protocol) -> None:
    minute = dt.timedelta(minutes=1)
    assert {area.id: (area.cm2, area.treatment // minute) for area in microneedling.areas} == AREAS


def test_every_largest_area_of_the_policy(microneedling: Protocol) -> None:
    products = microneedling.numbing.products
    assert {product.id: product.area_max_cm2 for product in products} == AREA_MOST


@pytest.mark.parametrize("area", ["back", "legs"])
def test_no_cream_covers_a_whole_back_or_both_legs(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date, area: str
) -> None:
    screening = screen(microneedling, clean(area=area), today=today, stock=("LMX4",), locale="en")
    assert screening.numbing.product is None
    assert [refusal.cautions for refusal in screening.numbing.refusals] == [("area",)]


def care_span(step: CareStep) -> str:
    hour = dt.timedelta(hours=1)

    def hours(away: Wait | dt.timedelta | None) -> int:
        assert away is not None
        return away // hour if isinstance(away, dt.timedelta) else away.days * 24

    if step.phase == "after":
        return f"{hours(step.starts)}-{hours(step.ends)}"
    assert step.ends is None
    return step.wait or str(step.starts)


def test_every_care_note_of_the_policy(microneedling: Protocol) -> None:
    policy = [line.strip() for line in CARE.replace("\n", "|").split("|") if line.strip()]
    found = [f"{step.id} {care_span(step)}{' when' if step.when else ''}" for step in microneedling.care]
    assert found == policy


def consents(
    protocol: Protocol, answers: dict[str, Answer], today: dt.date, *, cream: bool = True
) -> set[str]:
    product = protocol.numbing.products[0] if cream else None
    return {document.id for document in documents(Known(protocol, answers, today=today), product=product)}


ALWAYS = {"treatment", "data_processing", "photos_record", "photos_marketing"}


@pytest.mark.parametrize(
    ("age", "skin", "changes", "signed"),
    [
        (35, 1, {}, {"numbing"}),
        (35, 1, {"concern": "acne_scars"}, {"numbing"}),
        (35, 4, {"concern": "acne_scars"}, {"numbing"}),
        (35, 1, {"concern": "texture"}, {"numbing", "off_label"}),
        (35, 1, {"concern": "alopecia", "area": "scalp"}, {"numbing", "off_label"}),
        (35, 1, {"area": "abdomen"}, {"numbing", "off_label"}),
        (35, 1, {"area": "neck"}, {"numbing", "off_label"}),
        (35, 1, {"concern": "neck_lines", "area": "neck"}, {"numbing"}),
        (35, 2, {"concern": "neck_lines", "area": "neck"}, {"numbing"}),
        (35, 3, {"concern": "neck_lines", "area": "neck"}, {"numbing", "off_label"}),
        (35, 4, {"concern": "neck_lines", "area": "face_neck"}, {"numbing", "off_label"}),
        (21, 1, {}, {"numbing", "off_label"}),
        (22, 1, {}, {"numbing"}),
        (35, 1, {"add_ons": ("prp",)}, {"numbing", "prp"}),
        (35, 1, {"add_ons": ("prp", "rf")}, {"numbing", "prp", "rf"}),
    ],
)
def test_every_consent_where_it_is_needed_and_nowhere_else(
    microneedling: Protocol,
    clean: Callable[..., dict[str, Answer]],
    quiz: Callable[[int], dict[str, Answer]],
    today: dt.date,
    age: int,
    skin: int,
    changes: dict[str, Answer],
    signed: set[str],
) -> None:
    answers = {**clean(age=age), **quiz(skin), **changes}
    assert consents(microneedling, answers, today) == {*ALWAYS, *signed}
    assert consents(microneedling, answers, today, cream=False) == {*ALWAYS, *signed} - {"numbing"}


def test_only_photographs_may_be_declined(microneedling: Protocol) -> None:
    optional = {document.id for document in microneedling.consent if not document.required}
    assert optional == {"photos_record", "photos_marketing"}


def test_darker_skin_is_told_of_in_the_consent(microneedling: Protocol) -> None:
    conditions = {
        f"{document.id}.{element.id}": element.when
        for document in microneedling.consent
        for element in document.elements
        if element.when
    }
    assert conditions == {
        "treatment.darker_skin": Compare(question="fitzpatrick", operator=">=", answer=4),
    }


@pytest.mark.parametrize(
    ("concern", "area", "skin", "reviewed"),
    [
        ("neck_lines", "neck", 3, True),
        ("texture", "neck", 3, True),
        ("texture", "face_neck", 4, True),
        ("texture", "neck", 2, False),
        ("texture", "face", 4, False),
    ],
)
def test_a_neck_of_dark_skin_is_looked_at_first(
    microneedling: Protocol,
    clean: Callable[..., dict[str, Answer]],
    quiz: Callable[[int], dict[str, Answer]],
    today: dt.date,
    concern: str,
    area: str,
    skin: int,
    reviewed: bool,
) -> None:
    answers = {**clean(concern=concern, area=area), **quiz(skin)}
    screening = screen(microneedling, answers, today=today, stock=("LMX4",), locale="en")
    assert ("S32b" in {finding.rule_id for finding in screening.findings}) is reviewed


def test_what_is_asked_about_the_area_says_so(microneedling: Protocol, light_peel: Protocol) -> None:
    for protocol in (microneedling, light_peel):
        declared = {name for name, question in protocol.questions.items() if question.depends == ("area",)}
        assert declared == ABOUT_THE_AREA & set(protocol.questions)


def test_every_question_that_names_the_area_is_asked_again_about_another(protocol: Protocol) -> None:
    for texts in protocol.texts.values():
        naming = {
            link_id
            for link_id, words in texts.questions.items()
            if re.search(
                r"\b(the|of the) area\b", " ".join((words.text, words.hint, *words.options.values()))
            )
        }
        assert naming <= ABOUT_THE_AREA


def test_another_area_leaves_open_what_was_said_of_the_first(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date
) -> None:
    before = clean()
    assert outdated(microneedling, before, before, today=today) == frozenset()
    assert outdated(microneedling, before, clean(smoking="yes"), today=today) == frozenset()
    assert outdated(microneedling, before, clean(area="back"), today=today) == ABOUT_THE_AREA & set(
        microneedling.questions
    )


def test_medicines_written_about_are_read(
    protocol: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date
) -> None:
    rules = {"microneedling": "S46b", "light_peel": "other_medicines"}
    written = {True: "minoxidil", False: " "}
    for review, text in written.items():
        answers = clean(other_medicines=text, expectations="smoother skin")
        screening = screen(protocol, answers, today=today, stock=(), locale="en")
        assert (rules[protocol.id] in {finding.rule_id for finding in screening.findings}) is review


def test_painkillers_that_a_doctor_told_of_are_kept(microneedling: Protocol) -> None:
    texts = microneedling.texts["en"]
    said = [texts.rules["S09"].next, texts.care["before_painkillers"], texts.care["after_painkillers"]]
    for text in said:
        assert "unless a doctor told you to" in text
        assert "Keep taking" in text
        assert "recommended" in text
    assert "recommended" in texts.questions["medicines"].options["blood_thinner"]


def test_only_the_weak_cream_may_be_used_at_home(microneedling: Protocol) -> None:
    assert [product.id for product in microneedling.numbing.products if product.home] == ["LMX4"]


def test_a_healthy_patient_answers_few_questions(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], today: dt.date
) -> None:
    asked = sum(len(questions) for _, questions in walk(microneedling, clean(), today=today))
    assert asked <= 35
    assert len(microneedling.questions) <= 60


def test_no_text_says_safe(protocol: Protocol) -> None:
    for texts in protocol.texts.values():
        assert [
            (place, text) for place, text in patient_texts(texts) if re.search(r"(?i)\b(un)?safe", text)
        ] == []


def test_no_text_says_how_long_the_channels_stay_open(protocol: Protocol) -> None:
    said = re.compile(r"(?i)\b(channels?|pores)\b[^.]*\b(open|clos)")
    for texts in protocol.texts.values():
        assert [place for place, text in patient_texts(texts) if said.search(text)] == []


def test_no_text_gives_a_figure_for_how_often_harm_happens(protocol: Protocol) -> None:
    figure = re.compile(r"(?i)\d\s*%|\b1 in \d|\bone in \w+ (people|patients)")
    strengths = {f"products.{product.id}" for product in protocol.numbing.products}
    for texts in protocol.texts.values():
        said = {place for place, text in patient_texts(texts) if figure.search(text)}
        assert said - strengths == set()


def test_errors_say_what_to_do(protocol: Protocol) -> None:
    for texts in protocol.texts.values():
        for link_id, question in texts.questions.items():
            if not protocol.questions[link_id].required:
                continue
            assert question.missing.startswith(("Select ", "Enter ")), link_id
            assert not re.search(r"(?i)please|invalid|required", question.missing), link_id
            assert not question.missing.endswith("."), link_id


def test_reasons_hold_for_a_patient_who_was_not_sure(protocol: Protocol) -> None:
    claims = re.compile(r"(?i)\byou (said|told|answered|chose|have|had|take|took|use)\b")
    for texts in protocol.texts.values():
        claiming = [rule.id for rule in protocol.rules if claims.search(texts.rules[rule.id].reason)]
        assert claiming == []


def test_dates_are_asked_by_month_where_the_wait_is_in_months(protocol: Protocol) -> None:
    for rule in protocol.rules:
        if rule.since is None or rule.wait is None:
            continue
        by_month = protocol.waits[rule.wait].months > 0
        if rule.scope != "scar":
            assert (protocol.questions[rule.since].precision == "month") is by_month, rule.id


def test_a_health_question_can_be_answered_not_sure(protocol: Protocol) -> None:
    about_health = {"health", "medicines", "skin", "recent", "sun", "numbing"}
    for section in protocol.sections:
        if section.id in about_health:
            certain = [item.link_id for item in section.questions if item.required and not item.unsure]
            assert certain == []


@pytest.mark.parametrize(
    ("note", "wait", "days"),
    [
        ("before_botulinum", "botulinum", 21),
        ("before_retinoid", "retinoid", 10),
        ("before_sun", "tan_selftan", 28),
    ],
)
def test_care_notes_follow_the_waits_that_a_clinic_changes(
    microneedling: Protocol,
    clean: Callable[..., dict[str, Answer]],
    today: dt.date,
    note: str,
    wait: str,
    days: int,
) -> None:
    own = effective(microneedling, waits={wait: Wait(days=days)})
    start = dt.datetime(2026, 6, 15, 13, 0, tzinfo=dt.UTC)
    entries = care_for(
        own,
        clean(),
        start=start,
        end=start + dt.timedelta(hours=1),
        zone=ZoneInfo("Europe/London"),
        today=today,
        locale="en",
    )
    entry = next(entry for entry in entries if entry.id == note)
    assert entry.starts == start.date() - dt.timedelta(days=days)
    assert f"From {days} days before" in entry.text


@pytest.mark.parametrize(
    ("link_id", "wait", "own", "asked"),
    [
        ("recent", "filler", Wait(days=28), "In the last 12 months, have"),
        ("recent", "botulinum", Wait(days=14), "In the last 12 months, have"),
        ("recent", "face_surgery", Wait(months=18), "In the last 18 months, have"),
        ("recent", "filler", Wait(months=24), "In the last 24 months, have"),
        ("skincare", "retinoid", Wait(days=5), "In the last 28 days, have"),
        ("skincare", "retinoid", Wait(months=6), "In the last 6 months, have"),
        ("sun_recent", "sunburn", Wait(days=42), "In the last 42 days, has"),
    ],
)
def test_a_question_reaches_back_as_far_as_the_clinic_waits(
    microneedling: Protocol, link_id: str, wait: str, own: Wait, asked: str
) -> None:
    words = effective(microneedling, waits={wait: own}).texts["en"].questions[link_id]
    assert words.text.startswith(asked)
    assert "{window}" not in repr(words)
    if link_id != "recent":
        assert words.short.endswith(asked.partition(",")[0].removeprefix("In "))


def test_no_question_before_a_date_has_a_time_span_of_its_own(protocol: Protocol) -> None:
    dates = {rule.since for rule in protocol.rules if rule.since}
    gates = {name for date in dates if date in protocol.questions for name in depends_on(protocol, date)}
    for texts in protocol.texts.values():
        words = {link_id: repr(texts.questions[link_id]) for link_id in gates}
        assert [link_id for link_id, said in words.items() if re.search(r"(?i)last \d", said)] == []


def test_a_window_leaves_with_the_rules_that_need_it(microneedling: Protocol) -> None:
    own = effective(microneedling, waits={"sunburn": Wait(days=90)}, rules_off=["S27a"])
    assert own.texts["en"].questions["sun_recent"].text.startswith("In the last 28 days")
    assert lint(own) == ()


def examples() -> list[str]:
    return re.findall(r"(?ms)^```toml\n(.*?)^```", DOCS.read_text("utf-8"))


def test_the_protocol_in_the_documentation_can_be_loaded(tmp_path: Path) -> None:
    main, words, _ = examples()
    (tmp_path / "led_light.toml").write_text(main, "utf-8")
    (tmp_path / "led_light.en.toml").write_text(words, "utf-8")
    assert load_protocol(tmp_path / "led_light.toml", languages=["en"]).id == "led_light"


def test_the_changes_in_the_documentation_can_be_made() -> None:
    *_, profile = examples()
    clinic = load_clinic({**PROFILE, **tomllib.loads(profile)})
    own = clinic.treatments["microneedling"].protocol
    assert own.waits["botulinum"] == Wait(days=21)
    assert "vaccine" in own.questions
    assert [option.id for option in own.questions["add_ons"].options] == ["none", "prp"]


def test_the_documentation_names_every_placeholder() -> None:
    assert set(re.findall(r"`\{(\w+)\}`", DOCS.read_text("utf-8"))) == {*CONSENT_FACTS, "wait", "window"}
