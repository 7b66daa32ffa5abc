"""The patient's way over HTTP: forwards, backwards, to another device, through a clinician."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from zoneinfo import ZoneInfo

import icalendar
import pytest
import sqlalchemy as sa

from intake_plugin.records.tables import Signature
from intake_plugin.testing import Page, Visitor
from intake_plugin.web import visit
from tests.web.conftest import CLINICIAN, DESK, HOME, NOW, WREN, MakeSite, Site

LONDON = ZoneInfo("Europe/London")
SOMEBODY_ELSE = {"email": "ash.lindqvist@example.com"}


def link(page: Page, ending: str) -> str:
    return next(address for _, address in page.links if address.endswith(ending))


def private_link(patient: Visitor) -> str:
    shown = patient.submit(patient.get(f"{HOME}save"))
    return next(address for _, address in shown.links if "/link/" in address)


def test_from_the_first_click_to_a_calendar_that_reads_right(make_site: MakeSite, database_url: str) -> None:
    visitor, done = make_site(url=database_url).to("done")
    assert done.name == "done", done.text
    calendar = icalendar.Calendar.from_ical(visitor.download(done.calendars[0], done))
    sessions = [event for event in calendar.walk("VEVENT") if event["SUMMARY"] == "Appointment"]
    starts = [event.decoded("DTSTART") for event in sessions]
    # Fine lines: four sessions, four weeks apart; the clocks change on 29 March.
    first = dt.datetime(2026, 3, 3, 10, 0, tzinfo=LONDON)
    assert starts == [first + dt.timedelta(weeks=4 * number) for number in range(4)]
    assert "Wren" not in calendar.to_ical().decode()
    # LMX4: thirty minutes before the treatment, put on half an hour after the arrival.
    assert "Arrive 10:00" in done.text
    assert "Numbing cream on 10:30 Who puts it on The clinic" in done.text
    assert "Numbing cream off 11:00 Treatment starts 11:00" in done.text
    assert len(done.calendars) == 1 + len(sessions)
    one = icalendar.Calendar.from_ical(visitor.download(done.calendars[2], done))
    assert [event.decoded("DTSTART") for event in one.walk("VEVENT")] == [starts[1]]


def test_every_step_says_its_name_once_and_in_order(site: Site) -> None:
    visitor, _ = site.to("done")
    steps = [name for name, _ in groupby(visitor.visited)]
    assert steps == ["start", "question", "check", "outcome", "consent", "notes", "slots", "series", "done"]


def test_going_back_shows_what_was_answered(site: Site) -> None:
    visitor, _ = site.to("check")
    about = visitor.get(f"{HOME}about-you")
    assert dict(about.form.filled({}))["name"] == "Wren Okafor"
    assert dict(about.form.filled({}))["birth_date-month"] == "3"
    goal = visitor.get(f"{HOME}questions/goal")
    assert ("concern", "fine_lines") in goal.form.filled({})
    onward = visitor.submit(goal, {"concern": "pores"})
    assert onward.reply.url.endswith("/questions/place")
    assert "Large pores" in visitor.get(f"{HOME}check").text


def test_a_change_from_the_check_page_leads_back_to_it_or_asks_what_it_opens(site: Site) -> None:
    visitor, check = site.to("check")
    change = link(check, "/questions/medicines?return=check")
    page = visitor.submit(visitor.get(change), {})
    assert page.reply.url.endswith("/check")
    page = visitor.submit(visitor.get(change), {"isotretinoin": "stopped"})
    assert page.reply.url.endswith("/questions/medicines-2?return=check")
    page = visitor.submit(page, {"isotretinoin_last": dt.date(2026, 1, 10)})
    assert page.reply.url.endswith("/check")
    assert "10 January 2026" in page.text


def test_answers_of_a_page_that_closed_come_back_when_it_opens_again(site: Site) -> None:
    visitor, _ = site.to("check", {"isotretinoin": "stopped", "isotretinoin_last": dt.date(2026, 1, 10)})
    medicines = f"{HOME}questions/medicines?return=check"
    closed = visitor.submit(visitor.get(medicines), {"isotretinoin": "never"})
    assert "10 January 2026" not in closed.text
    opened = visitor.submit(visitor.get(medicines), {"isotretinoin": "stopped"})
    assert "10 January 2026" in opened.text


def test_a_month_is_enough_where_a_wait_is_in_months(site: Site) -> None:
    visitor, page = site.to(
        "check",
        {"isotretinoin": "stopped", "isotretinoin_last-month": "January", "isotretinoin_last-year": "2026"},
    )
    assert "January 2026" in page.text
    outcome = visitor.submit(page)
    # Six months from the end of January.
    assert "Friday 31 July 2026" in outcome.text
    page = visitor.walk(outcome, WREN, until=frozenset({"slots"}))
    assert "Monday 3 August 2026" in page.text


def test_a_clinician_decides_and_the_patients_own_link_leads_on(site: Site) -> None:
    patient, outcome = site.to("outcome", {"medicines": "blood_thinner"})
    assert "A clinician will look at your answers" in outcome.heading
    secret = private_link(patient)

    site.staff = CLINICIAN
    desk = site.visitor()
    reference = outcome.text.split("Your reference: ")[1].split()[0]
    case = desk.get(f"{DESK}cases/{reference}")
    assert "S08" in case.text
    decided = desk.submit(
        case, {"verdict": "clear", "note": "INR stable, letter seen.", "home_numbing": "yes"}
    )
    assert decided.reply.status == 200, decided.text
    assert "INR stable" in decided.text

    other = site.visitor()
    verify = other.get(secret)
    assert secret.rsplit("/", 1)[1] not in verify.reply.url
    assert "Wren" not in verify.text
    assert verify.heading == "What is your date of birth?"
    wrong = other.submit(verify, {"birth_date": dt.date(1990, 1, 15)})
    assert wrong.reply.status == 422
    assert 'id="birth_date-error"' in wrong.reply.body.decode()
    assert "Enter the date of birth you gave when you started" in wrong.text
    page = other.submit(wrong, {"birth_date": WREN["birth_date"]})
    assert page.name == "manage"
    assert "read and sign the consent" in page.text
    done = other.walk(other.get(f"{HOME}outcome"), WREN, until=frozenset({"done"}))
    assert "Who puts it on You, at home" in done.text
    assert "cleared you for booking" in other.get(f"{HOME}outcome").text


def test_after_five_wrong_dates_of_birth_the_link_is_dead(site: Site) -> None:
    patient, _ = site.to("check")
    secret = private_link(patient)
    other = site.visitor()
    page = other.get(secret)
    for _ in range(5):
        page = other.submit(page, {"birth_date": dt.date(1990, 1, 15)})
    assert other.get(secret).reply.status == 404
    assert other.get(f"{HOME}verify").reply.status == 404


def test_before_the_date_of_birth_is_known_there_is_no_link_to_send_to_anybody(site: Site) -> None:
    patient, page = site.to("question")
    assert not [address for _, address in page.links if address.endswith("/save")]
    assert patient.get(f"{HOME}save").reply.url.endswith("/about-you")
    assert patient.send("POST", f"{HOME}save", ()).status == 409
    page = patient.submit(page, WREN)
    assert link(page, "/save")
    assert private_link(patient)


def test_leaving_a_device_closes_the_case_there(site: Site) -> None:
    visitor, _ = site.to("check")
    page = visitor.submit(visitor.get(f"{HOME}leave"))
    assert page.name == "start"
    assert "You have started already" not in page.text
    assert visitor.get(f"{HOME}check").reply.status == 403


def test_a_case_open_on_this_device_can_be_gone_on_with_or_left_for_a_new_one(site: Site) -> None:
    visitor, _ = site.to("check")
    start = visitor.get(HOME)
    assert "You have started already" in start.text
    assert link(start, "/check")
    assert "you then need your private link" in start.text
    assert link(start, "/save")
    fresh = visitor.submit(start)
    assert fresh.reply.url.endswith("/about-you")
    assert dict(fresh.form.filled({}))["name"] == ""


def test_answers_can_be_changed_after_the_outcome(site: Site) -> None:
    visitor, outcome = site.to("outcome")
    check = visitor.submit(outcome, press="reopen")
    assert check.reply.url.endswith("/check")
    page = visitor.submit(visitor.get(f"{HOME}questions/health?return=check"), {"pregnant": "yes"})
    stopped = visitor.submit(page)
    assert stopped.heading == "You cannot book this treatment online"


def test_an_optional_document_can_be_declined_and_a_required_one_cannot(site: Site) -> None:
    visitor, outcome = site.to("outcome")
    visitor.submit(outcome)
    page = visitor.get(f"{HOME}consent/photos_marketing")
    assert page.text.index("This document is optional") < page.text.index("Your full name")
    decline = next(form for form in page.forms if "decline" in [control.value for control in form.controls])
    client_page = visitor.send("POST", f"{HOME}consent/photos_marketing", decline.filled({}, press="decline"))
    assert client_page.status == 200
    assert "Declined" in visitor.get(f"{HOME}consent").text
    required = visitor.get(f"{HOME}consent/treatment")
    shown = dict(required.form.filled({}))["shown"]
    refused = visitor.send("POST", f"{HOME}consent/treatment", [("shown", shown), ("action", "decline")])
    assert refused.status == 404
    assert visitor.get(f"{HOME}times").name != "slots"


def test_the_patients_copy_has_what_proves_it(site: Site) -> None:
    visitor, _ = site.to("done")
    copy = visitor.get(link(visitor.get(f"{HOME}manage"), "/consent/treatment"))
    assert "Signed by Wren Okafor on Monday 2 March 2026 at 10:00." in copy.text
    with site.app.app_context():
        of_it = sa.select(Signature).where(Signature.document_id == "treatment")
        signature = site.db.session.scalars(of_it).one()
        for words in (signature.sha256, signature.chain_head, *signature.text.split("\n\n")):
            assert " ".join(words.split()) in copy.text


def test_another_first_time_and_other_sessions_can_be_chosen_before_booking(site: Site) -> None:
    visitor, outcome = site.to("outcome")
    slots = visitor.walk(outcome, WREN, until=frozenset({"slots"}))
    later = visitor.get(link(slots, "from=2026-03-10"))
    series = visitor.submit(later, {"arrive": "2026-03-12T11:30:00+00:00"})
    assert "Thursday 12 March 2026 Arrive 11:30" in series.text
    names = [name for name in series.form.names if name.startswith("session-")]
    assert names == ["session-1", "session-2", "session-3", "session-4"]
    options = [control.value for control in series.form.controls if control.name == "session-3"]
    changed = visitor.submit(series, {"session-3": options[-1]}, press="change")
    assert changed.name == "series"
    assert dict(changed.form.filled({}))["session-3"] == options[-1]
    done = visitor.submit(changed, press="book")
    assert done.name == "done"
    calendar = icalendar.Calendar.from_ical(visitor.download(done.calendars[0], done))
    starts = {event.decoded("DTSTART") for event in calendar.walk("VEVENT")}
    assert dt.datetime.fromisoformat(options[-1]) in starts


def test_a_gap_that_breaks_is_named_and_nothing_is_booked(site: Site) -> None:
    visitor, outcome = site.to("outcome")
    series = visitor.walk(outcome, WREN, until=frozenset({"series"}))
    soon = "2026-03-05T10:00:00+00:00"
    fields = [
        (name, soon if name == "session-2" else value) for name, value in series.form.filled({}, press="book")
    ]
    reply = visitor.send("POST", f"{HOME}series", fields)
    assert reply.status == 409
    text = reply.body.decode()
    assert "Session 2 is too soon after the one before" in text
    assert '<a href="#session-2">' in text
    assert visitor.get(f"{HOME}done").name == "series"


def test_what_one_patient_looks_at_is_held_and_another_gets_other_times(site: Site) -> None:
    first, outcome = site.to("outcome")
    mine = first.walk(outcome, WREN, until=frozenset({"series"}))
    assert "We hold the times selected now for you until 10:20." in mine.text
    second, outcome = site.to("outcome", SOMEBODY_ELSE)
    theirs = second.walk(outcome, WREN, until=frozenset({"series"}))
    assert not set(times_of(mine).values()) & set(times_of(theirs).values())
    assert second.submit(theirs).name == "done"
    assert first.submit(mine).name == "done"


def test_a_hold_is_extended_with_one_press_and_its_loss_keeps_the_choice(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(minutes: int) -> None:
        monkeypatch.setattr(visit, "now", lambda: NOW + dt.timedelta(minutes=minutes))

    first, outcome = site.to("outcome")
    slots = first.walk(outcome, WREN, until=frozenset({"slots"}))
    last = [control.value for control in slots.form.controls if control.name == "arrive"][-1]
    mine = first.submit(slots, {"arrive": last})
    at(19)
    mine = first.submit(mine, press="extend")
    assert "until 10:39." in mine.text
    at(38)
    assert "until 10:39." in first.get(mine.reply.url).text
    at(39)
    assert "We no longer hold these times" in first.get(mine.reply.url).text
    second, outcome = site.to("outcome", SOMEBODY_ELSE)
    slots = second.walk(outcome, WREN, until=frozenset({"slots"}))
    theirs = second.submit(slots, {"arrive": last})
    assert second.submit(theirs).name == "done"
    beaten = first.submit(mine)
    assert beaten.reply.status == 409
    assert beaten.name == "series"
    assert "The time of session 1 is no longer free" in beaten.text
    again = first.walk(first.get(f"{HOME}times"), WREN, until=frozenset({"done"}))
    assert again.name == "done"


def times_of(page: Page) -> dict[str, str]:
    """Return the times selected on the series page."""
    return {
        control.name: control.value
        for control in page.form.controls
        if control.name.startswith("session-") and control.checked
    }


def test_a_time_that_went_while_it_was_looked_at_is_shown_with_fresh_ones(site: Site) -> None:
    first, outcome = site.to("outcome")
    slots = first.walk(outcome, WREN, until=frozenset({"slots"}))
    second, outcome = site.to("outcome")
    booked = second.walk(outcome, WREN, until=frozenset({"done"}))
    assert booked.name == "done"
    page = first.submit(slots)
    assert page.reply.status == 409
    assert page.name == "slots"
    assert "no longer free" in page.text
    assert "Arrive" in page.text


def test_a_second_confirmation_leads_to_the_same_booking(site: Site) -> None:
    visitor, outcome = site.to("outcome")
    series = visitor.walk(outcome, WREN, until=frozenset({"series"}))
    done = visitor.submit(series)
    again = visitor.submit(series)
    assert again.name == "done"
    assert again.text == done.text


@pytest.mark.parametrize("page", ["manage", "save"])
def test_the_page_works_in_every_state(site: Site, page: str) -> None:
    for name, answers in [
        ("question", {}),
        ("check", {}),
        ("outcome", {}),
        ("outcome", {"pregnant": "yes"}),
        ("done", {}),
    ]:
        visitor, found = site.to("outcome" if name == "done" else name, answers)
        if name == "done":
            visitor.walk(found, WREN, until=frozenset({"done"}))
        assert visitor.get(HOME + page).reply.status == 200
