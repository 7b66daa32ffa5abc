"""On which dates the screening of an answer set can change, although no answer does.

Time alone changes a screening in three ways: a wait runs out, a condition on a running wait ends,
a birthday is reached. Between two such dates every day has the same findings, so that a year of
dates costs a handful of screenings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TypeVar

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.conditions import Known, atoms
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    Compare,
    Condition,
    Protocol,
    Within,
    once_per_protocol,
)

AtomT = TypeVar("AtomT", Compare, Within)


def turning_dates(protocol: Protocol, answers: Answers, *, answered_on: dt.date) -> tuple[dt.date, ...]:
    """Return, sorted, every date from which on the findings may differ from those of the day before."""
    known = Known(protocol, answers, today=answered_on)
    return tuple(sorted({*_waits(known), *_birthdays(known)}))


def _waits(known: Known) -> Iterator[dt.date]:
    for question, wait in _dated(known.protocol):
        since = known.date(question)
        if since is not None:
            yield known.protocol.waits[wait].after(since)


@once_per_protocol
def _dated(protocol: Protocol) -> frozenset[tuple[str, str]]:
    """Return every date question that a wait counts from, with the wait."""
    rules = {(rule.since, rule.wait) for rule in protocol.rules if rule.since and rule.wait}
    return frozenset(rules | {(atom.question, atom.within) for atom in _atoms(protocol, Within)})


def _birthdays(known: Known) -> Iterator[dt.date]:
    for question, age in _ages(known.protocol):
        date = known.date(question)
        if date is not None and date.year + age < dt.MAXYEAR:
            # "Older than" turns a year after "at least".
            yield from (_birthday(date, age), _birthday(date, age + 1))


@once_per_protocol
def _ages(protocol: Protocol) -> frozenset[tuple[str, int]]:
    """Return every date question that an age is counted from, with each age that something depends on."""
    born = {value.id: value.questions[0] for value in protocol.derived if value.kind == "age"}
    named = {
        (born[atom.question], _number(atom, protocol))
        for atom in _atoms(protocol, Compare)
        if atom.question in born
    }
    named |= {(BIRTH_DATE, product.age_min) for product in protocol.numbing.products}
    return frozenset((question, age) for question, age in named if age is not None)


def _number(atom: Compare, protocol: Protocol) -> int | None:
    if isinstance(atom.answer, str):
        return protocol.limits.get(atom.answer.removeprefix("@"))
    return int(atom.answer)


def _birthday(born: dt.date, age: int) -> dt.date:
    """Return the day on which an age is completed: 1 March, where a 29 February has none."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return dt.date(born.year + age, 3, 1)


def _atoms(protocol: Protocol, kind: type[AtomT]) -> Iterator[AtomT]:
    for condition in _conditions(protocol):
        yield from (atom for atom in atoms(condition) if isinstance(atom, kind))


def _conditions(protocol: Protocol) -> Iterator[Condition | None]:
    yield from (rule.when for rule in protocol.rules)
    yield from (caution.when for caution in protocol.numbing.cautions)
    for question in protocol.questions.values():
        yield question.enable_when
        yield from (option.enable_when for option in question.options)
