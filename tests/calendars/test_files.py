"""Each output says what its row of the table allows, and a session lives one life in all of them."""

from __future__ import annotations

import datetime as dt
import re
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from icalendar import Calendar

from intake_plugin.calendars import (
    CareNote,
    EventCache,
    Party,
    Style,
    Visit,
    clinic_import,
    mail_cancel,
    mail_invite,
    mail_series,
    patient_series,
    patient_session,
)
from intake_plugin.calendars.cache import fingerprint
from intake_plugin.calendars.events import Written, entry_uid, write
from intake_plugin.calendars.files import opening
from intake_plugin.calendars.outputs import CLINIC_FEED, CLINIC_IMPORT, PATIENT_FEED, PATIENT_SERIES
from tests.calendars.conftest import MESSAGE, METHODS, Outputs, write_feed

MakeVisit = Callable[..., Visit]
Lint = Callable[..., list[str]]

NOW = dt.datetime(2026, 9, 2, tzinfo=dt.UTC)
MONTH = dt.timedelta(days=30)
MINUTE, DAY, AT_ONCE = dt.timedelta(minutes=1), dt.timedelta(days=1), dt.timedelta()
MUCH = 1_000_000
"""Octets for more events than any of these tests writes."""


def events(octets: bytes) -> list[Any]:
    """Return the events as icalendar reads them; it types each value as one of thirty kinds."""
    calendar = Calendar.from_ical(octets.decode())
    assert isinstance(calendar, Calendar)
    return calendar.events


def alarms(event: Any) -> list[dt.timedelta]:
    return [part["TRIGGER"].dt for part in event.subcomponents]


def cancelled(visit: Visit) -> Visit:
    return replace(visit, cancelled=True, sequence=visit.sequence + 1, version=visit.version + 1)


SESSION = """\
BEGIN:VEVENT
UID:00000000-0000-4000-8000-000000000002
DTSTAMP:20260901T120005Z
DTSTART;TZID=Europe/London:20261001T083000
DTEND;TZID=Europe/London:20261001T094500
SUMMARY:Appointment
DESCRIPTION:Put the cream on at 08:00.\\nPlease arrive at 08:30.\\nThe crea
 m comes off at 08:50.\\nThe treatment starts at 09:00.\\nCome with a clean f
 ace\\, without make-up.\\nNorth Clinic\\nQuestions? Call 0113 496 0000.\\nChan
 ge or cancel: https://clinic.example/north/book/manage
LOCATION:1 Mill Lane\\, Leeds
URL:https://clinic.example/north/book/manage
STATUS:CONFIRMED
SEQUENCE:0
CLASS:PRIVATE
TRANSP:OPAQUE
LAST-MODIFIED:20260901T120005Z
RELATED-TO;RELTYPE=SIBLING:00000000-0000-4000-8000-000000000001
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Prepare for your appointment
TRIGGER:-PT30M
END:VALARM
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Prepare for your appointment
TRIGGER:-P1D
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:{entry}
DTSTAMP:20260901T120005Z
DTSTART;TZID=Europe/London:20261001T080000
DTEND;TZID=Europe/London:20261001T081500
SUMMARY:Prepare for your appointment
DESCRIPTION:Put the cream on at 08:00.\\nThe cream comes off at 08:50.\\nChan
 ge or cancel: https://clinic.example/north/book/manage
URL:https://clinic.example/north/book/manage
STATUS:CONFIRMED
SEQUENCE:0
CLASS:PRIVATE
TRANSP:TRANSPARENT
LAST-MODIFIED:20260901T120005Z
RELATED-TO;RELTYPE=PARENT:00000000-0000-4000-8000-000000000002
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:Prepare for your appointment
TRIGGER:PT0S
END:VALARM
END:VEVENT
"""


def test_the_octets_of_a_session_and_its_numbing_entry(visit: MakeVisit, style: Style) -> None:
    one = visit(ordinal=2)
    expected = SESSION.format(entry=uuid.uuid5(uuid.UUID(one.uid), "numbing")).replace("\n", "\r\n")
    assert write(one, PATIENT_SERIES, style).octets.decode() == expected


