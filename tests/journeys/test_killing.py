"""A process that is killed while it books leaves whole series or nothing of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from flask import Flask

from intake_plugin.journeys import booking, holding
from intake_plugin.records.tables import Claim, Occupancy
from tests.journeys.conftest import Desk
from tests.journeys.killing import KILLS

CASES = 12
ROOT = Path(__file__).parents[2]


def test_fifty_processes_killed_while_booking_leave_whole_series_or_nothing(
    app: Flask, make_desk: Callable[..., Desk], database_url: str, tmp_path: Path
) -> None:
    desk = make_desk()
    work: dict[str, dict[int, str]] = {}
    for _ in range(CASES):
        case = desk.signed()
        booking.choose_first(desk.office, case, booking.times(desk.office, case).slots[0].arrive)
        choice = holding.choice_of(case)
        assert choice is not None
        work[case.id] = {ordinal: arrive.isoformat() for ordinal, arrive in choice.arrivals.items()}
    for table in (Claim, Occupancy):
        desk.session.execute(sa.delete(table))
    desk.session.commit()
    file = tmp_path / "work.json"
    file.write_text(json.dumps(work))
    done = subprocess.run(  # noqa: S603 - this very project
        [sys.executable, "-m", "tests.journeys.killing", database_url, str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == KILLS
    assert any(0 < series < CASES for series in found), f"Nothing died in the middle of its work: {found}"
