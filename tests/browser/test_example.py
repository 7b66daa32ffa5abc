"""The example clinic in Chromium: on a phone and a desktop, with and without script."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from uuid import uuid4

import icalendar
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response

from example_host.first_run import DEMO_EMAIL
from intake_plugin.testing import Given, Reply, read_page
from tests.browser.conftest import Site

GIVEN: Given = {
    "name": "Wren Okafor",
    "birth_date": dt.date(1991, 3, 14),
    "email": "wren.okafor@example.com",
    "telephone": "07700 900123",
    "concern": "fine_lines",
    "area": "face",
    "no_alcohol": "yes",
}
POLICY = "script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'"
STEPS = ["start", "question", "check", "outcome", "consent", "notes", "slots", "series", "done"]
BESIDE = {
    "question": ("save", "leave"),
    "slots": ("times/days", "manage"),
    "done": ("calendar", "manage", "sessions/2/move", "sessions/2/cancel", "consent/treatment"),
}
"""Pages beside the way, looked at from the page named."""
DESK_PAGES = ("blocks", "why-not", "calendars", "feeds", "cases/AAA-AAAA")
MEASURE = (Path(__file__).parent / "measure.js").read_text()
EDGES = """element => [
    getComputedStyle(element).borderTopColor,
    getComputedStyle(document.querySelector(".intake-error")).color,
]"""
RING = """element => [getComputedStyle(element).outlineColor, getComputedStyle(element).backgroundColor]"""
TWICE = "addEventListener('DOMContentLoaded', () => { document.documentElement.style.fontSize = '200%'; })"
SOUND = {
    "overflow": [],
    "spilled": [],
    "crooked": [],
    "small": [],
    "pale": [],
    "unnamed": [],
    "dangling": [],
    "repeated": [],
    "headings": 1,
    "mains": 1,
    "language": "en",
}


def read(page: Page) -> str:
    """Return the name of the plugin's page before us."""
    return page.locator("main").get_attribute("data-intake-page") or ""


def measured(page: Page) -> object:
    """Measure the page once its style sheets have arrived."""
    page.wait_for_load_state("load")
    return page.evaluate(MEASURE)


def look_beside(page: Page, paths: Iterable[str], gallery: Path | None) -> None:
    """Measure pages beside the way, then come back."""
    here = page.url
    for path in paths:
        page.goto(f"{here.split('/book/')[0]}/book/{path}")
        if gallery is not None:
            page.screenshot(path=gallery / f"beside-{path.replace('/', '-')}.png", full_page=True)
        assert measured(page) == SOUND, page.url
    page.goto(here)


def fill(page: Page) -> None:
    """Fill the step's form as a patient with nothing remarkable to tell."""
    now = read_page(Reply(200, page.url, "text/html", page.content().encode()))
    form = page.locator("main form[method=post]").first
    # Somebody who books twice is a clinician's matter, so each of these patients is another person.
    given = {**GIVEN, "email": f"wren.{uuid4().hex}@example.com"}
    for name, value in now.form.filled(given):
        control = form.locator(f'[name="{name}"]')
        kind = control.first.get_attribute("type")
        if kind in {"radio", "checkbox"}:
            form.locator(f'[name="{name}"][value="{value}"]').check()
        elif kind not in {"hidden", "submit"} and control.first.evaluate("e => e.tagName") == "SELECT":
            control.first.select_option(value)
        elif kind not in {"hidden", "submit"}:
            control.first.fill(value)


def press(page: Page) -> Response | None:
    with page.expect_navigation() as navigation:
        page.locator("main form[method=post] button[type=submit]").first.click()
    return navigation.value


def go_the_way(page: Page) -> Iterator[str]:
    """Fill in and send one page after the other, yielding each one's name, to the confirmation."""
    for number in count():
        assert number < 60, page.url
        name = read(page)
        yield name
        if name == "done":
            return
        if page.locator("main form[method=post]").count():
            fill(page)
            response = press(page)
            assert response is not None
            assert response.status == 200, page.inner_text("main")
        else:
            page.locator("main a.intake-button").first.click()


@pytest.fixture
def begun(context: BrowserContext, complaints: list[str], site: Site) -> Page:
    page = context.new_page()
    page.goto(site.address)
    with page.expect_navigation():
        page.get_by_role("link", name="Book in London").click()
    return page


