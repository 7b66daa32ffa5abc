"""Subscribing over HTTP: what a calendar program gets, and the pages that make and stop a feed."""

from __future__ import annotations

import datetime as dt
import gzip
import html
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import icalendar
import pytest
import sqlalchemy as sa
from flask import Flask, session
from flask_babel import Babel
from werkzeug.test import TestResponse

from intake_plugin.records.tables import Appointment, AppointmentState, AuditEntry, Feed
from intake_plugin.settings import Clinic
from intake_plugin.testing import Page, Visitor, read_page
from intake_plugin.web import visit
from intake_plugin.web.intake_pages import MISTAKEN
from tests.web.conftest import CLINICIAN, DESK, HOME, NOW, RECEPTION, MakeSite, Site

CALENDAR = f"{HOME}calendar"
FEEDS = f"{DESK}feeds"


JO = replace(RECEPTION, role="decide")


def address_on(page: Page) -> str:
    return next(address for address in page.calendars if "/cal/" in address)


def make_link(patient: Visitor) -> Page:
    return read_page(patient.send("POST", f"{CALENDAR}/link", []))


def subscribed(site: Site, **answers: Any) -> tuple[Visitor, str]:
    """Return a patient who has booked, and the path of a feed they made."""
    patient, _ = site.to("done", answers)
    made = make_link(patient)
    assert made.name == "link", made.text
    return patient, urlsplit(address_on(made)).path


def for_clinic(site: Site, **given: str) -> str:
    """Return the path of a feed that staff made."""
    site.staff = JO
    desk = site.visitor()
    made = desk.submit(desk.get(FEEDS), {"label": "Reception", **given})
    assert made.reply.status == 200, made.text
    return urlsplit(address_on(made)).path


def read(site: Site, path: str, **headers: str) -> TestResponse:
    response = site.get(path, headers=headers)
    # It is written while it is read: read it before anything else happens.
    response.get_data()
    return response


def events(response: TestResponse) -> dict[str, icalendar.Event]:
    calendar = icalendar.Calendar.from_ical(response.data)
    assert isinstance(calendar, icalendar.Calendar)
    return {str(event["UID"]): event for event in calendar.events}


def change(site: Site, ordinal: int, **values: object) -> str:
    """Change a session as a move or a cancellation does, and return its UID."""
    with site.app.app_context():
        row = site.db.session.scalars(sa.select(Appointment).where(Appointment.ordinal == ordinal)).one()
        for name, value in values.items():
            setattr(row, name, value)
        row.sequence += 1
        row.modified_at = NOW
        site.db.session.commit()
        return row.id


def test_a_patients_feed_as_a_program_gets_it(make_site: MakeSite, database_url: str) -> None:
    site = make_site(url=database_url)
    _, path = subscribed(site)
    response = read(site, path)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert response.headers["Cache-Control"] == "private, max-age=900"
    assert response.headers["X-Robots-Tag"] == "noindex"
    assert response.headers["ETag"].startswith('W/"')
    assert "Last-Modified" in response.headers
    assert "Set-Cookie" not in response.headers
    assert "Content-Disposition" not in response.headers
    found = events(response)
    assert [str(each["SUMMARY"]) for each in found.values()] == ["Appointment"] * 4
    assert b"\r\nNAME:Appointments\r\nX-WR-CALNAME:Appointments\r\n" in response.data
    assert b"\r\nREFRESH-INTERVAL;VALUE=DURATION:PT6H\r\nX-PUBLISHED-TTL:PT6H\r\n" in response.data
    assert b"\r\nCLASS:" not in response.data
    assert b"Wren" not in response.data


def test_a_clinics_feed_has_the_case_number_and_a_link_behind_the_login(
    make_site: MakeSite, database_url: str
) -> None:
    site = make_site(url=database_url)
    _, done = site.to("done")
    path = for_clinic(site)
    response = read(site, path)
    (reference,) = {
        str(each["SUMMARY"]).removeprefix("Appointment: case ") for each in events(response).values()
    }
    assert f"Your reference {reference}" in done.text
    assert {str(each["URL"]) for each in events(response).values()} == {
        f"http://localhost{DESK}cases/{reference}"
    }
    assert b"Wren" not in response.data
    assert b"BEGIN:VALARM" not in response.data


