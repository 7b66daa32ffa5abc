"""Drafts that have run out are deleted; whatever has become a record stays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from intake_plugin.errors import Busy, SealBroken
from intake_plugin.journeys import consent, intake, upkeep
from intake_plugin.journeys.office import transaction
from intake_plugin.records import audit
from intake_plugin.records.base import Base
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.outbox import Outgoing
from intake_plugin.records.sealed import Sealed
from intake_plugin.records.tables import Case, Series, Signature, Token
from intake_plugin.state import KEY
from intake_plugin.testing import keys
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk
from tests.journeys.mailing import Mailbag, rows, text_of, with_mail

LATER = NOW + SETTINGS.draft_lifetime + dt.timedelta(minutes=1)


def kept(desk: Desk) -> set[str]:
    return set(desk.session.scalars(sa.select(Case.id)))


def test_only_drafts_that_have_run_out_are_deleted(desk: Desk) -> None:
    old, booked = desk.identified().id, desk.booked().id
    later = desk.at(LATER)
    fresh = later.identified().id
    assert upkeep.expire(later.office) == 1
    assert kept(desk) == {booked, fresh}
    assert old not in set(desk.session.scalars(sa.select(Token.case_id)))
    assert audit.verify(desk.session, CLINIC.id) == ()


def test_a_signed_case_that_went_back_to_its_questions_stays(desk: Desk) -> None:
    case = desk.signed()
    intake.reopen(desk.office, case)
    assert upkeep.expire(desk.at(LATER).office) == 0
    assert kept(desk) == {case.id}
    assert desk.session.scalars(sa.select(Signature)).first() is not None


def test_running_it_again_does_nothing(desk: Desk) -> None:
    for _ in range(3):
        desk.begun()
    later = desk.at(LATER)
    assert [upkeep.expire(later.office), upkeep.expire(later.office)] == [3, 0]


OLD, NEW = keys(), keys("new")


@pytest.fixture
def with_keys(app: Flask, make_desk: Callable[..., Desk]) -> Callable[[str], Desk]:
    """Go on with another key ring, as every worker does after a restart."""

    def go_on(ring: str) -> Desk:
        keyring = KeyRing.parse(ring)
        app.extensions[KEY] = replace(app.extensions[KEY], keyring=keyring)
        return make_desk(keyring=keyring)

    return go_on


def test_after_a_rotation_the_old_key_is_not_needed(desk: Desk, with_keys: Callable[[str], Desk]) -> None:
    booked, signed = desk.booked().id, desk.signed().id
    rotating = with_keys(f"{NEW},{OLD}")
    before = upkeep.outdated(rotating.session)
    assert sum(upkeep.rotate(rotating.office)) == before > 10
    assert upkeep.outdated(rotating.session) == 0
    assert list(upkeep.rotate(rotating.office)) == []
    after = with_keys(NEW)
    for case_id in (booked, signed):
        case = after.session.get_one(Case, (CLINIC.id, case_id))
        identity = intake.identity_of(case)
        assert identity is not None
        assert case.email_index == after.office.keyring.email_index(identity.email)
        assert all(state.settled for state in consent.documents(after.office, case))
    assert {series.area_id for series in after.session.scalars(sa.select(Series))} == {"face"}
    assert audit.verify(after.session, CLINIC.id) == ()


def test_a_message_sealed_by_the_old_key_can_be_sent_after_a_rotation(
    make_desk: Callable[..., Desk], with_keys: Callable[[str], Desk]
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    desk.booked()
    bag.errors.append(ConnectionResetError())
    bag.deliver(desk)
    (before,) = [row.content for row in rows(desk)]
    assert before is not None
    assert sum(upkeep.rotate(with_keys(f"{NEW},{OLD}").office)) > 0
    after = Desk(replace(with_keys(NEW).office, clinic=desk.office.clinic))
    assert [row.content for row in rows(after)] == [before]
    assert bag.deliver(after, NOW + dt.timedelta(hours=1)).counts == {"sent": 1}
    assert before["link"] in text_of(bag.taken[0])


def test_a_rotation_does_not_bring_back_what_is_wiped_meanwhile(
    make_desk: Callable[..., Desk], with_keys: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, bag = with_mail(make_desk), Mailbag()
    desk.booked()
    bag.errors.append(ConnectionResetError())
    bag.deliver(desk)
    rotating, other = with_keys(f"{NEW},{OLD}"), make_desk()
    soon = replace(other.office.settings, lock_timeout=dt.timedelta(seconds=1))
    wiping, really = replace(other.office, settings=soon), Sealed.reseal

    def reseal(sealed: Sealed[Any], row: Base) -> bool:
        if isinstance(row, Outgoing):
            # The row has been read. Whoever sends it cannot write down the end before it is sealed anew.
            with pytest.raises(Busy):
                wipe()
        return really(sealed, row)

    def wipe() -> None:
        with transaction(wiping):
            wiping.session.execute(sa.update(Outgoing).values(content_sealed=None))

    monkeypatch.setattr(Sealed, "reseal", reseal)
    assert sum(upkeep.rotate(rotating.office)) > 0
    wipe()
    assert [row.content for row in rows(desk)] == [None]


def test_what_was_signed_between_two_keys_counts_after_the_rotation(
    desk: Desk, with_keys: Callable[[str], Desk]
) -> None:
    case_id = desk.screened().id
    between = with_keys(f"{NEW},{OLD}")
    between.sign_all(between.session.get_one(Case, (CLINIC.id, case_id)))
    assert sum(upkeep.rotate(between.office)) > 0
    after = with_keys(NEW)
    case = after.session.get_one(Case, (CLINIC.id, case_id))
    assert all(state.settled for state in consent.documents(after.office, case))


def test_a_rotation_that_was_stopped_goes_on_where_it_was(
    desk: Desk, with_keys: Callable[[str], Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        desk.identified()
    monkeypatch.setattr(upkeep, "BATCH", 2)
    rotating = with_keys(f"{NEW},{OLD}")
    assert next(upkeep.rotate(rotating.office)) == 2
    assert upkeep.outdated(rotating.session) == 3
    assert list(upkeep.rotate(rotating.office)) == [2, 1]


def test_a_record_whose_key_is_gone_stops_the_rotation_and_loses_nothing(
    desk: Desk, with_keys: Callable[[str], Desk]
) -> None:
    desk.identified()
    rotating = with_keys(NEW)
    with pytest.raises(SealBroken, match="Put that key back"):
        list(upkeep.rotate(rotating.office))
    assert upkeep.outdated(rotating.session) == 1
    assert upkeep.outdated(with_keys(OLD).session) == 0
