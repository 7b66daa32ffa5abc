"""A calendar program subscribes over a real connection, and a feed is the same in every process."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import icalendar
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from intake_plugin.testing import Visitor, read_page
from tests.web.conftest import CLINICIAN, HOME, NOW, MakeSite, Site


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - Werkzeug's name
        pass


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """Serve an app on a port of the loopback, each request in a thread of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def subscribed(site: Site) -> tuple[Visitor, str]:
    """Return a patient who has booked, and the path of their feed."""
    patient, _ = site.to("done")
    made = read_page(patient.send("POST", f"{HOME}calendar/link", []))
    return patient, next(urlsplit(address).path for address in made.calendars if "/cal/" in address)


CONFIGURATION = """
[general]
status_path = "{folder}/status/"

[pair feed]
a = "clinic"
b = "mine"
collections = null
conflict_resolution = "a wins"

[storage clinic]
type = "http"
url = "{url}"

[storage mine]
type = "filesystem"
path = "{folder}/vdir/"
fileext = ".ics"
"""


class VDirSyncer:
    """vdirsyncer with a configuration and a folder of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        (folder / "vdir").mkdir()
        (folder / "config").write_text(CONFIGURATION.format(folder=folder, url=url))
        self.run("discover")

    def run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "vdirsyncer", "-c", str(self.folder / "config"), *arguments]
        environment = os.environ | {"HOME": str(self.folder)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr + done.stdout

    def sync(self) -> dict[dt.date, icalendar.Event]:
        """Read the feed, and return what is now in the folder by its start.

        From a feed vdirsyncer takes no UID: it names an event by its content.
        """
        self.run("sync")
        found = {}
        for path in (self.folder / "vdir").glob("*.ics"):
            calendar = icalendar.Calendar.from_ical(path.read_bytes())
            assert isinstance(calendar, icalendar.Calendar)
            (event,) = calendar.events
            found[event.start] = event
        return found


def test_vdirsyncer_follows_a_move_and_a_cancellation(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(url=f"sqlite:///{tmp_path / 'site.sqlite'}")
    patient, path = subscribed(site)
    with served(site.app) as address:
        program = VDirSyncer(tmp_path, f"{address}{path}")
        before = program.sync()
        first, second, third, fourth = sorted(before)
        offered = patient.get(f"{HOME}sessions/4/move")
        arrive = [control.value for control in offered.form.controls if control.name == "arrive"][-1]
        patient.submit(patient.submit(offered, {"arrive": arrive}), press="move")
        patient.submit(patient.get(f"{HOME}sessions/3/cancel"))
        after = program.sync()
    moved = dt.datetime.fromisoformat(arrive)
    assert moved != fourth
    assert sorted(after) == sorted([first, second, third, moved])
    assert {start: str(event["STATUS"]) for start, event in after.items()} == {
        first: "CONFIRMED",
        second: "CONFIRMED",
        third: "CANCELLED",
        moved: "CONFIRMED",
    }
    for start in (first, second):
        assert after[start].to_ical() == before[start].to_ical()


SCRIPT = """
import sys, datetime as dt, hashlib
from pathlib import Path
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from intake_plugin import Intake, Staff
from intake_plugin.loading import load_clinic
from intake_plugin.testing import keys
from intake_plugin.web import visit

url, profile, moment, *paths = sys.argv[1:]
visit.now = lambda: dt.datetime.fromisoformat(moment)
app, db = Flask("site"), SQLAlchemy()
app.config.update(SQLALCHEMY_DATABASE_URI=url, INTAKE_KEYS=keys(), SECRET_KEY="x")
app.jinja_loader = DictLoader({"site.html": ""})
db.init_app(app)
intake = Intake(db, staff=lambda: None)
intake.init_app(app)
app.register_blueprint(intake.blueprint("harbour", load_clinic(Path(profile))), url_prefix="/book")
for path in paths:
    for encoding in ("gzip", "identity"):
        response = app.test_client().get(path, headers={"Accept-Encoding": encoding})
        print(response.status, response.headers["ETag"], hashlib.sha256(response.data).hexdigest())
"""


def test_the_same_rows_are_the_same_octets_in_every_process(make_site: MakeSite, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'site.sqlite'}"
    site = make_site(url=url)
    patient, patients = subscribed(site)
    patient.send("POST", f"{HOME}calendar/choices", [("shown", "care"), ("shown", "details")])
    site.to("done", {"name": "Robin Vale", "email": "robin.vale@example.com"})
    site.staff = CLINICIAN
    desk = site.visitor()
    made = desk.submit(desk.get(f"{HOME}staff/feeds"), {"label": "Reception"})
    clinics = next(urlsplit(address).path for address in made.calendars if "/cal/" in address)
    profile = str(Path(__file__).parent / "clinic.toml")
    command = [sys.executable, "-c", SCRIPT, url, profile, NOW.isoformat(), patients, clinics]
    printed = [
        subprocess.run(  # noqa: S603 - the interpreter that runs the tests, and the script above
            command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "4242")
    ]
    assert printed[0] == printed[1]
    here = [site.get(path) for path in (patients, clinics)]
    assert here[0].data.count(b"RELTYPE=PARENT") > 4 * 4
    for response, line in zip(here, printed[0].splitlines()[1::2], strict=True):
        assert line == f"200 OK {response.headers['ETag']} {hashlib.sha256(response.data).hexdigest()}"
