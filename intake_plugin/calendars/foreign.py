"""Calendar files that other programs wrote: octets -> entries whose times are certain.

Only what decides a time is read, so that a broken description or picture refuses nothing. What
does decide a time is never guessed:

- A DATE-TIME with "Z" is UTC, one with TZID is in that zone, one with neither (floating) is on the
  clinic's clock. An all-day entry lasts from midnight to midnight on the clinic's clock.
- A TZID means, in this order: the IANA zone of that name; the VTIMEZONE that the file itself brings;
  the zone that CLDR gives for a Windows name; the IANA zone at the end of a vendor's path, such as
  "/freeassociation.sourceforge.net/Europe/London". Anything else is refused with the entry's name.
- Zones are made for each file anew. Two clinics' files may both bring a "Customized Time Zone".
- A file that ends before its END:VCALENDAR was cut off and is refused.

An entry is named by its line, its start and its UID; its title may hold a patient's name.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from icalendar import Component, Timezone, TimezoneDaylight, TimezoneStandard, vRecur, vUTCOffset
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from intake_plugin.errors import Problem, did_you_mean

Moment = dt.date | dt.datetime
"""A whole day, or an aware instant in the zone it was written in."""

Period = tuple[dt.datetime, dt.datetime]
T = TypeVar("T")

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_LINE: Final = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:])*)*):(.*)', re.DOTALL)
_PARAMETER: Final = re.compile(r';([A-Za-z0-9-]+)=((?:"[^"]*"|[^";:])*)')
_DATE: Final = re.compile(r"(\d{4})(\d\d)(\d\d)")
_DATE_TIME: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)")
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?")
_DURATION: Final = re.compile(
    r"([+-]?)P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?"
)
_RULE: Final = re.compile(r"[A-Za-z-]+=[^=;]+(;[A-Za-z-]+=[^=;]+)*;?")
_UNTIL: Final = re.compile(r"(?i)(?<=UNTIL=)[^;]*")

_ONSETS: Final = {"STANDARD": TimezoneStandard, "DAYLIGHT": TimezoneDaylight}
_ONSET: Final = frozenset({"DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE", "RDATE"})
_SPAN: Final = frozenset({"DTSTART", "DTEND", "DURATION"})
_REPEATS: Final = frozenset({"RRULE", "RDATE", "RECURRENCE-ID"})
_WANTED: Final[Mapping[str, frozenset[str]]] = {
    "VEVENT": _SPAN | _REPEATS | {"UID", "EXDATE", "SEQUENCE", "STATUS", "TRANSP"},
    "VFREEBUSY": frozenset({"UID", "FREEBUSY"}),
    "VTIMEZONE": frozenset({"TZID"}),
    "STANDARD": _ONSET,
    "DAYLIGHT": _ONSET,
}
_STRUCTURE: Final = (b"BEGIN:", b"END:")
_SEVERAL: Final = frozenset({"RRULE", "RDATE", "EXDATE", "FREEBUSY"})
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_ONE_DAY: Final = dt.timedelta(days=1)
_ANY_ZONE: Final = dt.timedelta(days=2)
"""More than the clocks of any two zones are apart."""
_EARLIEST: Final = dt.date.min + _ANY_ZONE


class Wrong(ValueError):
    """A value that cannot be read; its text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One VEVENT, as far as it decides a time. Half-open; `end` is of the same kind as `start`."""

    line: int
    uid: str
    start: Moment
    end: Moment
    takes_time: bool
    """False for a cancelled or transparent one, which still replaces an instance of its series."""
    sequence: int = 0
    rules: tuple[vRecur, ...] = ()
    """RRULEs, with UNTIL in the form that `start` asks for."""
    extra: tuple[Moment | Period, ...] = ()
    excluded: tuple[Moment, ...] = ()
    recurrence_id: Moment | None = None
    this_and_future: bool = False

    @property
    def name(self) -> str:
        """How the entry is found again in its calendar."""
        if isinstance(self.start, dt.datetime):
            return _name(self.line, f"{self.start:%Y-%m-%d %H:%M}", self.uid)
        return _name(self.line, self.start.isoformat(), self.uid)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds: its entries, and the stretches that a VFREEBUSY calls busy."""

    entries: Sequence[Entry]
    periods: Sequence[Period]
    problems: Sequence[Problem]


