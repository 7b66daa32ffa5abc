"""Refuse a protocol that could mislead: every problem at once, each with its place.

The checks follow the file from top to bottom, then the words of each language, then what no
answer can reach.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Final

from intake_plugin.clinical.care import starts
from intake_plugin.clinical.conditions import Known, atoms
from intake_plugin.clinical.consent import CONSENT_FACTS, placeholders
from intake_plugin.clinical.course import length
from intake_plugin.clinical.protocol import (
    BIRTH_DATE,
    WINDOW,
    All,
    AnyOf,
    CareStep,
    Caution,
    Compare,
    Condition,
    ConsentText,
    Course,
    CourseLimits,
    Derived,
    NumbingProduct,
    Outcome,
    Protocol,
    Question,
    QuestionText,
    Rule,
    Source,
    Texts,
    Wait,
    Within,
)
from intake_plugin.clinical.questionnaire import pages
from intake_plugin.clinical.reach import worlds
from intake_plugin.clinical.screening import GENERAL_TEXTS, NUMBING
from intake_plugin.errors import Problem, did_you_mean

Found = Iterator[tuple[str, str]]
"""Place within the file, and what is wrong there."""

_LINK_ID: Final = re.compile(r"[a-z][a-z0-9_]*")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EQUALS: Final = ("=", "!=")
_NO_TIME: Final = dt.timedelta()
_DATED: Final = frozenset({Outcome.STOP, Outcome.REVIEW, Outcome.DEFER})


def lint(protocol: Protocol) -> tuple[Problem, ...]:
    """Return every problem of `protocol`; an empty tuple means that it can be used."""
    main = f"{protocol.id}.toml"
    found = [Problem(f"{main}: {place}", what) for check in _CHECKS for place, what in check(protocol)]
    if not protocol.texts:
        found.append(Problem(main, f"There is no language; put {protocol.id}.en.toml beside it."))
    for language, texts in protocol.texts.items():
        file = f"{protocol.id}.{language}.toml"
        found += [Problem(f"{file}: {place}", what) for place, what in _words(protocol, texts)]
    if not any(problem.where.startswith(f"{main}: ") for problem in found):
        found += [Problem(f"{main}: {place}", what) for place, what in _unreachable(protocol)]
    return tuple(dict.fromkeys(found))


def _ids(protocol: Protocol) -> Found:
    named = [*protocol.questions, *(value.id for value in protocol.derived)]
    listed = [question.link_id for section in protocol.sections for question in section.questions]
    kinds: list[tuple[str, Iterable[str], re.Pattern[str]]] = [
        ("questions", [*listed, *(value.id for value in protocol.derived)], _LINK_ID),
        ("sections", [section.id for section in protocol.sections], _ID),
        ("rules", [rule.id for rule in protocol.rules], _ID),
        ("courses", [course.id for course in protocol.courses], _ID),
        ("areas", [area.id for area in protocol.areas], _ID),
        ("numbing.products", [product.id for product in protocol.numbing.products], _ID),
        ("numbing.cautions", [caution.id for caution in protocol.numbing.cautions], _ID),
        ("timeline.steps", [step.id for step in protocol.timeline.steps], _ID),
        ("care", [step.id for step in protocol.care], _ID),
        ("consent", [document.id for document in protocol.consent], _ID),
    ]
    kinds += [
        (f"consent.{document.id}.elements", [element.id for element in document.elements], _ID)
        for document in protocol.consent
    ]
    kinds += [
        (f"questions.{question.link_id}.options", [option.id for option in question.options], _ID)
        for question in protocol.questions.values()
    ]
    for kind, ids, pattern in kinds:
        yield from _id_list(kind, ids, pattern)
    if BIRTH_DATE in named:
        yield f"questions.{BIRTH_DATE}", "The date of birth is asked in every protocol; do not ask it again."
    for reserved in {NUMBING, *GENERAL_TEXTS} & {rule.id for rule in protocol.rules}:
        yield f"rules.{reserved}", "This id is kept for a finding of the engine; choose another."
    yield from _id_list("pages", [page.key for page in pages(protocol)], _ID)


def _id_list(kind: str, ids: Iterable[str], pattern: re.Pattern[str]) -> Found:
    for name, count in Counter(ids).items():
        if count > 1:
            yield f"{kind}.{name}", f"{count} entries have the id {name!r}; an id names one thing."
        if not pattern.fullmatch(name):
            small = pattern is _LINK_ID
            letters = "small letters, digits and '_'" if small else "letters, digits, '_' and '-'"
            yield f"{kind}.{name}", f"The id {name!r} may hold only {letters}."


def _sources(protocol: Protocol) -> Found:
    cited: list[tuple[str, Sequence[Source], bool]] = [
        *((f"rules.{rule.id}", rule.sources, True) for rule in protocol.rules),
        *((f"derived.{value.id}", value.sources, value.kind == "score") for value in protocol.derived),
        ("course_limits", protocol.course_limits.sources, True),
        *((f"courses.{course.id}", course.sources, True) for course in protocol.courses),
        *((f"areas.{area.id}", area.sources, False) for area in protocol.areas),
        ("numbing", protocol.numbing.sources, False),
        *((f"numbing.products.{item.id}", item.sources, True) for item in protocol.numbing.products),
        *((f"numbing.cautions.{item.id}", item.sources, True) for item in protocol.numbing.cautions),
        ("timeline", protocol.timeline.sources, True),
        *((f"timeline.steps.{step.id}", step.sources, False) for step in protocol.timeline.steps),
        *((f"care.{step.id}", step.sources, True) for step in protocol.care),
        *(
            (f"consent.{document.id}.elements.{element.id}", element.sources, False)
            for document in protocol.consent
            for element in document.elements
        ),
    ]
    for place, sources, needed in cited:
        if needed and not sources:
            yield f"{place}.sources", "There is no source; name where this comes from and its grade."
        for source in sources:
            if source.ref not in protocol.references:
                hint = did_you_mean(source.ref, protocol.references)
                yield f"{place}.sources", f"There is no reference {source.ref!r}.{hint}"


def _questions(protocol: Protocol) -> Found:
    rules = {rule.id for rule in protocol.rules}
    for question in protocol.questions.values():
        place = f"questions.{question.link_id}"
        for what in _question_slips(question):
            yield place, what
        if question.optional_rule is not None and question.optional_rule not in rules:
            hint = did_you_mean(question.optional_rule, rules)
            yield f"{place}.optional_rule", f"There is no rule {question.optional_rule!r}.{hint}"
    for section in protocol.sections:
        if not section.questions:
            yield f"sections.{section.id}", "The section has no question."


def _question_slips(question: Question) -> Iterator[str]:
    choosing = question.type in {"choice", "choices"}
    if choosing and not question.options:
        yield f"A question of type {question.type!r} needs options."
    if not choosing and question.options:
        yield f"A question of type {question.type!r} has no options; make it 'choice' or 'choices'."
    if question.type != "choices" and any(option.exclusive for option in question.options):
        yield "Only several choices can have an exclusive option; make it 'choices'."
    if question.unsure and any(option.id == "unsure" for option in question.options):
        yield "The question offers \"I'm not sure\" twice: drop the option 'unsure'."
    if question.type != "number" and (question.minimum, question.maximum) != (None, None):
        yield "Only a number has a minimum and a maximum."
    if question.minimum is not None and question.maximum is not None and question.minimum > question.maximum:
        yield f"The minimum {question.minimum} is above the maximum {question.maximum}."
    if question.type != "date" and (question.precision, question.tense) != ("day", "past"):
        yield "Only a date has a precision and a tense."
    if question.type != "text" and question.max_length is not None:
        yield "Only text has a greatest length."


def _derived(protocol: Protocol) -> Found:
    for value in protocol.derived:
        place = f"derived.{value.id}"
        unknown = [name for name in value.questions if name not in {*protocol.questions, BIRTH_DATE}]
        for name in unknown:
            hint = did_you_mean(name, protocol.questions)
            yield f"{place}.questions", f"There is no question {name!r}.{hint}"
        if unknown:
            continue
        slips = _age_slips(value, protocol) if value.kind == "age" else _score_slips(value, protocol)
        for what in slips:
            yield place, what


def _age_slips(value: Derived, protocol: Protocol) -> Iterator[str]:
    if len(value.questions) != 1 or not _is_date(value.questions[0], protocol):
        yield "An age is counted from exactly one date question."
    if value.bands:
        yield "An age has no bands; only a score has."


def _score_slips(value: Derived, protocol: Protocol) -> Iterator[str]:
    parts = [protocol.questions[name] for name in value.questions if name in protocol.questions]
    for part in parts:
        if part.type != "choice" or any(option.score is None for option in part.options):
            yield f"The question {part.link_id!r} cannot be summed: make it 'choice' with a score per option."
            return
    if not parts or not value.bands or not all(part.options for part in parts):
        yield "A score needs questions and bands."
        return
    scores = [[option.score or 0 for option in part.options] for part in parts]
    least, most = sum(map(min, scores)), sum(map(max, scores))
    if any(low.up_to >= high.up_to for low, high in pairwise(value.bands)):
        yield "Each band must reach further than the one before it."
    if value.bands[-1].up_to < most:
        yield f"The bands end at {value.bands[-1].up_to}, but the score can be {most}."
    for lower, band in zip([least - 1, *(band.up_to for band in value.bands)], value.bands, strict=False):
        if band.up_to < least or lower >= most:
            yield f"No answers reach the band up to {band.up_to}: the score is {least} to {most}."


def _all_conditions(protocol: Protocol) -> Iterator[tuple[str, Condition]]:
    """Yield every condition that stands in the protocol, with its place."""
    questions = protocol.questions.values()
    optional: list[tuple[str, Condition | None]] = [
        *((f"questions.{question.link_id}.enable_when", question.enable_when) for question in questions),
        *(
            (f"questions.{question.link_id}.options.{option.id}.enable_when", option.enable_when)
            for question in questions
            for option in question.options
        ),
        *((f"rules.{rule.id}.when", rule.when) for rule in protocol.rules),
        *((f"numbing.cautions.{caution.id}.when", caution.when) for caution in protocol.numbing.cautions),
        *((f"care.{step.id}.when", step.when) for step in protocol.care),
        *((f"consent.{document.id}.when", document.when) for document in protocol.consent),
        *(
            (f"consent.{document.id}.elements.{element.id}.when", element.when)
            for document in protocol.consent
            for element in document.elements
        ),
    ]
    return ((place, condition) for place, condition in optional if condition is not None)


def _conditions(protocol: Protocol) -> Found:
    for place, condition in _all_conditions(protocol):
        for atom in atoms(condition):
            yield from ((place, what) for what in _atom_slips(atom, protocol))
        if _has_empty_any(condition):
            yield place, "An empty 'any' is never true; write what it should hold."


def _has_empty_any(condition: Condition) -> bool:
    match condition:
        case AnyOf(any=parts):
            return not parts or any(_has_empty_any(part) for part in parts)
        case All(all=parts):
            return any(_has_empty_any(part) for part in parts)
        case _:
            return False


def _atom_slips(atom: Compare | Within, protocol: Protocol) -> Iterator[str]:
    derived = {value.id for value in protocol.derived}
    known = {*protocol.questions, *derived, BIRTH_DATE}
    if atom.question not in known:
        yield f"There is no question or derived value {atom.question!r}.{did_you_mean(atom.question, known)}"
    elif isinstance(atom, Within):
        if not _is_date(atom.question, protocol):
            yield f"'within' counts from a date, and {atom.question!r} is not a date question."
        if atom.within not in protocol.waits:
            yield f"There is no wait {atom.within!r}.{did_you_mean(atom.within, protocol.waits)}"
    elif atom.operator == "exists":
        if atom.answer not in {"yes", "no"} and not isinstance(atom.answer, bool):
            yield f"'exists' compares with 'yes' or 'no', not {atom.answer!r}."
    elif atom.question == BIRTH_DATE:
        yield f"{BIRTH_DATE!r} is a date; compare a derived age instead."
    elif atom.question in derived or protocol.questions[atom.question].type == "number":
        yield from _number_slips(atom, protocol)
    else:
        yield from _word_slips(atom, protocol.questions[atom.question])


def _number_slips(atom: Compare, protocol: Protocol) -> Iterator[str]:
    constant = atom.answer
    if isinstance(constant, str) and constant.startswith("@"):
        if constant[1:] not in protocol.limits:
            hint = did_you_mean(constant[1:], protocol.limits)
            yield f"There is no limit {constant[1:]!r}.{hint}"
    elif isinstance(constant, str | bool):
        yield f'{atom.question!r} is a number; compare it with a number or "@limit", not {constant!r}.'


def _word_slips(atom: Compare, question: Question) -> Iterator[str]:
    name = question.link_id
    if question.type in {"date", "text"}:
        yield f"{name!r} is a {question.type}; ask 'exists', or 'within' for a date."
    elif atom.operator not in _EQUALS:
        yield f"{name!r} has no order; compare it with '=' or '!='."
    elif question.type == "yes-no":
        if atom.answer not in {"yes", "no"} and not isinstance(atom.answer, bool):
            yield f"{name!r} is answered 'yes' or 'no', never {atom.answer!r}."
    elif atom.answer not in (options := [option.id for option in question.options]):
        yield f"{name!r} has no option {atom.answer!r}.{did_you_mean(atom.answer, options)}"


def _order(protocol: Protocol) -> Found:
    parts = {value.id: value.questions for value in protocol.derived}
    position = {
        question.link_id: index for index, page in enumerate(pages(protocol)) for question in page.questions
    }
    for question in protocol.questions.values():
        conditions = [question.enable_when, *(option.enable_when for option in question.options)]
        named = chain.from_iterable(map(atoms, conditions))
        for name in {part for atom in named for part in parts.get(atom.question, (atom.question,))}:
            if name in position and position[name] >= position[question.link_id]:
                what = f"This depends on {name!r}, which is not on an earlier page; ask that first."
                yield f"questions.{question.link_id}.enable_when", what


def _subjects(protocol: Protocol) -> Found:
    known = [BIRTH_DATE]
    for question in protocol.questions.values():
        for name in question.depends:
            place = f"questions.{question.link_id}.depends"
            if name not in protocol.questions and name != BIRTH_DATE:
                yield place, f"There is no question {name!r}.{did_you_mean(name, protocol.questions)}"
            elif name not in known:
                yield place, f"An answer can only be about an earlier one, and {name!r} is asked later."
        known.append(question.link_id)


def _windows(protocol: Protocol) -> Found:
    for question in protocol.questions.values():
        window, place = question.window, f"questions.{question.link_id}.window"
        if window is None:
            continue
        if window.least == Wait():
            yield place, "It reaches back no time at all; write in 'least' how far at least."
        for name in window.waits:
            if name not in protocol.waits:
                yield place, f"There is no wait {name!r}.{did_you_mean(name, protocol.waits)}"
    for place, since, wait in _counted(protocol):
        dated = protocol.questions.get(since)
        asked_first = {atom.question for atom in atoms(dated.enable_when)} if dated else set()
        for gate in (protocol.questions[name] for name in asked_first if name in protocol.questions):
            if gate.window is not None and wait not in gate.window.waits:
                what = (
                    f"{gate.link_id!r} decides whether its date is asked, and its window leaves out {wait!r}"
                )
                yield place, f"{what}: a longer wait would outrun the question. Add it there."


def _counted(protocol: Protocol) -> Iterator[tuple[str, str, str]]:
    """Yield, with its place, each date question and wait that are counted together."""
    for rule in protocol.rules:
        if rule.since is not None and rule.wait is not None:
            yield f"rules.{rule.id}.wait", rule.since, rule.wait
    for place, condition in _all_conditions(protocol):
        for atom in atoms(condition):
            if isinstance(atom, Within):
                yield place, atom.question, atom.within


def _is_date(name: str, protocol: Protocol) -> bool:
    return name == BIRTH_DATE or (name in protocol.questions and protocol.questions[name].type == "date")


def _rules(protocol: Protocol) -> Found:
    for rule in protocol.rules:
        yield from ((f"rules.{rule.id}{field}", what) for field, what in _rule_slips(rule, protocol))


def _rule_slips(rule: Rule, protocol: Protocol) -> Found:
    yield from _wait_slips(rule, protocol)
    if rule.since is not None and rule.since not in {*protocol.questions, BIRTH_DATE}:
        yield ".since", f"There is no question {rule.since!r}.{did_you_mean(rule.since, protocol.questions)}"
    elif rule.since is not None and not _is_date(rule.since, protocol):
        yield ".since", f"{rule.since!r} is not a date question."
    if rule.until_healed and rule.outcome not in _DATED:
        yield ".until_healed", f"The outcome {rule.outcome.value!r} does not wait for anything to heal."
    if rule.override and rule.outcome is not Outcome.STOP:
        yield ".override", "Only a stop can be overridden."
    if rule.excludes and rule.outcome in {Outcome.STOP, Outcome.DEFER}:
        yield ".excludes", f"The outcome {rule.outcome.value!r} holds the whole treatment, not a part of it."


def _wait_slips(rule: Rule, protocol: Protocol) -> Found:
    if rule.wait is not None and rule.wait not in protocol.waits:
        yield ".wait", f"There is no wait {rule.wait!r}.{did_you_mean(rule.wait, protocol.waits)}"
    elif rule.wait is not None and protocol.waits[rule.wait] == Wait():
        yield ".wait", f"The wait {rule.wait!r} is nothing at all, so the rule never fires."
    if (rule.since is None) is not (rule.wait is None):
        yield "", "A dated rule needs both 'since', a date question, and 'wait'."
    if rule.outcome is Outcome.DEFER and rule.wait is None and not rule.until_healed:
        yield "", "A deferral needs 'since' and 'wait', or 'until_healed'."
    if rule.wait is not None and rule.until_healed:
        yield "", "A rule either waits for a date or until healed; split it in two."


def _unused(protocol: Protocol) -> Found:
    used = [atom for _, condition in _all_conditions(protocol) for atom in atoms(condition)]
    waits = {rule.wait for rule in protocol.rules} | {step.wait for step in protocol.care}
    waits |= {atom.within for atom in used if isinstance(atom, Within)}
    limits = {f"{atom.answer}" for atom in used if isinstance(atom, Compare)}
    for name in protocol.waits:
        if name not in waits:
            yield f"waits.{name}", "Nothing uses this wait, so changing it would change nothing."
    for name in protocol.limits:
        if f"@{name}" not in limits:
            yield f"limits.{name}", "Nothing uses this limit, so changing it would change nothing."


def _courses(protocol: Protocol) -> Found:
    courses = [course.id for course in protocol.courses]
    areas = [area.id for area in protocol.areas]
    yield from _one_per_option(protocol, "course_question", protocol.course_question, "courses", courses)
    yield from _one_per_option(protocol, "area_question", protocol.area_question, "areas", areas)
    for course in protocol.courses:
        for what in _course_slips(course, protocol.course_limits):
            yield f"courses.{course.id}", what
    for area in protocol.areas:
        if area.cm2 <= 0 or area.treatment <= _NO_TIME:
            yield f"areas.{area.id}", "Size and treatment time must be more than nothing."


def _one_per_option(protocol: Protocol, field: str, link_id: str, kind: str, ids: Collection[str]) -> Found:
    question = protocol.questions.get(link_id)
    if question is None:
        yield field, f"There is no question {link_id!r}.{did_you_mean(link_id, protocol.questions)}"
        return
    if question.type != "choice":
        yield field, f"{link_id!r} must be a question of type 'choice': one answer decides."
    options = [option.id for option in question.options]
    for option in options:
        if option not in ids:
            yield f"questions.{link_id}.options.{option}", f"There is none of that name among the {kind}."
    for name in ids:
        if name not in options:
            hint = did_you_mean(name, options)
            yield f"{kind}.{name}", f"The question {link_id!r} has no option {name!r}.{hint}"


def _course_slips(course: Course, limits: CourseLimits) -> Iterator[str]:
    sessions, interval = course.sessions, course.interval
    if not 1 <= sessions.min <= sessions.usual <= sessions.max:
        yield f"Sessions must rise: 1 <= {sessions.min} <= {sessions.usual} <= {sessions.max} is not so."
    if interval.min == Wait() or not length(interval.min) <= length(interval.usual) <= length(interval.max):
        yield f"Intervals must rise: {interval.min} <= {interval.usual} <= {interval.max} is not so."
    least = max(limits.gap_min, interval.min, key=length)
    if length(max(least, interval.usual, key=length)) > length(limits.restart_after):
        yield f"The usual gap is longer than {limits.restart_after}, after which a course starts again."
    if length(least) > length(interval.max):
        yield f"The least gap is {least} here, longer than the greatest interval {interval.max}."
    if course.clinician_gap_min is not None and length(course.clinician_gap_min) >= length(least):
        yield f"A clinician's gap {course.clinician_gap_min} must be shorter than the least gap {least}."


def _numbing(protocol: Protocol) -> Found:
    products = {product.id: product for product in protocol.numbing.products}
    for product in products.values():
        place = f"numbing.products.{product.id}"
        if not _NO_TIME < product.contact_min <= product.contact_max:
            yield (
                place,
                f"Its least contact {product.contact_min} exceeds its greatest {product.contact_max}.",
            )
        if product.home and product.physician_on_site:
            yield place, "A product that needs a physician on site cannot be put on at home."
    for caution in protocol.numbing.cautions:
        for what in _caution_slips(caution, products):
            yield f"numbing.cautions.{caution.id}", what


def _caution_slips(caution: Caution, products: Mapping[str, NumbingProduct]) -> Iterator[str]:
    for name in {*caution.effects, *caution.contact_max} - set(products):
        yield f"There is no numbing product {name!r}.{did_you_mean(name, products)}"
    for name in products:
        if name not in caution.effects:
            yield f"It says nothing of the product {name!r}; write 'ok', 'review' or 'block'."
    for name, limit in caution.contact_max.items():
        if name in products and limit >= products[name].contact_max:
            yield f"Its limit for {name!r} is no shorter than the product's own."
    if not caution.contact_max and set(caution.effects.values()) <= {"ok"}:
        yield "It changes nothing for any product."


def _care(protocol: Protocol) -> Found:
    for step in protocol.care:
        if step.wait is not None and step.wait not in protocol.waits:
            hint = did_you_mean(step.wait, protocol.waits)
            yield f"care.{step.id}.wait", f"There is no wait {step.wait!r}.{hint}"
        elif step.wait is not None and step.starts != Wait():
            yield f"care.{step.id}", "It has both 'wait' and 'starts'; only one can say when it starts."
        elif not _in_order(step, protocol):
            yield f"care.{step.id}", "It ends before it starts; both count away from the session."


def _in_order(step: CareStep, protocol: Protocol) -> bool:
    if step.ends is None:
        return True
    first, last = _span(starts(step, protocol)), _span(step.ends)
    return last <= first if step.phase == "before" else first <= last


def _span(away: Wait | dt.timedelta) -> dt.timedelta:
    return away if isinstance(away, dt.timedelta) else length(away) - length(Wait())


def _consent(protocol: Protocol) -> Found:
    if not any(document.required for document in protocol.consent):
        yield "consent", "No consent document has to be signed; at least the treatment needs one."
    for document in protocol.consent:
        if not document.version:
            yield f"consent.{document.id}.version", "A document that is signed needs a version."
        if not document.elements:
            yield f"consent.{document.id}", "The document has no element."


def _words(protocol: Protocol, texts: Texts) -> Found:
    for field in ("title", "summary"):
        yield from _said(field, getattr(texts, field))
    rules = [*(rule.id for rule in protocol.rules), *GENERAL_TEXTS]
    steps = [step.id for step in protocol.timeline.steps]
    waiting = {step.id for step in protocol.care if step.wait is not None}
    tables: list[tuple[str, Mapping[str, object], Collection[str]]] = [
        ("sections", texts.sections, [section.id for section in protocol.sections]),
        ("questions", texts.questions, list(protocol.questions)),
        ("rules", texts.rules, rules),
        ("derived", texts.derived, [value.id for value in protocol.derived]),
        ("products", texts.products, [product.id for product in protocol.numbing.products]),
        ("cautions", texts.cautions, [caution.id for caution in protocol.numbing.cautions]),
        ("timeline", texts.timeline, steps),
        ("care", texts.care, [step.id for step in protocol.care]),
        ("consent", texts.consent, [document.id for document in protocol.consent]),
    ]
    for kind, table, ids in tables:
        yield from _same_ids(kind, table, ids)
        for name, entry in table.items():
            if isinstance(entry, str):
                waits = kind == "care" and name in waiting
                yield from _said(f"{kind}.{name}", entry.replace("{wait}", "") if waits else entry)
    yield from _question_words(protocol, texts)
    yield from _rule_words(protocol, texts)
    for name, product in texts.products.items():
        yield from _said(f"products.{name}.name", product.name)
        yield from _said(f"products.{name}.about", product.about)
    yield from _consent_words(protocol, texts)


def _same_ids(place: str, table: Mapping[str, object], ids: Collection[str]) -> Found:
    for name in ids:
        if name not in table:
            yield f"{place}.{name}", "This language has no words for it."
    for name in table:
        if name not in ids:
            yield f"{place}.{name}", f"The protocol has no {name!r}.{did_you_mean(name, ids)}"


def _said(place: str, text: str) -> Found:
    if not text.strip():
        yield place, "The text is empty."
    if "{" in text or "}" in text:
        yield place, "Nothing is filled in here, so braces would be shown as they are."


def _question_words(protocol: Protocol, texts: Texts) -> Found:
    for link_id, question in protocol.questions.items():
        words = texts.questions.get(link_id)
        if words is None:
            continue
        place = f"questions.{link_id}"
        for part, text in _question_texts(words):
            yield from _said(f"{place}.{part}", text if question.window is None else text.replace(WINDOW, ""))
        if question.window is not None and not any(WINDOW in text for _, text in _question_texts(words)):
            yield f"{place}.text", f"The question has a window, so its words must say {WINDOW}."
        if question.required and not words.missing.strip():
            yield f"{place}.missing", "A required question needs the words shown when it was left empty."
        yield from _same_ids(f"{place}.options", words.options, [option.id for option in question.options])


def _question_texts(words: QuestionText) -> Iterator[tuple[str, str]]:
    yield "text", words.text
    yield from ((part, getattr(words, part)) for part in ("missing", "hint", "short") if getattr(words, part))
    yield from ((f"options.{option}", label) for option, label in words.options.items())


def _rule_words(protocol: Protocol, texts: Texts) -> Found:
    outcomes = {rule.id: rule.outcome for rule in protocol.rules}
    for name, words in texts.rules.items():
        yield from _said(f"rules.{name}.reason", words.reason)
        if words.unsure_next and outcomes.get(name) not in {Outcome.STOP, Outcome.DEFER}:
            what = f"Only a stop or a deferral says something else to the unsure, and {name!r} is neither."
            yield f"rules.{name}.unsure_next", what
        if outcomes.get(name) in {Outcome.STOP, Outcome.REVIEW, Outcome.DEFER} and not words.next.strip():
            yield f"rules.{name}.next", "The patient is held up and not told what can be done now."


def _consent_words(protocol: Protocol, texts: Texts) -> Found:
    for document in protocol.consent:
        words = texts.consent.get(document.id)
        if words is None:
            continue
        place = f"consent.{document.id}"
        yield from _same_ids(
            f"{place}.elements", words.elements, [element.id for element in document.elements]
        )
        for part, text in _consent_texts(words):
            if not text.strip():
                yield f"{place}.{part}", "The text is empty."
            for name in placeholders(text):
                if name not in CONSENT_FACTS:
                    hint = did_you_mean(name, CONSENT_FACTS)
                    yield f"{place}.{part}", f"There is no placeholder {{{name}}}.{hint}"
            if len([*placeholders(text)]) != text.count("{") or text.count("{") != text.count("}"):
                yield f"{place}.{part}", "A brace stands without its partner."


def _consent_texts(words: ConsentText) -> Iterator[tuple[str, str]]:
    yield "title", words.title
    yield "statement", words.statement
    for name, element in words.elements.items():
        yield f"elements.{name}.heading", element.heading
        yield f"elements.{name}.body", element.body


def _unreachable(protocol: Protocol) -> Found:
    protocol = replace(protocol, rules=tuple(replace(rule, active=True) for rule in protocol.rules))
    for place, condition in _all_conditions(protocol):
        own = _gate(place, protocol)
        found = worlds(protocol, [condition, own])
        if found is not None and not any(_holds(known, condition, own) for known in found):
            yield place, "No answers can make this true; two of its parts exclude each other."
    for rule in protocol.rules:
        yield from _undated(rule, protocol)


def _gate(place: str, protocol: Protocol) -> Condition | None:
    """Return the condition of the question that an option's condition belongs to."""
    kind, name, *rest = place.split(".")
    return protocol.questions[name].enable_when if kind == "questions" and rest[0] == "options" else None


def _holds(known: Known, condition: Condition, own: Condition | None) -> bool:
    return known.truth(condition) is True and (own is None or known.truth(own) is True)


def _undated(rule: Rule, protocol: Protocol) -> Found:
    """A rule whose date is not asked although it applies could never be decided."""
    if rule.since is None or rule.since == BIRTH_DATE:
        return
    found = worlds(protocol, [rule.when, Compare(question=rule.since, operator="exists")])
    for known in found or ():
        if known.truth(rule.when) is True and known.asked(rule.since) is False:
            what = f"The rule can apply while {rule.since!r} is not asked; then it is never decided."
            yield f"rules.{rule.id}.since", what
            return


_CHECKS: Final[Sequence[Callable[[Protocol], Found]]] = (
    _ids,
    _sources,
    _questions,
    _derived,
    _conditions,
    _order,
    _subjects,
    _windows,
    _rules,
    _unused,
    _courses,
    _numbing,
    _care,
    _consent,
)
