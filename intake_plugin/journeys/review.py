"""The clinic's desk: cases newest first, one case whole, and the decision of a named clinician.

Reading a case's health answers is an act and leaves an audit entry like any other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa

from intake_plugin.clinical.answers import Answer
from intake_plugin.clinical.protocol import BIRTH_DATE, Outcome, Question
from intake_plugin.clinical.questionnaire import walk
from intake_plugin.clinical.screening import NUMBING, Screening
from intake_plugin.errors import NotFound, OutOfTurn, ReadOnly, Stale
from intake_plugin.journeys import holding, outbox
from intake_plugin.journeys.intake import (
    Identity,
    answers_of,
    dropped_of,
    give_back,
    identity_of,
    next_step,
    screening_of,
    submitted_of,
)
from intake_plugin.journeys.office import Office, note, transaction, writing
from intake_plugin.journeys.suitability import UNDECIDABLE, WITHOUT, blocking
from intake_plugin.records import audit
from intake_plugin.records.tables import (
    Appointment,
    AppointmentState,
    AuditEntry,
    Case,
    CaseState,
    Decision,
    Signature,
    Verdict,
)
from intake_plugin.settings import Treatment
from intake_plugin.state import Staff

PAGE_SIZE = 25
HISTORY_SHOWN = 50
"""How many entries of a case's history are read: each look at the case adds one."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class QueueRow:
    """One case in the list."""

    case: Case
    name: str
    first_appointment: dt.datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePage:
    """One page of the list; `page` counts from 1."""

    rows: tuple[QueueRow, ...]
    page: int
    pages: int
    counts: dict[CaseState, int]
    """How many cases are in each state."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answered:
    """A question as it was asked, with what was answered."""

    section: str
    question: Question
    answer: Answer | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WholeCase:
    """Everything the clinic holds about one case."""

    case: Case
    identity: Identity | None
    treatment: Treatment | None
    """None when the clinic's profile no longer has it: then nothing tells what was asked."""
    answered: tuple[Answered, ...]
    dropped: tuple[str, ...]
    screening: Screening | None
    decisions: Sequence[Decision]
    signatures: Sequence[Signature]
    appointments: Sequence[Appointment]
    entries: Sequence[AuditEntry]
    """The newest of its history, newest first."""
    history: int
    """How many entries its history has."""
    undelivered: tuple[outbox.Undelivered, ...]
    related: Sequence[Case]
    """Other cases with the same e-mail address."""
    verdicts: tuple[Verdict, ...]
    """What can be decided now."""
    numbing_choices: tuple[str, ...]
    """What a clearance has to choose from, where screening left the numbing open."""


def queue(office: Office, *, state: CaseState | None = None, page: int = 1) -> QueuePage:
    """Return the clinic's cases, newest first; a draft is the patient's own until it is submitted once."""
    listed = sa.select(Case).where(Case.clinic_id == office.clinic.id, Case.submitted_at.is_not(None))
    counts = dict(
        office.session.execute(
            sa.select(Case.state, sa.func.count())
            .where(Case.clinic_id == office.clinic.id, Case.submitted_at.is_not(None))
            .group_by(Case.state)
        ).all()
    )
    if state is not None:
        listed = listed.where(Case.state == state)
    total = counts.get(state, 0) if state is not None else sum(counts.values())
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(max(1, page), pages)
    cases = office.session.scalars(
        listed.order_by(Case.created_at.desc(), Case.id).limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)
    ).all()
    first = _first_appointments(office, [case.id for case in cases])
    rows = tuple(
        QueueRow(case=case, name=_name(case), first_appointment=first.get(case.id)) for case in cases
    )
    return QueuePage(rows=rows, page=page, pages=pages, counts=counts)


def _name(case: Case) -> str:
    identity = identity_of(case)
    return "" if identity is None else identity.name


def _first_appointments(office: Office, case_ids: Sequence[str]) -> dict[str, dt.datetime]:
    if not case_ids:
        return {}
    statement = (
        sa.select(Appointment.case_id, sa.func.min(Appointment.arrive_at))
        .where(
            Appointment.clinic_id == office.clinic.id,
            Appointment.case_id.in_(case_ids),
            Appointment.state == AppointmentState.BOOKED,
        )
        .group_by(Appointment.case_id)
    )
    return dict(office.session.execute(statement).all())


