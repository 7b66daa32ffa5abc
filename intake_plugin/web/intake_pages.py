"""The pages from the first click to signed consent: a thin layer over `journeys`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import make_response, redirect, request
from flask.typing import ResponseReturnValue
from wtforms.fields import SelectChoice

from intake_plugin.clinical.answers import Answer, PartialDate
from intake_plugin.clinical.protocol import BIRTH_DATE, Outcome, Question
from intake_plugin.clinical.questionnaire import Page, options_of, walk
from intake_plugin.clinical.screening import Finding, Screening
from intake_plugin.errors import NotFound
from intake_plugin.journeys import access, consent, intake
from intake_plugin.journeys.intake import Identity, lifted_of
from intake_plugin.journeys.suitability import is_lifted
from intake_plugin.records.tables import Case, CaseState
from intake_plugin.web import forms
from intake_plugin.web.forms import AnswersForm, Asking, OneChoice, Wording
from intake_plugin.web.i18n import _, format_partial, language_name
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit, remember

MISTAKEN = 422
"""Status of a page that shows what was typed together with what to put right."""


# Start -------------------------------------------------------------------------------------------


def start(visit: Visit) -> ResponseReturnValue:
    """Say what comes and begin a case; a case open on this device can be gone on with instead."""
    form = forms.make_form(_start_controls(visit), request.form if request.method == "POST" else None)
    if request.method != "POST" or not visit.clinic.offered or not form.validate():
        return _start_page(visit, form)
    _case, token = access.begin(
        visit.office,
        protocol_id=str(form.answers.get("treatment") or next(iter(visit.clinic.offered))),
        locale=str(form.answers.get("locale") or visit.locale),
    )
    return remember(make_response(redirect(visit.url("about_you"), 303)), visit, token)


def _start_controls(visit: Visit) -> dict[str, Any]:
    controls: dict[str, Any] = {}
    if len(visit.clinic.offered) > 1:
        wording = Wording(
            label=_("Which treatment would you like?"),
            subject=_("Treatment"),
            missing=_("Select the treatment you would like"),
        )
        options = [
            SelectChoice(value=key, label=treatment.protocol.words(visit.locale).title)
            for key, treatment in visit.clinic.offered.items()
        ]
        controls["treatment"] = OneChoice(wording, options=options)
    if len(visit.clinic.languages) > 1:
        controls["locale"] = language_control(visit)
    return controls


def language_control(visit: Visit) -> Any:
    """Return the control for the language of the pages."""
    wording = Wording(label=_("In which language?"), subject=_("Language"), missing=_("Select a language"))
    options = [SelectChoice(value=code, label=language_name(code)) for code in visit.clinic.languages]
    return OneChoice(wording, options=options, default=visit.locale)


def _start_page(visit: Visit, form: AnswersForm) -> ResponseReturnValue:
    treatments = [treatment.protocol.words(visit.locale) for treatment in visit.clinic.offered.values()]
    heading = treatments[0].title if len(treatments) == 1 else _("Book a treatment")
    html = show(
        visit,
        "start.html",
        page="start",
        heading=heading,
        mistakes=form.mistakes,
        form=form,
        treatments=treatments,
        draft_lifetime=visit.office.settings.draft_lifetime,
        continue_url=_continue_url(visit),
    )
    return html, MISTAKEN if form.mistakes else 200


def _continue_url(visit: Visit) -> str | None:
    if visit.case is None:
        return None
    # Of a treatment that the profile no longer has nobody knows the next page; that one says so.
    readable = visit.office.find_treatment(visit.case) is not None
    return visit.next_url if readable else visit.url("manage")


# About you ---------------------------------------------------------------------------------------


def about_you(visit: Visit) -> ResponseReturnValue:
    """Ask who the patient is."""
    office, case = visit.office, visit.own
    intake.require(office, case, "about-you")
    posted = request.form if request.method == "POST" else None
    form = forms.make_form(forms.about_you_controls(office.today), posted, _known(case))
    if posted is None or not form.validate():
        html = show(
            visit,
            "question.html",
            page="question",
            heading=_("About you"),
            back=visit.url("start"),
            mistakes=form.mistakes,
            form=form,
            caption=None,
            lead=_("The clinic needs this to book you in and to reach you."),
            return_to=_return_to(),
        )
        return html, MISTAKEN if form.mistakes else 200
    intake.identify(office, case, _identity(form.answers))
    return redirect(_after(visit, None), 303)


def _known(case: Case) -> dict[str, Answer | None]:
    identity = intake.identity_of(case)
    if identity is None:
        return {}
    return {
        "name": identity.name,
        BIRTH_DATE: PartialDate.of(identity.birth_date),
        "email": identity.email,
        "telephone": identity.telephone,
    }


def _identity(answers: Mapping[str, Answer | None]) -> Identity:
    born = answers[BIRTH_DATE]
    if not isinstance(born, PartialDate):
        raise TypeError("The form was not validated.")
    return Identity(
        name=str(answers["name"]),
        birth_date=born.earliest,
        email=str(answers["email"]),
        telephone=str(answers["telephone"]),
    )


# Questions ---------------------------------------------------------------------------------------


def questions(visit: Visit, key: str) -> ResponseReturnValue:
    """Ask one page of questions."""
    office, case = visit.office, visit.own
    intake.require(office, case, "questions", key)
    steps = _steps(visit)
    page, asked = next((page, asked) for page, asked in steps if page.key == key)
    posted = request.form if request.method == "POST" else None
    form = forms.page_form(asked, _asking(visit, asked), posted)
    if posted is None or not form.validate():
        back = _before(visit, [each.key for each, _asked in steps], key)
        return _question_page(visit, page, asked, form, back)
    intake.answer(office, case, key, form.answers)
    response = make_response(redirect(_after(visit, key), 303))
    return remember(response, visit, visit.token) if visit.token else response


def _steps(visit: Visit) -> tuple[tuple[Page, tuple[Question, ...]], ...]:
    office, case = visit.office, visit.own
    return walk(office.protocol_of(case), intake.counting_of(office, case), today=office.today)


def _asking(visit: Visit, asked: tuple[Question, ...]) -> Asking:
    office, case = visit.office, visit.own
    protocol, answers = office.protocol_of(case), intake.answers_of(case)
    identity = intake.identity_of(case)
    return Asking(
        texts=office.texts_of(case).questions,
        options={
            question.link_id: options_of(question, protocol, answers, today=office.today)
            for question in asked
            if question.options
        },
        today=office.today,
        birth_date=None if identity is None else identity.birth_date,
        given=intake.given_of(case),
    )


def _question_page(
    visit: Visit, page: Page, asked: tuple[Question, ...], form: AnswersForm, back: str
) -> ResponseReturnValue:
    protocol, texts = visit.office.protocol_of(visit.own), visit.office.texts_of(visit.own)
    sections = [section.id for section in protocol.sections]
    title = texts.sections[page.section]
    caption = _(
        "Section %(number)s of %(count)s", number=sections.index(page.section) + 1, count=len(sections)
    )
    single = len(asked) == 1
    html = show(
        visit,
        "question.html",
        page="question",
        heading=texts.questions[asked[0].link_id].text if single else title,
        back=back,
        mistakes=form.mistakes,
        form=form,
        caption=f"{caption}: {title}" if single else caption,
        lead=None,
        return_to=_return_to(),
    )
    return html, MISTAKEN if form.mistakes else 200


def _return_to() -> str | None:
    """Return "check" where the page was opened from there, so that the patient gets back to it."""
    return "check" if request.values.get("return") == "check" else None


def _before(visit: Visit, keys: list[str], key: str) -> str:
    if _return_to() and intake.next_step(visit.office, visit.own).name == "check":
        return visit.url("check")
    index = keys.index(key)
    return visit.url("questions", key=keys[index - 1]) if index else visit.url("about_you")


def _after(visit: Visit, key: str | None) -> str:
    """Return the page after `key` (None: after "About you"): in order, or straight back to the check.

    The answer just given may have opened or closed pages, so the order is worked out anew.
    """
    if _return_to():
        step = intake.next_step(visit.office, visit.own)
        # A page that the change has opened leads back to the check as well.
        return visit.step_url(step, **({} if step.key is None else {"return": "check"}))
    keys = [page.key for page, _asked in _steps(visit)]
    following = keys if key is None else keys[keys.index(key) + 1 :]
    return visit.url("questions", key=following[0]) if following else visit.url("check")


# Check your answers ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One line of the check page: what was asked, what was answered, where to change it."""

    label: str
    values: tuple[str, ...]
    change: str


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """A section's lines."""

    title: str
    lines: tuple[AnswerLine, ...]


