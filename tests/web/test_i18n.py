"""A language is only data: with a catalogue and a language file, no English is left on a patient's page."""

from __future__ import annotations

import datetime as dt
import io
import re
import string
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask
from flask_babel import Babel

import intake_plugin
from intake_plugin.clinical.answers import PartialDate
from intake_plugin.clinical.protocol import Texts, Wait
from intake_plugin.settings import Clinic
from intake_plugin.testing import Page
from intake_plugin.web import i18n
from tests.web.conftest import HOME, LAYOUT, WREN, MakeSite
from tests.web.test_pages import visit_all

PACKAGE = Path(intake_plugin.__file__).parent
POT = PACKAGE / "translations" / "intake.pot"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "noted": None, "say": None, "nsay": (1, 2)}
WIDE = str.maketrans({letter: chr(ord(letter) + 0xFEE0) for letter in string.ascii_letters})
"""ASCII letters to their full-width forms, as a language that nobody can mistake for English."""
PLACES = re.compile(r"%\(\w+\)[sd]|\{[^{}]*\}")
LANGUAGE = "ja"


def translated(text: str) -> str:
    """Return `text` in the made-up language, with the places to be filled in as they are."""
    done, last = [], 0
    for place in PLACES.finditer(text):
        done += [text[last : place.start()].translate(WIDE), place[0]]
        last = place.end()
    return "".join([*done, text[last:].translate(WIDE)])


def in_the_made_up_language(words: Any) -> Any:
    """Translate every text of a protocol's words."""
    if isinstance(words, str):
        return translated(words)
    if is_dataclass(words) and not isinstance(words, type):
        parts = {field.name: in_the_made_up_language(getattr(words, field.name)) for field in fields(words)}
        return replace(cast("Any", words), **parts)
    return {key: in_the_made_up_language(value) for key, value in words.items()}


def messages() -> dict[str, tuple[str, ...]]:
    """Return the messages of the list by their singular, each with its plural if it has one."""
    with POT.open("rb") as file:
        listed = [message.id for message in read_po(file) if message.id]
    forms = [(found,) if isinstance(found, str) else tuple(found) for found in listed]
    return {found[0]: found for found in forms}


def compiled(entries: dict[str, tuple[str, ...]]) -> bytes:
    catalogue = Catalog(locale=LANGUAGE)
    for singular, forms in entries.items():
        if len(forms) == 1:
            catalogue.add(singular, translated(singular))
        else:
            catalogue.add(forms, (translated(forms[-1]),))
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


