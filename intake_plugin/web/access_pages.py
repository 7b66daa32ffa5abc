"""The pages about the case itself: see where it stands, take it to another device, leave this one."""

from __future__ import annotations

import datetime as dt

from flask import make_response, redirect, request
from flask.typing import ResponseReturnValue

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.errors import NotFound, OutOfTurn
from intake_plugin.journeys import access, booking, intake
from intake_plugin.journeys.consent import DocumentState, documents
from intake_plugin.records.tables import Appointment, CaseState
from intake_plugin.web import forms
from intake_plugin.web.booking_pages import any_standing, product_names
from intake_plugin.web.change_pages import patient_changes
from intake_plugin.web.forms import AnswersForm
from intake_plugin.web.i18n import _
from intake_plugin.web.intake_pages import MISTAKEN, language_control
from intake_plugin.web.render import show
from intake_plugin.web.visit import (
    BOOKED_STATES,
    Visit,
    cookie_name,
    forget,
    link_cookie_name,
    remember,
    set_cookie,
)

SIGNED_STATES = frozenset({CaseState.CONSENT, CaseState.BOOKING}) | BOOKED_STATES


def manage(visit: Visit) -> ResponseReturnValue:
    """Show where the case stands, and lead on."""
    office, case = visit.office, visit.own
    retired = intake.is_retired(office, case)
    appointments: tuple[Appointment, ...] = ()
    if case.state in BOOKED_STATES:
        appointments = tuple(booking.appointments_of(office, case))
    return show(
        visit,
        "manage.html",
        page="manage",
        heading=_("Where you are"),
        case=case,
        state="retired" if retired else case.state.value,
        appointments=appointments,
        standing=any_standing(appointments),
        products=product_names(visit, appointments),
        changes=patient_changes(visit, appointments if case.state == CaseState.BOOKED else ()),
        documents=() if retired else _signed(visit),
        next_url=None if retired or office.find_treatment(case) is None else visit.next_url,
    )


def _signed(visit: Visit) -> tuple[DocumentState, ...]:
    return documents(visit.office, visit.own) if visit.own.state in SIGNED_STATES else ()


def save(visit: Visit) -> ResponseReturnValue:
    """Explain the private link; a post makes one and shows it once."""
    case = visit.own
    if case.identity_sealed is None:
        raise OutOfTurn("about-you")
    link = None
    if request.method == "POST":
        link = visit.url("link", token=access.make_link(visit.office, case), _external=True)
    return show(
        visit,
        "save.html",
        page="link",
        heading=_("Your private link") if link else _("Go on later or on another device"),
        back=visit.url("manage"),
        link=link,
        until=visit.office.today + visit.office.settings.link_lifetime,
    )


def link(visit: Visit, token: str) -> ResponseReturnValue:
    """Take the token out of the address: into a cookie, and on to a clean page."""
    access.open_link(visit.office, token)
    response = make_response(redirect(visit.url("verify"), 303))
    return set_cookie(response, visit, link_cookie_name(visit.mount), token)


def verify(visit: Visit) -> ResponseReturnValue:
    """Ask for the date of birth, then open the case on this device."""
    name = link_cookie_name(visit.mount)
    token = request.cookies.get(name, "")
    access.open_link(visit.office, token)
    heading = _("What is your date of birth?")
    posted = request.form if request.method == "POST" else None
    control = forms.birth_date_control(
        visit.office.today, label=heading, hint=_("It shows that the link is yours.")
    )
    form = forms.make_form({"birth_date": control}, posted)
    if posted is not None and form.validate():
        session = access.verify(visit.office, token, _birth_date(form))
        if session is not None:
            response = make_response(redirect(visit.url("manage"), 303))
            return forget(remember(response, visit, session), visit, name)
        form["birth_date"].errors = [_("Enter the date of birth you gave when you started")]
    html = show(visit, "verify.html", page="link", heading=heading, mistakes=form.mistakes, form=form)
    return html, MISTAKEN if form.mistakes else 200


def _birth_date(form: AnswersForm) -> dt.date | None:
    answer = form.answers.get("birth_date")
    return answer.earliest if isinstance(answer, PartialDate) else None


def leave(visit: Visit) -> ResponseReturnValue:
    """Forget this device after the patient says so."""
    if request.method == "POST":
        if visit.token:
            access.leave(visit.office, visit.token)
        response = make_response(redirect(visit.url("start"), 303))
        return forget(response, visit, cookie_name(visit.mount))
    return show(
        visit,
        "leave.html",
        page="link",
        heading=_("Leave this device"),
        back=visit.url("manage") if visit.case is not None else visit.url("start"),
    )


def language(visit: Visit) -> ResponseReturnValue:
    """Go on in another language the clinic offers."""
    if len(visit.clinic.languages) == 1:
        raise NotFound("This clinic has one language.")
    posted = request.form if request.method == "POST" else None
    form = forms.make_form({"locale": language_control(visit)}, posted)
    if posted is None or not form.validate():
        html = show(
            visit,
            "language.html",
            page="start",
            heading=_("In which language?"),
            back=visit.url("manage") if visit.case is not None else visit.url("start"),
            mistakes=form.mistakes,
            form=form,
        )
        return html, MISTAKEN if form.mistakes else 200
    locale = str(form.answers["locale"])
    if visit.case is None:
        return redirect(visit.url("start", lang=locale), 303)
    access.set_locale(visit.office, visit.case, locale)
    return redirect(visit.url("manage"), 303)
