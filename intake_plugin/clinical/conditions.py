"""Three-valued conditions over answers: true, false, or not yet known.

Unanswered is not "no". A question that was asked and not answered leaves every condition on it
unknown, and Kleene's logic carries that through `all` and `any`: a part that decides the whole
still decides it. A question that is certainly not asked does not apply, so no comparison with it
is true.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Final

from intake_plugin.clinical.answers import UNSURE, Answer, Answers, PartialDate
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    All,
    AnyOf,
    Compare,
    Condition,
    Derived,
    Protocol,
    Question,
    Within,
)

Truth = bool | None

_COMPARE: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "=": eq,
    "!=": ne,
    ">": gt,
    "<": lt,
    ">=": ge,
    "<=": le,
}


def names(condition: Condition | None) -> Iterator[str]:
    """Yield the id of every question and derived value that `condition` names."""
    match condition:
        case Compare() | Within():
            yield condition.question
        case All(all=parts) | AnyOf(any=parts):
            for part in parts:
                yield from names(part)
        case None:
            return


def atoms(condition: Condition | None) -> Iterator[Compare | Within]:
    """Yield every comparison in `condition`."""
    match condition:
        case Compare() | Within():
            yield condition
        case All(all=parts) | AnyOf(any=parts):
            for part in parts:
                yield from atoms(part)
        case None:
            return


def fits(question: Question, answer: Answer | None) -> bool:
    """Return whether `answer` answers `question`; one of the wrong form is no answer at all."""
    match question.type, answer:
        case "yes-no", str():
            return answer in {"yes", "no"}
        case "choice", str():
            return any(option.id == answer for option in question.options)
        case "choices", tuple():
            return _fit_choices(question, answer)
        case "number", int():
            return not isinstance(answer, bool) and _in_range(question, answer)
        case "text", str():
            return bool(answer.strip())
        case "date", PartialDate():
            return _is_date(answer)
        case _:
            return False


def _fit_choices(question: Question, chosen: tuple[str, ...]) -> bool:
    options = {option.id: option for option in question.options}
    if not chosen or any(item not in options for item in chosen):
        return False
    return len(chosen) == 1 or not any(options[item].exclusive for item in chosen)


def _in_range(question: Question, answer: int) -> bool:
    low, high = question.minimum, question.maximum
    return (low is None or low <= answer) and (high is None or answer <= high)


def _is_date(answer: PartialDate) -> bool:
    try:
        return answer.earliest <= answer.latest
    except (ValueError, OverflowError):
        return False


class Known:
    """What one answer set tells on one day; remembers what dozens of rules and cautions ask again.

    `answered_on` is the day of the answers, where that is not `today`: no past date is later than it.
    `derived` fixes derived values instead of working them out, which lets the linter try each.
    """

    def __init__(
        self,
        protocol: Protocol,
        answers: Answers,
        *,
        today: dt.date,
        answered_on: dt.date | None = None,
        derived: Mapping[str, int] | None = None,
    ) -> None:
        self.protocol = protocol
        self.answers = answers
        self.today = today
        self._answered_on = answered_on or today
        self._derived: dict[str, int | None] = dict(derived or {})
        self._asked: dict[str, Truth] = {BIRTH_DATE: True}
        self._fitting: dict[str, Answer | None] = {}

    def truth(self, condition: Condition) -> Truth:
        """Return whether `condition` holds, or None while that is unknown."""
        # Nearly all are comparisons, and a screening makes some hundred of them.
        if isinstance(condition, Compare):
            return self._compare(condition)
        match condition:
            case All(all=parts):
                return self._every(parts)
            case AnyOf(any=parts):
                return self._some(parts)
            case Within():
                return self._within(condition)

    def _every(self, parts: Sequence[Condition]) -> Truth:
        whole: Truth = True
        for part in parts:
            truth = self.truth(part)
            if truth is False:
                return False
            whole = whole and truth
        return whole

    def _some(self, parts: Sequence[Condition]) -> Truth:
        whole: Truth = False
        for part in parts:
            truth = self.truth(part)
            if truth is True:
                return True
            whole = None if truth is None else whole
        return whole

    def asked(self, link_id: str) -> Truth:
        """Return whether the question is asked; the birth date always is."""
        if link_id not in self._asked:
            self._asked[link_id] = None
            self._asked[link_id] = self._enabled(self.protocol.questions[link_id])
        return self._asked[link_id]

    def answer(self, link_id: str) -> Answer | None:
        """Return the answer to a question, or None when there is none that fits ("unsure" neither)."""
        if link_id not in self._fitting:
            self._fitting[link_id] = self._fitted(link_id)
        return self._fitting[link_id]

    def _fitted(self, link_id: str) -> Answer | None:
        answer = self.answers.get(link_id)
        if link_id == BIRTH_DATE:
            return answer if isinstance(answer, PartialDate) and _is_date(answer) else None
        return answer if fits(self.protocol.questions[link_id], answer) else None

    def date(self, link_id: str) -> dt.date | None:
        """Return the last day a date answer can mean, or None when it is unknown or not asked.

        A past date is never later than the day of the answer: "about this month" had happened by then.
        """
        answer = self.answer(link_id)
        if self.asked(link_id) is not True or not isinstance(answer, PartialDate):
            return None
        question = self.protocol.questions.get(link_id)
        past = question is None or question.tense == "past"
        return min(answer.latest, self._answered_on) if past else answer.latest

    def derived(self, name: str) -> int | None:
        """Return a derived value: completed years, or a banded score; None when a part is unknown."""
        if name not in self._derived:
            value = self.protocol.derived_values[name]
            age = value.kind == "age"
            self._derived[name] = self.age(value.questions[0]) if age else self._score(value)
        return self._derived[name]

    def _enabled(self, question: Question) -> Truth:
        if question.optional_rule in self.protocol.switched_off:
            return False
        return True if question.enable_when is None else self.truth(question.enable_when)

    def _within(self, condition: Within) -> Truth:
        asked = self.asked(condition.question)
        if not asked:
            return asked
        since = self.date(condition.question)
        return None if since is None else self.today < self.protocol.waits[condition.within].after(since)

    def _compare(self, condition: Compare) -> Truth:
        if condition.question in self.protocol.derived_values:
            value = self.derived(condition.question)
            return None if value is None else self._number(condition, value)
        asked = self.asked(condition.question)
        if not asked:
            return asked
        if condition.operator == "exists":
            return self._exists(condition)
        answer = self.answer(condition.question)
        if isinstance(answer, str):
            return (answer == _word(condition.answer)) is (condition.operator == "=")
        if isinstance(answer, tuple):
            return (condition.answer in answer) is (condition.operator == "=")
        return self._number(condition, answer) if isinstance(answer, int) else None

    def _exists(self, condition: Compare) -> Truth:
        if self.answers.get(condition.question) is UNSURE:
            return None
        answered = self.answer(condition.question) is not None
        return answered is (_word(condition.answer) == "yes")

    def _number(self, condition: Compare, value: int) -> Truth:
        if condition.operator == "exists":
            return _word(condition.answer) == "yes"
        constant = condition.answer
        if isinstance(constant, str):
            constant = self.protocol.limits[constant.removeprefix("@")]
        return _COMPARE[condition.operator](value, constant)

    def age(self, link_id: str) -> int | None:
        """Return the completed years since a date answer; None when unknown or still to come."""
        born = self.answer(link_id)
        if self.asked(link_id) is not True or not isinstance(born, PartialDate) or born.latest > self.today:
            return None
        return _completed_years(born.latest, self.today)

    def _score(self, value: Derived) -> int | None:
        total = 0
        for link_id in value.questions:
            score = self._points(link_id)
            if score is None:
                return None
            total += score
        return next((band.value for band in value.bands if total <= band.up_to), None)

    def _points(self, link_id: str) -> int | None:
        answer = self.answer(link_id)
        if self.asked(link_id) is not True:
            return None
        options = self.protocol.questions[link_id].options
        return next((option.score for option in options if option.id == answer), None)


def _completed_years(born: dt.date, today: dt.date) -> int:
    before_birthday = (today.month, today.day) < (born.month, born.day)
    return today.year - born.year - before_birthday


def _word(constant: str | int | bool) -> str | int:
    if isinstance(constant, bool):
        return "yes" if constant else "no"
    return constant
