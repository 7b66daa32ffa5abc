"""How findings become one outcome: precedence, dates, what heals, and what nobody answered."""

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from intake_plugin.clinical.answers import UNSURE, Answer, PartialDate
from intake_plugin.clinical.protocol import Outcome, Protocol
from intake_plugin.clinical.screening import Screening, screen

TODAY = dt.date(2026, 3, 2)
BOTULINUM: dict[str, Answer] = {"recent": ("botulinum",), "botulinum_last": PartialDate(2026, 2, 24)}
KELOID: dict[str, Answer] = {"scars": ("keloid",)}
COLD_SORE: dict[str, Answer] = {"skin_today": ("cold_sore",)}
INFECTION: dict[str, Answer] = {"skin_today": ("infection",)}
Screened = Callable[..., Screening]


@pytest.fixture
def protocols(microneedling: Protocol, light_peel: Protocol) -> tuple[Protocol, ...]:
    return microneedling, light_peel


@pytest.fixture
def screened(microneedling: Protocol, clean: Callable[..., dict[str, Answer]]) -> Screened:
    def screening(*changes: dict[str, Answer], protocol: Protocol = microneedling) -> Screening:
        answers = clean()
        for change in changes:
            answers |= change
        return screen(protocol, answers, today=TODAY, stock=("LMX4",), locale="en")

    return screening


@pytest.mark.parametrize(
    ("last", "not_before"),
    [("2026-02-15", None), ("2026-02-16", None), ("2026-02-17", "2026-03-03"), ("2026-03-02", "2026-03-16")],
)
def test_a_wait_ends_on_its_own_day(screened: Screened, last: str, not_before: str | None) -> None:
    date = PartialDate.of(dt.date.fromisoformat(last))
    screening = screened({"recent": ("botulinum",), "botulinum_last": date})
    assert screening.outcome == ("defer" if not_before else "clear")
    assert screening.not_before == (dt.date.fromisoformat(not_before) if not_before else None)


def test_months_are_calendar_months_clamped_to_their_end(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]]
) -> None:
    answers = clean(isotretinoin="stopped", isotretinoin_last=PartialDate(2025, 8, 31))
    screening = screen(microneedling, answers, today=dt.date(2025, 9, 1), stock=(), locale="en")
    assert screening.not_before == dt.date(2026, 2, 28)


def test_about_a_month_counts_from_its_last_day(screened: Screened) -> None:
    months = {"isotretinoin": "stopped", "isotretinoin_last": PartialDate(2025, 12)}
    assert screened(months).not_before == dt.date(2026, 6, 30)
    this_month = {"isotretinoin": "stopped", "isotretinoin_last": PartialDate(2026, 3)}
    assert screened(this_month).not_before == dt.date(2026, 9, 2)


def test_this_month_still_means_the_day_it_was_answered_on_a_later_day(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]]
) -> None:
    answers = clean(isotretinoin="stopped", isotretinoin_last=PartialDate(2026, 3))
    due = dt.date(2026, 9, 2)
    later = screen(microneedling, answers, today=due, answered_on=TODAY, stock=(), locale="en")
    assert later.outcome is Outcome.CLEAR


def test_the_latest_of_several_dates_wins(screened: Screened) -> None:
    screening = screened(
        {
            "recent": ("botulinum", "filler", "hair_removal"),
            "botulinum_last": PartialDate(2026, 2, 24),
            "filler_last": PartialDate(2026, 2, 27),
            "hair_removal_last": PartialDate(2026, 3, 1),
        }
    )
    assert [finding.rule_id for finding in screening.findings] == ["S20", "S21", "S24"]
    assert screening.not_before == dt.date(2026, 3, 27)


def test_a_review_carries_the_latest_date_and_is_not_bookable(screened: Screened) -> None:
    screening = screened(BOTULINUM, {"medicines": ("blood_thinner",)})
    assert screening.outcome is Outcome.REVIEW
    assert screening.not_before == dt.date(2026, 3, 10)
    assert not screening.bookable


@pytest.mark.parametrize("dateless", [COLD_SORE, INFECTION, KELOID], ids=["heals", "stop that heals", "stop"])
def test_what_has_no_date_hides_every_date(screened: Screened, dateless: dict[str, Answer]) -> None:
    screening = screened(BOTULINUM, dateless)
    assert screening.not_before is None
    assert not screening.bookable


@pytest.mark.parametrize(
    ("changes", "until_healed"),
    [
        ([COLD_SORE], True),
        ([INFECTION], True),
        ([KELOID], False),
        ([KELOID, COLD_SORE], False),
        ([KELOID, INFECTION], False),
        ([COLD_SORE, {"medicines": ("blood_thinner",)}], True),
        ([BOTULINUM], False),
    ],
)
def test_until_healed(screened: Screened, changes: list[dict[str, Answer]], until_healed: bool) -> None:
    assert screened(*changes).until_healed is until_healed


