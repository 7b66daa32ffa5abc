"""Drafts that have run out are deleted; whatever has become a record stays."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from intake_plugin.journeys import intake, upkeep
from intake_plugin.records import audit
from intake_plugin.records.tables import Case, Signature, Token
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk

LATER = NOW + SETTINGS.draft_lifetime + dt.timedelta(minutes=1)


def kept(desk: Desk) -> set[str]:
    return set(desk.session.scalars(sa.select(Case.id)))


def test_only_drafts_that_have_run_out_are_deleted(desk: Desk) -> None:
    old, booked = desk.identified().id, desk.booked().id
    later = desk.at(LATER)
    fresh = later.identified().id
    assert upkeep.expire(later.office) == 1
    assert kept(desk) == {booked, fresh}
    assert old not in set(desk.session.scalars(sa.select(Token.case_id)))
    assert audit.verify(desk.session, CLINIC.id) == ()


def test_a_signed_case_that_went_back_to_its_questions_stays(desk: Desk) -> None:
    case = desk.signed()
    intake.reopen(desk.office, case)
    assert upkeep.expire(desk.at(LATER).office) == 0
    assert kept(desk) == {case.id}
    assert desk.session.scalars(sa.select(Signature)).first() is not None


def test_running_it_again_does_nothing(desk: Desk) -> None:
    for _ in range(3):
        desk.begun()
    later = desk.at(LATER)
    assert [upkeep.expire(later.office), upkeep.expire(later.office)] == [3, 0]
