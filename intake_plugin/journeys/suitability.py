"""May this case have a session on that date? Asked anew for every session, not only the first.

A clinician's decision lifts exactly the findings that stood when it was made. A finding that
would newly appear on a session's date is not lifted by it.

A booked case was screened and consented to as its protocol then was. Its sessions are held to
today's rules as far as its answers go: a rule that fires on what the patient said forbids a date,
a new rule too. A question nobody asked then forbids nothing, since a patient who cannot answer it
any more could not be moved by anybody; the desk is told to ask it (`unasked_of`).
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from intake_plugin.clinical.conditions import Known, atoms, names
from intake_plugin.clinical.course import CoursePlan, plan_course
from intake_plugin.clinical.numbing import NumbingChoice, choose
from intake_plugin.clinical.protocol import AnyOf, Outcome, Protocol, Question, Within, once_per_protocol
from intake_plugin.clinical.screening import (
    FAILURE,
    NUMBING,
    UNANSWERED,
    Finding,
    Screening,
    screen_safely,
)
from intake_plugin.clinical.turning import turning_dates
from intake_plugin.errors import NotAsSigned
from intake_plugin.journeys.intake import answers_of, lifted_of, once_opened, submitted_of
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Appointment, AppointmentState, Case, CaseState

WITHOUT = "without"
"""A clinician's choice of no numbing product."""
_WITHOUT = NumbingChoice(None, None, None, "without")
UNDECIDABLE = frozenset({FAILURE, UNANSWERED})
"""Findings that say nothing of the patient, so that no clearance can rest on them."""


def blocking(screening: Screening) -> frozenset[str]:
    """Return what forbids a session on the day screened, named so exactly that a decision can lift it.

    An undecided rule is another thing than the same rule fired, and a caution for one numbing
    product another than for the next.
    """
    return frozenset(_name(finding, screening) for finding in screening.findings if _forbids(finding))


def _forbids(finding: Finding) -> bool:
    return finding.outcome.rank <= Outcome.DEFER.rank


def _name(finding: Finding, screening: Screening) -> str:
    if finding.rule_id == NUMBING:
        product = screening.numbing.product
        return f"{NUMBING}:{product.id if product else ''}"
    return f"{finding.rule_id}?" if finding.undetermined else finding.rule_id


def is_lifted(case: Case, finding: Finding, screening: Screening) -> bool:
    """Whether a clinician's decision lifted this finding of the stored screening."""
    return _name(finding, screening) in lifted_of(case)


def answered_on(office: Office, case: Case) -> dt.date:
    """Return the clinic's date of the submit, or today before it."""
    return (case.submitted_at or office.now).astimezone(office.clinic.zone).date()


def screened_on(
    office: Office, case: Case, date: dt.date, *, stock: Sequence[str] | None = None
) -> Screening:
    """Screen the submitted answers as they will count on `date`; of a booked case, those alone.

    `stock` are the numbing products to choose from, the clinic's if left out.
    """
    protocol, unasked = office.protocol_of(case), unasked_of(office, case, date)
    screening = screen_safely(
        _without(protocol, unasked),
        answers_of(case),
        today=date,
        answered_on=answered_on(office, case),
        stock=office.treatment_of(case).numbing.stock if stock is None else stock,
        locale=office.locale_of(case),
    )
    return _undecided_by(protocol, unasked, screening) if unasked else screening


def unasked_of(office: Office, case: Case, date: dt.date) -> tuple[Question, ...]:
    """Return what the protocol asks on `date` and a booked case was never asked; else nothing.

    What may be left empty counts only where something is decided by it. An answer that was given
    and fits no longer is another thing: what the patient said is then unknown, and the rules that
    need it go on forbidding.
    """
    if case.state != CaseState.BOOKED:
        return ()
    protocol, answers = office.protocol_of(case), answers_of(case)
    known = Known(protocol, answers, today=date, answered_on=answered_on(office, case))
    return tuple(
        question
        for link_id, question in protocol.questions.items()
        if link_id not in answers
        and known.asked(link_id) is True
        and (question.required or link_id in _deciding(protocol))
    )


@once_per_protocol
def _deciding(protocol: Protocol) -> frozenset[str]:
    """Return every question without whose answer some rule, caution or score stays open."""
    rules = [rule for rule in protocol.rules if rule.active]
    conditions = [*(rule.when for rule in rules), *(caution.when for caution in protocol.numbing.cautions)]
    named = {atom for condition in conditions for atom in atoms(condition)}
    # Whether there is an answer at all is decided by an empty one too.
    compared = {atom.question for atom in named if isinstance(atom, Within) or atom.operator != "exists"}
    scored = {part for value in protocol.derived for part in value.questions}
    return frozenset(compared | scored | {rule.since for rule in rules if rule.since})


def _without(protocol: Protocol, unasked: Collection[Question]) -> Protocol:
    """Return the protocol as if these questions did not apply to the patient."""
    if not unasked:
        return protocol
    sections = tuple(
        replace(
            section,
            questions=tuple(
                replace(question, enable_when=AnyOf(any=())) if question in unasked else question
                for question in section.questions
            ),
        )
        for section in protocol.sections
    )
    return replace(protocol, sections=sections)


