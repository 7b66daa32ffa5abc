"""Files read with every problem at once: protocols, clinic profiles, deployment settings."""

import copy
import datetime as dt
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from limits import parse_many

from intake_plugin import testing
from intake_plugin.clinical.linter import lint
from intake_plugin.clinical.protocol import Protocol, Wait
from intake_plugin.errors import ConfigurationError, ProtocolError
from intake_plugin.loading import effective, fingerprint, load_clinic, load_protocol, load_settings
from intake_plugin.reading import Wrong, duration, exact_time, wait
from intake_plugin.settings import NumbingPolicy

PACKAGE = Path(str(resources.files("intake_plugin") / "protocols"))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("P14D", Wait(days=14)),
        ("P4W", Wait(days=28)),
        ("P6M", Wait(months=6)),
        ("P1Y2M3D", Wait(months=14, days=3)),
        ("PT30M", dt.timedelta(minutes=30)),
        ("PT24H", dt.timedelta(days=1)),
        ("P1DT2H", dt.timedelta(days=1, hours=2)),
    ],
)
def test_durations(text: str, means: object) -> None:
    assert duration(text) == means


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P14", "14D", "six months", "-P1D", "P1.5D", "P1,5M", "p1d", "P1MT2H", 14]
)
def test_not_durations(text: object) -> None:
    with pytest.raises(Wrong):
        duration(text)


def test_a_wait_counts_dates_and_a_contact_does_not() -> None:
    with pytest.raises(Wrong, match="has a time part"):
        wait("PT24H")
    with pytest.raises(Wrong, match="no exact length"):
        exact_time("P1M")
    assert exact_time("P7D") == dt.timedelta(days=7)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """Return a copy of a protocol of the package in which some text was replaced."""

    def edit(
        changes: dict[str, str], *, words: dict[str, str] | None = None, name: str = "light_peel"
    ) -> Path:
        for suffix, replacements in ((".toml", changes), (".en.toml", words or {})):
            text = (PACKAGE / f"{name}{suffix}").read_text("utf-8")
            for old, new in replacements.items():
                assert old in text
                text = text.replace(old, new, 1)
            (tmp_path / f"{name}{suffix}").write_text(text, "utf-8")
        return tmp_path / f"{name}.toml"

    return edit


def refusal(source: str | Path, **options: Any) -> list[str]:
    with pytest.raises(ProtocolError) as caught:
        load_protocol(source, **options)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["microneedling", "light_peel"])
def test_the_package_s_protocols_are_sound(name: str) -> None:
    protocol = load_protocol(name, languages=["en"])
    assert lint(protocol) == ()
    assert all(question.link_id in protocol.texts["en"].questions for question in protocol.questions.values())


def test_a_protocol_can_lie_anywhere(edited: Callable[..., Path]) -> None:
    path = edited({})
    assert fingerprint(load_protocol(path)) == fingerprint(load_protocol("light_peel"))
    assert fingerprint(load_protocol(str(path))) == fingerprint(load_protocol("light_peel"))


def test_an_unknown_protocol() -> None:
    assert refusal("microneedlin") == [
        "The package has no protocol 'microneedlin'. Did you mean 'microneedling'?"
    ]
    assert refusal("nowhere/peel.toml") == ["nowhere/peel.toml: There is no such file."]


def test_a_language_that_is_not_there() -> None:
    (problem,) = refusal("light_peel", languages=["en", "xx"])
    assert problem == "light_peel.toml: There is no language file light_peel.xx.toml. Known: en."


