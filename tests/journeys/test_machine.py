"""Patients and staff in any order: whatever they do, what is stored stays true after every step."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session

from intake_plugin.errors import OutOfTurn, TimeTaken, TooLate
from intake_plugin.journeys import (
    blocking,
    booking,
    busy,
    changing,
    consent,
    holding,
    intake,
    review,
    upkeep,
)
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.review import Ruling
from intake_plugin.journeys.times import gap_of, session_of
from intake_plugin.records import audit
from intake_plugin.records.base import add_tables_to
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.outbox import MailKind, Outgoing
from intake_plugin.records.tables import (
    Appointment,
    AppointmentState,
    Block,
    BusyReading,
    BusyTime,
    Case,
    CaseState,
    Claim,
    Decision,
    Occupancy,
    Series,
    Verdict,
)
from intake_plugin.scheduling.slots import Slot
from intake_plugin.state import KEY, Staff, State
from intake_plugin.testing import clinic, keys
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk
from tests.journeys.mailing import policy
from tests.journeys.test_busy import text

PATIENTS = 4
PICK = st.integers(0, 10_000)
"""Which of what is there, counted round."""
WHO = st.integers(0, PATIENTS - 1)
STAFF = Staff(id="7", name="Dr Ana Ruiz", role="decide")
LEAD = dt.timedelta(days=30)
RESOURCES = [
    {"id": "ana", "kind": "practitioner", "name": "Ana"},
    {"id": "ben", "kind": "practitioner", "name": "Ben", "before": "PT5M"},
    {"id": "room", "kind": "room", "name": "Room", "after": "PT10M"},
]
TWO_AND_ONE = replace(
    CLINIC, mail=policy(reminders=["P30D"]), resources=clinic(resources=RESOURCES).resources
)
"""One room for two practitioners, so that the room is what runs out. Not every session gets a reminder."""


EXAMPLES, ON_SERVERS = 30, 6
"""How many lives of the clinic are tried on SQLite, and on each server, which is slower to ask."""


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    app, db = Flask("machine"), SQLAlchemy()
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    db.init_app(app)
    add_tables_to(db.metadata)
    keyring = KeyRing.parse(keys())
    app.extensions[KEY] = State(settings=SETTINGS, keyring=keyring, db=db, staff=None, csp_nonce=None)
    with app.app_context():
        db.create_all()
        with Session(db.engine) as session:
            calendar = {"resource": "ben", "source": str(tmp_path / "ben.ics"), "stale_after": "P1D"}
            elsewhere = clinic(resources=RESOURCES, busy=[calendar | {"stale": "warn"}]).busy
            profile = replace(TWO_AND_ONE, busy=elsewhere)
            made = Office(clinic=profile, session=session, settings=SETTINGS, keyring=keyring, now=NOW)
            for _ in range(PATIENTS):
                Desk(made).signed()
            yield made
        db.engine.dispose()


class Visits(RuleBasedStateMachine):
    """Some patients and the staff of one clinic; `start` is its desk."""

    start: ClassVar[Office]
    cases: ClassVar[Sequence[Mapping[str, Any]]]
    """The patients' cases as they were at the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.office = self.start
        self.sequences: dict[str, int] = {}

    @property
    def session(self) -> Session:
        return self.office.session

    @initialize(first=st.lists(st.sampled_from(["hold", "book", "book"]), max_size=PATIENTS))
    def begin(self, first: list[str]) -> None:
        """Begin anew; the first patients have come some way already, so that there is something to change."""
        tables = (Outgoing, Claim, Occupancy, Block, Appointment, Series, Decision, BusyTime, BusyReading)
        for table in tables:
            self.session.execute(sa.delete(table))
        cases = Case.__table__
        for row in self.cases:
            mine = sa.update(Case).where(cases.c.id == row["id"]).values(row)
            self.session.execute(mine, execution_options={"synchronize_session": False})
        self.session.commit()
        self.session.expire_all()
        for who, way in enumerate(first):
            case = self.case(who)
            chosen = Desk(self.office).plan(case, 7 * who)
            if way == "book":
                booking.confirm(self.office, case, chosen)

    def case(self, who: int) -> Case:
        found = self.session.scalars(sa.select(Case).order_by(Case.id)).all()
        return found[who]

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something; what is refused has to leave everything as it was."""
        before = self.stored()
        try:
            act()
        except (TimeTaken, OutOfTurn, TooLate):
            assert self.stored() == before

    def stored(self) -> dict[str, list[tuple[Any, ...]]]:
        self.session.rollback()
        return {
            table.__tablename__: sorted(
                (tuple(row) for row in self.session.execute(sa.select(table.__table__))), key=repr
            )
            for table in (Case, Claim, Occupancy, Appointment, Series, Block, Outgoing)
        }

    @rule(who=WHO, pick=PICK, asked=st.sampled_from([None, "ana", "ben"]))
    def choose(self, who: int, pick: int, asked: str | None) -> None:
        case = self.case(who)
        if case.state != CaseState.BOOKING:
            return
        slots = booking.times(self.office, case, practitioner_id=asked).slots
        self.keeps_clear(slots)
        if slots:
            arrive = slots[pick % len(slots)].arrive
            self.attempt(lambda: booking.choose_first(self.office, case, arrive, practitioner_id=asked))

    def keeps_clear(self, slots: Sequence[Slot]) -> None:
        """Nothing is offered over what staff blocked or what a calendar elsewhere calls busy."""
        blocks = self.session.execute(sa.select(Block.resource_id, Block.start_at, Block.end_at)).all()
        busy_times = self.session.execute(sa.select(sa.literal("ben"), BusyTime.start_at, BusyTime.end_at))
        for resource_id, start, end in [*blocks, *busy_times]:
            for slot in slots:
                assert not any(
                    claim.resource_id == resource_id and claim.start < end and start < claim.end
                    for claim in slot.claims
                )

    @rule(who=WHO, pick=PICK)
    def change(self, who: int, pick: int) -> None:
        case = self.case(who)
        if case.state != CaseState.BOOKING or not case.plan:
            return
        sessions = booking.proposal(self.office, case).sessions
        chosen = dict(holding.Choice.from_json(case.plan).arrivals)
        session = sessions[pick % len(sessions)].proposal
        if session.alternatives:
            other = session.alternatives[pick % len(session.alternatives)]
            chosen[session.ordinal] = other.arrive
            self.attempt(lambda: booking.change(self.office, case, chosen))

    @rule(who=WHO)
    def extend(self, who: int) -> None:
        case = self.case(who)
        if case.state == CaseState.BOOKING and case.plan:
            self.attempt(lambda: booking.extend(self.office, case))

    @rule(who=WHO)
    def confirm(self, who: int) -> None:
        case = self.case(who)
        if case.state != CaseState.BOOKING or not case.plan:
            return
        choice = holding.Choice.from_json(case.plan)
        plan = booking.proposal(self.office, case)
        held = choice.until > self.office.now
        self.attempt(lambda: booking.confirm(self.office, case, choice.arrivals))
        if held and plan.complete:
            assert self.case(who).state == CaseState.BOOKED, "what is held can be booked"

    @rule(minutes=st.sampled_from([1, 19, 20, 21, 240]))
    def wait(self, minutes: int) -> None:
        self.office = replace(self.office, now=self.office.now + dt.timedelta(minutes=minutes))

    @rule()
    def expire(self) -> None:
        before = self.stored()
        upkeep.expire(self.office)
        after = self.stored()
        kept = {
            name: rows for name, rows in before.items() if name not in {"intake_claim", "intake_occupancy"}
        }
        assert {name: after[name] for name in kept} == kept
        lapsed = sa.select(Claim).where(Claim.expires_at <= self.office.now)
        assert not self.session.scalars(lapsed).all()

    def booked(self, pick: int) -> Appointment | None:
        found = self.session.scalars(
            sa.select(Appointment)
            .where(Appointment.state == AppointmentState.BOOKED)
            .order_by(Appointment.case_id, Appointment.ordinal)
        ).all()
        return found[pick % len(found)] if found else None

    @rule(pick=PICK, by_staff=st.booleans())
    def cancel(self, pick: int, by_staff: bool) -> None:
        appointment = self.booked(pick)
        if appointment is not None:
            case = self.session.get_one(Case, (TWO_AND_ONE.id, appointment.case_id))
            staff = STAFF if by_staff else None
            self.attempt(lambda: changing.cancel(self.office, case, appointment.ordinal, staff=staff))

    @rule(pick=PICK, later=st.integers(0, 3), by_staff=st.booleans())
    def move(self, pick: int, later: int, by_staff: bool) -> None:
        appointment = self.booked(pick)
        if appointment is None:
            return
        case = self.session.get_one(Case, (TWO_AND_ONE.id, appointment.case_id))
        staff, ordinal = (STAFF if by_staff else None), appointment.ordinal

        def act() -> None:
            week = changing.move_times(self.office, case, ordinal, staff=staff)
            for _ in range(later):
                if week.later is not None:
                    week = changing.move_times(self.office, case, ordinal, first=week.later, staff=staff)
            if week.slots:
                chosen = {ordinal: week.slots[pick % len(week.slots)].arrive}
                plan = changing.plan_move(self.office, case, ordinal, chosen, staff=staff)
                changing.move(self.office, case, ordinal, plan.arrivals, staff=staff)

        self.attempt(act)

    @rule(pick=PICK, resource=st.sampled_from(["ana", "ben", "room"]), hours=st.integers(1, 8))
    def block(self, pick: int, resource: str, hours: int) -> None:
        start = NOW + dt.timedelta(days=1 + pick % 60, hours=pick % 7)
        blocking.block(self.office, STAFF, resource, start, start + dt.timedelta(hours=hours), "A course")

    @precondition(lambda self: self.session.scalar(sa.select(sa.func.count()).select_from(Block)))
    @rule(pick=PICK)
    def unblock(self, pick: int) -> None:
        blocks = self.session.scalars(sa.select(Block.id).order_by(Block.id)).all()
        blocking.unblock(self.office, STAFF, blocks[pick % len(blocks)])

    @rule(starts=st.lists(st.integers(0, 60 * 24), max_size=4), hours=st.integers(1, 8))
    def read_calendar(self, starts: list[int], hours: int) -> None:
        spans = [
            (NOW + dt.timedelta(hours=24 + start), NOW + dt.timedelta(hours=24 + start + hours))
            for start in starts
        ]
        (calendar,) = self.office.clinic.busy
        Path(calendar.source).write_text(text(*spans), encoding="utf-8")
        before = self.stored()
        assert busy.refresh(self.office, calendar, afresh=True).result == "read"
        assert self.stored() == before, "who is booked stays booked"

    @rule(pick=PICK, other=PICK)
    def overlap(self, pick: int, other: int) -> None:
        """Put a session over another one, or over a block, or where it is free after all."""
        appointment, standing = self.booked(pick), self.booked(other)
        if appointment is None or standing is None:
            return
        case = self.session.get_one(Case, (TWO_AND_ONE.id, appointment.case_id))
        ordinal, chosen = appointment.ordinal, {appointment.ordinal: standing.arrive_at}

        def act() -> None:
            plan = changing.plan_move(self.office, case, ordinal, chosen, staff=STAFF, overlap=True)
            changing.move(self.office, case, ordinal, plan.arrivals, staff=STAFF, reason="Sisters")

        self.attempt(act)

    @rule(who=WHO)
    def decline(self, who: int) -> None:
        case = self.case(who)
        ruling = Ruling(verdict=Verdict.DECLINE, note="Not now.", version=case.version)
        self.attempt(lambda: review.decide(self.office, STAFF, case.reference, ruling))

    @rule(who=WHO)
    def reopen(self, who: int) -> None:
        case = self.case(who)
        self.attempt(lambda: intake.reopen(self.office, case))

    @rule(who=WHO)
    def submit_again(self, who: int) -> None:
        case = self.case(who)
        if case.state == CaseState.DRAFT:
            intake.submit(self.office, case, shown=intake.answers_hash(case))
            consent.proceed(self.office, case)

    @invariant()
    def claims_are_those_of_the_stretches(self) -> None:
        stretches = self.session.scalars(sa.select(Occupancy)).all()
        expected = Counter(
            (each.resource_id, each.lane, tick, each.appointment_id, each.hold_id, each.expires_at)
            for each in stretches
            for tick in range(int(each.start_at.timestamp()) // 300, -(-int(each.end_at.timestamp()) // 300))
        )
        claims = self.session.scalars(sa.select(Claim)).all()
        assert expected == Counter(
            (each.resource_id, each.lane, each.tick, each.appointment_id, each.hold_id, each.expires_at)
            for each in claims
        )

    @invariant()
    def nothing_overlaps(self) -> None:
        lanes = defaultdict(list)
        for each in self.session.scalars(sa.select(Occupancy)):
            lanes[each.resource_id, each.lane].append((each.start_at, each.end_at))
        for stretches in lanes.values():
            ordered = sorted(stretches)
            assert all(one[1] <= other[0] for one, other in pairwise(ordered))

    @invariant()
    def series_are_whole_and_their_claims_are_theirs(self) -> None:
        series = {each.case_id for each in self.session.scalars(sa.select(Series))}
        states = {case.id: case for case in self.session.scalars(sa.select(Case))}
        assert series == {key for key, case in states.items() if case.state == CaseState.BOOKED}
        appointments = self.session.scalars(sa.select(Appointment)).all()
        for case_id in series:
            mine = sorted(each.ordinal for each in appointments if each.case_id == case_id)
            assert mine == [1, 2, 3, 4]
        standing = [each.id for each in appointments if each.state == AppointmentState.BOOKED]
        owners = self.session.scalars(sa.select(Occupancy.appointment_id).where(Occupancy.hold_id.is_(None)))
        assert Counter(owners) == dict.fromkeys(standing, 2)
        holders = set(self.session.scalars(sa.select(Occupancy.hold_id).distinct())) - {None}
        assert all(states[holder].state == CaseState.BOOKING for holder in holders if holder)

    @invariant()
    def sessions_keep_hours_gaps_and_numbers(self) -> None:
        found = self.session.scalars(
            sa.select(Appointment)
            .where(Appointment.state == AppointmentState.BOOKED)
            .order_by(Appointment.case_id, Appointment.ordinal)
        ).all()
        for each in found:
            local = each.arrive_at.astimezone(TWO_AND_ONE.zone)
            assert local.replace(tzinfo=None).isoformat() == each.local_start
            assert local.isoweekday() <= 5
            assert local.time() >= dt.time(9)
            assert each.end_at.astimezone(TWO_AND_ONE.zone).time() <= dt.time(17, 30)
        for one, other in pairwise(found):
            if one.case_id == other.case_id and other.ordinal == one.ordinal + 1:
                case = self.session.get_one(Case, (TWO_AND_ONE.id, one.case_id))
                dates = [each.arrive_at.astimezone(TWO_AND_ONE.zone).date() for each in (one, other)]
                earliest, _, latest = gap_of(session_of(self.office, case).course, dates[0])
                assert earliest <= dates[1] <= latest

    @invariant()
    def sequences_only_grow(self) -> None:
        for each in self.session.scalars(sa.select(Appointment)):
            assert each.sequence >= self.sequences.get(each.id, 0)
            self.sequences[each.id] = each.sequence

    @invariant()
    def what_is_to_be_told_is_what_stands(self) -> None:
        rows = self.session.scalars(sa.select(Outgoing)).all()
        series = Counter(row.case_id for row in rows if row.kind == MailKind.BOOKED)
        assert series == Counter(self.session.scalars(sa.select(Series.case_id)))
        found = self.session.scalars(sa.select(Appointment)).all()
        expected = Counter(
            (each.id, each.sequence, each.arrive_at - LEAD)
            for each in found
            if each.state == AppointmentState.BOOKED and each.arrive_at - LEAD > each.modified_at
        )
        reminders = [row for row in rows if row.kind == MailKind.REMINDER]
        assert Counter((row.appointment_id, row.sequence, row.due_at) for row in reminders) == expected
        cancelled = {row.appointment_id for row in rows if row.kind == MailKind.CANCELLED}
        assert cancelled == {each.id for each in found if each.state == AppointmentState.CANCELLED}

    def teardown(self) -> None:
        assert audit.verify(self.session, TWO_AND_ONE.id) == ()
        self.session.rollback()


def test_whatever_they_do_what_is_stored_stays_true(office: Office) -> None:
    on_sqlite = office.session.get_bind(Case).dialect.name == "sqlite"
    cases = [dict(row) for row in office.session.execute(sa.select(Case.__table__)).mappings()]
    run_state_machine_as_test(
        type("VisitsHere", (Visits,), {"start": office, "cases": cases}),
        settings=settings(
            max_examples=EXAMPLES if on_sqlite else ON_SERVERS,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
