"""Calendar files as other programs write them, and the busy times they stand for."""

from __future__ import annotations

import datetime as dt
import re
import sys
import time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_plugin.calendars.busy import BusyTime, Limits, read_busy
from intake_plugin.errors import ImportRefused, SetupError

LONDON = ZoneInfo("Europe/London")
START = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
END = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
LIMITS = Limits(octets=20_000_000, entries=50_000, instances=20_000)

OUTLOOK_ZONE = """BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
X-MICROSOFT-ODD:1
END:DAYLIGHT
END:VTIMEZONE"""


def file(*entries: str, head: str = "") -> bytes:
    """Return a calendar file of VEVENTs; each is its lines, and gets a UID if it has none."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Somebody//Else//EN", *head.splitlines()]
    for index, entry in enumerate(entries):
        uid = [] if "UID:" in entry else [f"UID:entry-{index}"]
        lines += ["BEGIN:VEVENT", "DTSTAMP:20260101T000000Z", *uid, *entry.splitlines(), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def read(octets: bytes, /, zone: ZoneInfo = LONDON, **limits: int) -> list[BusyTime]:
    changed = {"octets": LIMITS.octets, "entries": LIMITS.entries, "instances": LIMITS.instances} | limits
    return read_busy(octets, zone=zone, start=START, end=END, limits=Limits(**changed))


def words(times: list[BusyTime]) -> list[str]:
    """Write busy times as "02 10:00-11:00", UTC, with the month where it is not March."""
    return [f"{each.start:%m-%d %H:%M} to {each.end:%m-%d %H:%M}".replace("03-", "") for each in times]


def problems(octets: bytes, /, **limits: int) -> list[str]:
    with pytest.raises(ImportRefused) as refused:
        read(octets, LONDON, **limits)
    return [str(problem) for problem in refused.value.problems]


WORKED: dict[str, tuple[str, list[str]]] = {
    "UTC": ("DTSTART:20260303T100000Z\nDTEND:20260303T113000Z", ["03 10:00 to 03 11:30"]),
    "a zone far away": (
        "DTSTART;TZID=America/New_York:20260303T100000\nDTEND;TZID=America/New_York:20260303T110000",
        ["03 15:00 to 03 16:00"],
    ),
    "a quoted zone": (
        'DTSTART;TZID="Asia/Tokyo":20260303T100000\nDTEND;TZID="Asia/Tokyo":20260303T110000',
        ["03 01:00 to 03 02:00"],
    ),
    "floating, on the clinic's clock, in summer": (
        "DTSTART:20260401T100000\nDTEND:20260401T110000",
        ["04-01 09:00 to 04-01 10:00"],
    ),
    "a duration": ("DTSTART:20260303T100000Z\nDURATION:PT1H30M", ["03 10:00 to 03 11:30"]),
    "an alarm's duration is not the entry's": (
        (
            "DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\n"
            "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT5M\nDURATION:PT9H\nREPEAT:1\nEND:VALARM"
        ),
        ["03 10:00 to 03 11:00"],
    ),
    "all day": ("DTSTART;VALUE=DATE:20260303\nDTEND;VALUE=DATE:20260304", ["03 00:00 to 04 00:00"]),
    "all day without an end": ("DTSTART;VALUE=DATE:20260303", ["03 00:00 to 04 00:00"]),
    "all day that ends on its own day": (
        "DTSTART;VALUE=DATE:20260303\nDTEND;VALUE=DATE:20260303",
        ["03 00:00 to 04 00:00"],
    ),
    "all day over the change of the clock": (
        "DTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260331",
        ["28 00:00 to 30 23:00"],
    ),
    "every day a whole day": (
        "DTSTART;VALUE=DATE:20260328\nRRULE:FREQ=DAILY;UNTIL=20260330",
        ["28 00:00 to 29 00:00", "29 00:00 to 29 23:00", "29 23:00 to 30 23:00"],
    ),
    "transparent": ("DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\nTRANSP:TRANSPARENT", []),
    "cancelled": ("DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\nSTATUS:CANCELLED", []),
    "tentative takes time": (
        "DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\nSTATUS:TENTATIVE",
        ["03 10:00 to 03 11:00"],
    ),
    "without a length": ("DTSTART:20260303T100000Z", []),
    "weekly over the change of the clock": (
        (
            "DTSTART;TZID=Europe/London:20260316T100000\nDTEND;TZID=Europe/London:20260316T110000\n"
            "RRULE:FREQ=WEEKLY;COUNT=3"
        ),
        ["16 10:00 to 16 11:00", "23 10:00 to 23 11:00", "30 09:00 to 30 10:00"],
    ),
    "floating weekly over the change of the clock": (
        "DTSTART:20260323T100000\nDTEND:20260323T110000\nRRULE:FREQ=WEEKLY;COUNT=2",
        ["23 10:00 to 23 11:00", "30 09:00 to 30 10:00"],
    ),
    "a zone that changes on another day": (
        (
            "DTSTART;TZID=America/New_York:20260305T100000\nDTEND;TZID=America/New_York:20260305T110000\n"
            "RRULE:FREQ=WEEKLY;COUNT=2"
        ),
        ["05 15:00 to 05 16:00", "12 14:00 to 12 15:00"],
    ),
    "begun years ago, without an end": (
        (
            "DTSTART;TZID=Europe/London:20100105T180000\nDTEND;TZID=Europe/London:20100105T190000\n"
            "RRULE:FREQ=MONTHLY;BYDAY=1TU"
        ),
        ["03 18:00 to 03 19:00", "04-07 17:00 to 04-07 18:00"],
    ),
    "until a moment in UTC, included": (
        (
            "DTSTART;TZID=Europe/London:20260325T100000\nDTEND;TZID=Europe/London:20260325T110000\n"
            "RRULE:FREQ=DAILY;UNTIL=20260329T090000Z;BYDAY=WE,SU"
        ),
        ["25 10:00 to 25 11:00", "29 09:00 to 29 10:00"],
    ),
    "until a date, included": (
        (
            "DTSTART;TZID=Europe/London:20260310T100000\nDTEND;TZID=Europe/London:20260310T110000\n"
            "RRULE:FREQ=DAILY;UNTIL=20260311"
        ),
        ["10 10:00 to 10 11:00", "11 10:00 to 11 11:00"],
    ),
    "until a local time, included": (
        (
            "DTSTART;TZID=America/New_York:20260303T200000\nDTEND;TZID=America/New_York:20260303T210000\n"
            "RRULE:FREQ=DAILY;UNTIL=20260304T200000"
        ),
        ["04 01:00 to 04 02:00", "05 01:00 to 05 02:00"],
    ),
    "without some days": (
        (
            "DTSTART;TZID=Europe/London:20260309T100000\nDTEND;TZID=Europe/London:20260309T110000\n"
            "RRULE:FREQ=DAILY;COUNT=5\n"
            "EXDATE;TZID=Europe/London:20260310T100000,20260311T100000\nEXDATE:20260312T100000Z"
        ),
        ["09 10:00 to 09 11:00", "13 10:00 to 13 11:00"],
    ),
    "without a whole day": (
        (
            "DTSTART:20260309T100000Z\nDTEND:20260309T110000Z\nRRULE:FREQ=DAILY;COUNT=2\n"
            "EXDATE;VALUE=DATE:20260310"
        ),
        ["09 10:00 to 09 11:00"],
    ),
    "and one day more": (
        "DTSTART:20260309T100000Z\nDTEND:20260309T110000Z\nRDATE:20260320T150000Z",
        ["09 10:00 to 09 11:00", "20 15:00 to 20 16:00"],
    ),
    "and one stretch more": (
        "DTSTART:20260309T100000Z\nDTEND:20260309T110000Z\nRDATE;VALUE=PERIOD:20260320T150000Z/PT3H",
        ["09 10:00 to 09 11:00", "20 15:00 to 20 18:00"],
    ),
    "on call over the night the clock goes forward": (
        "DTSTART;TZID=Europe/London:20260328T220000\nDTEND;TZID=Europe/London:20260329T060000",
        ["28 22:00 to 29 06:00"],
    ),
    "runs into the range": ("DTSTART:20260227T100000Z\nDTEND:20260303T110000Z", ["02 00:00 to 03 11:00"]),
    "runs out of the range": (
        "DTSTART:20260503T100000Z\nDTEND:20260603T110000Z",
        ["05-03 10:00 to 05-04 00:00"],
    ),
    "over before the range": ("DTSTART:20200227T100000Z\nDTEND:20200303T110000Z", []),
    "broken, but long over": (
        "DTSTART;TZID=Atlantis:20200227T100000\nDTEND;TZID=Atlantis:20200303T110000",
        [],
    ),
    "a leap second": ("DTSTART:20260303T100060Z\nDTEND:20260303T110000Z", ["03 10:00 to 03 11:00"]),
    "folded inside a word and inside a character": (
        "DTSTART:20260303T10\n 0000Z\nDTEND:20260\n\t303T110000Z\nSUMMARY:Caf\n é",
        ["03 10:00 to 03 11:00"],
    ),
    "what decides no time may be broken": (
        "DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\nGEO:nowhere\nATTACH;ENCODING=BASE64:!!\nX-\nnonsense",
        ["03 10:00 to 03 11:00"],
    ),
}


@pytest.mark.parametrize("name", WORKED)
def test_an_entry_takes_its_time(name: str) -> None:
    lines, expected = WORKED[name]
    assert words(read(file(lines))) == expected


def test_a_line_folded_inside_a_character_is_read_as_octets() -> None:
    whole = file("DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\nUID:caf\u00e9")
    split = whole.replace("\u00e9".encode(), b"\xc3\r\n \xa9")
    assert read(split) == read(whole)
    assert read(split)[0].uid == "caf\u00e9"


WEEKLY = "UID:team\nDTSTART;TZID=Europe/London:20260302T120000\nDTEND;TZID=Europe/London:20260302T130000\n"
FOUR = ["02 12:00 to 02 13:00", "09 12:00 to 09 13:00", "16 12:00 to 16 13:00", "23 12:00 to 23 13:00"]


def override(of: str, start: str, end: str, more: str = "") -> str:
    where = ";TZID=Europe/London:"
    return f"UID:team\nRECURRENCE-ID{where}{of}\nDTSTART{where}{start}\nDTEND{where}{end}\n{more}"


OVERRIDES: dict[str, tuple[list[str], list[str]]] = {
    "none": ([], FOUR),
    "moved": (
        [override("20260309T120000", "20260310T150000", "20260310T160000")],
        [FOUR[0], "10 15:00 to 10 16:00", *FOUR[2:]],
    ),
    "moved out of the range": (
        [override("20260309T120000", "20270310T150000", "20270310T160000")],
        [FOUR[0], *FOUR[2:]],
    ),
    "moved back out of the range": (
        [override("20260309T120000", "20250310T150000", "20250310T160000")],
        [FOUR[0], *FOUR[2:]],
    ),
    "cancelled": (
        [override("20260309T120000", "20260309T120000", "20260309T130000", "STATUS:CANCELLED")],
        [FOUR[0], *FOUR[2:]],
    ),
    "made transparent": (
        [override("20260309T120000", "20260309T120000", "20260309T130000", "TRANSP:TRANSPARENT")],
        [FOUR[0], *FOUR[2:]],
    ),
    "named in UTC": (
        ["UID:team\nRECURRENCE-ID:20260309T120000Z\nDTSTART:20260310T150000Z\nDTEND:20260310T160000Z"],
        [FOUR[0], "10 15:00 to 10 16:00", *FOUR[2:]],
    ),
    "two versions of one": (
        [
            override("20260309T120000", "20260311T150000", "20260311T160000", "SEQUENCE:2"),
            override("20260309T120000", "20260310T150000", "20260310T160000", "SEQUENCE:1"),
        ],
        [FOUR[0], "11 15:00 to 11 16:00", *FOUR[2:]],
    ),
    "this and those after it an hour later": (
        [
            override("20260309T120000", "20260309T130000", "20260309T140000").replace(
                "RECURRENCE-ID", "RECURRENCE-ID;RANGE=THISANDFUTURE"
            )
        ],
        [FOUR[0], "09 13:00 to 09 14:00", "16 13:00 to 16 14:00", "23 13:00 to 23 14:00"],
    ),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_one_of_a_series_can_differ(name: str) -> None:
    entries, expected = OVERRIDES[name]
    assert words(read(file(WEEKLY + "RRULE:FREQ=WEEKLY;COUNT=4", *entries))) == expected
    assert words(read(file(*entries, WEEKLY + "RRULE:FREQ=WEEKLY;COUNT=4"))) == expected


def test_one_that_does_not_repeat_can_be_replaced_too() -> None:
    moved = override("20260302T120000", "20260310T150000", "20260310T160000")
    assert words(read(file(WEEKLY, moved))) == ["10 15:00 to 10 16:00"]
    cancelled = override("20260302T120000", "20260302T120000", "20260302T130000", "STATUS:CANCELLED")
    assert words(read(file(WEEKLY, cancelled))) == []


def test_one_moved_into_the_range_is_there() -> None:
    series = WEEKLY.replace("202603", "202504") + "RRULE:FREQ=WEEKLY;COUNT=2"
    moved = override("20250409T120000", "20260310T150000", "20260310T160000")
    assert words(read(file(series, moved))) == ["10 15:00 to 10 16:00"]


def test_a_replaced_one_without_its_series_is_there() -> None:
    alone = override("20260309T120000", "20260310T150000", "20260310T160000")
    assert words(read(file(alone))) == ["10 15:00 to 10 16:00"]


def test_of_two_versions_the_newer_counts_and_of_two_with_one_number_both() -> None:
    old = "UID:a\nSEQUENCE:1\nDTSTART:20260303T100000Z\nDTEND:20260303T110000Z"
    new = "UID:a\nSEQUENCE:2\nDTSTART:20260304T100000Z\nDTEND:20260304T110000Z"
    twin = "UID:a\nSEQUENCE:2\nDTSTART:20260305T100000Z\nDTEND:20260305T110000Z"
    assert words(read(file(old, new))) == ["04 10:00 to 04 11:00"]
    assert words(read(file(old, new, twin))) == ["04 10:00 to 04 11:00", "05 10:00 to 05 11:00"]


def test_entries_without_a_uid_stand_for_themselves() -> None:
    entry = "UID:\nDTSTART:2026030{0}T100000Z\nDTEND:2026030{0}T110000Z"
    assert len(read(file(entry.format(3), entry.format(4)))) == 2


def test_a_list_of_busy_stretches_is_read_too() -> None:
    head = (
        "BEGIN:VFREEBUSY\nUID:x\nDTSTAMP:20260101T000000Z\n"
        "FREEBUSY;FBTYPE=BUSY:20260303T100000Z/20260303T110000Z,20260304T100000Z/PT2H\n"
        "FREEBUSY;FBTYPE=FREE:20260305T100000Z/PT2H\nFREEBUSY:20260306T100000Z/PT1H\nEND:VFREEBUSY"
    )
    assert words(read(file(head=head))) == [
        "03 10:00 to 03 11:00",
        "04 10:00 to 04 12:00",
        "06 10:00 to 06 11:00",
    ]


ZONES: dict[str, tuple[str, str, list[str]]] = {
    "Windows": ("W. Europe Standard Time", "", ["30 08:00 to 30 09:00"]),
    "Windows, and its own definition first": (
        "W. Europe Standard Time",
        OUTLOOK_ZONE.replace("Customized Time Zone", "W. Europe Standard Time").replace("+02", "+03"),
        ["30 07:00 to 30 08:00"],
    ),
    "defined by the file": ("Customized Time Zone", OUTLOOK_ZONE, ["30 08:00 to 30 09:00"]),
    "a vendor's path": ("/freeassociation.sourceforge.net/Europe/Berlin", "", ["30 08:00 to 30 09:00"]),
    "three words": ("/x/America/Argentina/Buenos_Aires", "", ["30 13:00 to 30 14:00"]),
    "IANA before what the file says": (
        "Europe/Berlin",
        OUTLOOK_ZONE.replace("Customized Time Zone", "Europe/Berlin").replace("+02", "+05"),
        ["30 08:00 to 30 09:00"],
    ),
}


@pytest.mark.parametrize("name", ZONES)
def test_a_zone_is_found(name: str) -> None:
    tzid, head, expected = ZONES[name]
    entry = f"DTSTART;TZID={tzid}:20260330T100000\nDTEND;TZID={tzid}:20260330T110000"
    assert words(read(file(entry, head=head))) == expected


def test_each_file_has_its_own_customized_time_zone() -> None:
    entry = (
        "DTSTART;TZID=Customized Time Zone:20260330T100000\nDTEND;TZID=Customized Time Zone:20260330T110000"
    )
    east = OUTLOOK_ZONE.replace("+0200", "+0900").replace("+0100", "+0900")
    assert words(read(file(entry, head=OUTLOOK_ZONE))) == ["30 08:00 to 30 09:00"]
    assert words(read(file(entry, head=east))) == ["30 01:00 to 30 02:00"]
    assert "Nobody can tell" in problems(file(entry))[0]


def test_an_unknown_zone_is_refused_with_the_entry_and_without_its_title() -> None:
    entry = "UID:x-1\nSUMMARY:Mrs Patient\nDTSTART;TZID=Europe/Londn:20260330T100000"
    good = "DTSTART:20260303T100000Z\nDTEND:20260303T110000Z"
    (problem,) = problems(file(good, entry))
    assert "entry of 20260330T100000 (UID x-1)" in problem
    assert "Did you mean 'Europe/London'?" in problem
    assert "Patient" not in problem


SIXTY = ",".join(map(str, range(60)))
REFUSED: dict[str, tuple[str, str]] = {
    "no start": ("SUMMARY:x", "It has no DTSTART"),
    "two starts": ("DTSTART:20260303T100000Z\nDTSTART:20260304T100000Z", "DTSTART more than once"),
    "a start that is none": ("DTSTART:tomorrow", "no date and no time: 'tomorrow'"),
    "a date that is none": ("DTSTART;VALUE=DATE:20260231", "no date and no time: '20260231'"),
    "a start without a value": ("DTSTART;TZID=Europe/London", "no date and no time"),
    "an end before the start": ("DTSTART:20260303T100000Z\nDTEND:20260303T090000Z", "ends before it starts"),
    "a negative duration": ("DTSTART:20260303T100000Z\nDURATION:-PT1H", "ends before it starts"),
    "a duration that is none": ("DTSTART:20260303T100000Z\nDURATION:1 hour", "'1 hour' is no duration"),
    "an endless duration": ("DTSTART:20260303T100000Z\nDURATION:P999999999W", "longer than time"),
    "past the last year": ("DTSTART:20260303T100000Z\nDURATION:P9999999D", "after the year 9999"),
    "a rule that is none": ("DTSTART:20260303T100000Z\nRRULE:often", "rule of repetition cannot be read"),
    "a rule without a frequency": ("DTSTART:20260303T100000Z\nRRULE:COUNT=3", "by no frequency"),
    "every second": ("DTSTART:20260303T100000Z\nRRULE:FREQ=SECONDLY", "repeats SECONDLY"),
    "never again": ("DTSTART:20260303T100000Z\nRRULE:FREQ=DAILY;INTERVAL=0", "interval of less than 1"),
    "every second of an hour of each day": (
        (
            "DTSTART:20260303T100000Z\nDTEND:20260303T110000Z\n"
            "RRULE:FREQ=DAILY" + "".join(f";{part}={SIXTY}" for part in ("BYMINUTE", "BYSECOND"))
        ),
        "more than 20000 busy times",
    ),
    "since the beginning of time, all day long": (
        (
            "DTSTART:00010102T100000Z\nDTEND:00010102T101500Z\n"
            f"RRULE:FREQ=DAILY;BYHOUR={','.join(map(str, range(24)))};BYMINUTE=0,30"
        ),
        "would take minutes to count",
    ),
    "by more rules than can be followed": (
        "DTSTART:20260303T100000Z\nDURATION:PT1H" + "\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30" * 8,
        "would take minutes to count",
    ),
    "more dates than the clinic takes": (
        "DTSTART:20260303T100000Z\nDURATION:PT1H\nRDATE:" + ",".join(["20260304T100000Z"] * 50_001),
        "lists more than 50000 dates",
    ),
    "another calendar": (
        "DTSTART:20260303T100000Z\nRRULE:RSCALE=CHINESE;FREQ=YEARLY",
        "another calendar than the Gregorian",
    ),
    "an end that is none": ("DTSTART:20260303T100000Z\nRRULE:FREQ=DAILY;UNTIL=soon", "ends at no date"),
    "a weekday that is none": (
        "DTSTART:20260303T100000Z\nRRULE:FREQ=WEEKLY;BYDAY=XX",
        "rule of repetition cannot be read",
    ),
    "an exception that is none": ("DTSTART:20260303T100000Z\nEXDATE:never", "EXDATE is no date"),
    "a version that is none": ("DTSTART:20260303T100000Z\nSEQUENCE:new", "SEQUENCE is no number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused_in_plain_words(name: str) -> None:
    lines, says = REFUSED[name]
    (problem,) = problems(file(f"UID:odd\n{lines}"))
    assert says in problem
    assert "Line 4, entry of" in problem
    assert "(UID odd)" in problem


def test_every_problem_is_told_at_once_but_no_flood() -> None:
    assert len(problems(file("DTSTART:no", "DTSTART:20260303T100000Z\nDURATION:no", "UID:a"))) == 3
    flood = problems(file(*["DTSTART:no"] * 500))
    assert len(flood) == 21
    assert flood[-1] == "... and 480 more like these."


WHOLE = file("DTSTART:20260303T100000Z\nDTEND:20260303T110000Z", head=OUTLOOK_ZONE)
NO_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "It is empty"),
    "a sign-in page": (b"<!DOCTYPE html><title>Sign in</title>", "It is a web page"),
    "UTF-16": ("BEGIN:VCALENDAR\r\nEND:VCALENDAR".encode("utf-16"), "not text in UTF-8"),
    "a letter": (b"Dear colleague,\r\n", "no BEGIN:VCALENDAR"),
    "closed twice": (WHOLE + b"END:VCALENDAR\r\n", "closes what was not opened"),
    "closed in the wrong order": (
        WHOLE.replace(b"END:VEVENT\r\nEND:VCALENDAR", b"END:VCALENDAR\r\nEND:VEVENT"),
        "closes what was not opened",
    ),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_calendar_is_refused(name: str) -> None:
    octets, says = NO_FILES[name]
    (problem,) = problems(octets)
    assert says in problem


@pytest.mark.parametrize("length", range(17, len(WHOLE) - len("END:VCALENDAR\r\n") + 13, 7))
def test_a_file_cut_off_anywhere_is_refused(length: int) -> None:
    assert any("cut off" in problem or "END:" in problem for problem in problems(WHOLE[:length]))


def test_an_empty_calendar_has_no_busy_time() -> None:
    assert read(file()) == []


def own_zone(*onsets: str) -> str:
    parts = "".join(
        f"BEGIN:STANDARD\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n{onset}\nEND:STANDARD\n" for onset in onsets
    )
    return f"BEGIN:VTIMEZONE\nTZID:Z\n{parts}END:VTIMEZONE"


SUMMER = "DTSTART:16010101T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU"
RESTLESS = {
    "every second": (
        "DTSTART:16010101T030000\nRRULE:FREQ=YEARLY;BYMONTH=1;BYDAY=MO;BYHOUR=1,2,3;"
        f"BYMINUTE={SIXTY};BYSECOND={SIXTY}"
    ),
    "every day": "DTSTART:19000101T030000\nRRULE:FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU",
    "by a list": "DTSTART:19000101T030000\nRDATE:" + ",".join(["20260101T000000"] * 10_000),
}


@pytest.mark.parametrize("onset", RESTLESS)
def test_a_zone_that_never_rests_is_not_followed(onset: str) -> None:
    entry = "DTSTART;TZID=Z:20260330T100000\nDTEND;TZID=Z:20260330T110000"
    (problem,) = problems(file(entry, head=own_zone(SUMMER, RESTLESS[onset])))
    assert "changes the clock oftener than any zone does" in problem


def test_a_zone_with_a_long_history_is_followed() -> None:
    history = [f"DTSTART:{year}0301T030000" for year in range(1600, 2026)]
    entry = "DTSTART;TZID=Z:20260430T100000\nDTEND;TZID=Z:20260430T110000"
    assert words(read(file(entry, head=own_zone(SUMMER, *history)))) == ["04-30 09:00 to 04-30 10:00"]


def test_a_name_of_a_zone_as_long_as_a_book_is_refused_at_once() -> None:
    entry = f"DTSTART;TZID=/{'x/' * 1_000_000}:20260330T100000"
    (problem,) = problems(file(entry))
    assert "Nobody can tell which time zone" in problem
    assert len(problem) < 1000
    vendors = "DTSTART;TZID=/a/b/c/d/America/Argentina/Buenos_Aires:20260330T100000\nDURATION:PT1H"
    assert words(read(file(vendors))) == ["30 13:00 to 30 14:00"]


@pytest.mark.parametrize(
    "lines", ["UID:{}\nDTSTART:never", "UID:x\nDTSTART:{}", "DTSTART;TZID={}:20260330T100000"]
)
def test_a_problem_is_plain_text_however_odd_the_file(lines: str) -> None:
    for odd in ("a\0b\x1b[31m\u202e\u2028", "x" * 1_000_000):
        for problem in problems(file(lines.format(odd))):
            assert problem.isprintable()
            assert len(problem) < 1100


def test_broken_zones_of_the_file_are_refused_where_they_are_used() -> None:
    entry = "DTSTART;TZID=Z:20260330T100000\nDTEND;TZID=Z:20260330T110000"
    for head, says in (
        ("BEGIN:VTIMEZONE\nTZID:Z\nEND:VTIMEZONE", "cannot be followed"),
        (OUTLOOK_ZONE.replace("Customized Time Zone", "Z").replace("YEARLY", "SECONDLY"), "SECONDLY"),
        (OUTLOOK_ZONE.replace("Customized Time Zone", "Z").replace("+0200", "much"), "no offset"),
        (
            (OUTLOOK_ZONE + "\n" + OUTLOOK_ZONE.replace("+02", "+03")).replace("Customized Time Zone", "Z"),
            "more than once, each time differently",
        ),
    ):
        assert says in problems(file(entry, head=head))[0]
        assert words(read(file("DTSTART:20260303T100000Z\nDURATION:PT1H", head=head))) == [
            "03 10:00 to 03 11:00"
        ]


def test_limits_are_the_clinics() -> None:
    daily = "DTSTART:20260303T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY"
    two = file(daily, daily)
    assert len(read(two, octets=len(two), entries=2, instances=130)) > 100
    assert "more than 100 octets" in problems(two, octets=100)[0]
    assert "more than 1 entries" in problems(two, entries=1)[0]
    assert "more than 70 busy times" in problems(two, instances=70)[0]
    stretches = ",".join(f"202603{day:02}T100000Z/PT1H" for day in range(3, 31))
    listed = file(head=f"BEGIN:VFREEBUSY\nFREEBUSY:{stretches}\nEND:VFREEBUSY")
    assert len(read(listed, instances=28)) == 28
    assert "more than 27 busy times" in problems(listed, instances=27)[0]


@pytest.mark.parametrize("most", [1, 9, 10, 18])
def test_somebody_else_can_give_up_before_each_entry_is_read_and_before_each_series_is_unfolded(
    most: int,
) -> None:
    calls = []

    def patience() -> None:
        calls.append(1)
        if len(calls) == most:
            raise TimeoutError

    daily = "DTSTART:20260303T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY"
    with pytest.raises(TimeoutError):
        read_busy(file(*[daily] * 9), zone=LONDON, start=START, end=END, limits=LIMITS, step=patience)
    assert len(calls) == most


def test_a_stretch_at_the_end_of_time_is_read_like_any_other() -> None:
    for at in ("00010101T000000", "99991231T235800"):
        stretches = (f"FREEBUSY;TZID={zone}:{at}/PT1M\n" for zone in ("Asia/Tokyo", "America/New_York"))
        assert read(file(head=f"BEGIN:VFREEBUSY\n{''.join(stretches)}END:VFREEBUSY")) == []


def test_ten_megabytes_of_a_long_life_are_read_in_seconds() -> None:
    description = "DESCRIPTION:" + "x" * 600
    day = dt.date(1990, 1, 1)
    entries = [
        f"DTSTART:{day + dt.timedelta(days=index):%Y%m%d}T100000Z\nDURATION:PT1H\n{description}"
        for index in range(14_000)
    ]
    octets = file(*entries, "DTSTART:20260303T100000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY")
    assert len(octets) > 10_000_000
    began = time.perf_counter()
    found = read(octets)
    assert time.perf_counter() - began < 10
    assert len(found) == (END - START).days - 1 + (END - START).days


def test_without_the_extra_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "recurring_ical_events", None)
    with pytest.raises(SetupError, match=r"Install 'intake_plugin\[busy\]'"):
        read(file())


zones = st.sampled_from(
    ["Europe/London", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Africa/Casablanca"]
).map(ZoneInfo)
at_three = st.times(min_value=dt.time(6), max_value=dt.time(21)).map(lambda it: it.replace(microsecond=0))


@given(
    zone=zones,
    clinic=zones,
    first=st.dates(dt.date(2026, 1, 1), dt.date(2026, 4, 1)),
    time=at_three,
    step=st.integers(1, 9),
    minutes=st.integers(1, 300),
)
@settings(max_examples=60, deadline=None)
def test_a_daily_entry_keeps_its_local_time(
    zone: ZoneInfo, clinic: ZoneInfo, first: dt.date, time: dt.time, step: int, minutes: int
) -> None:
    begins = dt.datetime.combine(first, time)
    ends = begins + dt.timedelta(minutes=minutes)
    where = f";TZID={zone.key}:"
    entry = f"DTSTART{where}{begins:%Y%m%dT%H%M%S}\nDTEND{where}{ends:%Y%m%dT%H%M%S}"
    found = read(file(f"{entry}\nRRULE:FREQ=DAILY;INTERVAL={step}"), clinic)
    inner = [each for each in found if each.start > START and each.end < END]
    assert {each.start.astimezone(zone).time() for each in inner} == {time}
    dates = [each.start.astimezone(zone).date() for each in inner]
    assert {(after - before).days for before, after in pairwise(dates)} <= {step}
    assert (dates[0] - first).days % step == 0
    expected = {
        date
        for date in (first + dt.timedelta(days=step * index) for index in range(200))
        if dt.datetime.combine(date, time, zone) > START
        and dt.datetime.combine(date, time, zone) + dt.timedelta(minutes=minutes) < END
    }
    assert set(dates) == expected


SCRAPS = st.sampled_from(
    [
        *(bytes([code]) for code in b";:,=/ZT90-P\n\x00\xff"),
        *(b"\r\n", b"\n ", b"BEGIN:VEVENT\r\n", b"END:VEVENT\r\n"),
        *(b"RRULE:FREQ=YEARLY\r\n", b"RDATE:20260303\r\n", b"DURATION:P1D\r\n"),
    ]
)
RICH = file(
    WEEKLY + "RRULE:FREQ=WEEKLY;UNTIL=20260402T120000Z;BYDAY=MO,TU;INTERVAL=2\nEXDATE:20260303T120000Z",
    override("20260309T120000", "20260310T150000", "20260310T160000", "SEQUENCE:2"),
    "DTSTART;TZID=Customized Time Zone:20260330T100000\nDURATION:PT1H\n"
    "RDATE;VALUE=PERIOD:20260320T150000Z/PT3H",
    "DTSTART;VALUE=DATE:20260303\nDTEND;VALUE=DATE:20260305\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3",
    head=OUTLOOK_ZONE,
)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    octets = RICH
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets)))
        octets = octets[:at] + data.draw(SCRAPS) + octets[at + data.draw(st.integers(0, 3)) :]
    try:
        found = read(octets)
    except ImportRefused:
        found = []
    assert found == sorted(found)
    assert all(START <= each.start < each.end <= END for each in found)


def test_a_problem_never_repeats_what_a_file_says_of_people() -> None:
    text = file("UID:u\nSUMMARY:Mrs Patient\nDESCRIPTION:acne\nATTENDEE:mailto:p@example.com\nDTSTART:no")
    assert not re.search(r"Patient|acne|example\.com", "\n".join(problems(text)))
