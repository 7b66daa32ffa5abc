"""On which dates the screening of an answer set can change, although no answer does.

Time alone changes a screening in three ways: a wait runs out, a condition on a running wait ends,
a birthday is reached. Between two such dates every day has the same findings, so that a year of
dates costs a handful of screenings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.conditions import Known, atoms
from intake_plugin.clinical.protocol import BIRTH_DATE, Compare, Condition, Protocol, Within


def turning_dates(protocol: Protocol, answers: Answers, *, answered_on: dt.date) -> tuple[dt.date, ...]:
    """Return, sorted, every date from which on the findings may differ from those of the day before."""
    known = Known(protocol, answers, today=answered_on)
    return tuple(sorted({*_waits(known), *_birthdays(known)}))


def _waits(known: Known) -> Iterator[dt.date]:
    protocol = known.protocol
    named = {(rule.since, rule.wait) for rule in protocol.rules if rule.since and rule.wait}
    named |= {(atom.question, atom.within) for atom in _atoms(protocol) if isinstance(atom, Within)}
    for question, wait in named:
        since = known.date(question) if question else None
        if since is not None and wait is not None:
            yield protocol.waits[wait].after(since)


def _birthdays(known: Known) -> Iterator[dt.date]:
    protocol = known.protocol
    born = {value.id: known.date(value.questions[0]) for value in protocol.derived if value.kind == "age"}
    ages = {
        (born[atom.question], _number(atom, protocol))
        for atom in _atoms(protocol)
        if isinstance(atom, Compare) and atom.question in born
    }
    ages |= {(known.date(BIRTH_DATE), product.age_min) for product in protocol.numbing.products}
    for date, age in ages:
        if date is not None and age is not None and date.year + age < dt.MAXYEAR:
            # "Older than" turns a year after "at least".
            yield from (_birthday(date, age), _birthday(date, age + 1))


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


def _atoms(protocol: Protocol) -> Iterator[Compare | Within]:
    for condition in _conditions(protocol):
        yield from atoms(condition)


def _conditions(protocol: Protocol) -> Iterator[Condition | None]:
    yield from (rule.when for rule in protocol.rules)
    yield from (caution.when for caution in protocol.numbing.cautions)
    for question in protocol.questions.values():
        yield question.enable_when
        yield from (option.enable_when for option in question.options)
