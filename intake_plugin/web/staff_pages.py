"""The clinic's pages behind the host's own login: the queue, one case whole, the decision."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import abort, redirect, request
from flask.typing import ResponseReturnValue
from wtforms.fields import SelectChoice

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.clinical.conditions import names
from intake_plugin.clinical.protocol import Protocol, Source
from intake_plugin.clinical.screening import Screening
from intake_plugin.errors import Stale
from intake_plugin.journeys import files, outbox, review
from intake_plugin.journeys.changing import may_write
from intake_plugin.journeys.review import Ruling, WholeCase
from intake_plugin.journeys.suitability import recheck_of
from intake_plugin.records import audit
from intake_plugin.records.tables import CaseState, Verdict
from intake_plugin.state import current_staff
from intake_plugin.web import forms
from intake_plugin.web.booking_pages import calendar_response
from intake_plugin.web.busy_pages import stale_calendars
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.change_pages import desk_changes
from intake_plugin.web.forms import AnswersForm, DateLimits, DateParts, LongText, OneChoice, Wording
from intake_plugin.web.i18n import _, format_day
from intake_plugin.web.intake_pages import MISTAKEN
from intake_plugin.web.mail_words import kind_words
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit
from intake_plugin.web.why_words import finding_words

CLEAR_FROM_DATE = "not_before"
NUMBING_CHOICE = "numbing"
LONGEST_VERSION = 9
"""Digits of the version that a decision form carries."""


def state_names() -> dict[CaseState, str]:
    """Return what the clinic calls each state of a case, in the order of the filter."""
    return {
        CaseState.DRAFT: _("Answering again"),
        CaseState.REVIEW: _("To decide"),
        CaseState.WAITING: _("Waiting until healed"),
        CaseState.STOPPED: _("Stopped"),
        CaseState.DECLINED: _("Declined"),
        CaseState.CONSENT: _("Reading consent"),
        CaseState.BOOKING: _("Choosing times"),
        CaseState.BOOKED: _("Booked"),
        CaseState.CLOSED: _("Closed"),
    }


def outcome_names() -> dict[str, str]:
    """Return what the clinic calls each outcome of screening."""
    return {
        "stop": _("Stop"),
        "review": _("Review"),
        "defer": _("Defer"),
        "advise": _("Advise"),
        "clear": _("Clear"),
    }


# Queue -------------------------------------------------------------------------------------------


def queue(visit: Visit) -> ResponseReturnValue:
    """List the cases, newest first."""
    asked = request.args.get("state")
    if asked and asked not in set(CaseState):
        abort(400)
    state = CaseState(asked) if asked else None
    number = request.args.get("page", default=1, type=int)
    return show(
        visit,
        "staff_queue.html",
        page="staff",
        heading=_("Cases"),
        queue=review.queue(visit.office, state=state, page=number),
        state=state,
        states=state_names(),
        outcomes=outcome_names(),
        titles=_titles(visit),
        stale_calendars=stale_calendars(visit),
        undelivered=dict.fromkeys(each.reference for each in outbox.undelivered(visit.office)),
        staff=current_staff(),
    )


def _titles(visit: Visit) -> dict[str, str]:
    return {key: each.protocol.words(visit.locale).title for key, each in visit.clinic.treatments.items()}


# One case ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer as the clinician reads it; `flagged` when a finding rests on it."""

    label: str
    values: tuple[str, ...]
    flagged: bool


@dataclass(frozen=True, slots=True)
class SourceWords:
    """A source with its evidence grade, written out."""

    ref: str
    grade: str
    title: str


def case_page(visit: Visit, reference: str) -> ResponseReturnValue:
    """Show one case whole."""
    found = review.whole(visit.office, current_staff(), reference)
    return _case_page(visit, found, forms.make_form(_decision_controls(visit, found)))


