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
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from icalendar import Timezone, TimezoneDaylight, TimezoneStandard, vRecur, vUTCOffset
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from intake_plugin.calendars.components import Component, Line, Wrong, components
from intake_plugin.errors import Problem, did_you_mean

Moment = dt.date | dt.datetime
"""A whole day, or an aware instant in the zone it was written in."""

Period = tuple[dt.datetime, dt.datetime]
T = TypeVar("T")

_DATE: Final = re.compile(r"(\d{4})(\d\d)(\d\d)")
_DATE_TIME: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(Z?)")
_OFFSET: Final = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?")
_DURATION: Final = re.compile(
    r"([+-]?)P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?"
)
_RULE: Final = re.compile(r"[A-Za-z-]+=[^=;]+(;[A-Za-z-]+=[^=;]+)*;?")
_UNTIL: Final = re.compile(r"(?i)(?<=UNTIL=)[^;]*")

_ONSETS: Final[Mapping[str, type[TimezoneStandard | TimezoneDaylight]]] = {
    "STANDARD": TimezoneStandard,
    "DAYLIGHT": TimezoneDaylight,
}
_LAST_YEAR: Final = 2100
_WEEKS: Final = 53
_MOST_CHANGES: Final = 10_000
"""Of one zone: Outlook's two yearly ones from 1601 on are a tenth of it."""
_REPEATS: Final = frozenset({"RRULE", "RDATE", "RECURRENCE-ID"})
_DATES: Final = frozenset({"RDATE", "EXDATE"})
_SEVERAL: Final = frozenset({"RRULE", "RDATE", "EXDATE", "FREEBUSY"})
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_ONE_DAY: Final = dt.timedelta(days=1)
_PARTS: Final = 3
"""As many as the longest IANA names have: America/Argentina/Buenos_Aires."""
_ANY_ZONE: Final = dt.timedelta(days=2)
"""More than the clocks of any two zones are apart."""
_EARLIEST: Final = dt.date.min + _ANY_ZONE


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


def read(
    octets: bytes,
    zone: ZoneInfo,
    *,
    since: dt.date,
    entries: int,
    step: Callable[[], None] = lambda: None,
) -> Contents:
    """Read a calendar file; floating times and whole days are on the clock of `zone`.

    What was over days before `since` is left out unread, whatever may be wrong with it. `entries`
    is the greatest number of VEVENTs and VFREEBUSYs, and of dates that one of them lists. `step` is
    called before each; raise from it to give up. Otherwise never raises: what is wrong is in
    `problems`, and then nothing of the file may be used.
    """
    problems: list[Problem] = []
    try:
        found = components(octets, entries)
    except Wrong as error:
        return Contents((), (), [Problem("", str(error))])
    zones = _Zones(zone, found)
    events, periods = [], []
    for component in found:
        step()
        if component.name == "VEVENT" and not _long_over(component, since):
            entry = _kept(component, problems, lambda it: _entry(it, zones, entries))
            events += [] if entry is None else [entry]
        elif component.name == "VFREEBUSY":
            periods += _kept(component, problems, lambda it: _busy(it, zones)) or []
    return Contents(events, periods, problems)


def _long_over(component: Component, since: dt.date) -> bool:
    """Whether a single entry was over before `since` in every zone there is."""
    if any(line.name in _REPEATS or line.name == "DURATION" for line in component.lines):
        return False
    written = [line.value.strip()[:8] for line in component.lines if line.name in {"DTSTART", "DTEND"}]
    over = f"{max(since, _EARLIEST) - _ANY_ZONE:%Y%m%d}"
    return bool(written) and all(date.isdecimal() and date < over for date in written)


def _kept(component: Component, problems: list[Problem], make: Callable[[Component], T]) -> T | None:
    try:
        return make(component)
    except Wrong as error:
        start = component.text("DTSTART")
        problems.append(Problem(_name(component.number, start, component.text("UID")), str(error)))
        return None


def _name(number: int, start: str, uid: str) -> str:
    return f"Line {number}, entry of {start[:40] or 'no date'} (UID {uid or 'missing'})"


class _Zones:
    """The zones that one file may mean."""

    def __init__(self, own: ZoneInfo, components: Iterable[Component]) -> None:
        self.own = own
        self._defined: dict[str, list[Component]] = {}
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
        path = tzid.strip("/").split("/")[-_PARTS:] if tzid.startswith("/") else []
        for start in range(len(path)):
            if "/".join(path[start:]) in _iana():
                return ZoneInfo("/".join(path[start:]))
        raise Wrong(
            f"Nobody can tell which time zone {tzid[:80]!r} is: it is no IANA or Windows name, and the file "
            f"has no VTIMEZONE for it.{did_you_mean(tzid, _iana())} Choose the zone in the calendar program "
            "again, or publish the calendar with its time zones."
        )


