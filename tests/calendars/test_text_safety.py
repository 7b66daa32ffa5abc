"""No text of a person or a clinic adds a line, passes 75 octets, or comes back changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ical.calendar_stream import IcsCalendarStream
from icalendar import Calendar

from intake_plugin.calendars import CareNote, EventCache, Place, Style, Visit, patient_session

MakeVisit = Callable[..., Visit]
Lint = Callable[..., list[str]]
Clean = Callable[[str], str]

TEXT = st.text(st.characters(exclude_categories=()), max_size=200) | st.text(
    st.sampled_from("\r\n\0\x0b\x1b\x1f\x85\u2028\u2029\\;,:\"'^n \té\u0301\u200d\u202e👩🏽\ud800BEGIN"),
    max_size=200,
)
HOSTILE = (
    "\r\nATTENDEE:mailto:a@example.org",
    "\nEND:VEVENT\nBEGIN:VEVENT\nUID:1",
    "\u2028BEGIN:VALARM\x85X:y",
    "\0" * 100 + "\x1b[31m",
    "x" * 10_000,
    "ä" * 10_000,
    "👩🏽\u200d⚕\ufe0f" * 2_000,
    "\u202eevil\u200f עברית",
    "\\" * 999 + "n",
    '"quoted"; DESCRIPTION=a,b:c',
    "\ufeffbyte order mark",
    "\ud83d half",
)


def write(text: str, visit: MakeVisit, style: Style) -> bytes:
    place = Place(name=text, address=text, telephone=text)
    styled = replace(style, place=place, display_name=text)
    one = visit(treatment=text, preparation=(text,), product=text, resources=(text,), case=text)
    note = CareNote(kind="note", start=one.arrive, end=one.end, description=text)
    return patient_session(replace(one, care=(note,)), styled, cache=EventCache(octets=1))


def check(text: str, visit: MakeVisit, style: Style, lint: Lint, clean: Clean) -> None:
    octets = write(text, visit, style)
    assert lint(octets) == []
    summary = clean(f"Appointment at {text}, 1 of 4" if text else "Appointment")
    location = clean("\n".join([text, text] if text else []))
    calendar = Calendar.from_ical(octets)
    assert isinstance(calendar, Calendar)
    session, _, note = calendar.events
    assert str(session["SUMMARY"]) == summary
    assert str(session.get("LOCATION", "")) == location
    assert str(session["DESCRIPTION"]).startswith(clean(f"{text}\n" if text else ""))
    assert str(note["DESCRIPTION"]).startswith(clean(f"{text}\n"))
    strict = IcsCalendarStream.calendar_from_ics(octets.decode()).events
    assert len(strict) == 3
    assert strict[0].summary == summary


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text(text: str, visit: MakeVisit, style: Style, lint: Lint, clean: Clean) -> None:
    check(text, visit, style, lint, clean)


@settings(deadline=None)
@given(text=TEXT)
def test_any_text(visit: MakeVisit, style: Style, lint: Lint, clean: Clean, text: str) -> None:
    check(text, visit, style, lint, clean)


@settings(deadline=None)
@given(url=TEXT)
def test_any_url(visit: MakeVisit, style: Style, lint: Lint, url: str) -> None:
    octets = patient_session(visit(url=f"https://clinic.example/{url}"), style, cache=EventCache(octets=1))
    assert lint(octets) == []
