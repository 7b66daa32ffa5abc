from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from intake_plugin.errors import SealBroken
from intake_plugin.records.tables import Case, Decision
from intake_plugin.state import KEY
from intake_plugin.testing import keys
from tests.records.conftest import MakeApp, MakeCase

IDENTITY = {"name": "Ada Ruíz", "birth_date": "1990-02-28", "email": "ada@example.com", "telephone": "1"}
ANSWERS = {"pregnant": "no", "medicines": ["isotretinoin"], "last-session": {"date": "2026-01"}}


def stored(session: Session, case: Case) -> Case:
    session.add(case)
    session.commit()
    return case


def test_sealed_values_are_read_as_they_were_written(
    session: Session, make_session: Callable[[], Session], make_case: MakeCase
) -> None:
    case = stored(session, make_case(identity=IDENTITY, answers=ANSWERS))
    read = make_session().get_one(Case, ("north", case.id))
    assert (read.identity, read.answers, read.screening) == (IDENTITY, ANSWERS, None)


def test_a_value_left_out_is_empty(session: Session, make_case: MakeCase) -> None:
    case = stored(session, make_case())
    assert (case.identity, case.answers) == (None, {})


def test_nothing_readable_is_in_the_database(
    session: Session, make_case: MakeCase, sealed_columns: tuple[tuple[str, str], ...]
) -> None:
    stored(session, make_case(identity=IDENTITY, answers=ANSWERS))
    row = session.execute(sa.text("SELECT * FROM intake_case")).one()
    raw = b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    for word in (b"Ada", b"Ru", b"1990", b"example.com", b"pregnant", b"isotretinoin"):
        assert word not in raw
    assert ("intake_signature", "signer") in sealed_columns
    assert ("intake_decision", "note") in sealed_columns


def test_a_change_inside_a_value_counts_only_when_it_is_assigned(
    session: Session, make_case: MakeCase
) -> None:
    case = stored(session, make_case(answers=ANSWERS))
    changed = case.answers
    changed["pregnant"] = "yes"
    assert case.answers["pregnant"] == "no"
    case.answers = changed
    session.commit()
    assert case.answers["pregnant"] == "yes"


def test_taking_a_value_back_leaves_null(session: Session, make_case: MakeCase) -> None:
    case = stored(session, make_case(identity=IDENTITY))
    case.identity = None
    session.commit()
    assert session.execute(sa.text("SELECT identity FROM intake_case")).scalar_one() is None


def test_a_value_copied_from_another_patient_does_not_open(session: Session, make_case: MakeCase) -> None:
    mine, theirs = (stored(session, make_case(answers=ANSWERS)) for _ in range(2))
    envelope = session.scalar(sa.text("SELECT answers FROM intake_case WHERE id = :id"), {"id": theirs.id})
    session.execute(
        sa.text("UPDATE intake_case SET answers = :envelope WHERE id = :id"),
        {"envelope": envelope, "id": mine.id},
    )
    session.commit()
    assert theirs.answers == ANSWERS
    with pytest.raises(SealBroken, match=rf"intake_case\|answers\|north\|{mine.id}"):
        _ = mine.answers


def test_a_value_moved_to_another_column_does_not_open(session: Session, make_case: MakeCase) -> None:
    case = stored(session, make_case(answers=ANSWERS))
    session.execute(sa.text("UPDATE intake_case SET identity = answers"))
    session.commit()
    with pytest.raises(SealBroken):
        _ = case.identity


def test_a_value_moved_to_another_clinic_does_not_open(session: Session, make_case: MakeCase) -> None:
    stored(session, make_case(answers=ANSWERS))
    session.execute(sa.text("UPDATE intake_case SET clinic_id = 'south'"))
    session.commit()
    session.expunge_all()
    moved = session.scalars(sa.select(Case)).one()
    with pytest.raises(SealBroken):
        _ = moved.answers


def test_an_altered_value_does_not_open_and_the_error_does_not_show_it(
    session: Session, make_case: MakeCase
) -> None:
    case = stored(session, make_case(answers=ANSWERS))
    envelope = bytearray(case.answers_sealed)
    envelope[-1] ^= 1
    case.answers_sealed = bytes(envelope)
    session.commit()
    with pytest.raises(SealBroken) as raised:
        _ = case.answers
    assert "isotretinoin" not in str(raised.value)


def test_two_apps_in_one_process_keep_their_keys_apart(make_app: MakeApp, make_case: MakeCase) -> None:
    first, second = make_app(keys("first")), make_app(keys("second"))
    with first.app_context():
        session = first.extensions[KEY].db.session
        case_id = stored(session, make_case(answers=ANSWERS)).id
    with second.app_context():
        foreign = second.extensions[KEY].db.session.get(Case, ("north", case_id))
        with pytest.raises(SealBroken, match="'first', which is not in INTAKE_KEYS"):
            _ = foreign.answers
    with first.app_context():
        assert first.extensions[KEY].db.session.get(Case, ("north", case_id)).answers == ANSWERS


def test_a_value_is_sealed_again_under_a_new_key(make_app: MakeApp, make_case: MakeCase) -> None:
    before = make_app(keys("old"))
    with before.app_context():
        case_id = stored(before.extensions[KEY].db.session, make_case(answers=ANSWERS)).id
    rotating = make_app(f"{keys('new')},{keys('old')}")
    with rotating.app_context():
        session = rotating.extensions[KEY].db.session
        case = session.get(Case, ("north", case_id))
        assert (Case.answers.reseal(case), Case.answers.reseal(case), Case.identity.reseal(case)) == (
            True,
            False,
            False,
        )
        session.commit()
    after = make_app(keys("new"))
    with after.app_context():
        assert after.extensions[KEY].db.session.get(Case, ("north", case_id)).answers == ANSWERS


@pytest.mark.parametrize("value", [{"at": object()}, {"weight": float("nan")}])
def test_what_json_cannot_say_is_refused_at_once(app: Flask, make_case: MakeCase, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        make_case(answers=value)


def test_every_text_survives(session: Session, make_case: MakeCase, app: Flask) -> None:
    texts = ["", " ", "\0", "🙂", "e\u0301", "\u202e", "'; --", "a" * 10_000]
    case = stored(session, make_case(answers={str(i): text for i, text in enumerate(texts)}))
    session.expire_all()
    assert list(case.answers.values()) == texts


def test_a_note_is_a_plain_string() -> None:
    assert Decision.note.__class__.__name__ == "Sealed"