def _case_page(visit: Visit, found: WholeCase, form: AnswersForm) -> ResponseReturnValue:
    protocol = found.treatment.protocol if found.treatment else None
    products = protocol.words(visit.locale).products if protocol else {}
    rows = _answer_rows(visit, found, protocol) if protocol else []
    html = show(
        visit,
        "staff_case.html",
        page="staff",
        heading=_("Case %(reference)s", reference=found.case.reference),
        back=visit.url("staff.queue"),
        mistakes=form.mistakes,
        whole=found,
        flagged=[row for row in rows if row.flagged],
        answered=[row for row in rows if not row.flagged],
        sources=lambda sources: [_source_words(protocol, source) for source in sources],
        form=form,
        changes=desk_changes(visit, found.case, found.appointments),
        recheck=_recheck(visit, found) if protocol else None,
        may_decide=bool(found.verdicts) and current_staff().role == "decide",
        titles=_titles(visit),
        states=state_names(),
        outcomes=outcome_names(),
        verdicts=_verdicts(),
        products={key: words.name for key, words in products.items()},
        message_words=kind_words,
        resources={resource.id: resource.name for resource in visit.clinic.resources},
        staff=current_staff(),
    )
    return html, MISTAKEN if form.mistakes else 200


@dataclass(frozen=True, slots=True)
class RecheckWords:
    """What to go through with the patient again: questions, and reasons by session number."""

    unasked: tuple[str, ...]
    forbidden: dict[int, tuple[str, ...]]


def _recheck(visit: Visit, found: WholeCase) -> RecheckWords | None:
    recheck = recheck_of(visit.office, found.case, found.appointments)
    if recheck is None:
        return None
    words = visit.office.protocol_of(found.case).words(visit.locale).questions
    labels = (words[question.link_id] for question in recheck.unasked)
    return RecheckWords(
        unasked=tuple(each.short or each.text for each in labels),
        forbidden={
            ordinal: tuple(map(finding_words, findings)) for ordinal, findings in recheck.forbidden.items()
        },
    )


def told(visit: Visit, reference: str) -> ResponseReturnValue:
    """Record that the patient has been told what mail could not tell."""
    staff = current_staff()
    may_write(staff)
    case = review.by_reference(visit.office, reference)
    outbox.told(visit.office, case, audit.Actor(kind="staff", id=staff.id))
    return redirect(visit.url("staff.case_page", reference=reference), 303)


def _answer_rows(visit: Visit, found: WholeCase, protocol: Protocol) -> list[AnswerRow]:
    words = protocol.words(visit.locale).questions
    flagged = set(_questions_behind(protocol, found.screening)) if found.screening else set()
    return [
        AnswerRow(
            label=words[each.question.link_id].short or words[each.question.link_id].text,
            values=forms.answer_words(each.question, words[each.question.link_id], each.answer),
            flagged=each.question.link_id in flagged,
        )
        for each in found.answered
    ]


def _questions_behind(protocol: Protocol, screening: Screening) -> Iterator[str]:
    """Yield the questions that the findings rest on, through derived values as well."""
    parts = {value.id: value.questions for value in protocol.derived}
    fired = {finding.rule_id for finding in screening.findings}
    cautions = {caution for refusal in screening.numbing.refusals for caution in refusal.cautions}
    conditions = [rule.when for rule in protocol.rules if rule.id in fired]
    conditions += [caution.when for caution in protocol.numbing.cautions if caution.id in cautions]
    for condition in conditions:
        for name in names(condition):
            yield from parts.get(name, (name,))
    yield from (rule.since for rule in protocol.rules if rule.id in fired and rule.since)


def _source_words(protocol: Protocol | None, source: Source) -> SourceWords:
    titles = protocol.references if protocol else {}
    return SourceWords(source.ref, source.grade, titles.get(source.ref, source.ref))


# Decision ----------------------------------------------------------------------------------------


def decision(visit: Visit, reference: str) -> ResponseReturnValue:
    """Record a clinician's decision."""
    found = review.whole(visit.office, current_staff(), reference)
    form = forms.make_form(_decision_controls(visit, found), request.form)
    version = request.form.get("version", "")
    known = version.isdecimal() and len(version) <= LONGEST_VERSION
    if known and int(version) != found.case.version:
        raise Stale("The case has changed since this page was shown. Read it once more.")
    if not (_validated(form, review.latest_not_before(visit.office)) and known):
        return _case_page(visit, found, form)
    review.decide(visit.office, current_staff(), reference, _ruling(form))
    return redirect(visit.url("staff.case_page", reference=reference), 303)


def _verdicts() -> dict[Verdict, str]:
    return {
        Verdict.CLEAR: _("Clear for booking"),
        Verdict.CLEAR_FROM: _("Clear for booking from a date"),
        Verdict.ASK_AGAIN: _("Ask the patient to check the answers again"),
        Verdict.DECLINE: _("Decline"),
    }