def test_a_cream_that_waits_for_healing_is_no_review_and_one_that_does_not_is(screened: Screened) -> None:
    healing = screened(COLD_SORE)
    assert (healing.outcome, healing.numbing.product) == (Outcome.DEFER, None)
    assert "numbing" not in {finding.rule_id for finding in healing.findings}
    lasting = screened(COLD_SORE, {"allergy": ("sulfonamide",)})
    assert lasting.outcome is screened({"allergy": ("sulfonamide",)}).outcome is Outcome.REVIEW
    assert [finding.rule_id for finding in lasting.findings] == ["numbing", "S04a"]


def test_skin_that_holds_up_no_treatment_still_needs_a_clinician_for_the_cream(
    screened: Screened, microneedling: Protocol
) -> None:
    ruleless = replace(microneedling, rules=tuple(r for r in microneedling.rules if r.id != "S41"))
    wounded = screened({"skin_today": ("wound",)}, protocol=ruleless)
    assert [finding.rule_id for finding in wounded.findings] == ["numbing"]


def test_a_stop_is_overridable_only_if_every_stop_is(screened: Screened) -> None:
    assert screened(KELOID).overridable
    assert screened(KELOID, {"breastfeeding": "yes"}).overridable
    assert not screened(KELOID, {"pregnant": "yes"}).overridable
    assert not screened({"medicines": ("blood_thinner",)}).overridable


def test_advice_goes_along_with_a_deferral(screened: Screened) -> None:
    screening = screened(BOTULINUM, {"smoking": "yes"})
    assert screening.outcome is Outcome.DEFER
    assert [finding.rule_id for finding in screening.advice] == ["S46"]


def test_an_unknown_date_is_a_review(screened: Screened) -> None:
    screening = screened({"recent": ("botulinum",), "botulinum_last": UNSURE})
    (finding,) = screening.findings
    assert (finding.rule_id, finding.outcome, finding.undetermined) == ("S20", Outcome.REVIEW, True)
    assert finding.not_before is None


def test_who_is_not_sure_is_never_sent_to_a_date_or_told_to_come_back(
    protocols: tuple[Protocol, ...], clean: Callable[..., dict[str, Answer]]
) -> None:
    promised = re.compile(
        r"(?i)date shown|come back|choose a time|we do not offer|is not possible|wait until"
    )
    for protocol in protocols:
        for question in protocol.questions.values():
            answers = {**clean(), question.link_id: UNSURE}
            screening = screen(protocol, answers, today=TODAY, stock=(), locale="en")
            unsure = [finding for finding in screening.findings if finding.undetermined]
            assert [finding.rule_id for finding in unsure if promised.search(finding.next)] == []
            assert all(finding.next for finding in unsure)


def test_words_for_the_unsure_keep_what_cannot_wait(screened: Screened, microneedling: Protocol) -> None:
    rules = microneedling.texts["en"].rules
    said = {finding.rule_id: finding.next for finding in screened({"skin_marks": UNSURE}).findings}
    assert said["S15b"] == rules["S15b"].unsure_next
    assert "doctor" in said["S15b"]
    assert said["S41b"] == rules["unanswered"].next


def test_what_another_part_decides_is_not_undetermined(screened: Screened) -> None:
    settled = screened({"conditions": ("weak_immunity",), "medicines": UNSURE})
    s12 = next(finding for finding in settled.findings if finding.rule_id == "S12")
    assert not s12.undetermined


def test_the_birth_date_is_asked_even_where_no_rule_needs_it(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]]
) -> None:
    answers = {key: answer for key, answer in clean().items() if key != "birth_date"}
    off = tuple(rule for rule in microneedling.rules if not rule.active)
    ageless = replace(microneedling, rules=off, numbing=replace(microneedling.numbing, products=()))
    screening = screen(ageless, answers, today=TODAY, stock=(), locale="en")
    assert [finding.rule_id for finding in screening.findings] == ["unanswered"]
    assert screening.outcome is Outcome.REVIEW


def test_a_dated_review_has_a_date_and_dated_advice_has_none(
    screened: Screened, microneedling: Protocol
) -> None:
    def with_outcome(outcome: Outcome) -> Protocol:
        rules = (replace(rule, outcome=outcome) if rule.id == "S20" else rule for rule in microneedling.rules)
        return replace(microneedling, rules=tuple(rules))

    assert screened(BOTULINUM, protocol=with_outcome(Outcome.REVIEW)).not_before == dt.date(2026, 3, 10)
    advised = screened(BOTULINUM, protocol=with_outcome(Outcome.ADVISE))
    assert (advised.outcome, advised.not_before, advised.bookable) == (Outcome.ADVISE, None, True)
    stopped = screened(BOTULINUM, protocol=with_outcome(Outcome.STOP))
    assert (stopped.outcome, stopped.not_before) == (Outcome.STOP, None)


@pytest.mark.parametrize("locale", ["en", "en-GB", "en_GB", "xx"])
def test_a_regional_or_unknown_language_still_has_words(
    microneedling: Protocol, clean: Callable[..., dict[str, Answer]], locale: str
) -> None:
    screening = screen(microneedling, clean(**KELOID), today=TODAY, stock=(), locale=locale)
    assert screening.findings[0].reason == microneedling.texts["en"].rules["S05"].reason