def test_nothing_has_changed_is_told_by_one_query(make_site: MakeSite, database_url: str) -> None:
    site = make_site(url=database_url)
    for path in (subscribed(site)[1], for_clinic(site)):
        first = read(site, path)
        with site.counting() as statements:
            again = read(site, path, **{"If-None-Match": first.headers["ETag"]})
        assert len(statements) == 1
        assert (again.status_code, again.data) == (304, b"")
        for name in ("ETag", "Cache-Control", "Vary"):
            assert again.headers[name] == first.headers[name]
        with site.counting() as statements:
            head = site.app.test_client().head(path)
        assert len(statements) == 1
        assert (head.status_code, head.data) == (200, b"")
        assert head.headers["ETag"] == first.headers["ETag"]
        assert head.headers.get("Content-Length") != "0"


def test_how_much_a_feed_asks_of_the_database(make_site: MakeSite, database_url: str) -> None:
    site = make_site(url=database_url)
    _, patients = subscribed(site)
    clinics = for_clinic(site)
    with site.app.app_context():
        site.db.session.execute(sa.update(Appointment).values(version=Appointment.version + 1))
        site.db.session.commit()
    for path, fresh in ((patients, 5), (clinics, 3)):
        # The feed, the stamps; then of what was not written before: sessions, case, series.
        for most in (fresh, 2):
            with site.counting() as statements:
                assert len(events(read(site, path))) == 4
            assert len(statements) == most, statements


@pytest.mark.parametrize("sent", ['"{}"', 'W/"{}"', '"other", W/"{}"', "*"])
def test_every_form_of_the_tag_is_known(site: Site, sent: str) -> None:
    path = for_clinic(site)
    tag = read(site, path).headers["ETag"].removeprefix('W/"').removesuffix('"')
    assert read(site, path, **{"If-None-Match": sent.format(tag)}).status_code == 304
    assert read(site, path, **{"If-None-Match": '"other"'}).status_code == 200


def test_a_feed_says_when_it_last_changed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = subscribed(site)
    other = for_clinic(site)
    assert {read(site, each).last_modified for each in (path, other)} == {NOW}
    with site.app.app_context():
        for row in site.db.session.scalars(sa.select(Appointment)):
            row.modified_at = NOW + dt.timedelta(minutes=row.ordinal)
        site.db.session.commit()
    later = NOW + dt.timedelta(minutes=4)
    assert {read(site, each).last_modified for each in (path, other)} == {later}
    # A feed made after the last change is as new as itself.
    monkeypatch.setattr(visit, "now", lambda: later + dt.timedelta(hours=1))
    assert read(site, for_clinic(site)).last_modified == later + dt.timedelta(hours=1)


def test_a_date_alone_does_not_hold_back_a_change(site: Site) -> None:
    _, path = subscribed(site)
    first = read(site, path)
    change(site, 2, state=AppointmentState.CANCELLED)
    again = read(site, path, **{"If-Modified-Since": first.headers["Last-Modified"]})
    assert again.status_code == 200
    assert b"STATUS:CANCELLED" in again.data


