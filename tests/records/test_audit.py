from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import ORMExecuteState, Session

from intake_plugin.records import audit
from intake_plugin.records.audit import GENESIS, Actor
from intake_plugin.records.sealed import current_keyring
from intake_plugin.records.tables import AuditEntry, AuditHead

PAYLOAD = {"outcome": "stop", "rules": ["S02"], "date": None}


def record(
    session: Session, now: dt.datetime, action: str = "submit", clinic_id: str = "north"
) -> AuditEntry:
    return audit.record(
        session,
        clinic_id=clinic_id,
        now=now,
        actor=Actor("patient", "c1"),
        action=action,
        object_kind="case",
        object_id="c1",
        payload=PAYLOAD,
    )


@pytest.fixture
def chain(session: Session, now: dt.datetime) -> Session:
    """Five entries of one clinic, and one of another."""
    for action in ("begin", "answer", "submit", "sign", "book"):
        record(session, now, action)
    record(session, now, clinic_id="south")
    session.commit()
    return session


def test_an_untouched_chain_is_sound(chain: Session) -> None:
    assert audit.verify(chain, "north") == ()
    assert audit.verify(chain, "south") == ()
    entries = chain.scalars(sa.select(AuditEntry).where(AuditEntry.clinic_id == "north")).all()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].prev_hash == GENESIS
    assert audit.head(chain, "north") == entries[-1].hash != audit.head(chain, "south")


def test_a_clinic_without_entries_is_sound(session: Session) -> None:
    assert audit.verify(session, "north") == ()
    assert audit.head(session, "north") == GENESIS


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", dt.datetime(2026, 3, 29, 1, 30, 0, 123457)),  # noqa: DTZ001 -- as the database holds it
        ("actor_kind", "staff"),
        ("actor_id", "c2"),
        ("action", "read"),
        ("object_kind", "series"),
        ("object_id", "c2"),
        ("payload_hash", "0" * 64),
        ("hash", "0" * 64),
        ("prev_hash", "0" * 64),
    ],
)
def test_a_changed_entry_is_found(chain: Session, column: str, value: object) -> None:
    statement = f"UPDATE intake_audit SET {column} = :value WHERE clinic_id = 'north' AND seq = 3"  # noqa: S608 -- a column of the table above
    chain.execute(sa.text(statement), {"value": value})
    chain.commit()
    problems = audit.verify(chain, "north")
    assert problems
    assert "entry 3: was changed after it was written" in map(str, problems)


def test_a_changed_entry_with_a_recomputed_hash_is_found(chain: Session) -> None:
    entry = chain.get_one(AuditEntry, ("north", 3))
    entry.action = "decline"
    entry.hash = audit._hash(entry)
    chain.commit()
    assert [str(problem) for problem in audit.verify(chain, "north")] == [
        "entry 4: does not continue the entry before it"
    ]


def test_a_removed_entry_is_found(chain: Session) -> None:
    chain.execute(sa.text("DELETE FROM intake_audit WHERE clinic_id = 'north' AND seq IN (2, 3)"))
    chain.commit()
    assert "entry 4: follows a gap: entries 2 to 3 missing" in map(str, audit.verify(chain, "north"))


@pytest.mark.parametrize("kept", [0, 4])
def test_entries_removed_from_the_end_are_found(chain: Session, kept: int) -> None:
    chain.execute(sa.text("DELETE FROM intake_audit WHERE clinic_id = 'north' AND seq > :n"), {"n": kept})
    chain.commit()
    problems = audit.verify(chain, "north")
    assert [problem.where for problem in problems] == [f"entry {kept}"]


def test_an_entry_with_no_head_is_found(chain: Session) -> None:
    chain.execute(sa.delete(AuditHead))
    chain.commit()
    assert audit.verify(chain, "north")


def test_an_entry_moved_to_another_clinic_is_found(chain: Session) -> None:
    chain.execute(sa.text("UPDATE intake_audit SET clinic_id = 'west' WHERE clinic_id = 'south'"))
    chain.commit()
    assert audit.verify(chain, "west")


def test_the_act_and_its_entry_are_stored_together_or_not_at_all(chain: Session, now: dt.datetime) -> None:
    before = audit.head(chain, "north")
    record(chain, now)
    chain.rollback()
    assert audit.head(chain, "north") == before
    assert audit.verify(chain, "north") == ()


def test_an_entry_proves_its_details_and_does_not_hold_them(
    app: Flask, session: Session, now: dt.datetime
) -> None:
    entry = record(session, now)
    session.commit()
    same, other = dict(reversed(PAYLOAD.items())), PAYLOAD | {"outcome": "clear"}
    keyring = current_keyring()
    assert entry.payload_hash == keyring.mac("audit", audit.canonical(same))
    assert entry.payload_hash != keyring.mac("audit", audit.canonical(other))
    row = session.execute(sa.text("SELECT * FROM intake_audit")).one()
    assert not {"S02", "stop"} & set(map(str, row))


def test_acts_at_the_same_moment_line_up_one_behind_the_other(
    app: Flask, make_session: Callable[[], Session], now: dt.datetime
) -> None:
    """The first acts of a clinic too: nobody made the head of the chain beforehand."""
    writers, acts = 8, 6

    def work(writer: int) -> None:
        with app.app_context(), make_session() as session:
            for act in range(acts):
                record(session, now, f"{writer}-{act}")
                session.commit()

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))
    with make_session() as session:
        entries = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq)).all()
        assert [entry.seq for entry in entries] == list(range(1, writers * acts + 1))
        assert len({entry.action for entry in entries}) == writers * acts
        assert audit.verify(session, "north") == ()


def test_an_act_that_read_first_still_gets_the_next_number(
    app: Flask, make_session: Callable[[], Session], now: dt.datetime
) -> None:
    slow, fast = make_session(), make_session()
    record(fast, now)
    fast.commit()
    assert slow.scalars(sa.select(AuditEntry)).one().seq == 1
    record(fast, now)
    fast.commit()
    assert record(slow, now).seq == 3
    slow.commit()
    assert audit.verify(fast, "north") == ()


def test_acts_while_the_chain_is_walked_do_not_look_like_a_break(
    chain: Session, make_session: Callable[[], Session], now: dt.datetime
) -> None:
    other, acts = make_session(), list[str]()

    def act(_: ORMExecuteState) -> None:
        acts.append(record(other, now, "meanwhile").hash)
        other.commit()

    sa.event.listen(chain, "do_orm_execute", act)
    assert audit.verify(chain, "north") == ()
    assert len(acts) > 1


def test_a_head_that_was_set_back_is_found(chain: Session) -> None:
    earlier = chain.get_one(AuditEntry, ("north", 3))
    chain.execute(sa.update(AuditHead).where(AuditHead.clinic_id == "north").values(seq=3, hash=earlier.hash))
    chain.commit()
    assert [problem.where for problem in audit.verify(chain, "north")] == ["entry 5"]
