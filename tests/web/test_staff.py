"""The clinic's desk: the queue, one case whole, and who may decide what."""

from __future__ import annotations

import datetime as dt
from typing import Any

import icalendar
import pytest
import sqlalchemy as sa

from intake_plugin.records.tables import AuditEntry, Case, Decision, Signature
from intake_plugin.testing import Page, Visitor
from tests.web.conftest import CLINICIAN, DESK, HOME, NOW, RECEPTION, WREN, Site

REVIEWED = {
    "medicines": "blood_thinner",
    "isotretinoin": "stopped",
    "isotretinoin_last": dt.date(2025, 12, 10),
}


@pytest.fixture
def desk(site: Site) -> Visitor:
    site.staff = CLINICIAN
    return site.visitor()


def cases(page: Page) -> list[str]:
    return [address for _, address in page.links if "/cases/" in address]


def reviewed(site: Site, **answers: Any) -> tuple[Visitor, str]:
    """Return a patient under review and the address of the case at the desk."""
    patient, page = site.to("outcome", {**REVIEWED, **answers})
    reference = page.text.split("Your reference: ")[1].split()[0]
    return patient, f"{DESK}cases/{reference}"


def decisions(site: Site) -> list[Decision]:
    with site.app.app_context():
        return list(site.db.session.scalars(sa.select(Decision)))


def test_the_queue_is_newest_first_and_can_be_narrowed(
    site: Site, desk: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour, answers in enumerate(({"pregnant": "yes"}, {"medicines": "blood_thinner"}, {"unwell": "yes"})):
        now = NOW + dt.timedelta(hours=hour)
        monkeypatch.setattr("intake_plugin.web.visit.now", lambda now=now: now)
        site.to("outcome", {"name": f"Patient {hour}", "email": f"patient{hour}@example.com", **answers})
    queue = desk.get(DESK)
    names = [word for word in ("Patient 2", "Patient 1", "Patient 0") if word in queue.text]
    assert sorted(names, key=queue.text.index) == names
    assert len(names) == 3
    assert "To decide (1)" in queue.text
    narrowed = desk.get(f"{DESK}?state=review")
    assert len(cases(narrowed)) == 1
    assert "Patient 1" in narrowed.text
    assert "Patient 0" not in narrowed.text
    assert desk.get(f"{DESK}?state=nonsense").reply.status == 400
    assert desk.get(f"{DESK}?page=999").reply.status == 200
    assert desk.get(f"{DESK}?page=x").reply.status == 200


def test_nobody_else_sees_more_than_that_it_is_not_for_them(site: Site) -> None:
    site.to("outcome")
    page = site.visitor().get(DESK)
    assert page.reply.status == 403
    assert page.heading == "This page is for the clinic’s staff"
    assert "Wren" not in page.text


def test_a_draft_is_the_patients_own(site: Site, desk: Visitor) -> None:
    site.to("check")
    assert cases(desk.get(DESK)) == []


def test_one_case_whole_with_what_matters_first(site: Site, desk: Visitor) -> None:
    _, address = reviewed(site)
    page = desk.get(address)
    for words in (
        "Wren Okafor",
        "wren.okafor@example.com",
        "14 March 1991",
        "S08 · Review",
        "S01b · Defer",
        "Not before Wednesday 10 June 2026",
        "BLD (grade A)",
        "protocol version",
        "10 December 2025",
    ):
        assert words in page.text, words
    behind, other = page.text.index("Answers behind the findings"), page.text.index("Other answers")
    assert behind < page.text.index("10 December 2025") < other
    assert other < page.text.index("Fine lines and wrinkles")


def test_reading_a_case_leaves_a_trace(site: Site, desk: Visitor) -> None:
    _, address = reviewed(site)
    desk.get(address)
    with site.app.app_context():
        trace = site.db.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.seq.desc())).first()
        assert trace is not None
        assert (trace.action, trace.actor_kind, trace.actor_id) == ("read", "staff", "7")


def test_clear_keeps_the_protocols_dates(site: Site, desk: Visitor) -> None:
    patient, address = reviewed(site)
    page = desk.submit(desk.get(address), {"verdict": "clear", "note": "Letter from the GP seen."})
    assert "Clear for booking" in page.text
    assert "Dr Ana Ruiz" in page.text
    assert (
        "Your first session can be on Wednesday 10 June 2026 or later" in patient.get(f"{HOME}outcome").text
    )


def test_clear_from_sets_the_date(site: Site, desk: Visitor) -> None:
    patient, address = reviewed(site)
    ruling: dict[str, Any] = {
        "verdict": "clear_from",
        "note": "Shorter wait agreed.",
        "not_before": dt.date(2026, 4, 16),
    }
    desk.submit(desk.get(address), ruling)
    assert "Thursday 16 April 2026 or later" in patient.get(f"{HOME}outcome").text
    slots = patient.walk(patient.get(f"{HOME}outcome"), WREN, until=frozenset({"slots"}))
    assert "Thursday 16 April 2026" in slots.text
    (decision,) = decisions(site)
    assert (decision.staff_id, decision.staff_name) == ("7", "Dr Ana Ruiz")


