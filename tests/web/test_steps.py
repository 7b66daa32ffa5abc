"""No step can be skipped by its address, and none that lies behind can be done twice."""

from __future__ import annotations

import pytest

from intake_plugin.testing import Visitor
from tests.web.conftest import HOME, Site

PAGES = {
    "about-you": "/about-you",
    "questions/goal": "/questions/goal",
    "questions/medicines": "/questions/medicines",
    "check": "/check",
    "outcome": "/outcome",
    "consent": "/consent",
    "consent/treatment": "/consent",
    "notes": "/notes",
    "times": "/times",
    "series": "/series",
    "done": "/done",
    "calendar/appointments.ics": "/done",
    "calendar/appointment-1.ics": "/done",
}
"""Each page, and the step it belongs to."""

DRAFT = {"about-you", "questions/goal"}
ALL_QUESTIONS = DRAFT | {"questions/medicines", "check"}
SIGNING = {"outcome", "consent", "consent/treatment"}
CHOOSING = SIGNING | {"notes", "times"}
BOOKED = SIGNING | {"notes", "done", "calendar/appointments.ics", "calendar/appointment-1.ics"}
OPEN: dict[str, tuple[dict[str, str], set[str], str]] = {
    "question": ({}, {"about-you"}, "/about-you"),
    "check": ({}, ALL_QUESTIONS, "/check"),
    "outcome": ({"pregnant": "yes"}, {"outcome"}, "/outcome"),
    "consent": ({}, SIGNING, "/consent"),
    "notes": ({}, CHOOSING, "/times"),
    "series": ({}, CHOOSING | {"series"}, "/series"),
    "done": ({}, BOOKED, "/done"),
}
"""How far a case has come: the answers that lead there, the pages open, and where others lead."""


def came_as_far_as(site: Site, page: str) -> Visitor:
    answers, _, _ = OPEN[page]
    visitor, found = site.to(page, answers)
    assert found.name == page
    return visitor


@pytest.mark.parametrize("page", OPEN)
def test_only_what_is_open_can_be_seen(site: Site, page: str) -> None:
    visitor = came_as_far_as(site, page)
    _, open_pages, furthest = OPEN[page]
    for path in PAGES:
        found = visitor.get(HOME + path)
        if path in open_pages:
            assert found.reply.status == 200, path
            assert found.reply.url.endswith(path), path
        else:
            assert found.reply.url.endswith(furthest), path


@pytest.mark.parametrize("page", OPEN)
def test_nothing_is_written_out_of_turn(site: Site, page: str) -> None:
    visitor = came_as_far_as(site, page)
    _, open_pages, _ = OPEN[page]
    stored = site.rows()
    for path in sorted(PAGES.keys() - open_pages):
        reply = visitor.send("POST", HOME + path, [("action", "continue"), ("name", "Wren")])
        if path == "series" and page == "done":
            continue
        assert reply.status in {404, 405, 409}, path
        assert b"data-intake-page" in reply.body
        assert site.rows() == stored, path


@pytest.mark.parametrize("path", PAGES)
def test_without_a_case_every_page_says_what_to_do(site: Site, path: str) -> None:
    page = site.visitor().get(HOME + path)
    assert page.reply.status == 403
    assert page.name == "problem"
    assert "Open your private link to go on where you stopped, or start again" in page.text


def test_pages_of_questions_that_do_not_apply_are_not_found(site: Site) -> None:
    visitor, _ = site.to("check")
    for key in ("medicines-2", "nowhere", "goal-9"):
        assert visitor.get(f"{HOME}questions/{key}").reply.status == 404


def test_a_document_that_is_not_asked_for_is_not_found(site: Site) -> None:
    visitor, _ = site.to("consent")
    assert visitor.get(f"{HOME}consent/nothing").reply.status == 404
