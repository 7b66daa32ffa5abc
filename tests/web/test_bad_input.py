"""Whatever arrives, a page in the site's layout says what to do, and nothing is lost or half-written."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from intake_plugin.records.tables import CaseState
from intake_plugin.testing import Visitor
from tests.web.conftest import CLINICIAN, DESK, HOME, NOW, WREN, Site

POSTS = 500
JUNK = (
    "",
    " ",
    "0",
    "-1",
    "9" * 400,
    "1e309",
    "NaN",
    "²",
    "٣",
    "2026-13-45",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+23:59",
    "2026-03-03T10:00:00",
    "2026-03-03T10:00:00+00:00",
    "x" * 6000,
    "\x00",
    "\ud7ff\U0010ffff\u202e",
    "<script>alert(1)</script>",
    "%(name)s {name} {{ 7 * 7 }}",
    "' OR 1=1 --",
    "../../etc/passwd",
    "yes",
    "unsure",
    "none",
    "clear_from",
    "decline",
    "reopen",
    "change",
    "book",
)

Begin = Callable[[Site], tuple[Visitor, str]]


def on(page: str, path: str, **answers: Any) -> Begin:
    def begin(site: Site) -> tuple[Visitor, str]:
        visitor, _ = site.to(page, answers)
        return visitor, HOME + path

    return begin


def at_the_desk(site: Site) -> tuple[Visitor, str]:
    site.to("outcome", {"medicines": "blood_thinner"})
    site.staff = CLINICIAN
    desk = site.visitor()
    case = next(address for _, address in desk.get(DESK).links if "/cases/" in address)
    return desk, f"{case}/decision"


def at_the_clinics_calendars(site: Site) -> tuple[Visitor, str]:
    site.staff = CLINICIAN
    return site.visitor(), f"{DESK}feeds"


def with_a_link(site: Site) -> tuple[Visitor, str]:
    patient, _ = site.to("check")
    shown = patient.submit(patient.get(f"{HOME}save"))
    other = site.visitor()
    other.get(next(address for _, address in shown.links if "/link/" in address))
    return other, f"{HOME}verify"


FORMS: dict[str, Begin] = {
    "start": on("start", ""),
    "about you": on("question", "about-you"),
    "goal": on("check", "questions/goal"),
    "health": on("check", "questions/health"),
    "isotretinoin date": on(
        "check",
        "questions/medicines-2",
        isotretinoin="stopped",
        **{"isotretinoin_last-month": "1", "isotretinoin_last-year": "2026"},
    ),
    "check": on("check", "check"),
    "outcome": on("outcome", "outcome"),
    "document": on("consent", "consent/treatment"),
    "notes": on("notes", "notes"),
    "times": on("slots", "times"),
    "series": on("series", "series"),
    "save": on("check", "save"),
    "leave": on("check", "leave"),
    "calendar choices": on("done", "calendar/choices"),
    "calendar link": on("done", "calendar/link"),
    "calendar links stopped": on("done", "calendar/link/stop"),
    "verify": with_a_link,
    "language": on("check", "language"),
    "decision": at_the_desk,
    "clinic calendars": at_the_clinics_calendars,
} | {
    f"questions {key}": on("check", f"questions/{key}")
    for key in (
        "place",
        "place-2",
        "medicines",
        "skin",
        "recent",
        "sun",
        "skin_type",
        "numbing",
        "appointment",
    )
}


@pytest.mark.parametrize("name", FORMS)
def test_five_hundred_malformed_posts_bring_down_nothing(site: Site, name: str) -> None:
    visitor, path = FORMS[name](site)
    page = visitor.get(path.removesuffix("/decision"))
    names = [
        *(page.form.names if page.forms else ()),
        "action",
        "return",
        "from",
        "session-2",
        "session-²",
        "q",
    ]
    chance = random.Random(name)
    seen: set[int] = set()
    for _ in range(POSTS):
        fields = [(chance.choice(names), chance.choice(JUNK)) for _ in range(chance.randint(0, 6))]
        reply = site.client.post(path, data=MultiDict(fields))
        assert reply.status_code in {200, 303} or 400 <= reply.status_code < 500, (fields, reply.status_code)
        assert reply.status_code == 303 or b"data-intake-page" in reply.data
        assert b"<script>alert" not in reply.data
        seen.add(reply.status_code)
    assert seen <= {200, 303, 400, 403, 404, 409, 422}


def stale_check(site: Site) -> tuple[int, str, Visitor]:
    visitor, check = site.to("check")
    goal = visitor.get(f"{HOME}questions/goal?return=check")
    visitor.submit(goal, {"concern": "pores"})
    page = visitor.submit(check)
    return page.reply.status, page.text, visitor


def check_sent_twice(site: Site) -> tuple[int, str, Visitor]:
    visitor, check = site.to("check")
    visitor.submit(check)
    page = visitor.submit(check)
    return page.reply.status, page.text, visitor


def stale_document(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("consent")
    fields = [("shown", "0" * 64), ("name", "Wren Okafor"), ("action", "sign")]
    reply = visitor.send("POST", f"{HOME}consent/treatment", fields)
    return reply.status, reply.body.decode(), visitor


def unsigned_document(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("consent")
    page = visitor.submit(visitor.get(f"{HOME}consent/treatment"), {"name": "  "})
    return page.reply.status, page.text, visitor


def unknown_link(site: Site) -> tuple[int, str, Visitor]:
    visitor = site.visitor()
    page = visitor.get(f"{HOME}link/{'x' * 43}")
    return page.reply.status, page.text, visitor


def unknown_cookie(site: Site) -> tuple[int, str, Visitor]:
    client = site.app.test_client()
    client.set_cookie("intake_harbour", "y" * 43, path="/book/")
    visitor = Visitor.of(client)
    page = visitor.get(f"{HOME}check")
    assert client.get_cookie("intake_harbour", path="/book/") is None
    return page.reply.status, page.text, visitor


def no_time(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("slots")
    reply = visitor.send("POST", f"{HOME}times", [("arrive", "tomorrow")])
    return reply.status, reply.body.decode(), visitor


def a_time_outside_hours(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("slots")
    reply = visitor.send("POST", f"{HOME}times", [("arrive", "2026-03-03T03:00:00+00:00")])
    return reply.status, reply.body.decode(), visitor


def a_week_that_is_none(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("slots")
    page = visitor.get(f"{HOME}times?from=2026-02-30")
    return page.reply.status, page.text, visitor


def a_series_with_a_session_left_out(site: Site) -> tuple[int, str, Visitor]:
    visitor, series = site.to("series")
    fields = [(name, value) for name, value in series.form.filled({}) if name != "session-3"]
    reply = visitor.send("POST", f"{HOME}series", fields)
    return reply.status, reply.body.decode(), visitor


def no_series(site: Site) -> tuple[int, str, Visitor]:
    visitor, _ = site.to("series")
    reply = visitor.send("POST", f"{HOME}series", [("action", "book")])
    return reply.status, reply.body.decode(), visitor


MISTAKES: dict[str, tuple[Callable[[Site], tuple[int, str, Visitor]], int, str]] = {
    "stale check": (stale_check, 409, "Something has changed since this page was shown"),
    "check sent twice": (check_sent_twice, 409, "This step is behind you or still to come"),
    "stale document": (stale_document, 409, "Something has changed since this page was shown"),
    "unsigned document": (unsigned_document, 422, "Enter your full name to sign"),
    "unknown link": (unknown_link, 404, "The link may be old or incomplete"),
    "unknown cookie": (unknown_cookie, 403, "Your answers are not open on this device"),
    "no time": (no_time, 422, "Select the time of your first session"),
    "a time outside hours": (a_time_outside_hours, 409, "The time you chose is no longer free"),
    "a week that is none": (a_week_that_is_none, 400, "This page could not read what was sent"),
    "a session left out": (a_series_with_a_session_left_out, 409, "Check them, and with whom they are"),
    "no series": (no_series, 422, "Select a time for every session"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_a_page_that_says_what_to_do(site: Site, name: str) -> None:
    make, status, words = MISTAKES[name]
    found, text, visitor = make(site)
    assert found == status
    assert words in text
    if site.rows():
        assert visitor.get(HOME).reply.status == 200


def test_after_a_mistake_the_patient_goes_on_where_they_were(site: Site) -> None:
    visitor, series = site.to("series")
    visitor.send("POST", f"{HOME}series", [("action", "book")])
    visitor.send("POST", f"{HOME}times", [("arrive", "x")])
    done = visitor.submit(visitor.get(f"{HOME}series"), {})
    assert done.name == "done"
    assert series.name == "series"


def test_a_draft_that_ran_out_is_not_opened(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor, _ = site.to("check")
    lifetime = site.app.extensions["intake_plugin"].settings.draft_lifetime
    monkeypatch.setattr("intake_plugin.web.visit.now", lambda: NOW + lifetime)
    assert visitor.get(f"{HOME}check").reply.status == 403
    assert [row for row in site.rows() if CaseState.DRAFT in row]


def test_a_device_stays_open_as_long_as_the_draft_it_answers(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, page = site.to("question")
    page = visitor.submit(page, WREN)
    lifetime = site.app.extensions["intake_plugin"].settings.draft_lifetime
    almost = lifetime - dt.timedelta(hours=1)
    monkeypatch.setattr("intake_plugin.web.visit.now", lambda: NOW + almost)
    page = visitor.submit(page, WREN)
    assert page.name == "question"
    cookie = site.client.get_cookie("intake_harbour", path="/book/")
    assert cookie is not None
    assert cookie.max_age == lifetime.total_seconds()
    monkeypatch.setattr("intake_plugin.web.visit.now", lambda: NOW + 2 * almost)
    assert visitor.submit(page, WREN).reply.status == 200


def test_a_lock_that_is_not_had_in_time_says_to_try_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, page = site.to("question")

    def busy(self: Session) -> None:
        raise OperationalError("COMMIT", {}, Exception("database is locked"))

    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", busy)
        found = visitor.submit(page, WREN)
    assert found.reply.status == 503
    assert "Nothing was changed. Wait a few seconds and try again." in found.text
    assert visitor.submit(page, WREN).reply.status == 200
