"""A series to write, and a lint that looks at the octets themselves."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from intake_plugin.calendars import (
    CareNote,
    EventCache,
    Message,
    Party,
    Place,
    Reminders,
    Style,
    Visit,
    Words,
    clinic_import,
    mail_cancel,
    mail_invite,
    mail_series,
    patient_series,
    patient_session,
)
from intake_plugin.calendars.feeds import Recipe, Stamp, stream
from intake_plugin.calendars.outputs import CLINIC_FEED, PATIENT_FEED, Output

ZONES = (
    "Europe/London",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Africa/Casablanca",
)

WORDS = Words(
    appointment="Appointment",
    appointment_at="Appointment at {name}",
    appointment_details="{title}, {ordinal} of {count}",
    appointment_case="Appointment {case}",
    cancelled="Cancelled: {title}",
    cancelled_note="This appointment was cancelled.",
    withdrawn_note="You no longer need this entry. Your appointment stands.",
    prepare="Prepare for your appointment",
    after="After your appointment",
    arrive="Please arrive at {time}.",
    cream_on_home="Put the cream on at {time}.",
    cream_on_clinic="At the clinic the cream goes on at {time}.",
    cream_off="The cream comes off at {time}.",
    treatment_start="The treatment starts at {time}.",
    telephone="Questions? Call {telephone}.",
    link="Change or cancel: {url}",
    case="Case {case}",
    session="Session {ordinal} of {count}",
    resources="With {resources}",
    product="Cream: {product}",
    clock="{hour:02}:{minute:02}",
)


@pytest.fixture(scope="session")
def style() -> Style:
    return Style(
        words=WORDS,
        place=Place(name="North Clinic", address="1 Mill Lane, Leeds", telephone="0113 496 0000"),
        reminders=Reminders(
            prepare=dt.timedelta(minutes=60), ahead=dt.timedelta(days=1), entry=dt.timedelta(minutes=15)
        ),
    )


@pytest.fixture(scope="session")
def visit() -> Callable[..., Visit]:
    """A session that starts with the arrival at a local time; any field can be given."""

    def build(
        arrive: str = "2026-10-01 08:30", zone: str = "Europe/London", ordinal: int = 1, **given: Any
    ) -> Visit:
        start = dt.datetime.fromisoformat(arrive)
        if start.tzinfo is None:
            start = start.replace(tzinfo=ZoneInfo(zone))
        start = start.astimezone(dt.UTC)
        uids = [str(uuid.UUID(int=number + 1, version=4)) for number in range(max(ordinal, 1))]
        fields: dict[str, Any] = {
            "uid": uids[ordinal - 1],
            "arrive": start,
            "end": start + dt.timedelta(minutes=75),
            "treatment_start": start + dt.timedelta(minutes=30),
            "zone": zone,
            "ordinal": ordinal,
            "count": 4,
            "sequence": 0,
            "cancelled": False,
            "modified": dt.datetime(2026, 9, 1, 12, 0, 5, tzinfo=dt.UTC),
            "cream_on": start - dt.timedelta(minutes=30),
            "cream_off": start + dt.timedelta(minutes=20),
            "cream_at": "home",
            "product": "Lidocaine 4 %",
            "resources": ("Dr Ames", "Room 2"),
            "series_uid": uids[0],
            "version": 1,
            "url": "https://clinic.example/north/book/manage",
            "case": "7F3K",
            "preparation": ("Come with a clean face, without make-up.",),
        }
        return Visit(**(fields | given))

    return build


@pytest.fixture(scope="session")
def series(visit: Callable[..., Visit]) -> tuple[Visit, ...]:
    """Four sessions on both sides of the end of summer time."""
    days = ("2026-10-01", "2026-10-29", "2026-11-26", "2026-12-24")
    return tuple(visit(f"{day} 08:30", ordinal=ordinal) for ordinal, day in enumerate(days, start=1))


MESSAGE = Message(
    stamp=dt.datetime(2026, 9, 3, 10, tzinfo=dt.UTC),
    organizer=Party(email="desk@clinic.example", name="North Clinic, Leeds"),
    attendee=Party(email="ada+skin@example.org", name='Ada "Dee" Ames'),
)
OUTPUTS = (
    "patient series",
    "patient session",
    "patient session, cancelled",
    "clinic import",
    "patient feed",
    "clinic feed",
    "mail series",
    "mail invite",
    "mail cancel",
)
Outputs = dict[str, tuple[bytes, tuple[Visit, ...]]]
"""Octets, and the visits in them."""
METHODS = {"mail invite": "REQUEST", "mail cancel": "CANCEL"}
"""Of the outputs that have one."""


@pytest.fixture(scope="session")
def outputs(series: tuple[Visit, ...], style: Style) -> Outputs:
    """Every kind of output; of its visits one has care of its own and one is cancelled."""
    note, days = CareNote, dt.timedelta(days=3)
    start, end = series[0].arrive, series[0].end
    care = (
        note(
            kind="before-3d", start=start - days, end=start - days + (end - start), description="No scrubs."
        ),
        note(
            kind="after-3d",
            start=end + days,
            end=end + days + (end - start),
            description="Shade.",
            phase="after",
        ),
    )
    gone = replace(series[1], cancelled=True, sequence=3, version=4)
    told = replace(series[0], care=care)
    visits = (told, gone, *series[2:])
    kept: dict[str, Any] = {"now": series[0].modified, "keep_cancelled": dt.timedelta(days=30)}
    written = (
        (patient_series(visits, style, **kept), visits),
        (patient_session(told, style), (told,)),
        (patient_session(gone, style), (gone,)),
        (clinic_import(visits, style, **kept), visits),
        (write_feed(visits, PATIENT_FEED, style), visits),
        (write_feed(visits, CLINIC_FEED, style), visits),
        (mail_series(visits, style), (told, *series[2:])),
        (mail_invite(told, style, MESSAGE), (told,)),
        (mail_cancel(gone, style, MESSAGE), (gone,)),
    )
    return dict(zip(OUTPUTS, written, strict=True))


def write_feed(visits: Sequence[Visit], output: Output, style: Style, name: str = "Clinic, north") -> bytes:
    """Return a feed as it is streamed, of visits in their order."""
    recipe = Recipe(
        output=output,
        style=style,
        name=name,
        refresh=dt.timedelta(hours=6),
        zone=visits[0].zone,
        facts=(),
    )
    by_uid = {visit.uid: visit for visit in visits}
    pieces = stream(
        recipe,
        [stamp(visit) for visit in visits],
        lambda uids: [by_uid[uid] for uid in uids],
        cache=EventCache(octets=1),
    )
    return b"".join(pieces)


def stamp(visit: Visit) -> Stamp:
    """Return the stamp of a visit as a database gives it."""
    naive = [moment.astimezone(dt.UTC).replace(tzinfo=None) for moment in (visit.modified, visit.end)]
    return Stamp(visit.uid, visit.version, naive[0], naive[1], visit.zone)


def around_clock_changes(zone: str) -> list[dt.datetime]:
    """Return instants on both sides of each clock change of a zone, or of a usual one where it has none."""
    changes = _clock_changes(zone) or [dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC)]
    minutes = (-2880, -90, -60, -30, 0, 30, 60, 90, 2880)
    return [change + dt.timedelta(minutes=each) for change in changes for each in minutes]


def _clock_changes(zone: str) -> list[dt.datetime]:
    """Return the instants in 2026 to 2028 at which the zone's offset changes, found hour by hour."""
    tz, hour = ZoneInfo(zone), dt.timedelta(hours=1)
    moments = [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + number * hour for number in range(3 * 365 * 24)]
    return [
        later
        for earlier, later in pairwise(moments)
        if earlier.astimezone(tz).utcoffset() != later.astimezone(tz).utcoffset()
    ]


