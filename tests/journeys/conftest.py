"""A clinic's desk on a real database, and patients who have come some part of the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session

from intake_plugin.clinical.answers import Answer
from intake_plugin.clinical.questionnaire import asked, first_unanswered
from intake_plugin.journeys import access, booking, consent, intake
from intake_plugin.journeys.intake import Identity, answers_hash, answers_of
from intake_plugin.journeys.office import Office
from intake_plugin.records.base import add_tables_to
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import Case
from intake_plugin.settings import Settings
from intake_plugin.state import KEY, Staff, State
from intake_plugin.testing import approve, clinic, keys

BORN = dt.date(1990, 5, 17)
NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
CLINIC = approve(
    clinic(
        treatments=[{"protocol": "microneedling", "numbing": {"stock": ["LMX4", "EMLA"], "home": "approved"}}]
    )
)
SETTINGS = Settings(
    keys=keys(),
    draft_lifetime=dt.timedelta(days=7),
    link_lifetime=dt.timedelta(days=365),
    lock_timeout=dt.timedelta(seconds=5),
    mail_timeout=dt.timedelta(seconds=5),
)
QUIZ = {
    "fitz_eyes": "blue",
    "fitz_hair": "blonde",
    "fitz_skin": "very_pale",
    "fitz_freckles": "several",
    "fitz_burn": "burns_peels",
    "fitz_brown": "light_tan",
    "fitz_hours": "seldom",
    "fitz_face": "sensitive",
    "fitz_last_sun": "months_2_3",
    "fitz_exposed": "hardly_ever",
}
CLEAN: Mapping[str, Answer] = {
    "concern": "fine_lines",
    "area": "face",
    "isotretinoin": "never",
    "no_alcohol": "yes",
    **QUIZ,
}
"""What a healthy adult answers where neither "no" nor "none of these" will do."""


@dataclass
class Desk:
    """One way into the clinic: an office with a database session of its own."""

    office: Office
    email: str | None = None
    """Whose cases these are; by default everybody is somebody else."""

    @property
    def session(self) -> Session:
        return self.office.session

    def at(self, now: dt.datetime) -> Desk:
        return Desk(replace(self.office, now=now), self.email)

    def begun(self) -> Case:
        return access.begin(self.office, protocol_id="microneedling", locale="en")[0]

    def identified(self, *, born: dt.date = BORN) -> Case:
        case = self.begun()
        email = self.email or f"{case.reference.lower()}@example.com"
        identity = Identity(name="Pat Example", birth_date=born, email=email, telephone="020 7946 0123")
        intake.identify(self.office, case, identity)
        return case

    def answered(self, born: dt.date = BORN, /, **answers: Answer) -> Case:
        """Answer page by page: what is given, else what a healthy adult says."""
        case = self.identified(born=born)
        given = {**CLEAN, **answers}
        protocol = self.office.protocol_of(case)
        while page := first_unanswered(protocol, answers_of(case), today=self.office.today):
            questions = asked(page, protocol, answers_of(case), today=self.office.today)
            usual: dict[str, Answer] = {
                question.link_id: ("none",) if question.type == "choices" else "no"
                for question in questions
                if question.required
            }
            known = {each.link_id: given[each.link_id] for each in questions if each.link_id in given}
            intake.answer(self.office, case, page.key, usual | known)
        return case

    def screened(self, born: dt.date = BORN, /, **answers: Answer) -> Case:
        case = self.answered(born, **answers)
        intake.submit(self.office, case, shown=answers_hash(case))
        return case

    def sign_all(self, case: Case) -> Case:
        for document in consent.documents(self.office, case):
            if document.settled:
                continue
            act = consent.Act(
                document_id=document.rendered.id,
                shown=document.rendered.sha256,
                button="Sign",
                name="Pat Example",
            )
            consent.sign(self.office, case, act)
        return case

    def signed(self, **answers: Answer) -> Case:
        return self.sign_all(self.screened(**answers))

    def planned(self, which: int = 0, /, **answers: Answer) -> tuple[Case, dict[int, dt.datetime]]:
        """Choose a time on offer, the first by default, and return the arrivals that are proposed."""
        case = self.signed(**answers)
        return case, self.plan(case, which)

    def plan(self, case: Case, which: int = 0) -> dict[int, dt.datetime]:
        booking.choose_first(self.office, case, booking.times(self.office, case).slots[which].arrive)
        return proposed(self.office, case)

    def booked(self, **answers: Answer) -> Case:
        case, chosen = self.planned(**answers)
        booking.confirm(self.office, case, chosen)
        return case


def proposed(office: Office, case: Case) -> dict[int, dt.datetime]:
    plan = booking.proposal(office, case)
    assert plan.complete
    return {each.proposal.ordinal: each.proposal.slot.arrive for each in plan.sessions if each.proposal.slot}


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    app, db = Flask("journeys"), SQLAlchemy()
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    add_tables_to(db.metadata)
    app.extensions[KEY] = State(
        settings=SETTINGS, keyring=KeyRing.parse(keys()), db=db, staff=None, csp_nonce=None
    )
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def make_desk(app: Flask) -> Iterator[Callable[..., Desk]]:
    """Make desks at the same clinic, each with a database session of its own."""
    state: State = app.extensions[KEY]
    sessions: list[Session] = []

    def make(**changes: Any) -> Desk:
        session = Session(state.db.engine)
        sessions.append(session)
        office = Office(clinic=CLINIC, session=session, settings=SETTINGS, keyring=state.keyring, now=NOW)
        return Desk(replace(office, **changes))

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


@pytest.fixture
def clinician() -> Staff:
    return Staff(id="dr-1", name="Dr Example", role="decide")
