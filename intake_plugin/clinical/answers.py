"""What a patient answered, as values that mean the same everywhere.

An answer set maps link ids to answers; a question without an entry is unanswered. The forms of
an answer are few, so that they survive JSON, encryption and a change of protocol version:

- `str`              yes-no ("yes", "no"), a choice, or free text
- `tuple[str, ...]`  several choices, in the order of the question's options
- `int`              a number
- `PartialDate`      a date, or a month ("about March 2026")
- `UNSURE`           "I'm not sure": an answer to the patient, unanswered to a rule
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class Unsure(Enum):
    """The type of `UNSURE`."""

    UNSURE = "unsure"


UNSURE: Final = Unsure.UNSURE


@dataclass(frozen=True, slots=True, order=True)
class PartialDate:
    """A calendar date, or only its month when `day` is None."""

    year: int
    month: int
    day: int | None = None

    @classmethod
    def of(cls, date: dt.date) -> PartialDate:
        """Return `date` as an exact answer."""
        return cls(date.year, date.month, date.day)

    @property
    def earliest(self) -> dt.date:
        """The first day this answer can mean."""
        return dt.date(self.year, self.month, self.day or 1)

    @property
    def latest(self) -> dt.date:
        """The last day this answer can mean: the careful reading of "about March 2026"."""
        last = calendar.monthrange(self.year, self.month)[1]
        return dt.date(self.year, self.month, self.day or last)

    def __str__(self) -> str:
        day = "" if self.day is None else f"-{self.day:02}"
        return f"{self.year:04}-{self.month:02}{day}"


Answer = str | tuple[str, ...] | int | PartialDate | Unsure
Answers = Mapping[str, Answer]


def to_json(answers: Answers) -> dict[str, Any]:
    """Return `answers` in plain JSON types, each tagged by its form."""
    return {link_id: _encode(answer) for link_id, answer in answers.items()}


def from_json(stored: Mapping[str, Any]) -> dict[str, Answer]:
    """Return the answers that `to_json` wrote."""
    return {link_id: _decode(value) for link_id, value in stored.items()}


def _encode(answer: Answer) -> Any:
    match answer:
        case Unsure():
            return {"unsure": True}
        case PartialDate():
            return {"date": str(answer)}
        case tuple():
            return list(answer)
        case _:
            return answer


def _decode(value: Any) -> Answer:
    match value:
        case {"unsure": True}:
            return UNSURE
        case {"date": str(text)}:
            return PartialDate(*(int(part) for part in text.split("-")))
        case list():
            return tuple(str(item) for item in value)
        case bool() | None:
            raise ValueError(f"{value!r} is not a stored answer.")
        case str() | int():
            return value
        case _:
            raise ValueError(f"{value!r} is not a stored answer.")
