from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from intake_plugin.records import tokens
from intake_plugin.records.tables import Case, TokenPurpose
from tests.records.conftest import MakeCase

HOUR = dt.timedelta(hours=1)
INSTANT = dt.timedelta(microseconds=1)


@pytest.fixture
def case(session: Session, make_case: MakeCase) -> Case:
    case = make_case()
    session.add(case)
    session.commit()
    return case


def issue(session: Session, case: Case, now: dt.datetime, purpose: TokenPurpose = TokenPurpose.MANAGE) -> str:
    raw = tokens.issue(session, "north", case.id, purpose, now, HOUR)
    session.commit()
    return raw


def test_a_token_opens_its_case_until_its_time_is_over(
    session: Session, case: Case, now: dt.datetime
) -> None:
    raw = issue(session, case, now)
    for moment in (now, now + HOUR - INSTANT):
        found = tokens.find(session, "north", raw, TokenPurpose.MANAGE, moment)
        assert found is not None
        assert found.case_id == case.id
    assert tokens.find(session, "north", raw, TokenPurpose.MANAGE, now + HOUR) is None


def test_a_token_opens_nothing_else(session: Session, case: Case, now: dt.datetime) -> None:
    raw = issue(session, case, now)
    for purpose in set(TokenPurpose) - {TokenPurpose.MANAGE}:
        assert tokens.find(session, "north", raw, purpose, now) is None
    assert tokens.find(session, "south", raw, TokenPurpose.MANAGE, now) is None
    assert tokens.find(session, "north", raw + "A", TokenPurpose.MANAGE, now) is None


@pytest.mark.parametrize("raw", ["", "x", "\udcff", "'; DROP TABLE intake_token; --", "🙂" * 10_000])
def test_what_was_never_issued_opens_nothing(
    session: Session, case: Case, now: dt.datetime, raw: str
) -> None:
    issue(session, case, now)
    assert tokens.find(session, "north", raw, TokenPurpose.MANAGE, now) is None


def test_neither_a_token_nor_what_would_replace_it_is_in_the_database(
    session: Session, case: Case, now: dt.datetime
) -> None:
    raw = issue(session, case, now)
    row = session.execute(sa.text("SELECT * FROM intake_token")).one()
    assert raw not in map(str, row)
    assert tokens.find(session, "north", row.hash, TokenPurpose.MANAGE, now) is None
    assert len(raw) == 43
    assert issue(session, case, now) != raw


def test_a_revoked_token_opens_nothing(session: Session, case: Case, now: dt.datetime) -> None:
    link, cookie = (issue(session, case, now, TokenPurpose(p)) for p in ("manage", "session"))
    found = tokens.find(session, "north", link, TokenPurpose.MANAGE, now)
    assert found is not None
    found.revoked_at = now
    session.commit()
    assert tokens.find(session, "north", link, TokenPurpose.MANAGE, now) is None
    assert tokens.find(session, "north", cookie, TokenPurpose.SESSION, now) is not None
