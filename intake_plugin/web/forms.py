"""Questions as form controls, and what was posted as answers.

Each field's `answer` is the answer in the form the clinical rooms use, or None while there is none.
A field complains of at most one thing: first that it is missing, then that it is impossible, then
that it is out of range. Whatever was typed is shown again, whether it could be read or not.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wtforms import Field, RadioField, SelectMultipleField
from wtforms.fields import SelectChoice
from wtforms.form import BaseForm
from wtforms.utils import unset_value
from wtforms.validators import Email, StopValidation, ValidationError
from wtforms.widgets import CheckboxInput, TextArea, TextInput

from intake_plugin.clinical.answers import UNSURE, Answer, Answers, PartialDate
from intake_plugin.clinical.protocol import BIRTH_DATE, Option, Question, QuestionText
from intake_plugin.web.i18n import MONTHS, _, format_date, format_partial, months

UNSURE_VALUE = "unsure"
LONGEST_TEXT = 4000
"""Characters of a free text that has no limit of its own."""
LONGEST_LINE = 200
LONGEST_EMAIL = 254
"""RFC 5321 leaves room for no longer address."""
FEWEST_DIGITS = 5
"""The shortest telephone numbers that can be dialled from outside."""
LONGEST_LIFE = 120
"""Years; a date of birth further back is a slip of the keyboard."""

_SHORTEST_MONTH = 3
_NUMBER = re.compile(r"[+-]?\d{1,9}")


class Mistake(NamedTuple):
    """One complaint for the error summary: the id of the control it leads to, and what to do."""

    field_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The words of one control."""

    label: str
    subject: str
    """How an error names what was asked: "Date of birth" must be in the past."""
    missing: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DateLimits:
    """The dates that make sense for one date question."""

    today: dt.date
    tense: str = "past"
    first: dt.date | None = None
    last: dt.date | None = None


class AnswerField(Field):
    """A control for one answer; `unsure` adds a way to say "I'm not sure"."""

    kind = "text"

    def __init__(
        self, wording: Wording, *, required: bool = True, unsure: bool = False, **options: Any
    ) -> None:
        super().__init__(label=wording.label, description=wording.hint, **options)
        self.wording = wording
        self.required = required
        self.unsure = unsure

    @property
    def answer(self) -> Answer | None:
        """The answer given, or None."""
        raise NotImplementedError

    @property
    def focus(self) -> str:
        """The id of the control that the error summary leads to."""
        return str(self.id)

    def complaint(self) -> str | None:
        """Return the one thing to put right, or None."""
        raise NotImplementedError

    def pre_validate(self, form: BaseForm) -> None:  # noqa: ARG002 - the signature is WTForms'
        """Stop at the field's one complaint."""
        message = self.complaint()
        if message is not None:
            raise StopValidation(message)


class OneChoice(AnswerField, RadioField):
    """Radio buttons: yes or no, or one of several options."""

    kind = "radios"

    def __init__(self, wording: Wording, *, options: Sequence[SelectChoice], **more: Any) -> None:
        shown = list(options)
        if more.get("unsure"):
            shown.append(SelectChoice(value=UNSURE_VALUE, label=_("I’m not sure")))
        super().__init__(wording, choices=shown, **more)

    def process_data(self, value: Answer | None) -> None:
        """Show the answer given before."""
        self.data = UNSURE_VALUE if value is UNSURE else value

    @property
    def answer(self) -> Answer | None:
        """The chosen option's value."""
        if self.data not in {choice.value for choice in self.choices}:
            return None
        return UNSURE if self.unsure and self.data == UNSURE_VALUE else str(self.data)

    def complaint(self) -> str | None:
        """A value that was not offered counts as no choice."""
        return self.wording.missing if self.answer is None and (self.required or self.data) else None


