"""No text of a person or a clinic adds a line, passes 75 octets, or comes back changed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ical.calendar_stream import IcsCalendarStream
from icalendar import Calendar

from intake_plugin.calendars import (
    CareNote,
    EventCache,
    Message,
    Party,
    Place,
    Style,
    Visit,
    clinic_import,
    mail_cancel,
    mail_invite,
    mail_series,
    patient_series,
    patient_session,
)
from intake_plugin.calendars.outputs import CLINIC_FEED, PATIENT_FEED
from tests.calendars.conftest import write_feed

MakeVisit = Callable[..., Visit]
Lint = Callable[..., list[str]]
Clean = Callable[[str], str]

TEXT = st.text(st.characters(exclude_categories=()), max_size=200) | st.text(
    st.sampled_from("\r\n\0\x0b\x1b\x1f\x85\u2028\u2029\\;,:\"'^n \té\u0301\u200d\u202e👩🏽\ud800BEGIN"),
    max_size=200,
)
NO_MARKS = str.maketrans("", "", "{}")
"""A translator's words have marks that are filled in; `Words.problems` tells of wrong ones."""
OTHER = "00000000-0000-4000-8000-00000000000f"
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


def hostile(text: str, visit: MakeVisit, style: Style) -> tuple[Visit, Style]:
    """A visit and a style in which every text that somebody can set is this one."""
    words = replace(style.words, prepare=text.translate(NO_MARKS), after=text.translate(NO_MARKS))
    place = Place(name=text, address=text, telephone=text)
    one = visit(treatment=text, preparation=(text,), product=text, resources=(text,), case=text)
    note = CareNote(kind="note", start=one.arrive, end=one.end, description=text, phase="after")
    return replace(one, care=(note,)), replace(style, words=words, place=place, display_name=text)


def outputs(text: str, visit: Visit, style: Style) -> Iterator[tuple[bytes, str | None]]:
    """Yield every kind of output, and its method."""
    kept: dict[str, Any] = {"now": visit.modified, "keep_cancelled": dt.timedelta(days=30)}
    cache = EventCache(octets=1)
    gone = replace(visit, cancelled=True)
    party = Party(email=f"{text}@example.org", name=text)
    message = Message(stamp=visit.modified, organizer=party, attendee=party)
    yield patient_series([visit, replace(gone, uid=OTHER)], style, **kept, cache=cache), None
    yield patient_session(visit, style, cache=cache), None
    yield clinic_import([visit], style, **kept, cache=cache), None
    yield write_feed([visit], PATIENT_FEED, style, name=text), None
    yield write_feed([visit], CLINIC_FEED, style, name=text), None
    yield mail_series([visit], style, cache=cache), None
    yield mail_invite(visit, style, message), "REQUEST"
    yield mail_cancel(gone, style, message), "CANCEL"


def named(feed: bytes) -> list[str]:
    """Return what a feed calls itself; icalendar leaves these two as they are written."""
    written = re.findall(r"\r\n(?:NAME|X-WR-CALNAME):([^\r]*)", feed.decode().replace("\r\n ", ""))
    return [re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], value) for value in written]


def check(text: str, visit: MakeVisit, style: Style, lint: Lint, clean: Clean) -> None:
    one, style = hostile(text, visit, style)
    for octets, method in outputs(text, one, style):
        assert lint(octets, method=method) == []
    octets = patient_session(one, style, cache=EventCache(octets=1))
    summary = clean(f"Appointment at {text}, 1 of 4" if text else "Appointment")
    location = clean("\n".join([text, text] if text else []))
    calendar = Calendar.from_ical(octets)
    assert isinstance(calendar, Calendar)
    session, numbing, note = calendar.events
    assert str(session["SUMMARY"]) == summary
    assert str(session.get("LOCATION", "")) == location
    assert str(session["DESCRIPTION"]).startswith(clean(f"{text}\n" if text else ""))
    assert str(note["DESCRIPTION"]).startswith(clean(f"{text}\n"))
    assert str(numbing["SUMMARY"]) == str(note["SUMMARY"]) == clean(text.translate(NO_MARKS))
    strict = IcsCalendarStream.calendar_from_ics(octets.decode()).events
    assert len(strict) == 3
    assert strict[0].summary == summary
    feed = write_feed([one], CLINIC_FEED, style, name=text)
    assert named(feed) == ([clean(text)] * 2 if text else [])
    clinics = Calendar.from_ical(feed)
    assert isinstance(clinics, Calendar)
    (session,) = clinics.events
    assert str(session["SUMMARY"]) == clean(f"Appointment {text}" if text else "Appointment")
    told = [clean(line) for line in (f"Case {text}", f"With {text}", f"Cream: {text}") if text]
    assert [line for line in told if line not in str(session["DESCRIPTION"])] == []


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
