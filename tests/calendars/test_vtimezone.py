from __future__ import annotations

import datetime as dt
import hashlib
import importlib
import struct
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from icalendar import Calendar

from intake_plugin.calendars import vtimezone as room
from intake_plugin.calendars.vtimezone import holds, vtimezone

FIVE_YEARS = range(2026, 2031)
UTC = dt.UTC


def read(octets: bytes, last: int = 2031) -> list[tuple[dt.datetime, dt.timedelta]]:
    """Return (instant, offset from then on) as RFC 5545 section 3.6.5 defines a VTIMEZONE."""
    component: Any = Calendar.from_ical(octets.decode())
    onsets = []
    for part in component.subcomponents:
        before, after = (part[name].td for name in ("TZOFFSETFROM", "TZOFFSETTO"))
        begin = part["DTSTART"].dt
        walls = [begin]
        if "RRULE" in part:
            rule = rrulestr(part["RRULE"].to_ical().decode(), dtstart=begin)
            assert next(iter(rule)) == begin, "DTSTART has to be the first of its own rule"
            midnight = begin.replace(month=1, day=1)
            walls = rule.between(midnight.replace(year=2025), midnight.replace(year=last + 1))
        onsets += [((wall - before).replace(tzinfo=UTC), after) for wall in walls]
    return sorted(onsets)


UNLIKE_ANY_RRULE = {
    "Africa/Cairo",
    "America/Godthab",
    "America/Nuuk",
    "America/Scoresbysund",
    "Egypt",
}
"""Their rules are "the day after the last Thursday" and "the night before the last Sunday"."""


def test_every_zone_agrees_with_zoneinfo_through_five_years() -> None:
    disagreeing()
    with only_in():
        # The edition that the tests name; a system may have an older or a newer one.
        breaks = disagreeing()
    assert {zone for zone in breaks if vtimezone(zone) is None} == UNLIKE_ANY_RRULE
    years = sum(len(years) for zone, years in breaks.items() if zone not in UNLIKE_ANY_RRULE)
    assert years < 0.01 * len(zoneinfo.available_timezones()) * len(FIVE_YEARS)


def disagreeing() -> dict[str, set[int]]:
    """Return the years in which zones differ from zoneinfo; `holds` has to say so of these and no others."""
    rules: dict[bytes, list[tuple[dt.datetime, dt.timedelta]]] = {}
    second, noon = dt.timedelta(seconds=1), dt.datetime(2026, 1, 1, 12, tzinfo=UTC)
    days = [noon + dt.timedelta(days=day) for day in range(365 * len(FIVE_YEARS))]
    breaks: dict[str, set[int]] = {}
    for zone in sorted(zoneinfo.available_timezones()):
        tz, octets = zoneinfo.ZoneInfo(zone), vtimezone(zone)
        if octets is None:
            assert not any(holds(zone, year) for year in FIVE_YEARS)
            breaks[zone] = set(FIVE_YEARS)
            continue
        assert octets.count(b"BEGIN:STANDARD") == 1
        body = octets.split(b"\r\n", 2)[2]
        onsets = rules.setdefault(body, rules.get(body) or read(octets))
        edges = [each for at, _ in onsets if at.year in FIVE_YEARS for each in (at - second, at)]
        at, wrong = 0, set()
        for moment in sorted((*days, *edges)):
            while at + 1 < len(onsets) and onsets[at + 1][0] <= moment:
                at += 1
            if moment.astimezone(tz).utcoffset() != onsets[at][1]:
                wrong.add(moment.year)
        assert {year for year in FIVE_YEARS if not holds(zone, year)} == wrong, zone
        if wrong:
            breaks[zone] = wrong
    return breaks


