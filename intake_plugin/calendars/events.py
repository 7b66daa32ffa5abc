"""From one visit to the octets of its events: the session, its numbing entry, its care notes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from intake_plugin.calendars import octets
from intake_plugin.calendars.outputs import Output
from intake_plugin.calendars.visits import NUMBING, CareNote, Reminders, Style, Visit
from intake_plugin.calendars.vtimezone import holds

_NOW = dt.timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody named in a mailed invitation."""

    email: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a mailed event carries and a file must not: its own time and its parties, RFC 5546."""

    stamp: dt.datetime
    organizer: Party
    attendee: Party


class Written(NamedTuple):
    """The octets of a visit's events, and the zone whose VTIMEZONE they need; empty for none."""

    octets: bytes
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What a session, a numbing entry and a care note differ in."""

    uid: str
    start: dt.datetime
    end: dt.datetime
    title: str
    alarm: str
    """The text of its alarms."""
    description: str
    location: str = ""
    busy: bool = False
    parent: str = ""
    sibling: str = ""
    alarms: tuple[dt.timedelta, ...] = (_NOW,)
    """Leads before `start`, in the order of their weight."""
    withdrawn: bool = False
    """It stands no more, though its session does."""


def write(visit: Visit, output: Output, style: Style, message: Message | None = None) -> Written:
    """Return the VEVENTs of one visit for an output, the session first.

    A message is needed where the output has a method, and refused elsewhere (ValueError).
    """
    if (message is None) != (output.method is None):
        raise ValueError("A message goes with a method: pass one for REQUEST and CANCEL, and only there.")
    events = [_session(visit, output, style)]
    if output.entries:
        events += (each for each in _entries(visit, style) if output.tombstones or not each.withdrawn)
    lines: list[str] = []
    local = False
    for event in events:
        zone = _zone(event, visit.zone)
        local |= bool(zone)
        lines += _vevent(event, zone, visit, output, style, message)
    return Written(b"".join(map(octets.line, lines)), visit.zone if local else "")


def entry_uid(uid: str, kind: str) -> str:
    """Return the UID of an entry beside the session `uid`: the same for as long as the session lives."""
    return str(uuid.uuid5(uuid.UUID(uid), kind))


def _session(visit: Visit, output: Output, style: Style) -> _Event:
    patient = output.audience == "patient"
    lines = _patient_lines(visit, style) if patient else _clinic_lines(visit, style)
    return _Event(
        uid=visit.uid,
        start=visit.arrive,
        end=visit.end,
        title=_title(visit, output, style),
        alarm=style.words.prepare,
        description=_description(visit, style, lines),
        location=style.location,
        busy=True,
        sibling=visit.series_uid if visit.series_uid != visit.uid else "",
        alarms=_leads(visit, style.reminders),
    )


def _entries(visit: Visit, style: Style) -> Iterator[_Event]:
    if visit.applies_at_home or visit.numbing_withdrawn:
        yield _numbing(visit, style)
    for note in visit.care:
        yield _care(note, visit, style)


def _numbing(visit: Visit, style: Style) -> _Event:
    withdrawn = not visit.applies_at_home
    start = visit.cream_on or visit.arrive
    lines = [style.words.withdrawn_note] if withdrawn else _cream_lines(visit, style)
    return _Event(
        uid=entry_uid(visit.uid, NUMBING),
        start=start,
        end=start + style.reminders.entry,
        title=style.words.prepare,
        alarm=style.words.prepare,
        description=_description(visit, style, lines),
        parent=visit.uid,
        withdrawn=withdrawn,
    )


def _care(note: CareNote, visit: Visit, style: Style) -> _Event:
    title = style.words.prepare if note.phase == "before" else style.words.after
    return _Event(
        uid=entry_uid(visit.uid, note.kind),
        start=note.start,
        end=note.end,
        title=title,
        alarm=title,
        description=_description(
            visit, style, [style.words.withdrawn_note if note.withdrawn else note.description]
        ),
        parent=visit.uid,
        withdrawn=note.withdrawn,
    )


def _title(visit: Visit, output: Output, style: Style) -> str:
    words = style.words
    if output.audience == "clinic" and visit.case:
        return words.appointment_case.format(case=visit.case)
    if output.audience == "patient" and visit.treatment:
        return words.appointment_details.format(title=style.title, ordinal=visit.ordinal, count=visit.count)
    return style.title


def _description(visit: Visit, style: Style, lines: list[str]) -> str:
    words = style.words
    shown = [words.cancelled_note] if visit.cancelled else lines
    if visit.url:
        shown = [*shown, words.link.format(url=visit.url)]
    return "\n".join(shown)


def _patient_lines(visit: Visit, style: Style) -> list[str]:
    """Clock times stand in words too, because alarms may be dropped on the way."""
    words, place = style.words, style.place
    lines = [visit.treatment] if visit.treatment else []
    lines += _time_lines(visit, style)
    lines += visit.preparation
    if place.name:
        lines.append(place.name)
    if place.telephone:
        lines.append(words.telephone.format(telephone=place.telephone))
    return lines


def _clinic_lines(visit: Visit, style: Style) -> list[str]:
    words = style.words
    lines = [words.case.format(case=visit.case)] if visit.case else []
    lines.append(words.session.format(ordinal=visit.ordinal, count=visit.count))
    if visit.resources:
        lines.append(words.resources.format(resources=", ".join(visit.resources)))
    lines += _time_lines(visit, style)
    if visit.product:
        lines.append(words.product.format(product=visit.product))
    return lines


def _time_lines(visit: Visit, style: Style) -> list[str]:
    """The day in the order in which it happens: cream put on at home comes before the arrival."""
    words, zone = style.words, ZoneInfo(visit.zone)
    arrive = words.arrive.format(time=words.time(visit.arrive.astimezone(zone)))
    start = words.treatment_start.format(time=words.time(visit.treatment_start.astimezone(zone)))
    cream = _cream_lines(visit, style)
    if visit.applies_at_home:
        return [*cream[:1], arrive, *cream[1:], start]
    return [arrive, *cream, start]


def _cream_lines(visit: Visit, style: Style) -> list[str]:
    words, zone = style.words, ZoneInfo(visit.zone)
    on = words.cream_on_home if visit.cream_at == "home" else words.cream_on_clinic
    steps = ((on, visit.cream_on), (words.cream_off, visit.cream_off))
    return [template.format(time=words.time(moment.astimezone(zone))) for template, moment in steps if moment]


def _leads(visit: Visit, reminders: Reminders) -> tuple[dt.timedelta, ...]:
    """The cream first, because Outlook keeps one alarm."""
    prepare = reminders.prepare
    if visit.cream_on is not None and visit.applies_at_home and visit.cream_on < visit.arrive:
        prepare = visit.arrive - visit.cream_on
    return tuple(lead for lead in (prepare, reminders.ahead) if lead)


def _zone(event: _Event, zone: str) -> str:
    """Return the zone in which the event's times can be written, or empty: write them in UTC.

    The second 02:30 of an autumn night has no local form, and readers disagree about the first.
    """
    local = (event.start.astimezone(ZoneInfo(zone)), event.end.astimezone(ZoneInfo(zone)))
    twice = any(each.replace(fold=0).utcoffset() != each.replace(fold=1).utcoffset() for each in local)
    carried = all(holds(zone, year) for year in {event.start.year, event.end.year})
    return zone if carried and not twice else ""


def _vevent(
    event: _Event, zone: str, visit: Visit, output: Output, style: Style, message: Message | None
) -> Iterator[str]:
    """Yield the content lines of one VEVENT, always in this order."""
    cancelled = visit.cancelled or event.withdrawn
    title = style.words.cancelled.format(title=event.title) if cancelled else event.title
    yield "BEGIN:VEVENT"
    yield f"UID:{event.uid}"
    yield f"DTSTAMP:{octets.utc(message.stamp if message else visit.modified)}"
    yield _moment("DTSTART", event.start, zone)
    yield _moment("DTEND", event.end, zone)
    yield f"SUMMARY:{octets.text(title)}"
    yield f"DESCRIPTION:{octets.text(event.description)}"
    if event.location:
        yield f"LOCATION:{octets.text(event.location)}"
    if visit.url:
        yield f"URL:{octets.uri(visit.url)}"
    yield "STATUS:CANCELLED" if cancelled else "STATUS:CONFIRMED"
    yield f"SEQUENCE:{visit.sequence}"
    if output.private:
        yield "CLASS:PRIVATE"
    yield "TRANSP:OPAQUE" if event.busy and not cancelled else "TRANSP:TRANSPARENT"
    yield f"LAST-MODIFIED:{octets.utc(visit.modified)}"
    if event.parent:
        yield f"RELATED-TO;RELTYPE=PARENT:{event.parent}"
    if event.sibling:
        yield f"RELATED-TO;RELTYPE=SIBLING:{octets.text(event.sibling)}"
    if message:
        yield f"ORGANIZER{_name(message.organizer)}:{_mailto(message.organizer)}"
        yield f"ATTENDEE{_name(message.attendee)};PARTSTAT=ACCEPTED;RSVP=FALSE:{_mailto(message.attendee)}"
    if output.alarms and not cancelled:
        for lead in event.alarms:
            yield from _alarm(lead, event.alarm)
    yield "END:VEVENT"


def _moment(name: str, moment: dt.datetime, zone: str) -> str:
    if zone:
        return f"{name};TZID={octets.parameter(zone)}:{octets.wall(moment.astimezone(ZoneInfo(zone)))}"
    return f"{name}:{octets.utc(moment)}"


def _alarm(lead: dt.timedelta, text: str) -> Iterator[str]:
    """Yield a VALARM with a relative trigger, the only kind that every reader keeps."""
    yield "BEGIN:VALARM"
    yield "ACTION:DISPLAY"
    yield f"DESCRIPTION:{octets.text(text)}"
    yield f"TRIGGER:{octets.duration(-lead)}"
    yield "END:VALARM"


def _name(party: Party) -> str:
    name = octets.parameter(party.name)
    return f";CN={name}" if name else ""


def _mailto(party: Party) -> str:
    return f"mailto:{quote(party.email, safe='@+', errors='replace')}"
