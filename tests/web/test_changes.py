"""Moving and cancelling on the pages: the patient's own, and the desk's with blocks, overlaps and why-not."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from icalendar import Calendar
from werkzeug.datastructures import MultiDict

from intake_plugin.records.tables import Appointment, AppointmentState, AuditEntry, Block, Case, Claim
from intake_plugin.testing import Given, Page, Visitor
from intake_plugin.web import visit
from tests.web.conftest import CLINICIAN, DESK, HOME, RECEPTION, WREN, Site
from tests.web.test_bad_input import JUNK
from tests.web.test_pages import check

FIRST = "2026-03-17T10:00:00+00:00"
POSTS = 150


def booked(site: Site, first: str = FIRST, **answers: Any) -> tuple[Visitor, Page]:
    """Book four sessions as Wren, the first on a Tuesday two weeks ahead, and open the page "manage"."""
    answers = {"email": f"wren-{len(references(site))}@example.com", **answers}
    visitor, page = site.to("slots", answers)
    page = visitor.get(f"{HOME}times?from={first[:10]}")
    page = visitor.walk(visitor.submit(page, {"arrive": first}), WREN, until=frozenset({"done"}))
    assert page.name == "done", page.text
    return visitor, visitor.get(f"{HOME}manage")


def appointments(site: Site, reference: str | None = None) -> list[Appointment]:
    with site.app.app_context():
        statement = sa.select(Appointment).order_by(Appointment.created_at, Appointment.ordinal)
        if reference is not None:
            statement = statement.join(Case, Case.id == Appointment.case_id).where(
                Case.reference == reference
            )
        return list(site.db.session.scalars(statement))


def everything(site: Site) -> list[tuple[Any, ...]]:
    """What moving, cancelling and blocking could write."""
    with site.app.app_context():
        return [
            tuple(row)
            for table in (Appointment, Claim, Block)
            for row in site.db.session.execute(
                sa.select(table.__table__).order_by(*table.__table__.primary_key)
            )
        ]


def references(site: Site) -> list[str]:
    with site.app.app_context():
        return list(site.db.session.scalars(sa.select(Case.reference).order_by(Case.created_at, Case.id)))


def link(page: Page, ends: str) -> str:
    return next(address for _, address in page.links if address.endswith(ends))


def times(page: Page) -> list[str]:
    return [control.value for control in page.form.controls if control.name == "arrive"]


@pytest.fixture
def desk(site: Site) -> Visitor:
    """Somebody at the desk, next to Wren's booked series."""
    booked(site)
    site.staff = CLINICIAN
    return site.visitor()


def case_url(site: Site) -> str:
    return f"{DESK}cases/{references(site)[0]}"


# The patient -------------------------------------------------------------------------------------


def test_a_patient_moves_the_last_session_and_no_other(site: Site) -> None:
    visitor, page = booked(site)
    before = appointments(site)
    page = visitor.get(link(page, "sessions/4/move"))
    check(page)
    assert page.name == "manage"
    new = times(page)[-1]
    page = visitor.submit(page, {"arrive": new})
    check(page)
    assert "so it moves too" not in page.text
    assert appointments(site)[3].arrive_at == before[3].arrive_at
    page = visitor.submit(page, press="move")
    assert page.reply.url.endswith("/manage")
    after = appointments(site)
    assert after[3].arrive_at == dt.datetime.fromisoformat(new)
    assert [each.sequence for each in after] == [0, 0, 0, 1]
    assert [each.id for each in after] == [each.id for each in before]


