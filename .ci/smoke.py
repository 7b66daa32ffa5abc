"""Serve the example clinic, go a patient's whole way over HTTP, and read the calendar file that comes out."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path

import icalendar

from intake_plugin.testing import Given, Page, Visitor

GIVEN: Given = {
    "treatment": "microneedling",
    "name": "Wren Okafor",
    "birth_date": dt.date(1991, 3, 14),
    "email": "wren.okafor@example.com",
    "telephone": "07700 900123",
    "concern": "fine_lines",
    "area": "face",
    "no_alcohol": "yes",
}


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `flask run` on a free port, as the README does, and return it with the address it prints."""
    environment = {**os.environ, "EXAMPLE_INSTANCE": str(folder / "instance"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "flask", "--app", "example_host", "run", "--port", "0"]
    server = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    said = []
    for line in server.stderr or ():
        said.append(line)
        if found := re.search(r"Running on (http://[\d.:]+)", line):
            return server, found[1]
    raise SystemExit("The example did not start:\n" + "".join(said))


def book(address: str) -> tuple[Page, Visitor]:
    """Book a course in London and return the last page."""
    visitor = Visitor.over_http()
    home = visitor.get(address)
    start = next(href for _, href in home.links if href.startswith("/london/"))
    page = visitor.book(address + start, GIVEN)
    if page.name != "done":
        raise SystemExit(f"The way ended on {page.name!r}: {page.text}")
    return page, visitor


def save(folder: Path, page: Page, visitor: Visitor) -> Path:
    """Download the first calendar file of the page and check that icalendar reads a series in it."""
    file = folder / "series.ics"
    file.write_bytes(visitor.download(page.calendars[0], page))
    calendar = icalendar.Calendar.from_ical(file.read_bytes())
    events = sorted(calendar.events, key=lambda event: event.start)
    if len(events) < 2:
        raise SystemExit(f"{file} holds {len(events)} entries instead of a series.")
    for event in events:
        print(f"  {event.start:%a %d %b %Y %H:%M %Z}  {event.get('SUMMARY')}")
    return file


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    server, address = serve(folder)
    try:
        page, visitor = book(address)
        print(f"{page.heading}: {' > '.join(dict.fromkeys(visitor.visited))}")
        print(f"Series in {save(folder, page, visitor)}")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
