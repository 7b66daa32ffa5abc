"""Which failures of a database are somebody else writing, and what an error page may show of a desk."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError

from intake_plugin.errors import Busy, TimeTaken
from intake_plugin.journeys import booking, consent, holding, intake, review, upkeep
from intake_plugin.journeys.holding import Stretch, Taken
from intake_plugin.journeys.office import Office, Outrun, decided, transaction
from intake_plugin.records.tables import Case, CaseState, Claim, Verdict
from intake_plugin.state import KEY, Staff
from intake_plugin.testing import keys
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk

PROTOCOL = CLINIC.treatments["microneedling"].protocol


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


def test_who_is_outrun_looks_again_once_for_each_lane_at_each_session(desk: Desk) -> None:
    tries: list[int] = []

    def outrun() -> None:
        tries.append(len(tries))
        raise Outrun("Somebody else was faster.")

    with pytest.raises(TimeTaken, match="a moment ago") as told:
        decided(desk.office, outrun)
    assert type(told.value) is TimeTaken
    longest = max(course.sessions.max for course in PROTOCOL.courses)
    assert len(tries) == 1 + len(CLINIC.resources) * longest


@pytest.mark.parametrize("losses", [1, 12])
def test_who_is_outrun_gets_what_is_free_then(desk: Desk, losses: int) -> None:
    faster = iter(range(losses))

    def act() -> str:
        if next(faster, None) is not None:
            raise Outrun("Somebody else was faster.")
        return "booked"

    assert decided(desk.office, act) == "booked"


def test_a_lane_lost_between_the_look_and_the_claims_is_followed_by_a_second_look(
    make_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk()
    case, chosen = desk.planned(-1)
    late = desk.at(NOW + CLINIC.booking.hold_most)
    upkeep.expire(late.office)
    book, rivals = holding.book, iter([True])

    def after_a_rival(office: Office, mine: Case, wanted: Mapping[Stretch, str], taken: Taken) -> None:
        if next(rivals, False):
            other = dict.fromkeys(wanted, "rival")
            book(office, mine, other, taken)
        book(office, mine, wanted, taken)

    monkeypatch.setattr(holding, "book", after_a_rival)
    booking.confirm(late.office, case, chosen)
    assert case.state == CaseState.BOOKED


def test_a_rule_of_the_database_that_is_broken_elsewhere_is_not_told_as_a_time_taken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, chosen = desk.planned()
    broken = IntegrityError("INSERT INTO intake_series", {}, Exception("CHECK constraint failed"))

    def store(*args: object) -> None:
        raise broken

    monkeypatch.setattr(booking, "store", store)
    with pytest.raises(IntegrityError) as told:
        booking.confirm(desk.office, case, chosen)
    assert told.value is broken
    assert not desk.session.scalars(sa.select(Claim).where(Claim.appointment_id.is_not(None))).all()


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
