"""Every address that hands out a calendar, read by every reader, whatever clinic and protocol are called."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import url_for
from werkzeug.datastructures import Headers

from intake_plugin.clinical.protocol import Texts
from intake_plugin.journeys import booking, changing, feeds
from intake_plugin.journeys.feeds import Choices
from intake_plugin.records.tables import AT_HOME, Appointment, Case
from intake_plugin.settings import Clinic
from intake_plugin.testing import Visitor
from intake_plugin.web.visit import current_office
from tests.calendars.conftest import lint_octets
from tests.calendars.test_readers import READERS, instants
from tests.web.conftest import CLINICIAN, DESK, HOME, MakeSite, Site

ODD = {
    "plain": "",
    "lines": "\r\nATTENDEE:mailto:a@example.org\x85\u2028END:VEVENT\nBEGIN:VEVENT",
    "controls": "\0\x07\x1b[31m\x7f\t",
    "marks": '\\;,:"^=%25\\n\\\\',
    "letters": "\u202eevil\u200f עברית 👩🏽\u200d⚕\ufe0f e\u0301 " * 3,
    "long": "ä👩 " * 300,
}


def called(clinic: Clinic, odd: str) -> Clinic:
    """Return the clinic with something odd in every text that its profile and its protocol bring along."""
    contact = replace(clinic.contact, address=clinic.contact.address + odd, telephone="020" + odd)
    return replace(
        clinic,
        name=clinic.name + odd,
        marketing_name=odd and "Harbour" + odd,
        contact=contact,
        resources=tuple(replace(each, name=each.name + odd) for each in clinic.resources),
        treatments={
            key: replace(
                each,
                protocol=replace(
                    each.protocol,
                    texts={locale: worded(texts, odd) for locale, texts in each.protocol.texts.items()},
                ),
            )
            for key, each in clinic.treatments.items()
        },
    )


def worded(texts: Texts, odd: str) -> Texts:
    return replace(
        texts,
        title=texts.title + odd,
        products={key: replace(each, name=each.name + odd) for key, each in texts.products.items()},
        care={key: each + odd if isinstance(each, str) else each for key, each in texts.care.items()},
    )


def booked(site: Site) -> Visitor:
    """Return a patient with everything in their calendar: numbing at home, care, details, a cancellation."""
    patient, _ = site.to("done")
    with site.app.test_request_context("/book/"):
        office = current_office()
        case = office.session.scalars(sa.select(Case)).one()
        first = booking.appointments_of(office, case)[0]
        first.cream_where = AT_HOME
        first.cream_on_at = first.arrive_at - dt.timedelta(minutes=30)
        office.session.commit()
        feeds.choose(office, case, Choices(care=True, details=True))
        changing.cancel(office, case, 3)
    return patient


def handed_out(site: Site, patient: Visitor) -> Iterator[tuple[str, Headers, bytes]]:
    """Yield the address, headers and octets of every calendar of the site."""
    site.staff = CLINICIAN
    with site.app.test_request_context("/book/"):
        office = current_office()
        case = office.session.scalars(sa.select(Case)).one()
        whose = (None, *(resource.id for resource in office.clinic.resources))
        secrets = [
            feeds.make_patient_feed(office, case),
            *(
                feeds.make_clinic_feed(office, CLINICIAN, locale="en", label="x", resource_id=each)
                for each in whose
            ),
        ]
        programs = [url_for("harbour.feed", token=secret) for secret in secrets]
    files = [f"{HOME}calendar/appointments.ics"]
    files += [f"{HOME}calendar/appointment-{ordinal}.ics" for ordinal in (1, 2, 3, 4)]
    for address in (*files, f"{DESK}appointments.ics", *programs):
        response = (site.client if address in files else site.app.test_client()).get(address)
        assert response.status_code == 200, address
        yield address, response.headers, response.data


@pytest.mark.parametrize("odd", ODD)
def test_every_calendar_is_right_for_every_reader(odd: str, make_site: MakeSite, clinic: Clinic) -> None:
    site = make_site(called(clinic, ODD[odd]))
    patient = booked(site)
    with site.app.app_context():
        rows = site.db.session.scalars(sa.select(Appointment)).all()
        expected: dict[str, Any] = {row.id: (row.arrive_at, row.end_at) for row in rows}
        one = {row.ordinal: row.id for row in rows}
    seen = list(handed_out(site, patient))
    assert len(seen) == 5 + 1 + 1 + 3
    for address, headers, octets in seen:
        assert headers["Content-Type"] == "text/calendar; charset=utf-8"
        assert headers["X-Robots-Tag"] == "noindex"
        assert "Set-Cookie" not in headers
        assert lint_octets(octets) == [], address
        single = address.rpartition("appointment-")[2].removesuffix(".ics")
        sessions = {one[int(single)]} if single.isdecimal() else set(expected)
        known = [instants(read, octets) for read in READERS]
        for found in known:
            assert {uid: found[uid] for uid in sessions} == {uid: expected[uid] for uid in sessions}, address
            assert found == known[0], address
            assert found.keys() & expected.keys() == sessions, address
    patients = [
        octets for address, _, octets in seen if address.startswith((f"{HOME}calendar", f"{HOME}cal/p"))
    ]
    assert all(octets.count(b"RELTYPE=PARENT") >= 8 for octets in patients)
