"""Which questions stand on which page, and which of them are asked.

A section is one page of questions; a follow-up never appears in place but on a further page of
its section, after the page with the answers it depends on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from intake_plugin.clinical.answers import UNSURE, Answer, Answers
from intake_plugin.clinical.conditions import Known, names
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    Option,
    Protocol,
    Question,
    Section,
    once_per_protocol,
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a section: `skin`, then `skin-2`, `skin-3`; `number` counts within the section from 1."""

    key: str
    section: str
    number: int
    questions: tuple[Question, ...]


@once_per_protocol
def pages(protocol: Protocol) -> tuple[Page, ...]:
    """Return every page of the protocol, in order, whatever has been answered."""
    return tuple(page for section in protocol.sections for page in _section_pages(protocol, section))


def _section_pages(protocol: Protocol, section: Section) -> Iterator[Page]:
    own = [question.link_id for question in section.questions]
    needs = {link_id: depends_on(protocol, link_id) for link_id in own}
    depths = {link_id: _depth(link_id, needs) for link_id in own}
    for number, depth in enumerate(sorted(set(depths.values())), start=1):
        questions = tuple(question for question in section.questions if depths[question.link_id] == depth)
        key = section.id if number == 1 else f"{section.id}-{number}"
        yield Page(key, section.id, number, questions)


def _depth(link_id: str, needs: Mapping[str, Collection[str]]) -> int:
    """Return the length of the longest chain of dependencies within the section, without circles."""
    below = [other for other in needs[link_id] if other in needs and link_id not in needs[other]]
    return 1 + max(_depth(other, needs) for other in below) if below else 0


def depends_on(protocol: Protocol, link_id: str) -> frozenset[str]:
    """Return every question that decides, directly or through others, whether and how one is asked.

    Derived values count as the questions they are worked out from. A question that depends on
    itself, which the linter refuses, is among its own dependencies.
    """
    parts = {value.id: value.questions for value in protocol.derived}
    found: set[str] = set()
    todo = [link_id]
    while todo:
        question = protocol.questions.get(todo.pop())
        if question is None:
            continue
        conditions = [question.enable_when, *(option.enable_when for option in question.options)]
        named = {name for condition in conditions for name in names(condition)}
        fresh = {part for name in named for part in parts.get(name, (name,))} - found
        found |= fresh
        todo += fresh
    return frozenset(found)


def asked(
    questions: Page | Sequence[Question], protocol: Protocol, answers: Answers, *, today: dt.date
) -> tuple[Question, ...]:
    """Return the questions that are certainly asked."""
    listed = questions.questions if isinstance(questions, Page) else questions
    return _asked(listed, Known(protocol, answers, today=today))


def _asked(questions: Sequence[Question], known: Known) -> tuple[Question, ...]:
    return tuple(question for question in questions if known.asked(question.link_id) is True)


def options_of(
    question: Question,
    protocol: Protocol,
    answers: Answers,
    *,
    today: dt.date,
    offers: Collection[str] = (),
) -> tuple[Option, ...]:
    """Return the options to show; `offers` are the optional ones this clinic provides."""
    return _options(question, Known(protocol, answers, today=today), offers)


def _options(question: Question, known: Known, offers: Collection[str]) -> tuple[Option, ...]:
    return tuple(
        option
        for option in question.options
        if (not option.optional or option.id in offers)
        and (option.enable_when is None or known.truth(option.enable_when) is True)
    )


def walk(
    protocol: Protocol, answers: Answers, *, today: dt.date
) -> tuple[tuple[Page, tuple[Question, ...]], ...]:
    """Return each page that has something to ask, with the questions asked on it."""
    known = Known(protocol, answers, today=today)
    steps = ((page, _asked(page.questions, known)) for page in pages(protocol))
    return tuple((page, questions) for page, questions in steps if questions)


def first_unanswered(protocol: Protocol, answers: Answers, *, today: dt.date) -> Page | None:
    """Return the first page with a required question left open, or None; "not sure" is an answer here."""
    known = Known(protocol, answers, today=today)
    for page in pages(protocol):
        if any(unanswered(question, known) for question in page.questions):
            return page
    return None


def outdated(protocol: Protocol, before: Answers, after: Answers, *, today: dt.date) -> frozenset[str]:
    """Return the questions whose answers no longer stand once `before` has become `after`.

    They are those that were given about something else (the area, say), and those that now show an
    option they did not show when they were answered.
    """
    earlier, later = Known(protocol, before, today=today), Known(protocol, after, today=today)
    return frozenset(
        link_id
        for link_id, question in protocol.questions.items()
        if any(before.get(subject) != after.get(subject) for subject in question.depends)
        or set(_options(question, later, ())) - set(_options(question, earlier, ()))
    )


def unanswered(question: Question, known: Known) -> bool:
    """Return whether a question is asked, has to be answered, and has no answer, not even "not sure"."""
    link_id = question.link_id
    if not question.required or known.asked(link_id) is not True:
        return False
    return known.answers.get(link_id) is not UNSURE and known.answer(link_id) is None


def prune(
    protocol: Protocol, answers: Answers, *, today: dt.date, offers: Collection[str] = ()
) -> tuple[dict[str, Answer], tuple[str, ...]]:
    """Return the answers that still count, and what was dropped.

    Dropped are answers to questions no longer asked or unknown, as their link id, and choices no
    longer offered, as `link_id` or, where others of the same question stay, `link_id.option`.
    Dropping one answer can close further questions, so it repeats until nothing changes.
    """
    kept = dict(answers)
    dropped: list[str] = []
    for _ in range(len(answers) + 1):
        gone = list(_gone(protocol, kept, today, offers))
        if not gone:
            break
        dropped += gone
        for item in gone:
            _drop(kept, item)
    return kept, tuple(dropped)


def _gone(protocol: Protocol, answers: Answers, today: dt.date, offers: Collection[str]) -> Iterator[str]:
    known = Known(protocol, answers, today=today)
    for link_id, answer in answers.items():
        question = protocol.questions.get(link_id)
        if link_id == BIRTH_DATE:
            continue
        if question is None or known.asked(link_id) is not True:
            yield link_id
        elif question.type in {"choice", "choices"}:
            yield from _not_offered(
                question, answer, {option.id for option in _options(question, known, offers)}
            )


def _not_offered(question: Question, answer: Answer, offered: Collection[str]) -> Iterator[str]:
    match answer:
        case str() if answer not in offered:
            yield question.link_id
        case tuple():
            lost = [item for item in answer if item not in offered]
            if len(lost) == len(answer):
                yield question.link_id
            else:
                yield from (f"{question.link_id}.{item}" for item in lost)
        case _:
            return


def _drop(answers: dict[str, Answer], item: str) -> None:
    if item in answers:
        del answers[item]
        return
    link_id, _, option = item.partition(".")
    chosen = answers[link_id]
    if isinstance(chosen, tuple):
        answers[link_id] = tuple(choice for choice in chosen if choice != option)