@pytest.fixture(scope="session")
def clean() -> Callable[[str], str]:
    """What of a text has to survive: line breaks as one kind, no other controls, no half pairs."""

    def keep(text: str) -> str:
        broken = re.sub("\r\n|[\r\n\x85\u2028\u2029]", "\n", text)
        return "".join(
            char for char in broken if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"}
        )

    return keep


@pytest.fixture(scope="session")
def lint() -> Callable[..., list[str]]:
    return lint_octets


_ONCE = {
    "VCALENDAR": {"VERSION", "PRODID"},
    "VEVENT": {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "STATUS", "SEQUENCE", "LAST-MODIFIED"},
    "VALARM": {"ACTION", "TRIGGER", "DESCRIPTION"},
    "VTIMEZONE": {"TZID"},
    "STANDARD": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO"},
    "DAYLIGHT": {"DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE"},
}
_AT_MOST_ONCE = {
    "VCALENDAR": {"CALSCALE", "METHOD", "NAME", "X-WR-CALNAME", "REFRESH-INTERVAL", "X-PUBLISHED-TTL"},
    "VEVENT": {"CLASS", "DESCRIPTION", "LOCATION", "URL", "TRANSP", "RELATED-TO", "ORGANIZER", "ATTENDEE"},
    "VALARM": set[str](),
    "VTIMEZONE": set[str](),
    "STANDARD": {"RRULE", "TZNAME"},
    "DAYLIGHT": {"TZNAME"},
}
_LINE = re.compile(r'([A-Z-]+)((?:;[A-Z-]+=(?:"[^"\x00-\x08\x0a-\x1f]*"|[^";:,\x00-\x08\x0a-\x1f]*))*):(.*)')
_ESCAPE = re.compile(r"\\.?|[;,]")


