"""Calendars kept elsewhere, as the clinic's desk shows them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from intake_plugin.journeys import busy
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Appointment
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY
from intake_plugin.testing import clinic as profile
from tests.web.conftest import CLINICIAN, DESK, NOW, MakeSite, Site

PAGE = f"{DESK}calendars"
ENTRY = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:u\r\nSUMMARY:Mrs Patient\r\n"
    "DTSTART:{}\r\nDTEND:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def office(site: Site, clinic: Clinic, now: dt.datetime) -> Office:
    state = site.app.extensions[KEY]
    return Office(
        clinic=clinic, session=site.db.session(), settings=state.settings, keyring=state.keyring, now=now
    )


def read(site: Site, clinic: Clinic, now: dt.datetime = NOW) -> list[busy.Reading]:
    with site.app.app_context():
        return [busy.refresh(office(site, clinic, now), each) for each in clinic.busy]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "private-s3cret.ics"
    path.write_text(ENTRY.format("20260312T100000Z", "20260312T110000Z"))
    return path


@pytest.fixture
def outside(clinic: Clinic, file: Path) -> Clinic:
    """The clinic with one calendar on the web, never read, and one on disk."""
    entries = [
        {
            "resource": "room",
            "source": "https://calendar.invalid/private-s3cret/basic.ics",
            "stale_after": "PT6H",
            "stale": "warn",
        },
        {"resource": "nurse", "source": str(file), "stale_after": "PT6H", "stale": "block"},
    ]
    return replace(clinic, busy=profile(busy=entries).busy)


def test_a_clinic_without_them_hears_nothing_of_them(site: Site) -> None:
    site.staff = CLINICIAN
    assert "kept elsewhere" not in site.visitor().get(DESK).text
    assert "This clinic reads no calendars from elsewhere" in site.visitor().get(PAGE).text


def test_their_age_is_shown_and_never_their_address(
    make_site: MakeSite, outside: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(outside)
    site.staff = CLINICIAN
    queue = site.visitor().get(DESK).text
    assert "2 calendars kept elsewhere are too old to rely on" in queue
    read(site, replace(outside, busy=outside.busy[1:]), NOW - 2 * dt.timedelta(hours=1))
    assert "1 calendar kept elsewhere is too old" in site.visitor().get(DESK).text
    page = site.visitor().get(PAGE).text
    assert "Nurse Imre private-s3cret.ics 2 hours ago (Monday 2 March 2026 at 08:00) Up to date" in page
    assert "Blue room calendar.invalid never Too old: times are offered and may be taken" in page
    assert "private-s3cret/" not in page
    later = NOW + dt.timedelta(days=3)
    monkeypatch.setattr("intake_plugin.web.visit.now", lambda: later)
    page = site.visitor().get(PAGE).text
    assert "3 days ago" in page
    assert "Too old: nothing is offered" in page


def test_why_a_reading_was_refused_is_told_without_anybodys_name(
    make_site: MakeSite, outside: Clinic, file: Path
) -> None:
    file.write_text(ENTRY.format("20260399T100000Z", "20260312T110000Z"))
    site = make_site(outside)
    site.staff = CLINICIAN
    assert [each.result for each in read(site, replace(outside, busy=outside.busy[1:]))] == ["refused"]
    page = site.visitor().get(PAGE).text
    assert "The last reading for Nurse Imre was refused" in page
    assert "Line 3, entry of 20260399T100000Z (UID u)" in page
    assert "Mrs Patient" not in page


def test_what_was_booked_and_is_busy_elsewhere_is_listed(
    make_site: MakeSite, outside: Clinic, file: Path
) -> None:
    calendars = replace(outside, busy=outside.busy[1:])
    site = make_site(calendars)
    site.staff = CLINICIAN
    read(site, calendars)
    _, done = site.to("done")
    assert "Booked, and busy elsewhere" not in site.visitor().get(PAGE).text
    with site.app.app_context():
        first = site.db.session.scalars(sa.select(Appointment).order_by(Appointment.arrive_at)).first()
        assert first is not None
        start = first.treatment_at
    file.write_text(ENTRY.format(f"{start:%Y%m%dT%H%M%SZ}", f"{start:%Y%m%d}T235900Z"))
    read(site, calendars)
    page = site.visitor().get(PAGE)
    assert "Booked, and busy elsewhere" in page.text
    (link,) = [address for _, address in page.links if "/cases/" in address]
    assert link.rsplit("/", 1)[1] in done.text


def test_patients_are_not_offered_times_of_a_stale_calendar_and_lose_nothing(
    make_site: MakeSite, outside: Clinic
) -> None:
    site = make_site(outside)
    visitor, page = site.to("slots")
    assert not [control for form in page.forms for control in form.controls if control.kind == "radio"]
    read(site, replace(outside, busy=outside.busy[1:]))
    again = visitor.get(page.reply.url)
    assert [control for form in again.forms for control in form.controls if control.kind == "radio"]


def test_the_queue_and_the_page_ask_little_of_the_database(make_site: MakeSite, outside: Clinic) -> None:
    site = make_site(outside)
    site.staff = CLINICIAN
    for address in (DESK, PAGE):
        with site.counting() as statements:
            assert site.get(address).status_code == 200
        assert len(statements) <= 4
