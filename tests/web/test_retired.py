"""A treatment that the clinic no longer offers, and one that its profile no longer has at all."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from intake_plugin.settings import Clinic
from intake_plugin.testing import Page, Visitor
from tests.web.conftest import CLINICIAN, DESK, HOME, WREN, MakeSite, Site
from tests.web.test_pages import check

GONE = "The clinic no longer offers this treatment"


def retire(site: Site) -> None:
    """Let the clinic write `retired = true` for all it offers."""
    _change(
        site, lambda clinic: {key: replace(each, retired=True) for key, each in clinic.treatments.items()}
    )


def remove(site: Site) -> None:
    """Let somebody delete every treatment from the profile."""
    _change(site, lambda clinic: {})


def _change(site: Site, treatments: Any) -> None:
    clinics: dict[str, Clinic] = site.app.extensions["intake_plugin"].clinics
    clinics["harbour"] = replace(clinics["harbour"], treatments=treatments(clinics["harbour"]))


def case_page(site: Site) -> tuple[Visitor, Page]:
    """Return a clinician on the page of the only case."""
    site.staff = CLINICIAN
    desk = site.visitor()
    (address,) = [address for _, address in desk.get(DESK).links if "/cases/" in address]
    return desk, desk.get(address)


def leads(page: Page, ending: str) -> list[str]:
    return [address for _, address in page.links if address.endswith(ending)]


def test_nobody_begins_a_retired_treatment(make_site: MakeSite, clinic: Clinic) -> None:
    (only,) = clinic.treatments.values()
    both = {"microneedling": only, "old": replace(only, retired=True)}
    site = make_site(replace(clinic, treatments=both))
    visitor = site.visitor()
    start = visitor.get(HOME)
    assert start.form.names == ()
    assert visitor.submit(start).name == "question"
    retire(site)
    stored = site.rows()
    start = site.visitor().get(HOME)
    check(start)
    assert "Nothing can be booked here at the moment" in start.text
    assert start.forms == ()
    assert site.client.post(HOME).status_code == 200
    assert site.rows() == stored


@pytest.mark.parametrize("page", ["question", "check", "consent", "slots", "series"])
def test_a_case_on_its_way_ends_there_and_its_patient_is_told(site: Site, page: str) -> None:
    visitor, before = site.to(page)
    retire(site)
    stored = site.rows()
    for path in ("about-you", "check", "outcome", "consent", "times", "series", "done"):
        told = visitor.get(HOME + path)
        assert (told.name, told.reply.status) == ("manage", 200), path
        assert GONE in told.text
        assert "Nothing is booked for you" in told.text
    check(told)
    assert visitor.submit(before, WREN).reply.status == 409
    assert visitor.send("POST", f"{HOME}outcome", [("action", "reopen")]).status == 409
    assert site.rows() == stored


def test_why_somebody_was_stopped_can_still_be_read(site: Site) -> None:
    visitor, _ = site.to("outcome", {"pregnant": "yes"})
    retire(site)
    assert visitor.get(f"{HOME}outcome").heading == "You cannot book this treatment online"


def test_what_is_booked_is_moved_and_cancelled_by_its_patient(site: Site) -> None:
    visitor, _ = site.to("done")
    retire(site)
    assert visitor.get(f"{HOME}done").name == "done"
    manage = visitor.get(f"{HOME}manage")
    assert GONE not in manage.text
    times = visitor.get(leads(manage, "/sessions/4/move")[0])
    moved = visitor.submit(visitor.submit(times), press="move")
    assert moved.name == "manage", moved.text
    cancelled = visitor.submit(visitor.get(leads(moved, "/sessions/4/cancel")[0]))
    assert "This session has been cancelled." in cancelled.text


def test_the_desk_reads_moves_and_cancels_and_books_nothing_more(site: Site) -> None:
    site.to("done")
    retire(site)
    desk, case = case_page(site)
    assert "This treatment is retired" in case.text
    assert "Fine lines and wrinkles" in case.text
    moved = desk.submit(desk.submit(desk.get(leads(case, "/sessions/4/move")[0])), press="move")
    assert moved.heading == case.heading
    assert "Cancelled" in desk.submit(desk.get(leads(moved, "/sessions/4/cancel")[0])).text


def test_a_review_of_a_retired_treatment_can_only_be_declined(site: Site) -> None:
    patient, _ = site.to("outcome", {"medicines": "blood_thinner"})
    retire(site)
    desk, case = case_page(site)
    offered = [each.value for each in case.form.controls if each.name == "verdict"]
    assert offered == ["decline"]
    desk.submit(case, {"verdict": "decline", "note": "No longer offered."})
    assert "decided against this treatment" in patient.get(f"{HOME}outcome").text


def test_a_case_whose_treatment_is_missing_says_at_the_desk_what_to_do(site: Site) -> None:
    site.to("done")
    remove(site)
    desk, case = case_page(site)
    check(case)
    assert case.reply.status == 200
    for words in (
        "The clinic’s profile no longer has this treatment",
        "put “microneedling” back into the profile, with “retired = true”",
        "Wren Okafor",
        "Tuesday 3 March 2026 at 10:00",
    ):
        assert words in case.text, words
    assert leads(case, "/move") == []
    move = desk.get(leads(case, "/cancel")[-1].replace("/cancel", "/move"))
    assert move.reply.status == 409
    assert "put “microneedling” back" in move.text
    check(move)
    assert "Cancelled" in desk.submit(desk.get(leads(case, "/cancel")[-1])).text


def test_the_queue_and_a_review_are_readable_without_the_treatment(site: Site) -> None:
    site.to("outcome", {"medicines": "blood_thinner", "isotretinoin": "stopped"} | LAST_YEAR)
    remove(site)
    _, case = case_page(site)
    assert "S08 · Review" in case.text
    assert case.forms == ()


LAST_YEAR: dict[str, Any] = {"isotretinoin_last": dt.date(2025, 12, 10)}


def test_a_patient_whose_treatment_is_missing_keeps_sessions_and_calendar(site: Site) -> None:
    visitor, done = site.to("done")
    remove(site)
    lost = visitor.get(f"{HOME}done")
    assert lost.reply.status == 409
    assert "everything you have booked are kept" in lost.text
    check(lost)
    manage = visitor.get(leads(lost, "/manage")[0])
    assert "Session 1 of 4" in manage.text
    assert visitor.download(done.calendars[0], done).count(b"BEGIN:VEVENT") >= 4
    cancelled = visitor.submit(visitor.get(leads(manage, "/sessions/4/cancel")[0]))
    assert "This session has been cancelled." in cancelled.text
    assert leads(visitor.get(HOME), "/manage")


def test_a_draft_whose_treatment_is_missing_is_not_thrown_away(site: Site) -> None:
    visitor, _ = site.to("check")
    clinics = site.app.extensions["intake_plugin"].clinics
    before = clinics["harbour"]
    remove(site)
    for path in ("check", "manage", "outcome"):
        assert visitor.get(HOME + path).reply.status == 409, path
    clinics["harbour"] = before
    assert visitor.get(f"{HOME}check").name == "check"