class _Line(NamedTuple):
    number: int
    name: str
    parameters: Mapping[str, str]
    value: str


@dataclass(slots=True)
class _Component:
    name: str
    number: int
    lines: list[_Line] = field(default_factory=list)
    parts: list[_Component] = field(default_factory=list)

    def first(self, name: str) -> _Line | None:
        return next((line for line in self.lines if line.name == name), None)

    def each(self, name: str) -> Iterator[_Line]:
        return (line for line in self.lines if line.name == name)

    def text(self, name: str) -> str:
        line = self.first(name)
        return "" if line is None else line.value.strip()


def read(octets: bytes, zone: ZoneInfo, *, since: dt.date, entries: int) -> Contents:
    """Read a calendar file; floating times and whole days are on the clock of `zone`.

    What was over days before `since` is left out unread, whatever may be wrong with it. `entries`
    is the greatest number of VEVENTs and VFREEBUSYs. Never raises: what is wrong is in `problems`,
    and then nothing of the file may be used.
    """
    problems: list[Problem] = []
    try:
        found = _components(octets, entries)
    except Wrong as error:
        return Contents((), (), [Problem("", str(error))])
    zones = _Zones(zone, found)
    events, periods = [], []
    for component in found:
        if component.name == "VEVENT" and not _long_over(component, since):
            entry = _kept(component, problems, lambda it: _entry(it, zones))
            events += [] if entry is None else [entry]
        elif component.name == "VFREEBUSY":
            periods += _kept(component, problems, lambda it: _busy(it, zones)) or []
    return Contents(events, periods, problems)


def _long_over(component: _Component, since: dt.date) -> bool:
    """Whether a single entry was over before `since` in every zone there is."""
    if any(line.name in _REPEATS or line.name == "DURATION" for line in component.lines):
        return False
    written = [line.value.strip()[:8] for line in component.lines if line.name in {"DTSTART", "DTEND"}]
    over = f"{max(since, _EARLIEST) - _ANY_ZONE:%Y%m%d}"
    return bool(written) and all(date.isdecimal() and date < over for date in written)


def _kept(component: _Component, problems: list[Problem], make: Callable[[_Component], T]) -> T | None:
    try:
        return make(component)
    except Wrong as error:
        start = component.text("DTSTART")
        problems.append(Problem(_name(component.number, start, component.text("UID")), str(error)))
        return None


def _name(number: int, start: str, uid: str) -> str:
    return f"Line {number}, entry of {start or 'no date'} (UID {uid or 'missing'})"


def _components(octets: bytes, most: int) -> list[_Component]:
    """Return the components that decide times. Raises Wrong where the file's structure is broken."""
    found: list[_Component] = []
    open_: list[_Component] = []
    calendars = 0
    for number, line in _lines(octets):
        head = line[:6].upper()
        if not head.startswith(_STRUCTURE):
            if open_:
                _keep(open_[-1], number, line)
            continue
        name = line.partition(b":")[2].strip().decode("ascii", "replace").upper()
        if head == b"BEGIN:":
            calendars += name == "VCALENDAR"
            open_.append(_begun(name, number, open_, found, most))
        elif not open_ or open_.pop().name != name:
            raise Wrong(f"Line {number}: END:{name} closes what was not opened last; the file is damaged.")
    if not calendars:
        raise Wrong(_no_calendar(octets))
    if open_:
        raise Wrong(
            f"The file ends inside the {open_[-1].name} of line {open_[-1].number}: it was cut off on its "
            "way, or its program did not finish writing it."
        )
    return found


def _begun(name: str, number: int, open_: list[_Component], found: list[_Component], most: int) -> _Component:
    component = _Component(name, number)
    parent = open_[-1].name if open_ else ""
    if parent == "VCALENDAR" and name in _WANTED:
        found.append(component)
        if len(found) > most:
            raise Wrong(
                f"It has more than {most} entries. Publish fewer past ones, or raise `entries` in the "
                "profile."
            )
    elif parent == "VTIMEZONE" and name in _ONSETS:
        open_[-1].parts.append(component)
    return component


