"""From the octets of somebody else's calendar file to the components that decide a time.

Nothing is understood here but the file's structure: lines, folding, what stands inside of what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_LINE: Final = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:])*)*):(.*)', re.DOTALL)
_PARAMETER: Final = re.compile(r';([A-Za-z0-9-]+)=((?:"[^"]*"|[^";:])*)')

_STRUCTURE: Final = (b"BEGIN:", b"END:")
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
_PARTS_OF_ZONES: Final = frozenset({"STANDARD", "DAYLIGHT"})


class Wrong(ValueError):
    """A value that cannot be read; its text says why, and what to do."""


class Line(NamedTuple):
    """One content line, unfolded, with the number of its first line in the file."""

    number: int
    name: str
    parameters: Mapping[str, str]
    value: str


@dataclass(slots=True)
class Component:
    """What stands between a BEGIN and its END, as far as it decides a time."""

    name: str
    number: int
    lines: list[Line] = field(default_factory=list)
    parts: list[Component] = field(default_factory=list)

    def first(self, name: str) -> Line | None:
        """Return the first line of a name."""
        return next((line for line in self.lines if line.name == name), None)

    def each(self, name: str) -> Iterator[Line]:
        """Return all lines of a name."""
        return (line for line in self.lines if line.name == name)

    def text(self, name: str) -> str:
        """Return the value of the first line of a name, empty without one."""
        line = self.first(name)
        return "" if line is None else line.value.strip()


def components(octets: bytes, most: int) -> list[Component]:
    """Return the components that decide times, `most` of them.

    Raises Wrong where the file's structure is broken, or it has more.
    """
    found: list[Component] = []
    open_: list[Component] = []
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


def _begun(name: str, number: int, open_: list[Component], found: list[Component], most: int) -> Component:
    component = Component(name, number)
    parent = open_[-1].name if open_ else ""
    if parent == "VCALENDAR" and name in _WANTED:
        found.append(component)
        if len(found) > most:
            raise Wrong(
                f"It has more than {most} entries. Publish fewer past ones, or raise `entries` in the "
                "profile."
            )
    elif parent == "VTIMEZONE" and name in _PARTS_OF_ZONES:
        open_[-1].parts.append(component)
    return component


def _keep(component: Component, number: int, line: bytes) -> None:
    wanted = _WANTED.get(component.name)
    if wanted is None:
        return
    name = re.split(rb"[;:]", line, maxsplit=1)[0].decode("ascii", "replace").upper()
    if name not in wanted:
        return
    match = _LINE.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        component.lines.append(Line(number, name, {}, ""))
        return
    parameters = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(match[2])}
    component.lines.append(Line(number, name, parameters, match[3]))


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
