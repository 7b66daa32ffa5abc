"""`flask intake race`: the proof on the site's own database, and nothing of it left behind."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from intake_plugin.journeys import race as races
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Case, Occupancy
from intake_plugin.state import KEY, State
from tests.journeys.conftest import CLINIC, NOW, Desk


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
    state.clinics["north"] = CLINIC
    return app


def test_it_prints_what_happened_and_leaves_the_database_as_it_was(
    mounted: Flask, make_desk: Callable[..., Desk]
) -> None:
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
