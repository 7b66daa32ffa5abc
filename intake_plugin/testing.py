"""What a host's own tests need: a key ring, a small clinic, and a patient who fills in the pages.

A `Visitor` reads pages as a browser without JavaScript does: it follows links, fills the controls
of a form by their names and presses its button. It knows nothing of the plugin's inside, only the
contract of its pages: `<main data-intake-page="...">`, and controls named by the question's id.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from intake_plugin.loading import load_clinic
from intake_plugin.settings import Approval, Clinic

if TYPE_CHECKING:
    from flask.testing import FlaskClient

Fields = Sequence[tuple[str, str]]
Given = Mapping[str, str | Sequence[str] | dt.date]
"""Answers by question id: a text or choice, several choices, or a date."""

ENDS = frozenset({"done", "outcome"})
_STEPS_AT_MOST = 80


def keys(name: str = "test") -> str:
    """Return a key ring with one key made from `name`. For tests only: anybody can make the same."""
    secret = hashlib.sha256(f"intake_plugin.testing {name}".encode()).digest()
    return f"{name}:{base64.b64encode(secret).decode()}"


PROFILE: Mapping[str, Any] = {
    "id": "test-clinic",
    "name": "Test Clinic",
    "zone": "Europe/London",
    "languages": ["en"],
    "base_template": "base.html",
    "retention": "P8Y",
    "contact": {
        "telephone": "020 7946 0000",
        "email": "clinic@example.com",
        "address": "1 Test Street",
        "emergency": "999",
    },
    "hours": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "09:00-17:30"),
    "booking": {
        "notice": "PT24H",
        "horizon": "P3M",
        "grid": "PT15M",
        "drift": "P3D",
        "hold": "PT20M",
        "hold_most": "PT4H",
        "move_notice": "PT48H",
        "cancel_notice": "PT48H",
        "block_most": "P12M",
    },
    "calendar": {
        "prepare": "PT2H",
        "ahead": "P1D",
        "entry": "PT15M",
        "keep_cancelled": "P30D",
        "care_at": "09:00",
        "refresh": "PT6H",
        "max_age": "PT15M",
    },
    "resources": [
        {"id": "nurse", "kind": "practitioner", "name": "Nurse"},
        {"id": "room", "kind": "room", "name": "Room"},
    ],
    "treatments": [{"protocol": "microneedling", "numbing": {"stock": ["LMX4"]}}],
}
"""A small clinic's profile, as its TOML file would read."""


def clinic(**changes: Any) -> Clinic:
    """Return the clinic of `PROFILE` with `changes` to its topmost keys, for a blueprint in a test."""
    return load_clinic({**PROFILE, **changes})


def approve(clinic: Clinic, *, by: str = "Test clinician", on: dt.date = dt.date(2026, 1, 1)) -> Clinic:
    """Return the clinic with every treatment approved as it stands, so that no page carries the notice."""
    treatments = {
        protocol_id: replace(
            treatment,
            approval=Approval(
                by=by,
                role="Medical director",
                on=on,
                version=treatment.protocol.version,
                fingerprint=treatment.fingerprint,
            ),
        )
        for protocol_id, treatment in clinic.treatments.items()
    }
    return replace(clinic, treatments=treatments)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; `url` is the address after every redirect."""

    status: int
    url: str
    type: str
    body: bytes


Send = Callable[[str, str, Fields], Reply]
"""`send(method, url, fields)`; follows redirects and keeps cookies."""


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a form; `kind` is the `type` of an input, or the element's name."""

    name: str
    kind: str
    value: str
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it stands on a page."""

    action: str
    method: str
    controls: tuple[Control, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The controls' names in order, each once."""
        return tuple(dict.fromkeys(control.name for control in self.controls if control.name))

    def filled(self, given: Given, *, press: str | None = None) -> list[tuple[str, str]]:
        """Return the fields a browser would send after somebody answered with `given`.

        A choice that `given` does not name is answered "no", else "none", else with the first
        option. `press` is the value or name of the button; the first by default. Raises
        ValueError when `given` names a choice that is not on the page.
        """
        fields: list[tuple[str, str]] = []
        for name in self.names:
            group = [control for control in self.controls if control.name == name]
            fields += [(name, value) for value in _values(name, group, given)]
        return fields + _pressed(self.controls, press)