def whole(office: Office, staff: Staff, reference: str) -> WholeCase:
    """Return one case with everything that belongs to it, and record that it was read."""
    with transaction(office):
        case = by_reference(office, reference)
        session, mine = office.session, (office.clinic.id, case.id)
        found = WholeCase(
            case=case,
            identity=identity_of(case),
            treatment=office.find_treatment(case),
            answered=_answered(office, case),
            dropped=dropped_of(case),
            screening=screening_of(case),
            decisions=session.scalars(
                sa.select(Decision)
                .where(Decision.clinic_id == mine[0], Decision.case_id == mine[1])
                .order_by(Decision.decided_at)
            ).all(),
            signatures=session.scalars(
                sa.select(Signature)
                .where(Signature.clinic_id == mine[0], Signature.case_id == mine[1])
                .order_by(Signature.signed_at)
            ).all(),
            appointments=session.scalars(
                sa.select(Appointment)
                .where(Appointment.clinic_id == mine[0], Appointment.case_id == mine[1])
                .order_by(Appointment.ordinal)
            ).all(),
            entries=session.scalars(
                sa.select(AuditEntry)
                .where(AuditEntry.clinic_id == mine[0], AuditEntry.object_id == mine[1])
                .order_by(AuditEntry.seq.desc())
                .limit(HISTORY_SHOWN)
            ).all(),
            history=_history(office, case),
            undelivered=outbox.undelivered(office, case),
            related=_related(office, case),
            verdicts=verdicts_for(office, case),
            numbing_choices=numbing_choices(office, case),
        )
        note(office, case, "read", {"reference": reference}, actor=audit.Actor(kind="staff", id=staff.id))
    return found


def orphans(office: Office) -> dict[str, Sequence[str]]:
    """Return references of the clinic's cases by the treatment that its profile no longer has."""
    rows = office.session.execute(
        sa.select(Case.protocol_id, Case.reference)
        .where(
            Case.clinic_id == office.clinic.id,
            Case.submitted_at.is_not(None),
            Case.protocol_id.not_in(list(office.clinic.treatments)),
        )
        .order_by(Case.protocol_id, Case.reference)
    ).all()
    return {
        protocol_id: [reference for _, reference in group]
        for protocol_id, group in groupby(rows, key=lambda row: row.protocol_id)
    }


def by_reference(office: Office, reference: str) -> Case:
    """Return the clinic's case of a reference; raises NotFound for a draft's or another clinic's."""
    case = office.session.scalars(
        sa.select(Case).where(
            Case.clinic_id == office.clinic.id,
            Case.reference == reference,
            Case.submitted_at.is_not(None),
        )
    ).one_or_none()
    if case is None:
        raise NotFound(f"{office.clinic.name} has no case {reference!r}.")
    return case


def _history(office: Office, case: Case) -> int:
    statement = sa.select(sa.func.count()).where(
        AuditEntry.clinic_id == office.clinic.id, AuditEntry.object_id == case.id
    )
    return office.session.scalar(statement) or 0


def _related(office: Office, case: Case) -> Sequence[Case]:
    identity = identity_of(case)
    if identity is None:
        return ()
    return office.session.scalars(
        sa.select(Case)
        .where(
            Case.clinic_id == office.clinic.id,
            Case.email_index.in_(office.keyring.email_indexes(identity.email)),
            Case.id != case.id,
            Case.submitted_at.is_not(None),
        )
        .order_by(Case.created_at.desc())
        .limit(PAGE_SIZE)
    ).all()


def _answered(office: Office, case: Case) -> tuple[Answered, ...]:
    if office.find_treatment(case) is None:
        return ()
    given = answers_of(case)
    submitted = (case.submitted_at or office.now).astimezone(office.clinic.zone).date()
    return tuple(
        Answered(section=page.section, question=question, answer=given.get(question.link_id))
        for page, questions in walk(office.protocol_of(case), given, today=submitted)
        for question in questions
        if question.link_id != BIRTH_DATE
    )


def verdicts_for(office: Office, case: Case) -> tuple[Verdict, ...]:
    """Return what can be decided about a case now; none for one that has ended or is booked.

    A stop is cleared only where every rule behind it lets a clinician, and nothing is cleared on a
    screening that failed. To ask again is always possible, also where a patient pressed the wrong
    button. Of a retired treatment a case can only be declined, of one that the profile no longer
    has nothing can be decided.
    """
    treatment = office.find_treatment(case)
    if treatment is None:
        return ()
    found = _verdicts_in(case)
    return (Verdict.DECLINE,) if found and treatment.retired else found


def _verdicts_in(case: Case) -> tuple[Verdict, ...]:
    screening = screening_of(case)
    if screening is None:
        return ()
    clear: tuple[Verdict, ...] = (Verdict.CLEAR, Verdict.CLEAR_FROM)
    if any(finding.rule_id in UNDECIDABLE for finding in screening.findings):
        clear = ()
    match CaseState(case.state):
        case CaseState.REVIEW | CaseState.WAITING:
            return (*clear, Verdict.ASK_AGAIN, Verdict.DECLINE)
        case CaseState.STOPPED:
            return (*(clear if screening.overridable else ()), Verdict.ASK_AGAIN, Verdict.DECLINE)
        case CaseState.CONSENT | CaseState.BOOKING:
            deferred = clear if screening.outcome == Outcome.DEFER else ()
            return (*deferred, Verdict.ASK_AGAIN, Verdict.DECLINE)
        case _:
            return ()