@cache
def _iana() -> frozenset[str]:
    return frozenset(available_timezones())


def _one_zone(tzid: str, defined: Sequence[Component]) -> dt.tzinfo:
    first, *others = ([[tuple(line[1:]) for line in part.lines] for part in it.parts] for it in defined)
    if any(other != first for other in others):
        raise Wrong(f"The file describes the time zone {tzid[:80]!r} more than once, each time differently.")
    zone = Timezone()
    zone.add("TZID", tzid)
    changes = 0
    for part in defined[0].parts:
        onset, often = _onset(tzid, part)
        changes += often
        if changes > _MOST_CHANGES:
            raise Wrong(
                f"The file's VTIMEZONE for {tzid[:80]!r} changes the clock oftener than any zone does."
            )
        zone.add_component(onset)
    try:
        made: dt.tzinfo = zone.to_tz(lookup_tzid=False)
        dt.datetime(2000, 1, 1, tzinfo=made).utcoffset()
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise Wrong(f"The file's VTIMEZONE for {tzid[:80]!r} cannot be followed: {error}.") from None
    return made


def _onset(tzid: str, part: Component) -> tuple[TimezoneStandard | TimezoneDaylight, int]:
    """Return an onset, and about how often it comes: each time that is read is compared with them all."""
    onset = _ONSETS[part.name]()
    often = 1
    try:
        begins = _wall(part.text("DTSTART"))
        onset.add("DTSTART", begins)
        for name in ("TZOFFSETFROM", "TZOFFSETTO"):
            onset.add(name, vUTCOffset(_offset(part.text(name))))
        for line in part.each("RRULE"):
            rule = _recurrence(line.value, {"YEARLY"})
            onset.add("RRULE", rule)
            often += _changes(rule, begins.year)
        for line in part.each("RDATE"):
            dates = [_wall(value) for value in line.value.split(",")]
            onset.add("RDATE", dates)
            often += len(dates)
    except ValueError as error:
        raise Wrong(f"The file's VTIMEZONE for {tzid[:80]!r} cannot be followed: {error}") from None
    return onset, often


def _changes(rule: vRecur, begins: int) -> int:
    """Return how often a rule from a year on changes the clock, at the most."""
    until = rule.get("UNTIL", [None])[0]
    years = (_LAST_YEAR if until is None else until.year) - begins + 1
    lists = [len(values) for part, values in rule.items() if part.startswith("BY")]
    return max(years, 1) * prod(lists) * (1 if "BYMONTH" in rule else _WEEKS)


def _wall(text: str) -> dt.datetime:
    match = _DATE_TIME.fullmatch(text.strip())
    if match is None:
        raise Wrong(f"{text[:40]!r} is not a local time.")
    return _clock(match, None)


def _entry(component: Component, zones: _Zones, most: int) -> Entry:
    _refuse_twice(component)
    _refuse_many(component, most)
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


def _refuse_twice(component: Component) -> None:
    names = [line.name for line in component.lines if line.name not in _SEVERAL]
    for name in sorted({name for name in names if names.count(name) > 1}):
        raise Wrong(f"It has {name} more than once.")


def _refuse_many(component: Component, most: int) -> None:
    dates = sum(line.value.count(",") + 1 for line in component.lines if line.name in _DATES)
    if dates > most:
        raise Wrong(f"It lists more than {most} dates. Shorten it, or raise `entries` in the profile.")


def _required(component: Component, name: str, zones: _Zones) -> Moment:
    line = component.first(name)
    if line is None:
        raise Wrong(f"It has no {name}, so nobody knows when it is.")
    return _moment(line, line.value, zones)


def _span(component: Component, start: Moment, zones: _Zones) -> tuple[Moment, Moment]:
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


def _busy(component: Component, zones: _Zones) -> list[Period]:
    return [
        _period(line, value, zones)
        for line, value in _values(component, "FREEBUSY")
        if line.parameters.get("FBTYPE", "BUSY").upper() != "FREE"
    ]


def _values(component: Component, name: str) -> Iterator[tuple[Line, str]]:
    return ((line, value) for line in component.each(name) for value in line.value.split(","))


def _extra(line: Line, value: str, zones: _Zones) -> Moment | Period:
    return _period(line, value, zones) if "/" in value else _moment(line, value, zones)


def _period(line: Line, value: str, zones: _Zones) -> Period:
    first, _, second = value.partition("/")
    start = _moment(line, first, zones)
    ends = second.strip().upper().startswith(("P", "+P"))
    end = _later(start, _duration(second)) if ends else _moment(line, second, zones)
    if not isinstance(start, dt.datetime) or not isinstance(end, dt.datetime) or end < start:
        raise Wrong(f"{line.name} has a period that cannot be: {value[:80]!r}.")
    return start, end


def _moment(line: Line, value: str, zones: _Zones) -> Moment:
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
