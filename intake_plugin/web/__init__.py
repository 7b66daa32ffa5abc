"""The pages: thin views over `journeys`, in the host's layout, without any script needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import MethodNotAllowed

from intake_plugin.state import refuse_readers
from intake_plugin.web import (
    access_pages,
    booking_pages,
    busy_pages,
    change_pages,
    desk_pages,
    feeds,
    guard,
    intake_pages,
    limits,
    mail,
    staff_pages,
)
from intake_plugin.web.i18n import speaking
from intake_plugin.web.problems import handle_problems
from intake_plugin.web.visit import Visit, current_visit

__all__ = ["add_patient_routes", "staff_blueprint"]

View = Callable[..., ResponseReturnValue]
Gate = Callable[[], Any]

READ = ("GET",)
BOTH = ("GET", "POST")
WRITE = ("POST",)
FORM_OF = {
    "calendar_choices": "calendar",
    "feed_made": "calendar",
    "feed_stopped": "calendar",
    "staff.decision": "staff.case_page",
    "staff.unblock": "staff.blocks",
    "staff.feed_stopped": "staff.feeds",
}
"""The page with the form of what only takes a form, for somebody who opens or reloads that address."""

PATIENT_ROUTES: tuple[tuple[str, str, View, tuple[str, ...]], ...] = (
    ("/", "start", intake_pages.start, BOTH),
    ("/about-you", "about_you", intake_pages.about_you, BOTH),
    ("/questions/<key>", "questions", intake_pages.questions, BOTH),
    ("/check", "check", intake_pages.check, BOTH),
    ("/outcome", "outcome", intake_pages.outcome, BOTH),
    ("/consent", "consent", intake_pages.consents, BOTH),
    ("/consent/<document>", "document", intake_pages.document, BOTH),
    ("/notes", "notes", booking_pages.notes, BOTH),
    ("/times", "times", booking_pages.times, BOTH),
    ("/times/days", "days", booking_pages.month, READ),
    ("/series", "series", booking_pages.series, BOTH),
    ("/done", "done", booking_pages.done, READ),
    ("/calendar/appointments.ics", "series_calendar", booking_pages.series_calendar, READ),
    ("/calendar/appointment-<int:ordinal>.ics", "session_calendar", booking_pages.session_calendar, READ),
    ("/calendar", "calendar", feeds.calendar, READ),
    ("/calendar/choices", "calendar_choices", feeds.calendar_choices, WRITE),
    ("/calendar/link", "feed_made", feeds.feed_made, WRITE),
    ("/calendar/link/stop", "feed_stopped", feeds.feed_stopped, WRITE),
    ("/manage", "manage", access_pages.manage, READ),
    ("/sessions/<int:ordinal>/move", "move_session", change_pages.move, BOTH),
    ("/sessions/<int:ordinal>/cancel", "cancel_session", change_pages.cancel, BOTH),
    ("/save", "save", access_pages.save, BOTH),
    ("/link/<token>", "link", access_pages.link, READ),
    ("/verify", "verify", access_pages.verify, BOTH),
    ("/leave", "leave", access_pages.leave, BOTH),
    ("/language", "language", access_pages.language, BOTH),
)
STAFF_ROUTES: tuple[tuple[str, str, View, tuple[str, ...]], ...] = (
    ("/", "queue", staff_pages.queue, READ),
    ("/cases/<reference>", "case_page", staff_pages.case_page, READ),
    ("/cases/<reference>/decision", "decision", staff_pages.decision, WRITE),
    ("/cases/<reference>/told", "told", staff_pages.told, WRITE),
    ("/cases/<reference>/sessions/<int:ordinal>/move", "move_session", change_pages.desk_move, BOTH),
    ("/cases/<reference>/sessions/<int:ordinal>/cancel", "cancel_session", change_pages.desk_cancel, BOTH),
    ("/cases/<reference>/sessions/<int:ordinal>/overlap", "overlap_session", change_pages.desk_overlap, BOTH),
    ("/blocks", "blocks", desk_pages.blocks, BOTH),
    ("/blocks/<block_id>/remove", "unblock", desk_pages.unblock, WRITE),
    ("/why-not", "why_not", desk_pages.why_not, READ),
    ("/calendars", "calendars", busy_pages.calendars, READ),
    ("/appointments.ics", "calendar", staff_pages.calendar, READ),
    ("/feeds", "feeds", feeds.clinic_feeds, BOTH),
    ("/feeds/<feed_hash>/stop", "feed_stopped", feeds.clinic_feed_stopped, WRITE),
)


def add_patient_routes(blueprint: Blueprint) -> None:
    """Add the patient's pages, their guard and their error pages to a clinic's blueprint."""
    blueprint.before_request(guard.refuse_other_sites)
    blueprint.before_request(guard.limit_size)
    blueprint.before_request(limits.count)
    blueprint.after_request(guard.protect)
    blueprint.after_request(mail.send_afterwards)
    handle_problems(blueprint)
    _add(blueprint, PATIENT_ROUTES)
    # No visit is looked up for it: a calendar program is nobody's open case.
    blueprint.add_url_rule("/cal/<token>.ics", "feed", feeds.feed, methods=("GET",))


def staff_blueprint(gate: Gate) -> Blueprint:
    """Return the clinic's pages, all behind `gate`; nested, they share the patient pages' guard."""
    blueprint = Blueprint("staff", __name__, url_prefix="/staff")
    blueprint.before_request(gate)
    blueprint.before_request(refuse_readers)
    _add(blueprint, STAFF_ROUTES)
    return blueprint


def _add(blueprint: Blueprint, routes: tuple[tuple[str, str, View, tuple[str, ...]], ...]) -> None:
    for rule, endpoint, view, methods in routes:
        # Routes take every method a form can have, so that a wrong one gets a page of ours too.
        blueprint.add_url_rule(rule, endpoint, _served(view, methods), methods=BOTH)


def _elsewhere(visit: Visit, methods: tuple[str, ...], values: dict[str, Any]) -> ResponseReturnValue:
    endpoint = (request.endpoint or "").removeprefix(f"{visit.mount}.")
    if endpoint not in FORM_OF:
        raise MethodNotAllowed(valid_methods=methods)
    known = {name: value for name, value in values.items() if name == "reference"}
    return redirect(visit.url(FORM_OF[endpoint], **known), 303)


def _served(view: View, methods: tuple[str, ...]) -> View:
    """Look up whom the request is about, and let the view speak the case's language."""

    @wraps(view)
    def serve(**values: Any) -> ResponseReturnValue:
        visit = current_visit()
        if ("POST" if request.method == "POST" else "GET") not in methods:
            return _elsewhere(visit, methods, values)
        with speaking(visit.locale):
            return view(visit, **values)

    return serve