def test_a_feed_is_compressed_where_the_reader_can(site: Site) -> None:
    path = for_clinic(site)
    plain = read(site, path)
    packed = read(site, path, **{"Accept-Encoding": "gzip, deflate"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert packed.data == read(site, path, **{"Accept-Encoding": "gzip"}).data
    assert packed.headers["ETag"] == plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    refused = read(site, path, **{"Accept-Encoding": "gzip;q=0, identity"})
    assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("agent", [{}, {"Accept": "text/html"}, {"User-Agent": "Google-Calendar-Importer"}])
def test_a_feed_asks_nothing_of_its_reader(site: Site, agent: Mapping[str, str]) -> None:
    _, path = subscribed(site)
    site.staff = None
    response = read(site, path, **agent)
    assert response.status_code == 200
    assert response.mimetype == "text/calendar"
    assert "Vary" not in response.headers or "Cookie" not in response.headers["Vary"]


def test_the_sites_own_session_stays_out_of_a_feed(make_site: MakeSite) -> None:
    def prepare(app: Flask) -> None:
        Babel(app)

    site = make_site(prepare=prepare)
    path = for_clinic(site)
    client = site.app.test_client()
    response = client.get(path)
    assert "Set-Cookie" not in response.headers
    with client.session_transaction() as kept:
        assert kept == {}
    assert session is not None


@pytest.mark.parametrize(
    "token", ["", "p", "c", "r", "p" + "x" * 43, "c" + "x" * 43, "r" + "x" * 43, "x" * 44, "%00", "%ED%A0%80"]
)
def test_an_unknown_address_is_plainly_not_there(site: Site, token: str) -> None:
    response = site.get(f"{HOME}cal/{token}.ics")
    assert response.status_code == 404
    if token:
        assert response.mimetype == "text/plain"
        assert response.data == b"There is no such calendar.\n"


def test_a_secret_opens_nothing_under_the_other_mark(site: Site) -> None:
    nurses = for_clinic(site, resource="resource:nurse")
    for path, own in ((subscribed(site)[1], "p"), (for_clinic(site), "c"), (nurses, "r")):
        folder, _, name = path.rpartition("/")
        assert name[0] == own
        for mark in "pcr":
            swapped = f"{folder}/{mark}{name[1:]}"
            assert site.get(swapped).status_code == (200 if swapped == path else 404)


def test_the_address_is_kept_nowhere(site: Site) -> None:
    secrets = [
        path.rpartition("/")[2].removesuffix(".ics") for path in (subscribed(site)[1], for_clinic(site))
    ]
    with site.app.app_context():
        rows = [tuple(row) for row in site.db.session.execute(sa.select(Feed.__table__))]
        rows += [tuple(row) for row in site.db.session.execute(sa.select(AuditEntry.__table__))]
    assert len(secrets[0]) == len(secrets[1]) == 44
    assert not [row for row in rows for secret in secrets if secret in row]


def test_a_patient_stops_every_feed_of_theirs_and_no_other(site: Site) -> None:
    patient, first = subscribed(site)
    second = urlsplit(address_on(make_link(patient))).path
    _, elses = subscribed(site, name="Robin Vale", email="robin.vale@example.com")
    page = patient.get(CALENDAR)
    assert "You have 2 calendar links." in page.text
    stopped = patient.send("POST", f"{CALENDAR}/link/stop", [])
    assert stopped.status == 200
    assert [read(site, path).status_code for path in (first, second, elses)] == [404, 404, 200]
    assert "You have" not in patient.get(CALENDAR).text


def test_a_moved_and_a_cancelled_session_follow(site: Site) -> None:
    _, path = subscribed(site)
    before = read(site, path)
    later = NOW.replace(day=5)
    hour = dt.timedelta(hours=1)
    moved = change(site, 1, arrive_at=later, treatment_at=later + hour, end_at=later + 2 * hour)
    after = read(site, path, **{"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    old, new = events(before), events(after)
    assert old.keys() == new.keys()
    assert int(str(new[moved]["SEQUENCE"])) == 1
    assert new[moved].start == NOW.replace(day=5)
    cancelled = change(site, 2, state=AppointmentState.CANCELLED)
    final = events(read(site, path))[cancelled]
    assert (str(final["STATUS"]), str(final["SUMMARY"]), str(final["TRANSP"])) == (
        "CANCELLED",
        "Cancelled: Appointment",
        "TRANSPARENT",
    )


def test_a_session_leaves_the_feed_thirty_days_after(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = subscribed(site)
    first = min(event.end for event in events(read(site, path)).values())
    keep = site.app.extensions["intake_plugin"].clinics["harbour"].calendar.keep_cancelled
    tags = []
    for moment, left in ((first + keep - (first - first) - keep / 30, 4), (first + keep, 3)):
        monkeypatch.setattr(visit, "now", lambda moment=moment: moment)
        response = read(site, path)
        tags.append(response.headers["ETag"])
        assert len(events(response)) == left
    assert tags[0] != tags[1]


def test_words_places_and_names_are_in_the_tag(make_site: MakeSite, clinic: Clinic, tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/site.sqlite"
    _, path = subscribed(make_site(clinic, url=url))
    renamed = replace(clinic, contact=replace(clinic.contact, address="9 Quay Street"))
    called = replace(clinic, marketing_name="Harbour")
    slower = replace(clinic, calendar=replace(clinic.calendar, refresh=clinic.calendar.refresh * 2))
    tags = {
        read(make_site(each, url=url), path).headers["ETag"] for each in (clinic, renamed, called, slower)
    }
    assert len(tags) == 4
    assert read(make_site(clinic, url=url), path).headers["ETag"] in tags


def test_the_host_in_the_address_is_in_the_tag(site: Site) -> None:
    _, path = subscribed(site)
    tags = {
        site.app.test_client().get(path, base_url=base).headers["ETag"]
        for base in ("http://localhost", "https://localhost", "https://other.example")
    }
    assert len(tags) == 3


def test_a_feed_of_one_practitioner_or_room(make_site: MakeSite, database_url: str) -> None:
    site = make_site(url=database_url)
    site.to("done")
    nurse = for_clinic(site, resource="resource:nurse")
    assert len(events(read(site, nurse))) == 4
    assert b"X-WR-CALNAME:Harbour Skin: Nurse Imre\r\n" in read(site, nurse).data
    room = for_clinic(site, resource="resource:room")
    change(site, 1, room_id="other")
    change(site, 2, practitioner_id="other")
    assert (len(events(read(site, nurse))), len(events(read(site, room)))) == (3, 3)


def test_a_feed_without_appointments_is_a_calendar_all_the_same(site: Site) -> None:
    response = read(site, for_clinic(site))
    calendar = icalendar.Calendar.from_ical(response.data)
    assert isinstance(calendar, icalendar.Calendar)
    assert [part.name for part in calendar.subcomponents] == ["VTIMEZONE"]


def test_the_link_page_offers_every_service_and_the_plain_address(site: Site) -> None:
    site.to("done")
    made = site.client.post(f"{CALENDAR}/link", base_url="https://localhost")
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    text = html.unescape(made.text)
    (address,) = {
        part for part in text.split('"') if part.startswith("https://localhost") and "/cal/" in part
    }
    links = [part for part in text.split('"') if part.startswith(("webcal:", "https://")) and part != address]
    hosts = [urlsplit(link).netloc for link in links if not link.startswith("https://localhost")]
    assert hosts == ["localhost", "calendar.google.com", "outlook.live.com", "outlook.office.com"]
    webcal = address.replace("https:", "webcal:")
    assert links[0] == webcal
    assert parse_qs(urlsplit(links[1]).query)["cid"] == [webcal]
    assert parse_qs(urlsplit(links[2]).query)["url"] == [address]
    assert f">{address}</a>" in text
    assert site.get(urlsplit(address).path).status_code == 200
    # Which to prefer, and why; and what becomes of entries from a file.
    for said in (
        "the best choice on an iPhone, iPad or Mac, because",
        "Google asks about once a day",
        "may be read by others",
        "or you will see each session twice",
    ):
        assert said in text


def test_without_https_there_is_the_address_and_a_warning(site: Site) -> None:
    patient, _ = site.to("done")
    made = make_link(patient)
    assert "does not use https" in made.text
    assert not [address for _, address in made.links if address.startswith("webcal:")]


def test_single_events_come_last_and_stay_neutral(site: Site) -> None:
    patient, _ = site.to("done")
    page = patient.get(CALENDAR)
    away = [address for _, address in page.links if address.startswith("https://")]
    assert len(away) == 3 * 4
    kinds = [page.text.index(words) for words in ("Subscribe", "Or add a file", "Add single sessions")]
    assert kinds == sorted(kinds)
    for address in away:
        words = {value for values in parse_qs(urlsplit(address).query).values() for value in values}
        assert "Appointment" in words
        assert not [value for value in words if "needl" in value.lower() or "Wren" in value]


def test_nothing_is_made_by_looking_and_nothing_before_booking(site: Site) -> None:
    early, _ = site.to("check")
    assert early.get(CALENDAR).name == "check"
    assert early.send("POST", f"{CALENDAR}/link", []).status == 409
    patient, _ = site.to("done")
    for path in (CALENDAR, f"{CALENDAR}/link", f"{CALENDAR}/link/stop", f"{CALENDAR}/choices"):
        patient.get(path)
    with site.app.app_context():
        assert site.db.session.scalars(sa.select(Feed)).all() == []


def test_what_the_patient_ticks_is_in_feed_and_files_until_they_untick_it(
    make_site: MakeSite, database_url: str
) -> None:
    site = make_site(url=database_url)
    patient, path = subscribed(site)
    plain = read(site, path)

    def tick(*shown: str) -> TestResponse:
        fields = [("shown", each) for each in shown]
        reply = patient.send("POST", f"{CALENDAR}/choices", fields)
        assert reply.status == 200
        assert reply.url.endswith("/calendar")
        return read(site, path)

    ticked = tick("care", "details")
    assert ticked.headers["ETag"] != plain.headers["ETag"]
    sessions = events(plain).keys()
    by_uid = events(ticked)
    assert [str(by_uid[uid]["SUMMARY"]) for uid in sessions] == [
        f"Appointment, {number} of 4" for number in (1, 2, 3, 4)
    ]
    assert all("Microneedling" in str(by_uid[uid]["DESCRIPTION"]) for uid in sessions)
    assert {int(str(by_uid[uid]["SEQUENCE"])) for uid in sessions} == {1}
    care = {uid: event for uid, event in by_uid.items() if uid not in sessions}
    assert {str(event["SUMMARY"]) for event in care.values()} == {
        "Prepare for your appointment",
        "After your appointment",
    }
    assert {str(event["RELATED-TO"]) for event in care.values()} == set(sessions)
    page = patient.get(CALENDAR)
    boxes = [control for form in page.forms for control in form.controls if control.name == "shown"]
    assert [box.value for box in boxes if box.checked] == ["care", "details"]

    unticked = events(tick())
    assert unticked.keys() == by_uid.keys()
    for uid in care:
        assert str(unticked[uid]["STATUS"]) == "CANCELLED"
        assert "Your appointment stands." in str(unticked[uid]["DESCRIPTION"])
        assert unticked[uid].subcomponents == []
    assert {str(unticked[uid]["STATUS"]) for uid in sessions} == {"CONFIRMED"}
    assert {int(str(unticked[uid]["SEQUENCE"])) for uid in sessions} == {2}
    assert b"Microneedling" not in read(site, path).data
    file = patient.send("GET", f"{HOME}calendar/appointments.ics", [])
    assert file.body.count(b"STATUS:CANCELLED") == len(care)


def test_an_unknown_tick_is_refused(site: Site) -> None:
    patient, _ = site.to("done")
    reply = patient.send("POST", f"{CALENDAR}/choices", [("shown", "everything")])
    assert reply.status == MISTAKEN


def test_staff_make_and_stop_feeds_under_their_name(site: Site) -> None:
    path = for_clinic(site, label="Jo, tablet", resource="resource:nurse")
    site.staff = CLINICIAN
    desk = site.visitor()
    page = desk.get(FEEDS)
    assert "Jo, tablet Nurse Imre Monday 2 March 2026 at 10:00, Jo Kent" in page.text
    stop = next(form for form in page.forms if form.action.endswith("/stop"))
    after = desk.send("POST", stop.action, stop.filled({}))
    assert after.url.endswith(FEEDS)
    assert b"Jo, tablet" not in after.body
    assert site.get(path).status_code == 404
    assert desk.send("POST", stop.action, []).status == 404
    with site.app.app_context():
        entries = site.db.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq)).all()
    assert [(each.action, each.actor_kind, each.actor_id) for each in entries] == [
        ("feed made", "staff", JO.id),
        ("feed stopped", "staff", CLINICIAN.id),
    ]


def test_who_may_only_read_makes_no_link_that_outlives_their_account_and_stops_none(site: Site) -> None:
    path = for_clinic(site, label="Jo, tablet")
    site.staff = CLINICIAN
    stop = next(form.action for form in site.visitor().get(FEEDS).forms if form.action.endswith("/stop"))
    site.staff = RECEPTION
    desk = site.visitor()
    page = desk.get(FEEDS)
    assert "Jo, tablet" in page.text
    assert page.forms == ()
    assert desk.send("POST", FEEDS, [("resource", "clinic"), ("label", "Mine")]).status == 403
    assert desk.send("POST", stop, []).status == 403
    assert site.get(path).status_code == 200
    with site.app.app_context():
        assert len(site.db.session.scalars(sa.select(Feed)).all()) == 1


def test_staff_cannot_stop_a_patients_feed_from_their_list(site: Site) -> None:
    _, path = subscribed(site)
    with site.app.app_context():
        feed_hash = site.db.session.scalars(sa.select(Feed.hash)).one()
    site.staff = CLINICIAN
    desk = site.visitor()
    assert feed_hash.encode() not in desk.get(FEEDS).reply.body
    assert desk.send("POST", f"{FEEDS}/{feed_hash}/stop", []).status == 404
    assert site.get(path).status_code == 200


@pytest.mark.parametrize(
    "given", [{"resource": "clinic"}, {"label": "Jo"}, {"resource": "resource:x", "label": "Jo"}]
)
def test_a_feed_needs_a_reader_and_a_resource_of_the_clinic(site: Site, given: Mapping[str, str]) -> None:
    site.staff = JO
    desk = site.visitor()
    reply = desk.send("POST", FEEDS, list(given.items()))
    assert reply.status == MISTAKEN
    with site.app.app_context():
        assert site.db.session.scalars(sa.select(Feed)).all() == []