def test_what_each_output_carries(outputs: Outputs, lint: Lint) -> None:
    marks = {
        "method": b"\r\nMETHOD:",
        "parties": b"\r\nORGANIZER",
        "alarms": b"\r\nBEGIN:VALARM",
        "private": b"\r\nCLASS:PRIVATE",
        "named": b"\r\nNAME:Clinic\\, north\r\nX-WR-CALNAME:Clinic\\, north\r\n"
        b"REFRESH-INTERVAL;VALUE=DURATION:PT6H\r\nX-PUBLISHED-TTL:PT6H\r\n",
        "tombstone": b"\r\nSTATUS:CANCELLED",
        "entries": b"RELTYPE=PARENT",
    }
    carried = {
        name: {mark for mark, found in marks.items() if found in octets}
        for name, (octets, _) in outputs.items()
    }
    assert carried == {
        "patient series": {"alarms", "private", "tombstone", "entries"},
        "patient session": {"alarms", "private", "entries"},
        "patient session, cancelled": {"private", "tombstone", "entries"},
        "clinic import": {"private", "tombstone"},
        "patient feed": {"alarms", "named", "tombstone", "entries"},
        "clinic feed": {"named", "tombstone"},
        "mail series": {"alarms", "private", "entries"},
        "mail invite": {"method", "parties", "alarms", "private"},
        "mail cancel": {"method", "parties", "private", "tombstone"},
    }
    for name, (octets, _) in outputs.items():
        assert lint(octets, method=METHODS.get(name)) == [], name


def test_a_calendar_has_no_uid_of_its_own_and_nothing_that_opens_another(
    series: tuple[Visit, ...], style: Style
) -> None:
    octets = patient_series(series, style, now=NOW, keep_cancelled=MONTH)
    head = octets[: octets.index(b"BEGIN:VTIMEZONE")]
    assert head == (
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//intake_plugin//Appointments 1//EN\r\n"
        b"CALSCALE:GREGORIAN\r\n"
    )


def test_an_invitation_names_its_parties_and_the_time_of_the_message(visit: MakeVisit, style: Style) -> None:
    (event,) = events(mail_invite(visit(), style, MESSAGE))
    assert event["DTSTAMP"].dt == MESSAGE.stamp
    assert event["ORGANIZER"] == "mailto:desk@clinic.example"
    assert event["ORGANIZER"].params["CN"] == "North Clinic, Leeds"
    assert event["ATTENDEE"] == "mailto:ada+skin@example.org"
    assert event["ATTENDEE"].params == {"CN": 'Ada "Dee" Ames', "PARTSTAT": "ACCEPTED", "RSVP": "FALSE"}


def test_a_party_without_a_name_has_its_address_only(visit: MakeVisit, style: Style) -> None:
    nameless = replace(MESSAGE, organizer=Party(email="desk@clinic.example"))
    octets = mail_invite(visit(), style, nameless)
    assert b"\r\nORGANIZER:mailto:desk@clinic.example\r\n" in octets


def test_a_party_cannot_add_a_line(visit: MakeVisit, style: Style, lint: Lint) -> None:
    party = Party(email="a@example.org\r\nATTENDEE:mailto:b@example.org?cc=c", name="A\r\nATTENDEE:x")
    octets = mail_invite(visit(), style, replace(MESSAGE, attendee=party))
    assert lint(octets, method="REQUEST") == []
    assert octets.count(b"\r\nATTENDEE") == 1


def test_messages_only_where_they_belong(visit: MakeVisit, style: Style) -> None:
    with pytest.raises(ValueError, match="send mail_cancel"):
        mail_invite(visit(cancelled=True), style, MESSAGE)
    with pytest.raises(ValueError, match="cancel it first"):
        mail_cancel(visit(), style, MESSAGE)
    with pytest.raises(ValueError, match="goes with a method"):
        write(visit(), PATIENT_SERIES, style, MESSAGE)


def test_the_clinic_sees_case_resources_and_product(visit: MakeVisit, style: Style) -> None:
    one = visit(cream_at="clinic", cream_on=visit().arrive + dt.timedelta(minutes=10), ordinal=2)
    (event,) = events(clinic_import([one], style, now=NOW, keep_cancelled=MONTH))
    assert event["SUMMARY"] == "Appointment 7F3K"
    assert event["DESCRIPTION"].split("\n") == [
        "Case 7F3K",
        "Session 2 of 4",
        "With Dr Ames, Room 2",
        "Please arrive at 08:30.",
        "At the clinic the cream goes on at 08:40.",
        "The cream comes off at 08:50.",
        "The treatment starts at 09:00.",
        "Cream: Lidocaine 4 %",
        "Change or cancel: https://clinic.example/north/book/manage",
    ]