@pytest.fixture
def abroad(clinic: Clinic) -> Clinic:
    """The clinic with a second language."""
    treatment = clinic.treatments["microneedling"]
    protocol = treatment.protocol
    words: Texts = in_the_made_up_language(protocol.words("en"))
    bilingual = replace(protocol, texts={**protocol.texts, LANGUAGE: words})
    return replace(
        clinic,
        languages=("en", LANGUAGE),
        treatments={"microneedling": replace(treatment, protocol=bilingual)},
        base_template="bare.html",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "translations" / LANGUAGE / "LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "intake.mo").write_bytes(compiled(messages()))
    return tmp_path


BARE = LAYOUT.replace("Harbour", "")


class _Words(HTMLParser):
    """Everything a person reads or hears: text and the attributes that are read aloud."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for name, value in attrs if name in {"aria-label", "title", "alt", "placeholder"}
        ]

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def english(page: Page) -> list[str]:
    """Return the ASCII words of a page that are no one's name, address or number."""
    reader = _Words()
    reader.feed(page.reply.body.decode())
    text = " ".join(reader.found)
    for known in (
        "Harbour Skin",
        "2 Quay Street, London",
        "desk@harbour.example",
        "privacy@harbour.example",
        "Wren Okafor",
        "wren.okafor@example.com",
        "English",
    ):
        text = text.replace(known, "")
    text = re.sub(r"\b[0-9A-Z]{3,4}-[0-9A-Z]{4}\b|http://\S+", "", text)
    return re.findall(r"[A-Za-z]{2,}", text)


@pytest.mark.parametrize("babel", [True, False], ids=["flask-babel", "without"])
def test_no_english_is_left_on_the_patients_pages(
    make_site: MakeSite, abroad: Clinic, folder: Path, monkeypatch: pytest.MonkeyPatch, babel: bool
) -> None:
    def prepare(app: Flask) -> None:
        app.root_path = str(folder)
        if babel:
            Babel(app, default_translation_directories=str(folder / "translations"))
        else:
            monkeypatch.delitem(sys.modules, "flask_babel")

    site = make_site(abroad, prepare=prepare, templates={"bare.html": BARE})
    answers = {**WREN, "locale": LANGUAGE, "medicines": ["supplements", "painkiller"]}
    visitor = site.visitor()
    pages = visit_all(visitor, answers, start=f"{HOME}?lang={LANGUAGE}")
    pages += [
        visitor.get(HOME + path)
        for path in ("manage", "save", "leave", "language", "consent/nothing", "check")
    ]
    pages.append(visitor.submit(visitor.get(f"{HOME}save")))
    for unlucky in ({"pregnant": "yes"}, {"unwell": "yes"}, {"pregnant": "unsure"}, {"skin_marks": "tattoo"}):
        other = site.visitor()
        pages.append(
            other.walk(
                other.get(f"{HOME}?lang={LANGUAGE}"),
                {**WREN, "locale": LANGUAGE, **unlucky},
                until=frozenset({"outcome"}),
            )
        )
    assert {
        "start",
        "question",
        "check",
        "outcome",
        "consent",
        "notes",
        "slots",
        "series",
        "done",
        "manage",
        "link",
        "problem",
    } <= {page.name for page in pages}
    for page in pages:
        assert english(page) == [], page.reply.url
        assert f'lang="{LANGUAGE}"' in page.reply.body.decode()
    calendar = visitor.download(f"{HOME}calendar/appointments.ics", pages[0])
    assert translated("Appointment").encode() in calendar.replace(b"\r\n ", b"")


def test_english_would_be_seen(make_site: MakeSite, abroad: Clinic, tmp_path: Path) -> None:
    def without_a_catalogue(app: Flask) -> None:
        app.root_path = str(tmp_path)

    site = make_site(abroad, prepare=without_a_catalogue, templates={"bare.html": BARE})
    assert "Start" in english(site.visitor().get(f"{HOME}?lang={LANGUAGE}"))


def test_a_patient_can_change_the_language_on_the_way(
    make_site: MakeSite, abroad: Clinic, folder: Path
) -> None:
    site = make_site(
        abroad, prepare=lambda app: setattr(app, "root_path", str(folder)), templates={"bare.html": BARE}
    )
    visitor, page = site.to("check", {"locale": "en"})
    assert page.heading == "Check your answers"
    visitor.submit(visitor.get(f"{HOME}language"), {"locale": LANGUAGE})
    assert visitor.get(f"{HOME}check").heading == translated("Check your answers")


def test_the_browser_is_asked_for_its_language(make_site: MakeSite, abroad: Clinic) -> None:
    site = make_site(abroad, templates={"bare.html": BARE})
    for asked, lang in (("ja,en;q=0.5", "ja"), ("en-GB", "en"), ("fr", "en"), ("", "en")):
        assert f'lang="{lang}"' in site.get(HOME, headers={"Accept-Language": asked}).text


def test_the_list_of_messages_is_the_pages_own() -> None:
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
    found = {
        message[0] if isinstance(message, tuple) else message
        for _, _, message, _, _ in extract_from_dir(PACKAGE, methods, keywords=KEYWORDS)
    }
    assert found == set(messages()), "docs/theming.md has the command that writes intake.pot anew."


@pytest.fixture
def german() -> Iterator[None]:
    with Flask(__name__).app_context(), i18n.speaking("de"):
        yield


def test_dates_are_written_as_the_language_does(german: None) -> None:
    day = dt.date(2026, 3, 3)
    assert i18n.format_date(day) == "3. März 2026"
    assert i18n.format_day(day) == "Dienstag, 3. März 2026"
    assert i18n.format_partial(PartialDate(2026, 3)) == "März 2026"
    assert i18n.format_time(dt.time(13, 5)) == "13:05"
    assert i18n.months()[2] == "März"


def test_without_babel_dates_are_plain(german: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(i18n, "_babel_locale", lambda locale: None)
    assert i18n.format_day(dt.date(2026, 3, 3)) == "Tuesday 3 March 2026"
    assert i18n.format_time(dt.time(13, 5)) == "13:05"
    assert i18n.language_name("de") == "de"


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (Wait(days=28), "4 weeks"),
        (Wait(days=7), "1 week"),
        (Wait(days=5), "5 days"),
        (Wait(days=1), "1 day"),
        (Wait(months=6), "6 months"),
        (Wait(months=1, days=14), "1 month 2 weeks"),
        (Wait(), "0 days"),
    ],
)
def test_waits_in_words(wait: Wait, words: str) -> None:
    assert i18n.format_wait(wait) == words


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (dt.timedelta(minutes=30), "30 minutes"),
        (dt.timedelta(minutes=1), "1 minute"),
        (dt.timedelta(minutes=90), "1 hour 30 minutes"),
        (dt.timedelta(hours=24), "24 hours"),
        (dt.timedelta(days=7), "7 days"),
        (dt.timedelta(0), "0 minutes"),
    ],
)
def test_durations_in_words(duration: dt.timedelta, words: str) -> None:
    assert i18n.format_duration(duration) == words


def test_languages_written_from_right_to_left_say_so() -> None:
    assert [i18n.direction(locale) for locale in ("ar", "he_IL", "en", "pt_BR")] == [
        "rtl",
        "rtl",
        "ltr",
        "ltr",
    ]