def numbing_choices(office: Office, case: Case) -> tuple[str, ...]:
    """Return what a clinician may choose where screening left the numbing open; empty where it did not.

    Ids of stocked products that no caution rules out, then `WITHOUT`.
    """
    screening = screening_of(case)
    treatment = office.find_treatment(case)
    if screening is None or treatment is None or all(each.rule_id != NUMBING for each in screening.findings):
        return ()
    blocked = {each.product_id for each in screening.numbing.refusals if each.effect == "block"}
    stock = treatment.numbing.stock
    return (*(product for product in stock if product not in blocked), WITHOUT)


def latest_not_before(office: Office) -> dt.date:
    """Return the last date a decision may name: as far ahead as records are kept."""
    return office.clinic.retention.after(office.today)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ruling:
    """A decision as the form gives it. `version` is the case's version on the page."""

    verdict: Verdict
    note: str
    version: int
    not_before: dt.date | None = None
    home_numbing: bool = False
    numbing: str | None = None
    """One of `numbing_choices`, where there are any and the case is cleared."""


def decide(office: Office, staff: Staff, reference: str, ruling: Ruling) -> None:
    """Decide a case with a note and the clinician's name.

    "Clear" lifts the findings that stand and keeps the protocol's dates; "clear from" also sets
    the date; "ask again" gives the answers back to the patient. Raises ReadOnly for somebody who
    may only read, OutOfTurn when this cannot be decided (now), Stale when the case changed since
    the page was shown, ValueError for a ruling that contradicts itself.
    """
    if staff.role != "decide":
        raise ReadOnly("Your account can read cases but not decide them.")
    _refuse_contradiction(office, ruling)
    with writing(office, by_reference(office, reference)) as case:
        screening = screening_of(case)
        if screening is None or ruling.verdict not in verdicts_for(office, case):
            raise OutOfTurn(next_step(office, case).name)
        if case.version != ruling.version:
            raise Stale("The case has changed since this page was shown. Read it once more.")
        decision = _decision(office, staff, case, ruling)
        office.session.add(decision)
        holding.release(office, case)
        match ruling.verdict:
            case Verdict.DECLINE:
                case.state, case.plan = CaseState.DECLINED, None
            case Verdict.ASK_AGAIN:
                give_back(office, case)
            case _:
                _clear(office, case, screening, ruling)
        outbox.decided(office, case, decision.id)
        note(
            office,
            case,
            "decide",
            {"verdict": ruling.verdict, "not_before": str(ruling.not_before), "numbing": ruling.numbing},
            actor=audit.Actor(kind="staff", id=staff.id),
        )


def _refuse_contradiction(office: Office, ruling: Ruling) -> None:
    if not ruling.note.strip():
        raise ValueError("A decision needs a note with its reason.")
    if (ruling.verdict == Verdict.CLEAR_FROM) != (ruling.not_before is not None):
        raise ValueError("Clearing from a date needs the date, and no other decision takes one.")
    if ruling.not_before is not None and ruling.not_before > latest_not_before(office):
        raise ValueError(f"A decision cannot name a date after {latest_not_before(office)}.")


def _clear(office: Office, case: Case, screening: Screening, ruling: Ruling) -> None:
    choices = numbing_choices(office, case)
    if choices and ruling.numbing not in choices:
        raise ValueError(f"The numbing is open: choose one of {', '.join(choices)}.")
    lifted = blocking(screening)
    if ruling.verdict == Verdict.CLEAR:
        lifted -= {finding.rule_id for finding in screening.findings if finding.not_before is not None}
        case.not_before = max(
            (finding.not_before for finding in screening.findings if finding.not_before is not None),
            default=None,
        )
    else:
        case.not_before = ruling.not_before
    decided = {"lifted": sorted(lifted), "numbing": ruling.numbing if choices else None}
    case.screening = {**submitted_of(case), **decided}
    case.numbing_home = ruling.home_numbing
    case.state, case.plan = CaseState.CONSENT, None


def _decision(office: Office, staff: Staff, case: Case, ruling: Ruling) -> Decision:
    return Decision(
        clinic_id=office.clinic.id,
        case_id=case.id,
        staff_id=staff.id,
        staff_name=staff.name.strip(),
        verdict=ruling.verdict,
        not_before=ruling.not_before,
        home_numbing=ruling.home_numbing,
        note=ruling.note.strip(),
        answers_hash=case.answers_hash or "",
        decided_at=office.now,
    )