def test_a_bare_visit_leaves_out_what_it_does_not_have(visit: MakeVisit, style: Style, lint: Lint) -> None:
    bare = visit(
        cream_on=None,
        cream_off=None,
        cream_at=None,
        product="",
        resources=(),
        url="",
        case="",
        preparation=(),
    )
    placeless = replace(style, place=replace(style.place, name="", address="", telephone=""))
    patient = patient_session(bare, placeless)
    clinic = clinic_import([bare], placeless, now=NOW, keep_cancelled=MONTH)
    assert lint(patient) == lint(clinic) == []
    (event,) = events(patient)
    assert event["DESCRIPTION"] == "Please arrive at 08:30.\nThe treatment starts at 09:00."
    assert {"LOCATION", "URL", "RELATED-TO"}.isdisjoint(event)
    (event,) = events(clinic)
    assert event["SUMMARY"] == "Appointment"
    assert event["DESCRIPTION"] == ("Session 1 of 4\nPlease arrive at 08:30.\nThe treatment starts at 09:00.")


def test_the_first_alarm_rings_for_the_cream(visit: MakeVisit, style: Style) -> None:
    at_home, at_clinic = visit(), visit(cream_at="clinic", cream_on=visit().arrive)
    session, numbing = events(patient_session(at_home, style))
    assert (alarms(session), alarms(numbing)) == ([-30 * MINUTE, -DAY], [AT_ONCE])
    (session,) = events(patient_session(at_clinic, style))
    assert alarms(session) == [-60 * MINUTE, -DAY]
    quiet = replace(style, reminders=replace(style.reminders, prepare=None, ahead=None))
    assert alarms(events(patient_session(at_clinic, quiet))[0]) == []


def test_cream_at_home_after_the_arrival_never_gives_an_alarm_after_it(
    visit: MakeVisit, style: Style
) -> None:
    for minutes in (0, 5):
        late = visit(cream_on=visit().arrive + dt.timedelta(minutes=minutes))
        assert alarms(events(patient_session(late, style))[0]) == [-60 * MINUTE, -DAY]


def test_a_place_shows_the_clinics_name_only_where_the_clinic_chose_one(
    visit: MakeVisit, style: Style
) -> None:
    for display_name, location in (("", "1 Mill Lane, Leeds"), ("North", "North\n1 Mill Lane, Leeds")):
        session = events(patient_session(visit(), replace(style, display_name=display_name)))[0]
        assert session["LOCATION"] == location
        assert "North Clinic" in session["DESCRIPTION"].split("\n")


def test_care_notes_are_entries_of_their_own(visit: MakeVisit, style: Style, lint: Lint) -> None:
    one = visit()
    notes = (
        CareNote(
            kind="before-5d", start=one.arrive - 5 * DAY, end=one.arrive - 4 * DAY, description="No scrubs."
        ),
        CareNote(kind="after-1d", start=one.end, end=one.end + DAY, description="Shade.", phase="after"),
    )
    octets = patient_session(replace(one, care=notes), style)
    assert lint(octets) == []
    _, _, before, after = events(octets)
    assert (before["SUMMARY"], after["SUMMARY"]) == ("Prepare for your appointment", "After your appointment")
    for event, note in zip((before, after), notes, strict=True):
        assert event["UID"] == entry_uid(one.uid, note.kind)
        assert (event["RELATED-TO"], event["TRANSP"]) == (one.uid, "TRANSPARENT")
        assert event["DESCRIPTION"].startswith(note.description)
        assert event.subcomponents[0]["DESCRIPTION"] == event["SUMMARY"]
        assert alarms(event) == [AT_ONCE]


