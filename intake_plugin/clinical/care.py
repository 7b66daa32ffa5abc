"""The care notes of one session: what to do, from when, until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.conditions import Known
from intake_plugin.clinical.protocol import CareStep, Protocol, Source, Texts, Wait

Moment = dt.datetime | dt.date


@dataclass(frozen=True, slots=True)
class CareEntry:
    """One care step with its span: a date where whole days count, a local time where hours do."""

    id: str
    phase: Literal["before", "after", "call", "urgent"]
    text: str
    starts: Moment | None
    ends: Moment | None
    sources: tuple[Source, ...]


def care_for(
    protocol: Protocol,
    answers: Answers,
    *,
    start: dt.datetime,
    end: dt.datetime,
    zone: ZoneInfo,
    today: dt.date,
    locale: str,
) -> tuple[CareEntry, ...]:
    """Return the care steps of a session from `start` to `end` (aware), in the protocol's order.

    Waits in days count calendar dates in `zone`, waits in hours count exact time. A step is left
    out when its condition is certainly false; an undecided one stays, since advice does no harm.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError("Start and end of the session need a time zone; pass aware datetimes.")
    known = Known(protocol, answers, today=today)
    words = protocol.words(locale)
    return tuple(
        CareEntry(
            id=step.id,
            phase=step.phase,
            text=_text(step, protocol, words),
            starts=_moment(step, starts(step, protocol), start, end, zone),
            ends=_end(step, start, end, zone),
            sources=step.sources,
        )
        for step in protocol.care
        if step.when is None or known.truth(step.when) is not False
    )


def starts(step: CareStep, protocol: Protocol) -> Wait | dt.timedelta:
    """Return how far from the session the step starts: its named wait, or its own time."""
    return step.starts if step.wait is None else protocol.waits[step.wait]


def _text(step: CareStep, protocol: Protocol, words: Texts) -> str:
    text = words.care[step.id]
    return text if step.wait is None else text.replace("{wait}", words.length(protocol.waits[step.wait]))


def _end(step: CareStep, start: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> Moment | None:
    if step.ends is not None:
        return _moment(step, step.ends, start, end, zone)
    return start.astimezone(zone) if step.phase == "before" else None


def _moment(
    step: CareStep, away: Wait | dt.timedelta, start: dt.datetime, end: dt.datetime, zone: ZoneInfo
) -> Moment:
    before = step.phase == "before"
    anchor = start if before else end
    if isinstance(away, dt.timedelta):
        exact = anchor.astimezone(dt.UTC) - away if before else anchor.astimezone(dt.UTC) + away
        return exact.astimezone(zone)
    if away == Wait() and not before:
        return end.astimezone(zone)
    date = anchor.astimezone(zone).date()
    return away.before(date) if before else away.after(date)
