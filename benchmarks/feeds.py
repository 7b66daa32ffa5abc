"""A clinic's feed of 10,000 appointments through its view: time, memory, and "nothing has changed".

Time is compared with icalendar building and serialising the same events with its own VTIMEZONE.
Memory is measured in a process of its own that has written none of the events before.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from benchmarks.calendar import best, facts_of, theirs
from intake_plugin import Intake, Staff
from intake_plugin.calendars.cache import SHARED
from intake_plugin.journeys import feeds
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Appointment, Case, CaseState, Series
from intake_plugin.state import KEY
from intake_plugin.testing import approve, clinic, keys
from intake_plugin.web.visit import current_office

APPOINTMENTS = 10_000
SESSIONS = 4
STAFF = Staff(id="1", name="Desk", role="decide")
SAMPLE = 500
"""Events that are parsed to learn what icalendar has to build; the rest are like them."""

TIMES = 1 / 50
COLD = 5
"""Seconds."""
MEMORY = 40
"""MiB above idle."""
UNCHANGED = 0.002
"""Seconds over a bare Flask view."""


def make_app(url: str) -> Flask:
    app, db = Flask("feeds"), SQLAlchemy()
    app.config.update({"SQLALCHEMY_DATABASE_URI": url, "INTAKE_KEYS": keys(), "SECRET_KEY": "benchmark"})
    db.init_app(app)
    intake = Intake(db, staff=lambda: STAFF)
    intake.init_app(app)
    app.register_blueprint(intake.blueprint("north", approve(clinic())), url_prefix="/north")
    app.add_url_rule("/bare", "bare", lambda: "")
    return app


@contextmanager
def busy_clinic() -> Iterator[tuple[Flask, str, str]]:
    """Serve a clinic with its appointments to come; yield the app, its database and the feed's path."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'clinic.sqlite'}"
        app = make_app(url)
        db: SQLAlchemy = app.extensions[KEY].db
        with app.app_context():
            db.create_all()
            db.session.add_all(_rows(dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)))
            db.session.commit()
        with app.test_request_context("/north/"):
            raw = feeds.make_clinic_feed(current_office(), STAFF, locale="en", label="Desk")
        yield app, url, f"/north/cal/{raw}.ics"
        with app.app_context():
            db.engine.dispose()


