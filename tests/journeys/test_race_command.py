"""`flask intake race`: the proof on the site's own database, and nothing of it left behind."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from intake_plugin.errors import Busy
from intake_plugin.journeys import booking, outbox
from intake_plugin.journeys import race as races
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Case, Occupancy
from intake_plugin.state import KEY, State
from intake_plugin.testing import clinic
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk
from tests.journeys.mailing import mailing


def run(app: Flask, *arguments: str) -> Result:
    command = ["intake", "race", "--workers", "4", "--rounds", "3", *arguments]
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), command)


def rows(desk: Desk) -> dict[str, set[str]]:
    """Ids of the clinics that have rows, by table."""
    return {
        name: set(desk.session.scalars(sa.select(table.c.clinic_id)))
        for name, table in Base.metadata.tables.items()
    }


@pytest.fixture
def mounted(app: Flask) -> Flask:
    state: State = app.extensions[KEY]
    state.clinics["north"] = mailing(reminders=["P2D"])
    return app


def test_it_prints_what_happened_and_leaves_the_database_as_it_was(
    mounted: Flask, make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(*_: object) -> None:
        raise AssertionError("The patients of a race have no address.")

    monkeypatch.setattr(outbox, "_write", tell)
    make_desk().booked()
    before = rows(make_desk())
    result = run(mounted, "north")
    assert result.exit_code == 0, result.output
    assert "rounds 3, winners 3, overlaps 0" in result.output
    assert re.search(r"lost: 9 \w+; \d+ attempts a second", result.output)
    assert rows(make_desk()) == before


def test_a_clinic_that_has_retired_everything_still_proves_its_database(mounted: Flask) -> None:
    treatments = {key: replace(each, retired=True) for key, each in CLINIC.treatments.items()}
    mounted.extensions[KEY].clinics["north"] = replace(CLINIC, treatments=treatments)
    result = run(mounted)
    assert result.exit_code == 0, result.output
    assert "winners 3" in result.output


def test_an_overlap_is_an_exit_code(mounted: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "_overlaps", lambda office: 1)
    result = run(mounted)
    assert result.exit_code == 1
    assert "overlaps 3" in result.output
    assert "must not be used" in result.output


def test_a_race_that_nobody_wins_proves_nothing(mounted: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise Busy("Somebody else is writing at this moment.")

    monkeypatch.setattr(booking, "confirm", refuse)
    result = run(mounted)
    assert result.exit_code == 1
    assert "winners 0" in result.output
    assert "lost: 12 Busy" in result.output
    assert "Nobody booked, so nothing is proved." in result.output


def test_one_who_never_comes_back_is_not_waited_for(mounted: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm, hang, first = booking.confirm, threading.Event(), threading.Lock()

    def hang_once(*args: Any) -> object:
        if first.acquire(blocking=False):
            hung.append(threading.current_thread())
            hang.wait()
            raise Busy("Too late.")
        return confirm(*args)

    hung: list[threading.Thread] = []
    monkeypatch.setattr(booking, "confirm", hang_once)
    monkeypatch.setattr(races, "_PATIENCE", 1.0)
    try:
        result = run(mounted, "--rounds", "1")
    finally:
        hang.set()
        for worker in hung:
            worker.join()
    assert result.exit_code == 1
    assert "1 of 4 patients did not come back within 1 seconds. This is no proof." in result.output


def test_what_a_worker_stumbles_over_is_told(mounted: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(booking, "confirm", stumble)
    assert isinstance(run(mounted).exception, ZeroDivisionError)


def test_rows_that_are_locked_are_named_and_not_waited_for(
    make_desk: Callable[..., Desk],
) -> None:
    impatient = replace(SETTINGS, lock_timeout=dt.timedelta(milliseconds=100))
    desk, holder = make_desk(settings=impatient), make_desk()
    with pytest.raises(Busy, match=r"scratch clinic 'race-\w+' are locked"), races._scratch(desk.office, 1):
        holder.session.execute(sa.update(Case).values(locale="de"))
    holder.session.rollback()


def test_the_clinics_own_calendars_are_no_part_of_the_race(app: Flask) -> None:
    """A stale one would block every time of the scratch clinic, which no command ever reads for."""
    calendar = {"resource": "nurse", "source": "nurse.ics", "stale_after": "PT6H", "stale": "block"}
    app.extensions[KEY].clinics["north"] = replace(CLINIC, busy=clinic(busy=[calendar]).busy)
    result = run(app)
    assert result.exit_code == 0, result.output


def test_overlaps_are_counted_by_what_is_stored(desk: Desk) -> None:
    def stretch(minute: int, resource_id: str = "room", lane: int = 0) -> Occupancy:
        start = NOW + dt.timedelta(minutes=minute)
        return Occupancy(
            clinic_id=CLINIC.id,
            resource_id=resource_id,
            lane=lane,
            start_at=start,
            end_at=start + dt.timedelta(minutes=30),
        )

    desk.session.add_all([stretch(0), stretch(30), stretch(0, "nurse"), stretch(0, lane=1)])
    assert races._overlaps(desk.office) == 0
    desk.session.add(stretch(15))
    assert races._overlaps(desk.office) == 2
    desk.session.rollback()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_nothing_stays_behind_when_it_is_stopped(
    mounted: Flask,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
) -> None:
    def interrupt(*args: object) -> None:
        assert make_desk().session.scalars(sa.select(Case)).all()
        raise stop

    monkeypatch.setattr(races, "_round", interrupt)
    assert run(mounted).exit_code != 0
    assert not any(rows(make_desk()).values())


def test_a_clinic_that_is_not_there_is_told_with_the_nearest_name(mounted: Flask) -> None:
    result = run(mounted, "nort")
    assert result.exit_code == 1
    assert "No clinic is mounted as 'nort'. Did you mean 'north'?" in result.output


def test_a_clinic_that_is_never_open_says_so(mounted: Flask) -> None:
    state: State = mounted.extensions[KEY]
    state.clinics["north"] = replace(CLINIC, hours={})
    result = run(mounted)
    assert result.exit_code == 1
    assert "no time in its first week" in result.output
