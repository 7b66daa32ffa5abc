"""Which failures of a database are somebody else writing, and what an error page may show of a desk."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import OperationalError

from intake_plugin.errors import Busy
from intake_plugin.journeys import consent, intake, review
from intake_plugin.journeys.office import transaction
from intake_plugin.records.tables import Case, Verdict
from intake_plugin.state import KEY, Staff
from intake_plugin.testing import keys
from tests.journeys.conftest import SETTINGS, Desk


def test_a_lock_that_somebody_else_holds_is_busy(make_desk: Callable[..., Desk]) -> None:
    holder = make_desk()
    waiter = make_desk(settings=replace(SETTINGS, lock_timeout=dt.timedelta(milliseconds=100)))
    case = holder.begun()
    rename = sa.update(Case).where(Case.id == case.id).values(locale="de")
    holder.session.execute(rename)
    with pytest.raises(Busy), transaction(waiter.office):
        waiter.session.execute(rename)
    holder.session.rollback()


def test_any_other_failure_of_the_database_stays_what_it_is(desk: Desk) -> None:
    failure = OperationalError("COMMIT", {}, Exception("disk I/O error"))
    with pytest.raises(OperationalError, match="disk I/O error"), transaction(desk.office):
        raise failure
    assert not desk.session.in_transaction()


def shown(desk: Desk, app: Flask, clinician: Staff) -> Iterator[str]:
    case = desk.screened(medicines=("blood_thinner",))
    yield repr(desk.office)
    yield repr(app.extensions[KEY])
    yield repr(case)
    yield repr(intake.identity_of(case))
    yield repr(intake.screening_of(case))
    yield repr(review.queue(desk.office))
    yield repr(review.whole(desk.office, clinician, case.reference))
    yield repr(consent.Act(document_id="treatment", shown="", button="Sign", name="Pat Example"))
    yield repr(review.Ruling(verdict=Verdict.CLEAR, note="Pat Example takes blood_thinner", version=1))


def test_nothing_secret_is_in_what_a_traceback_shows(desk: Desk, app: Flask, clinician: Staff) -> None:
    secret = keys().partition(":")[2]
    for text in shown(desk, app, clinician):
        # Where in memory something lies may happen to hold the digits of a year.
        said = re.sub(r"0x[0-9a-f]+", "", text)
        for word in (secret, "Pat Example", "@example.com", "1990", "blood_thinner", "blood thinner"):
            assert word not in said