@pytest.mark.parametrize("cream_on", [dt.timedelta(minutes=10), None])
def test_entries_that_no_longer_apply_are_cancelled_and_their_session_stands(
    cream_on: dt.timedelta | None, visit: MakeVisit, style: Style, lint: Lint
) -> None:
    one = visit()
    clinics = replace(
        one,
        cream_at="clinic",
        cream_on=one.arrive + cream_on if cream_on else None,
        numbing_withdrawn=True,
        care=(
            CareNote(
                kind="a", start=one.arrive - DAY, end=one.arrive, description="No scrubs.", withdrawn=True
            ),
            CareNote(kind="b", start=one.end, end=one.end + DAY, description="Shade.", phase="after"),
        ),
    )
    octets = patient_session(clinics, style)
    assert lint(octets) == []
    session, numbing, before, after = events(octets)
    assert numbing["UID"] == entry_uid(one.uid, "numbing")
    assert numbing.start == one.arrive + (cream_on or AT_ONCE)
    for event, title in ((numbing, "Prepare for your appointment"), (before, "Prepare for your appointment")):
        assert (event["STATUS"], event["SUMMARY"]) == ("CANCELLED", f"Cancelled: {title}")
        assert (event["TRANSP"], event.subcomponents) == ("TRANSPARENT", [])
        assert event["DESCRIPTION"].split("\n")[0] == style.words.withdrawn_note
        assert "cream" not in event["DESCRIPTION"]
    for event in (session, after):
        assert event["STATUS"] == "CONFIRMED"
    assert [each["UID"] for each in events(mail_series([clinics], style))] == [session["UID"], after["UID"]]


def test_one_uid_through_move_and_cancellation(visit: MakeVisit, style: Style, lint: Lint) -> None:
    booked = visit()
    shift = dt.timedelta(days=2, hours=3)
    times = ("arrive", "end", "treatment_start", "cream_on", "cream_off")
    moved = replace(
        booked, sequence=1, version=2, modified=NOW, **{name: getattr(booked, name) + shift for name in times}
    )
    lives = [events(patient_session(each, style)) for each in (booked, moved, cancelled(moved))]
    for session, numbing in lives:
        assert session["UID"] == booked.uid
        assert numbing["UID"] == str(uuid.uuid5(uuid.UUID(booked.uid), "numbing"))
        assert session["SEQUENCE"] == numbing["SEQUENCE"]
        assert session["STATUS"] == numbing["STATUS"]
    assert [session["SEQUENCE"] for session, _ in lives] == [0, 1, 2]
    assert [session.start for session, _ in lives] == [
        each.astimezone(lives[0][0].start.tzinfo) for each in (booked.arrive, moved.arrive, moved.arrive)
    ]
    for event in lives[2]:
        assert event["STATUS"] == "CANCELLED"
        assert event["SUMMARY"].startswith("Cancelled: ")
        assert event["TRANSP"] == "TRANSPARENT"
        assert event.subcomponents == []
        assert "cream" not in event["DESCRIPTION"]
        assert event["DESCRIPTION"].startswith("This appointment was cancelled.")


def test_a_tombstone_stays_for_a_while(series: tuple[Visit, ...], style: Style) -> None:
    first = cancelled(series[0])
    for since, shown in ((MONTH - dt.timedelta(seconds=1), True), (MONTH, False)):
        for write_file in (patient_series, clinic_import):
            octets = write_file([first, *series[1:]], style, now=first.end + since, keep_cancelled=MONTH)
            assert (first.uid.encode() in re.findall(rb"\nUID:([^\r]+)", octets)) is shown
    with pytest.raises(ValueError, match="no appointment to write"):
        patient_series([first], style, now=first.end + MONTH, keep_cancelled=MONTH)


def test_the_order_of_the_rows_does_not_matter(series: tuple[Visit, ...], style: Style) -> None:
    one, other = (
        patient_series(rows, style, now=NOW, keep_cancelled=MONTH)
        for rows in (series, tuple(reversed(series)))
    )
    assert one == other


def test_only_the_description_says_what_the_appointment_is(
    visit: MakeVisit, style: Style, lint: Lint
) -> None:
    secret = "microneedling of acne scars"
    told = visit(treatment=secret, preparation=(secret,), product=secret, resources=(secret,), case=secret)
    noted = replace(
        told, care=(CareNote(kind=secret, start=told.arrive, end=told.end, description=secret),), case="7F3K"
    )
    for octets in (
        patient_session(noted, style),
        patient_session(cancelled(noted), style),
        clinic_import([noted], style, now=NOW, keep_cancelled=MONTH),
        mail_invite(noted, style, MESSAGE),
    ):
        for event in events(octets):
            shown = {name: str(value) for name, value in event.property_items() if name != "DESCRIPTION"}
            shown |= {"alarm": " ".join(str(part["DESCRIPTION"]) for part in event.subcomponents)}
            assert not [name for name, value in shown.items() if "needling" in value]
    (session, _) = events(patient_session(visit(treatment=secret), style))
    assert session["DESCRIPTION"].startswith(secret)
    assert session["SUMMARY"] == "Appointment, 1 of 4"


