"""Controls of the desk's own forms: dates, times of day, resources."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from wtforms.fields import SelectChoice

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.web.forms import (
    LONGEST_LIFE,
    AnswersForm,
    DateLimits,
    DateParts,
    OneChoice,
    Text,
    Wording,
)
from intake_plugin.web.i18n import _
from intake_plugin.web.visit import Visit

_TIME = re.compile(r"([01]?[0-9]|2[0-3])[:.]?([0-5][0-9])")


class TimeOfDay(Text):
    """A time of day on the clinic's clock, like 09:30; `answer` is always written so."""

    def unreadable(self) -> str | None:
        """Ask for hours and minutes."""
        if _TIME.fullmatch(self.typed) is None:
            return _("%(subject)s must be a time, like 09:30", subject=self.wording.subject)
        return None

    def read(self) -> str:
        """Return the time as ISO 8601 writes it."""
        found = _TIME.fullmatch(self.typed)
        if found is None:
            raise TypeError("Only a readable time is read.")
        return f"{int(found[1]):02}:{found[2]}"


def time_control(label: str) -> Any:
    """Return a control for a time of day."""
    missing = _("Enter a time, like 09:30")
    return TimeOfDay(Wording(label=label, subject=label, missing=missing, hint=_("For example, 09:30.")))


def date_control(visit: Visit, label: str, *, tense: str = "any") -> Any:
    """Return a control for a date within a lifetime of today; `tense` is "future" or "any"."""
    today = visit.office.today.replace(day=1)
    limits = DateLimits(
        today=visit.office.today,
        tense=tense,
        first=today.replace(year=today.year - LONGEST_LIFE),
        last=today.replace(year=today.year + LONGEST_LIFE),
    )
    return DateParts(Wording(label=label, subject=label, missing=_("Enter a date")), limits=limits)


def resource_control(visit: Visit, *, whole: str | None = None) -> Any:
    """Return a control for one of the clinic's resources; `whole` names a choice of none in particular."""
    options = [SelectChoice(value="", label=whole)] if whole else []
    options += [SelectChoice(value=each.id, label=each.name) for each in visit.clinic.resources]
    label = _("Practitioner or room")
    wording = Wording(label=label, subject=label, missing=_("Select a practitioner or a room"))
    return OneChoice(wording, options=options, default="" if whole else None)


def local_of(form: AnswersForm, date: str, time: str) -> dt.datetime:
    """Return the wall time (naive) that two valid controls name."""
    day = form.answers[date]
    if not isinstance(day, PartialDate):
        raise TypeError("Only a validated form has a date.")
    return dt.datetime.combine(day.earliest, dt.time.fromisoformat(str(form.answers[time])))


def moment_of(visit: Visit, form: AnswersForm, date: str, time: str) -> dt.datetime | None:
    """Return the instant (UTC) of a wall time that the clinic's clock shows, None for one it skips."""
    local, zone = local_of(form, date, time), visit.clinic.zone
    moment = local.replace(tzinfo=zone).astimezone(dt.UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == local else None