def check(visit: Visit) -> ResponseReturnValue:
    """Show every answer with a way to change it, then screen them."""
    office, case = visit.office, visit.own
    intake.require(office, case, "check")
    if request.method == "POST":
        intake.submit(office, case, shown=request.form.get("shown", ""))
        return redirect(visit.url("outcome"), 303)
    steps = _steps(visit)
    return show(
        visit,
        "check.html",
        page="check",
        heading=_("Check your answers"),
        back=visit.url("questions", key=steps[-1][0].key) if steps else visit.url("about_you"),
        groups=(_about_group(visit), *_answer_groups(visit, steps)),
        shown=intake.answers_hash(case),
    )


def _about_group(visit: Visit) -> AnswerGroup:
    change = visit.url("about_you", **{"return": "check"})
    names = forms.about_you_names()
    lines = []
    for key, answer in _known(visit.own).items():
        value = format_partial(answer) if isinstance(answer, PartialDate) else str(answer)
        lines.append(AnswerLine(names[key], (value,), change))
    return AnswerGroup(_("About you"), tuple(lines))


def _answer_groups(
    visit: Visit, steps: tuple[tuple[Page, tuple[Question, ...]], ...]
) -> tuple[AnswerGroup, ...]:
    texts, answers = visit.office.texts_of(visit.own), intake.counting_of(visit.office, visit.own)
    lines: dict[str, list[AnswerLine]] = {}
    for page, asked in steps:
        change = visit.url("questions", key=page.key, **{"return": "check"})
        for question in asked:
            words = texts.questions[question.link_id]
            values = forms.answer_words(question, words, answers.get(question.link_id))
            lines.setdefault(page.section, []).append(AnswerLine(words.short or words.text, values, change))
    return tuple(AnswerGroup(texts.sections[section], tuple(group)) for section, group in lines.items())


