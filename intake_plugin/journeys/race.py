"""The proof on a site's own database: many patients reach for one time at the same moment.

A scratch clinic with one practitioner and one room is made for it, under an id that no real clinic
has, and every row of it is removed again, also after an error or Ctrl-C. Its protocol is the
course alone, because only the patients' times matter here.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session

from intake_plugin.clinical.answers import Answer, to_json
from intake_plugin.clinical.protocol import Numbing, Protocol, Section
from intake_plugin.errors import Busy, IntakeError, JourneyError, NotFound, TimeTaken
from intake_plugin.journeys import booking, holding
from intake_plugin.journeys.intake import GIVEN, Identity
from intake_plugin.journeys.office import Office, transaction
from intake_plugin.records.base import Base, new_id
from intake_plugin.records.references import new_reference
from intake_plugin.records.tables import Appointment, Case, CaseState, Claim, Occupancy, Series
from intake_plugin.settings import Clinic, NumbingPolicy, Resource

_PATIENCE = 600.0
"""Seconds after which a worker that has not answered counts as hanging."""
_BORN = dt.date(1980, 1, 1)
_WON = "booked"
_TRIES = 200
"""Times of the first weeks that are tried until one is found around which the whole series is free."""


class Hung(IntakeError):
    """A patient of a race never came back, so that it proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """How a race ended."""

    rounds: int
    winners: int
    overlaps: int
    """Pairs of sessions that take the same lane of the same resource at the same time."""
    torn: int
    """Rounds that left part of a series."""
    lost: Mapping[str, int]
    """How many attempts ended without the time, by the error's name."""
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing was booked twice or in part."""
        return self.overlaps == 0 and self.torn == 0 and self.winners <= self.rounds

    @property
    def sound(self) -> bool:
        """Whether it is a proof: nothing was booked twice or in part, and somebody did book."""
        return self.clean and self.winners > 0

    @property
    def rate(self) -> float:
        """Attempts for each second."""
        return (self.winners + sum(self.lost.values())) / self.seconds


def race(office: Office, *, workers: int, rounds: int) -> Race:
    """Let `workers` patients book one series at the same moment, `rounds` times, and count.

    Needs an app context. Raises NotFound when the clinic has no time that could be booked, Hung
    when a patient never came back.
    """
    with _scratch(office, workers) as (scratch, case_ids):
        chosen = _free_series(scratch, case_ids[0])
        ended: Counter[str] = Counter()
        overlaps = torn = 0
        seconds = 0.0
        for _ in range(rounds):
            _reset(scratch, chosen)
            begun = time.perf_counter()
            ended.update(_round(scratch, case_ids, chosen))
            seconds += time.perf_counter() - begun
            overlaps += _overlaps(scratch)
            torn += _torn(scratch, len(chosen))
        winners = ended.pop(_WON, 0)
    return Race(
        rounds=rounds, winners=winners, overlaps=overlaps, torn=torn, lost=dict(ended), seconds=seconds
    )


def _round(office: Office, case_ids: list[str], chosen: Mapping[int, dt.datetime]) -> list[str]:
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way
    engine = office.session.get_bind(Case)
    start = threading.Barrier(len(case_ids))
    ended: list[str] = []
    failed: list[BaseException] = []

    def book(case_id: str) -> str:
        start.wait(_PATIENCE)
        with app.app_context(), Session(engine) as session:
            mine = replace(office, session=session)
            case = session.get_one(Case, (office.clinic.id, case_id))
            try:
                booking.confirm(mine, case, chosen)
            except JourneyError as error:
                return type(error).__name__
            return _WON

    def run(case_id: str) -> None:
        try:
            ended.append(book(case_id))
        except BaseException as error:  # told by whoever waits for the thread
            failed.append(error)

    # Daemons, and no pool: the end of a pool and of the process would wait for one that hangs.
    workers = [threading.Thread(target=run, args=(case_id,), daemon=True) for case_id in case_ids]
    for worker in workers:
        worker.start()
    try:
        hanging = _wait(workers)
    finally:
        # After Ctrl-C too: whoever still books would write behind the cleaning up.
        _wait(workers)
    if failed:
        raise failed[0]
    if hanging:
        raise Hung(
            f"{hanging} of {len(workers)} patients did not come back within {_PATIENCE:.0f} seconds. "
            "This is no proof. See what holds locks in the database, and run this again."
        )
    return ended


def _wait(workers: Sequence[threading.Thread]) -> int:
    """Wait for the workers, all together for no longer than a worker may take, and count who hangs."""
    until = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    return sum(worker.is_alive() for worker in workers)


@contextmanager
def _scratch(office: Office, workers: int) -> Iterator[tuple[Office, list[str]]]:
    scratch = replace(office, clinic=_scratch_clinic(office.clinic))
    session = scratch.session
    try:
        cases = [_patient(scratch) for _ in range(workers)]
        session.add_all(cases)
        session.commit()
        yield scratch, [case.id for case in cases]
    finally:
        session.rollback()
        _remove(scratch)


def _remove(scratch: Office) -> None:
    """Delete every row of the scratch clinic; raises Busy where a worker that hangs has locked some."""
    clinic_id = scratch.clinic.id
    try:
        with transaction(scratch):
            for table in reversed(Base.metadata.sorted_tables):
                scratch.session.execute(sa.delete(table).where(table.c.clinic_id == clinic_id))
    except Busy as error:
        raise Busy(
            f"Rows of the scratch clinic {clinic_id!r} are locked and stay behind. Delete what has this "
            "clinic_id once nothing holds them."
        ) from error


def _scratch_clinic(clinic: Clinic) -> Clinic:
    kinds: dict[str, Resource] = {}
    for resource in clinic.resources:
        kinds.setdefault(resource.kind, resource)
    alone = tuple(replace(resource, lanes=1, treatments=(), closures=()) for resource in kinds.values())
    protocol_id, treatment = next(iter(clinic.treatments.items()))
    bare = replace(treatment, protocol=_bare(treatment.protocol), numbing=NumbingPolicy(), retired=False)
    # No mail: the patients of a race have no address.
    return replace(
        clinic,
        id=f"race-{new_id()}",
        resources=alone,
        treatments={protocol_id: bare},
        busy=(),
        mail=None,
    )


def _bare(protocol: Protocol) -> Protocol:
    """Return a protocol of which nothing is left but its course: no rules, creams or consents."""
    needed = {protocol.course_question, protocol.area_question}
    questions = tuple(
        replace(
            question,
            enable_when=None,
            depends=(),
            options=tuple(replace(option, enable_when=None) for option in question.options),
        )
        for link_id, question in protocol.questions.items()
        if link_id in needed
    )
    return replace(
        protocol,
        sections=(Section(id="race", questions=questions),),
        derived=(),
        rules=(),
        numbing=Numbing(),
        care=(),
        consent=(),
    )


def _patient(office: Office) -> Case:
    protocol_id, treatment = next(iter(office.clinic.treatments.items()))
    protocol = treatment.protocol
    case = Case(
        clinic_id=office.clinic.id,
        reference=new_reference(),
        protocol_id=protocol_id,
        protocol_version=protocol.version,
        fingerprint=treatment.fingerprint,
        locale=office.clinic.languages[0],
        state=CaseState.BOOKING,
        created_at=office.now,
        updated_at=office.now,
        submitted_at=office.now,
    )
    answers: dict[str, Answer] = {
        protocol.course_question: protocol.courses[0].id,
        protocol.area_question: protocol.areas[0].id,
    }
    case.answers = {GIVEN: to_json(answers)}
    case.identity = Identity(name="", birth_date=_BORN, email="", telephone="").to_json()
    return case


def _free_series(office: Office, case_id: str) -> Mapping[int, dt.datetime]:
    case = office.session.get_one(Case, (office.clinic.id, case_id))
    for slot in booking.times(office, case).slots[:_TRIES]:
        try:
            booking.choose_first(office, case, slot.arrive)
        except TimeTaken:
            continue
        if booking.proposal(office, case).complete:
            choice = holding.choice_of(case)
            if choice is not None:
                return choice.arrivals
    raise NotFound(f"{office.clinic.name} has no time in its first week that could be booked as a series.")


def _reset(office: Office, chosen: Mapping[int, dt.datetime]) -> None:
    session, clinic_id = office.session, office.clinic.id
    for table in (Claim, Occupancy, Appointment, Series):
        session.execute(sa.delete(table).where(table.clinic_id == clinic_id))
    choice = holding.Choice(arrivals=chosen, practitioner_id=None, since=office.now, until=office.now)
    session.expire_all()
    for case in session.scalars(sa.select(Case).where(Case.clinic_id == clinic_id)):
        case.state, case.plan = CaseState.BOOKING, choice.to_json()
    session.commit()


def _overlaps(office: Office) -> int:
    rows = office.session.execute(
        sa.select(Occupancy.resource_id, Occupancy.lane, Occupancy.start_at, Occupancy.end_at).where(
            Occupancy.clinic_id == office.clinic.id
        )
    ).all()
    return sum(
        one[:2] == other[:2] and one.start_at < other.end_at and other.start_at < one.end_at
        for one, other in combinations(rows, 2)
    )


def _torn(office: Office, sessions: int) -> int:
    """Count series that have not as many sessions as they should."""
    clinic_id = office.clinic.id
    series = sa.select(sa.func.count()).select_from(Series).where(Series.clinic_id == clinic_id)
    booked = sa.select(sa.func.count()).select_from(Appointment).where(Appointment.clinic_id == clinic_id)
    session = office.session
    return int((session.scalar(series) or 0) * sessions != (session.scalar(booked) or 0))
