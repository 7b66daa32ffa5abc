"""The care notes of one session: what to do, from when, until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal, NamedTuple
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
    session = _Session(start.astimezone(zone), end.astimezone(zone), zone)
    return tuple(
        CareEntry(
            id=step.id,
            phase=step.phase,
            text=_text(step, protocol, words),
            starts=_moment(step, starts(step, protocol), session),
            ends=_end(step, session),
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


class _Session(NamedTuple):
    """A session on the clinic's clock."""

    start: dt.datetime
    end: dt.datetime
    zone: ZoneInfo


def _end(step: CareStep, session: _Session) -> Moment | None:
    if step.ends is not None:
        return _moment(step, step.ends, session)
    return session.start if step.phase == "before" else None


def _moment(step: CareStep, away: Wait | dt.timedelta, session: _Session) -> Moment:
    before = step.phase == "before"
    anchor = session.start if before else session.end
    if isinstance(away, dt.timedelta):
        exact = anchor.astimezone(dt.UTC) - away if before else anchor.astimezone(dt.UTC) + away
        return exact.astimezone(session.zone)
    if away == Wait() and not before:
        return anchor
    return away.before(anchor.date()) if before else away.after(anchor.date())
