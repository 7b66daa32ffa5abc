"""A clinic's own version of a protocol, and the fingerprint that its approval names."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar

from intake_plugin.clinical.conditions import atoms
from intake_plugin.clinical.course import length
from intake_plugin.clinical.protocol import (
    WINDOW,
    All,
    AnyOf,
    Compare,
    Condition,
    ConsentDocument,
    ConsentText,
    Course,
    Interval,
    NumbingProduct,
    Option,
    Protocol,
    Question,
    QuestionText,
    Rule,
    Spread,
    Texts,
    Wait,
    Within,
)
from intake_plugin.clinical.screening import GENERAL_TEXTS

T = TypeVar("T")

_NEVER: Final = AnyOf(any=())


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseChange:
    """A clinic's own sessions or interval for a course; None keeps the protocol's."""

    sessions: Spread | None = None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductChange:
    """A clinic's own limits for a numbing product; None keeps the protocol's."""

    contact_min: dt.timedelta | None = None
    contact_max: dt.timedelta | None = None
    area_max_cm2: int | None = None
    age_min: int | None = None


def effective(
    protocol: Protocol,
    *,
    waits: Mapping[str, Wait] | None = None,
    limits: Mapping[str, int] | None = None,
    rules_on: Collection[str] = (),
    rules_off: Collection[str] = (),
    offers: Collection[str] = (),
    languages: Collection[str] | None = None,
    courses: Mapping[str, CourseChange] | None = None,
    products: Mapping[str, ProductChange] | None = None,
) -> Protocol:
    """Return `protocol` as one clinic runs it: with its waits and limits, and without what it leaves out.

    Left out are rules that are off, questions asked only for such a rule, optional options not in
    `offers`, everything that could then never apply, waits and limits that nothing uses any more,
    and languages not in `languages` (None keeps all). Ids that the protocol does not know are the
    caller's to refuse. What a question says of a span of time (`{window}`) is filled in.
    """
    numbing = protocol.numbing
    changed = replace(
        protocol,
        waits={**protocol.waits, **(waits or {})},
        limits={**protocol.limits, **(limits or {})},
        rules=tuple(_switched(protocol.rules, rules_on, rules_off)),
        courses=tuple(_changed_course(course, (courses or {}).get(course.id)) for course in protocol.courses),
        numbing=replace(
            numbing,
            products=tuple(
                _changed_product(item, (products or {}).get(item.id)) for item in numbing.products
            ),
        ),
        texts={
            language: texts
            for language, texts in protocol.texts.items()
            if languages is None or language in languages
        },
    )
    return _unwindowed(_spoken(_used(_Pruner(changed, offers).prune())))


def fingerprint(protocol: Protocol, *extra: object) -> str:
    """Return the SHA-256 of the whole of `protocol`, words included, as hexadecimal digits.

    `extra` are further frozen dataclasses that the approval covers, such as the clinic's numbing
    policy. The order of tables and fields at their default do not count, so that a new optional
    field of a later release does not undo an approval.
    """
    canonical = json.dumps(
        [_canonical(part) for part in (protocol, *extra)],
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    match value:
        case Wait():
            return str(value)
        case Enum():
            return value.value
        case dt.timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: _canonical(item) for key, item in value.items()}
        case tuple():
            return [_canonical(item) for item in value]
        case _ if is_dataclass(value):
            pairs = [(field, getattr(value, field.name)) for field in fields(value)]
            return {field.name: _canonical(item) for field, item in pairs if not _is_default(field, item)}
        case _:
            return value


def _is_default(field: Field[Any], value: Any) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return bool(field.default is not MISSING and value == field.default)


def _switched(rules: Collection[Rule], on: Collection[str], off: Collection[str]) -> Iterator[Rule]:
    for rule in rules:
        if (rule.active or rule.id in on) and rule.id not in off:
            yield replace(rule, active=True)


def _changed_course(course: Course, change: CourseChange | None) -> Course:
    if change is None:
        return course
    return replace(
        course,
        sessions=change.sessions or course.sessions,
        interval=change.interval or course.interval,
    )


def _changed_product(product: NumbingProduct, change: ProductChange | None) -> NumbingProduct:
    if change is None:
        return product
    given = {field.name: getattr(change, field.name) for field in fields(change)}
    return replace(product, **{name: value for name, value in given.items() if value is not None})


class _Pruner:
    """Leaves out questions and options that cannot be had, and what could only follow from them."""

    def __init__(self, protocol: Protocol, offers: Collection[str]) -> None:
        self.protocol = protocol
        rules = {rule.id for rule in protocol.rules}
        self.questions = {
            question.link_id
            for question in protocol.questions.values()
            if question.optional_rule is not None and question.optional_rule not in rules
        }
        self.options = {
            (question.link_id, option.id)
            for question in protocol.questions.values()
            for option in question.options
            if option.optional and option.id not in offers
        }

    def prune(self) -> Protocol:
        while self._spread():
            pass
        protocol = self.protocol
        kept = {
            link_id: self._kept(question)
            for link_id, question in protocol.questions.items()
            if link_id not in self.questions
        }
        sections = (
            replace(
                section,
                questions=tuple(kept[item.link_id] for item in section.questions if item.link_id in kept),
            )
            for section in protocol.sections
        )
        courses = self._left(protocol.course_question)
        areas = self._left(protocol.area_question)
        return replace(
            protocol,
            sections=tuple(section for section in sections if section.questions),
            rules=self._possible(protocol.rules),
            courses=tuple(course for course in protocol.courses if course.id not in courses),
            areas=tuple(area for area in protocol.areas if area.id not in areas),
            numbing=replace(protocol.numbing, cautions=self._possible(protocol.numbing.cautions)),
            care=self._possible(protocol.care),
            consent=tuple(self._document(document) for document in self._possible(protocol.consent)),
        )

    def _spread(self) -> bool:
        """Leave out what the last round made impossible; return whether there was any."""
        before = len(self.questions) + len(self.options)
        for question in self.protocol.questions.values():
            self.options |= {
                (question.link_id, option.id)
                for option in question.options
                if self._reduced(option.enable_when) == _NEVER
            }
            if self._reduced(question.enable_when) == _NEVER or self._pointless(question):
                self.questions.add(question.link_id)
        return len(self.questions) + len(self.options) > before

    def _pointless(self, question: Question) -> bool:
        """Return whether options were lost and none but "none of these" is left."""
        left = self._options(question)
        return len(left) < len(question.options) and all(option.exclusive for option in left)

    def _options(self, question: Question) -> list[Option]:
        return [option for option in question.options if (question.link_id, option.id) not in self.options]

    def _left(self, link_id: str) -> set[str]:
        return {option for question, option in self.options if question == link_id}

    def _kept(self, question: Question) -> Question:
        options = tuple(
            replace(option, optional=False, enable_when=self._reduced(option.enable_when))
            for option in self._options(question)
        )
        return replace(
            question, options=options, enable_when=self._reduced(question.enable_when), optional_rule=None
        )

    def _document(self, document: ConsentDocument) -> ConsentDocument:
        return replace(document, elements=self._possible(document.elements))

    def _possible(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        reduced = (replace(item, when=self._reduced(item.when)) for item in items)
        return tuple(item for item in reduced if item.when != _NEVER)

    def _reduced(self, condition: Condition | None) -> Condition | None:
        match condition:
            case Compare() | Within() if condition.question in self.questions:
                return _NEVER
            case Compare() if (condition.question, condition.answer) in self.options:
                return (
                    _NEVER
                    if condition.operator == "="
                    else replace(condition, operator="exists", answer="yes")
                )
            case All(all=parts):
                left = [self._reduced(part) for part in parts]
                return _NEVER if _NEVER in left else All(all=tuple(part for part in left if part))
            case AnyOf(any=parts):
                left = [self._reduced(part) for part in parts]
                return AnyOf(any=tuple(part for part in left if part and part != _NEVER))
            case _:
                return condition


def _used(protocol: Protocol) -> Protocol:
    conditions: list[Condition | None] = [
        *(question.enable_when for question in protocol.questions.values()),
        *(option.enable_when for question in protocol.questions.values() for option in question.options),
        *(rule.when for rule in protocol.rules),
        *(caution.when for caution in protocol.numbing.cautions),
        *(step.when for step in protocol.care),
        *(document.when for document in protocol.consent),
        *(element.when for document in protocol.consent for element in document.elements),
    ]
    found = [atom for condition in conditions for atom in atoms(condition)]
    waits = {rule.wait for rule in protocol.rules} | {step.wait for step in protocol.care}
    waits |= {atom.within for atom in found if isinstance(atom, Within)}
    limits = {atom.answer for atom in found if isinstance(atom, Compare)}
    return replace(
        protocol,
        waits={name: wait for name, wait in protocol.waits.items() if name in waits},
        limits={name: limit for name, limit in protocol.limits.items() if f"@{name}" in limits},
    )


def _spoken(protocol: Protocol) -> Protocol:
    return replace(
        protocol,
        texts={language: _words(protocol, texts) for language, texts in protocol.texts.items()},
    )


def _words(protocol: Protocol, texts: Texts) -> Texts:
    rules = [*(rule.id for rule in protocol.rules), *GENERAL_TEXTS]
    return replace(
        texts,
        sections=_only(texts.sections, [section.id for section in protocol.sections]),
        questions={
            link_id: _question_words(protocol.questions[link_id], words, _window(protocol, texts, link_id))
            for link_id, words in texts.questions.items()
            if link_id in protocol.questions
        },
        rules=_only(texts.rules, rules),
        cautions=_only(texts.cautions, [caution.id for caution in protocol.numbing.cautions]),
        care=_only(texts.care, [step.id for step in protocol.care]),
        consent={
            document.id: _consent_words(document, texts.consent[document.id])
            for document in protocol.consent
            if document.id in texts.consent
        },
    )


def _window(protocol: Protocol, texts: Texts, link_id: str) -> str:
    """Return in words how far back a question asks: never less far than a wait that is counted from it."""
    window = protocol.questions[link_id].window
    if window is None:
        return ""
    spans = [window.least, *(protocol.waits[name] for name in window.waits if name in protocol.waits)]
    return texts.length(max(spans, key=length), in_years=False)


def _question_words(question: Question, words: QuestionText, window: str) -> QuestionText:
    if window:
        words = QuestionText(
            text=words.text.replace(WINDOW, window),
            missing=words.missing.replace(WINDOW, window),
            hint=words.hint.replace(WINDOW, window),
            short=words.short.replace(WINDOW, window),
            options={name: label.replace(WINDOW, window) for name, label in words.options.items()},
        )
    return replace(words, options=_only(words.options, [option.id for option in question.options]))


def _unwindowed(protocol: Protocol) -> Protocol:
    sections = (
        replace(section, questions=tuple(replace(question, window=None) for question in section.questions))
        for section in protocol.sections
    )
    return replace(protocol, sections=tuple(sections))


def _consent_words(document: ConsentDocument, words: ConsentText) -> ConsentText:
    return replace(words, elements=_only(words.elements, [element.id for element in document.elements]))


def _only(table: Mapping[str, T], ids: Collection[str]) -> dict[str, T]:
    return {name: entry for name, entry in table.items() if name in ids}