class SeveralChoices(AnswerField, SelectMultipleField):
    """Checkboxes, of which some, like "none of these", can only stand alone."""

    kind = "checkboxes"
    option_widget = CheckboxInput()

    def __init__(
        self, wording: Wording, *, options: Sequence[SelectChoice], exclusive: Sequence[str], **more: Any
    ) -> None:
        shown = list(options)
        self.exclusive = set(exclusive)
        if more.get("unsure"):
            shown.append(SelectChoice(value=UNSURE_VALUE, label=_("I’m not sure")))
            self.exclusive.add(UNSURE_VALUE)
        super().__init__(wording, choices=shown, **more)

    def process_data(self, value: Answer | None) -> None:
        """Show the answer given before."""
        chosen = value if isinstance(value, tuple) else ()
        self.data = [UNSURE_VALUE] if value is UNSURE else list(chosen)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The ticked options that were offered, in their own order."""
        ticked = set(self.data or ())
        return tuple(choice.value for choice in self.choices if choice.value in ticked)

    @property
    def answer(self) -> Answer | None:
        """The ticked options."""
        if self.unsure and self.chosen == (UNSURE_VALUE,):
            return UNSURE
        return self.chosen or None

    def complaint(self) -> str | None:
        """Ask for a choice, and for one that does not contradict itself."""
        chosen = self.chosen
        if not chosen:
            return self.wording.missing if self.required or self.data else None
        alone = [choice.label for choice in self.choices if choice.value in self.exclusive & set(chosen)]
        if alone and len(chosen) > 1:
            return _("Select what applies to you, or select “%(alone)s” and nothing else", alone=alone[0])
        return None


class _Typed(AnswerField):
    """A control that is typed into; "I'm not sure" is a box to tick beside it."""

    widget = TextInput()
    typed = ""
    ticked = False

    def process(
        self,
        formdata: Any,
        data: Any = unset_value,
        extra_filters: Sequence[Callable[..., Any]] | None = None,
    ) -> None:
        super().process(formdata, data, extra_filters)
        if formdata is not None:
            self.ticked = self.unsure and bool(formdata.get(f"{self.name}-{UNSURE_VALUE}"))

    def process_data(self, value: Answer | None) -> None:
        """Show the answer given before."""
        self.ticked = value is UNSURE
        self.data = None if value is UNSURE else value
        self.typed = "" if self.data is None else str(self.data)

    def process_formdata(self, valuelist: Sequence[str]) -> None:
        """Keep what was typed."""
        self.typed = self.tidy(valuelist[0] if valuelist else "")

    def tidy(self, text: str) -> str:
        """Return `text` on one line, without control characters."""
        return " ".join(_printable(text).split())

    def _value(self) -> str:
        return self.typed

    @property
    def answer(self) -> Answer | None:
        """What was typed, or UNSURE."""
        if self.ticked:
            return UNSURE
        return self.read() if self.typed and self.unreadable() is None else None

    def complaint(self) -> str | None:
        """Ask for something readable, or for the box to be ticked, not both."""
        if self.ticked:
            return _("Enter an answer or select “I’m not sure”, not both") if self.typed else None
        if not self.typed:
            return self.wording.missing if self.required else None
        return self.unreadable()

    def read(self) -> Answer:
        """Return what was typed as an answer; only asked for when it is readable."""
        return self.typed

    def unreadable(self) -> str | None:
        """Return what is wrong with what was typed, or None."""
        raise NotImplementedError


class Text(_Typed):
    """One line, or several when the question allows a long answer."""

    kind = "text"

    def __init__(self, wording: Wording, *, max_length: int = LONGEST_LINE, **more: Any) -> None:
        super().__init__(wording, **more)
        self.max_length = max_length

    def unreadable(self) -> str | None:
        """Only the length can be wrong."""
        if len(self.typed) <= self.max_length:
            return None
        return _(
            "%(subject)s must be %(most)s characters or fewer",
            subject=self.wording.subject,
            most=self.max_length,
        )


class LongText(Text):
    """Several lines."""

    kind = "textarea"
    widget = TextArea()

    def tidy(self, text: str) -> str:
        """Return `text` with its lines, without other control characters."""
        return _printable(text.replace("\r\n", "\n").replace("\r", "\n"), keep="\n\t").strip()


class EmailField(Text):
    """An e-mail address; whether it exists is not asked."""

    def unreadable(self) -> str | None:
        """Check the form of the address."""
        message = _("Enter an e-mail address in the correct form, like name@example.com")
        try:
            Email(message=message, check_deliverability=False)(self._form, _Data(self.typed))
        except ValidationError:
            return message
        return super().unreadable()


@dataclass
class _Data:
    data: str


class Telephone(Text):
    """A telephone number in any form that has digits."""

    def unreadable(self) -> str | None:
        """Count the digits."""
        if sum(character.isdecimal() for character in self.typed) < FEWEST_DIGITS:
            return _("Enter a telephone number, like 01632 960 001 or +44 808 157 0192")
        return super().unreadable()


class Number(_Typed):
    """A whole number."""

    kind = "number"

    def __init__(self, wording: Wording, *, minimum: int | None, maximum: int | None, **more: Any) -> None:
        super().__init__(wording, **more)
        self.minimum = minimum
        self.maximum = maximum

    def read(self) -> Answer:
        """Return the number."""
        return int(self.typed)

    def unreadable(self) -> str | None:
        """Ask for a whole number within the limits."""
        subject = self.wording.subject
        if _NUMBER.fullmatch(self.typed) is None:
            return _("%(subject)s must be a whole number", subject=subject)
        low, high, number = self.minimum, self.maximum, int(self.typed)
        if (low is None or number >= low) and (high is None or number <= high):
            return None
        if low is not None and high is not None:
            return _("%(subject)s must be between %(low)s and %(high)s", subject=subject, low=low, high=high)
        if low is not None:
            return _("%(subject)s must be %(low)s or more", subject=subject, low=low)
        return _("%(subject)s must be %(high)s or fewer", subject=subject, high=high)


PARTS = ("day", "month", "year")


@dataclass(frozen=True, slots=True)
class _Unread:
    """Why a typed date cannot be read, and which of its parts is at fault."""

    message: str
    parts: tuple[str, ...] = PARTS


class DateParts(_Typed):
    """Day, month and year typed apart; the month may be a name, and where `by_month` the day left out."""

    kind = "date"

    def __init__(
        self,
        wording: Wording,
        *,
        limits: DateLimits,
        by_month: bool = False,
        autocomplete: str = "",
        **more: Any,
    ) -> None:
        super().__init__(wording, **more)
        self.limits = limits
        self.by_month = by_month
        self.autocomplete = autocomplete
        self.parts = dict.fromkeys(PARTS, "")

    def process(self, formdata: Any, data: Any = unset_value, extra_filters: Any = None) -> None:
        """Read the three parts that were posted."""
        super().process(formdata, data, extra_filters)
        if formdata is not None:
            self.parts = {part: self.tidy(formdata.get(f"{self.name}-{part}") or "") for part in PARTS}
            self.typed = " ".join(text for text in self.parts.values() if text)

    def process_data(self, value: Answer | None) -> None:
        """Show the answer given before."""
        super().process_data(value)
        if isinstance(value, PartialDate):
            self.parts = {
                "day": "" if value.day is None else str(value.day),
                "month": str(value.month),
                "year": str(value.year),
            }

    @property
    def focus(self) -> str:
        """The first part at fault."""
        return f"{self.id}-{self.faults[0] if self.faults else PARTS[0]}"

    @property
    def faults(self) -> tuple[str, ...]:
        """The parts at fault after validation."""
        if not self.errors:
            return ()
        found = self._parsed() if self.typed and not self.ticked else None
        return found.parts if isinstance(found, _Unread) else PARTS

    def read(self) -> Answer:
        """Return the date."""
        found = self._parsed()
        if isinstance(found, _Unread):
            raise TypeError("Only a readable date is read.")
        return found

    def unreadable(self) -> str | None:
        """Ask for the parts left out, then for a real date, then for one that makes sense."""
        found = self._parsed()
        return found.message if isinstance(found, _Unread) else None

    def _parsed(self) -> PartialDate | _Unread:
        subject, parts = self.wording.subject, self.parts
        empty = tuple(part for part in PARTS if not parts[part] and not (self.by_month and part == "day"))
        if empty:
            return _Unread(_left_out(subject, empty), empty)
        if not (parts["year"].isdecimal() and len(parts["year"]) == len("2026")):
            return _Unread(_("Year must include 4 numbers"), ("year",))
        month = _month(parts["month"])
        if month is None:
            return _Unread(_("%(subject)s must be a real date", subject=subject), ("month",))
        return self._real(int(parts["year"]), month)

    def _real(self, year: int, month: int) -> PartialDate | _Unread:
        day = self.parts["day"]
        unreal = _Unread(_("%(subject)s must be a real date", subject=self.wording.subject))
        if day and not (day.isdecimal() and len(day) <= len("31")):
            return _Unread(unreal.message, ("day",))
        try:
            dt.date(year, month, int(day or 1))
        except ValueError:
            return unreal
        date = PartialDate(year, month, int(day) if day else None)
        message = self._out_of_range(date)
        return date if message is None else _Unread(message)

    def _out_of_range(self, date: PartialDate) -> str | None:
        limits, subject = self.limits, self.wording.subject
        if limits.tense == "past" and date.earliest > limits.today:
            return _("%(subject)s must be today or in the past", subject=subject)
        if limits.tense == "future" and date.latest < limits.today:
            return _("%(subject)s must be today or in the future", subject=subject)
        if limits.first is not None and date.latest < limits.first:
            return _(
                "%(subject)s must be on or after %(date)s", subject=subject, date=format_date(limits.first)
            )
        if limits.last is not None and date.earliest > limits.last:
            return _(
                "%(subject)s must be on or before %(date)s", subject=subject, date=format_date(limits.last)
            )
        return None


def _left_out(subject: str, parts: tuple[str, ...]) -> str:
    messages = {
        ("day",): _("%(subject)s must include a day", subject=subject),
        ("month",): _("%(subject)s must include a month", subject=subject),
        ("year",): _("%(subject)s must include a year", subject=subject),
        ("day", "month"): _("%(subject)s must include a day and month", subject=subject),
        ("day", "year"): _("%(subject)s must include a day and year", subject=subject),
        ("month", "year"): _("%(subject)s must include a month and year", subject=subject),
    }
    return messages[parts]


def _month(text: str) -> int | None:
    """Return the month typed as a number, or as a name in English or the page's language."""
    if text.isdecimal():
        return int(text) if len(text) <= len("12") else None
    wanted = text.casefold().rstrip(".")
    if len(wanted) < _SHORTEST_MONTH:
        return None
    found = {
        number
        for names in (months(), MONTHS)
        for number, name in enumerate(names, start=1)
        if name.casefold().startswith(wanted)
    }
    return found.pop() if len(found) == 1 else None


