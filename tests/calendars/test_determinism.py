from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

SCRIPT = """
import datetime as dt, hashlib, uuid
from intake_plugin.calendars import *
from intake_plugin.calendars.cache import fingerprint
from intake_plugin.calendars.outputs import CLINIC_IMPORT

words = Words(**{name: f"{name} {{time}}" if name.startswith(("arrive", "cream", "treat")) else name
                 for name in Words.__dataclass_fields__} | {"clock": "{hour:02}:{minute:02}"})
style = Style(words=words, place=Place(name="Clinic", address="Mill Lane", telephone="1"),
              reminders=Reminders(prepare=dt.timedelta(hours=1), ahead=dt.timedelta(days=1),
                                  entry=dt.timedelta(minutes=15)))
start, hour = dt.datetime(2026, 10, 1, 9, tzinfo=dt.UTC), dt.timedelta(hours=1)
zones = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Africa/Cairo", "Australia/Sydney"]
days = [start + n * 24 * hour for n in range(len(zones))]
uids = [str(uuid.UUID(int=n, version=4)) for n in range(len(zones))]
rows = {Visit(uid=uids[n], arrive=day, end=day + hour, treatment_start=day, zone=zones[n], ordinal=n + 1,
              count=5, sequence=0, cancelled=n == 3, modified=start, cream_on=day - hour, cream_off=None,
              cream_at="home", product="", resources=("a", "b"), series_uid=uids[0], version=1)
        for n, day in enumerate(days)}
kept = dict(now=start, keep_cancelled=dt.timedelta(days=30))
octets = patient_series(rows, style, **kept) + clinic_import(rows, style, **kept)
print(hashlib.sha256(octets).hexdigest(), fingerprint(CLINIC_IMPORT, style))
"""


@pytest.fixture(scope="module")
def digests() -> list[str]:
    def run(seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(  # noqa: S603 - the interpreter that runs the tests, and the script above
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    return [run(seed) for seed in ("0", "1", "4242")]


def test_the_same_rows_give_the_same_octets_in_every_process(digests: list[str]) -> None:
    assert len(set(digests)) == 1
    assert len(digests[0].split()[0]) == hashlib.sha256().digest_size * 2