def _values(name: str, group: Sequence[Control], given: Given) -> list[str]:
    kind = group[0].kind
    if kind in {"submit", "button", "image", "reset", "file"}:
        return []
    if kind == "hidden":
        return [control.value for control in group]
    if kind in {"radio", "checkbox", "option"}:
        return _chosen(name, group, given)
    typed = _typed(name, given)
    return [group[0].value if typed is None else typed]


def _chosen(name: str, group: Sequence[Control], given: Given) -> list[str]:
    values = [control.value for control in group]
    wanted = given.get(name)
    if wanted is None:
        standing = [control.value for control in group if control.checked]
        usual: list[str] = [value for value in ("no", "none") if value in values] or values
        if group[0].kind == "checkbox":
            return standing or [value for value in usual[:1] if value == "none"]
        return standing or usual[:1]
    chosen = [str(wanted)] if isinstance(wanted, str | dt.date) else list(wanted)
    if unknown := set(chosen) - set(values):
        raise ValueError(f"{name} offers {', '.join(values)}, not {', '.join(sorted(unknown))}.")
    return chosen


def _typed(name: str, given: Given) -> str | None:
    if name in given:
        return str(given[name])
    stem, _, part = name.rpartition("-")
    date = given.get(stem)
    if isinstance(date, dt.date) and part in {"day", "month", "year"}:
        return str(getattr(date, part))
    return None


def _pressed(controls: Sequence[Control], press: str | None) -> list[tuple[str, str]]:
    buttons = [control for control in controls if control.kind == "submit"]
    if press is not None:
        buttons = [button for button in buttons if press in {button.name, button.value}]
        if not buttons:
            raise ValueError(f"The form has no button {press!r}.")
    return [(button.name, button.value) for button in buttons[:1] if button.name]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as read: `name` is its `data-intake-page`, empty on a page that is not the plugin's."""

    reply: Reply
    name: str
    title: str
    heading: str
    text: str
    links: tuple[tuple[str, str], ...]
    """(type, address) of every link."""
    forms: tuple[Form, ...]

    @property
    def form(self) -> Form:
        """The form of the page's own step: the one that posts and has the most controls."""
        posting = [form for form in self.forms if form.method == "post"]
        if not posting:
            raise LookupError(f"The page {self.title!r} at {self.reply.url} has no form to fill in.")
        return max(posting, key=lambda form: len(form.controls))

    @property
    def calendars(self) -> tuple[str, ...]:
        """Addresses of the calendar files on the page."""
        return tuple(address for type_, address in self.links if type_ == "text/calendar")