def _keep(component: _Component, number: int, line: bytes) -> None:
    wanted = _WANTED.get(component.name)
    if wanted is None:
        return
    name = re.split(rb"[;:]", line, maxsplit=1)[0].decode("ascii", "replace").upper()
    if name not in wanted:
        return
    match = _LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        component.lines.append(_Line(number, name, {}, ""))
        return
    parameters = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(match[2])}
    component.lines.append(_Line(number, name, parameters, match[3]))


def _lines(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield unfolded lines with the number of their first line in the file.

    Unfolded as octets: some programs fold inside of a UTF-8 character.
    """
    start, parts = 1, list[bytes]()
    for number, line in enumerate(_LINE_END.split(octets.removeprefix(b"\xef\xbb\xbf")), start=1):
        if line[:1] in {b" ", b"\t"}:
            parts.append(line[1:])
            continue
        if parts:
            yield start, b"".join(parts)
        start, parts = number, [line]
    yield start, b"".join(parts)


def _no_calendar(octets: bytes) -> str:
    begin = octets[:1000].lstrip().lower()
    if not begin:
        return "It is empty."
    if begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return (
            "It is a web page and no calendar file; perhaps the address leads to a sign-in. Copy the "
            "calendar's own address in iCal format."
        )
    if b"\x00" in begin:
        return "It is not text in UTF-8, as calendar files are; export the calendar once more."
    return "It is no calendar file: there is no BEGIN:VCALENDAR in it."


class _Zones:
    """The zones that one file may mean."""

    def __init__(self, own: ZoneInfo, components: Iterable[_Component]) -> None:
        self.own = own
        self._defined: dict[str, list[_Component]] = {}
        self._known: dict[str, dt.tzinfo] = {}
        for component in components:
            if component.name == "VTIMEZONE":
                self._defined.setdefault(component.text("TZID"), []).append(component)

    def named(self, tzid: str) -> dt.tzinfo:
        """Return the zone that a TZID means; raises Wrong where that is not certain."""
        if tzid not in self._known:
            self._known[tzid] = self._find(tzid)
        return self._known[tzid]

    def _find(self, tzid: str) -> dt.tzinfo:
        if tzid in _iana():
            return ZoneInfo(tzid)
        if defined := self._defined.get(tzid):
            return _one_zone(tzid, defined)
        if tzid in WINDOWS_TO_OLSON:
            return ZoneInfo(WINDOWS_TO_OLSON[tzid])
        path = tzid.strip("/").split("/") if tzid.startswith("/") else []
        for start in range(len(path)):
            if "/".join(path[start:]) in _iana():
                return ZoneInfo("/".join(path[start:]))
        raise Wrong(
            f"Nobody can tell which time zone {tzid!r} is: it is no IANA or Windows name, and the file has "
            f"no VTIMEZONE for it.{did_you_mean(tzid, _iana())} Choose the zone in the calendar program "
            "again, or publish the calendar with its time zones."
        )


@cache
def _iana() -> frozenset[str]:
    return frozenset(available_timezones())


def _one_zone(tzid: str, defined: Sequence[_Component]) -> dt.tzinfo:
    first, *others = ([[tuple(line[1:]) for line in part.lines] for part in it.parts] for it in defined)
    if any(other != first for other in others):
        raise Wrong(f"The file describes the time zone {tzid!r} more than once, each time differently.")
    zone = Timezone()
    zone.add("TZID", tzid)
    for part in defined[0].parts:
        zone.add_component(_onset(tzid, part))
    try:
        made: dt.tzinfo = zone.to_tz(lookup_tzid=False)
        dt.datetime(2000, 1, 1, tzinfo=made).utcoffset()
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise Wrong(f"The file's VTIMEZONE for {tzid!r} cannot be followed: {error}.") from None
    return made


def _onset(tzid: str, part: _Component) -> Component:
    onset: Component = _ONSETS[part.name]()
    try:
        onset.add("DTSTART", _wall(part.text("DTSTART")))
        for name in ("TZOFFSETFROM", "TZOFFSETTO"):
            onset.add(name, vUTCOffset(_offset(part.text(name))))
        for line in part.each("RRULE"):
            onset.add("RRULE", _recurrence(line.value, {"YEARLY"}))
        for line in part.each("RDATE"):
            onset.add("RDATE", [_wall(value) for value in line.value.split(",")])
    except ValueError as error:
        raise Wrong(f"The file's VTIMEZONE for {tzid!r} cannot be followed: {error}") from None
    return onset


def _wall(text: str) -> dt.datetime:
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        raise Wrong(f"{text[:40]!r} is not a local time.")
    return _clock(match, None)


def _entry(component: _Component, zones: _Zones) -> Entry:
    _refuse_twice(component)
    start = _required(component, "DTSTART", zones)
    start, end = _span(component, start, zones)
    recurrence = component.first("RECURRENCE-ID")
    return Entry(
        line=component.number,
        uid=component.text("UID"),
        start=start,
        end=end,
        takes_time=component.text("STATUS").upper() != "CANCELLED"
        and component.text("TRANSP").upper() != "TRANSPARENT",
        sequence=_whole(component.text("SEQUENCE") or "0"),
        rules=tuple(_rule(line.value, start) for line in component.each("RRULE")),
        extra=tuple(_extra(line, value, zones) for line, value in _values(component, "RDATE")),
        excluded=tuple(_moment(line, value, zones) for line, value in _values(component, "EXDATE")),
        recurrence_id=None if recurrence is None else _moment(recurrence, recurrence.value, zones),
        this_and_future=recurrence is not None
        and recurrence.parameters.get("RANGE", "").upper() == "THISANDFUTURE",
    )


def _refuse_twice(component: _Component) -> None:
    names = [line.name for line in component.lines if line.name not in _SEVERAL]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise Wrong(f"It has {name} more than once.")


def _required(component: _Component, name: str, zones: _Zones) -> Moment:
    line = component.first(name)
    if line is None:
        raise Wrong(f"It has no {name}, so nobody knows when it is.")
    return _moment(line, line.value, zones)


def _span(component: _Component, start: Moment, zones: _Zones) -> tuple[Moment, Moment]:
    line, length = component.first("DTEND"), component.text("DURATION")
    if line is not None:
        end = _moment(line, line.value, zones)
    elif length:
        duration = _duration(length)
        if not isinstance(start, dt.datetime) and duration % _ONE_DAY:
            start = midnight(start, zones.own)
        end = _later(start, duration)
    else:
        end = start
    if isinstance(start, dt.datetime) != isinstance(end, dt.datetime):
        start, end = instant(start, zones.own), instant(end, zones.own)
    whole_day = not isinstance(start, dt.datetime) and end == start
    if whole_day:
        end = _later(start, _ONE_DAY)
    if instant(end, zones.own) < instant(start, zones.own):
        raise Wrong("It ends before it starts.")
    return start, end


def _later(moment: Moment, duration: dt.timedelta) -> Moment:
    try:
        return moment + duration
    except OverflowError:
        raise Wrong("It ends after the year 9999.") from None


def _busy(component: _Component, zones: _Zones) -> list[Period]:
    return [
        _period(line, value, zones)
        for line, value in _values(component, "FREEBUSY")
        if line.parameters.get("FBTYPE", "BUSY").upper() != "FREE"
    ]


def _values(component: _Component, name: str) -> Iterator[tuple[_Line, str]]:
    return ((line, value) for line in component.each(name) for value in line.value.split(","))


def _extra(line: _Line, value: str, zones: _Zones) -> Moment | Period:
    return _period(line, value, zones) if "/" in value else _moment(line, value, zones)


def _period(line: _Line, value: str, zones: _Zones) -> Period:
    first, _, second = value.partition("/")
    start = _moment(line, first, zones)
    ends = second.strip().upper().startswith(("P", "+P"))
    end = _later(start, _duration(second)) if ends else _moment(line, second, zones)
    if not isinstance(start, dt.datetime) or not isinstance(end, dt.datetime) or end < start:
        raise Wrong(f"{line.name} has a period that cannot be: {value[:80]!r}.")
    return start, end


def _moment(line: _Line, value: str, zones: _Zones) -> Moment:
    text = value.strip()
    try:
        if match := _DATE.fullmatch(text):
            return dt.date(*map(int, match.groups()))
        if match := _DATE_TIME.fullmatch(text):
            if match[7]:
                zone: dt.tzinfo = dt.UTC
            else:
                tzid = line.parameters.get("TZID")
                zone = zones.own if tzid is None else zones.named(tzid)
            return _clock(match, zone)
    except Wrong:
        raise
    except ValueError:
        pass
    raise Wrong(f"{line.name} is no date and no time: {text[:40]!r}.")


def _clock(match: re.Match[str], zone: dt.tzinfo | None) -> dt.datetime:
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    # A leap second has no place on Python's clock.
    return dt.datetime(year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=zone)


def _offset(text: str) -> dt.timedelta:
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise Wrong(f"{text[:40]!r} is no offset from UTC, such as +0100.")
    hours, minutes, seconds = (int(group or 0) for group in match.groups()[1:])
    offset = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -offset if match[1] == "-" else offset


def _duration(text: str) -> dt.timedelta:
    match = _DURATION.fullmatch(text.strip().upper())
    if match is None or not any(match.groups()[1:]):
        raise Wrong(f"{text[:40]!r} is no duration.")
    weeks, days, hours, minutes, seconds = (int(group or 0) for group in match.groups()[1:])
    try:
        duration = dt.timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise Wrong(f"{text[:40]!r} is longer than time is counted.") from None
    if match[1] == "-" and duration:
        raise Wrong("It ends before it starts.")
    return duration


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise Wrong(f"SEQUENCE is no number: {text[:40]!r}.")
    return int(text)


def _rule(text: str, start: Moment) -> vRecur:
    found = _UNTIL.search(text)
    rule = _recurrence(_UNTIL.sub("20000101", text), _FREQUENCIES)
    if found is not None:
        rule["UNTIL"] = [_until(found[0].strip(), start)]
        # RFC 5545 forbids both; the end that is a date is the one people see.
        rule.pop("COUNT", None)
    return rule


def _recurrence(text: str, frequencies: Iterable[str]) -> vRecur:
    unreadable = f"Its rule of repetition cannot be read: {text[:80]!r}."
    # The library passes over a part that it cannot split.
    if not _RULE.fullmatch(text.strip()):
        raise Wrong(unreadable)
    try:
        rule: vRecur = vRecur.from_ical(text.strip())
    except (ValueError, ArithmeticError):
        raise Wrong(unreadable) from None
    frequency = rule.get("FREQ", [""])[0]
    if frequency not in frequencies:
        raise Wrong(f"It repeats {frequency or 'by no frequency'}, which no calendar of appointments does.")
    if any(number < 1 for number in rule.get("INTERVAL", [1])):
        raise Wrong("It repeats at an interval of less than 1.")
    if rule.get("RSCALE", ["GREGORIAN"])[0] != "GREGORIAN":
        raise Wrong("It repeats by another calendar than the Gregorian.")
    return rule


def _until(text: str, start: Moment) -> Moment:
    """Return the end of a rule in the form RFC 5545 wants: UTC for an instant, a date for whole days."""
    try:
        if match := _DATE.fullmatch(text):
            date = dt.date(*map(int, match.groups()))
            if not isinstance(start, dt.datetime):
                return date
            return (
                dt.datetime.combine(date, dt.time.max, start.tzinfo).astimezone(dt.UTC).replace(microsecond=0)
            )
        if match := _DATE_TIME.fullmatch(text):
            if not isinstance(start, dt.datetime):
                return _clock(match, None).date()
            return _clock(match, dt.UTC if match[7] else start.tzinfo).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        pass
    raise Wrong(f"Its repetition ends at no date and no time: {text[:40]!r}.")


def midnight(date: dt.date, zone: dt.tzinfo) -> dt.datetime:
    """Return the instant at which a date begins on the clock of `zone`."""
    return dt.datetime.combine(date, dt.time(), zone)


def instant(moment: Moment, zone: dt.tzinfo) -> dt.datetime:
    """Return a moment as an aware UTC instant; one that no UTC year holds becomes the nearest that does."""
    aware = moment if isinstance(moment, dt.datetime) else midnight(moment, zone)
    try:
        return aware.astimezone(dt.UTC)
    except OverflowError:
        return aware.replace(tzinfo=dt.UTC)