@pytest.mark.parametrize(
    "zone",
    [
        "Africa/Johannesburg",
        "America/Havana",
        "America/Santiago",
        "America/Sao_Paulo",
        "America/St_Johns",
        "Antarctica/Troll",
        "Asia/Beirut",
        "Asia/Jerusalem",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Europe/Chisinau",
        "Europe/Dublin",
        "Pacific/Chatham",
        "Pacific/Norfolk",
    ],
)
def test_a_zone_with_a_rule_of_its_own_is_written_and_not_left_to_utc(zone: str) -> None:
    assert sum(holds(zone, year) for year in FIVE_YEARS) >= 3


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC", "Asia/Kolkata", "America/Phoenix"])
def test_a_zone_without_summer_time_has_one_standard_and_no_rule(zone: str) -> None:
    octets = vtimezone(zone)
    assert octets is not None
    offset = dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo(zone)).strftime("%z").encode()
    name = dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo(zone)).strftime("%Z").encode()
    assert octets == (
        b"BEGIN:VTIMEZONE\r\nTZID:%s\r\nBEGIN:STANDARD\r\nTZOFFSETFROM:%s\r\nTZOFFSETTO:%s\r\nTZNAME:%s\r\n"
        b"DTSTART:19700101T000000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
        % (zone.encode(), offset, offset, name)
    )
    assert holds(zone, 2026)


def test_the_octets_of_a_zone() -> None:
    assert vtimezone("Europe/Berlin") == (
        b"BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n"
        b"BEGIN:STANDARD\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\n"
        b"DTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n"
        b"BEGIN:DAYLIGHT\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\n"
        b"DTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n"
        b"END:VTIMEZONE\r\n"
    )


def test_irish_summer_is_daylight_although_the_file_calls_winter_so() -> None:
    octets = vtimezone("Europe/Dublin")
    assert octets is not None
    assert b"BEGIN:DAYLIGHT\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+0100\r\nTZNAME:IST\r\n" in octets


def test_a_year_before_the_rule_does_not_hold() -> None:
    assert not holds("America/New_York", 2006)
    assert holds("America/New_York", 2008)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../../etc/passwd", "/etc/passwd"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises((zoneinfo.ZoneInfoNotFoundError, ValueError)):
        vtimezone(zone)


MakeZone = Callable[..., str]


@pytest.fixture
def make_zone(tmp_path: Path) -> Iterator[MakeZone]:
    """Writes a TZif file (RFC 8536) that zoneinfo reads: offsets from UTC in hours, and the rule."""

    def make(rule: str, *changes: tuple[str, int], version: bytes = b"2") -> str:
        times = [int(dt.datetime.fromisoformat(f"{at}Z").timestamp()) for at, _ in changes]
        hours = [0, *(offset for _, offset in changes)]
        types = b"".join(struct.pack(">lBB", offset * 3600, 0, 0) for offset in hours)
        names = b"XXX\0"

        def header(of: bytes, count: int, kinds: int) -> bytes:
            return struct.pack(">4s c 15x 6l", b"TZif", of, 0, 0, 0, count, kinds, len(names))

        indices = bytes(range(1, len(times) + 1))
        legacy = header(version, 0, 1) + types[:6] + names
        data = struct.pack(f">{len(times)}q", *times) + indices + types + names
        modern = header(version, len(times), len(hours)) + data + b"\n" + rule.encode() + b"\n"
        (tmp_path / "Test").mkdir()
        (tmp_path / "Test" / "Zone").write_bytes(legacy + (modern if version >= b"2" else b""))
        return "Test/Zone"

    with only_in(tmp_path):
        yield make


@contextmanager
def only_in(*folders: Path) -> Iterator[None]:
    """Let zones be looked for in some folders, and in tzdata, and forget those known before and after."""

    def look_in(to: list[str] | None) -> None:
        zoneinfo.reset_tzpath(to=to)
        zoneinfo.ZoneInfo.clear_cache()
        for cached in (room.vtimezone, room.holds, room.edition, room._read):
            cached.cache_clear()

    look_in([str(folder) for folder in folders])
    yield
    look_in(None)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "UTC"])
def test_where_the_system_has_no_zones_tzdata_has_them(zone: str) -> None:
    with only_in():
        octets, edition, known = vtimezone(zone), room.edition(zone), holds(zone, 2026)
    tzdata = Path(importlib.import_module("tzdata").__path__[0], "zoneinfo", zone).read_bytes()
    assert octets == vtimezone(zone)
    assert edition == hashlib.sha256(tzdata).hexdigest()
    assert known