def _printable(text: str, keep: str = "") -> str:
    return "".join(
        character
        for character in text.replace("\t", " ")
        if character in keep or character == "\n" or not unicodedata.category(character).startswith("C")
    )


class AnswersForm(BaseForm):
    """The controls of one page."""

    @property
    def fields(self) -> tuple[AnswerField, ...]:
        """The controls in the order shown."""
        return tuple(self)

    @property
    def answers(self) -> dict[str, Answer | None]:
        """What was answered, by control name."""
        return {control.short_name: control.answer for control in self.fields}

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Every complaint in the order of the page, for the error summary."""
        return tuple(Mistake(control.focus, control.errors[0]) for control in self.fields if control.errors)


def make_form(
    controls: Mapping[str, Any], posted: Any = None, given: Mapping[str, Answer | None] | None = None
) -> AnswersForm:
    """Return a form of `controls` filled from `posted` form data, or from earlier answers."""
    form = AnswersForm(controls)
    form.process(posted, data={name: answer for name, answer in (given or {}).items() if answer is not None})
    return form


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What the controls of a page depend on besides the questions."""

    texts: Mapping[str, QuestionText]
    options: Mapping[str, tuple[Option, ...]]
    """The options to show by link id, for the questions that have any."""
    today: dt.date
    birth_date: dt.date | None = None
    """No date asked about lies before it."""
    given: Answers = field(default_factory=dict)


