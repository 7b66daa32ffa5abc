"""What the calendar room is told: appointments, the clinic's place, and words in one language."""

from __future__ import annotations

import datetime as dt
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

NUMBING = "numbing"
"""The kind of the entry that says when the cream goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CareNote:
    """An entry before or after a session; `kind` tells it from the other notes of that session."""

    kind: str
    start: dt.datetime
    end: dt.datetime
    description: str
    phase: Literal["before", "after"] = "before"
    withdrawn: bool = False
    """Calendars may hold it, and it no longer applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One session as a calendar shows it; every moment is aware.

    `uid` is the UUID given when the session was booked. It stays through every move and through a
    cancellation, while `sequence` rises. `version` rises with every change of anything in here.
    Raises ValueError where a reader would show the wrong time or a second event.
    """

    uid: str
    arrive: dt.datetime
    end: dt.datetime
    treatment_start: dt.datetime
    zone: str
    """The IANA zone in which the clinic's clock runs."""
    ordinal: int
    count: int
    sequence: int
    cancelled: bool
    modified: dt.datetime
    """When the record last changed; DTSTAMP of everything but mail, RFC 5545 section 3.8.7.2."""
    cream_on: dt.datetime | None
    cream_off: dt.datetime | None
    cream_at: Literal["home", "clinic"] | None
    product: str
    """The numbing product's name, for the clinic's eyes only; empty without one."""
    resources: tuple[str, ...]
    series_uid: str
    """The `uid` of the first session of the series."""
    version: int
    url: str = ""
    """The patient's manage page without a token, or the clinic's record behind its login."""
    case: str = ""
    """The case number, for the clinic's eyes only."""
    preparation: tuple[str, ...] = ()
    """What to do on the day, a line each."""
    treatment: str = ""
    """The treatment's name, only where the patient chose to see details in the calendar."""
    numbing_withdrawn: bool = False
    """Calendars may hold a numbing entry from before the clinic took over putting the cream on."""
    care: tuple[CareNote, ...] = ()

    def __post_init__(self) -> None:
        uuid.UUID(self.uid)
        moments = [self.arrive, self.end, self.treatment_start, self.modified, self.cream_on, self.cream_off]
        moments += [moment for note in self.care for moment in (note.start, note.end)]
        if any(moment is not None and moment.utcoffset() is None for moment in moments):
            raise ValueError(f"Visit {self.uid} has a time without a zone; pass aware datetimes, in UTC.")
        if not self.arrive < self.end:
            raise ValueError(f"Visit {self.uid} ends at {self.end}, not after the arrival at {self.arrive}.")
        for note in self.care:
            if not note.start < note.end:
                raise ValueError(f"Visit {self.uid} has an entry {note.kind!r} that ends at its start.")
        kinds = [NUMBING, *(note.kind for note in self.care)]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"Visit {self.uid} has two entries of one kind: {', '.join(kinds)}. Rename one.")

    @property
    def applies_at_home(self) -> bool:
        """Whether the patient puts the cream on, and so has to be told when."""
        return self.cream_at == "home" and self.cream_on is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the patient goes and whom to call."""

    name: str
    """The clinic's own, which stands in descriptions only."""
    address: str
    telephone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Every word of one audience's calendar in one language; `{name}` marks what is filled in.

    Titles and alarms show on lock screens, in cars and in employers' calendars: they stay neutral.
    """

    appointment: str
    appointment_at: str
    """Title where the clinic chose to show a name: {name}."""
    appointment_details: str
    """Title where the patient chose to see details, still neutral: {title}, {ordinal} and {count}."""
    appointment_case: str
    """Title for the clinic: {case}."""
    cancelled: str
    """Title of a cancelled appointment: {title}."""
    cancelled_note: str
    withdrawn_note: str
    """Of an entry that no longer applies although its appointment stands."""
    prepare: str
    """Title of a numbing or pre-care entry, and every alarm's text."""
    after: str
    """Title of an aftercare entry."""
    arrive: str
    """{time}"""
    cream_on_home: str
    """{time}"""
    cream_on_clinic: str
    """{time}"""
    cream_off: str
    """{time}"""
    treatment_start: str
    """{time}"""
    telephone: str
    """{telephone}"""
    link: str
    """{url}"""
    case: str
    """{case}"""
    session: str
    """{ordinal} and {count}"""
    resources: str
    """{resources}"""
    product: str
    """{product}"""
    clock: str
    """A time of day: {hour} of 24, {hour12}, {minute} and {half}, as in `{hour:02}:{minute:02}`."""
    am: str = ""
    pm: str = ""

    def time(self, moment: dt.datetime) -> str:
        """Return the wall-clock time of `moment` as this language writes it."""
        half = self.am if moment.hour < 12 else self.pm
        hour12 = (moment.hour - 1) % 12 + 1
        return self.clock.format(hour=moment.hour, hour12=hour12, minute=moment.minute, half=half)

    def problems(self) -> list[str]:
        """Return what is wrong with these words: a mark nobody fills in, or one left out."""
        found = []
        for field in fields(self):
            expected = _MARKS.get(field.name, frozenset())
            try:
                parts = list(string.Formatter().parse(getattr(self, field.name)))
            except ValueError as error:
                found.append(f"{field.name}: {error}")
                continue
            marks = {mark for _, mark, _, _ in parts if mark is not None}
            unknown = marks - expected
            missing = expected - marks if field.name != "clock" else {"minute"} - marks
            found += [f"{field.name}: nothing fills in {{{mark}}}" for mark in sorted(unknown)]
            found += [f"{field.name}: {{{mark}}} is missing" for mark in sorted(missing)]
        return found


_TIME = frozenset({"time"})
_MARKS: Mapping[str, frozenset[str]] = {
    "appointment_at": frozenset({"name"}),
    "appointment_details": frozenset({"title", "ordinal", "count"}),
    "appointment_case": frozenset({"case"}),
    "cancelled": frozenset({"title"}),
    "arrive": _TIME,
    "cream_on_home": _TIME,
    "cream_on_clinic": _TIME,
    "cream_off": _TIME,
    "treatment_start": _TIME,
    "telephone": frozenset({"telephone"}),
    "link": frozenset({"url"}),
    "case": frozenset({"case"}),
    "session": frozenset({"ordinal", "count"}),
    "resources": frozenset({"resources"}),
    "product": frozenset({"product"}),
    "clock": frozenset({"hour", "hour12", "minute", "half"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminders:
    """When alarms ring before the arrival, and how long a numbing entry is shown.

    Alarms are best effort: Google ignores them and Outlook keeps the first only.
    """

    prepare: dt.timedelta | None
    """Lead of the first alarm. Where the patient applies the cream it rings at that time instead."""
    ahead: dt.timedelta | None
    """Lead of the second alarm, a day as a rule."""
    entry: dt.timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What all events of one output share: the words, the place, the reminders."""

    words: Words
    place: Place
    reminders: Reminders
    display_name: str = ""
    """What the clinic lets titles and places say of it; empty for nothing."""

    @property
    def title(self) -> str:
        """What every appointment is called where nothing else is known of it."""
        name = self.display_name
        return self.words.appointment_at.format(name=name) if name else self.words.appointment

    @property
    def location(self) -> str:
        """Where to go, as it may show on a lock screen: many a clinic's name tells what is done there."""
        return "\n".join(part for part in (self.display_name, self.place.address) if part)
