"""Whether any answers at all can make a condition true: the linter's brute force.

Only the questions a condition depends on are tried, each with the few answers that can matter to
it, and the real evaluation decides. Where that would be too many combinations the search gives up
and says so, since a linter may miss a contradiction but must not invent one.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Final

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.conditions import Known, atoms
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    Compare,
    Condition,
    Derived,
    Protocol,
    Question,
    Within,
)

_DAY: Final = dt.date(2001, 6, 15)
"""Any day well inside a month: a wait counted back from it and forward again ends on it."""
_MOST: Final = 20_000


def worlds(protocol: Protocol, conditions: Sequence[Condition | None]) -> Iterator[Known] | None:
    """Return every answer set that can matter to `conditions`; None when there are too many.

    The protocol's conditions must name only what exists.
    """
    reach = _Reach(protocol, conditions)
    if math.prod(len(values) for values in reach.domains.values()) > _MOST:
        return None
    return reach.worlds()


class _Reach:
    def __init__(self, protocol: Protocol, conditions: Sequence[Condition | None]) -> None:
        self.protocol = protocol
        self._derived = {value.id: value for value in protocol.derived}
        found = self._closure(conditions)
        self.domains: dict[str, Sequence[Answer | int | None]] = {
            name: self._domain(name, mentions) for name, mentions in found.items()
        }

    def worlds(self) -> Iterator[Known]:
        for values in product(*self.domains.values()):
            world = dict(zip(self.domains, values, strict=True))
            answers = {
                name: value
                for name, value in world.items()
                if name not in self._derived and value is not None
            }
            fixed = {
                name: value
                for name, value in world.items()
                if name in self._derived and isinstance(value, int)
            }
            known = Known(self.protocol, answers, today=_DAY, derived=fixed)
            if all(self._offered(name, answer, known) for name, answer in answers.items()):
                yield known

    def _closure(self, conditions: Sequence[Condition | None]) -> dict[str, list[Compare | Within]]:
        """Return each name that `conditions` depend on, with the comparisons made with it."""
        found: dict[str, list[Compare | Within]] = {}
        todo = list(conditions)
        while todo:
            for atom in atoms(todo.pop()):
                fresh = atom.question not in found
                mentions = found.setdefault(atom.question, [])
                if atom not in mentions:
                    mentions.append(atom)
                question = self.protocol.questions.get(atom.question)
                if fresh and question:
                    todo.append(question.enable_when)
                    todo += [option.enable_when for option in question.options]
        return found

    def _domain(self, name: str, mentions: Sequence[Compare | Within]) -> Sequence[Answer | int | None]:
        if name in self._derived:
            return _values(self._derived[name], mentions, self.protocol.limits)
        blank: list[Answer | None] = [None] if any(_is_exists(atom) for atom in mentions) else []
        question = self.protocol.questions.get(name)
        return [*_candidates(question, name, mentions, self.protocol), *blank]

    def _offered(self, name: str, answer: Answer, known: Known) -> bool:
        question = self.protocol.questions.get(name)
        if question is None:
            return True
        chosen = answer if isinstance(answer, tuple) else (answer,)
        return all(
            known.truth(option.enable_when) is not False
            for option in question.options
            if option.id in chosen and option.enable_when
        )


def _is_exists(atom: Compare | Within) -> bool:
    return isinstance(atom, Compare) and atom.operator == "exists"


def _constants(mentions: Sequence[Compare | Within], limits: Mapping[str, int]) -> set[int]:
    found = set()
    for atom in mentions:
        if isinstance(atom, Compare):
            constant = atom.answer
            found.add(limits[constant.removeprefix("@")] if isinstance(constant, str) else int(constant))
    return found


def _around(constants: set[int], low: int | None, high: int | None) -> list[int]:
    near = {constant + step for constant in constants for step in (-1, 0, 1)}
    bounds = {bound for bound in (low, high) if bound is not None}
    within = (low if low is not None else -math.inf, high if high is not None else math.inf)
    return sorted(value for value in near | bounds if within[0] <= value <= within[1]) or [0]


def _values(value: Derived, mentions: Sequence[Compare | Within], limits: Mapping[str, int]) -> list[int]:
    if value.kind == "score":
        return [band.value for band in value.bands]
    mentions = [atom for atom in mentions if not _is_exists(atom)]
    return _around(_constants(mentions, limits), 0, None)


def _candidates(
    question: Question | None, name: str, mentions: Sequence[Compare | Within], protocol: Protocol
) -> Sequence[Answer]:
    if question is None or question.type == "date" or name == BIRTH_DATE:
        waits = {protocol.waits[atom.within] for atom in mentions if isinstance(atom, Within)}
        running = {wait.before(_DAY) + dt.timedelta(days=step) for wait in waits for step in (0, 1)}
        return [PartialDate.of(date) for date in sorted({_DAY, *running})]
    match question.type:
        case "yes-no":
            return ["yes", "no"]
        case "number":
            compared = [atom for atom in mentions if not _is_exists(atom)]
            return _around(_constants(compared, protocol.limits), question.minimum, question.maximum)
        case "choice":
            return _options(question, mentions)
        case "choices":
            return _subsets(question, mentions)
        case _:
            return ["text"]


def _options(question: Question, mentions: Sequence[Compare | Within]) -> list[str]:
    """Return the options that matter: those compared with, and every one that is not always offered."""
    named = {atom.answer for atom in mentions if isinstance(atom, Compare)}
    matter = [option.id for option in question.options if option.id in named]
    other = [option for option in question.options if option.id not in named]
    free = next((option.id for option in other if option.enable_when is None), None)
    return matter + ([free] if free else [option.id for option in other])


def _subsets(question: Question, mentions: Sequence[Compare | Within]) -> list[tuple[str, ...]]:
    matter = _options(question, mentions)
    exclusive = {option.id for option in question.options if option.exclusive}
    alone = [(option,) for option in matter if option in exclusive]
    shared = [option for option in matter if option not in exclusive]
    return alone + [chosen for size in range(1, len(shared) + 1) for chosen in combinations(shared, size)]