def page_form(questions: Sequence[Question], asking: Asking, posted: Any = None) -> AnswersForm:
    """Return the form of one page of questions, each control named by its question's link id."""
    controls = {question.link_id: control(question, asking) for question in questions}
    return make_form(controls, posted, asking.given)


def control(question: Question, asking: Asking) -> Any:
    """Return the unbound control for a question.

    Raises ValueError for a type that has no control.
    """
    try:
        make = CONTROLS[question.type]
    except KeyError:
        known = ", ".join(sorted(CONTROLS))
        raise ValueError(
            f"Question {question.link_id!r} has the type {question.type!r}, which has no control. "
            f"The types are {known}."
        ) from None
    return make(question, asking)


def _wording(question: Question, asking: Asking, *, missing: str, subject: str, hint: str = "") -> Wording:
    text = asking.texts[question.link_id]
    return Wording(
        label=text.text,
        subject=text.short or subject,
        missing=text.missing or missing,
        hint=" ".join(part for part in (text.hint, hint) if part),
    )


def _common(question: Question) -> dict[str, Any]:
    return {"required": question.required, "unsure": question.unsure}


def _yes_no(question: Question, asking: Asking) -> Any:
    wording = _wording(question, asking, missing=_("Select yes or no"), subject=_("Your answer"))
    return OneChoice(
        wording,
        options=[SelectChoice(value="yes", label=_("Yes")), SelectChoice(value="no", label=_("No"))],
        **_common(question),
    )


def _offered(question: Question, asking: Asking) -> list[SelectChoice]:
    labels = asking.texts[question.link_id].options
    return [
        SelectChoice(value=option.id, label=labels[option.id]) for option in asking.options[question.link_id]
    ]


def _choice(question: Question, asking: Asking) -> Any:
    wording = _wording(question, asking, missing=_("Select one answer"), subject=_("Your answer"))
    return OneChoice(wording, options=_offered(question, asking), **_common(question))


