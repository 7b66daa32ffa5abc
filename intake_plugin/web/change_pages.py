"""The pages that move and cancel a booked session, for its patient and for the clinic's desk."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from flask import redirect, request
from flask.typing import ResponseReturnValue

from intake_plugin.errors import ReadOnly, TimeTaken
from intake_plugin.journeys import booking, changing, review
from intake_plugin.journeys.changing import Move, Moving
from intake_plugin.records.tables import Appointment, AppointmentState, Case
from intake_plugin.scheduling.slots import Slot
from intake_plugin.state import Staff, current_staff
from intake_plugin.web import desk_forms, forms
from intake_plugin.web.booking_pages import CONFLICT, Day, first_date, posted_moment
from intake_plugin.web.forms import AnswersForm, LongText, Mistake, Wording
from intake_plugin.web.i18n import _, format_day, ngettext
from intake_plugin.web.intake_pages import MISTAKEN
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit


@dataclass(frozen=True, slots=True)
class Side:
    """From which side a session is changed: its patient's, or the desk's when there is `staff`."""

    visit: Visit
    case: Case
    ordinal: int
    staff: Staff | None = None

    @property
    def page(self) -> str:
        """The page's name in the contract."""
        return "manage" if self.staff is None else "staff"

    @property
    def home(self) -> str:
        """The address of the page that lists the sessions."""
        if self.staff is None:
            return self.visit.url("manage")
        return self.visit.url("staff.case_page", reference=self.case.reference)

    def url(self, endpoint: str, **values: Any) -> str:
        """Return the address of one of the session's own pages on this side."""
        if self.staff is None:
            return self.visit.url(endpoint, ordinal=self.ordinal, **values)
        reference = self.case.reference
        return self.visit.url(f"staff.{endpoint}", reference=reference, ordinal=self.ordinal, **values)


def _desk(visit: Visit, reference: str, ordinal: int) -> Side:
    staff = current_staff()
    if staff.role != "decide":
        raise ReadOnly("Your account can look at cases and change none.")
    return Side(visit, review.by_reference(visit.office, reference), ordinal, staff)


def move(visit: Visit, ordinal: int) -> ResponseReturnValue:
    """Offer new times for a session, then show what the move means, then do it."""
    return _move(Side(visit, visit.own, ordinal))


def desk_move(visit: Visit, reference: str, ordinal: int) -> ResponseReturnValue:
    """Move a session for its patient."""
    return _move(_desk(visit, reference, ordinal))


def cancel(visit: Visit, ordinal: int) -> ResponseReturnValue:
    """Ask whether to cancel a session; a post does it."""
    return _cancel(Side(visit, visit.own, ordinal))


def desk_cancel(visit: Visit, reference: str, ordinal: int) -> ResponseReturnValue:
    """Cancel a session for its patient."""
    return _cancel(_desk(visit, reference, ordinal))


# Move --------------------------------------------------------------------------------------------


def _move(side: Side) -> ResponseReturnValue:
    if request.method == "GET":
        return _times_page(side)
    arrive = posted_moment(request.form.get("arrive"))
    if arrive is None:
        return _times_page(side, Mistake("arrive", _("Select a new time for the session"))), MISTAKEN
    asked = _Asked(side, arrive, (("arrive", arrive.isoformat()),))
    return _check_or_act(asked) or (
        _times_page(side, Mistake("arrive", _("The time you chose is no longer free. Choose another one."))),
        CONFLICT,
    )


