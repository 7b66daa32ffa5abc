"""Whole calendars: the patient's series, one session, the clinic's import, a mailed message.

The order is fixed, so that the same rows give the same octets in every process: header, VTIMEZONEs
by name, visits by arrival. A feed streams the same three parts: `opening`, events, `CLOSING`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from intake_plugin.calendars import octets
from intake_plugin.calendars.cache import SHARED, EventCache
from intake_plugin.calendars.events import Message, write
from intake_plugin.calendars.outputs import (
    CLINIC_IMPORT,
    MAIL_CANCEL,
    MAIL_INVITE,
    MAIL_SERIES,
    PATIENT_SERIES,
    PATIENT_SESSION,
    Output,
)
from intake_plugin.calendars.visits import Style, Visit
from intake_plugin.calendars.vtimezone import vtimezone

CONTENT_TYPE = "text/calendar; charset=utf-8"
"""For every output without a method; iOS saves anything else as a text file."""
FILENAME = "appointments.ics"
CLOSING = b"END:VCALENDAR\r\n"

_PRODID = "-//intake_plugin//Appointments 1//EN"


def patient_series(
    visits: Iterable[Visit],
    style: Style,
    *,
    now: dt.datetime,
    keep_cancelled: dt.timedelta,
    cache: EventCache = SHARED,
) -> bytes:
    """Return the patient's file of a whole series.

    A cancelled session stays, marked as cancelled, until `keep_cancelled` after its end: a file that
    leaves it out cannot take it off a calendar. Raises ValueError when nothing remains to be written.
    """
    shown = remaining(visits, PATIENT_SERIES, now=now, keep_cancelled=keep_cancelled)
    return _calendar(shown, PATIENT_SERIES, style, cache)


def patient_session(visit: Visit, style: Style, *, cache: EventCache = SHARED) -> bytes:
    """Return the patient's file of one session, cancelled or not."""
    return _calendar([visit], PATIENT_SESSION, style, cache)


def clinic_import(
    visits: Iterable[Visit],
    style: Style,
    *,
    now: dt.datetime,
    keep_cancelled: dt.timedelta,
    cache: EventCache = SHARED,
) -> bytes:
    """Return the clinic's file: case numbers and links to the records, no alarms.

    Each visit carries its `case` and the record's `url`; `style` has the clinic's words. Cancelled
    sessions and errors as in `patient_series`.
    """
    shown = remaining(visits, CLINIC_IMPORT, now=now, keep_cancelled=keep_cancelled)
    return _calendar(shown, CLINIC_IMPORT, style, cache)


def mail_series(visits: Iterable[Visit], style: Style, *, cache: EventCache = SHARED) -> bytes:
    """Return the file attached to an informational mail: the sessions that are to take place."""
    return _calendar([visit for visit in visits if not visit.cancelled], MAIL_SERIES, style, cache)


def mail_invite(visit: Visit, style: Style, message: Message) -> bytes:
    """Return the REQUEST for one session, first or changed; the MIME type says `method=REQUEST`.

    Raises ValueError for a cancelled session: a REQUEST would leave it standing and ringing.
    """
    if visit.cancelled:
        raise ValueError(f"Visit {visit.uid} is cancelled; send mail_cancel, not an invitation.")
    return _message(visit, MAIL_INVITE, style, message)


def mail_cancel(visit: Visit, style: Style, message: Message) -> bytes:
    """Return the CANCEL for one session; the MIME type says `method=CANCEL`.

    Raises ValueError for a session that still stands.
    """
    if not visit.cancelled:
        raise ValueError(f"Visit {visit.uid} is not cancelled; cancel it first, so that its SEQUENCE rises.")
    return _message(visit, MAIL_CANCEL, style, message)


def remaining(
    visits: Iterable[Visit], output: Output, *, now: dt.datetime, keep_cancelled: dt.timedelta
) -> list[Visit]:
    """Return the visits an output still shows: all that stand, and cancelled ones for a while."""
    return [
        visit
        for visit in visits
        if not visit.cancelled or (output.tombstones and now < visit.end + keep_cancelled)
    ]


def opening(
    output: Output, zones: Iterable[str], *, name: str = "", refresh: dt.timedelta | None = None
) -> bytes:
    """Return everything before the first event; `zones` are those that the events' times name.

    `name` and `refresh` (how often to ask again) are written where the output is `named`.
    Raises ValueError for a zone without a VTIMEZONE.
    """
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{_PRODID}", "CALSCALE:GREGORIAN"]
    if output.method:
        lines.append(f"METHOD:{output.method}")
    if output.named and name:
        lines += [f"NAME:{octets.text(name)}", f"X-WR-CALNAME:{octets.text(name)}"]
    if output.named and refresh:
        every = octets.interval(refresh)
        lines += [f"REFRESH-INTERVAL;VALUE=DURATION:{every}", f"X-PUBLISHED-TTL:{every}"]
    return b"".join([*map(octets.line, lines), *map(_timezone, sorted(set(zones)))])


def _timezone(zone: str) -> bytes:
    component = vtimezone(zone)
    if component is None:
        raise ValueError(f"{zone} has no VTIMEZONE that readers understand; write its times in UTC.")
    return component


def _calendar(visits: Iterable[Visit], output: Output, style: Style, cache: EventCache) -> bytes:
    ordered = sorted(visits, key=lambda visit: (visit.arrive, visit.uid))
    if not ordered:
        raise ValueError("There is no appointment to write: a calendar file needs at least one.")
    events = [cache.written(visit, output, style) for visit in ordered]
    zones = {event.zone for event in events if event.zone}
    return b"".join([opening(output, zones), *(event.octets for event in events), CLOSING])


def _message(visit: Visit, output: Output, style: Style, message: Message) -> bytes:
    event = write(visit, output, style, message)
    zones = [event.zone] if event.zone else []
    return b"".join([opening(output, zones), event.octets, CLOSING])