def test_problems_of_form_and_of_meaning_come_together(edited: Callable[..., Path]) -> None:
    path = edited(
        {
            'id = "cancer_treatment"\noutcome = "stop"': 'id = "cancer_treatment"\noutcome = "stpo"',
            'filler = "P28D"': 'filler = "four weeks"',
            'question = "pregnant", answer = "yes"': 'question = "pregnnat", answer = "yes"',
            'version = "2026.1"': "version = 2026.1",
            "[course_limits]": '[course_limits]\nleway = "P7D"',
        },
        words={"[units]": '[units]\nweek = "{n} week"', 'title = "': 'titel = "'},
    )
    found = refusal(path)
    expected = [
        "light_peel.toml: version: 2026.1 is not text.",
        "light_peel.toml: waits.filler: 'four weeks' is not an ISO 8601 duration",
        "light_peel.toml: rules.cancer_treatment.outcome: 'stpo' is not one of stop",
        "light_peel.toml: rules.pregnant.when: There is no question or derived value 'pregnnat'.",
        "light_peel.toml: course_limits.leway: There is no 'leway' here. Did you mean 'leeway'?",
        "light_peel.en.toml: units.week: There is no 'week' here.",
        "light_peel.en.toml: titel: There is no 'titel' here. Did you mean 'title'?",
        "light_peel.en.toml: title: This is missing.",
    ]
    for start in expected:
        assert sum(problem.startswith(start) for problem in found) == 1, (start, found)
    assert len(found) == len(expected), found


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'when = { question = "pregnant", answer = "yes" }',
            "when = 3",
            "rules.pregnant.when: 3 is not a condition",
        ),
        (
            'when = { question = "pregnant", answer = "yes" }',
            'when = { asks = "pregnant" }',
            "rules.pregnant.when: A condition has 'question', 'within', 'all' or 'any'; this one has 'asks'.",
        ),
        (
            'when = { question = "pregnant", answer = "yes" }',
            'when = { all = [{ question = "pregnant", is = "yes" }] }',
            "rules.pregnant.when.all[0].is: There is no 'is' here.",
        ),
        (
            'id = "face"\ncm2 = 200',
            'id = "face"\ncm2 = "200"',
            "areas.face.cm2: '200' is not a whole number.",
        ),
        ('id = "face"\ncm2 = 200', 'id = "face"', "areas.face.cm2: This is missing."),
        ('treatment = "PT30M"', 'treatment = "P1M"', "areas.face.treatment: 'P1M' has no exact length"),
        (
            'link_id = "pressure"\ntype = "yes-no"',
            'link_id = "pressure"\ntype = "bool"',
            "questions.pressure.type",
        ),
        ('grade = "A"', 'grade = "Z"', "grade: 'Z' is not one of A, A-, B, C, G."),
        ('id = "light_peel"', 'id = "peel"', "id: The id is 'peel' but the file is called light_peel.toml"),
        ('version = "2026.1"', 'version = "2026.1"\ntexts = {}', "texts: Words stand in a file per language"),
        ("[waits]", "[waits", "This is not TOML: "),
    ],
)
def test_a_wrong_form_is_named_with_its_place(
    edited: Callable[..., Path], old: str, new: str, says: str
) -> None:
    found = refusal(edited({old: new}))
    assert any(says in problem for problem in found), found


def test_a_file_without_its_language(tmp_path: Path) -> None:
    shutil.copy(PACKAGE / "light_peel.toml", tmp_path)
    (problem,) = refusal(tmp_path / "light_peel.toml")
    assert "There is no language; put light_peel.en.toml beside it." in problem


def test_unoffered_add_ons_vanish_with_all_that_follows(microneedling: Protocol) -> None:
    own = effective(microneedling)
    assert {"add_ons", "prp_serious", "prp_other", "vaccine"}.isdisjoint(own.questions)
    assert {"S31", "S37", "S37b", "S44"}.isdisjoint(rule.id for rule in own.rules)
    assert "S37" not in own.texts["en"].rules
    assert lint(own) == ()


@pytest.mark.parametrize("offers", [("prp",), ("rf",), ("prp", "rf")])
def test_offered_add_ons_stay(microneedling: Protocol, offers: tuple[str, ...]) -> None:
    own = effective(microneedling, offers=offers, rules_on=["S44"])
    options = own.questions["add_ons"].options
    assert [option.id for option in options] == ["none", *offers]
    assert not any(option.optional for option in options)
    assert ("prp_serious" in own.questions) is ("prp" in offers)
    assert "vaccine" in own.questions
    assert lint(own) == ()


@pytest.mark.parametrize("rule_id", [rule.id for rule in load_protocol("microneedling").rules])
def test_any_rule_can_be_switched_off(microneedling: Protocol, rule_id: str) -> None:
    own = effective(microneedling, rules_off=[rule_id], offers=["prp", "rf"])
    assert rule_id not in {rule.id for rule in own.rules}
    assert lint(own) == ()