def _times_page(side: Side, *mistakes: Mistake) -> str:
    office, visit = side.visit.office, side.visit
    found = changing.move_times(office, side.case, side.ordinal, first=first_date(), staff=side.staff)
    days = tuple(Day(date, tuple(slots)) for date, slots in groupby(found.slots, key=lambda slot: slot.date))
    return show(
        visit,
        "move.html",
        page=side.page,
        heading=_("Choose a new time for session %(number)s", number=side.ordinal),
        back=side.home,
        mistakes=mistakes if days else (),
        days=days,
        times=found,
        week=lambda date: side.url("move_session", **{"from": date}),
        names=_names(side),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What somebody asked for: the session's new arrival, and the fields that said so."""

    side: Side
    arrive: dt.datetime
    carried: tuple[tuple[str, str], ...]
    reason: str | None = None

    def chosen(self, along: Mapping[int, dt.datetime]) -> dict[int, dt.datetime]:
        return {**along, self.side.ordinal: self.arrive}

    def plan(self, along: Mapping[int, dt.datetime]) -> Move:
        side = self.side
        return changing.plan_move(
            side.visit.office,
            side.case,
            side.ordinal,
            self.chosen(along),
            staff=side.staff,
            overlap=self.reason is not None,
        )

    def move(self, along: Mapping[int, dt.datetime]) -> None:
        side = self.side
        changing.move(
            side.visit.office,
            side.case,
            side.ordinal,
            self.chosen(along),
            staff=side.staff,
            reason=self.reason,
        )


def _check_or_act(asked: _Asked) -> ResponseReturnValue | None:
    """Move, or show what the move means; None when the time itself cannot be had."""
    along = _along(asked.side.ordinal)
    if along is None:
        mistake = Mistake("sessions", _("Select a time for every session"))
        return _plan_page(asked, {}, mistake, status=MISTAKEN)
    if request.form.get("action") != "move":
        return _plan_page(asked, along)
    try:
        asked.move(along)
    except TimeTaken:
        mistake = Mistake(
            "sessions", _("The times have changed since this page was shown. Check them again.")
        )
        return _plan_page(asked, along, mistake, status=CONFLICT)
    return redirect(asked.side.home, 303)


def _along(ordinal: int) -> dict[int, dt.datetime] | None:
    """Return the posted times of the sessions that move along, or None when one cannot be read."""
    chosen: dict[int, dt.datetime] = {}
    for name, value in request.form.items():
        stem, _dash, number = name.partition("-")
        if stem != "session" or not (number.isdecimal() and number.isascii() and len(number) <= len("99")):
            continue
        moment = posted_moment(value)
        if moment is None:
            return None
        if int(number) > ordinal:
            chosen[int(number)] = moment
    return chosen


@dataclass(frozen=True, slots=True)
class MovingChoice:
    """A session that moves along, with the times it may have instead."""

    moving: Moving
    options: tuple[Slot, ...]
    mistake: str | None


def _plan_page(
    asked: _Asked, along: Mapping[int, dt.datetime], *mistakes: Mistake, status: int = 200
) -> ResponseReturnValue | None:
    try:
        plan = asked.plan(along)
    except TimeTaken:
        return None
    side = asked.side
    choices = tuple(_choice(each) for each in plan.sessions[1:])
    problems = [
        Mistake(f"session-{each.moving.appointment.ordinal}", each.mistake)
        for each in choices
        if each.mistake is not None
    ]
    html = show(
        side.visit,
        "move_check.html",
        page=side.page,
        heading=ngettext("Move this session", "Move these %(num)s sessions", len(plan.sessions)),
        back=side.url("move_session"),
        mistakes=(*problems, *(() if problems else mistakes)),
        moved=plan.sessions[0],
        choices=choices,
        plan=plan,
        carried=asked.carried,
        reason=asked.reason,
        staff=side.staff,
        resources=resource_names(side.visit),
        names=_names(side),
    )
    return html, MISTAKEN if problems and status == 200 else status


def _choice(moving: Moving) -> MovingChoice:
    slots = [] if moving.slot is None else [moving.slot]
    if moving.proposal is not None:
        slots += moving.proposal.alternatives
    return MovingChoice(
        moving=moving,
        options=tuple(sorted(slots, key=lambda slot: slot.arrive)),
        mistake=_problem_words(moving),
    )


def _problem_words(moving: Moving) -> str | None:
    number, proposal = moving.appointment.ordinal, moving.proposal
    if moving.problem is None or proposal is None:
        return None
    if moving.problem == "taken":
        return _("There is no free time for session %(number)s.", number=number)
    return _(
        "Session %(number)s must be between %(earliest)s and %(latest)s.",
        number=number,
        earliest=format_day(proposal.earliest),
        latest=format_day(proposal.latest),
    )


def _names(side: Side) -> dict[str | None, str]:
    """Return the practitioners' names where there is a choice: a move may bring another one."""
    return {each.id: each.name for each in booking.practitioners(side.visit.office, side.case)}


def resource_names(visit: Visit) -> dict[str, str]:
    """Return the names of the clinic's practitioners and rooms by id."""
    return {resource.id: resource.name for resource in visit.clinic.resources}


# Overlap -----------------------------------------------------------------------------------------


def desk_overlap(visit: Visit, reference: str, ordinal: int) -> ResponseReturnValue:
    """Put a session over what is taken, by name and with a reason."""
    side = _desk(visit, reference, ordinal)
    form = forms.make_form(_overlap_controls(visit), request.form if request.method == "POST" else None)
    if request.method == "GET" or not form.validate():
        return _overlap_page(side, form, *form.mistakes)
    arrive = desk_forms.moment_of(visit, form, "date", "time")
    answer = None
    if arrive is not None:
        carried = [(name, value) for name, value in request.form.items() if name in form or "date-" in name]
        asked = _Asked(side, arrive, tuple(carried), reason=str(form.answers["reason"]))
        answer = _check_or_act(asked)
    return answer or _overlap_page(side, form, Mistake("time", _not_even_over(side)))


def _not_even_over(side: Side) -> str:
    found = changing.move_times(side.visit.office, side.case, side.ordinal, staff=side.staff)
    return _(
        "Nobody can be there at that time, or the treatment rules forbid it. The session can be between "
        "%(earliest)s and %(latest)s.",
        earliest=format_day(found.earliest),
        latest=format_day(found.latest),
    )


def _overlap_page(side: Side, form: AnswersForm, *mistakes: Mistake) -> ResponseReturnValue:
    found = changing.move_times(side.visit.office, side.case, side.ordinal, staff=side.staff)
    html = show(
        side.visit,
        "staff_overlap.html",
        page="staff",
        heading=_("Put session %(number)s over another booking", number=side.ordinal),
        back=side.url("move_session"),
        mistakes=mistakes,
        form=form,
        times=found,
    )
    return html, MISTAKEN if mistakes else 200


def _overlap_controls(visit: Visit) -> dict[str, Any]:
    reason = Wording(
        label=_("Reason"),
        subject=_("Reason"),
        missing=_("Enter the reason for the overlap"),
        hint=_("Kept with the session and signed with your name; the patient does not see it."),
    )
    return {
        "date": desk_forms.date_control(visit, _("Date"), tense="future"),
        "time": desk_forms.time_control(_("Arrival")),
        "reason": LongText(reason, max_length=forms.LONGEST_LINE),
    }


# Cancel ------------------------------------------------------------------------------------------


def _cancel(side: Side) -> ResponseReturnValue:
    office = side.visit.office
    if request.method == "POST":
        changing.cancel(office, side.case, side.ordinal, staff=side.staff)
        return redirect(side.home, 303)
    appointment = changing.session_to_cancel(office, side.case, side.ordinal, side.staff)
    return show(
        side.visit,
        "cancel.html",
        page=side.page,
        heading=_("Cancel session %(number)s?", number=side.ordinal),
        back=side.home,
        appointment=appointment,
        move_url=side.url("move_session") if changing.movable(office, appointment, side.staff) else None,
    )


# What other pages show ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What can be changed of a series, by session: addresses of the pages that do it."""

    move: Mapping[int, str]
    cancel: Mapping[int, str]
    overlap: Mapping[int, str]
    shared: Mapping[int, tuple[str, ...]]
    """In words, with whom a session shares its time."""


def patient_changes(visit: Visit, appointments: Sequence[Appointment]) -> Changes:
    """Return what the patient can still change."""
    return _changes(visit, visit.own, appointments, None)


def desk_changes(visit: Visit, case: Case, appointments: Sequence[Appointment]) -> Changes:
    """Return what the desk can still change, and what shares its time with another case."""
    return _changes(visit, case, appointments, current_staff())


def _changes(visit: Visit, case: Case, appointments: Sequence[Appointment], staff: Staff | None) -> Changes:
    office = visit.office
    sides = {each.ordinal: Side(visit, case, each.ordinal, staff) for each in appointments}
    moves = appointments if office.find_treatment(case) else ()
    movable = [each.ordinal for each in moves if changing.movable(office, each, staff)]
    cancellable = [each.ordinal for each in appointments if changing.cancellable(office, each, staff)]
    return Changes(
        move={ordinal: sides[ordinal].url("move_session") for ordinal in movable},
        cancel={ordinal: sides[ordinal].url("cancel_session") for ordinal in cancellable},
        overlap={ordinal: sides[ordinal].url("overlap_session") for ordinal in movable if staff is not None},
        shared={} if staff is None else _shared(visit, appointments),
    )


def _shared(visit: Visit, appointments: Sequence[Appointment]) -> dict[int, tuple[str, ...]]:
    names = resource_names(visit)
    booked = {each.id: each for each in appointments if each.state == AppointmentState.BOOKED}
    words: dict[int, dict[str, None]] = {}
    for each in changing.shared_times(visit.office, list(booked.values())) if booked else ():
        said = _(
            "At the same time as case %(reference)s: %(resource)s",
            reference=each.reference,
            resource=names.get(each.resource_id, each.resource_id),
        )
        words.setdefault(booked[each.appointment_id].ordinal, {})[said] = None
    return {ordinal: tuple(said) for ordinal, said in words.items()}