def _rows(now: dt.datetime) -> Iterator[Base]:
    """Yield rows of cases, series and appointments, four sessions in each hour."""
    for number in range(APPOINTMENTS // SESSIONS):
        own: dict[str, Any] = {"clinic_id": "test-clinic", "created_at": now}
        case_id = f"{number:032x}"
        yield Case(
            **own,
            id=case_id,
            reference=case_id[-8:],
            protocol_id="microneedling",
            protocol_version="1",
            fingerprint="",
            locale="en",
            state=CaseState.BOOKED,
            updated_at=now,
        )
        yield Series(**own, id=case_id, case_id=case_id, course_id="fine_lines", area_id="face")
        for ordinal in range(1, SESSIONS + 1):
            yield _appointment(now + dt.timedelta(hours=number), ordinal, case_id, own)


def _appointment(arrive: dt.datetime, ordinal: int, series_id: str, own: dict[str, Any]) -> Appointment:
    return Appointment(
        **own,
        id=str(uuid.uuid5(uuid.UUID(series_id), str(ordinal))),
        series_id=series_id,
        case_id=series_id,
        ordinal=ordinal,
        count=SESSIONS,
        zone="Europe/London",
        local_start=arrive.replace(tzinfo=None).isoformat(),
        arrive_at=arrive,
        treatment_at=arrive + dt.timedelta(minutes=60),
        end_at=arrive + dt.timedelta(minutes=105),
        cream_on_at=arrive,
        cream_off_at=arrive + dt.timedelta(minutes=50),
        cream_where="clinic",
        product_id="LMX4",
        practitioner_id="nurse",
        room_id="room",
        modified_at=own["created_at"],
    )


def _icalendar_seconds(octets: bytes) -> float:
    """Return how long icalendar takes to build and serialise as many events like those in `octets`."""
    opening, *events = octets.split(b"BEGIN:VEVENT\r\n")
    sample = b"BEGIN:VEVENT\r\n".join([opening, *events[:SAMPLE]]) + b"END:VCALENDAR\r\n"
    facts = facts_of(sample)
    copies = [
        fact | {"uid": str(uuid.UUID(int=number, version=4))}
        for number, fact in enumerate(facts * (APPOINTMENTS // SAMPLE))
    ]
    return best(lambda: theirs(copies), 3)


def _unchanged_seconds(app: Flask, path: str, rounds: int = 200) -> float:
    """Return the median time of a 304 above the median of a bare view, in turns."""
    client = app.test_client(use_cookies=False)
    headers = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, headers=headers).status_code == 304
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(best(lambda: client.get(path, headers=headers), 1))
        bare.append(best(lambda: client.get("/bare"), 1))
    return statistics.median(ours) - statistics.median(bare)


def _rebuilt_after_one_move(app: Flask, path: str) -> int:
    """Return how many events are written anew when one appointment has moved."""
    db: SQLAlchemy = app.extensions[KEY].db
    client = app.test_client(use_cookies=False)
    before = client.get(path).data
    with app.app_context():
        row = db.session.scalars(sa.select(Appointment).limit(1)).one()
        row.end_at += dt.timedelta(minutes=5)
        row.sequence += 1
        row.modified_at += dt.timedelta(seconds=1)
        db.session.commit()
    with patch.object(SHARED, "keep", wraps=SHARED.keep) as keep:
        assert client.get(path).data != before
    return keep.call_count


def _memory(url: str, path: str) -> float:
    """Return by how many MiB reading the feed raises the peak of a fresh process above idle."""
    command = [sys.executable, "-m", "benchmarks.feeds", "--memory", url, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _read_in_this_process(url: str, path: str) -> float:
    app = make_app(url)
    client = app.test_client(use_cookies=False)
    client.get("/north/")
    client.head(path)
    idle = _kibibytes("VmRSS")
    octets = sum(len(piece) for piece in client.get(path, buffered=False).iter_encoded())
    assert octets > APPOINTMENTS * 100
    return (_kibibytes("VmHWM") - idle) / 1024


def _kibibytes(name: str) -> int:
    # Linux; getrusage would give a child the peak of the process that started it.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:"))


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, measured, the most it may be), all measured in this run."""
    SHARED.clear()
    with busy_clinic() as (app, url, path):
        client = app.test_client(use_cookies=False)
        begin = time.perf_counter()
        octets = client.get(path).data
        cold = time.perf_counter() - begin
        assert octets.count(b"BEGIN:VEVENT") == APPOINTMENTS
        base = _icalendar_seconds(octets)
        warm = best(lambda: client.get(path).data, 15)
        zipped: Callable[[], bytes] = lambda: client.get(path, headers={"Accept-Encoding": "gzip"}).data  # noqa: E731
        packed = best(zipped, 15)
        return [
            ("feed of 10,000 over icalendar, warm", warm / base, TIMES),
            ("feed of 10,000 over icalendar, warm and compressed", packed / base, TIMES),
            ("feed of 10,000 with nothing written before, over 5 s", cold / COLD, 1),
            ("feed of 10,000: peak memory above idle, over 40 MiB", _memory(url, path) / MEMORY, 1),
            (
                "feed of 10,000 unchanged: time above a bare view, over 2 ms",
                _unchanged_seconds(app, path) / UNCHANGED,
                1,
            ),
            ("feed of 10,000: events written after one move", _rebuilt_after_one_move(app, path), 1),
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", nargs=2, metavar=("URL", "PATH"))
    asked = parser.parse_args().memory
    if asked:
        print(_read_in_this_process(*asked))
    else:
        for name, value, limit in ratios():
            print(f"{name}: {value:.4f} (at most {limit:g})")
