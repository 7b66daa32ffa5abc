"""From the first answer to the outcome: where a patient stands, what may be shown, what is stored.

An answer is stored as it was given, also when a later answer means that its question is no longer
asked: going back restores it. Only the submit drops such answers, and records which.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from intake_plugin.clinical import answers as answering
from intake_plugin.clinical import screening as screens
from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.protocol import BIRTH_DATE, Outcome
from intake_plugin.clinical.questionnaire import first_unanswered, prune, walk
from intake_plugin.clinical.screening import Screening
from intake_plugin.errors import NotFound, OutOfTurn, Stale
from intake_plugin.journeys import holding
from intake_plugin.journeys.office import Office, note, writing
from intake_plugin.records.tables import Case, CaseState


class Step(NamedTuple):
    """A page of the patient's way; `key` names the page of questions."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
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

REOPENS = frozenset({CaseState.WAITING, CaseState.CONSENT, CaseState.BOOKING})


def identity_of(case: Case) -> Identity | None:
    """Return who the patient is, or None before the page "About you"."""
    stored = case.identity
    return None if stored is None else Identity.from_json(stored)


def answers_of(case: Case) -> dict[str, Answer]:
    """Return every answer of the draft, with the date of birth once it is known."""
    given = answering.from_json(case.answers)
    identity = identity_of(case)
    if identity is not None:
        given[BIRTH_DATE] = PartialDate.of(identity.birth_date)
    return given


def answers_hash(case: Case) -> str:
    """Return the SHA-256 of the answers as they stand; equal exactly when the answers are."""
    canonical = json.dumps(answering.to_json(answers_of(case)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def screening_of(case: Case) -> Screening | None:
    """Return the outcome of the last submit."""
    stored = case.screening
    return None if stored is None else screens.from_json(stored["screening"])


def dropped_of(case: Case) -> tuple[str, ...]:
    """Return the link ids whose answers the last submit dropped because they were no longer asked."""
    stored = case.screening
    return () if stored is None else tuple(stored["dropped"])


def next_step(office: Office, case: Case) -> Step:
    """Return the furthest page this case may be on now."""
    if case.state == CaseState.DRAFT:
        return _draft_step(office, case)
    furthest = OPEN_STEPS[CaseState(case.state)][-1]
    if furthest == "series" and not case.plan:
        return Step("times")
    return Step(furthest)


def _draft_step(office: Office, case: Case) -> Step:
    if case.identity is None:
        return Step("about-you")
    page = first_unanswered(office.protocol_of(case), answers_of(case), today=office.today)
    return Step("check") if page is None else Step("questions", page.key)


def require(office: Office, case: Case, step: str, key: str | None = None) -> None:
    """Let a page be shown only when the case has come so far and has not gone past it.

    Raises OutOfTurn with the step where the patient belongs, NotFound for a page of questions
    that the protocol does not have or does not ask now.
    """
    if case.state != CaseState.DRAFT:
        open_steps = OPEN_STEPS[CaseState(case.state)]
        if step not in open_steps or (step == "series" and not case.plan):
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

    Raises OutOfTurn or NotFound when the page cannot be answered now, ValueError for an answer to
    a question that is not on it.
    """
    with writing(office, case) as locked:
        require(office, locked, "questions", key)
        _refuse_strangers(office, locked, key, given)
        merged = answering.from_json(locked.answers)
        for link_id, value in given.items():
            if value is None:
                merged.pop(link_id, None)
            else:
                merged[link_id] = value
        locked.answers = answering.to_json(merged)
        locked.expires_at = office.now + office.settings.draft_lifetime
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
        if shown != answers_hash(locked):
            raise Stale("Your answers changed in another window. Check them once more.")
        protocol, treatment = office.protocol_of(locked), office.treatment_of(locked)
        kept, dropped = prune(protocol, answers_of(locked), today=office.today)
        screening = screens.screen_safely(
            protocol,
            kept,
            today=office.today,
            stock=treatment.numbing.stock,
            locale=office.locale_of(locked),
        )
        locked.answers = answering.to_json({k: v for k, v in kept.items() if k != BIRTH_DATE})
        locked.screening = {"screening": screens.to_json(screening), "dropped": list(dropped)}
        locked.protocol_version, locked.fingerprint = protocol.version, treatment.fingerprint
        locked.answers_hash = answers_hash(locked)
        locked.outcome, locked.not_before = screening.outcome, screening.not_before
        locked.state = state_after(screening)
        locked.submitted_at, locked.expires_at = office.now, None
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


def state_after(screening: Screening) -> CaseState:
    """Return where a case stands after screening."""
    if screening.outcome == Outcome.STOP:
        return CaseState.STOPPED
    if screening.outcome == Outcome.REVIEW:
        return CaseState.REVIEW
    return CaseState.CONSENT if screening.bookable else CaseState.WAITING


def reopen(office: Office, case: Case) -> None:
    """Go back to the questions; what was signed stays stored but no longer counts.

    Raises OutOfTurn when the case waits for a clinician, has ended, or is booked.
    """
    with writing(office, case) as locked:
        if locked.state == CaseState.DRAFT:
            return
        if locked.state not in REOPENS:
            raise OutOfTurn(next_step(office, locked).name)
        holding.release(office, locked)
        locked.state = CaseState.DRAFT
        locked.screening, locked.outcome, locked.not_before, locked.plan = None, None, None, None
        locked.answers_hash, locked.submitted_at, locked.numbing_home = None, None, False
        locked.expires_at = office.now + office.settings.draft_lifetime
        note(office, locked, "reopen", {})