def _decision_controls(visit: Visit, found: WholeCase) -> dict[str, Any]:
    verdict = Wording(label=_("Decision"), subject=_("Decision"), missing=_("Select a decision"))
    date = Wording(
        label=_("First possible date"),
        subject=_("First possible date"),
        missing=_("Enter the first possible date"),
        hint=_("Only for “clear for booking from a date”."),
    )
    note = Wording(
        label=_("Note"),
        subject=_("Note"),
        missing=_("Enter the reason for your decision"),
        hint=_("Kept with the case and signed with your name; the patient does not see it."),
    )
    limits = DateLimits(today=visit.office.today, tense="future")
    controls: dict[str, Any] = {
        "verdict": OneChoice(
            verdict,
            options=[
                SelectChoice(value=key, label=label)
                for key, label in _verdicts().items()
                if key in found.verdicts
            ],
        ),
        CLEAR_FROM_DATE: DateParts(date, limits=limits, required=False),
    }
    if found.numbing_choices:
        controls[NUMBING_CHOICE] = _numbing_control(visit, found)
    if _home_possible(found):
        home = Wording(
            label=_("May the patient put the numbing cream on at home?"),
            subject=_("Numbing at home"),
            missing=_("Select yes if the patient may put the cream on at home"),
        )
        yes_no = [SelectChoice(value="no", label=_("No")), SelectChoice(value="yes", label=_("Yes"))]
        controls["home_numbing"] = OneChoice(home, options=yes_no, default="no")
    return controls | {"note": LongText(note, max_length=forms.LONGEST_TEXT)}


def _numbing_control(visit: Visit, found: WholeCase) -> Any:
    wording = Wording(
        label=_("Numbing"),
        subject=_("Numbing"),
        missing=_("Select the numbing product, or none"),
        hint=_("Screening left this open. It counts only if you clear the case."),
    )
    names = visit.office.protocol_of(found.case).words(visit.locale).products
    options = [
        SelectChoice(value=key, label=names[key].name if key in names else _("Without numbing cream"))
        for key in found.numbing_choices
    ]
    return OneChoice(wording, options=options, required=False)


def _home_possible(found: WholeCase) -> bool:
    product = found.screening.numbing.product if found.screening else None
    if found.treatment is None or product is None:
        return False
    return product.home and found.treatment.numbing.home == "approved"


def _validated(form: AnswersForm, latest: dt.date) -> bool:
    """Validate the form; the date belongs to exactly one of the decisions."""
    valid = bool(form.validate())
    cleared = form.answers["verdict"] in {Verdict.CLEAR, Verdict.CLEAR_FROM}
    if NUMBING_CHOICE in form and cleared and not form.answers[NUMBING_CHOICE]:
        form[NUMBING_CHOICE].errors = [form[NUMBING_CHOICE].wording.missing]
        valid = False
    date = form[CLEAR_FROM_DATE]
    if date.errors:
        return False
    wanted = form.answers["verdict"] == Verdict.CLEAR_FROM
    answer = form.answers[CLEAR_FROM_DATE]
    if isinstance(answer, PartialDate) and answer.earliest > latest:
        date.errors = [_("First possible date must be %(date)s or earlier", date=format_day(latest))]
    if wanted and not date.typed:
        date.errors = [date.wording.missing]
    elif date.typed and not wanted and form.answers["verdict"]:
        date.errors = [_("Leave the date empty, or select “Clear for booking from a date”")]
    return valid and not date.errors


def _ruling(form: AnswersForm) -> Ruling:
    answers = form.answers
    date = answers[CLEAR_FROM_DATE]
    return Ruling(
        verdict=Verdict(str(answers["verdict"])),
        note=str(answers["note"]),
        version=int(request.form["version"]),
        not_before=date.earliest if isinstance(date, PartialDate) else None,
        home_numbing=answers.get("home_numbing") == "yes",
        numbing=str(answers[NUMBING_CHOICE]) if answers.get(NUMBING_CHOICE) else None,
    )


# Calendar ----------------------------------------------------------------------------------------


def calendar(visit: Visit) -> ResponseReturnValue:
    """Hand out every appointment to come for import into the clinic's own calendar."""

    def record(reference: str) -> str:
        return visit.url("staff.case_page", reference=reference, _external=True)

    octets = files.clinic_file(
        visit.office, current_staff(), calendar_words(), link=record, locale=visit.locale
    )
    return calendar_response(octets, "clinic-appointments.ics")
