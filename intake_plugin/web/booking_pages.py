"""The pages from the preparation notes to the booked series and its calendar files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from flask import Response, abort, redirect, request
from flask.typing import ResponseReturnValue

from intake_plugin.clinical.care import CareEntry
from intake_plugin.clinical.protocol import Texts
from intake_plugin.errors import TimeTaken
from intake_plugin.journeys import booking, files, intake
from intake_plugin.journeys.times import Session
from intake_plugin.records.tables import Appointment, AppointmentState
from intake_plugin.scheduling.slots import Slot
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.forms import Mistake
from intake_plugin.web.i18n import _, format_day, format_moment, format_month, format_time, ngettext
from intake_plugin.web.intake_pages import MISTAKEN
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit

CONFLICT = 409
"""Status of a page that shows fresh times because a chosen one has gone."""


# Preparation -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumbingWords:
    """The numbing cream of a case as the pages tell it."""

    name: str
    about: str
    contact: dt.timedelta | None
    most: dt.timedelta | None
    home: bool


def _numbing_words(session: Session, texts: Texts) -> NumbingWords | None:
    product = session.choice.product
    if product is None:
        return None
    words = texts.products[product.id]
    return NumbingWords(
        name=words.name,
        about=words.about,
        contact=session.contact,
        most=session.choice.contact_max,
        home=session.home,
    )


def care_groups(entries: Iterable[CareEntry]) -> dict[str, list[CareEntry]]:
    """Return care entries by phase: before, after, call, urgent."""
    groups: dict[str, list[CareEntry]] = {"before": [], "after": [], "call": [], "urgent": []}
    for entry in entries:
        groups[entry.phase].append(entry)
    return groups


def notes(visit: Visit) -> ResponseReturnValue:
    """Tell how to prepare, before any time is chosen."""
    office, case = visit.office, visit.own
    found = booking.notes(office, case)
    if request.method == "POST":
        return redirect(visit.next_url, 303)
    protocol, texts = office.protocol_of(case), office.texts_of(case)
    return show(
        visit,
        "notes.html",
        page="notes",
        heading=_("Before you choose your times"),
        back=visit.url("consent"),
        numbing=_numbing_words(found.session, texts),
        session=found.session,
        timeline=[texts.timeline[step.id] for step in protocol.timeline.steps],
        quiet_after=protocol.timeline.quiet_after,
        care=care_groups(found.before),
    )


# Times -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Day:
    """The times of one day; `date` is the clinic's own."""

    date: dt.date
    slots: tuple[Slot, ...]


def times(visit: Visit) -> ResponseReturnValue:
    """Offer one week of times for the first session."""
    intake.require(visit.office, visit.own, "times")
    if request.method != "POST":
        return _times_page(visit)
    arrive = posted_moment(request.form.get("arrive"))
    if arrive is None:
        mistake = Mistake("arrive", _("Select the time of your first session"))
        return _times_page(visit, mistake), MISTAKEN
    try:
        booking.choose_first(visit.office, visit.own, arrive, practitioner_id=_asked_for())
    except TimeTaken:
        mistake = Mistake("arrive", _("The time you chose is no longer free. Choose another one."))
        return _times_page(visit, mistake), CONFLICT
    return redirect(visit.url("series"), 303)


def _times_page(visit: Visit, *mistakes: Mistake) -> str:
    office, case = visit.office, visit.own
    found = booking.times(office, case, first=first_date(), practitioner_id=_asked_for())
    days = tuple(Day(date, tuple(slots)) for date, slots in groupby(found.slots, key=lambda slot: slot.date))
    return show(
        visit,
        "times.html",
        page="slots",
        heading=_("Choose your first session"),
        back=visit.url("notes"),
        mistakes=mistakes if days else (),
        days=days,
        times=found,
        practitioners=booking.practitioners(office, case),
        numbing=_numbing_words(found.session, office.texts_of(case)),
        not_before=case.not_before,
    )


def month(visit: Visit) -> ResponseReturnValue:
    """Show which days of a month have times for the first session."""
    office = visit.office
    date = first_date() or office.today
    found = booking.month(office, visit.own, date=date, practitioner_id=_asked_for())
    heading = _("Days with free times in %(month)s", month=format_month(found.first))
    return show(visit, "days.html", page="days", heading=heading, back=visit.url("times"), month=found)


def _asked_for() -> str | None:
    return request.values.get("practitioner") or None


def first_date() -> dt.date | None:
    """Return the date from which the page of times was asked for, if it was."""
    asked = request.values.get("from")
    if not asked:
        return None
    try:
        return dt.date.fromisoformat(asked)
    except ValueError:
        abort(400)