def test_a_move_that_breaks_a_gap_names_the_later_sessions_and_moves_them_along(site: Site) -> None:
    visitor, page = booked(site)
    before = appointments(site)
    page = visitor.get(f"{HOME}sessions/2/move?from=2026-04-21")
    page = visitor.submit(page, {"arrive": times(page)[0]})
    check(page)
    assert "The next 2 sessions would then be too near or too far" in page.text
    assert {"session-3", "session-4"} < set(page.form.names)
    shown = dict(page.form.filled({}))
    other = next(
        control.value
        for control in page.form.controls
        if control.name == "session-4" and control.value != shown["session-4"]
    )
    page = visitor.submit(page, {"session-4": other}, press="change")
    assert dict(page.form.filled({}))["session-4"] == other
    assert [each.arrive_at for each in appointments(site)] == [each.arrive_at for each in before]
    page = visitor.submit(page, press="move")
    assert page.reply.url.endswith("/manage")
    after = appointments(site)
    assert [each.sequence for each in after] == [0, 1, 1, 1]
    assert after[2].arrive_at == dt.datetime.fromisoformat(shown["session-3"])
    assert after[3].arrive_at == dt.datetime.fromisoformat(other)


def test_a_time_taken_meanwhile_changes_nothing_and_shows_fresh_times(site: Site) -> None:
    visitor, page = booked(site)
    client = site.client
    page = visitor.get(f"{HOME}sessions/1/move?from=2026-03-16")
    wanted = times(page)[0]
    page = visitor.submit(page, {"arrive": wanted})
    booked(site, first=wanted)
    before = everything(site)
    reply = client.post(f"{HOME}sessions/1/move", data=dict(page.form.filled({}, press="move")))
    assert reply.status_code == 409
    assert "no longer free" in reply.text
    assert f'value="{wanted}"' not in reply.text
    assert everything(site) == before


def test_a_patient_cancels_one_session_and_keeps_the_others(site: Site) -> None:
    visitor, page = booked(site)
    page = visitor.get(link(page, "sessions/2/cancel"))
    check(page)
    assert [each.state for each in appointments(site)] == [AppointmentState.BOOKED] * 4
    page = visitor.submit(page)
    check(page)
    assert "This session has been cancelled." in page.text
    found = appointments(site)
    assert [each.state for each in found] == [
        AppointmentState.CANCELLED if each.ordinal == 2 else AppointmentState.BOOKED for each in found
    ]
    assert visitor.get(f"{HOME}sessions/2/move").name == "done"
    assert site.client.post(f"{HOME}sessions/2/cancel").status_code == 303
    assert [each.sequence for each in appointments(site)] == [0, 1, 0, 0]
    assert "Your sessions are booked." in visitor.get(f"{HOME}manage").text
    for ordinal in (1, 3, 4):
        # The clinic cancels the rest: the first begins too soon for its patient to do so.
        with site.app.app_context():
            appointment = site.db.session.get_one(Appointment, ("harbour", found[ordinal - 1].id))
            appointment.state = AppointmentState.CANCELLED
            site.db.session.commit()
    assert "Nothing is booked for you" in visitor.get(f"{HOME}manage").text
    assert visitor.get(f"{HOME}done").heading == "Your sessions have been cancelled"


def test_the_calendar_files_follow_a_move_and_a_cancellation(site: Site) -> None:
    visitor, page = booked(site)

    def download() -> dict[str, tuple[object, int, str]]:
        done = visitor.get(f"{HOME}done")
        octets = visitor.download(done.calendars[0], done)
        return {
            str(event["UID"]): (event.start, event.sequence, str(event["STATUS"]))
            for event in Calendar.from_ical(octets).events
        }

    before, uids = download(), [each.id for each in appointments(site)]
    page = visitor.get(f"{HOME}sessions/4/move")
    new = times(page)[-1]
    visitor.submit(visitor.submit(page, {"arrive": new}), press="move")
    visitor.submit(visitor.get(f"{HOME}sessions/3/cancel"))
    after = download()
    assert set(after) == set(before) == set(uids)
    assert after[uids[0]] == before[uids[0]]
    assert after[uids[2]] == (before[uids[2]][0], 1, "CANCELLED")
    assert after[uids[3]] == (dt.datetime.fromisoformat(new), 1, "CONFIRMED")


