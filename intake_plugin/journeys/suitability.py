"""May this case have a session on that date? Asked anew for every session, not only the first.

A clinician's decision lifts exactly the findings that stood when it was made. A finding that
would newly appear on a session's date is not lifted by it.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Sequence

from intake_plugin.clinical.numbing import NumbingChoice, choose
from intake_plugin.clinical.protocol import Outcome
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
from intake_plugin.journeys.intake import answers_of, lifted_of
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Case

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
    return frozenset(
        _name(finding, screening)
        for finding in screening.findings
        if finding.outcome.rank <= Outcome.DEFER.rank
    )


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
    """Screen the submitted answers as they will count on `date`.

    `stock` are the numbing products to choose from, the clinic's if left out.
    """
    return screen_safely(
        office.protocol_of(case),
        answers_of(case),
        today=date,
        answered_on=answered_on(office, case),
        stock=office.treatment_of(case).numbing.stock if stock is None else stock,
        locale=office.locale_of(case),
    )


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
        self._known: dict[int, bool] = {}

    def __contains__(self, date: object) -> bool:
        if not isinstance(date, dt.date):
            return False
        stretch = bisect_right(self._turns, date)
        if stretch not in self._known:
            found = blocking(screened_on(self._office, self._case, date, stock=self._stock))
            self._known[stretch] = not found <= self._lifted
        return self._known[stretch]


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
    return choose(
        office.protocol_of(case),
        answers_of(case),
        today=office.today,
        answered_on=answered_on(office, case),
        stock=stock,
    )


def _decided(case: Case) -> str:
    return (case.screening or {}).get("numbing") or ""
