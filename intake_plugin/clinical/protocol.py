"""The clinical content of one treatment, as data.

A protocol is written in TOML (`intake_plugin/protocols/<id>.toml`) with one file of words per
language beside it (`<id>.<language>.toml`). Nothing here knows a number of days, a product or a
question: those stand in the files, each with its source. Identifiers are shared by all kinds of
question and derived value, so that a condition can name any of them.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, wraps
from typing import Any, Literal, TypeVar

T = TypeVar("T")

BIRTH_DATE = "birth_date"
"""The link id of the date of birth, asked on the page "About you" in every protocol."""

WINDOW = "{window}"
"""What a question's words say where they name how far back it asks."""


class Outcome(StrEnum):
    """What screening says of a case, most serious first."""

    STOP = "stop"
    REVIEW = "review"
    DEFER = "defer"
    ADVISE = "advise"
    CLEAR = "clear"

    @property
    def rank(self) -> int:
        """Position in the order of precedence; 0 is the most serious."""
        return list(Outcome).index(self)


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait in calendar months and days (an ISO 8601 duration without a time part)."""

    months: int = 0
    days: int = 0

    def after(self, date: dt.date) -> dt.date:
        """Return the date this wait after `date`; months clamp to the end of the month."""
        return _shift(date, self.months) + dt.timedelta(days=self.days)

    def before(self, date: dt.date) -> dt.date:
        """Return the date this wait before `date`; months clamp to the end of the month."""
        return _shift(date, -self.months) - dt.timedelta(days=self.days)

    def __str__(self) -> str:
        months = f"{self.months}M" if self.months else ""
        days = f"{self.days}D" if self.days or not self.months else ""
        return f"P{months}{days}"


def _shift(date: dt.date, months: int) -> dt.date:
    if not months:
        return date
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date.replace(year=year, month=month + 1, day=min(date.day, last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a fact comes from: a code of the protocol's `references` and an evidence grade."""

    ref: str
    grade: Literal["A", "A-", "B", "C", "G"]


Operator = Literal["exists", "=", "!=", ">", "<", ">=", "<="]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """FHIR's `enableWhen`: an answer (or derived value) compared with a constant.

    `=` and `!=` on a question with several choices mean "contains" and "does not contain".
    """

    question: str
    operator: Operator = "="
    answer: str | int | bool = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """True while less than the named wait has passed since the date answered."""

    question: str
    within: str


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """True when every part is true (an empty `all` is always true)."""

    all: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """True when at least one part is true."""

    any: tuple[Condition, ...]


Condition = Compare | Within | All | AnyOf