def test_a_changed_wait_changes_the_protocol_and_its_fingerprint(microneedling: Protocol) -> None:
    own = effective(microneedling, waits={"botulinum": Wait(days=21)})
    assert own.waits["botulinum"] == Wait(days=21)
    assert fingerprint(own) != fingerprint(effective(microneedling))


def test_the_fingerprint_covers_words_and_policy_but_no_order_of_tables(microneedling: Protocol) -> None:
    own = effective(microneedling)
    same = replace(own, waits=dict(sorted(own.waits.items(), reverse=True)), texts=dict(own.texts))
    assert fingerprint(same) == fingerprint(own) == fingerprint(copy.deepcopy(own))
    texts = replace(own.texts["en"], summary="Another summary")
    assert fingerprint(replace(own, texts={"en": texts})) != fingerprint(own)
    home, clinic = NumbingPolicy(stock=("LMX4",), home="approved"), NumbingPolicy(stock=("LMX4",))
    assert fingerprint(own, home) != fingerprint(own, clinic)


PROFILE = """
id = "north"
name = "North Clinic"
zone = "Europe/London"
languages = ["en"]
retention = "P8Y"

[contact]
telephone = "020 7946 0000"
email = "hello@north.example"
address = "1 North Street"
emergency = "999"

[hours]
mon = "09:00-12:30, 13:30-17:00"
thu = "12:00-20:00"

[[closures]]
first = 2026-12-24
last = 2026-12-26
reason = "Christmas"

[[closures]]
first = 2027-01-01

[booking]
notice = "PT24H"
horizon = "P3M"
grid = "PT15M"
drift = "P3D"
hold = "PT20M"
hold_most = "PT4H"
move_notice = "PT48H"
cancel_notice = "P2D"
block_most = "P12M"

[[resources]]
id = "room-1"
kind = "room"
name = "Room 1"
after = "PT15M"

[[resources]]
id = "ada"
kind = "practitioner"
name = "Ada"
treatments = ["microneedling"]
hours = { mon = "10:00-16:00" }

[[treatments]]
protocol = "microneedling"
rules_on = ["S44"]
offers = ["prp"]
waits = { botulinum = "P21D" }
limits = { age_review_below = 25 }
courses = { fine_lines = { sessions = { min = 2, usual = 3, max = 6 } } }
products = { LMX4 = { contact_max = "PT45M" } }
numbing = { stock = ["LMX4", "EMLA"], home = "approved", contact = { LMX4 = "PT40M" } }
"""


@pytest.fixture
def profile() -> dict[str, Any]:
    return tomllib.loads(PROFILE)


def test_a_profile(tmp_path: Path) -> None:
    (tmp_path / "north.toml").write_text(PROFILE, "utf-8")
    clinic = load_clinic(tmp_path / "north.toml")
    assert (clinic.id, clinic.zone.key, clinic.base_template) == ("north", "Europe/London", "base.html")
    assert clinic.hours == {
        1: ((dt.time(9), dt.time(12, 30)), (dt.time(13, 30), dt.time(17))),
        4: ((dt.time(12), dt.time(20)),),
    }
    assert [(closure.first, closure.last) for closure in clinic.closures] == [
        (dt.date(2026, 12, 24), dt.date(2026, 12, 26)),
        (dt.date(2027, 1, 1), dt.date(2027, 1, 1)),
    ]
    assert clinic.booking.cancel_notice == dt.timedelta(days=2)
    assert clinic.calendar.ahead == dt.timedelta(days=1)
    room, ada = clinic.resources
    assert (room.hours, room.after) == (None, dt.timedelta(minutes=15))
    assert ada.hours == {1: ((dt.time(10), dt.time(16)),)}
    assert clinic.retention == Wait(months=96)


def test_a_treatment_as_the_clinic_has_it(profile: dict[str, Any]) -> None:
    treatment = load_clinic(profile).treatments["microneedling"]
    own = treatment.protocol
    assert own.waits["botulinum"] == Wait(days=21)
    assert own.limits["age_review_below"] == 25
    assert {course.id: course.sessions.usual for course in own.courses}["fine_lines"] == 3
    products = {product.id: product for product in own.numbing.products}
    assert products["LMX4"].contact_max == dt.timedelta(minutes=45)
    assert "vaccine" in own.questions
    assert treatment.numbing.contact == {"LMX4": dt.timedelta(minutes=40)}
    assert treatment.changes == (
        "Wait botulinum: P21D instead of P14D",
        "Limit age_review_below: 25 instead of 22",
        "Rule S44 switched on",
        "Offers prp",
        "Course fine_lines: sessions 2/3/6",
        "Product LMX4: contact_max 0:45:00",
        "Contact time of LMX4: 0:40:00",
    )