def _undecided_by(protocol: Protocol, unasked: Collection[Question], screening: Screening) -> Screening:
    """Leave out the rules that stay undecided because a score has one of these questions in it."""
    new = {question.link_id for question in unasked}
    scores = {value.id for value in protocol.derived if not new.isdisjoint(value.questions)}
    undecided = {rule.id for rule in protocol.rules if not scores.isdisjoint(names(rule.when))}
    kept = (each for each in screening.findings if not each.undetermined or each.rule_id not in undecided)
    return replace(screening, findings=tuple(kept))


class Unsuitable:
    """The dates on which a case may not have a session; asked a date, it screens for that date.

    Between two turning dates the findings are the same, so one screening answers for all of them.
    `stock` is what there is to choose from where the numbing product is settled already.
    """

    def __init__(self, office: Office, case: Case, *, stock: Sequence[str] | None = None) -> None:
        self._office, self._case, self._stock = office, case, stock
        self._lifted = lifted_of(case)
        if stock is not None and (decided := _decided(case)) in stock:
            # The clinician who chose it knew of its cautions.
            self._lifted |= {f"{NUMBING}:{decided}"}
        self._turns = turning_dates(
            office.protocol_of(case), answers_of(case), answered_on=answered_on(office, case)
        )
        self._known: dict[int, tuple[Finding, ...]] = {}

    def __contains__(self, date: object) -> bool:
        return isinstance(date, dt.date) and bool(self.findings(date))

    def findings(self, date: dt.date) -> tuple[Finding, ...]:
        """Return what forbids a session on a date: the findings that no decision lifted."""
        stretch = bisect_right(self._turns, date)
        if stretch not in self._known:
            screening = screened_on(self._office, self._case, date, stock=self._stock)
            self._known[stretch] = tuple(
                finding
                for finding in screening.findings
                if _forbids(finding) and _name(finding, screening) not in self._lifted
            )
        return self._known[stretch]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recheck:
    """What of a booked case's answers the desk should go through with the patient once more."""

    unasked: tuple[Question, ...]
    """What the protocol asks today and the patient was never asked."""
    forbidden: Mapping[int, tuple[Finding, ...]]
    """Findings that forbid the date of a session to come, by its number."""


def recheck_of(office: Office, case: Case, appointments: Collection[Appointment]) -> Recheck | None:
    """Return what has to be checked again before the sessions to come of a booked case, None for nothing."""
    standing = [
        each for each in appointments if each.state == AppointmentState.BOOKED and each.arrive_at > office.now
    ]
    if case.state != CaseState.BOOKED or not standing:
        return None
    signed = {each.product_id for each in standing if each.product_id is not None}
    unsuitable = Unsuitable(office, case, stock=sorted(signed))
    found = {
        each.ordinal: unsuitable.findings(each.arrive_at.astimezone(office.clinic.zone).date())
        for each in standing
    }
    forbidden = {ordinal: findings for ordinal, findings in found.items() if findings}
    unasked = unasked_of(office, case, office.today)
    return Recheck(unasked=unasked, forbidden=forbidden) if unasked or forbidden else None


def numbing_of(office: Office, case: Case) -> NumbingChoice:
    """Return the numbing product this case gets: the clinician's choice, or as the answers count today."""
    decided = _decided(case)
    if decided == WITHOUT:
        return _WITHOUT
    return _choose(office, case, [decided] if decided else office.treatment_of(case).numbing.stock)


def numbing_signed(office: Office, case: Case, product_id: str | None) -> NumbingChoice:
    """Return the numbing product of a booked session, by id, as it counts now; None is none.

    Raises NotAsSigned when the clinic does not keep it any more, or no longer uses it for these
    answers: another one needs another consent.
    """
    if product_id is None:
        return _WITHOUT
    kept = product_id in office.treatment_of(case).numbing.stock
    choice = _choose(office, case, [product_id]) if kept else _WITHOUT
    if choice.product is None:
        raise NotAsSigned("The numbing cream that was signed for is not used any more.")
    return choice


def _choose(office: Office, case: Case, stock: Sequence[str]) -> NumbingChoice:
    protocol, today, answered = office.protocol_of(case), office.today, answered_on(office, case)
    return once_opened(
        case,
        ("numbing", protocol, today, answered, case.state, *stock),
        lambda: choose(
            _without(protocol, unasked_of(office, case, today)),
            answers_of(case),
            today=today,
            answered_on=answered,
            stock=stock,
        ),
    )


def course_of(office: Office, case: Case) -> CoursePlan:
    """Return the course for the concern answered."""
    protocol = office.protocol_of(case)
    return once_opened(case, ("course", protocol), lambda: plan_course(protocol, answers_of(case)))


def _decided(case: Case) -> str:
    return submitted_of(case).get("numbing") or ""
