"""What others can read of a calendar, on a lock screen or at work, tells nothing of the treatment."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import icalendar
import pytest
import sqlalchemy as sa
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from flask import Flask
from flask_babel import Babel

import intake_plugin
from intake_plugin.calendars import (
    Message,
    Party,
    clinic_import,
    mail_cancel,
    mail_invite,
    mail_series,
    patient_series,
    patient_session,
)
from intake_plugin.clinical import answers
from intake_plugin.journeys import booking, feeds, intake
from intake_plugin.journeys.feeds import Choices
from intake_plugin.journeys.visits import PatientVisits, clinic_visit, style_of
from intake_plugin.records.tables import AT_HOME, Appointment, AppointmentState, Case
from intake_plugin.settings import Clinic
from intake_plugin.web import calendar_words
from intake_plugin.web.i18n import speaking
from intake_plugin.web.visit import current_office
from tests.web.conftest import NOW, WREN, MakeSite, Site

PSEUDO = "qps"
LANGUAGES = sorted(
    {
        "en",
        PSEUDO,
        *(path.parts[-3] for path in Path(intake_plugin.__path__[0]).glob("translations/*/*/*.mo")),
    }
)
STEMS = (
    "needl", "peel", "numb", "cream", "lidoca", "priloca", "anaesth", "anesth", "skin", "derm", "acne",
    "scar", "line", "wrinkle", "collagen", "filler", "botul", "treat", "clinic", "medic", "session",
    "health", "consent", "blood", "care",
)  # fmt: skip
"""What would tell a stranger what the appointment is for, as the English words have it."""


def accented(text: str) -> str:
    """Write a message so that it shows it was translated and can still be read back."""
    marked, inside = [], False
    for char in text:
        inside = (inside or char == "{") and char != "}"
        marked.append(char if inside or not char.isalpha() else f"{char}\u0301")
    return "⟦" + "".join(marked) + "⟧"


def plain(text: str) -> str:
    letters = unicodedata.normalize("NFD", text)
    return "".join(char for char in letters if not unicodedata.combining(char)).casefold()


def compiled(catalogue: Catalog, folder: Path) -> Path:
    """Put a catalogue where a host has its translations, and return that folder."""
    place = folder / "translations" / str(catalogue.locale_identifier) / "LC_MESSAGES"
    place.mkdir(parents=True)
    octets = BytesIO()
    write_mo(octets, catalogue)
    (place / "intake.mo").write_bytes(octets.getvalue())
    return folder / "translations"


@pytest.fixture
def pseudo(tmp_path: Path) -> Path:
    """A folder with a catalogue in which every word of the calendar is accented."""
    catalogue = Catalog(PSEUDO)
    for _, message, _, _ in extract_from_file("python", calendar_words.__file__, keywords={"_": None}):
        assert isinstance(message, str)
        catalogue.add(message, accented(message))
    return compiled(catalogue, tmp_path)


def test_a_language_may_write_a_clock_of_twelve_hours(make_site: MakeSite, tmp_path: Path) -> None:
    catalogue = Catalog("en")
    catalogue.add("{hour:02}:{minute:02}", "{hour12}:{minute:02} {half}")
    catalogue.add("pm", "in the afternoon")
    folder = compiled(catalogue, tmp_path)
    site = make_site(prepare=lambda app: Babel(app, default_translation_directories=str(folder)))
    patient, _ = site.to("done")
    with site.app.app_context():
        row = site.db.session.scalars(sa.select(Appointment).where(Appointment.ordinal == 1)).one()
        for name, hour in (("arrive_at", 9), ("treatment_at", 13), ("end_at", 14)):
            setattr(row, name, NOW.replace(hour=hour, minute=5))
        site.db.session.commit()
    reply = patient.send("GET", "/book/calendar/appointment-1.ics", [])
    told = reply.body.replace(b"\r\n ", b"").decode()
    assert "Arrive at 9:05 am." in told
    assert "The treatment starts at 1:05 in the afternoon." in told


def in_all_languages(clinic: Clinic) -> Clinic:
    treatments = {
        key: replace(
            each,
            protocol=replace(
                each.protocol,
                texts={
                    locale: each.protocol.texts.get(locale, each.protocol.texts["en"]) for locale in LANGUAGES
                },
            ),
        )
        for key, each in clinic.treatments.items()
    }
    return replace(clinic, languages=tuple(LANGUAGES), treatments=treatments)


@pytest.fixture
def booked(make_site: MakeSite, clinic: Clinic, pseudo: Path) -> Site:
    """Somebody with everything in their calendar: numbing at home, care, details, a cancelled session."""

    def prepare(app: Flask) -> None:
        Babel(app, default_translation_directories=str(pseudo))

    site = make_site(in_all_languages(clinic), prepare=prepare)
    site.to("done")
    with site.app.test_request_context("/book/"):
        office = current_office()
        case = office.session.scalars(sa.select(Case)).one()
        for appointment in booking.appointments_of(office, case):
            appointment.cream_where = AT_HOME
            appointment.cream_on_at = appointment.arrive_at - dt.timedelta(minutes=30)
            if appointment.ordinal == 3:
                appointment.state = AppointmentState.CANCELLED
            if appointment.ordinal == 4:
                appointment.cream_where = "clinic"
        office.session.commit()
        feeds.choose(office, case, Choices(care=True, details=True))
    return site


def outputs(site: Site, locale: str) -> Iterator[tuple[str, bytes]]:
    """Yield every kind of output in a language."""
    now: dict[str, Any] = {"now": NOW, "keep_cancelled": dt.timedelta(days=30)}
    with site.app.test_request_context("/book/"), speaking(locale):
        office = current_office()
        case = office.session.scalars(sa.select(Case)).one()
        case.locale = locale
        words = calendar_words.calendar_words()
        style = style_of(office, words)
        view = PatientVisits.of(office, case, "https://clinic.example/manage")
        appointments = booking.appointments_of(office, case)
        mine = [view.visit(each) for each in appointments]
        theirs = [
            clinic_visit(office, each, case.reference, case.protocol_id, link=str, locale=locale)
            for each in appointments
        ]
        message = Message(
            stamp=NOW, organizer=Party(email="desk@x.example"), attendee=Party(email="pat@x.example")
        )
        yield "patient series", patient_series(mine, style, **now)
        yield "patient session", patient_session(mine[0], style)
        yield "clinic import", clinic_import(theirs, style, **now)
        yield "mail series", mail_series(mine, style)
        yield "mail invite", mail_invite(mine[0], style, message)
        yield "mail cancel", mail_cancel(mine[2], style, message)
        for raw in (
            feeds.make_patient_feed(office, case),
            feeds.make_clinic_feed(office, site_staff(), locale=locale, label="test"),
        ):
            response = site.app.test_client().get(f"/book/cal/{raw}.ics")
            assert response.status_code == 200
            yield f"{'patient' if raw[0] == 'p' else 'clinic'} feed", response.data


def site_staff() -> Any:
    return intake_plugin.Staff(id="1", name="Jo", role="decide")


def seen(octets: bytes) -> Iterator[tuple[str, str]]:
    """Yield the texts of a calendar that show without opening an entry."""
    calendar = icalendar.Calendar.from_ical(octets)
    assert isinstance(calendar, icalendar.Calendar)
    for name in ("NAME", "X-WR-CALNAME"):
        if name in calendar:
            yield name, str(calendar[name])
    for event in calendar.events:
        yield "SUMMARY", str(event["SUMMARY"])
        yield "LOCATION", str(event.get("LOCATION", ""))
        for alarm in event.walk("VALARM"):
            yield "alarm", str(alarm["DESCRIPTION"])


@pytest.fixture
def forbidden(clinic: Clinic) -> Callable[[str], list[str]]:
    """Return what a text says that it must not: what the treatment is, and who the patient is."""
    told = {plain(stem) for stem in STEMS}
    for treatment in clinic.treatments.values():
        for texts in treatment.protocol.texts.values():
            told.add(plain(texts.title))
            told |= {plain(product.name) for product in texts.products.values()}
    told |= {plain(str(WREN[name])) for name in ("name", "email", "telephone")} | {"wren", "okafor"}

    def find(text: str) -> list[str]:
        return sorted(word for word in told if word in plain(text))

    return find


@pytest.mark.parametrize("locale", LANGUAGES)
def test_titles_places_and_alarms_are_neutral_in_every_output(
    locale: str, booked: Site, forbidden: Callable[[str], list[str]]
) -> None:
    found = dict(outputs(booked, locale))
    assert len(found) == 8
    for name, octets in found.items():
        texts = set(seen(octets))
        assert {kind for kind, _ in texts} >= {"SUMMARY", "LOCATION"}, name
        if name == "clinic feed":
            # The calendar is called by the clinic's own name, for its own staff; nothing else is.
            texts -= {(kind, "Harbour Skin") for kind in ("NAME", "X-WR-CALNAME")}
        assert [(name, kind, text) for kind, text in texts if forbidden(text)] == []
        if locale == PSEUDO:
            untranslated = {text for kind, text in texts if kind in {"SUMMARY", "alarm"} and "⟦" not in text}
            assert untranslated == set(), name


def test_the_list_would_find_what_descriptions_say(
    booked: Site, forbidden: Callable[[str], list[str]]
) -> None:
    found = dict(outputs(booked, PSEUDO))
    calendar = icalendar.Calendar.from_ical(found["patient feed"])
    told = {word for event in calendar.walk("VEVENT") for word in forbidden(str(event["DESCRIPTION"]))}
    assert {"cream", "numb", "microneedling"} <= told
    clinics = icalendar.Calendar.from_ical(found["clinic import"])
    assert {"lidoca"} <= {
        word for event in clinics.walk("VEVENT") for word in forbidden(str(event["DESCRIPTION"]))
    }


def test_what_was_said_because_of_an_answer_stays_on_the_pages(booked: Site) -> None:
    said = "prevent cold sores"
    with booked.app.test_request_context("/book/"):
        office = current_office()
        case = office.session.scalars(sa.select(Case)).one()
        given = {**intake.given_of(case), "skin_history": ("cold_sores",)}
        case.answers = {intake.GIVEN: answers.to_json(given)}
        office.session.commit()
        first = booking.appointments_of(office, case)[0]
        assert [entry for entry in booking.care_of(office, case, first) if said in entry.text]
    for name, octets in outputs(booked, "en"):
        unfolded = octets.replace(b"\r\n ", b"").decode()
        assert said not in unfolded, name
        assert ("fish oil" in unfolded) == (name.startswith("patient") or name == "mail series"), name
