"""The clinic's page about calendars that are kept elsewhere: how old each is, and what that means."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from flask.typing import ResponseReturnValue

from intake_plugin.fetching import place_of
from intake_plugin.journeys import busy
from intake_plugin.journeys.busy import OVERLAPS_SHOWN, Freshness
from intake_plugin.web.i18n import _, format_duration
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarRow:
    """One calendar as the clinic reads it; `place` is its server or file, never its whole address."""

    freshness: Freshness
    resource: str
    place: str
    age: str
    meaning: str


def calendars(visit: Visit) -> ResponseReturnValue:
    """Show how well each calendar from outside is known, and what was booked over it."""
    names = {resource.id: resource.name for resource in visit.clinic.resources}
    overlaps = busy.overlaps(visit.office)
    return show(
        visit,
        "staff_calendars.html",
        page="staff",
        heading=_("Calendars kept elsewhere"),
        back=visit.url("staff.queue"),
        calendars=[_row(visit, each, names) for each in busy.freshness(visit.office)],
        overlaps=overlaps,
        more=len(overlaps) == OVERLAPS_SHOWN,
        resources=names,
    )


def _row(visit: Visit, freshness: Freshness, names: dict[str, str]) -> CalendarRow:
    source = freshness.source
    return CalendarRow(
        freshness=freshness,
        resource=names[source.resource],
        place=place_of(source.source),
        age=_age(visit.office.now, freshness.read_at),
        meaning=_meaning(freshness),
    )


def _age(now: dt.datetime, read_at: dt.datetime | None) -> str:
    if read_at is None:
        return _("never")
    age = max(now - read_at, dt.timedelta())
    days = dt.timedelta(days=age.days)
    return _("%(duration)s ago", duration=format_duration(days if age.days > 1 else age))


def _meaning(freshness: Freshness) -> str:
    if freshness.blocks:
        return _("Too old: nothing is offered")
    if freshness.stale:
        return _("Too old: times are offered and may be taken")
    return _("Up to date")


def stale_calendars(visit: Visit) -> tuple[Freshness, ...]:
    """Return the calendars that are too old, for the warning on the queue."""
    return tuple(each for each in busy.freshness(visit.office) if each.stale)
