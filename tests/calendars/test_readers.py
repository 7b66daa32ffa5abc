"""Every reader gives the instants that zoneinfo gives, on both sides of each clock change."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from typing import Any

import icalendar
import ics
import pytest
import recurring_ical_events
import vobject
from ical.calendar_stream import IcsCalendarStream

from intake_plugin.calendars import Style, Visit, clinic_import, patient_series, patient_session
from intake_plugin.calendars.events import entry_uid
from intake_plugin.calendars.outputs import CLINIC_FEED, PATIENT_FEED
from tests.calendars.conftest import ZONES, Outputs, around_clock_changes, write_feed

MakeVisit = Callable[..., Visit]
Instants = dict[str, tuple[Any, Any]]

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MONTH = dt.timedelta(days=30)


def by_icalendar(text: str) -> Instants:
    calendar = icalendar.Calendar.from_ical(text)
    assert isinstance(calendar, icalendar.Calendar)
    assert not [error for event in calendar.events for error in event.errors]
    return {str(event["UID"]): (event.start, event.end) for event in calendar.events}


def by_ical(text: str) -> Instants:
    calendar = IcsCalendarStream.calendar_from_ics(text)
    return {str(event.uid): (event.start_datetime, event.end_datetime) for event in calendar.events}


def by_vobject(text: str) -> Instants:
    with warnings.catch_warnings():
        # dateutil, which vobject reads times with, still calls datetime.utcfromtimestamp.
        warnings.filterwarnings("ignore", r"datetime\.datetime\.utc", DeprecationWarning)
        calendar = vobject.readOne(text)
        assert calendar.validate(raiseException=True)
        return {event.uid.value: (event.dtstart.value, event.dtend.value) for event in calendar.vevent_list}


def by_recurring_ical_events(text: str) -> Instants:
    calendar = icalendar.Calendar.from_ical(text)
    found = recurring_ical_events.of(calendar).between(dt.datetime(2025, 1, 1), dt.datetime(2032, 1, 1))  # noqa: DTZ001 - the library wants its range without a zone
    return {str(event["UID"]): (event["DTSTART"].dt, event["DTEND"].dt) for event in found}


def by_ics(text: str) -> Instants:
    return {event.uid: (event.begin.datetime, event.end.datetime) for event in ics.Calendar(text).events}


READERS = (by_icalendar, by_ical, by_vobject, by_recurring_ical_events, by_ics)


def instants(read: Callable[[str], Instants], octets: bytes) -> Instants:
    return {
        uid: (start.astimezone(dt.UTC), end.astimezone(dt.UTC))
        for uid, (start, end) in read(octets.decode()).items()
    }


@pytest.mark.parametrize("zone", ZONES)
def test_both_sides_of_each_clock_change(
    zone: str, visit: MakeVisit, style: Style, lint: Callable[..., list[str]]
) -> None:
    around = around_clock_changes(zone)
    visits = [visit(start.isoformat(), zone, ordinal) for ordinal, start in enumerate(around, start=1)]
    expected = {each.uid: (each.arrive, each.end) for each in visits}
    for octets, entries in (
        (patient_series(visits, style, now=NOW, keep_cancelled=MONTH), 2),
        (write_feed(visits, PATIENT_FEED, style), 2),
        (write_feed(visits, CLINIC_FEED, style), 1),
    ):
        # A feed names its zones before it has written an event, the one for the year after included.
        assert [
            each for each in lint(octets) if b"\r\nNAME:" not in octets or "is not used" not in each
        ] == []
        for read in READERS:
            found = instants(read, octets)
            assert {uid: found[uid] for uid in expected} == expected, read.__name__
            assert len(found) == entries * len(visits), read.__name__


@pytest.mark.parametrize("zone", ZONES)
def test_the_wall_clock_of_an_event_is_the_clinics(zone: str, visit: MakeVisit, style: Style) -> None:
    for day in ("2026-01-15", "2026-07-15"):
        octets = patient_session(visit(f"{day} 09:00", zone), style)
        assert b"Please arrive at 09:00." in octets.replace(b"\r\n ", b"")
        if b"TZID" in octets:
            assert f"DTSTART;TZID={zone}:{day.replace('-', '')}T090000\r\n".encode() in octets


def test_a_zone_that_rrule_cannot_carry_goes_out_in_utc(visit: MakeVisit, style: Style) -> None:
    octets = patient_session(visit("2026-07-15 09:00", "Africa/Cairo"), style)
    assert b"VTIMEZONE" not in octets
    assert b"DTSTART:20260715T060000Z\r\n" in octets


def test_a_time_that_stands_twice_on_the_clock_goes_out_in_utc(visit: MakeVisit, style: Style) -> None:
    for instant in ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"):
        octets = patient_session(visit(instant, "Europe/Berlin"), style)
        assert f"DTSTART:{instant[:19].replace('-', '').replace(':', '')}Z\r\n".encode() in octets


def test_two_zones_in_one_file_stand_in_the_order_of_their_names(visit: MakeVisit, style: Style) -> None:
    visits = [
        visit("2026-10-01 09:00", zone, ordinal)
        for ordinal, zone in enumerate(("Europe/London", "Africa/Cairo", "America/New_York"), start=1)
    ]
    octets = clinic_import(visits, style, now=NOW, keep_cancelled=MONTH)
    zones = [line for line in octets.split(b"\r\n") if line.startswith(b"TZID:")]
    assert zones == [b"TZID:America/New_York", b"TZID:Europe/London"]
    for read in READERS:
        assert instants(read, octets) == {each.uid: (each.arrive, each.end) for each in visits}


def test_every_reader_takes_every_output(outputs: Outputs) -> None:
    for name, (octets, told) in outputs.items():
        expected = {each.uid: (each.arrive, each.end) for each in told}
        expected |= {
            entry_uid(each.uid, note.kind): (note.start, note.end)
            for each in told
            for note in each.care
            if octets.count(b"BEGIN:VEVENT") > len(told)
        }
        for read in READERS:
            found = instants(read, octets)
            assert {uid: found.get(uid) for uid in expected} == expected, (name, read.__name__)
            assert len(found) == octets.count(b"BEGIN:VEVENT"), (name, read.__name__)
