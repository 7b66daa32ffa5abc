"""The desk's pages about time: what staff block by hand, and why a time is not offered."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flask import redirect, request
from flask.typing import ResponseReturnValue

from intake_plugin.journeys import blocking, why
from intake_plugin.records import audit
from intake_plugin.state import current_staff
from intake_plugin.web import desk_forms, forms
from intake_plugin.web.change_pages import resource_names
from intake_plugin.web.forms import Mistake, Text, Wording
from intake_plugin.web.i18n import _, format_moment
from intake_plugin.web.intake_pages import MISTAKEN
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit
from intake_plugin.web.why_words import reason_words, unasked_words


def blocks(visit: Visit) -> ResponseReturnValue:
    """List what is blocked; a post blocks more."""
    may_write = current_staff().role == "decide"
    posted = request.form if request.method == "POST" else None
    form = forms.make_form(_block_controls(visit), posted)
    mistakes: tuple[Mistake, ...] = ()
    if posted is not None:
        mistakes = () if form.validate() else form.mistakes
        if not mistakes:
            start, end = _ends(visit, form)
            mistakes = _wrong_ends(visit, start, end)
        if not mistakes:
            reason, resource = str(form.answers["reason"]), str(form.answers["resource"])
            blocking.block(visit.office, current_staff(), resource, start, end, reason)
            return redirect(visit.url("staff.blocks"), 303)
    html = show(
        visit,
        "staff_blocks.html",
        page="staff",
        heading=_("Blocked time"),
        back=visit.url("staff.queue"),
        mistakes=mistakes,
        blocks=blocking.blocks(visit.office),
        form=form,
        may_write=may_write,
        resources=resource_names(visit),
        staff=current_staff(),
    )
    return html, MISTAKEN if mistakes else 200


def _wrong_ends(visit: Visit, start: dt.datetime, end: dt.datetime) -> tuple[Mistake, ...]:
    if end <= start:
        return (Mistake("until_time", _("The end must be after the beginning")),)
    latest = blocking.latest_end(visit.office, start)
    if end > latest:
        moment = format_moment(latest.astimezone(visit.clinic.zone))
        return (Mistake("until-day", _("One block can last until %(moment)s at most", moment=moment)),)
    return ()


def _ends(visit: Visit, form: forms.AnswersForm) -> tuple[dt.datetime, dt.datetime]:
    """Return a block's ends; of an hour that the clock shows twice, it takes both."""
    start = desk_forms.local_of(form, "from", "from_time").replace(tzinfo=visit.clinic.zone)
    end = desk_forms.local_of(form, "until", "until_time").replace(tzinfo=visit.clinic.zone, fold=1)
    return start.astimezone(dt.UTC), end.astimezone(dt.UTC)


def _block_controls(visit: Visit) -> dict[str, Any]:
    reason = Wording(
        label=_("Reason"),
        subject=_("Reason"),
        missing=_("Enter the reason"),
        hint=_("Only the desk sees it."),
    )
    return {
        "resource": desk_forms.resource_control(visit),
        "from": desk_forms.date_control(visit, _("First day")),
        "from_time": desk_forms.time_control(_("Beginning")),
        "until": desk_forms.date_control(visit, _("Last day"), tense="future"),
        "until_time": desk_forms.time_control(_("End")),
        "reason": Text(reason),
    }


def unblock(visit: Visit, block_id: str) -> ResponseReturnValue:
    """Give the time of a block back."""
    blocking.unblock(visit.office, current_staff(), block_id)
    return redirect(visit.url("staff.blocks"), 303)


def why_not(visit: Visit) -> ResponseReturnValue:
    """Say why a time is not offered."""
    asked = request.args if any(request.args.values()) else None
    form = forms.make_form(_why_controls(visit), asked)
    found = None
    if asked is not None and form.validate():
        answers = form.answers
        found = why.why_not_offered(
            visit.office,
            desk_forms.local_of(form, "date", "time"),
            actor=audit.Actor(kind="staff", id=current_staff().id),
            resource_id=str(answers["resource"] or "") or None,
            reference=str(answers["reference"] or "").upper() or None,
        )
    html = show(
        visit,
        "staff_why.html",
        page="staff",
        heading=_("Why is this time not offered?"),
        back=visit.url("staff.queue"),
        mistakes=form.mistakes,
        form=form,
        why=found,
        reasons=[reason_words(visit.clinic, found, each) for each in found.reasons] if found else [],
        unasked=unasked_words(found) if found else "",
        titles={
            key: each.protocol.words(visit.locale).title for key, each in visit.clinic.treatments.items()
        },
    )
    return html, MISTAKEN if form.mistakes else 200


def _why_controls(visit: Visit) -> dict[str, Any]:
    reference = Wording(
        label=_("Case reference"),
        subject=_("Case reference"),
        missing="",
        hint=_("Leave it empty to ask about any patient."),
    )
    return {
        "resource": desk_forms.resource_control(visit, whole=_("Anybody")),
        "date": desk_forms.date_control(visit, _("Date")),
        "time": desk_forms.time_control(_("Arrival")),
        "reference": Text(reference, required=False),
    }
