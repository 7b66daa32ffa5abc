"""From the first answer to the outcome: where a patient stands, what may be shown, what is stored.

An answer is stored as it was given, also when a later answer means that its question is no longer
asked: going back restores it. Only the submit drops such answers, and records which.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from intake_plugin.clinical import answers as answering
from intake_plugin.clinical import screening as screens
from intake_plugin.clinical.answers import Answer, Answers, PartialDate
from intake_plugin.clinical.protocol import BIRTH_DATE, Outcome
from intake_plugin.clinical.questionnaire import first_unanswered, outdated, prune, walk
from intake_plugin.clinical.screening import Screening
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys import holding, outbox
from intake_plugin.journeys.office import Office, note, writing
from intake_plugin.records import tokens
from intake_plugin.records.sealed import current_keyring
from intake_plugin.records.tables import Appointment, AppointmentState, Case, CaseState, TokenPurpose

T = TypeVar("T")


class Step(NamedTuple):
    """A page of the patient's way; `key` names the page of questions."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identity:
    """Who the patient is: FHIR's Patient in four fields."""

    name: str
    birth_date: dt.date
    email: str
    telephone: str

    def to_json(self) -> dict[str, Any]:
        """Return the identity in plain JSON types."""
        return asdict(self) | {"birth_date": self.birth_date.isoformat()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Identity:
        """Return the identity that `to_json` wrote."""
        return cls(**{**stored, "birth_date": dt.date.fromisoformat(stored["birth_date"])})


AFTER_OUTCOME = ("outcome",)
OPEN_STEPS: Mapping[CaseState, tuple[str, ...]] = {
    CaseState.STOPPED: AFTER_OUTCOME,
    CaseState.WAITING: AFTER_OUTCOME,
    CaseState.REVIEW: AFTER_OUTCOME,
    CaseState.DECLINED: AFTER_OUTCOME,
    CaseState.CONSENT: ("outcome", "consent"),
    CaseState.BOOKING: ("outcome", "consent", "notes", "times", "series"),
    CaseState.BOOKED: ("outcome", "consent", "notes", "done"),
    CaseState.CLOSED: ("outcome", "consent", "notes", "done"),
}
"""The pages of each state after the questions, the furthest last."""

GIVEN, OUTDATED = "given", "outdated"
"""What the sealed column `answers` holds: every answer, and which of them no longer stand."""

AGAINST = (CaseState.STOPPED, CaseState.DECLINED, CaseState.REVIEW, CaseState.BOOKED)
"""States of an earlier case that may stand against a new one of the same person."""

UNDER_WAY = frozenset(
    {CaseState.DRAFT, CaseState.REVIEW, CaseState.WAITING, CaseState.CONSENT, CaseState.BOOKING}
)
"""States that can still lead to a booking."""

REOPENS = frozenset({CaseState.WAITING, CaseState.CONSENT, CaseState.BOOKING})


def identity_of(case: Case) -> Identity | None:
    """Return who the patient is, or None before the page "About you"."""

    def opened() -> Identity | None:
        stored = case.identity
        return None if stored is None else Identity.from_json(stored)

    return _once(case, "identity", case.identity_sealed, opened)


def _once(case: Case, name: str, sealed: Hashable, opened: Callable[[], T]) -> T:
    """Open something once for as long as it is sealed as it is.

    It is kept with the row itself: the next request loads the row anew and opens it anew.
    """
    memory = sa.inspect(case).info
    if name not in memory or memory[name][0] != sealed:
        memory[name] = sealed, opened()
    found: T = memory[name][1]
    return found


class _Opened(NamedTuple):
    """What the seals of a case hold, opened once, and what was worked out of it since."""

    given: Answers
    outdated: frozenset[str]
    standing: Answers
    worked_out: dict[tuple[Hashable, ...], Any]


def _opened(case: Case) -> _Opened:
    return _once(case, "answers", (case.answers_sealed, case.identity_sealed), lambda: _open(case))


def _open(case: Case) -> _Opened:
    stored, identity = case.answers, identity_of(case)
    given = answering.from_json(stored.get(GIVEN, {}))
    outdated_ids = frozenset(stored.get(OUTDATED, ()))
    standing = {key: value for key, value in given.items() if key not in outdated_ids}
    if identity is not None:
        standing[BIRTH_DATE] = PartialDate.of(identity.birth_date)
    return _Opened(given, outdated_ids, standing, {})


def given_of(case: Case) -> Answers:
    """Return every answer ever given in the draft, for the forms; see `answers_of` for those that count."""
    return _opened(case).given


def answers_of(case: Case) -> Answers:
    """Return the answers that stand, with the date of birth once it is known.

    An answer given about another area, say, than the one chosen since does not stand: its question
    is open again, and its form shows what was answered before.
    """
    return _opened(case).standing


def counting_of(office: Office, case: Case) -> Answers:
    """Return the answers that a submit would screen: those that stand to questions still asked."""
    protocol, today = office.protocol_of(case), office.today
    return once_opened(
        case,
        ("counting", protocol, today),
        lambda: prune(protocol, answers_of(case), today=today)[0],
    )


def once_opened(case: Case, what: tuple[Hashable, ...], work: Callable[[], T]) -> T:
    """Work something out of a case's answers once for as long as the loaded row has them.

    `what` names it, with all that it depends on besides the answers.
    """
    known = _opened(case).worked_out
    if what not in known:
        known[what] = work()
    found: T = known[what]
    return found


def _outdated_ids(case: Case) -> frozenset[str]:
    return _opened(case).outdated


def answers_hash(case: Case) -> str:
    """Return a keyed hash of the answers as they stand; equal exactly when the answers and the key are.

    It is keyed because there are few answers to try: a plain hash would give them away.
    """
    return answers_hashes(case)[0]


def answers_hashes(case: Case) -> tuple[str, ...]:
    """Return what `answers_hash` gave or would have given under each key of the ring, newest first."""
    canonical = json.dumps(answering.to_json(answers_of(case)), sort_keys=True, ensure_ascii=False)
    return current_keyring().macs("answers", canonical.encode())


def is_submitted(case: Case, hashed: str) -> bool:
    """Whether a hash stands for the answers this case was submitted with; none does before that.

    What was signed or decided on them counts although the keys have changed in between.
    """
    stored = case.answers_hash
    return stored is not None and (hashed == stored or hashed in answers_hashes(case))


def submitted_of(case: Case) -> Mapping[str, Any]:
    """Return what the last submit and the decisions since stored, see `Case.screening`; empty before it."""
    return _once(case, "screening", case.screening_sealed, lambda: case.screening or {})


def screening_of(case: Case) -> Screening | None:
    """Return the outcome of the last submit."""
    stored = submitted_of(case)
    return screens.from_json(stored["screening"]) if stored else None


def dropped_of(case: Case) -> tuple[str, ...]:
    """Return the link ids whose answers the last submit dropped because they were no longer asked."""
    return tuple(submitted_of(case).get("dropped", ()))


def lifted_of(case: Case) -> frozenset[str]:
    """Return what a clinician's decision lifted for these answers."""
    return frozenset(submitted_of(case).get("lifted", ()))


def is_retired(office: Office, case: Case) -> bool:
    """Whether a case on its way to a booking has to end, because the clinic has retired its treatment.

    What is booked by then stays booked, and can be moved and cancelled.
    """
    return case.state in UNDER_WAY and office.treatment_of(case).retired


def next_step(office: Office, case: Case) -> Step:
    """Return the furthest page this case may be on now."""
    if is_retired(office, case):
        return Step("manage")
    if case.state == CaseState.DRAFT:
        return _draft_step(office, case)
    return Step(open_steps(office, case)[-1])


def _draft_step(office: Office, case: Case) -> Step:
    if case.identity_sealed is None:
        return Step("about-you")
    page = first_unanswered(office.protocol_of(case), counting_of(office, case), today=office.today)
    return Step("check") if page is None else Step("questions", page.key)


def overtaken(office: Office, case: Case) -> bool:
    """Whether accepted answers have to be checked again before anything is signed or booked.

    They have when they are older than the protocol lets them stand, or when the questions and
    rules have changed since.
    """
    if case.state not in {CaseState.CONSENT, CaseState.BOOKING} or case.submitted_at is None:
        return False
    valid = office.protocol_of(case).answers_valid
    submitted = case.submitted_at.astimezone(office.clinic.zone).date()
    outlived = valid is not None and valid.after(submitted) <= office.today
    return outlived or case.fingerprint != office.treatment_of(case).fingerprint


def open_steps(office: Office, case: Case) -> tuple[str, ...]:
    """Return the pages a submitted case may be on, the furthest last."""
    if overtaken(office, case):
        return AFTER_OUTCOME
    steps = OPEN_STEPS[CaseState(case.state)]
    return tuple(step for step in steps if step != "series" or case.plan)


def require(office: Office, case: Case, step: str, key: str | None = None) -> None:
    """Let a page be shown only when the case has come so far and has not gone past it.

    Raises OutOfTurn with the step where the patient belongs, NotFound for a page of questions
    that the protocol does not have or does not ask now.
    """
    if is_retired(office, case):
        raise OutOfTurn("manage")
    if case.state != CaseState.DRAFT:
        if step not in open_steps(office, case):
            raise OutOfTurn(next_step(office, case).name)
        return
    furthest = _draft_step(office, case)
    if step == "about-you":
        return
    if step == "questions" and furthest.name != "about-you":
        _require_page(office, case, key, furthest)
    elif step != furthest.name:
        raise OutOfTurn(furthest.name)


def _require_page(office: Office, case: Case, key: str | None, furthest: Step) -> None:
    keys = [page.key for page, _ in walk(office.protocol_of(case), answers_of(case), today=office.today)]
    if key not in keys:
        raise NotFound("This page of questions does not apply to your answers.")
    if furthest.name == "questions" and keys.index(key) > keys.index(furthest.key or ""):
        raise OutOfTurn(furthest.name)


def identify(office: Office, case: Case, identity: Identity) -> None:
    """Store who the patient is."""
    with writing(office, case) as locked:
        require(office, locked, "about-you")
        locked.identity = identity.to_json()
        locked.email_index = office.keyring.email_index(identity.email)
        note(office, locked, "identify", {})


def answer(office: Office, case: Case, key: str, given: Mapping[str, Answer | None]) -> None:
    """Store the answers of one page; None takes an answer back.

    An answer that another one was given about (the area, say) opens that other question again. The
    draft, and the devices it is open on, live as long again.

    Raises OutOfTurn or NotFound when the page cannot be answered now, ValueError for an answer to
    a question that is not on it.
    """
    with writing(office, case) as locked:
        require(office, locked, "questions", key)
        _refuse_strangers(office, locked, key, given)
        before = given_of(locked)
        after = {**before, **{key: value for key, value in given.items() if value is not None}}
        for key, value in given.items():
            if value is None:
                after.pop(key, None)
        reopened = outdated(office.protocol_of(locked), before, after, today=office.today)
        locked.answers = {
            GIVEN: answering.to_json(after),
            OUTDATED: sorted((_outdated_ids(locked) | reopened) & after.keys() - given.keys()),
        }
        until = locked.expires_at = office.now + office.settings.draft_lifetime
        tokens.prolong(office.session, office.clinic.id, locked.id, TokenPurpose.SESSION, office.now, until)
        note(office, locked, "answer", {"page": key, "answers": answers_hash(locked)})


def _refuse_strangers(office: Office, case: Case, key: str, given: Mapping[str, Answer | None]) -> None:
    steps = walk(office.protocol_of(case), answers_of(case), today=office.today)
    here = {question.link_id for page, questions in steps if page.key == key for question in questions}
    if strangers := sorted(given.keys() - here):
        raise ValueError(f"The page {key!r} does not ask {', '.join(strangers)}.")


def submit(office: Office, case: Case, *, shown: str) -> Screening:
    """Screen the answers the patient has checked and move the case to its outcome.

    `shown` is the `answers_hash` of the page they checked. Raises Stale when the answers changed
    since, OutOfTurn when some are still missing.
    """
    with writing(office, case) as locked:
        require(office, locked, "check")
        if shown not in answers_hashes(locked):
            raise Stale("Your answers changed in another window. Check them once more.")
        protocol, treatment = office.protocol_of(locked), office.treatment_of(locked)
        kept, dropped = prune(protocol, answers_of(locked), today=office.today)
        dropped = (*dropped, *sorted(_outdated_ids(locked)))
        screening = screens.screen_safely(
            protocol,
            kept,
            today=office.today,
            stock=treatment.numbing.stock,
            locale=office.locale_of(locked),
        )
        if contradicted(office, locked):
            screening = screens.with_conflict(screening, protocol, office.locale_of(locked))
        counting = {key: value for key, value in kept.items() if key != BIRTH_DATE}
        locked.answers = {GIVEN: answering.to_json(counting)}
        locked.screening = {"screening": screens.to_json(screening), "dropped": list(dropped)}
        locked.protocol_version, locked.fingerprint = protocol.version, treatment.fingerprint
        locked.answers_hash = answers_hash(locked)
        locked.outcome, locked.not_before = screening.outcome, screening.not_before
        locked.state = state_after(screening)
        locked.submitted_at, locked.expires_at = office.now, None
        if locked.state == CaseState.REVIEW:
            outbox.referred(office, locked)
        note(
            office,
            locked,
            "submit",
            {
                "answers": locked.answers_hash,
                "outcome": screening.outcome,
                "rules": [finding.rule_id for finding in screening.findings],
                "dropped": list(dropped),
                "fingerprint": treatment.fingerprint,
            },
        )
    return screening


def contradicted(office: Office, case: Case) -> bool:
    """Whether an earlier case of the same person stands against this one.

    The same e-mail address and date of birth was stopped for good, declined, waits for a
    clinician, or has sessions of this treatment still to come. A clinician reads both.
    """
    identity = identity_of(case)
    if identity is None:
        return False
    others = office.session.scalars(
        sa.select(Case).where(
            Case.clinic_id == office.clinic.id,
            Case.email_index.in_(office.keyring.email_indexes(identity.email)),
            Case.id != case.id,
            Case.protocol_id == case.protocol_id,
            Case.state.in_(AGAINST),
        )
    )
    return any(_same_person(identity, other) and _stands_against(office, other) for other in others)


def addresses_of(office: Office, case: Case) -> tuple[str, ...]:
    """Return the blind indexes under which other cases of the same person may be stored.

    There are none once a clinician has cleared the conflict: what is cleared stays cleared.
    """
    identity = identity_of(case)
    if identity is None or screens.CONFLICT in lifted_of(case):
        return ()
    return office.keyring.email_indexes(identity.email)


def refer(office: Office, case: Case) -> None:
    """Send a locked case to a clinician because the same person has another one."""
    screening = screening_of(case)
    if screening is None:
        raise OutOfTurn(next_step(office, case).name)
    screening = screens.with_conflict(screening, office.protocol_of(case), office.locale_of(case))
    holding.release(office, case)
    case.screening = {**submitted_of(case), "screening": screens.to_json(screening)}
    case.outcome, case.not_before = screening.outcome, screening.not_before
    case.state, case.plan = state_after(screening), None
    outbox.referred(office, case)
    note(office, case, "refer", {"rules": [finding.rule_id for finding in screening.findings]})


def _same_person(identity: Identity, other: Case) -> bool:
    theirs = identity_of(other)
    return theirs is not None and theirs.birth_date == identity.birth_date


def _stands_against(office: Office, other: Case) -> bool:
    if other.state == CaseState.BOOKED:
        return _has_sessions_to_come(office, other)
    screening = screening_of(other)
    healing = screening is not None and screening.until_healed
    return not (other.state == CaseState.STOPPED and healing)


def _has_sessions_to_come(office: Office, case: Case) -> bool:
    session = office.session.scalars(
        sa.select(Appointment.id).where(
            Appointment.clinic_id == office.clinic.id,
            Appointment.case_id == case.id,
            Appointment.state == AppointmentState.BOOKED,
            Appointment.end_at > office.now,
        )
    ).first()
    return session is not None


def state_after(screening: Screening) -> CaseState:
    """Return where a case stands after screening."""
    if screening.outcome == Outcome.STOP:
        return CaseState.STOPPED
    if screening.outcome == Outcome.REVIEW:
        return CaseState.REVIEW
    return CaseState.CONSENT if screening.bookable else CaseState.WAITING


def reopen(office: Office, case: Case) -> None:
    """Go back to the questions.

    What was signed stays stored and counts again only for the same answers and the same texts; a
    clinician's decision does not carry over. Raises OutOfTurn when the case waits for a clinician,
    has ended, or is booked.
    """
    with writing(office, case) as locked:
        if locked.state == CaseState.DRAFT:
            return
        if locked.state not in REOPENS:
            raise OutOfTurn(next_step(office, locked).name)
        if is_retired(office, locked):
            raise OutOfTurn("manage")
        holding.release(office, locked)
        give_back(office, locked)
        note(office, locked, "reopen", {})


def give_back(office: Office, case: Case) -> None:
    """Make a locked case a draft again; it stays on the clinic's list, its patient goes on from the check."""
    case.state = CaseState.DRAFT
    case.screening, case.outcome, case.not_before, case.plan = None, None, None, None
    case.answers_hash, case.numbing_home = None, False
    case.expires_at = office.now + office.settings.draft_lifetime
