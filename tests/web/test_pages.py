"""What holds for every page: its markup, its words, its weight, and what it asks of the database."""

from __future__ import annotations

import datetime as dt
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import intake_plugin
from intake_plugin.testing import Page, Visitor
from tests.web.conftest import CLINICIAN, DESK, HOME, WREN, Site

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
QUERIES_AT_MOST = 4
FIRST_WINDOW = 14 * 1024
"""Octets that a server sends before it waits for the first answer."""
UNREMARKABLE: dict[str, Any] = {}
FULL: dict[str, Any] = {
    "medicines": ["supplements", "painkiller"],
    "isotretinoin": "stopped",
    "isotretinoin_last": dt.date(2025, 1, 10),
    "scars": "none",
}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("outcome", {"medicines": "blood_thinner"}),
    ("outcome", {"pregnant": "yes"}),
    ("outcome", {"unwell": "yes"}),
    ("done", {}),
]


@dataclass
class Markup(HTMLParser):
    """A page's elements, and what is wrong with how they nest."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in {"p", "a", "button", "label", "form"} and tag in self.stack:
            self.problems.append(f"<{tag}> in <{tag}>")
        if (
            tag in {"h1", "h2", "ul", "ol", "div", "p", "form", "fieldset", "dl", "table"}
            and "p" in self.stack
        ):
            self.problems.append(f"<{tag}> in <p>")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack[-1] != tag:
            self.problems.append(f"</{tag}> closes <{self.stack[-1] if self.stack else ''}>")
        else:
            self.stack.pop()

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def check(page: Page) -> None:
    """Assert that a page is sound."""
    markup = Markup()
    markup.feed(page.reply.body.decode())
    where = page.reply.url
    assert markup.problems == [], where
    ids = [attributes["id"] for _, attributes in markup.elements if "id" in attributes]
    assert sorted(ids) == sorted(set(ids)), where
    labelled = {attributes["for"] for attributes in markup.all("label")}
    controls = [
        attributes
        for attributes in markup.all("input", "textarea", "select")
        if attributes.get("type") not in {"hidden", "submit"}
    ]
    assert [each for each in controls if each.get("id") not in labelled and "aria-label" not in each] == [], (
        where
    )
    assert labelled <= set(ids), where
    for attribute in ("aria-describedby", "aria-labelledby"):
        named = {name for _, each in markup.elements for name in each.get(attribute, "").split()}
        assert named <= set(ids), where
        assert not [each for _, each in markup.elements if each.get(attribute) == ""], where
    assert len(markup.all("h1")) == 1, where
    assert len(markup.all("main")) == 1, where
    assert page.title.endswith("Harbour Skin"), where
    assert page.heading in page.title, where
    main = markup.all("main")[0]
    assert (main["lang"], main["dir"]) == ("en", "ltr")
    inline = [
        each for _, each in markup.elements if "style" in each or any(key.startswith("on") for key in each)
    ]
    assert inline == [], where
    assert markup.all("style") == [], where
    assert all("src" in each for each in markup.all("script")), where
    assert not [each for each in controls if "required" in each], where
    assert all("novalidate" in each for each in markup.all("form")), where
    classes = " ".join(each.get("class", "") for _, each in markup.elements)
    late = [group for group in classes.split("intake-group") if re.search("intake-error.*intake-hint", group)]
    assert late == [], where
    anchors = [each["href"][1:] for each in markup.all("a") if each.get("href", "").startswith("#")]
    assert set(anchors) <= set(ids), where
    levels = [int(tag[1]) for tag, _ in markup.elements if re.fullmatch(r"h[1-6]", tag)]
    assert set(levels) <= {1, 2}, where
    for word in ("safe", "please", "invalid", "oops"):
        assert not re.search(rf"\b{word}\b", page.text, re.IGNORECASE), (where, word)


def visit_all(visitor: Visitor, answers: Mapping[str, Any], *, start: str = HOME) -> list[Page]:
    """Return every page of the way, each with and without mistakes."""
    page, pages = visitor.get(start), []
    while page.name != "done":
        pages.append(page)
        empty = [(name, value) for name, value in page.form.filled({}) if name in {"shown", "from"}]
        if page.name in {"question", "slots"}:
            pages.append(visitor._read(visitor.send("POST", page.reply.url, empty)))
        page = visitor.submit(page, answers)
        assert page.reply.status == 200, page.text
    pages.append(page)
    return pages


@pytest.mark.parametrize("answers", [UNREMARKABLE, FULL], ids=["unremarkable", "full"])
def test_every_page_of_the_way_is_sound(site: Site, answers: dict[str, Any]) -> None:
    visitor = site.visitor()
    pages = visit_all(visitor, {**WREN, **answers})
    assert len({page.reply.url for page in pages}) > len(pages) / 2
    assert sum(page.title.startswith("Error: ") for page in pages) >= 10
    for page in pages:
        check(page)
        assert "020 7946 0011" in page.text
        assert "desk@harbour.example" in page.text


@pytest.mark.parametrize(
    "path", ["manage", "save", "leave", "nowhere/at-all", "questions/none", "times?from=x"]
)
def test_the_pages_beside_the_way_are_sound(site: Site, path: str) -> None:
    visitor, _ = site.to("slots")
    page = visitor.get(HOME + path)
    if page.name:
        check(page)
    if path == "save":
        check(visitor.submit(page))


def test_the_clinics_pages_are_sound(site: Site) -> None:
    for page, answers in CASES:
        site.to(page, answers)
    site.staff = CLINICIAN
    desk = site.visitor()
    queue = desk.get(DESK)
    check(queue)
    cases = [address for _, address in queue.links if "/cases/" in address]
    assert len(cases) == len(CASES)
    for address in cases:
        check(desk.get(address))


def test_the_pages_about_calendars_are_sound(site: Site) -> None:
    visitor, _ = site.to("done")
    for method, path, fields in (
        ("GET", "calendar", []),
        ("POST", "calendar/link", []),
        ("GET", "calendar", []),
        ("POST", "calendar/choices", [("shown", "everything")]),
    ):
        check(visitor._read(visitor.send(method, HOME + path, fields)))
    site.staff = CLINICIAN
    desk = site.visitor()
    feeds = desk.get(f"{DESK}feeds")
    check(feeds)
    check(desk.submit(feeds))
    check(desk.submit(feeds, {"label": "Reception"}))
    check(desk.get(f"{DESK}feeds"))


@pytest.mark.parametrize("state", ["pregnant", "unwell", "unsure"])
def test_outcomes_are_sound(site: Site, state: str) -> None:
    answers = {"pregnant": {"pregnant": "yes"}, "unwell": {"unwell": "yes"}, "unsure": {"pregnant": "unsure"}}
    check(site.to("outcome", answers[state])[1])


def test_a_single_question_is_the_pages_heading_and_a_mistake_leads_to_it(site: Site) -> None:
    visitor, page = site.to("question")
    while "questions/" not in page.reply.url or len(set(page.form.names)) > 1:
        page = visitor.submit(page, WREN)
    html = page.reply.body.decode()
    assert f"<legend><h1>{page.heading}</h1></legend>" in html
    (name,) = page.form.names
    mistaken = visitor._read(visitor.send("POST", page.reply.url, []))
    assert mistaken.reply.status == 422
    assert f'<a href="#{name}">' in mistaken.reply.body.decode()
    assert f'<input id="{name}" name="{name}"' in mistaken.reply.body.decode()


def test_what_was_typed_survives_a_mistake(site: Site) -> None:
    visitor, page = site.to("question")
    typed = {
        "name": "Wren <b>Okafor</b>",
        "birth_date-day": "31",
        "birth_date-month": "Febuary",
        "birth_date-year": "91",
    }
    again = visitor.submit(page, typed)
    assert again.reply.status == 422
    assert dict(again.form.filled({})) == {"email": "", "telephone": "", **typed}
    assert "<b>Okafor" not in again.reply.body.decode()


def test_the_first_page_fits_into_the_first_window(site: Site) -> None:
    page = site.get(HOME).data
    styles = (Path(intake_plugin.__file__).parent / "static" / "intake.css").read_bytes()
    assert len(gzip.compress(page)) + len(gzip.compress(styles)) <= FIRST_WINDOW


def test_no_page_asks_the_database_more_than_four_times(site: Site) -> None:
    visitor = site.visitor()
    pages = visit_all(visitor, WREN)
    counted = 0
    for path in (
        "manage",
        "save",
        "leave",
        "outcome",
        "consent",
        "consent/treatment",
        "notes",
        "done",
        "calendar",
        "",
    ):
        with site.counting() as statements:
            assert visitor.get(HOME + path).reply.status == 200
        assert len(statements) <= QUERIES_AT_MOST, (path, statements)
    visitor = site.visitor()
    page = visitor.get(HOME)
    somebody = {**WREN, "email": "somebody.else@example.com", "arrive": "2026-03-05T10:00:00+00:00"}
    while page.name != "done":
        with site.counting() as statements:
            visitor.get(page.reply.url)
        assert len(statements) <= QUERIES_AT_MOST, (page.reply.url, statements)
        counted += 1
        page = visitor.submit(page, somebody)
    assert counted > len(pages) / 3
