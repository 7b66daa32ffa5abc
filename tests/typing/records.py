"""Never run, only type-checked: rows know their columns, and sealed values their plain types."""

from __future__ import annotations

import datetime as dt
from typing import Any, assert_type

import sqlalchemy as sa

from intake_plugin.records.tables import Case, CaseState, Decision, Token


def read(case: Case, decision: Decision) -> None:
    assert_type(case.state, CaseState)
    assert_type(case.created_at, dt.datetime)
    assert_type(case.not_before, dt.date | None)
    assert_type(case.answers, dict[str, Any])
    assert_type(case.identity, dict[str, Any] | None)
    assert_type(decision.note, str)
    assert_type(sa.select(Case.state, Case.not_before), sa.Select[CaseState, dt.date | None])


def write(case: Case, decision: Decision, now: dt.datetime) -> None:
    case.identity = None
    case.answers = {"pregnant": "no"}
    case.answers = None  # type: ignore[assignment]
    decision.note = b"seen"  # type: ignore[assignment]
    case.anwers = {}  # type: ignore[attr-defined]
    Token(clinic_id="north")  # type: ignore[call-arg]
    Token("north")  # type: ignore[call-arg]
