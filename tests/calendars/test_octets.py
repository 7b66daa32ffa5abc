from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Event

from intake_plugin.calendars import octets

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("1 Mill Lane, Leeds; back door", r"1 Mill Lane\, Leeds\; back door"),
        (r"C:\new", r"C:\\new"),
        ("one\r\ntwo\rthree\nfour\x85five\u2028six\u2029seven", r"one\ntwo\nthree\nfour\nfive\nsix\nseven"),
        ("a\0b\x0bc\x0cd\x1be\x1ff\x7fg\x9bh", "abcdefgh"),
        ("tab\there", "tab\there"),
        ("half a pair \ud83d", "half a pair "),
        ("\u200f עברית 👩🏽‍⚕️", "\u200f עברית 👩🏽‍⚕️"),
    ],
)
def test_text(value: str, written: str) -> None:
    assert octets.text(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Dr Ames", "Dr Ames"),
        ("Ames, Ada", '"Ames, Ada"'),
        ('Ada "Dee" Ames', "\"Ada ^'Dee^' Ames\""),
        ("a^b\r\nATTENDEE:x", '"a^^b^nATTENDEE:x"'),
        ("\0\x1b", ""),
        (" Ada", '" Ada"'),
        ("Ada\\", '"Ada\\"'),
    ],
)
def test_parameter(value: str, written: str) -> None:
    assert octets.parameter(value) == written


PARAMETER = re.compile(r'"([^"\0-\x08\n-\x1f\x7f]*)"|([^";:,\0-\x08\n-\x1f\x7f]*)')
DECODED = {"^n": "\n", "^'": '"', "^^": "^"}


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_parameter_is_read_back_by_the_letter_of_the_rfcs(clean: Callable[[str], str], value: str) -> None:
    match = PARAMETER.fullmatch(octets.parameter(value))
    assert match is not None
    encoded = match[1] if match[1] is not None else match[2]
    assert re.sub(r"\^[n'^]", lambda found: DECODED[found[0]], encoded) == clean(value)


# icalendar takes backslashes and percent signs in parameters for escapes, which no RFC knows.
@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=(), exclude_characters="\\%"), max_size=300))
def test_a_parameter_is_read_back(clean: Callable[[str], str], value: str) -> None:
    lines = (
        "BEGIN:VEVENT",
        f"ATTENDEE;CN={octets.parameter('x' + value)}:mailto:a@example.org",
        "END:VEVENT",
    )
    event: Any = Event.from_ical(b"".join(map(octets.line, lines)))
    assert list(event) == ["ATTENDEE"]
    assert event["ATTENDEE"] == "mailto:a@example.org"
    assert event["ATTENDEE"].params == {"CN": clean("x" + value)}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (
            "https://clinic.example/north/manage?a=1&b=%20#top",
            "https://clinic.example/north/manage?a=1&b=%20#top",
        ),
        ("https://clinic.example/a b\r\nX:y", "https://clinic.example/a%20b%0D%0AX:y"),
        ("https://clinic.example/größe", "https://clinic.example/gr%C3%B6%C3%9Fe"),
    ],
)
def test_uri(value: str, written: str) -> None:
    assert octets.uri(value) == written


@pytest.mark.parametrize(
    ("delta", "written"),
    [
        (dt.timedelta(), "PT0S"),
        (dt.timedelta(minutes=-60), "-PT60M"),
        (dt.timedelta(days=-1), "-P1D"),
        (dt.timedelta(days=1, hours=2), "PT1560M"),
        (dt.timedelta(seconds=90), "PT90S"),
        (dt.timedelta(hours=6), "PT360M"),
    ],
)
def test_duration(delta: dt.timedelta, written: str) -> None:
    assert octets.duration(delta) == written


def unfold(folded: bytes) -> list[bytes]:
    assert folded.endswith(b"\r\n")
    first, *rest = folded.removesuffix(b"\r\n").split(b"\r\n")
    assert all(piece.startswith(b" ") for piece in rest)
    assert all(len(piece) <= 75 for piece in (first, *rest))
    return [first, *(piece[1:] for piece in rest)]


@settings(deadline=None)
@given(ANY_TEXT)
def test_a_line_is_folded_between_characters_and_nothing_is_lost(value: str) -> None:
    content = f"DESCRIPTION:{octets.text(value)}"
    pieces = unfold(octets.line(content))
    assert b"".join(pieces) == content.encode()
    for piece in pieces:
        assert piece.decode()
        assert (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0


@pytest.mark.parametrize("length", range(60, 80))
@pytest.mark.parametrize("cluster", ["e\u0301\u0323", "👩🏽\u200d⚕\ufe0f", "ä", "\U0001f9d1"])
def test_what_is_seen_as_one_stays_on_one_line(cluster: str, length: int) -> None:
    pieces = [
        piece.decode() for piece in unfold(octets.line("SUMMARY:" + "x" * length + cluster * 3 + "x" * 90))
    ]
    for piece in pieces:
        assert unicodedata.category(piece[0]) not in {"Mn", "Me", "Mc"}
        assert piece[0] != "\u200d"
        assert piece[-1] != "\u200d"


def test_a_text_of_accents_alone_is_folded_all_the_same() -> None:
    content = "SUMMARY:a" + "\u0301" * 10_000
    assert b"".join(unfold(octets.line(content))) == content.encode()


@pytest.mark.parametrize("filler", [" ", "\u0301", "\\", "\u200d"])
def test_a_text_without_a_good_place_is_not_folded_inside_an_escape(filler: str) -> None:
    for length in range(20, 90):
        content = "SUMMARY:" + octets.text(filler * length + ",;" * 40)
        pieces = unfold(octets.line(content))
        assert b"".join(pieces) == content.encode()
        assert all((len(piece) - len(piece.rstrip(b"\\"))) % 2 == 0 for piece in pieces)


def test_a_line_of_75_octets_is_not_folded(lint: Callable[..., list[str]]) -> None:
    content = "SUMMARY:" + "x" * 67
    assert octets.line(content) == content.encode() + b"\r\n"
    assert octets.line(content + "y") == content.encode() + b"\r\n y\r\n"