def test_approval_holds_for_exactly_what_was_approved(profile: dict[str, Any]) -> None:
    fingerprint = load_clinic(profile).treatments["microneedling"].fingerprint
    profile["treatments"][0]["approval"] = {
        "by": "Dr North",
        "role": "Medical director",
        "on": dt.date(2026, 3, 2),
        "version": "2026.1",
        "fingerprint": fingerprint,
    }
    assert load_clinic(profile).treatments["microneedling"].approved
    profile["treatments"][0]["waits"]["botulinum"] = "P20D"
    assert not load_clinic(profile).treatments["microneedling"].approved
    profile["treatments"][0]["waits"]["botulinum"] = "P21D"
    profile["treatments"][0]["numbing"]["home"] = "never"
    assert not load_clinic(profile).treatments["microneedling"].approved


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw: Any) -> None:
        for step in path[:-1]:
            raw = raw[step]
        raw[path[-1]] = value

    return change


TREATMENT = ("treatments", 0)


@pytest.mark.parametrize("written", ["18:00-24:00", "18:00-00:00"])
def test_an_opening_may_end_with_its_day(profile: dict[str, Any], written: str) -> None:
    profile["hours"]["mon"] = f"09:00-12:00, {written}"
    assert load_clinic(profile).hours[1][-1] == (dt.time(18), dt.time())