def test_inside_the_notice_the_clinic_has_to_be_called(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor, _ = booked(site)
    private = next(
        address for _, address in visitor.submit(visitor.get(f"{HOME}save")).links if "/link/" in address
    )
    late = dt.datetime.fromisoformat(FIRST) - dt.timedelta(hours=47)
    monkeypatch.setattr(visit, "now", lambda: late)
    before = everything(site)
    page = visitor.submit(visitor.get(private), WREN)
    assert page.name == "manage"
    assert not [address for _, address in page.links if "sessions/1/" in address]
    assert "call 020 7946 0011" in page.text
    for path in ("sessions/1/move", "sessions/1/cancel"):
        for reply in (site.client.get(HOME + path), site.client.post(HOME + path, data={"arrive": FIRST})):
            assert reply.status_code == 409
            assert 'data-intake-page="problem"' in reply.text
            assert "020 7946 0011" in reply.text
    assert everything(site) == before


@pytest.mark.parametrize("path", ["sessions/2/move", "sessions/2/cancel"])
def test_a_patient_without_a_series_has_nothing_to_change(site: Site, path: str) -> None:
    assert site.get(HOME + path).status_code == 403
    visitor, _ = site.to("slots")
    assert visitor.get(HOME + path).name == "slots"
    assert site.client.post(HOME + path).status_code == 409


def test_looking_writes_nothing_and_asks_little(site: Site) -> None:
    visitor, _ = booked(site)
    before = everything(site)
    for path in ("manage", "sessions/2/move", "sessions/2/cancel"):
        with site.counting() as statements:
            assert visitor.get(HOME + path).reply.status == 200
        assert len(statements) <= 4, statements
        assert all(statement.startswith("SELECT") for statement in statements)
    assert everything(site) == before


# The desk ----------------------------------------------------------------------------------------


def test_the_desk_moves_and_cancels_and_is_named_in_the_history(site: Site, desk: Visitor) -> None:
    page = desk.get(case_url(site))
    check(page)
    page = desk.get(link(page, "sessions/4/move"))
    assert page.name == "staff"
    check(page)
    page = desk.submit(desk.submit(page, {"arrive": times(page)[0]}), press="move")
    page = desk.submit(desk.get(link(page, "sessions/1/cancel")))
    assert [each.sequence for each in appointments(site)] == [1, 0, 0, 1]
    assert "move (staff 7)" in page.text
    assert "cancel (staff 7)" in page.text


def test_an_overlap_is_shown_first_and_then_signed(site: Site, desk: Visitor) -> None:
    standing = references(site)[0]
    site.staff = None
    booked(site, first="2026-03-17T13:00:00+00:00")
    site.staff = CLINICIAN
    (mine,) = [reference for reference in references(site) if reference != standing]
    page = desk.get(link(desk.get(f"{DESK}cases/{mine}"), "sessions/1/overlap"))
    check(page)
    before = everything(site)
    given: Given = {"date": dt.date(2026, 3, 17), "time": "10:00", "reason": "Mother and daughter"}
    page = desk.submit(page, given)
    check(page)
    assert standing in page.text
    assert "signed with your name: Dr Ana Ruiz" in page.text
    assert everything(site) == before
    page = desk.submit(page, press="move")
    assert "Over another booking, by Dr Ana Ruiz: Mother and daughter" in page.text
    assert f"At the same time as case {standing}" in page.text
    assert "overlap (staff 7)" in page.text
    assert f"At the same time as case {mine}" in desk.get(f"{DESK}cases/{standing}").text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "Enter the reason for the overlap"),
        ({"date": dt.date(2026, 3, 17), "reason": "x", "time": "half past"}, "must be a time, like 09:30"),
        ({"date": dt.date(2026, 3, 17), "reason": "x", "time": "03:00"}, "Nobody can be there at that time"),
        ({"date": dt.date(2026, 9, 1), "reason": "x", "time": "10:00"}, "Nobody can be there at that time"),
    ],
)
def test_an_overlap_that_cannot_be_is_refused_in_words(
    site: Site, desk: Visitor, given: dict[str, Any], says: str
) -> None:
    page = desk.submit(desk.get(f"{case_url(site)}/sessions/1/overlap"), given)
    assert page.reply.status == 422
    check(page)
    assert says in page.text