# Outcome -----------------------------------------------------------------------------------------


def outcome(visit: Visit) -> ResponseReturnValue:
    """Say what the clinic's rules make of the answers, why, and what comes next."""
    office, case = visit.office, visit.own
    intake.require(office, case, "outcome")
    if request.method == "POST":
        return _leave_outcome(visit)
    screening = intake.screening_of(case)
    if screening is None:
        raise NotFound("This case has no outcome.")
    reasons, others = _reasons(case, screening)
    again = intake.overtaken(office, case)
    return show(
        visit,
        "outcome.html",
        page="outcome",
        heading=_("Check your answers again") if again else _outcome_heading(case, screening),
        again=again,
        state=case.state.value,
        case=case,
        screening=screening,
        decided=_decided(case, screening),
        reasons=reasons,
        others=others,
        advice=screening.advice,
        left_out=[finding for finding in screening.findings if finding.excludes],
        can_reopen=case.state in intake.REOPENS,
        goes_on=not again and case.state in {CaseState.CONSENT, CaseState.BOOKING, CaseState.BOOKED},
    )


def _leave_outcome(visit: Visit) -> ResponseReturnValue:
    if request.form.get("action") == "reopen":
        intake.reopen(visit.office, visit.own)
        return redirect(visit.url("check"), 303)
    if visit.own.state == CaseState.CONSENT:
        return redirect(visit.url("consent"), 303)
    return redirect(visit.next_url, 303)


def _decided(case: Case, screening: Screening) -> bool:
    """Whether a clinician's decision, and not the rules alone, let this case go on."""
    going_on = case.state in {CaseState.CONSENT, CaseState.BOOKING, CaseState.BOOKED}
    return going_on and (not screening.bookable or bool(lifted_of(case)))