FORBIDDEN = re.compile(
    r"needl|numb|cream|lidocaine|prilocaine|tetracaine|emla|acne|scar|wrinkl|laser|peel|botox|filler|"
    r"dermat|skin|treat|patient|pregnan|herpes|keloid|melasma|alopecia",
    re.IGNORECASE,
)


@pytest.mark.parametrize("display_name", ["", "North Clinic"])
def test_titles_places_and_alarms_are_neutral(
    display_name: str, series: tuple[Visit, ...], style: Style
) -> None:
    named = replace(style, display_name=display_name)
    visits = (*series[:3], cancelled(series[3]))
    for octets in (
        patient_series(visits, named, now=NOW, keep_cancelled=MONTH),
        patient_session(series[0], named),
        clinic_import(visits, named, now=NOW, keep_cancelled=MONTH),
        write_feed(visits, PATIENT_FEED, named),
        write_feed(visits, CLINIC_FEED, named),
        mail_series(visits, named),
        mail_invite(series[0], named, MESSAGE),
        mail_cancel(visits[3], named, MESSAGE),
    ):
        for event in events(octets):
            words = [str(event["SUMMARY"]), str(event.get("LOCATION", ""))]
            words += [str(part["DESCRIPTION"]) for part in event.subcomponents]
            assert not [word for word in words if FORBIDDEN.search(word)]


def test_a_visit_that_a_reader_would_show_wrong_is_refused(visit: MakeVisit) -> None:
    one = visit()
    with pytest.raises(ValueError, match="badly formed"):
        replace(one, uid="appointment-17")
    with pytest.raises(ValueError, match="without a zone"):
        replace(one, cream_on=one.arrive.replace(tzinfo=None))
    with pytest.raises(ValueError, match="not after the arrival"):
        replace(one, end=one.arrive)
    with pytest.raises(ValueError, match="'after' that ends at its start"):
        replace(one, care=(CareNote(kind="after", start=one.end, end=one.end, description=""),))
    note = CareNote(kind="numbing", start=one.arrive, end=one.end, description="")
    with pytest.raises(ValueError, match="two entries of one kind"):
        replace(one, care=(note,))


def test_words_say_which_mark_is_wrong(style: Style) -> None:
    assert style.words.problems() == []
    wrong = replace(
        style.words, arrive="Arrive at {tiem}.", clock="{hour}", prepare="{time}", after="{}", link="{url"
    )
    assert wrong.problems() == [
        "prepare: nothing fills in {time}",
        "after: nothing fills in {}",
        "arrive: nothing fills in {tiem}",
        "arrive: {time} is missing",
        "link: expected '}' before end of string",
        "clock: {minute} is missing",
    ]


@pytest.mark.parametrize(
    ("time", "shown"),
    [("00:05", "12:05 am"), ("11:59", "11:59 am"), ("12:00", "12:00 pm"), ("13:30", "1:30 pm")],
)
def test_a_clock_of_twelve_hours(time: str, shown: str, style: Style) -> None:
    words = replace(style.words, clock="{hour12}:{minute:02} {half}", am="am", pm="pm")
    assert words.time(dt.datetime.fromisoformat(f"2026-10-01T{time}Z")) == shown