def test_time_is_blocked_and_given_back(site: Site, desk: Visitor) -> None:
    page = desk.get(f"{DESK}blocks")
    check(page)
    given: Given = {
        "resource": "nurse",
        "from": dt.date(2026, 3, 16),
        "from_time": "9:00",
        "until": dt.date(2026, 3, 19),
        "until_time": "17.00",
        "reason": "Course in Leeds",
    }
    empty, page = page, desk.submit(page, given)
    check(page)
    assert page.reply.status == 200
    assert page.text.count("Course in Leeds") == 1
    assert desk.submit(empty, given).text.count("Course in Leeds") == 1
    assert references(site)[0] in page.text
    visitor, _ = site.to("slots", {"email": "somebody.else@example.com"})
    assert not times_of(visitor.get(f"{HOME}times?from=2026-03-16"))
    form = next(form for form in page.forms if form.action.endswith("/remove"))
    assert site.app.test_client().get(form.action).location == f"{DESK}blocks"
    assert site.app.test_client().post(form.action).status_code == 303
    assert site.app.test_client().post(form.action).status_code == 404
    assert times_of(visitor.get(f"{HOME}times?from=2026-03-16"))
    with site.app.app_context():
        acts = site.db.session.scalars(
            sa.select(AuditEntry.action).where(AuditEntry.object_kind == "block").order_by(AuditEntry.seq)
        ).all()
    assert acts == ["block", "unblock"]


def times_of(page: Page) -> list[str]:
    return times(page) if any(form.method == "post" for form in page.forms) else []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"until": dt.date(2026, 3, 16), "until_time": "09:00"}, "The end must be after the beginning"),
        ({"resource": ""}, "Select a practitioner or a room"),
        ({"until_time": "25:00"}, "must be a time"),
        ({"reason": ""}, "Enter the reason"),
        ({"until-year": "9999"}, "must be on or before"),
        (
            {"until-year": "2027", "until_time": "09:01"},
            "One block can last until Tuesday 16 March 2027 at 09:00 at most",
        ),
    ],
)
def test_a_block_that_makes_no_sense_is_refused_in_words(
    site: Site, desk: Visitor, changes: dict[str, Any], says: str
) -> None:
    fields = {
        "resource": "nurse",
        "from-day": "16",
        "from-month": "3",
        "from-year": "2026",
        "from_time": "09:00",
        "until-day": "17",
        "until-month": "3",
        "until-year": "2026",
        "until_time": "17:00",
        "reason": "Course",
    }
    for name, value in changes.items():
        if isinstance(value, dt.date):
            fields |= {f"{name}-day": str(value.day), f"{name}-month": str(value.month)}
        else:
            fields[name] = value
    reply = site.client.post(f"{DESK}blocks", data=fields)
    assert reply.status_code == 422
    assert says in reply.text
    assert not [row for row in everything(site) if "Course" in row]


def ask(site: Site, time: str, *, day: int = 17, resource: str = "", reference: str = "") -> str:
    query = {"resource": resource, "date-day": day, "date-month": 3, "date-year": 2026, "time": time}
    reply = site.client.get(f"{DESK}why-not?{urlencode({**query, 'reference': reference})}")
    assert reply.status_code == 200, reply.text
    return reply.text