@dataclass
class Visitor:
    """A patient with a browser that runs no scripts."""

    send: Send
    visited: list[str] = field(default_factory=list)
    """Names of the plugin's pages seen, in order."""

    @classmethod
    def of(cls, client: FlaskClient) -> Visitor:
        """Return a visitor who asks Flask's test client."""

        def send(method: str, url: str, fields: Fields) -> Reply:
            data: dict[str, list[str]] = {}
            for name, value in fields:
                data.setdefault(name, []).append(value)
            response = client.open(url, method=method, data=data or None, follow_redirects=True)
            return Reply(response.status_code, response.request.url, response.mimetype or "", response.data)

        return cls(send)

    @classmethod
    def over_http(cls) -> Visitor:
        """Return a visitor who asks real servers over HTTP, with a cookie jar of their own."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

        def send(method: str, url: str, fields: Fields) -> Reply:
            if urlsplit(url).scheme not in {"http", "https"}:
                raise ValueError(f"{url} is not an address of the web.")
            body = urlencode(fields).encode() if method == "POST" else None
            request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - checked above
            try:
                response = opener.open(request, timeout=30)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                type_ = response.headers.get_content_type()
                return Reply(response.status, response.url, type_, response.read())

        return cls(send)

    def get(self, url: str) -> Page:
        """Open an address and read the page there."""
        return self._read(self.send("GET", url, ()))

    def submit(self, page: Page, given: Given | None = None, *, press: str | None = None) -> Page:
        """Fill the page's form, press its button, and read the page that follows."""
        form = page.form
        fields = form.filled(given or {}, press=press)
        return self._read(self.send("POST", urljoin(page.reply.url, form.action), fields))

    def download(self, address: str, page: Page) -> bytes:
        """Return the file behind a link of the page."""
        return self.send("GET", urljoin(page.reply.url, address), ()).body

    def walk(self, page: Page, given: Given, *, until: frozenset[str] = ENDS) -> Page:
        """Go on from `page`, answering with `given`, until a page named in `until` or one without a form.

        Raises AssertionError, with what the page says, when a page refuses its answers.
        """
        for _ in range(_STEPS_AT_MOST):
            if page.name in until or not any(form.method == "post" for form in page.forms):
                return page
            page = self.submit(page, given)
            if page.reply.status != 200:
                raise AssertionError(f"{page.reply.status} at {page.reply.url}: {page.text}")
        raise AssertionError(f"After {_STEPS_AT_MOST} pages the way has no end: {self.visited}.")

    def book(self, start: str, given: Given) -> Page:
        """Go the whole way from the address `start`: past the outcome, if it lets the patient, to "done"."""
        page = self.walk(self.get(start), given)
        if page.name == "outcome" and "consent" not in self.visited:
            page = self.walk(self.submit(page, given), given, until=frozenset({"done"}))
        return page

    def _read(self, reply: Reply) -> Page:
        page = read_page(reply)
        if page.name:
            self.visited.append(page.name)
        return page


def read_page(reply: Reply) -> Page:
    """Read a reply as a page."""
    reader = _Reader()
    if reply.type == "text/html":
        reader.feed(reply.body.decode("utf-8"))
        reader.close()
    return Page(
        reply=reply,
        name=reader.name,
        title=_spaced(reader.words["title"]),
        heading=_spaced(reader.words["h1"]),
        text=_spaced(reader.words["main"]),
        links=tuple(reader.links),
        forms=tuple(Form(action, method, tuple(controls)) for action, method, controls in reader.forms),
    )


def _spaced(words: Sequence[str]) -> str:
    return " ".join("".join(words).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.name = ""
        self.words: dict[str, list[str]] = {"title": [], "h1": [], "main": []}
        self.links: list[tuple[str, str]] = []
        self.forms: list[tuple[str, str, list[Control]]] = []
        self._open: list[str] = []
        self._in_form = False
        self._select = ""
        self._area: tuple[str, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag in self.words:
            self._open.append(tag)
        if "data-intake-page" in found:
            self.name = found["data-intake-page"]
        if tag == "a" and "href" in found:
            self.links.append((found.get("type", ""), found["href"]))
        if tag == "form":
            self._in_form = True
            self.forms.append((found.get("action", ""), found.get("method", "get").lower(), []))
        elif self._in_form and "disabled" not in found:
            self._control(tag, found)

    def _control(self, tag: str, found: Mapping[str, str]) -> None:
        name, value = found.get("name", ""), found.get("value", "")
        if tag == "input":
            kind = found.get("type", "text").lower()
            value = found.get("value", "on") if kind in {"checkbox", "radio"} else value
            self._add(Control(name, kind, value, "checked" in found))
        elif tag == "button":
            self._add(Control(name, found.get("type", "submit").lower(), value))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            self._add(Control(self._select, "option", value, "selected" in found))
        elif tag == "textarea":
            self._area = (name, [])

    def _add(self, control: Control) -> None:
        self.forms[-1][2].append(control)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)
        if tag == "form":
            self._in_form = False
        elif tag == "select":
            self._select = ""
        elif tag == "textarea" and self._area is not None:
            name, words = self._area
            self._add(Control(name, "textarea", "".join(words).removeprefix("\n")))
            self._area = None

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.words[place].append(data + " ")
        if self._area is not None:
            self._area[1].append(data)
