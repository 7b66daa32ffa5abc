"""Each outcome is a page of its own that says why and what comes next, and none says too much."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from intake_plugin.settings import Clinic
from intake_plugin.testing import ENDS
from tests.web.conftest import CLINICIAN, DESK, HOME, WREN, MakeSite, Site

STOP = "You cannot book this treatment online"
REVIEW = "A clinician will look at your answers"
WAIT = "Wait until this has healed, then ask again"
LATER = "You can book, from a later date"
ADVISED = "You can book, with advice to follow"
CLEAR = "You can go on to book"

OUTCOMES: dict[str, tuple[dict[str, Any], str, str]] = {
    "pregnant": ({"pregnant": "yes"}, STOP, "020 7946 0011"),
    "isotretinoin now": ({"isotretinoin": "now"}, STOP, "A clinician can look at your case with you"),
    "an infection": ({"skin_today": "infection"}, STOP, "ask again once this has healed"),
    "bleeding disorder": ({"conditions": "bleeding_disorder"}, STOP, "Do not stop or change any medicine"),
    "under age": ({"birth_date": dt.date(2010, 5, 20)}, STOP, "What you can do now"),
    "blood thinner": ({"medicines": "blood_thinner"}, REVIEW, "Nothing is booked yet"),
    "not sure": ({"pregnant": "unsure"}, REVIEW, "Nothing is booked yet"),
    "not sure of a date": (
        {"isotretinoin": "stopped", "isotretinoin_last-unsure": "unsure"},
        REVIEW,
        "Nothing is booked yet",
    ),
    "acne": ({"skin_today": "active_acne"}, WAIT, "Nobody can say today how long this takes"),
    "unwell": ({"unwell": "yes"}, WAIT, "What happens next"),
    "isotretinoin stopped": (
        {"isotretinoin": "stopped", "isotretinoin_last": dt.date(2026, 1, 10)},
        LATER,
        "Friday 10 July 2026",
    ),
    "painkillers": ({"medicines": "painkiller"}, ADVISED, "Before your treatment"),
    "nothing": ({}, CLEAR, "nothing in your answers stands in the way"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_outcome_says_why_and_what_next(site: Site, name: str) -> None:
    answers, heading, words = OUTCOMES[name]
    visitor, page = site.to("outcome", answers)
    assert page.reply.status == 200
    assert page.heading == heading
    assert words in page.text
    assert "Your reference:" in page.text
    assert "safe" not in page.text.lower()
    assert "error" not in page.title.lower()
    leads_on = heading in {LATER, ADVISED, CLEAR}
    after = (
        visitor.walk(page, WREN, until=frozenset({"consent"})) if leads_on else visitor.get(f"{HOME}consent")
    )
    assert after.name == ("consent" if leads_on else "outcome")


def test_every_finding_that_stands_is_named(site: Site, clinic: Clinic) -> None:
    _, page = site.to(
        "outcome", {"pregnant": "yes", "conditions": ["bleeding_disorder", "heart"], "unwell": "yes"}
    )
    rules = clinic.treatments["microneedling"].protocol.words("en").rules
    for rule in ("S06a", "S07", "S42", "S35"):
        assert rules[rule].reason in page.text
    assert rules["S06a"].next in page.text
    # What to do about a lesser finding does not fit beside a stop.
    assert rules["S42"].next not in page.text


def test_what_has_passed_can_be_checked_again(site: Site) -> None:
    visitor, page = site.to("outcome", {"unwell": "yes"})
    check = visitor.submit(page, press="reopen")
    assert check.name == "check"
    health = visitor.submit(visitor.get(f"{HOME}questions/health?return=check"), {"unwell": "no"})
    assert visitor.submit(health).heading == CLEAR


def test_a_date_that_is_too_early_is_not_offered(site: Site) -> None:
    visitor, page = site.to("slots", {"isotretinoin": "stopped", "isotretinoin_last": dt.date(2026, 1, 10)})
    assert page.name == "slots"
    assert "Your first session can be on Friday 10 July 2026 or later" in page.text
    assert "Monday 13 July 2026" in page.text
    early = visitor.get(f"{HOME}times?from=2026-03-09")
    assert "March" not in early.text
    refused = visitor.submit(page, {"arrive": "2026-07-13T09:00:00+00:00"})
    assert refused.name == "series"
    reply = visitor.send("POST", f"{HOME}times", [("arrive", "2026-03-09T10:00:00+00:00")])
    assert reply.status == 409


@pytest.mark.parametrize("page", ["consent", "notes", "slots", "series", "done"])
def test_advice_stays_with_the_patient(site: Site, clinic: Clinic, page: str) -> None:
    advice = clinic.treatments["microneedling"].protocol.words("en").rules["S10"]
    _, found = site.to(page, {"medicines": "supplements"})
    assert f"Remember {advice.reason}" in found.text


def test_a_patient_who_was_declined_reads_that_and_books_nothing(site: Site) -> None:
    patient, page = site.to("outcome", {"medicines": "blood_thinner"})
    site.staff = CLINICIAN
    desk = site.visitor()
    reference = page.text.split("Your reference: ")[1].split()[0]
    desk.submit(desk.get(f"{DESK}cases/{reference}"), {"verdict": "decline", "note": "Too high a dose."})
    page = patient.get(f"{HOME}consent")
    assert page.heading == "The clinic does not offer you this treatment now"
    assert "Too high a dose" not in page.text


def test_a_failure_while_screening_is_a_review(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("intake_plugin.clinical.screening.choose_by", broken)
    _, page = site.to("outcome")
    assert page.heading == REVIEW


def test_the_notice_stands_on_every_page_until_somebody_answers_for_the_content(
    make_site: MakeSite, clinic: Clinic
) -> None:
    notice = "Demonstration, not for patients."
    treatments = {key: replace(each, approval=None) for key, each in clinic.treatments.items()}
    visitor = make_site(replace(clinic, treatments=treatments)).visitor()
    page, seen = visitor.get(HOME), set()
    while page.name != "done":
        assert notice in page.text, page.name
        seen.add(page.name)
        page = visitor.submit(page, WREN)
    assert notice in page.text
    assert seen >= {"start", "question", "check", "outcome", "consent", "notes", "slots", "series"}
    visitor = make_site(clinic).visitor()
    assert notice not in visitor.walk(visitor.get(HOME), WREN, until=ENDS).text