def test_why_not_says_what_is_in_the_way(site: Site, desk: Visitor) -> None:
    check(desk.get(f"{DESK}why-not"))
    reference = references(site)[0]
    assert "Blue room is taken Tuesday 17 March 2026 at 10:30" in ask(site, "10:30", resource="room")
    assert f"(case {reference})" in ask(site, "10:30", resource="room")
    assert "every 30 minutes. The nearest: 13:00, 13:30." in ask(site, "13:10")
    assert "The opening hours of Harbour Skin do not hold" in ask(site, "10:00", day=18)
    assert "This time is offered." in ask(site, "14:00")
    assert "Too soon: patients can book from Tuesday 3 March 2026 at 10:00." in ask(site, "10:00", day=2)
    assert (
        site.client.get(
            f"{DESK}why-not?resource=&date-day=17&date-month=3&date-year=2026&time=10:00&reference=AAA-AAAA"
        ).status_code
        == 404
    )
    assert site.client.get(f"{DESK}why-not?time=10:00").status_code == 422


def test_who_may_only_read_sees_the_desk_and_changes_nothing(site: Site, desk: Visitor) -> None:
    site.staff = RECEPTION
    page = desk.get(case_url(site))
    assert not [address for _, address in page.links if "/sessions/" in address]
    assert not desk.get(f"{DESK}blocks").forms
    assert desk.get(f"{DESK}why-not").reply.status == 200
    before = everything(site)
    for path in ("move", "cancel", "overlap"):
        for method in ("GET", "POST"):
            reply = site.client.open(
                f"{case_url(site)}/sessions/1/{path}", method=method, data={"arrive": FIRST}
            )
            assert reply.status_code == 403, path
            assert "Your account can look, but not change anything" in reply.text
    fields = {"resource": "nurse", "from_time": "09:00", "until_time": "17:00", "reason": "Course"}
    for name in ("from", "until"):
        fields |= {f"{name}-day": "16", f"{name}-month": "3", f"{name}-year": "2026"}
    assert site.client.post(f"{DESK}blocks", data=fields).status_code == 403
    assert site.client.post(f"{DESK}blocks/abc/remove").status_code == 403
    assert everything(site) == before


@pytest.mark.parametrize("path", ["move", "cancel", "overlap"])
def test_an_unknown_case_or_session_is_not_found(site: Site, desk: Visitor, path: str) -> None:
    for address in (f"{DESK}cases/AAA-AAAA/sessions/1/{path}", f"{case_url(site)}/sessions/9/{path}"):
        for method in ("GET", "POST"):
            reply = site.client.open(address, method=method, data={"arrive": FIRST})
            expected = 422 if (path, method) == ("overlap", "POST") and "AAA" not in address else 404
            assert reply.status_code in {404, expected}
            assert 'data-intake-page="' in reply.text


FORMS = {
    "move": (False, "sessions/2/move"),
    "cancel": (False, "sessions/99/cancel"),
    "desk move": (True, "/sessions/2/move"),
    "overlap": (True, "/sessions/2/overlap"),
    "blocks": (True, None),
}


@pytest.mark.parametrize("name", FORMS)
def test_malformed_posts_get_a_page_and_change_nothing(site: Site, name: str) -> None:
    at_desk, path = FORMS[name]
    booked(site)
    client = site.client
    address = HOME + path if path and not at_desk else f"{DESK}blocks"
    if at_desk:
        site.staff = CLINICIAN
        address = f"{case_url(site)}{path}" if path else f"{DESK}blocks"
    names = [
        *("arrive", "action", "session-3", "session-²", "session-4", "from", "reason", "resource", "time"),
        *(f"{date}-{part}" for date in ("date", "from", "until") for part in ("day", "month", "year")),
        *("from_time", "until_time"),
    ]
    junk = [*JUNK, "2026-04-16T09:00:00+00:00", "nurse", "move", "10:00", "16", "3", "2026"]
    chance, before = random.Random(name), everything(site)
    for _ in range(POSTS):
        fields = [(chance.choice(names), chance.choice(junk)) for _ in range(chance.randint(0, 8))]
        if chance.random() < 0.5:
            fields += [("arrive", "2026-04-16T09:00:00+00:00")]
        reply = client.post(address, data=MultiDict(fields))
        assert reply.status_code == 200 or 400 <= reply.status_code < 500, (fields, reply.status_code)
        assert 'data-intake-page="' in reply.text
    assert everything(site) == before