def _choices(question: Question, asking: Asking) -> Any:
    wording = _wording(question, asking, missing=_("Select all that apply"), subject=_("Your answer"))
    return SeveralChoices(
        wording,
        options=_offered(question, asking),
        exclusive=[option.id for option in asking.options[question.link_id] if option.exclusive],
        **_common(question),
    )


def _date(question: Question, asking: Asking) -> Any:
    by_month = question.precision == "month"
    example = _("For example, 27 3 %(year)s.", year=asking.today.year - (question.tense != "future"))
    if by_month:
        example += " " + _("If you do not know the day, leave it empty.")
    wording = _wording(question, asking, missing=_("Enter a date"), subject=_("The date"), hint=example)
    last = asking.today.replace(day=1, year=asking.today.year + LONGEST_LIFE)
    limits = DateLimits(today=asking.today, tense=question.tense, first=asking.birth_date, last=last)
    return DateParts(wording, limits=limits, by_month=by_month, **_common(question))


def _text(question: Question, asking: Asking) -> Any:
    wording = _wording(question, asking, missing=_("Enter your answer"), subject=_("Your answer"))
    most = question.max_length or LONGEST_TEXT
    kind = LongText if most > LONGEST_LINE else Text
    return kind(wording, max_length=most, **_common(question))


def _number(question: Question, asking: Asking) -> Any:
    wording = _wording(question, asking, missing=_("Enter a number"), subject=_("Your answer"))
    return Number(wording, minimum=question.minimum, maximum=question.maximum, **_common(question))


CONTROLS: Mapping[str, Callable[[Question, Asking], Any]] = {
    "yes-no": _yes_no,
    "choice": _choice,
    "choices": _choices,
    "date": _date,
    "text": _text,
    "number": _number,
}
"""How each type of question is asked."""


def answer_words(question: Question, text: QuestionText, answer: Answer | None) -> tuple[str, ...]:
    """Return an answer as the check-your-answers page writes it, one line for each choice."""
    match answer:
        case None:
            return (_("Not provided"),)
        case PartialDate():
            return (format_partial(answer),)
        case tuple():
            return tuple(text.options.get(item, item) for item in answer)
        case int():
            return (str(answer),)
        case str():
            if question.type == "yes-no":
                return (_("Yes") if answer == "yes" else _("No"),)
            return (text.options.get(answer, answer),)
        case _:
            return (_("I’m not sure"),)


def birth_date_control(today: dt.date, *, label: str | None = None, hint: str = "") -> Any:
    """Return the control for a date of birth."""
    example = _("For example, 27 3 %(year)s.", year=1985)
    wording = Wording(
        label=label or _("Date of birth"),
        subject=_("Date of birth"),
        missing=_("Enter your date of birth"),
        hint=f"{hint} {example}".strip(),
    )
    first = today.replace(day=1, year=today.year - LONGEST_LIFE)
    return DateParts(wording, limits=DateLimits(today=today, first=first), autocomplete="bday")


def about_you_names() -> dict[str, str]:
    """Return what each control of the page "About you" is called."""
    return {
        "name": _("Full name"),
        BIRTH_DATE: _("Date of birth"),
        "email": _("E-mail address"),
        "telephone": _("Telephone number"),
    }


def about_you_controls(today: dt.date) -> dict[str, Any]:
    """Return the controls of the page "About you"."""
    names = about_you_names()
    name = Wording(label=names["name"], subject=names["name"], missing=_("Enter your full name"))
    email = Wording(
        label=names["email"],
        subject=names["email"],
        missing=_("Enter your e-mail address"),
        hint=_("The clinic uses it to reach you about this treatment only."),
    )
    telephone = Wording(
        label=names["telephone"],
        subject=names["telephone"],
        missing=_("Enter your telephone number"),
        hint=_("For a number outside the clinic’s country, include the country code."),
    )
    return {
        "name": Text(name, render_kw={"autocomplete": "name", "spellcheck": "false"}),
        "birth_date": birth_date_control(today),
        "email": EmailField(
            email,
            max_length=LONGEST_EMAIL,
            widget=TextInput("email"),
            render_kw={"autocomplete": "email", "spellcheck": "false"},
        ),
        "telephone": Telephone(telephone, widget=TextInput("tel"), render_kw={"autocomplete": "tel"}),
    }


def signature_control() -> Any:
    """Return the control for a typed signature."""
    wording = Wording(
        label=_("Your full name"),
        subject=_("Your full name"),
        missing=_("Enter your full name to sign"),
        hint=_("Typing your name here counts as your signature."),
    )
    return Text(wording, render_kw={"autocomplete": "name", "spellcheck": "false"})