def test_a_patient_books_a_course(
    begun: Page, complaints: list[str], gallery: Path | None, script: bool, tmp_path: Path
) -> None:
    page, seen = begun, list[str]()
    for number, name in enumerate(go_the_way(page)):
        if gallery is not None:
            page.screenshot(path=gallery / f"{number:02}-{name}.png", full_page=True)
        assert measured(page) == SOUND, f"{name} at {page.url}"
        if name in BESIDE and name not in seen:
            look_beside(page, BESIDE[name], gallery)
        seen.append(name)
    assert list(dict.fromkeys(seen)) == STEPS
    assert complaints == []
    page.emulate_media(media="print")
    for care in page.locator(".intake-care").all():
        assert (care.bounding_box() or {"height": 0})["height"] > 0, "the printed page leaves care notes out"
    page.emulate_media(media="screen")
    with page.expect_download() as download:
        page.locator('main a[type="text/calendar"]').first.click()
    file = tmp_path / "series.ics"
    download.value.save_as(file)
    assert len(icalendar.Calendar.from_ical(file.read_bytes()).walk("VEVENT")) >= 3


def test_on_the_narrowest_screen_in_twice_the_size_nothing_sticks_out(browser: Browser, site: Site) -> None:
    """WCAG 2.2, 1.4.4 and 1.4.10, both at once."""
    context = browser.new_context(viewport={"width": 320, "height": 640})
    context.add_init_script(TWICE)
    page = context.new_page()
    page.goto(site.address)
    assert wide(page) == []
    page.goto(f"{site.address}/london/book/")
    for name in go_the_way(page):
        assert wide(page) == [], f"{name} at {page.url}"
    for path in (*BESIDE["done"], "staff/"):
        page.goto(f"{site.address}/london/book/{path}")
        assert wide(page) == [], path
    context.close()


def wide(page: Page) -> object:
    found = measured(page)
    assert isinstance(found, dict)
    return found["overflow"]


def test_an_empty_page_says_what_is_missing_and_leads_there(begun: Page, complaints: list[str]) -> None:
    page = begun
    fill(page)
    press(page)
    assert page.locator("h1").inner_text() == "About you"
    press(page)
    assert read(page) == "question"
    assert page.title().startswith("Error: ")
    summary = page.get_by_role("alert")
    assert summary.is_visible()
    links = page.locator("[data-intake] a[href^='#']")
    assert links.count() >= 3
    for link in links.all():
        target = link.get_attribute("href") or ""
        assert page.locator(target).count() == 1, target
    for wrong in page.locator("[aria-invalid=true]").all():
        edge, error = wrong.evaluate(EDGES)
        assert edge == error
    button = page.locator("main form[method=post] button").first
    page.keyboard.press("Tab")
    button.focus()
    ring, colour = button.evaluate(RING)
    assert ring == colour, "the ring around the focus is seen against the page, not against the button"
    assert measured(page) == SOUND


def test_the_clinics_desk_is_sound(
    context: BrowserContext, complaints: list[str], site: Site, gallery: Path | None
) -> None:
    page = context.new_page()
    page.goto(f"{site.address}/london/book/staff/")
    page.get_by_label("E-mail address").fill(DEMO_EMAIL)
    page.get_by_label("Password").fill(site.password)
    page.get_by_role("button", name="Sign in").click()
    for name in ("queue", "case"):
        assert read(page) == "staff"
        if gallery is not None:
            page.screenshot(path=gallery / f"staff-{name}.png", full_page=True)
        assert measured(page) == SOUND
        if name == "queue":
            page.locator("main tbody a").first.click()
    look_beside(page, (f"staff/{path}" for path in DESK_PAGES), gallery)
    # The page of a case that is not there answers 404, which Chromium reports.
    assert [words for words in complaints if "404" not in words] == []


@pytest.mark.parametrize("path", ["/", "/treatments", "/how-we-work", "/clinics", "/book", "/staff/sign-in"])
def test_the_site_around_it_is_sound(
    context: BrowserContext, complaints: list[str], site: Site, path: str
) -> None:
    page = context.new_page()
    response = page.goto(site.address + path)
    assert response is not None
    assert POLICY in response.headers["content-security-policy"]
    assert measured(page) == SOUND
    assert complaints == []
