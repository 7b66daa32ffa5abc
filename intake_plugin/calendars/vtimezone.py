"""VTIMEZONE components from the rule in force, as every reader understands them.

A zone's TZif file ends with its rule for the years to come (`CET-1CEST,M3.5.0,M10.5.0/3`, RFC 8536
section 3.3). Written as a pair of yearly RRULEs from 1970 it is read alike by calendar programs,
which lists of RDATEs are not: Outlook ignores those and Thunderbird places summer times an hour off.
"""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
import importlib.resources
import io
import re
import struct
import zoneinfo
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from intake_plugin.calendars import octets

_FIRST_YEAR = 1970
_SOURCE = "tzdata.zi"
"""The text of all rules, whose first line is "# version 2026f"; it lies beside the zones."""
_WEEKDAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
_LAST_WEEK = 5
_DAY = dt.timedelta(days=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_HEADER = struct.Struct(">4s c 15x 6l")
_NAME = r"<[^>]+>|[A-Za-z]+"
_OFFSET = r"[+-]?\d+(?::\d+){0,2}"
_ONSET = rf"M\d+\.\d\.\d(?:/{_OFFSET})?"
_POSIX = re.compile(
    rf"(?P<std>{_NAME})(?P<std_offset>{_OFFSET})"
    rf"(?:(?P<dst>{_NAME})(?P<dst_offset>{_OFFSET})?,(?P<begins>{_ONSET}),(?P<ends>{_ONSET}))?"
)


@lru_cache(maxsize=1024)
def vtimezone(zone: str) -> bytes | None:
    """Return the VTIMEZONE of an IANA zone, or None where RRULE cannot carry its rule.

    "The day after the last Thursday" is such a rule. Ask `holds` whether it is right for a time.
    Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone.
    """
    rule = _read(zone)[1]
    body = None if rule is None else _yearly(rule.onsets) if rule.onsets else _standard(rule)
    if body is None:
        return None
    lines = ["BEGIN:VTIMEZONE", f"TZID:{octets.text(zone)}", *body, "END:VTIMEZONE"]
    return b"".join(map(octets.line, lines))


@lru_cache(maxsize=1024)
def edition(zone: str) -> str:
    """Return what tells one edition of a zone's rules from another: the SHA-256 of its TZif file.

    Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone.
    """
    return hashlib.sha256(_file(zone)).hexdigest()


def outdated(zone: str, today: dt.date, days: int) -> dt.date | None:
    """Return the first of the coming days that an old edition of the system's zones gets wrong, or None.

    zoneinfo reads the system's zones first, and the package tzdata may have a newer edition of them.
    Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone.
    """
    if _systems_edition() >= _edition_in(_packaged(_SOURCE)):
        return None
    systems, newest = zoneinfo.ZoneInfo(zone), zoneinfo.ZoneInfo.from_file(io.BytesIO(_packaged(zone)))
    noons = (dt.datetime.combine(today + number * _DAY, dt.time(12)) for number in range(days))
    wrong = (noon for noon in noons if systems.utcoffset(noon) != newest.utcoffset(noon))
    return next((noon.date() for noon in wrong), None)


def _systems_edition() -> str:
    """Return the edition of the system's zones, such as "2025b"; empty where they do not tell."""
    for folder in zoneinfo.TZPATH:
        path = Path(folder, _SOURCE)
        if path.is_file():
            return _edition_in(path.read_bytes())
    return ""


def _edition_in(source: bytes) -> str:
    match = re.match(rb"# version (\S+)", source)
    return match[1].decode("ascii", "replace") if match else ""


@lru_cache(maxsize=4096)
def holds(zone: str, year: int) -> bool:
    """Whether the zone has a VTIMEZONE that gives zoneinfo's offsets through the whole year, UTC.

    It does not where zoneinfo knows more than the rule: Ramadan in Morocco, a rule that came into
    force later. Times of such a year go out in UTC. Both sides are constant between their changes,
    so it is enough to look at each change of either.
    """
    tz = zoneinfo.ZoneInfo(zone)
    transitions, rule = _read(zone)
    if rule is None or vtimezone(zone) is None:
        return False
    first, end = (dt.datetime(each, 1, 1, tzinfo=dt.UTC) for each in (year, year + 1))
    moments = [first, *(onset.instant(year) for onset in rule.onsets)]
    moments += [_EPOCH + dt.timedelta(seconds=each) for each in transitions if _between(each, first, end)]
    return all(moment.astimezone(tz).utcoffset() == rule.offset_at(moment) for moment in moments)


@dataclass(frozen=True, slots=True)
class _Onset:
    """A yearly change of offset: the given weekday of a week of a month, some time after midnight."""

    month: int
    week: int
    weekday: int
    after_midnight: dt.timedelta
    name: str
    before: dt.timedelta
    offset: dt.timedelta

    @property
    def shift(self) -> int:
        """Whole days by which the time of day leaves the named weekday."""
        return self.after_midnight // _DAY

    def wall(self, year: int) -> dt.datetime:
        """Return the moment of the change on a clock that has not changed yet."""
        first_weekday, length = calendar.monthrange(year, self.month)
        day = 1 + (self.weekday - 1 - first_weekday) % 7 + 7 * (self.week - 1)
        while day > length:
            day -= 7
        return dt.datetime.combine(dt.date(year, self.month, day), dt.time()) + self.after_midnight

    def instant(self, year: int) -> dt.datetime:
        return (self.wall(year) - self.before).replace(tzinfo=dt.UTC)

    def rrule(self) -> str | None:
        """Return the RRULE, or None where the shift makes it depend on the length of the month."""
        weekday = _WEEKDAYS[(self.weekday + self.shift) % 7]
        head = f"RRULE:FREQ=YEARLY;BYMONTH={self.month};"
        if not self.shift:
            return f"{head}BYDAY={-1 if self.week == _LAST_WEEK else self.week}{weekday}"
        first = 7 * (self.week - 1) + 1 + self.shift
        if (
            self.week == _LAST_WEEK
            or first < 1
            or first + 6 > calendar.monthrange(_FIRST_YEAR, self.month)[1]
        ):
            return None
        days = ",".join(str(day) for day in range(first, first + 7))
        return f"{head}BYDAY={weekday};BYMONTHDAY={days}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A zone's rule: its standard time, and both onsets where it has summer time."""

    name: str
    offset: dt.timedelta
    onsets: tuple[_Onset, ...] = ()

    def offset_at(self, moment: dt.datetime) -> dt.timedelta:
        """Return the offset from UTC at an aware UTC `moment`."""
        onsets = sorted(self.onsets, key=lambda onset: onset.instant(moment.year))
        current = onsets[0].before if onsets else self.offset
        for onset in onsets:
            if moment >= onset.instant(moment.year):
                current = onset.offset
        return current


def _between(seconds: int, first: dt.datetime, end: dt.datetime) -> bool:
    return first.timestamp() <= seconds < end.timestamp()


def _standard(rule: _Rule) -> list[str]:
    offset = _offset(rule.offset)
    return [
        "BEGIN:STANDARD",
        f"TZOFFSETFROM:{offset}",
        f"TZOFFSETTO:{offset}",
        f"TZNAME:{octets.text(rule.name)}",
        f"DTSTART:{_FIRST_YEAR}0101T000000",
        "END:STANDARD",
    ]


def _yearly(onsets: tuple[_Onset, ...]) -> list[str] | None:
    lines: list[str] = []
    # Ireland's file calls winter the daylight time; readers expect DAYLIGHT to be the later clock.
    for onset in sorted(onsets, key=lambda each: each.offset):
        rrule = onset.rrule()
        if rrule is None:
            return None
        kind = "DAYLIGHT" if onset.offset > onset.before else "STANDARD"
        lines += [
            f"BEGIN:{kind}",
            f"TZOFFSETFROM:{_offset(onset.before)}",
            f"TZOFFSETTO:{_offset(onset.offset)}",
            f"TZNAME:{octets.text(onset.name)}",
            f"DTSTART:{octets.wall(onset.wall(_FIRST_YEAR))}",
            rrule,
            f"END:{kind}",
        ]
    return lines


def _offset(delta: dt.timedelta) -> str:
    minutes, seconds = divmod(round(abs(delta).total_seconds()), 60)
    sign = "-" if delta < dt.timedelta() else "+"
    return f"{sign}{minutes // 60:02}{minutes % 60:02}{f'{seconds:02}' if seconds else ''}"


@lru_cache(maxsize=1024)
def _read(zone: str) -> tuple[tuple[int, ...], _Rule | None]:
    """Return the transitions (POSIX seconds) and the rule of the file that zoneinfo reads."""
    data = _file(zone)
    _, version, *counts = _HEADER.unpack_from(data)
    if version < b"2":
        return (), None
    isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt = counts
    second = _HEADER.size + timecnt * 5 + typecnt * 6 + charcnt + leapcnt * 8 + isstdcnt + isutcnt
    timecnt = _HEADER.unpack_from(data, second)[5]
    transitions = struct.unpack_from(f">{timecnt}q", data, second + _HEADER.size)
    return transitions, _parse(data.rsplit(b"\n", 2)[-2].decode("ascii"))


def _file(zone: str) -> bytes:
    """Return the TZif file of a zone from where zoneinfo looks: the system first, then tzdata."""
    zoneinfo.ZoneInfo(zone)  # refuses an unknown name, and one that would lead out of the folder
    for folder in zoneinfo.TZPATH:
        path = Path(folder, zone)
        if path.is_file():
            return path.read_bytes()
    return _packaged(zone)


def _packaged(zone: str) -> bytes:
    return importlib.resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()


def _parse(posix: str) -> _Rule | None:
    """Return the rule that a POSIX TZ string states; None where there is none, or one of day numbers."""
    match = _POSIX.fullmatch(posix)
    if match is None:
        return None
    name, offset = match["std"].strip("<>"), -_delta(match["std_offset"])
    if match["dst"] is None:
        return _Rule(name, offset)
    summer_name = match["dst"].strip("<>")
    summer = -_delta(match["dst_offset"]) if match["dst_offset"] else offset + dt.timedelta(hours=1)
    begins = _onset(match["begins"], summer_name, offset, summer)
    return _Rule(name, offset, (begins, _onset(match["ends"], name, summer, offset)))


def _onset(rule: str, name: str, before: dt.timedelta, offset: dt.timedelta) -> _Onset:
    date, _, time = rule.removeprefix("M").partition("/")
    month, week, weekday = map(int, date.split("."))
    return _Onset(month, week, weekday, _delta(time or "2"), name, before, offset)


def _delta(clock: str) -> dt.timedelta:
    hours, minutes, seconds, *_ = [*map(int, clock.lstrip("+-").split(":")), 0, 0]
    delta = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -delta if clock.startswith("-") else delta
