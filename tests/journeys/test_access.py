"""The cookie, the patient's own link, and the date of birth that goes with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError

from intake_plugin.errors import Busy, NotFound, OutOfTurn, Stale
from intake_plugin.journeys import access
from intake_plugin.journeys.office import Office
from intake_plugin.records import tokens
from intake_plugin.records.tables import AuditEntry, Case, Token, TokenPurpose
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk

BORN = dt.date(1990, 5, 17)


def test_the_cookie_opens_the_case_until_the_device_is_forgotten(desk: Desk) -> None:
    case, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    assert access.current(desk.office, raw) is case
    access.leave(desk.office, raw)
    last = desk.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
    assert last is not None
    assert (last.action, last.object_id) == ("leave", case.id)
    assert access.current(desk.office, raw) is None


@pytest.mark.parametrize("raw", [None, "", "unknown", "\udcff", "x" * 5000])
def test_a_cookie_that_means_nothing_opens_nothing(desk: Desk, raw: str | None) -> None:
    assert access.current(desk.office, raw) is None


def test_a_draft_that_has_run_out_is_not_opened(desk: Desk) -> None:
    _, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    assert access.current(desk.at(NOW + SETTINGS.draft_lifetime).office, raw) is None


def test_the_link_opens_with_the_date_of_birth_and_more_than_once(desk: Desk) -> None:
    case = desk.identified()
    link = access.make_link(desk.office, case)
    for _ in range(2):
        raw = access.verify(desk.office, link, BORN)
        assert raw is not None
        assert access.current(desk.office, raw) is case


def test_a_link_tried_with_five_wrong_dates_is_gone(desk: Desk) -> None:
    link = access.make_link(desk.office, desk.identified())
    for day in range(1, access.ATTEMPTS + 1):
        assert access.verify(desk.office, link, dt.date(1980, 1, day)) is None
    with pytest.raises(NotFound):
        access.verify(desk.office, link, BORN)


def test_a_right_date_forgives_the_wrong_ones(desk: Desk) -> None:
    link = access.make_link(desk.office, desk.identified())
    for _ in range(3):
        for _ in range(access.ATTEMPTS - 1):
            assert access.verify(desk.office, link, dt.date(1980, 1, 1)) is None
        assert access.verify(desk.office, link, BORN) is not None


def test_a_cookie_is_no_link_and_a_link_no_cookie(desk: Desk) -> None:
    _, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    with pytest.raises(NotFound):
        access.open_link(desk.office, raw)
    assert access.current(desk.office, access.make_link(desk.office, desk.identified())) is None


def test_no_token_is_stored_as_it_is(desk: Desk) -> None:
    _, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    link = access.make_link(desk.office, desk.identified())
    stored = set(desk.session.scalars(sa.select(Token.hash)))
    assert len(stored) == 3
    assert not stored & {raw, link}


def test_a_link_before_the_date_of_birth_is_known_would_ask_for_nothing(desk: Desk) -> None:
    case = desk.begun()
    with pytest.raises(OutOfTurn):
        access.make_link(desk.office, case)
    issued = tokens.issue(desk.session, CLINIC.id, case.id, TokenPurpose.MANAGE, NOW, SETTINGS.link_lifetime)
    desk.session.commit()
    assert access.verify(desk.office, issued, None) is None


def test_a_treatment_the_clinic_does_not_offer_begins_nothing(desk: Desk) -> None:
    with pytest.raises(NotFound):
        access.begin(desk.office, protocol_id="light_peel", locale="en")


@pytest.fixture
def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let that many find the link alive before any of them goes on."""
    tries, look = 12, access._linked
    together = Barrier(tries)

    def linked(office: Office, raw: str) -> tuple[Token, Case]:
        found = look(office, raw)
        together.wait(timeout=20)
        return found

    monkeypatch.setattr(access, "_linked", linked)
    return tries


def test_wrong_dates_tried_at_once_are_counted_one_by_one(
    app: Flask, make_desk: Callable[..., Desk], seen_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = access.make_link(make_desk().office, make_desk().identified())
    desks = [make_desk() for _ in range(seen_at_once)]

    def guess(day: int) -> bool:
        """Whether the date was compared at all."""
        with app.app_context():
            try:
                return access.verify(desks[day].office, link, dt.date(1980, 1, 1 + day)) is None
            except (NotFound, Stale, Busy):
                return False

    with ThreadPoolExecutor(seen_at_once) as pool:
        compared = sum(pool.map(guess, range(seen_at_once)))
    assert 0 < compared <= access.ATTEMPTS
    monkeypatch.undo()
    left = access.ATTEMPTS - compared
    for day in range(left):
        assert access.verify(make_desk().office, link, dt.date(1981, 1, 1 + day)) is None
    with pytest.raises(NotFound):
        access.verify(make_desk().office, link, BORN)


def test_a_reference_that_is_taken_is_drawn_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = desk.begun().reference
    drawn = iter([taken, taken, "K7M-2QXF"])
    monkeypatch.setattr(access, "new_reference", lambda: next(drawn))
    assert desk.begun().reference == "K7M-2QXF"


def test_when_every_reference_is_taken_it_does_not_try_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = desk.begun().reference
    drawn = iter([taken] * access.REFERENCES)
    monkeypatch.setattr(access, "new_reference", lambda: next(drawn))
    with pytest.raises(IntegrityError):
        desk.begun()
    assert list(drawn) == []
