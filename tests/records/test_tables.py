from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from intake_plugin.clinical.protocol import Outcome
from intake_plugin.records import tokens
from intake_plugin.records.base import Base
from intake_plugin.records.tables import (
    Appointment,
    Case,
    CaseState,
    Decision,
    Series,
    Signature,
    TokenPurpose,
    Verdict,
)
from tests.records.conftest import MakeCase


def whole_case(make_case: MakeCase, now: dt.datetime) -> list[Base]:
    """A case with everything that can refer to it, parents first."""
    case = make_case(state=CaseState.BOOKED)
    series = Series(clinic_id="north", case_id=case.id, course_id="scars", area_id="face", created_at=now)
    return [
        case,
        Signature(
            clinic_id="north",
            case_id=case.id,
            document_id="treatment",
            version="1",
            locale="en",
            text="I have read this.",
            sha256="a" * 64,
            button="Sign",
            answers_hash="b" * 64,
            chain_head="c" * 64,
            signed_at=now,
            signer={"name": "Ada"},
        ),
        Decision(
            clinic_id="north",
            case_id=case.id,
            staff_id="7",
            staff_name="Dr Ruiz",
            verdict=Verdict.CLEAR,
            note="Seen.",
            answers_hash="b" * 64,
            decided_at=now,
        ),
        series,
        Appointment(
            clinic_id="north",
            id="7d444840-9dc0-11d1-b245-5ffdce74fad2",
            series_id=series.id,
            case_id=case.id,
            ordinal=1,
            count=3,
            zone="Europe/London",
            local_start="2026-04-10T10:00",
            arrive_at=now,
            treatment_at=now,
            end_at=now,
            created_at=now,
            modified_at=now,
        ),
    ]


@pytest.mark.parametrize("in_order", [True, False])
def test_a_whole_case_is_stored_in_any_order_and_read_back(
    session: Session,
    make_session: Callable[[], Session],
    make_case: MakeCase,
    now: dt.datetime,
    in_order: bool,
) -> None:
    rows = whole_case(make_case, now)
    session.add_all(rows if in_order else reversed(rows))
    session.commit()
    other = make_session()
    for row in rows:
        key = sa.inspect(row).identity
        found = other.get_one(type(row), key)
        for column in sa.inspect(type(row)).column_attrs:
            assert getattr(found, column.key) == getattr(row, column.key), column


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_an_instant_keeps_its_microseconds_and_comes_back_in_utc(
    session: Session, make_case: MakeCase, now: dt.datetime, zone: str
) -> None:
    case = make_case(submitted_at=now.astimezone(ZoneInfo(zone)))
    session.add(case)
    session.commit()
    assert case.submitted_at == now
    assert case.submitted_at.utcoffset() == dt.timedelta()
    later = now + dt.timedelta(microseconds=1)
    assert session.scalars(sa.select(Case).where(Case.submitted_at < later)).one() is case
    assert not session.scalars(sa.select(Case).where(Case.submitted_at > now)).all()


def test_a_time_without_a_zone_is_refused(session: Session, make_case: MakeCase, now: dt.datetime) -> None:
    session.add(make_case(submitted_at=now.replace(tzinfo=None)))
    with pytest.raises(StatementError, match="has no time zone; give an aware datetime"):
        session.flush()


def test_a_state_is_stored_as_its_word_and_read_as_the_member(session: Session, make_case: MakeCase) -> None:
    case = make_case(state=CaseState.REVIEW, outcome=Outcome.REVIEW)
    session.add(case)
    session.commit()
    assert case.state is CaseState.REVIEW
    assert session.execute(sa.text("SELECT state, outcome FROM intake_case")).one() == ("review", "review")


def test_a_state_that_is_none_is_refused(session: Session, make_case: MakeCase) -> None:
    session.add(make_case(state="lost"))
    with pytest.raises(StatementError, match="'lost' is not a valid CaseState"):
        session.flush()


def test_ids_differ_by_case_on_every_database(session: Session, make_case: MakeCase) -> None:
    case = make_case(clinic_id="north")
    session.add(case)
    session.add(make_case(clinic_id="North", id=case.id, reference=case.reference))
    session.commit()
    assert session.scalars(sa.select(Case).where(Case.clinic_id == "north")).one() is case


def test_a_reference_is_given_once_per_clinic(session: Session, make_case: MakeCase) -> None:
    session.add_all([make_case(reference="K7M-2QXF"), make_case(reference="K7M-2QXF", clinic_id="south")])
    session.commit()
    session.add(make_case(reference="K7M-2QXF"))
    with pytest.raises(IntegrityError):
        session.flush()


def test_the_second_writer_of_a_case_is_told(
    session: Session, make_session: Callable[[], Session], make_case: MakeCase
) -> None:
    case = make_case()
    session.add(case)
    session.commit()
    other = make_session()
    theirs = other.scalars(sa.select(Case)).one()
    case.locale, theirs.locale = "de", "es"
    session.commit()
    with pytest.raises(StaleDataError):
        other.commit()


def test_long_texts_and_answers_are_kept_whole(
    session: Session, make_case: MakeCase, now: dt.datetime
) -> None:
    case, signature, *_ = whole_case(make_case, now)
    assert isinstance(case, Case)
    assert isinstance(signature, Signature)
    signature.text = "Ich willige ein. 🙂 " * 10_000
    case.answers = {"note": "ß" * 100_000}
    session.add_all([case, signature])
    session.commit()
    session.expire_all()
    assert signature.text == "Ich willige ein. 🙂 " * 10_000
    assert case.answers == {"note": "ß" * 100_000}


@pytest.mark.usefixtures("app")
def test_a_row_shows_its_key_and_nothing_else(make_case: MakeCase, now: dt.datetime) -> None:
    rows = whole_case(make_case, now)
    case = rows[0]
    assert isinstance(case, Case)
    assert repr(case) == f"<Case clinic_id='north', id={case.id!r}>"
    assert "Dr Ruiz" not in repr(rows)
    assert "Ada" not in repr(rows)


def test_a_signature_without_its_case_is_refused_where_the_database_can(
    app: Flask, session: Session, make_case: MakeCase, now: dt.datetime
) -> None:
    if session.get_bind().dialect.name == "sqlite":
        session.execute(sa.text("PRAGMA foreign_keys = ON"))
    _, signature, *_ = whole_case(make_case, now)
    session.add(signature)
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_token_may_be_added_with_its_case(session: Session, make_case: MakeCase, now: dt.datetime) -> None:
    case = make_case()
    session.add(case)
    tokens.issue(session, "north", case.id, TokenPurpose.SESSION, now, dt.timedelta(hours=1))
    session.commit()


def test_clinic_leads_every_key_and_index() -> None:
    for table in Base.metadata.tables.values():
        assert next(iter(table.primary_key.columns)).name == "clinic_id", table
        for index in table.indexes:
            assert next(iter(index.columns)).name == "clinic_id", index
