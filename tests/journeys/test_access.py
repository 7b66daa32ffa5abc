"""The cookie, the patient's own link, and the date of birth that goes with it."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from intake_plugin.errors import NotFound
from intake_plugin.journeys import access
from intake_plugin.records.tables import Token
from tests.journeys.conftest import NOW, SETTINGS, Desk

BORN = dt.date(1990, 5, 17)


def test_the_cookie_opens_the_case_until_the_device_is_forgotten(desk: Desk) -> None:
    case, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    assert access.current(desk.office, raw) is case
    access.leave(desk.office, raw)
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
    case, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    with pytest.raises(NotFound):
        access.open_link(desk.office, raw)
    assert access.current(desk.office, access.make_link(desk.office, case)) is None


def test_no_token_is_stored_as_it_is(desk: Desk) -> None:
    case, raw = access.begin(desk.office, protocol_id="microneedling", locale="en")
    link = access.make_link(desk.office, case)
    stored = set(desk.session.scalars(sa.select(Token.hash)))
    assert len(stored) == 2
    assert not stored & {raw, link}


def test_a_treatment_the_clinic_does_not_offer_begins_nothing(desk: Desk) -> None:
    with pytest.raises(NotFound):
        access.begin(desk.office, protocol_id="light_peel", locale="en")
