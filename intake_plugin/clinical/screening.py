"""Screening: what the clinic's own rules say of a set of answers on one day.

Every rule that fires leaves a finding with its reason and source. What the answers do not decide
is a matter for a clinician, never a pass; so is a failure of the screening itself.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, cast

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.numbing import Decision, NumbingChoice, Refusal, choose_by
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    NumbingProduct,
    Outcome,
    Protocol,
    Rule,
    RuleText,
    Source,
    Texts,
)
from intake_plugin.clinical.questionnaire import unanswered

_log = logging.getLogger(__name__)

UNANSWERED: Final = "unanswered"
FAILURE: Final = "failure"
NUMBING: Final = "numbing"
NUMBING_REVIEW: Final = "numbing_review"
NUMBING_WITHOUT: Final = "numbing_without"
CONFLICT: Final = "conflict"
GENERAL_TEXTS: Final = (UNANSWERED, FAILURE, NUMBING_REVIEW, NUMBING_WITHOUT, CONFLICT)
"""Ids of the reasons that belong to no rule; every language has them among its rules."""


@dataclass(frozen=True, slots=True, repr=False)
class Finding:
    """One rule that fired, or that could not be decided (`undetermined`), and why."""

    rule_id: str
    outcome: Outcome
    reason: str
    next: str
    not_before: dt.date | None
    until_healed: bool
    undetermined: bool
    override: bool
    excludes: bool
    sources: tuple[Source, ...]
    protocol_version: str


@dataclass(frozen=True, slots=True, repr=False)
class Screening:
    """The outcome of one case: the most serious of its findings.

    `not_before` is the latest date of all dated deferrals. It is None for a stop, and while anything
    is "until healed", because then there is no date. `until_healed` says that the clinic asks again;
    for a stop, that every reason for it can heal.
    """

    protocol_id: str
    protocol_version: str
    outcome: Outcome
    not_before: dt.date | None
    until_healed: bool
    findings: tuple[Finding, ...]
    numbing: NumbingChoice

    @property
    def bookable(self) -> bool:
        """Whether the patient may choose a time without a clinician."""
        if self.outcome is Outcome.DEFER:
            return self.not_before is not None and not self.until_healed
        return self.outcome in {Outcome.CLEAR, Outcome.ADVISE}

    @property
    def overridable(self) -> bool:
        """Whether a clinician may decide otherwise although the outcome is `stop`."""
        stops = self._of(Outcome.STOP)
        return self.outcome is Outcome.STOP and bool(stops) and all(finding.override for finding in stops)

    @property
    def advice(self) -> tuple[Finding, ...]:
        """The findings that go with the patient as advice."""
        return self._of(Outcome.ADVISE)

    def _of(self, outcome: Outcome) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome is outcome)


def screen(
    protocol: Protocol,
    answers: Answers,
    *,
    today: dt.date,
    stock: Sequence[str],
    locale: str,
    answered_on: dt.date | None = None,
) -> Screening:
    """Screen `answers` on `today`, the day of the session or of the question, in the clinic's zone.

    `answered_on` is the day of the answers, where that is another one: "about this month" counts
    from it at the latest.
    `stock` are the numbing products the clinic keeps, in order of preference. Findings are sorted
    by precedence, then in the protocol's order.
    """
    known = Known(protocol, answers, today=today, answered_on=answered_on)
    words = protocol.words(locale)
    numbing = choose_by(known, stock=stock)
    findings = [
        *_unanswered(known, words),
        *(finding for rule in protocol.rules if rule.active for finding in _apply(rule, known, words)),
    ]
    # No cream goes on skin that has to heal first, nor does a session take place: only what stays
    # after the healing is a matter for a review now.
    healing = any(finding.until_healed for finding in findings)
    lasting = choose_by(known, stock=stock, healed=True) if healing else numbing
    return _whole(protocol, [*findings, *_numbing(lasting, protocol, words)], numbing)


def screen_safely(
    protocol: Protocol,
    answers: Answers,
    *,
    today: dt.date,
    stock: Sequence[str],
    locale: str,
    answered_on: dt.date | None = None,
) -> Screening:
    """Screen like `screen`, but turn any failure into a review, so that it is never a pass.

    Only the kind of failure is logged: its text could hold answers.
    """
    try:
        return screen(protocol, answers, today=today, stock=stock, locale=locale, answered_on=answered_on)
    except Exception as error:  # whatever went wrong, the patient must not pass
        kind = type(error).__name__
        _log.error("Screening by protocol %s failed (%s); the case goes to review.", protocol.id, kind)
        words = _failure_text(protocol, locale)
        finding = Finding(
            rule_id=FAILURE,
            outcome=Outcome.REVIEW,
            reason=words.reason,
            next=words.next,
            not_before=None,
            until_healed=False,
            undetermined=True,
            override=False,
            excludes=False,
            sources=(),
            protocol_version=protocol.version,
        )
        return _whole(protocol, [finding], NumbingChoice(None, None, None, "review"))


def with_conflict(screening: Screening, protocol: Protocol, locale: str) -> Screening:
    """Return the screening of a patient whose earlier case stands against this one: a review at least."""
    finding = _general(CONFLICT, CONFLICT, Outcome.REVIEW, protocol, protocol.words(locale))
    return _whole(protocol, [*screening.findings, finding], screening.numbing)


def _failure_text(protocol: Protocol, locale: str) -> RuleText:
    try:
        return protocol.words(locale).rules[FAILURE]
    except LookupError:
        return RuleText(reason="")


def _apply(rule: Rule, known: Known, words: Texts) -> Iterator[Finding]:
    truth = known.truth(rule.when)
    if truth is False:
        return
    due = _due(rule, known) if truth and _dated(rule) else None
    if truth is None or (_dated(rule) and due is None):
        yield _finding(rule, known, words, undetermined=True)
    elif due is None or due > known.today:
        yield _finding(rule, known, words, due=due)


def _dated(rule: Rule) -> bool:
    return rule.since is not None and rule.wait is not None


def _due(rule: Rule, known: Known) -> dt.date | None:
    since = known.date(rule.since) if rule.since else None
    return known.protocol.waits[rule.wait].after(since) if since and rule.wait else None


def _finding(
    rule: Rule, known: Known, words: Texts, *, due: dt.date | None = None, undetermined: bool = False
) -> Finding:
    outcome = Outcome.REVIEW if undetermined and rule.outcome is not Outcome.REVIEW else rule.outcome
    return Finding(
        rule_id=rule.id,
        outcome=outcome,
        reason=words.rules[rule.id].reason,
        next=_next(rule, words) if undetermined else words.rules[rule.id].next,
        not_before=due if outcome in {Outcome.DEFER, Outcome.REVIEW} else None,
        until_healed=rule.until_healed and not undetermined,
        undetermined=undetermined,
        override=rule.override,
        excludes=rule.excludes,
        sources=rule.sources,
        protocol_version=known.protocol.version,
    )


def _next(rule: Rule, words: Texts) -> str:
    """Return what a patient can do whose answers do not decide `rule`."""
    own = words.rules[rule.id]
    if rule.outcome not in {Outcome.STOP, Outcome.DEFER}:
        return own.next
    # A date "shown" and "come back when healed" would be said of what nobody knows.
    return own.unsure_next or words.rules[UNANSWERED].next


def _unanswered(known: Known, words: Texts) -> Iterator[Finding]:
    open_questions = (unanswered(question, known) for question in known.protocol.questions.values())
    if known.answer(BIRTH_DATE) is None or any(open_questions):
        yield _general(UNANSWERED, UNANSWERED, Outcome.REVIEW, known.protocol, words, undetermined=True)


def _numbing(choice: NumbingChoice, protocol: Protocol, words: Texts) -> Iterator[Finding]:
    sources = _numbing_sources(choice, protocol)
    if choice.decision == "review":
        yield _general(NUMBING, NUMBING_REVIEW, Outcome.REVIEW, protocol, words, sources=sources)
    elif choice.decision == "without":
        yield _general(NUMBING, NUMBING_WITHOUT, Outcome.ADVISE, protocol, words, sources=sources)


def _numbing_sources(choice: NumbingChoice, protocol: Protocol) -> list[Source]:
    """Return the sources of every caution that spoke, or of the product where its own limit did."""
    cautions = {caution.id: caution.sources for caution in protocol.numbing.cautions}
    products = {product.id: product.sources for product in protocol.numbing.products}
    return [
        source
        for refusal in choice.refusals
        for caution in refusal.cautions
        for source in cautions.get(caution, products[refusal.product_id])
    ]


def _general(
    rule_id: str,
    text_id: str,
    outcome: Outcome,
    protocol: Protocol,
    words: Texts,
    *,
    undetermined: bool = False,
    sources: Sequence[Source] = (),
) -> Finding:
    return Finding(
        rule_id=rule_id,
        outcome=outcome,
        reason=words.rules[text_id].reason,
        next=words.rules[text_id].next,
        not_before=None,
        until_healed=False,
        undetermined=undetermined,
        override=False,
        excludes=False,
        sources=tuple(dict.fromkeys(sources)),
        protocol_version=protocol.version,
    )


def _whole(protocol: Protocol, findings: Sequence[Finding], numbing: NumbingChoice) -> Screening:
    ordered = tuple(sorted(findings, key=lambda finding: finding.outcome.rank))
    outcome = ordered[0].outcome if ordered else Outcome.CLEAR
    healing = _until_healed(outcome, ordered)
    dates = [finding.not_before for finding in ordered if finding.not_before]
    dated = outcome is not Outcome.STOP and not healing and dates
    return Screening(
        protocol_id=protocol.id,
        protocol_version=protocol.version,
        outcome=outcome,
        not_before=max(dates) if dated else None,
        until_healed=healing,
        findings=ordered,
        numbing=numbing,
    )


def _until_healed(outcome: Outcome, findings: Sequence[Finding]) -> bool:
    if outcome is Outcome.STOP:
        return all(finding.until_healed for finding in findings if finding.outcome is outcome)
    return any(finding.until_healed for finding in findings)


def to_json(screening: Screening) -> dict[str, Any]:
    """Return `screening` in plain JSON types: dates as ISO text, spans in seconds."""
    plain = _plain(screening)
    return cast("dict[str, Any]", plain)


def from_json(stored: Mapping[str, Any]) -> Screening:
    """Return the screening that `to_json` wrote."""
    return Screening(
        **{
            **stored,
            "outcome": Outcome(stored["outcome"]),
            "not_before": _date(stored["not_before"]),
            "findings": tuple(_stored_finding(finding) for finding in stored["findings"]),
            "numbing": _stored_choice(stored["numbing"]),
        }
    )


def advice_from_json(stored: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return the `advice` of the screening that `to_json` wrote, without reading the rest."""
    return tuple(
        _stored_finding(finding) for finding in stored["findings"] if finding["outcome"] == Outcome.ADVISE
    )


