"""The course of sessions: how many, how far apart, and which dates keep to it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from intake_plugin.clinical.answers import Answers
from intake_plugin.clinical.protocol import Area, Course, Protocol, Wait

_ANY_DAY: Final = dt.date(2001, 1, 1)
"""Waits of months and of days are ranked by where they end when they begin here."""


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """How a course may run: number of sessions, and the waits from each session to the next."""

    course_id: str
    area_id: str
    sessions: int
    sessions_min: int
    sessions_max: int
    gap_min: Wait
    gap_usual: Wait
    gap_max: Wait


def plan_course(protocol: Protocol, answers: Answers, *, sessions: int | None = None) -> CoursePlan:
    """Return the course for the concern answered; `sessions` overrides the usual number.

    The least gap is the later of the protocol's and the course's, the greatest is the course's with
    the protocol's leeway, but never past the gap after which a course starts again. Raises
    LookupError when concern or area is unanswered, ValueError when `sessions` is outside the course.
    """
    course = course_of(protocol, answers)
    limits = protocol.course_limits
    gap_min = max(limits.gap_min, course.interval.min, key=length)
    longest = course.interval.max
    reach = Wait(months=longest.months + limits.leeway.months, days=longest.days + limits.leeway.days)
    count = course.sessions.usual if sessions is None else sessions
    if not course.sessions.min <= count <= course.sessions.max:
        raise ValueError(
            f"{count} sessions are outside the course {course.id!r};"
            f" choose {course.sessions.min} to {course.sessions.max}."
        )
    return CoursePlan(
        course_id=course.id,
        area_id=area_of(protocol, answers).id,
        sessions=count,
        sessions_min=course.sessions.min,
        sessions_max=course.sessions.max,
        gap_min=gap_min,
        gap_usual=max(gap_min, course.interval.usual, key=length),
        gap_max=min(reach, limits.restart_after, key=length),
    )


def course_of(protocol: Protocol, answers: Answers) -> Course:
    """Return the course for the concern answered; raises LookupError when there is none."""
    chosen = answers.get(protocol.course_question)
    for course in protocol.courses:
        if course.id == chosen:
            return course
    raise LookupError(f"No course: the question {protocol.course_question!r} has no answer that is a course.")


def area_of(protocol: Protocol, answers: Answers) -> Area:
    """Return the area to be treated; raises LookupError when the question is unanswered."""
    chosen = answers.get(protocol.area_question)
    for area in protocol.areas:
        if area.id == chosen:
            return area
    raise LookupError(f"No area: the question {protocol.area_question!r} has no answer that is an area.")


def length(wait: Wait) -> dt.date:
    """Return a key that ranks waits by length."""
    return wait.after(_ANY_DAY)