def test_buffers_of_a_treatment_are_no_medicine(profile: dict[str, Any]) -> None:
    plain = load_clinic(profile).treatments["microneedling"]
    profile["treatments"][0] |= {"before": "PT5M", "after": "PT20M"}
    treatment = load_clinic(profile).treatments["microneedling"]
    assert (treatment.before, treatment.after) == (dt.timedelta(minutes=5), dt.timedelta(minutes=20))
    assert (treatment.fingerprint, treatment.changes) == (plain.fingerprint, plain.changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            put("zone", value="Europe/Lodnon"),
            "zone: There is no time zone 'Europe/Lodnon'. Did you mean 'Europe/London'?",
        ),
        (put("id", value="North Clinic"), "id: The id 'North Clinic' may hold only"),
        (put("languages", value=[]), "languages: Name at least one language"),
        (put("languages", value=["en", "xx"]), "There is no language file microneedling.xx.toml"),
        (put("contact", "email", value="hello"), "contact.email: 'hello' is not an e-mail address."),
        (put("contact", "emergency", value=" "), "contact.emergency: This is empty"),
        (put("calendar", value={"entry": "PT0S"}), "calendar.entry: An entry of no length"),
        (put("calendar", value={"keep_cancelled": "P367D"}), "calendar.keep_cancelled: This is too long"),
        (put("marketing_name", value="North microneedling"), "marketing_name: Others see it in calendars"),
        (put("retention", value="P0D"), "retention: Records must be kept"),
        (
            put("consent_facts", value={"controler": "x"}),
            "There is no fact 'controler'. Did you mean 'controller'?",
        ),
        (put("hours", value={}), "hours: The clinic is never open."),
        (put("hours", "mon", value="9-12"), "hours.mon: '9-12' is not an interval of hours"),
        (put("hours", "mon", value="12:00-09:00"), "hours.mon: '12:00-09:00' ends before it begins."),
        (
            put("hours", "mon", value="09:00-12:00, 11:00-17:00"),
            "hours.mon: '09:00-12:00, 11:00-17:00' overlaps",
        ),
        (put("hours", "mon", value="13:00-17:00, 09:00-12:00"), "out of order"),
        (put("hours", "mon", value="09:00-25:00"), "a time that does not exist"),
        (put("hours", "mon", value="24:00-01:00"), "'24:00-01:00' has a time that does"),
        (put("hours", "mon", value="18:00-24:00, 20:00-21:00"), "overlaps or is out of order"),
        (put("hours", "mno", value="09:00-12:00"), "hours.mno: There is no 'mno' here. Did you mean 'mon'?"),
        (put("closures", 0, "last", value=dt.date(2026, 12, 1)), "closures[0]: It ends on 2026-12-01"),
        (put("booking", "grid", value="PT7M"), "booking.grid: The grid must divide a day"),
        (put("booking", "horizon", value="P0D"), "booking.horizon: With no horizon"),
        (put("booking", "horizon", value="P25M"), "booking.horizon: P25M is too far ahead"),
        (put("booking", "block_most", value="P0D"), "booking.block_most: A block lasts some time"),
        (put("booking", "block_most", value="P25M"), "at most P24M; write 'P12M'"),
        (put("resources", 0, "after", value="P1D"), "resources.room-1: With its buffers and its treatments'"),
        (put("resources", 0, "before", value="PT11H"), "and one more 'before' are at most 23:00:00"),
        (put(*TREATMENT, "after", value="PT22H"), "resources.ada: With its buffers and its treatments'"),
        (put("booking", "notice", value="P95D"), "booking.notice: Nothing lies between the notice"),
        (put("booking", "horizon", value="P99999999D"), "booking.horizon: P99999999D is too far ahead"),
        (put("id", value="n" * 65), "profile: id: The id 'nnn"),
        (put("resources", 0, "id", value="r" * 65), "at most 64"),
        (put(*TREATMENT, "waits", value={"filler": "P99999999D"}), "filler: P99999999D is too long"),
        (
            put(*TREATMENT, "waits", value={"filler": "P121M"}),
            "treatments.microneedling.waits.filler: P121M is too long; write at most P120M.",
        ),
        (
            put(*TREATMENT, "courses", value={"pores": {"sessions": {"min": 1, "usual": 3, "max": 51}}}),
            "courses.pores.sessions: A course has at most 50 sessions.",
        ),
        (
            put(
                *(*TREATMENT, "courses"),
                value={"pores": {"interval": {"min": "P28D", "usual": "P28D", "max": "P4000D"}}},
            ),
            "courses.pores.interval: P4000D is too long",
        ),
        (put("booking", "notice", value="P1M"), "booking.notice: 'P1M' has no exact length"),
        (put("resources", value=[]), "resources: The clinic has no practitioner and no room"),
        (
            put("resources", 0, "kind", value="rom"),
            "resources.room-1.kind: 'rom' is not one of practitioner, room.",
        ),
        (put("resources", 0, "id", value="ada"), "resources.ada: 'ada' stands here 2 times."),
        (put("resources", 0, "lanes", value=0), "resources.room-1.lanes: A resource holds at least one"),
        (
            put("resources", 1, "treatments", value=["micronedling"]),
            "There is no treatment 'micronedling'. Did you mean 'microneedling'?",
        ),
        (
            put("resources", 1, "treatments", value=["light_peel"]),
            "resources: No practitioner serves 'microneedling', so it could never be booked.",
        ),
        (put("treatments", value=[]), "treatments: The clinic offers no treatment"),
        (put(*TREATMENT, "protocol", value="needling"), "The package has no protocol 'needling'."),
        (
            put(*TREATMENT, "waits", value={"botulinm": "P1D"}),
            "treatments.microneedling.waits.botulinm: There is no wait",
        ),
        (
            put(*TREATMENT, "waits", value={"filler": "x"}),
            "treatments.microneedling.waits.filler: 'x' is not an ISO 8601",
        ),
        (put(*TREATMENT, "limits", value={"age": 3}), "There is no limit 'age'."),
        (put(*TREATMENT, "rules_on", value=["S99"]), "There is no rule 'S99'."),
        (put(*TREATMENT, "rules_off", value=["S44"]), "The rule 'S44' is switched both on and off."),
        (put(*TREATMENT, "offers", value=["prf"]), "There is no optional option 'prf'. Did you mean 'rf'?"),
        (put(*TREATMENT, "courses", value={"lines": {}}), "There is no course 'lines'."),
        (
            put(*TREATMENT, "products", value={"LMX5": {}}),
            "There is no numbing product 'LMX5'. Did you mean 'LMX4'?",
        ),
        (
            put(*TREATMENT, "numbing", "stock", value=["lmx"]),
            "There is no numbing product 'lmx'. Did you mean 'LMX4'?",
        ),
        (
            put(*TREATMENT, "numbing", "stock", value=["EMLA"]),
            "numbing.home: No product in stock may be used at home",
        ),
        (
            put(*TREATMENT, "numbing", "contact", value={"EMLA": "PT30M"}),
            "numbing.contact.EMLA: 'EMLA' stays on for 1:00:00 to 2:00:00, not 0:30:00.",
        ),
        (
            put(*TREATMENT, "products", value={"EMLA": {"contact_max": "PT10M"}}),
            "Its least contact 1:00:00 exceeds its greatest 0:10:00",
        ),
        (
            put(*TREATMENT, "waits", value={"botulinum": "P0D"}),
            "With this clinic's changes, rules.S20.wait: The wait 'botulinum' is nothing at all",
        ),
        (
            put(*TREATMENT, "limits", value={"age_stop_below": 22}),
            "With this clinic's changes, rules.S33b.when: No answers can make this true",
        ),
        (
            put(*TREATMENT, "approval", value={"by": "x"}),
            "treatments.microneedling.approval.role: This is missing.",
        ),
    ],
)
def test_a_wrong_profile(profile: dict[str, Any], change: Callable[[Any], None], says: str) -> None:
    change(profile)
    with pytest.raises(ConfigurationError) as caught:
        load_clinic(profile)
    assert any(says in str(problem) for problem in caught.value.problems), caught.value