def _plain(value: Any) -> Any:
    match value:
        case dt.date():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case Outcome():
            return value.value
        case tuple():
            return [_plain(item) for item in value]
        case Screening() | Finding() | NumbingChoice() | NumbingProduct() | Refusal() | Source():
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def _date(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _span(seconds: float | None) -> dt.timedelta | None:
    return None if seconds is None else dt.timedelta(seconds=seconds)


def _sources(stored: Sequence[Mapping[str, Any]]) -> tuple[Source, ...]:
    return tuple(Source(**source) for source in stored)


def _stored_finding(stored: Mapping[str, Any]) -> Finding:
    return Finding(
        **{
            **stored,
            "outcome": Outcome(stored["outcome"]),
            "not_before": _date(stored["not_before"]),
            "sources": _sources(stored["sources"]),
        }
    )


def _stored_choice(stored: Mapping[str, Any]) -> NumbingChoice:
    return NumbingChoice(
        product=_stored_product(stored["product"]),
        contact_min=_span(stored["contact_min"]),
        contact_max=_span(stored["contact_max"]),
        decision=cast("Decision", stored["decision"]),
        refusals=tuple(_stored_refusal(refusal) for refusal in stored["refusals"]),
    )


def _stored_product(stored: Mapping[str, Any] | None) -> NumbingProduct | None:
    if stored is None:
        return None
    return NumbingProduct(
        **{
            **stored,
            "classes": tuple(stored["classes"]),
            "contact_min": dt.timedelta(seconds=stored["contact_min"]),
            "contact_max": dt.timedelta(seconds=stored["contact_max"]),
            "sources": _sources(stored["sources"]),
        }
    )


def _stored_refusal(stored: Mapping[str, Any]) -> Refusal:
    effect = cast("Literal['review', 'block']", stored["effect"])
    return Refusal(stored["product_id"], effect, tuple(stored["cautions"]))