def posted_moment(text: str | None) -> dt.datetime | None:
    """Return a posted instant in UTC, or None for anything else."""
    try:
        moment = dt.datetime.fromisoformat(text or "")
        return moment.astimezone(dt.UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


# Series ------------------------------------------------------------------------------------------


_KEEP: Mapping[str, Callable[..., None]] = {"change": booking.change, "extend": booking.extend}
"""The buttons of the series page that keep the choice and book nothing."""


def series(visit: Visit) -> ResponseReturnValue:
    """Propose the whole series; the patient changes sessions or books them all."""
    if request.method != "POST":
        return _series_page(visit)
    chosen = _chosen(request.form)
    if chosen is None:
        mistake = Mistake("sessions", _("Select a time for every session"))
        return _series_page(visit, mistake), MISTAKEN
    if keep := _KEEP.get(request.form.get("action", "")):
        keep(visit.office, visit.own, chosen)
        return redirect(visit.url("series"), 303)
    try:
        booking.confirm(visit.office, visit.own, chosen)
    except TimeTaken:
        booking.change(visit.office, visit.own, chosen)
        return _series_page(visit, taken=True), CONFLICT
    return redirect(visit.url("done"), 303)


def _chosen(posted: Mapping[str, str]) -> dict[int, dt.datetime] | None:
    """Return the posted times by session, the first session among them, or None when any is missing."""
    chosen: dict[int, dt.datetime] = {}
    for name, value in posted.items():
        stem, _dash, ordinal = name.partition("-")
        if stem != "session" or not (ordinal.isdecimal() and len(ordinal) <= len("99")):
            continue
        moment = posted_moment(value)
        if moment is None:
            return None
        chosen[int(ordinal)] = moment
    return chosen if 1 in chosen else None


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """One session on the series page, with what keeps it from being booked as it stands."""

    planned: booking.PlannedSession
    options: tuple[Slot, ...]
    mistake: str | None


def _series_page(visit: Visit, *mistakes: Mistake, taken: bool = False) -> str:
    plan = booking.proposal(visit.office, visit.own)
    sessions = tuple(_session_choice(planned) for planned in plan.sessions)
    problems = [
        Mistake(f"session-{session.planned.proposal.ordinal}", session.mistake)
        for session in sessions
        if session.mistake is not None
    ]
    if taken and not problems:
        taken_since = _("One of these times was taken a moment ago. Check them, and with whom they are.")
        problems = [Mistake("sessions", taken_since)]
    return show(
        visit,
        "series.html",
        page="series",
        heading=ngettext("Check your session", "Check your %(num)s sessions", len(sessions)),
        back=visit.url("times"),
        mistakes=(*mistakes, *problems),
        sessions=sessions,
        plan=plan,
        hold=_hold_words(visit, plan),
        names=_names(visit, plan),
        numbing=_numbing_words(plan.session, visit.office.texts_of(visit.own)),
    )


@dataclass(frozen=True, slots=True)
class HoldWords:
    """Until when the times are held, as the page tells it."""

    until: str
    over: bool
    extendable: bool
    longer: dt.timedelta


def _hold_words(visit: Visit, plan: booking.SeriesPlan) -> HoldWords:
    office, policy = visit.office, visit.clinic.booking
    until = plan.held_until.astimezone(visit.clinic.zone)
    return HoldWords(
        until=format_time(until) if until.date() == office.today else format_moment(until),
        over=plan.held_until <= office.now,
        extendable=booking.extendable(office, plan),
        longer=policy.hold,
    )


def _names(visit: Visit, plan: booking.SeriesPlan) -> dict[str | None, str]:
    """Return the practitioners' names where the patient asked for one, since only then they are kept."""
    if plan.choice.practitioner_id is None:
        return {}
    return {resource.id: resource.name for resource in booking.practitioners(visit.office, visit.own)}


def _session_choice(planned: booking.PlannedSession) -> SessionChoice:
    proposal = planned.proposal
    options = [*([proposal.slot] if proposal.slot else []), *proposal.alternatives]
    return SessionChoice(
        planned=planned,
        options=tuple(sorted(options, key=lambda slot: slot.arrive)),
        mistake=_problem_words(planned),
    )


def _problem_words(planned: booking.PlannedSession) -> str | None:
    proposal, number = planned.proposal, planned.proposal.ordinal
    match planned.problem:
        case None:
            return None
        case "short":
            return _(
                "Session %(number)s is too soon after the one before. Choose a time on %(date)s or later.",
                number=number,
                date=format_day(proposal.earliest),
            )
        case "long":
            return _(
                "Session %(number)s is too long after the one before. Choose a time on %(date)s or earlier.",
                number=number,
                date=format_day(proposal.latest),
            )
        case _:
            return _("The time of session %(number)s is no longer free. Choose another one.", number=number)


# Booked ------------------------------------------------------------------------------------------


def done(visit: Visit) -> ResponseReturnValue:
    """Confirm the booked series: reference, dates, numbing times, calendar files, care."""
    booked = booking.booked(visit.office, visit.own)
    standing = any_standing([session.appointment for session in booked.sessions])
    return show(
        visit,
        "done.html",
        page="done",
        heading=_("Your sessions are booked") if standing else _("Your sessions have been cancelled"),
        case=visit.own,
        sessions=booked.sessions,
        products=product_names(visit, [session.appointment for session in booked.sessions]),
        care=care_groups(booked.sessions[0].care if booked.sessions else ()),
        cancelled=AppointmentState.CANCELLED,
    )


def any_standing(appointments: Iterable[Appointment]) -> bool:
    """Whether any of a case's sessions has not been cancelled."""
    return any(each.state == AppointmentState.BOOKED for each in appointments)


def product_names(visit: Visit, appointments: Sequence[Appointment]) -> dict[str, str]:
    """Return the names of the numbing products of some appointments by id."""
    if visit.office.find_treatment(visit.own) is None:
        return {}
    words = visit.office.texts_of(visit.own).products
    used = {appointment.product_id for appointment in appointments}
    return {key: text.name for key, text in words.items() if key in used}


def series_calendar(visit: Visit) -> ResponseReturnValue:
    """Hand out the calendar file of the whole series."""
    octets = files.series_file(visit.office, visit.own, calendar_words(), link=_manage_link(visit))
    return calendar_response(octets, "appointments.ics")


def session_calendar(visit: Visit, ordinal: int) -> ResponseReturnValue:
    """Hand out the calendar file of one session."""
    octets = files.session_file(visit.office, visit.own, ordinal, calendar_words(), link=_manage_link(visit))
    return calendar_response(octets, f"appointment-{ordinal}.ics")


def _manage_link(visit: Visit) -> str:
    return visit.url("manage", _external=True)


def calendar_response(octets: bytes, filename: str) -> Response:
    """Return a calendar file as a download whose name says nothing of its content."""
    response = Response(octets, content_type="text/calendar; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
