"""Calendar programs take our files: a CalDAV server by PUT, and khal by import."""

from __future__ import annotations

import base64
import datetime as dt
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import icalendar
import pytest

from intake_plugin.calendars import Style, Visit, patient_series, patient_session
from tests.calendars.conftest import OUTPUTS, ZONES, Outputs, around_clock_changes

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MONTH = dt.timedelta(days=30)

MakeVisit = Callable[..., Visit]
CLOCK_CHANGES = "clock changes"
Told = dict[str, tuple[dt.datetime, dt.datetime]]
"""UID to the instants of start and end."""


@pytest.fixture(scope="module")
def files(visit: MakeVisit, outputs: Outputs, style: Style) -> dict[str, bytes]:
    """Every output, and one with a session on both sides of each clock change of each zone."""
    starts = [(start, zone) for zone in ZONES for start in around_clock_changes(zone) if start.year == 2026]
    many = [
        visit(start.isoformat(), zone, ordinal, cream_on=None, cream_off=None, cream_at=None)
        for ordinal, (start, zone) in enumerate(starts, start=1)
    ]
    return {name: octets for name, (octets, _) in outputs.items()} | {
        CLOCK_CHANGES: patient_series(many, style, now=NOW, keep_cancelled=MONTH)
    }


def told(octets: bytes) -> Told:
    calendar = icalendar.Calendar.from_ical(octets)
    assert isinstance(calendar, icalendar.Calendar)
    return {str(event["UID"]): (utc(event.start), utc(event.end)) for event in calendar.events}


def utc(moment: dt.date) -> dt.datetime:
    assert isinstance(moment, dt.datetime)
    return moment.astimezone(dt.UTC)


def facts(octets: bytes) -> dict[str, dict[str, str]]:
    """What a program has to give back of each event, its alarms included."""
    calendar = icalendar.Calendar.from_ical(octets)
    assert isinstance(calendar, icalendar.Calendar)
    kept = (
        "SUMMARY",
        "DESCRIPTION",
        "LOCATION",
        "STATUS",
        "SEQUENCE",
        "CLASS",
        "TRANSP",
        "RELATED-TO",
        "URL",
    )
    return {
        str(event["UID"]): {name: str(event.get(name)) for name in kept}
        | {"alarms": " ".join(str(alarm["TRIGGER"].to_ical()) for alarm in event.walk("VALARM"))}
        for event in calendar.events
    }


@dataclass
class CalDAV:
    """A CalDAV server, asked as the user "pat"."""

    address: str

    def send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        login = base64.b64encode(b"pat:secret").decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "text/calendar; charset=utf-8"}
        request = urllib.request.Request(  # noqa: S310 - our own server on the loopback
            f"{self.address}{path}", data=body, method=method, headers=headers
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            answer: bytes = response.read()
        return answer


@pytest.fixture(scope="module")
def caldav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CalDAV]:
    """Radicale on a port of the loopback, with a folder of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("radicale")
    command = [sys.executable, "-m", "radicale", "--config", "", "--server-hosts", f"127.0.0.1:{port}"]
    command += ["--storage-filesystem-folder", str(folder), "--auth-type", "none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line)
            if "server ready" in line:
                break
        else:
            pytest.fail(f"Radicale did not start:\n{''.join(said)}")
        # What it says later has to be read, or it waits for a reader.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield CalDAV(f"http://127.0.0.1:{port}")
        server.terminate()


def test_a_caldav_server_takes_each_file_and_gives_it_back(caldav: CalDAV, files: dict[str, bytes]) -> None:
    for name, octets in files.items():
        address = f"/pat/{name.replace(', ', '-').replace(' ', '-')}/"
        caldav.send("PUT", address, octets)
        returned = caldav.send("GET", address)
        assert told(returned) == told(octets), name
        assert facts(returned) == facts(octets), name


def test_an_updated_event_replaces_the_one_of_its_uid(
    caldav: CalDAV, series: tuple[Visit, ...], style: Style
) -> None:
    first = patient_session(replace(series[0], cream_on=None, cream_off=None, cream_at=None), style)
    moved = replace(series[0], cream_on=None, cream_off=None, cream_at=None, sequence=1, cancelled=True)
    caldav.send("PUT", "/pat/one/", first)
    caldav.send("PUT", f"/pat/one/{moved.uid}.ics", patient_session(moved, style))
    returned = caldav.send("GET", "/pat/one/")
    assert {uid: each["STATUS"] for uid, each in facts(returned).items()} == {moved.uid: "CANCELLED"}


KHAL = """
[calendars]
[[one]]
path = {folder}/vdir
type = calendar
[locale]
local_timezone = UTC
default_timezone = UTC
timeformat = %H:%M
dateformat = %Y-%m-%d
longdateformat = %Y-%m-%d
datetimeformat = %Y-%m-%d %H:%M
longdatetimeformat = %Y-%m-%dT%H:%M
[sqlite]
path = {folder}/khal.db
"""


@dataclass
class Khal:
    """khal with a configuration and a calendar of its own."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "vdir").mkdir()
        (self.folder / "khal.conf").write_text(KHAL.format(folder=self.folder))

    def run(self, *arguments: str) -> str:
        environment = os.environ | {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        command = [sys.executable, "-m", "khal", "-c", str(self.folder / "khal.conf"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr
        return done.stdout

    def take(self, octets: bytes) -> None:
        path = self.folder / "file.ics"
        path.write_bytes(octets)
        self.run("import", "--batch", "-a", "one", str(path))

    def shown(self) -> dict[str, tuple[str, str, str]]:
        """UID to start, end and title, in UTC."""
        line = "{uid}|{start-long}|{end-long}|{title}"
        listed = self.run(
            "list", "--once", "--day-format", "", "--format", line, "2025-12-01", "2029-02-01"
        ).splitlines()
        events = (each.split("|") for each in listed if each.strip())
        return {uid: (start, end, title) for uid, start, end, title in events}


@pytest.mark.parametrize("name", [*OUTPUTS, CLOCK_CHANGES])
def test_khal_imports_a_file_and_shows_it_at_the_right_time(
    name: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    khal = Khal(tmp_path)
    khal.take(files[name])
    titles = facts(files[name])
    assert khal.shown() == {
        uid: (f"{start:%Y-%m-%dT%H:%M}", f"{end:%Y-%m-%dT%H:%M}", titles[uid]["SUMMARY"])
        for uid, (start, end) in told(files[name]).items()
    }