def lint_octets(octets: bytes, method: str | None = None) -> list[str]:
    """Return everything wrong with a calendar as it leaves the house, reading nothing but octets."""
    problems = _octet_problems(octets)
    text = octets.decode("utf-8", "replace").replace("\r\n ", "")
    stack: list[tuple[str, Counter[str], Counter[str]]] = []
    uids: list[str] = []
    named: set[str] = set()
    defined: set[str] = set()
    methods: list[str] = []
    for number, line in enumerate(text.removesuffix("\r\n").split("\r\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            problems.append(f"content line {number} is malformed: {line[:60]!r}")
            continue
        name, parameters, value = match.groups()
        if name == "BEGIN":
            if stack:
                stack[-1][2][value] += 1
            stack.append((value, Counter(), Counter()))
        elif name == "END":
            if not stack or stack[-1][0] != value:
                problems.append(f"END:{value} closes nothing")
                continue
            problems += _component_problems(*stack.pop())
        elif not stack:
            problems.append(f"{name} stands outside of the calendar")
        else:
            component, properties, _ = stack[-1]
            properties[name] += 1
            uids += [value] if (component, name) == ("VEVENT", "UID") else []
            defined |= {value} if (component, name) == ("VTIMEZONE", "TZID") else set()
            named |= set(re.findall(r";TZID=([^;:]+)", parameters))
            methods += [value] if name == "METHOD" else []
            problems += _value_problems(component, name, parameters, value)
    problems += [f"{component} is not closed" for component, _, _ in stack]
    problems += [f"UID {uid} stands twice" for uid, times in Counter(uids).items() if times > 1]
    problems += [f"TZID {zone} has no VTIMEZONE" for zone in named - defined]
    problems += [f"VTIMEZONE {zone} is not used" for zone in defined - named]
    if methods != ([method] if method else []):
        problems.append(f"METHOD is {methods}, not {method}")
    if method is None:
        problems += [
            f"{name} in a calendar without METHOD"
            for name in ("ORGANIZER", "ATTENDEE")
            if f"\r\n{name}" in text
        ]
    return problems


def _octet_problems(octets: bytes) -> list[str]:
    problems = []
    if octets.startswith(b"\xef\xbb\xbf"):
        problems.append("it begins with a byte order mark")
    if not octets.endswith(b"\r\n"):
        problems.append("the last line has no CRLF")
    for number, line in enumerate(octets.removesuffix(b"\r\n").split(b"\r\n"), start=1):
        where = f"line {number}"
        if len(line) > 75:
            problems.append(f"{where} has {len(line)} octets")
        if b"\r" in line or b"\n" in line:
            problems.append(f"{where} has a bare CR or LF")
        if not line.strip():
            problems.append(f"{where} is empty")
        try:
            decoded = line.decode()
        except UnicodeDecodeError:
            problems.append(f"{where} splits a character")
            continue
        bad = [char for char in decoded if char != "\t" and unicodedata.category(char) in {"Cc", "Zl", "Zp"}]
        problems += [f"{where} has the control {char!r}" for char in bad if char not in "\r\n"]
    return problems


def _component_problems(name: str, properties: Counter[str], parts: Counter[str]) -> list[str]:
    if name not in _ONCE:
        return [f"{name} is not expected here"]
    problems = [f"{name} has {properties[each]} {each}" for each in _ONCE[name] if properties[each] != 1]
    problems += [
        f"{name} has {properties[each]} {each}" for each in _AT_MOST_ONCE[name] if properties[each] > 1
    ]
    problems += [f"{name} has {each}" for each in properties.keys() - _ONCE[name] - _AT_MOST_ONCE[name]]
    if name == "VCALENDAR" and not parts["VEVENT"]:
        problems.append("VCALENDAR has no VEVENT")
    if name == "VTIMEZONE" and not parts["STANDARD"]:
        problems.append("VTIMEZONE has no STANDARD")
    if name == "VEVENT" and parts["VALARM"] > 2:
        problems.append("VEVENT has more than two alarms")
    return problems


def _value_problems(component: str, name: str, parameters: str, value: str) -> list[str]:
    place = f"{component} {name}"
    match name:
        case "SUMMARY" | "DESCRIPTION" | "LOCATION":
            bad = {each for each in _ESCAPE.findall(value) if each not in {r"\\", r"\;", r"\,", r"\n"}}
            return [f"{place} has the unescaped {each!r}" for each in bad]
        case "TRIGGER":
            return (
                []
                if re.fullmatch(r"-P\d+D|-?PT\d+[MS]", value) and value != "-PT0S"
                else [f"{place}: {value}"]
            )
        case "DTSTAMP" | "LAST-MODIFIED":
            return [] if re.fullmatch(r"\d{8}T\d{6}Z", value) else [f"{place}: {value}"]
        case "DTSTART" | "DTEND" if component == "VEVENT":
            zulu = "" if parameters.startswith(";TZID=") else "Z"
            return [] if re.fullmatch(rf"\d{{8}}T\d{{6}}{zulu}", value) else [f"{place}{parameters}: {value}"]
        case "SEQUENCE":
            return [] if re.fullmatch(r"\d{1,5}", value) else [f"{place}: {value}"]
        case "UID":
            return (
                []
                if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value)
                else [f"{place}: {value}"]
            )
        case "URL":
            return [] if re.fullmatch(r"[!-~]+", value) else [f"{place}: {value}"]
        case _:
            return []