@pytest.mark.parametrize(
    "rule",
    [
        "EET-2EEST,M4.5.5/0,M10.5.4/24",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "AAA0BBB,M3.1.0/-1,M10.1.0",
        "AAA0BBB,M3.5.0/-100,M10.1.0",
        "AAA0BBB,M2.4.0/50,M10.1.0",
        "AAA0BBB,J60/2,J300/2",
        "",
    ],
)
def test_a_rule_that_rrule_cannot_carry(rule: str, make_zone: MakeZone) -> None:
    zone = make_zone(rule)
    assert vtimezone(zone) is None
    assert not holds(zone, 2026)


def test_a_file_of_the_first_version_has_no_rule(make_zone: MakeZone) -> None:
    assert vtimezone(make_zone("", version=b"\0")) is None


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("IST-2IDT,M3.4.4/26,M10.5.0", b"BYMONTH=3;BYDAY=FR;BYMONTHDAY=23,24,25,26,27,28,29\r\n"),
        ("AAA0BBB,M3.2.0/-1,M10.1.0", b"BYMONTH=3;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13\r\n"),
        ("<-04>4<-03>,M9.1.6/24,M4.1.6/24", b"BYMONTH=9;BYDAY=SU;BYMONTHDAY=2,3,4,5,6,7,8\r\n"),
    ],
)
def test_a_change_past_midnight_of_its_weekday(rule: str, days: bytes, make_zone: MakeZone) -> None:
    offset = 0 if rule.startswith("A") else 2 if rule.startswith("I") else -4
    zone = make_zone(rule, ("1960-01-01T00:00:00", offset))
    octets = vtimezone(zone)
    assert octets is not None
    assert days in octets
    assert holds(zone, 2026)
    tz = zoneinfo.ZoneInfo(zone)
    for instant, offset_after in read(octets)[2:]:
        assert instant.astimezone(tz).utcoffset() == offset_after
        assert (instant - dt.timedelta(seconds=1)).astimezone(tz).utcoffset() != offset_after


def test_an_old_edition_of_the_systems_zones_is_noticed_where_it_matters(tmp_path: Path) -> None:
    own = Path(importlib.import_module("tzdata").__path__[0], "zoneinfo")
    (tmp_path / "Europe").mkdir()
    # To the British the clocks of this system stay at winter time.
    (tmp_path / "Europe" / "London").write_bytes((own / "UTC").read_bytes())
    (tmp_path / "Europe" / "Berlin").write_bytes((own / "Europe" / "Berlin").read_bytes())
    today = dt.date(2026, 3, 2)
    for edition, wrong in (("", True), ("# version 2019c\n", True), ("# version 2999a\n", False)):
        (tmp_path / "tzdata.zi").write_text(f"{edition}R A 1916 o - May 21 2s 1 BST\n")
        with only_in(tmp_path):
            assert room.outdated("Europe/London", today, 60) == (dt.date(2026, 3, 29) if wrong else None)
            assert room.outdated("Europe/London", today, 27) is None
            assert room.outdated("Europe/Berlin", today, 400) is None
    with only_in():
        assert room.outdated("Europe/London", today, 400) is None


def test_a_year_with_a_break_from_the_rule_does_not_hold(make_zone: MakeZone) -> None:
    changes = [("2020-01-01T00:00:00", 1), ("2026-02-15T02:00:00", 0), ("2026-03-22T02:00:00", 1)]
    zone = make_zone("<+01>-1", *changes)
    assert vtimezone(zone) is not None
    assert [year for year in FIVE_YEARS if holds(zone, year)] == [2027, 2028, 2029, 2030]


def test_an_offset_with_seconds(make_zone: MakeZone) -> None:
    octets = vtimezone(make_zone("LMT0:44:30"))
    assert octets is not None
    assert b"TZOFFSETTO:-004430\r\n" in octets
