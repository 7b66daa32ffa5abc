"""The lint finds each fault that it stands for; a lint that finds nothing proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from intake_plugin.calendars import Style, Visit, patient_session

FAULTS = {
    "bare LF": (b"STATUS:CONFIRMED\r\n", b"STATUS:CONFIRMED\n", "bare CR or LF"),
    "bare CR": (b"SUMMARY:Appointment", b"SUMMARY:Appoint\rment", "bare CR or LF"),
    "no last CRLF": (b"END:VCALENDAR\r\n", b"END:VCALENDAR", "no CRLF"),
    "long line": (b"SUMMARY:", b"SUMMARY:" + b"x" * 75, "octets"),
    "split character": (b"SUMMARY:", b"SUMMARY:\xc3\r\n \xa4", "splits a character"),
    "control": (b"SUMMARY:", b"SUMMARY:\x1b", "control"),
    "line separator": (b"SUMMARY:", "SUMMARY:\u2028".encode(), "control"),
    "byte order mark": (b"BEGIN:VCALENDAR", b"\xef\xbb\xbfBEGIN:VCALENDAR", "byte order mark"),
    "empty line": (b"SUMMARY:", b"\r\nSUMMARY:", "is empty"),
    "semicolon": (b"SUMMARY:", b"SUMMARY:a;b", "unescaped"),
    "injected line": (b"SUMMARY:", b"X: y\r\nSUMMARY:", "has X"),
    "no colon": (b"SUMMARY:", b"SUMMARY\r\nSUMMARY:", "malformed"),
    "unknown property": (b"STATUS:", b"GEO:1\r\nSTATUS:", "has GEO"),
    "two UIDs": (b"UID:", b"UID:00000000-0000-4000-8000-000000000009\r\nUID:", "has 2 UID"),
    "no SEQUENCE": (b"SEQUENCE:0\r\n", b"", "has 0 SEQUENCE"),
    "timestamp as SEQUENCE": (b"SEQUENCE:0", b"SEQUENCE:1790000000", "SEQUENCE"),
    "zone undefined": (b"\r\nTZID:Europe/London", b"\r\nTZID:Europe/Dublin", "has no VTIMEZONE"),
    "alarm without text": (
        b"ACTION:DISPLAY\r\nDESCRIPTION",
        b"ACTION:DISPLAY\r\nSUMMARY",
        "has 0 DESCRIPTION",
    ),
    "absolute alarm": (b"TRIGGER:-P1D", b"TRIGGER:20261001T070000Z", "TRIGGER"),
    "open component": (b"END:VALARM\r\nEND:VEVENT", b"END:VEVENT", "closes nothing"),
    "METHOD": (b"VERSION:2.0", b"VERSION:2.0\r\nMETHOD:PUBLISH", "METHOD"),
    "ORGANIZER": (b"STATUS:", b"ORGANIZER:mailto:a@example.org\r\nSTATUS:", "without METHOD"),
    "floating time": (b"DTEND;TZID=Europe/London:", b"DTEND:", "DTEND"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_lint_finds(
    fault: str, visit: Callable[..., Visit], style: Style, lint: Callable[..., list[str]]
) -> None:
    right, wrong, said = FAULTS[fault]
    octets = patient_session(visit(), style)
    assert lint(octets) == []
    assert right in octets
    assert any(said in problem for problem in lint(octets.replace(right, wrong, 1)))


def test_the_lint_finds_one_uid_on_two_events(
    visit: Callable[..., Visit], style: Style, lint: Callable[..., list[str]]
) -> None:
    octets = patient_session(visit(cream_at="clinic"), style)
    begin, end = octets.index(b"BEGIN:VEVENT"), octets.index(b"END:VCALENDAR")
    assert any("stands twice" in problem for problem in lint(octets[:end] + octets[begin:]))
