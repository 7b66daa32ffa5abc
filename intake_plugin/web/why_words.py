"""The reasons for which a time is not offered, in words, for the desk and for the command line."""

from __future__ import annotations

import datetime as dt

from intake_plugin.clinical.screening import FAILURE, NUMBING, UNANSWERED, Finding
from intake_plugin.fetching import place_of
from intake_plugin.journeys.busy import Elsewhere
from intake_plugin.journeys.why import Reason, Why
from intake_plugin.settings import Clinic
from intake_plugin.web.i18n import _, format_date, format_duration, format_moment, format_time


def reason_words(clinic: Clinic, why: Why, reason: Reason) -> str:
    """Return one reason as a sentence."""
    return (
        _time_words(clinic, why, reason) or _rule_words(clinic, why, reason) or _place_words(clinic, reason)
    )


def _time_words(clinic: Clinic, why: Why, reason: Reason) -> str | None:
    match reason.kind:
        case "skipped":
            return _("The clock skips this time: it goes forward that night.")
        case "twice":
            return _("The clock shows %(start)s twice that night.", start=_Times(clinic, reason).start)
        case "grid":
            near = ", ".join(format_time(moment.astimezone(clinic.zone)) for moment in reason.near)
            grid = format_duration(clinic.booking.grid)
            return _("Arrivals are offered every %(grid)s. The nearest: %(near)s.", grid=grid, near=near)
        case "notice":
            moment = format_moment(why.earliest.astimezone(clinic.zone))
            return _("Too soon: patients can book from %(moment)s.", moment=moment)
        case "horizon":
            date = format_date((why.latest.astimezone(clinic.zone) - dt.timedelta(days=1)).date())
            return _("Too far ahead: a first session can be until %(date)s.", date=date)
        case _:
            return None


def _rule_words(clinic: Clinic, why: Why, reason: Reason) -> str | None:
    match reason.kind:
        case "not-before":
            date = format_date(why.not_before or why.local.date())
            return _("The case may have no session before %(date)s.", date=date)
        case "forbidden" if reason.finding is not None:
            return finding_words(reason.finding)
        case "nobody":
            return _("The clinic has nobody, or no room, for this treatment.")
        case "treatment":
            return _("%(name)s is not there for this treatment.", name=_name(clinic, reason))
        case _:
            return None


def finding_words(finding: Finding) -> str:
    """Return what a finding has against a date, and who can do something about it."""
    words = {"rule": finding.rule_id, "text": finding.reason}
    if finding.rule_id == NUMBING:
        return _("The cream that is in stock is for a clinician to decide in this case: %(text)s", **words)
    if finding.rule_id == UNANSWERED:
        return _("The patient has not answered everything that is asked now: %(text)s", **words)
    if finding.rule_id == FAILURE:
        return _("The answers could not be checked by the protocol as it is now: %(text)s", **words)
    if finding.undetermined:
        return _("The answers do not decide rule %(rule)s, so a clinician has to: %(text)s", **words)
    return _("Rule %(rule)s forbids this date: %(text)s", **words)


def unasked_words(why: Why) -> str:
    """Return what a booked case was never asked: no reason, but to be asked. Empty for nothing."""
    if not why.unasked:
        return ""
    return _(
        "Asked only since this patient’s answers, and to be asked before the session: %(questions)s. "
        "No date is refused because of it.",
        questions="; ".join(why.unasked),
    )


def _place_words(clinic: Clinic, reason: Reason) -> str:
    name, times = _name(clinic, reason), _Times(clinic, reason)
    match reason.kind:
        case "closure":
            return times.closed(name)
        case "hours":
            return times.outside(name)
        case _:
            return times.taken(name)


def _name(clinic: Clinic, reason: Reason) -> str:
    return reason.resource.name if reason.resource else clinic.name


class _Times:
    """A reason's stretch of time on the clinic's clock."""

    def __init__(self, clinic: Clinic, reason: Reason) -> None:
        self._reason = reason
        self.start = "" if reason.start is None else format_moment(reason.start.astimezone(clinic.zone))
        self.end = "" if reason.end is None else format_moment(reason.end.astimezone(clinic.zone))

    def closed(self, name: str) -> str:
        closure = self._reason.closure
        if closure is None:
            raise TypeError("Only a closure closes.")
        words = {"name": name, "first": format_date(closure.first), "last": format_date(closure.last)}
        if closure.reason:
            return _("%(name)s: closed %(first)s to %(last)s (%(why)s).", why=closure.reason, **words)
        return _("%(name)s: closed %(first)s to %(last)s.", **words)

    def outside(self, name: str) -> str:
        words = {"name": name, "start": self.start, "end": self.end}
        return _("The opening hours of %(name)s do not hold %(start)s to %(end)s.", **words)

    def taken(self, name: str) -> str:
        reason = self._reason
        words = {"name": name, "start": self.start, "end": self.end}
        if reason.block is not None:
            who, why = reason.block.staff_name, reason.block.reason
            return _(
                "%(name)s is blocked %(start)s to %(end)s by %(who)s: %(why)s", who=who, why=why, **words
            )
        if reason.elsewhere is not None:
            return self._elsewhere(reason.elsewhere, words)
        by = ""
        if reason.reference is not None:
            by = " " + _("(case %(reference)s)", reference=reason.reference)
        if reason.kind == "buffer":
            return (
                _(
                    "%(name)s is taken %(start)s to %(end)s, and needs time before and after a session.",
                    **words,
                )
                + by
            )
        return _("%(name)s is taken %(start)s to %(end)s.", **words) + by

    def _elsewhere(self, elsewhere: Elsewhere, words: dict[str, str]) -> str:
        place = place_of(elsewhere.source.source)
        if elsewhere.known:
            return _(
                "%(name)s is busy %(start)s to %(end)s in the calendar at %(place)s.", place=place, **words
            )
        return _(
            "Nobody knows when %(name)s is free: what was read of the calendar at %(place)s is too old, or "
            "ends before.",
            name=words["name"],
            place=place,
        )
