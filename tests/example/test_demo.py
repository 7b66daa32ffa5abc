"""The demonstration: every kind of case, made as patients and clinicians make them."""

from __future__ import annotations

import datetime as dt
import random

import pytest
import sqlalchemy as sa
from flask import Flask

from example_host.demo import STORIES, patients
from example_host.extensions import db
from intake_plugin.cli import verify
from intake_plugin.records.tables import Appointment, Case, CaseState, Signature
from intake_plugin.state import KEY

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def test_the_same_seed_makes_the_same_people(example: Flask) -> None:
    clinics = list(example.extensions[KEY].clinics.values())
    first, again, other = (
        [(each.identity, each.story, each.begins) for each in patients(clinics, 50, random.Random(seed), NOW)]
        for seed in (7, 7, 8)
    )
    assert first == again != other


def test_every_story_is_told_once_the_deck_is_through(example: Flask) -> None:
    count = sum(story.weight for story in STORIES)
    clinics = list(example.extensions[KEY].clinics.values())
    told = [patient.story for patient in patients(clinics, count, random.Random(1), NOW)]
    assert all(story in told for story in STORIES)


def test_it_leaves_cases_in_every_state_and_whole_series(example: Flask) -> None:
    cases = sum(story.weight for story in STORIES)
    runner = example.test_cli_runner()
    result = runner.invoke(args=["demo", "--cases", str(cases)])
    assert result.exit_code == 0, result.output
    with example.app_context():
        states = dict(db.session.execute(sa.select(Case.state, sa.func.count()).group_by(Case.state)).all())
        assert set(states) == set(CaseState) - {CaseState.CLOSED}
        assert states[CaseState.BOOKED] > cases / 3
        series = db.session.execute(
            sa.select(sa.func.count(), sa.func.max(Appointment.count)).group_by(Appointment.series_id)
        ).all()
        assert len(series) == states[CaseState.BOOKED]
        assert all(found == planned >= 1 for found, planned in series)
        signed = set(db.session.scalars(sa.select(Signature.case_id)))
        booked = set(db.session.scalars(sa.select(Case.id).where(Case.state == CaseState.BOOKED)))
        assert booked <= signed
        assert len(set(db.session.scalars(sa.select(Case.clinic_id)))) == 2
    chain = runner.invoke(verify)
    assert chain.exit_code == 0, chain.output


def test_it_can_be_run_again(example: Flask) -> None:
    runner = example.test_cli_runner()
    for seed in ("1", "2"):
        result = runner.invoke(args=["demo", "--cases", "3", "--seed", seed])
        assert result.exit_code == 0, result.output
    with example.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Case)) == 6


@pytest.mark.parametrize("option", ["--cases", "--seed"])
def test_it_explains_a_wrong_option(example: Flask, option: str) -> None:
    result = example.test_cli_runner().invoke(args=["demo", option, "many"])
    assert result.exit_code == 2
    assert "not a valid integer" in result.output