def test_all_problems_of_a_profile_at_once(profile: dict[str, Any]) -> None:
    profile["zone"] = "Mars/Olympus"
    profile["hours"]["tue"] = "late"
    del profile["booking"]["notice"]
    profile["booking"]["grid"] = "PT7M"
    profile["resources"][0]["kind"] = "rom"
    profile["treatments"][0]["waits"] = {"botulinm": "P1D", "filler": "x"}
    profile["treatments"][0]["numbing"]["stock"] = ["lmx"]
    with pytest.raises(ConfigurationError) as caught:
        load_clinic(profile)
    places = {problem.where for problem in caught.value.problems}
    assert places >= {
        "profile: zone",
        "profile: hours.tue",
        "profile: booking.notice",
        "profile: booking.grid",
        "profile: resources.room-1.kind",
        "profile: treatments.microneedling.waits.botulinm",
        "profile: treatments.microneedling.waits.filler",
        "profile: treatments.microneedling.numbing.stock.lmx",
    }


def test_a_protocol_beside_the_profile(tmp_path: Path, edited: Callable[..., Path]) -> None:
    path = edited({'version = "2026.1"': 'version = "own"'})
    text = PROFILE[: PROFILE.index("[[treatments]]")].replace('treatments = ["microneedling"]\n', "")
    (path.parent / "north.toml").write_text(
        f"{text}\n[[treatments]]\nprotocol = './light_peel.toml'\n", "utf-8"
    )
    clinic = load_clinic(path.parent / "north.toml")
    assert clinic.treatments["light_peel"].protocol.version == "own"


def test_a_profile_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no such file"):
        load_clinic(tmp_path / "south.toml")
    (tmp_path / "south.toml").write_text("id = ", "utf-8")
    with pytest.raises(ConfigurationError, match="This is not TOML"):
        load_clinic(tmp_path / "south.toml")


def test_settings_from_a_whole_configuration() -> None:
    settings = load_settings(
        {
            "DEBUG": True,
            "SECRET_KEY": "s",
            "INTAKE_KEYS": lambda: "k1:abc",
            "INTAKE_DRAFT_LIFETIME": "P3D",
            "INTAKE_LINK_LIFETIME": dt.timedelta(days=100),
            "INTAKE_EMBED": "https://a.example http://localhost:5000",
        }
    )
    assert settings.keys == "k1:abc"
    assert (settings.draft_lifetime, settings.link_lifetime) == (dt.timedelta(days=3), dt.timedelta(days=100))
    assert settings.embed == ("https://a.example", "http://localhost:5000")