@pytest.mark.parametrize(
    ("ruling", "message"),
    [
        ({}, "Select a decision"),
        ({"verdict": "clear"}, "Enter the reason for your decision"),
        ({"verdict": "clear_from", "note": "x"}, "Enter the first possible date"),
        (
            {"verdict": "clear", "note": "x", "not_before": dt.date(2026, 5, 1)},
            "Leave the date empty, or select “Clear for booking from a date”",
        ),
        (
            {"verdict": "clear_from", "note": "x", "not_before": dt.date(2026, 1, 5)},
            "First possible date must be today or in the future",
        ),
    ],
)
def test_a_decision_that_is_not_whole_is_not_made(
    site: Site, desk: Visitor, ruling: dict[str, Any], message: str
) -> None:
    _, address = reviewed(site)
    page = desk.get(address)
    fields = [(name, value) for name, value in page.form.filled(ruling) if name != "verdict" or ruling]
    reply = desk.send("POST", f"{address}/decision", fields)
    assert reply.status == 422
    assert message in reply.body.decode()
    assert decisions(site) == []


def test_who_may_only_read_sees_no_form_and_decides_nothing(site: Site, desk: Visitor) -> None:
    _, address = reviewed(site)
    form = desk.get(address).form.filled({"verdict": "clear", "note": "x"})
    site.staff = RECEPTION
    page = desk.get(address)
    assert page.reply.status == 200
    assert not [form for form in page.forms if form.method == "post"]
    refused = desk.send("POST", f"{address}/decision", form)
    assert refused.status == 403
    assert b"Your account can look, but not change anything" in refused.body
    assert decisions(site) == []


def test_of_two_clinicians_the_second_reads_the_case_again(site: Site, desk: Visitor) -> None:
    _, address = reviewed(site)
    first, second = desk.get(address), desk.get(address)
    desk.submit(first, {"verdict": "decline", "note": "x"})
    late = desk.submit(second, {"verdict": "clear", "note": "y"})
    assert late.reply.status == 409
    again = next(address for _, address in late.links if address.endswith("/decision"))
    assert desk.get(again).heading == first.heading
    assert [decision.verdict.value for decision in decisions(site)] == ["decline"]


def test_home_numbing_can_be_approved_only_where_product_and_clinic_allow_it(
    site: Site, desk: Visitor
) -> None:
    _, address = reviewed(site)
    page = desk.get(address)
    assert "home_numbing" in page.form.names
    desk.submit(page, {"verdict": "clear", "note": "x", "home_numbing": "yes"})
    with site.app.app_context():
        assert site.db.session.scalars(sa.select(Case.numbing_home)).all() == [True]


def test_a_booked_case_shows_its_appointments_and_signatures(site: Site, desk: Visitor) -> None:
    site.to("done")
    page = desk.get(cases(desk.get(DESK))[0])
    assert (
        "1/4 Tuesday 3 March 2026 at 10:00 10:30 (at the clinic) 11:00 11:00 Nurse Imre, Blue room Booked"
        in page.text
    )
    assert "Consent to microneedling, version 1: Wren Okafor, Monday 2 March 2026 at 10:00" in page.text
    assert "I agree to microneedling at Harbour Skin" in page.text
    assert "Button pressed: Sign this document" in page.text
    with site.app.app_context():
        for signature in site.db.session.scalars(sa.select(Signature)):
            assert signature.sha256 in page.text
            assert signature.chain_head in page.text
    assert not [form for form in page.forms if form.method == "post"]


def test_the_clinics_calendar_names_no_patient(site: Site, desk: Visitor) -> None:
    assert desk.get(f"{DESK}appointments.ics").reply.status == 404
    site.to("done")
    octets = desk.download(f"{DESK}appointments.ics", desk.get(DESK))
    calendar = icalendar.Calendar.from_ical(octets)
    assert len(calendar.walk("VEVENT")) == 4
    assert b"Wren" not in octets
    reference = cases(desk.get(DESK))[0].rsplit("/", 1)[1]
    assert reference.encode() in octets.replace(b"\r\n ", b"")


def test_a_case_of_another_clinic_or_of_none_is_not_found(site: Site, desk: Visitor) -> None:
    for reference in ("AAA-AAAA", "%00", "x" * 300):
        page = desk.get(f"{DESK}cases/{reference}")
        assert page.reply.status == 404
        assert page.name == "problem"
        assert page.heading == "There is no such case or page at this clinic"
        assert [address for _, address in page.links if address == DESK]
        assert "Your answers" not in page.text
        assert "Need help?" not in page.text


def test_a_patients_cookie_at_the_desk_changes_nothing(site: Site) -> None:
    patient, _ = site.to("check", {"name": "Somebody Else"})
    site.staff = CLINICIAN
    page = patient.get(DESK)
    assert page.title == "Cases – Harbour Skin"
    assert "Somebody Else" not in page.text