def _outcome_heading(case: Case, screening: Screening) -> str:
    match case.state:
        case CaseState.STOPPED:
            return _("You cannot book this treatment online")
        case CaseState.WAITING:
            return _("Wait until this has healed, then ask again")
        case CaseState.REVIEW:
            return _("A clinician will look at your answers")
        case CaseState.DECLINED:
            return _("The clinic does not offer you this treatment now")
        case _:
            return _going_on_heading(case, screening)


def _going_on_heading(case: Case, screening: Screening) -> str:
    if case.not_before is not None:
        return _("You can book, from a later date")
    if screening.advice:
        return _("You can book, with advice to follow")
    return _("You can go on to book")


def _reasons(case: Case, screening: Screening) -> tuple[list[Finding], list[Finding]]:
    """Return what decides where the case stands, and what else stands in the way.

    Nothing that a clinician has lifted. Only the first kind's "what next" fits the page: "choose a
    time from this date" would be wrong beside a stop.
    """
    standing = [
        finding
        for finding in screening.findings
        if finding.outcome is not Outcome.ADVISE
        and not finding.excludes
        and not is_lifted(case, finding, screening)
    ]
    if case.state == CaseState.WAITING:
        decides = [finding for finding in standing if finding.until_healed]
    else:
        decides = [finding for finding in standing if finding.outcome is standing[0].outcome]
    return decides, [finding for finding in standing if finding not in decides]


# Consent -----------------------------------------------------------------------------------------


def consents(visit: Visit) -> ResponseReturnValue:
    """List the documents with what is still to be signed."""
    documents = _documents(visit)
    if request.method == "POST":
        if all(document.settled for document in documents) and visit.own.state == CaseState.CONSENT:
            consent.proceed(visit.office, visit.own)
        return redirect(_after_signing(visit, documents), 303)
    return show(
        visit,
        "consent.html",
        page="consent",
        heading=_("Read and sign"),
        back=visit.url("outcome"),
        documents=documents,
        settled=all(document.settled for document in documents),
    )


def _documents(visit: Visit) -> tuple[consent.DocumentState, ...]:
    intake.require(visit.office, visit.own, "consent")
    return consent.documents(visit.office, visit.own)


def _after_signing(visit: Visit, documents: tuple[consent.DocumentState, ...]) -> str:
    for document in documents:
        if not document.settled:
            return visit.url("document", document=document.rendered.id)
    return visit.url("notes")


def document(visit: Visit, document: str) -> ResponseReturnValue:
    """Show one document whole; signing it, or declining an optional one, is its own act."""
    documents = _documents(visit)
    found = next((each for each in documents if each.rendered.id == document), None)
    if found is None:
        raise NotFound("This document is not part of your consent.")
    posted = request.form if request.method == "POST" else None
    form = forms.make_form({"name": forms.signature_control()}, posted)
    declining = posted is not None and posted.get("action") == "decline"
    if posted is None or not (declining or form.validate()):
        return _document_page(visit, found, form)
    act = consent.Act(
        document_id=document,
        shown=request.form.get("shown", ""),
        button=decline_words() if declining else sign_words(),
        name=str(form.answers["name"] or ""),
        ip=request.remote_addr or "",
        user_agent=request.user_agent.string,
    )
    record = consent.decline if declining else consent.sign
    record(visit.office, visit.own, act)
    return redirect(_after_signing(visit, _documents(visit)), 303)


def sign_words() -> str:
    """Return the wording of the button that signs."""
    return _("Sign this document")


def decline_words() -> str:
    """Return the wording of the button that declines an optional document."""
    return _("I do not agree to this")


def _document_page(visit: Visit, found: consent.DocumentState, form: AnswersForm) -> ResponseReturnValue:
    html = show(
        visit,
        "document.html",
        page="consent",
        heading=found.rendered.title,
        back=visit.url("consent"),
        mistakes=form.mistakes,
        form=form,
        document=found.rendered,
        signature=found.signature,
        can_sign=visit.own.state in {CaseState.CONSENT, CaseState.BOOKING},
        sign_words=sign_words(),
        decline_words=decline_words(),
    )
    return html, MISTAKEN if form.mistakes else 200