def test_settings_from_their_namespace_and_without_any() -> None:
    assert load_settings({"keys": "k1:abc"}).keys == "k1:abc"
    plain = load_settings({})
    assert plain.keys is None
    assert plain.draft_lifetime == dt.timedelta(days=7)


def test_every_wrong_setting_is_named_as_it_stands_in_the_configuration() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            {
                "INTAKE_KEY": "x",
                "INTAKE_DRAFT_LIFETIME": "PT19H",
                "INTAKE_LINK_LIFETIME": "P2Y",
                "INTAKE_EMBED": ["https://a.example/path"],
            }
        )
    found = {problem.where: problem.what for problem in caught.value.problems}
    assert found["INTAKE_KEY"] == "There is no 'INTAKE_KEY' here. Did you mean 'INTAKE_KEYS'?"
    assert "WCAG 2.2" in found["INTAKE_DRAFT_LIFETIME"]
    assert "no exact length" in found["INTAKE_LINK_LIFETIME"]
    assert "without a path" in found["INTAKE_EMBED"]
    assert len(found) == 4


MILDER = [
    ({"rules_off": ["S06a"]}, "rules_off.S06a"),
    ({"limits": {"age_stop_below": 5}}, "limits.age_stop_below"),
    ({"products": {"EMLA": {"contact_min": "PT30M"}}}, "products.EMLA.contact_min"),
    ({"products": {"LMX4": {"contact_max": "PT300M"}}}, "products.LMX4.contact_max"),
    ({"products": {"LMX4": {"area_max_cm2": 9999}}}, "products.LMX4.area_max_cm2"),
    ({"products": {"LMX4": {"age_min": 0}}}, "products.LMX4.age_min"),
]


@pytest.mark.parametrize(("changes", "place"), MILDER, ids=[place for _, place in MILDER])
def test_a_clinic_may_be_stricter_than_the_protocol_and_never_milder(
    changes: dict[str, object], place: str
) -> None:
    treatment = {"protocol": "microneedling", "numbing": {"stock": ["LMX4"]}, **changes}
    with pytest.raises(ConfigurationError) as caught:
        load_clinic({**testing.PROFILE, "treatments": [treatment]})
    where = [problem.where for problem in caught.value.problems]
    assert where == [f"profile: treatments.microneedling.{place}"]


def test_two_files_with_one_protocol_id_are_refused(tmp_path: Path) -> None:
    package = resources.files("intake_plugin") / "protocols"
    for name in ("microneedling.toml", "microneedling.en.toml"):
        (tmp_path / name).write_bytes((package / name).read_bytes())
    own = str(tmp_path / "microneedling.toml")
    numbing = {"numbing": {"stock": ["LMX4"]}}
    with pytest.raises(ConfigurationError, match="same protocol id"):
        load_clinic(
            {
                **testing.PROFILE,
                "treatments": [{"protocol": "microneedling", **numbing}, {"protocol": own, **numbing}],
            }
        )


def test_a_retired_treatment_comes_after_those_that_are_offered() -> None:
    found = testing.clinic(
        treatments=[{"protocol": "microneedling", "retired": True}, {"protocol": "light_peel"}]
    )
    assert list(found.treatments) == ["light_peel", "microneedling"]
    assert list(found.offered) == ["light_peel"]
    same = testing.clinic(treatments=[{"protocol": "microneedling"}]).treatments["microneedling"]
    assert found.treatments["microneedling"].fingerprint == same.fingerprint


@pytest.mark.parametrize("limit", ["", "5 per hour", "5 per 10 minutes; 50 per day"])
def test_a_limit_is_written_as_flask_limiter_writes_it(limit: str) -> None:
    settings = load_settings({"INTAKE_KEYS": testing.keys(), "INTAKE_LIMIT_OPEN": limit})
    assert settings.limit_open == limit
    assert len(parse_many(limit) if limit else []) == len([each for each in limit.split(";") if each])


@pytest.mark.parametrize(
    "limit", ["often", "0 per hour", "5/hour", "5 per PT1H", "5 per fortnight", "5 per hour;"]
)
def test_what_is_no_limit_is_named_with_its_setting(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=r"INTAKE_LIMIT_SIGN: .* is no limit; write '20 per hour'"):
        load_settings({"INTAKE_KEYS": testing.keys(), "INTAKE_LIMIT_SIGN": limit})
