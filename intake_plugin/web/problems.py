"""What goes wrong, as a page in the site's layout that says what to do. Nothing typed before is lost."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from flask import Blueprint, make_response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from werkzeug.exceptions import (
    NotFound as PageNotFound,
)

from intake_plugin.errors import (
    Busy,
    JourneyError,
    NotFound,
    NoTreatment,
    OutOfTurn,
    ReadOnly,
    Stale,
    TimeTaken,
    TooLate,
)
from intake_plugin.state import READING
from intake_plugin.web.i18n import _, format_duration, speaking
from intake_plugin.web.render import show
from intake_plugin.web.visit import BOOKED_STATES, NotOpen, Visit, cookie_name, current_visit, forget

HTTP_PROBLEMS = (
    BadRequest,
    Forbidden,
    PageNotFound,
    MethodNotAllowed,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
_RETRY_SECONDS = "2"


@dataclass(frozen=True, slots=True)
class Problem:
    """A page about what went wrong."""

    status: int
    heading: str
    what: str
    label: str
    url: str


def handle_problems(blueprint: Blueprint) -> None:
    """Answer every error a person can cause with a page in the site's layout."""
    blueprint.register_error_handler(JourneyError, _journey_problem)
    for kind in HTTP_PROBLEMS:
        blueprint.register_error_handler(kind, _http_problem)


def _journey_problem(error: JourneyError) -> ResponseReturnValue:
    visit = current_visit()
    visit.office.session.rollback()
    with speaking(visit.locale):
        if isinstance(error, OutOfTurn) and request.method in {"GET", "HEAD"} and visit.case is not None:
            return redirect(visit.next_url, 303)
        return _page(visit, _describe(visit, error), error)


def _http_problem(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None:
        return error.response  # the host has an answer of its own
    visit = current_visit()
    with speaking(visit.locale):
        return _page(visit, _describe_http(visit, error), error)


def _page(visit: Visit, problem: Problem, error: Exception) -> ResponseReturnValue:
    html = show(visit, "problem.html", page="problem", heading=problem.heading, problem=problem)
    response = make_response(html, problem.status)
    if isinstance(error, NotOpen) and visit.token:
        forget(response, visit, cookie_name(visit.mount))
    if isinstance(error, Busy):
        response.headers["Retry-After"] = _RETRY_SECONDS
    if isinstance(error, TooManyRequests) and error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _describe(visit: Visit, error: JourneyError) -> Problem:
    onward = _onward(visit)
    match error:
        case NotOpen():
            return Problem(
                403,
                _("Your answers are not open on this device"),
                _("Open your private link to go on where you stopped, or start again."),
                *onward,
            )
        case OutOfTurn():
            return Problem(
                409,
                _("This step is behind you or still to come"),
                _("What you sent before is kept. Go on from the step where you are now."),
                *onward,
            )
        case Stale():
            return Problem(
                409,
                _("Something has changed since this page was shown"),
                _("Perhaps it is open in another window. Nothing was lost; look at it once more."),
                _("Show it again"),
                _again(),
            )
        case NoTreatment():
            return _no_treatment(visit, error)
        case ReadOnly():
            return Problem(
                403,
                _("Your account can look, but not change anything"),
                _("Nothing was changed. Ask a colleague who may decide cases."),
                *onward,
            )
        case TimeTaken():
            return Problem(
                409,
                _("The time you chose is no longer free"),
                _("Everything else is kept. Choose another time."),
                _("Choose another time"),
                visit.url("times"),
            )
        case TooLate():
            return Problem(
                409,
                _("It is too late to change this session here"),
                _(
                    "Nothing was changed. Call the clinic: %(telephone)s.",
                    telephone=visit.clinic.contact.telephone,
                ),
                *onward,
            )
        case Busy():
            return Problem(
                503,
                _("Somebody else is booking at this moment"),
                _("Nothing was changed. Wait a few seconds and try again."),
                _("Try again"),
                _again(),
            )
        case _:
            return _not_found(visit)


def _describe_http(visit: Visit, error: HTTPException) -> Problem:
    onward = _onward(visit)
    match error:
        case PageNotFound():
            return _not_found(visit)
        case Forbidden() if request.blueprint != visit.mount:
            return Problem(
                403,
                _("This page is for the clinic’s staff"),
                _("Sign in on the clinic’s site with an account that may open it."),
                *onward,
            )
        case Forbidden():
            return Problem(
                403,
                _("This form was not sent from this site"),
                _("To protect you, it was not accepted. Open the page here and send it again."),
                *onward,
            )
        case MethodNotAllowed():
            return Problem(405, _("This page cannot be used like that"), _("Nothing was changed."), *onward)
        case TooManyRequests():
            return Problem(
                429,
                _("Too many tries in a short time"),
                _too_many(error.retry_after),
                _("Try again"),
                _again(),
            )
        case RequestEntityTooLarge():
            return Problem(
                413,
                _("That was more text than this page can take"),
                _("Nothing was changed. Go back, shorten your text and send it again."),
                *onward,
            )
        case _:
            return Problem(
                error.code or 400,
                _("This page could not read what was sent"),
                _("Nothing was changed. Open the page again and send it once more."),
                *(onward if request.method in READING else (_("Open the page again"), _again())),
            )


def _too_many(seconds: object) -> str:
    if not isinstance(seconds, int):
        return _("Nothing was changed, and nothing is lost. Wait a while, then try again.")
    wait = format_duration(dt.timedelta(minutes=-(-seconds // 60)))
    return _("Nothing was changed, and nothing is lost. Wait %(time)s, then try again.", time=wait)


def _again() -> str:
    """Return the address asked for without its host, which may not be the one the browser sees."""
    return request.script_root + request.full_path.removesuffix("?")


def _not_found(visit: Visit) -> Problem:
    if visit.desk:
        return Problem(
            404,
            _("There is no such case or page at this clinic"),
            _("The address may be old or incomplete, or belong to another clinic."),
            *_onward(visit),
        )
    return Problem(
        404,
        _("There is nothing at this address"),
        _("The link may be old or incomplete. Your answers are not affected."),
        *_onward(visit),
    )


def _no_treatment(visit: Visit, error: NoTreatment) -> Problem:
    if visit.desk:
        return Problem(
            409,
            _("The clinic’s profile no longer has this treatment"),
            _(
                "Ask whoever runs this site to put “%(protocol)s” back into the profile, with “retired = "
                "true” if you no longer offer it.",
                protocol=error.protocol_id,
            ),
            *_onward(visit),
        )
    return Problem(
        409,
        _("The clinic has changed what it offers here"),
        _(
            "Your answers and everything you have booked are kept, but this page cannot show them. Call the "
            "clinic: %(telephone)s.",
            telephone=visit.clinic.contact.telephone,
        ),
        *(_sessions(visit) or _onward(visit)),
    )


def _sessions(visit: Visit) -> tuple[str, str] | None:
    if visit.case is None or visit.case.state not in BOOKED_STATES:
        return None
    return _("See your sessions"), visit.url("manage")


def _onward(visit: Visit) -> tuple[str, str]:
    """Return where to go from here: on with the open case, else to the start."""
    if visit.desk:
        return _("Back to the cases"), visit.url("staff.queue")
    try:
        if visit.case is not None:
            return _("Go on"), visit.next_url
    except NotFound:
        pass
    return _("Go to the start"), visit.url("start")