QuestionType = Literal["yes-no", "choice", "choices", "date", "text", "number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One answer that can be chosen."""

    id: str
    score: int | None = None
    exclusive: bool = False
    """"None of these": cannot be chosen together with another option."""
    enable_when: Condition | None = None
    optional: bool = False
    """Shown only where the clinic's profile lists it under `offers`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How far back a question asks: `least`, or as far as the longest of `waits` (ids) where that is longer.

    It stands for `{window}` in the question's words, as each clinic has its waits.
    """

    least: Wait
    waits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question; follow-ups carry `enable_when` and appear on a later page, never in place."""

    link_id: str
    type: QuestionType
    enable_when: Condition | None = None
    required: bool = True
    unsure: bool = False
    """Offers "I'm not sure", which screening treats as unanswered."""
    precision: Literal["day", "month"] = "day"
    """`month` also takes "about March 2026"; screening then counts from the end of that month."""
    tense: Literal["past", "future", "any"] = "past"
    options: tuple[Option, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    depends: tuple[str, ...] = ()
    """Link ids of the answers this one is given about: when one of them changes, it is asked again."""
    window: Window | None = None
    optional_rule: str | None = None
    """The question is asked only while the clinic has this rule switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled group of questions. Its follow-ups make up further pages of the same section."""

    id: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A value of a score: `value` for every total up to and including `up_to`."""

    value: int
    up_to: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A value worked out from answers: completed years since a date, or a banded score."""

    id: str
    kind: Literal["age", "score"]
    questions: tuple[str, ...]
    bands: tuple[Band, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One screening rule. It fires when `when` is true; a `defer` also needs its wait to be running.

    A rule whose condition cannot be decided (an answer is missing or "not sure") becomes a review.
    """

    id: str
    outcome: Outcome
    when: Condition
    since: str | None = None
    """The date question that a dated deferral counts from."""
    wait: str | None = None
    """The id in `waits` of a dated deferral."""
    until_healed: bool = False
    """The rule has no date: the clinic asks again when it has passed."""
    override: bool = False
    """A clinician may decide otherwise although the outcome is `stop`."""
    excludes: bool = False
    """Only the part named is left out of the treatment; the rest goes on."""
    scope: Literal["all", "area", "face", "scar", "site", "numbing", "prp", "rf"] = "all"
    """What the rule is about, for whoever reads or approves the file; `when` alone decides."""
    active: bool = True
    """False: off unless the clinic's profile switches it on."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Least, usual and greatest number of sessions."""

    min: int
    usual: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Least, usual and greatest wait between two sessions of a course."""

    min: Wait
    usual: Wait
    max: Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The recommended sessions for one concern; `id` is the option of `course_question`."""

    id: str
    sessions: Spread
    interval: Interval
    clinician_gap_min: Wait | None = None
    """A shorter interval that only a clinician may choose."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseLimits:
    """What holds for every course of the protocol."""

    gap_min: Wait
    leeway: Wait
    """How far a session may fall after `interval.max` so that a closure does not undo a course."""
    restart_after: Wait
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A part of the body; `id` is the option of `area_question`."""

    id: str
    cm2: int
    """Estimated size, square centimetres, for the numbing products' limits."""
    treatment: dt.timedelta
    """How long the treatment itself takes."""
    sources: tuple[Source, ...] = ()


Effect = Literal["ok", "review", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbingProduct:
    """A numbing cream with its limits; times are contact on the skin before the treatment."""

    id: str
    classes: tuple[str, ...]
    contact_min: dt.timedelta
    contact_max: dt.timedelta
    home: bool = False
    """May be put on at home where the clinic allows it and a clinician approved the case."""
    occlusion: Literal["none", "optional", "required", "avoid"] = "none"
    area_max_cm2: int | None = None
    home_area_max_cm2: int | None = None
    """The largest area for which it may be put on at home; None for any."""
    age_min: int | None = None
    prescription: bool = False
    physician_on_site: bool = False
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """A row of the contraindication matrix: what a condition means for each product."""

    id: str
    when: Condition
    effects: Mapping[str, Effect]
    contact_max: Mapping[str, dt.timedelta] = field(default_factory=dict)
    """A shorter limit for some products while the condition holds."""
    heals: bool = False
    """The condition passes: no matter for a review while a rule holds up the case until it has."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbing:
    """Every product of the protocol and what rules it out."""

    products: tuple[NumbingProduct, ...] = ()
    cautions: tuple[Caution, ...] = ()
    none_allowed: Literal["review", "without"] = "review"
    """What happens when no product is allowed: a clinician looks, or the session goes without."""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The day of a session relative to the start of the treatment."""

    arrive_before_numbing: dt.timedelta
    """Arrival before the cream goes on at the clinic."""
    arrive_without_numbing: dt.timedelta
    """Arrival before the treatment when no cream goes on at the clinic."""
    home_travel: dt.timedelta = dt.timedelta()
    """Least time between cream put on at home and the arrival."""
    aftercare: dt.timedelta
    """Time in the room after the treatment."""
    quiet_after: Wait
    """Days to keep free of events after a session."""
    steps: tuple[TimelineStep, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStep:
    """One step of the day, in order; its words stand in the language file."""

    id: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CareStep:
    """Something to do or avoid before or after each session, or a warning sign.

    `starts` and `ends` count away from the session: before its start for `before`, after its end
    for `after`. `ends = None` on a `before` step means up to the session.
    """

    id: str
    phase: Literal["before", "after", "call", "urgent"]
    starts: Wait | dt.timedelta = Wait()
    wait: str | None = None
    """The id in `waits` that stands for `starts`, and for `{wait}` in the words, as each clinic has it."""
    ends: Wait | dt.timedelta | None = None
    when: Condition | None = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentElement:
    """One headed part of a consent document."""

    id: str
    when: Condition | None = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentDocument:
    """A versioned text that a patient signs, or may decline where it is not required."""

    id: str
    version: str
    required: bool = True
    needs_numbing: bool = False
    """Shown only when a numbing product is planned."""
    when: Condition | None = None
    elements: tuple[ConsentElement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionText:
    """A question in one language; `missing` is the error when it was left empty."""

    text: str
    missing: str = ""
    hint: str = ""
    short: str = ""
    """How the check-your-answers page names the question; `text` if empty."""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """Why a rule fired and what the patient can do now.

    `unsure_next` is said instead of `next` to a patient whose answers do not decide a stop or a
    deferral, which is then a review; the words for `unanswered` if empty.
    """

    reason: str
    next: str = ""
    unsure_next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductText:
    """A numbing product in one language."""

    name: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementText:
    """A headed part of a consent document; paragraphs are parted by an empty line."""

    heading: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentText:
    """A consent document in one language. `{clinic}`, `{product}`, `{contact}` and the like are filled in."""

    title: str
    statement: str
    """The sentence beside the signature: what signing means."""
    elements: Mapping[str, ElementText]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Lengths of time in one language: `{n}` of a unit, and a contact of `{least}` to `{most}` minutes."""

    contact: str
    year: str
    years: str
    month: str
    months: str
    day: str
    days: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Every word of a protocol in one language, by id."""

    title: str
    summary: str
    units: Units
    sections: Mapping[str, str]
    questions: Mapping[str, QuestionText]
    rules: Mapping[str, RuleText]
    derived: Mapping[str, str] = field(default_factory=dict)
    products: Mapping[str, ProductText] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)
    timeline: Mapping[str, str] = field(default_factory=dict)
    care: Mapping[str, str] = field(default_factory=dict)
    consent: Mapping[str, ConsentText] = field(default_factory=dict)

    def length(self, wait: Wait, *, in_years: bool = True) -> str:
        """Return a wait in words, whole years as years unless `in_years` is false."""
        whole = in_years and wait.months % 12 == 0
        years, months = divmod(wait.months, 12) if whole else (0, wait.months)
        units = self.units
        parts = ((years, units.year, units.years), (months, units.month, units.months))
        counted = [*parts, (wait.days, units.day, units.days)]
        return " ".join((one if n == 1 else many).format(n=n) for n, one, many in counted if n)

    def contact(self, least: dt.timedelta | None, most: dt.timedelta | None) -> str:
        """Return the contact of a numbing product in words, empty without one."""
        if least is None or most is None:
            return ""
        minute = dt.timedelta(minutes=1)
        return self.units.contact.format(least=least // minute, most=most // minute)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The clinical content of one treatment."""

    id: str
    version: str
    course_question: str
    area_question: str
    answers_valid: Wait | None = None
    """How long accepted answers stand before the patient has to check them again; None for ever."""
    references: Mapping[str, str]
    """Source code -> title and place."""
    waits: Mapping[str, Wait]
    limits: Mapping[str, int] = field(default_factory=dict)
    """Named numbers that conditions may compare with: write `answer = "@name"`."""
    sections: tuple[Section, ...]
    derived: tuple[Derived, ...] = ()
    rules: tuple[Rule, ...]
    course_limits: CourseLimits
    courses: tuple[Course, ...]
    areas: tuple[Area, ...]
    numbing: Numbing = Numbing()
    timeline: Timeline
    care: tuple[CareStep, ...] = ()
    consent: tuple[ConsentDocument, ...]
    texts: Mapping[str, Texts] = field(default_factory=dict)

    def __hash__(self) -> int:
        # Equal protocols have both in common.
        return hash((self.id, self.version))

    @cached_property
    def questions(self) -> Mapping[str, Question]:
        """Every question by link id, in the order asked."""
        return {question.link_id: question for question in self._walk()}

    @cached_property
    def derived_values(self) -> Mapping[str, Derived]:
        """Every derived value by its id."""
        return {value.id: value for value in self.derived}

    @cached_property
    def switched_off(self) -> frozenset[str]:
        """The ids of the rules that the clinic has not switched on."""
        return frozenset(rule.id for rule in self.rules if not rule.active)

    @cached_property
    def worked_out(self) -> dict[str, Any]:
        """What `once_per_protocol` remembers."""
        return {}

    def words(self, locale: str) -> Texts:
        """Return the words for `locale`: the exact language, else its base, else the first language.

        Raises LookupError when the protocol has no language at all.
        """
        if not self.texts:
            raise LookupError(f"Protocol {self.id!r} has no language; put {self.id}.en.toml beside it.")
        tag = locale.replace("-", "_")
        for known, texts in self.texts.items():
            if known.replace("-", "_") == tag:
                return texts
        return self.texts.get(tag.partition("_")[0]) or next(iter(self.texts.values()))

    def _walk(self) -> Iterator[Question]:
        for section in self.sections:
            yield from section.questions


def once_per_protocol(work: Callable[[Protocol], T]) -> Callable[[Protocol], T]:
    """Let a function of nothing but the protocol be worked out once, and kept as long as the protocol is.

    A clinic's protocol is read at the start of the process and stays as it is; nothing of a patient
    can be kept this way.
    """
    name = f"{work.__module__}.{work.__qualname__}"

    @wraps(work)
    def remembered(protocol: Protocol) -> T:
        known = protocol.worked_out
        if name not in known:
            known[name] = work(protocol)
        found: T = known[name]
        return found

    return remembered
