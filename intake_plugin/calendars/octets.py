"""Content lines of iCalendar: what may stand in a value, where a line is folded, how it ends.

Everything a person typed passes through `text`, `parameter` or `uri` and then through `line`, so
that no value can begin a line of its own and no octet leaves that RFC 5545 section 3.1 forbids.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from urllib.parse import quote

LINE_OCTETS = 75
"""The longest content line without its line end, RFC 5545 section 3.1."""

_LINE_BREAKS = ("\r", "\n", "\x85", "\u2028", "\u2029")
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")]
_SPACE = {b" ", b"\t"}
_SURROGATES = range(0xD800, 0xE000)
_DROPPED = dict.fromkeys((*_CONTROLS, *_SURROGATES), "")


def _escapes(line_break: str, escapes: dict[str, str]) -> dict[int, str]:
    breaks = dict.fromkeys(map(ord, _LINE_BREAKS), line_break)
    return _DROPPED | breaks | {ord(char): escape for char, escape in escapes.items()}


_PLAIN = re.compile(r"[\w./+'-]+(?: [\w./+'-]+)*|")
_TEXT = _escapes(r"\n", {"\\": r"\\", ";": r"\;", ",": r"\,"})
_PARAMETER = _escapes("^n", {"^": "^^", '"': "^'"})


def text(value: str) -> str:
    """Return `value` as a TEXT value: escaped, line breaks of every kind as `\\n`, controls dropped.

    RFC 5545 section 3.3.11. A tab stays. Half a surrogate pair has no UTF-8 form and is dropped.
    """
    return value.replace("\r\n", "\n").translate(_TEXT)


def parameter(value: str) -> str:
    """Return `value` as a parameter value: RFC 6868 encoded, quoted unless it is plain.

    RFC 5545 asks for quotes around `:`, `;` and `,` only, but readers also trim spaces at the ends,
    take a backslash for an escape, and refuse a file for a bare caret (sabre/vobject 2).
    """
    encoded = value.replace("\r\n", "\n").translate(_PARAMETER)
    return encoded if _PLAIN.fullmatch(encoded) else f'"{encoded}"'


def uri(value: str) -> str:
    """Return `value` as a URI value, RFC 3986: what a URI cannot hold is percent-encoded as UTF-8."""
    return quote(value, safe="%:/?#[]@!$&'()*+,;=~", errors="replace")


def utc(moment: dt.datetime) -> str:
    """Return an aware `moment` as a UTC DATE-TIME."""
    return f"{moment.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}"


def wall(moment: dt.datetime) -> str:
    """Return the wall-clock time of `moment` as a DATE-TIME without a zone."""
    return f"{moment:%Y%m%dT%H%M%S}"


def duration(delta: dt.timedelta) -> str:
    """Return `delta` as a DURATION in its largest whole unit of days, minutes or seconds."""
    sign = "-" if delta < dt.timedelta() else ""
    seconds = round(abs(delta).total_seconds())
    days, rest = divmod(seconds, 86_400)
    if days and not rest:
        return f"{sign}P{days}D"
    minutes, rest = divmod(seconds, 60)
    return f"{sign}PT{minutes}M" if minutes and not rest else f"{sign}PT{seconds}S"


def interval(delta: dt.timedelta) -> str:
    """Return a positive `delta` as `duration` does, but whole hours as hours: feed readers expect PT6H."""
    hours, rest = divmod(round(delta.total_seconds()), 3600)
    return duration(delta) if rest else f"PT{hours}H"


def line(content: str) -> bytes:
    """Return one content line in UTF-8 with CRLF, folded to at most 75 octets between characters."""
    octets = content.encode()
    if len(octets) <= LINE_OCTETS:
        return octets + b"\r\n"
    pieces = []
    start, room = 0, LINE_OCTETS
    while len(octets) - start > room:
        end = _fold_point(octets, start, start + room)
        pieces.append(octets[start:end])
        start, room = end, LINE_OCTETS - 1
    pieces.append(octets[start:])
    return b"\r\n ".join(pieces) + b"\r\n"


def _fold_point(octets: bytes, start: int, limit: int) -> int:
    """Return where to fold: the last place up to `limit` that splits nothing a reader shows as one.

    Text made of joined marks only has no such place; it is folded between its characters, and
    never inside an escape.
    """
    between = _character_start(octets, limit)
    if _in_escape(octets, start, between):
        between -= 1
    end = between
    while end > start and _splits(octets, start, end):
        end = _character_start(octets, end - 1)
    return end if end > start else between


def _character_start(octets: bytes, index: int) -> int:
    while octets[index] & 0xC0 == 0x80:
        index -= 1
    return index


def _in_escape(octets: bytes, start: int, index: int) -> bool:
    """Whether a fold before `index` parts a backslash from what it escapes; none begins before `start`."""
    piece = octets[start:index]
    return (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1


def _splits(octets: bytes, start: int, index: int) -> bool:
    """Whether a fold before `index` parts an escape, a joined emoji or a letter from its accents.

    Or leaves a space at the end or the beginning of a line, where careless programs trim it.
    """
    before = octets[_character_start(octets, index - 1) : index]
    following = octets[index : index + 4].decode(errors="ignore")[0]
    if before in _SPACE or following in " \t" or _in_escape(octets, start, index):
        return True
    joins = unicodedata.category(following) in {"Mn", "Mc", "Me"} or following == "\u200d"
    return joins or before.decode() == "\u200d"