class TestEventCache:
    def test_a_known_event_is_the_same_object(self, visit: MakeVisit, style: Style) -> None:
        cache = EventCache(octets=MUCH)
        assert cache.written(visit(), PATIENT_SERIES, style) is cache.written(visit(), PATIENT_SERIES, style)

    def test_a_moved_appointment_rebuilds_one_event(self, series: tuple[Visit, ...], style: Style) -> None:
        cache = EventCache(octets=MUCH)
        before = [cache.written(each, PATIENT_SERIES, style) for each in series]
        moved = replace(series[1], end=series[1].end + dt.timedelta(minutes=5), sequence=1, version=2)
        after = [cache.written(each, PATIENT_SERIES, style) for each in (series[0], moved, *series[2:])]
        assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True, True]
        assert after[1] == write(moved, PATIENT_SERIES, style)

    def test_a_change_under_the_same_version_is_not_served_from_before(
        self, visit: MakeVisit, style: Style
    ) -> None:
        cache = EventCache(octets=MUCH)
        cache.written(visit(), PATIENT_SERIES, style)
        assert b"Session 1 of 5" in cache.written(visit(count=5), CLINIC_IMPORT, style).octets
        other = visit(url="https://clinic.example/other")
        assert cache.written(other, PATIENT_SERIES, style) == write(other, PATIENT_SERIES, style)

    def test_output_and_words_are_part_of_the_key(self, visit: MakeVisit, style: Style) -> None:
        cache = EventCache(octets=MUCH)
        other = replace(style, words=replace(style.words, appointment="Termin"))
        for output, words in ((PATIENT_SERIES, style), (PATIENT_FEED, style), (PATIENT_SERIES, other)):
            assert cache.written(visit(), output, words) == write(visit(), output, words)

    def test_the_least_recently_used_event_goes_first(self, series: tuple[Visit, ...], style: Style) -> None:
        first, second = (write(each, PATIENT_SERIES, style) for each in series[:2])
        cache = EventCache(octets=sum(len(each.octets) + 512 for each in (first, second)) + 1)
        first = cache.written(series[0], PATIENT_SERIES, style)
        second = cache.written(series[1], PATIENT_SERIES, style)
        assert cache.written(series[0], PATIENT_SERIES, style) is first
        cache.written(series[2], PATIENT_SERIES, style)
        assert cache.written(series[0], PATIENT_SERIES, style) is first
        assert cache.written(series[1], PATIENT_SERIES, style) is not second
        cache.clear()
        assert cache.written(series[0], PATIENT_SERIES, style) is not first

    def test_what_is_kept_is_counted_in_octets(self, style: Style) -> None:
        def octets_of(length: int) -> Written:
            return Written(bytes(length), "")

        cache = EventCache(octets=100 * 1024)
        for key in range(1000):
            cache.keep(key, octets_of(512))
        kept = [key for key in range(1000) if cache.find([key])[0]]
        assert kept == list(range(900, 1000))
        for _ in range(1000):
            cache.keep(999, octets_of(512))
        assert cache.find([900])[0] is not None
        cache.keep("long", octets_of(60 * 1024))
        kept = [key for key in range(1000) if cache.find([key])[0]]
        assert len(kept) == 39
        cache.keep("too long", octets_of(100 * 1024))
        assert [cache.find([key])[0] for key in ("too long", "long", *kept)] == [None] * 41
        cache.keep("fits", octets_of(99 * 1024))
        assert cache.find(["fits"])[0] is not None

    def test_threads_share_it_and_lose_count_of_nothing(self) -> None:
        cache, room = EventCache(octets=20 * 1024), 20
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

        def hammer(seed: int) -> set[object]:
            wrong: set[object] = set()
            for step in range(1500):
                key = (seed * 31 + step * 7) % 60
                (known,) = cache.find([key])
                if known is not None and known.zone != str(key):
                    wrong.add(key)
                cache.keep(key, Written(bytes(512), str(key)))
            return wrong

        try:
            with ThreadPoolExecutor(8) as pool:
                assert set().union(*pool.map(hammer, range(8))) == set()
        finally:
            sys.setswitchinterval(before)
        for key in range(100, 100 + room):
            cache.keep(key, Written(bytes(512), ""))
        assert [key for key in range(200) if cache.find([key])[0]] == list(range(100, 100 + room))

    def test_the_fingerprint_tells_outputs_and_words_apart(self, style: Style) -> None:
        other = replace(style, display_name="North")
        assert (
            len(
                {
                    fingerprint(output, each)
                    for output in (PATIENT_SERIES, PATIENT_FEED)
                    for each in (style, other)
                }
            )
            == 4
        )


def test_opening_refuses_a_zone_without_a_vtimezone() -> None:
    with pytest.raises(ValueError, match="write its times in UTC"):
        opening(PATIENT_SERIES, ["Africa/Cairo"])
