"""Feeds in the records: who finds which, what tells of a change, and what the patient's choices do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import icalendar
import pytest
import sqlalchemy as sa
from flask import Flask

from intake_plugin.calendars.cache import SHARED
from intake_plugin.errors import NotFound, OutOfTurn
from intake_plugin.journeys import booking, feeds, files
from intake_plugin.journeys.feeds import Choices
from intake_plugin.records import audit
from intake_plugin.records.base import Base
from intake_plugin.records.tables import AT_HOME, Appointment, AppointmentState, AuditEntry, Case, Feed
from intake_plugin.state import Staff
from intake_plugin.web.calendar_words import calendar_words
from tests.journeys.conftest import CLINIC, NOW, Desk

LINK = "https://clinic.example/book/manage"
SOON = NOW + dt.timedelta(hours=1)


def tag(desk: Desk, raw: str) -> str:
    found = feeds.find(desk.office, raw)
    assert found is not None
    return feeds.open_feed(desk.office, found, calendar_words(), name="x", link=LINK).etag


def read(desk: Desk, raw: str) -> bytes:
    found = feeds.find(desk.office, raw)
    assert found is not None
    return b"".join(
        feeds.open_feed(desk.office, found, calendar_words(), name="x", link=LINK).octets(nullcontext)
    )


def events(octets: bytes) -> dict[str, icalendar.Event]:
    calendar = icalendar.Calendar.from_ical(octets)
    assert isinstance(calendar, icalendar.Calendar)
    return {str(event["UID"]): event for event in calendar.events}


def local_time(moment: dt.date) -> dt.time:
    assert isinstance(moment, dt.datetime)
    return moment.astimezone(CLINIC.zone).time()


def sessions(desk: Desk, case: Case) -> list[Appointment]:
    return list(booking.appointments_of(desk.office, case))


def test_a_feed_is_only_for_a_booked_case(desk: Desk) -> None:
    with pytest.raises(OutOfTurn):
        feeds.make_patient_feed(desk.office, desk.signed())
    with pytest.raises(OutOfTurn):
        feeds.choose(desk.office, desk.signed(), Choices(care=True, details=True))
    assert desk.session.scalars(sa.select(Feed)).all() == []


def test_one_clinic_never_reads_another_ones_feed(make_desk: Callable[..., Desk], clinician: Staff) -> None:
    desk = make_desk()
    mine = feeds.make_patient_feed(desk.office, desk.booked())
    clinics = feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk")
    elsewhere = make_desk(clinic=replace(CLINIC, id="elsewhere"))
    assert [feeds.find(elsewhere.office, raw) for raw in (mine, clinics)] == [None, None]
    assert feeds.clinic_feeds(elsewhere.office) == []
    (kept,) = feeds.clinic_feeds(desk.office)
    with pytest.raises(NotFound):
        feeds.stop_clinic_feed(elsewhere.office, clinician, kept.hash)
    theirs = feeds.make_clinic_feed(elsewhere.office, clinician, locale="en", label="Desk")
    assert b"BEGIN:VEVENT" not in read(elsewhere, theirs)


def test_a_patients_feed_has_that_patients_sessions(desk: Desk) -> None:
    first, second = desk.booked(), desk.booked()
    raw = feeds.make_patient_feed(desk.office, first)
    assert events(read(desk, raw)).keys() == {each.id for each in sessions(desk, first)}
    assert not events(read(desk, raw)).keys() & {each.id for each in sessions(desk, second)}


def test_a_feed_of_a_resource_the_clinic_does_not_have_is_refused(desk: Desk, clinician: Staff) -> None:
    with pytest.raises(NotFound, match="nobody"):
        feeds.make_clinic_feed(desk.office, clinician, locale="en", label="x", resource_id="nobody")


def test_a_change_that_was_committed_late_is_told_all_the_same(desk: Desk, clinician: Staff) -> None:
    case = desk.booked()
    raws = (
        feeds.make_patient_feed(desk.office, case),
        feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk"),
    )
    early, late = sessions(desk, case)[:2]
    late.modified_at = SOON
    desk.session.commit()
    before = [tag(desk, raw) for raw in raws]
    early.sequence += 1
    early.modified_at = SOON - dt.timedelta(minutes=1)
    desk.session.commit()
    assert not set(before) & {tag(desk, raw) for raw in raws}


def test_a_treatment_taken_out_of_the_profile_leaves_the_bare_sessions_in_every_feed(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk()
    case = desk.booked()
    feeds.choose(desk.office, case, Choices(care=True, details=True))
    mine = feeds.make_patient_feed(desk.office, case)
    clinics = feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk")
    after = make_desk(clinic=replace(CLINIC, treatments={}))
    assert len(events(read(desk, mine))) > 4
    assert len(events(read(after, mine))) == 4
    assert len(events(read(after, clinics))) == 4


def test_a_clinics_calendar_names_products_in_the_language_of_its_words(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    treatment = CLINIC.treatments["microneedling"]
    words = treatment.protocol.words("en")
    named = {key: replace(product, name=f"Salbe {key}") for key, product in words.products.items()}
    texts = {"en": words, "de": replace(words, products=named)}
    both = replace(
        CLINIC,
        languages=("en", "de"),
        treatments={
            "microneedling": replace(treatment, protocol=replace(treatment.protocol, texts=texts)),
        },
    )
    desk = make_desk(clinic=both)
    desk.booked()
    tags = set()
    for locale, name in (("en", "LMX4 cream (lidocaine 4%)"), ("de", "Salbe LMX4")):
        raw = feeds.make_clinic_feed(desk.office, clinician, locale=locale, label="Desk")
        tags.add(tag(desk, raw))
        file = files.clinic_file(
            desk.office, clinician, calendar_words(), link=lambda it: f"{LINK}/{it}", locale=locale
        )
        for octets in (read(desk, raw), file):
            assert all(f": {name}\n" in str(each["DESCRIPTION"]) for each in events(octets).values())
    assert len(tags) == 2


def test_everything_done_with_a_feed_is_in_a_sound_chain(desk: Desk, clinician: Staff) -> None:
    case = desk.booked()
    feeds.make_patient_feed(desk.office, case)
    feeds.make_patient_feed(desk.office, case)
    feeds.choose(desk.office, case, Choices(care=True, details=False))
    feeds.stop_patient_feeds(desk.office, case)
    feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk")
    feeds.stop_clinic_feed(desk.office, clinician, feeds.clinic_feeds(desk.office)[0].hash)
    assert audit.verify(desk.session, CLINIC.id) == ()
    actions = list(desk.session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.seq)))
    assert actions[-7:] == [
        "feed made",
        "feed made",
        "calendar choices",
        "feed stopped",
        "feed stopped",
        "feed made",
        "feed stopped",
    ]


def test_choosing_the_same_again_changes_nothing(desk: Desk) -> None:
    case = desk.booked()
    feeds.choose(desk.office, case, Choices(care=False, details=False))
    assert {each.sequence for each in sessions(desk, case)} == {0}
    feeds.choose(desk.office, case, Choices(care=True, details=False))
    feeds.choose(desk.office, case, Choices(care=True, details=False))
    assert {each.sequence for each in sessions(desk, case)} == {1}
    assert feeds.calendar_of(desk.office, case).choices == Choices(care=True, details=False)


def test_choices_leave_what_is_over_or_cancelled_as_it_was(desk: Desk) -> None:
    case = desk.booked()
    first, second, *rest = sessions(desk, case)
    later = desk.at(second.end_at)
    feeds.choose(later.office, case, Choices(care=False, details=True))
    assert [each.sequence for each in (first, second)] == [0, 0]
    assert {each.sequence for each in rest} == {1}
    assert feeds.calendar_of(later.office, case).sessions == rest


def test_care_entries_keep_their_identity_when_a_session_moves(desk: Desk) -> None:
    case = desk.booked()
    feeds.choose(desk.office, case, Choices(care=True, details=False))

    def care() -> dict[str, dt.date]:
        octets = files.session_file(desk.office, case, 2, calendar_words(), link=LINK)
        return {uid: event.start for uid, event in events(octets).items() if "RELATED-TO" in event}

    before = care()
    assert len(before) > 5
    moved = sessions(desk, case)[1]
    week = dt.timedelta(weeks=1)
    moved.arrive_at, moved.treatment_at, moved.end_at = (
        each + week for each in (moved.arrive_at, moved.treatment_at, moved.end_at)
    )
    moved.local_start = (dt.datetime.fromisoformat(moved.local_start) + week).isoformat()
    desk.session.commit()
    after = care()
    assert after.keys() == before.keys()
    assert all(after[uid] > before[uid] for uid in before)


def test_a_new_address_reaches_calendars_that_look_at_the_sequence_only(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = make_desk()
    case = desk.booked()
    raws = [
        feeds.make_patient_feed(desk.office, case),
        feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk"),
    ]
    first, second, *rest = sessions(desk, case)
    second.state, second.sequence = AppointmentState.CANCELLED, 1
    desk.session.commit()
    moved = replace(CLINIC, contact=replace(CLINIC.contact, address="9 Quay Street"))
    after = make_desk(clinic=moved, now=first.end_at)
    before = {raw: events(read(desk, raw)) for raw in raws}
    tags = [tag(after, raw) for raw in raws]
    assert feeds.renew(after.office) == 2
    assert not set(tags) & {tag(after, raw) for raw in raws}
    for raw in raws:
        found = events(read(after, raw))
        for each in (first, second, *rest):
            old, new = (int(str(one[each.id]["SEQUENCE"])) for one in (before[raw], found))
            assert new == old + (each in rest)
            assert found[each.id]["LOCATION"] == "9 Quay Street"
        for each in rest:
            assert (
                found[each.id].last_modified
                == found[each.id].stamp
                == after.office.now.replace(microsecond=0)
            )
    assert audit.verify(desk.session, CLINIC.id) == ()
    elsewhere = make_desk(clinic=replace(moved, id="elsewhere"))
    assert feeds.renew(elsewhere.office) == 0


def test_one_entry_stands_for_all_care_that_begins_together(desk: Desk) -> None:
    case = desk.booked()
    feeds.choose(desk.office, case, Choices(care=True, details=False))
    octets = files.session_file(desk.office, case, 1, calendar_words(), link=LINK)
    session = sessions(desk, case)[0]
    starts = [event.start for uid, event in events(octets).items() if uid != session.id]
    assert len(set(starts)) == len(starts)
    (after,) = [
        each for uid, each in events(octets).items() if uid != session.id and each.start == session.end_at
    ]
    assert str(after["DESCRIPTION"]).count("\n") >= 3
    days = [each for each in starts if local_time(each) == CLINIC.calendar.care_at]
    assert days


def test_cream_that_the_clinic_takes_over_leaves_a_cancelled_entry(desk: Desk) -> None:
    case = desk.booked()
    first = sessions(desk, case)[0]
    first.cream_where = AT_HOME
    first.cream_on_at = first.arrive_at - dt.timedelta(minutes=10)
    desk.session.commit()
    raw = feeds.make_patient_feed(desk.office, case)
    at_home = events(read(desk, raw))
    (entry,) = at_home.keys() - {each.id for each in sessions(desk, case)}
    assert str(at_home[entry]["STATUS"]) == "CONFIRMED"

    first.cream_where = "clinic"
    first.cream_on_at = first.arrive_at + dt.timedelta(minutes=30)
    first.sequence += 1
    first.modified_at = SOON
    desk.session.commit()
    assert first.numbing_entry
    for octets in (read(desk, raw), files.series_file(desk.office, case, calendar_words(), link=LINK)):
        found = events(octets)
        assert (str(found[entry]["STATUS"]), str(found[entry]["SUMMARY"]), found[entry].subcomponents) == (
            "CANCELLED",
            "Cancelled: Prepare for your appointment",
            [],
        )
        assert int(str(found[entry]["SEQUENCE"])) == 1
        assert "Your appointment stands." in str(found[entry]["DESCRIPTION"])
        assert str(found[first.id]["STATUS"]) == "CONFIRMED"


def test_what_was_cancelled_leaves_files_and_feeds_together(desk: Desk, clinician: Staff) -> None:
    case = desk.booked()
    raw = feeds.make_patient_feed(desk.office, case)
    last = sessions(desk, case)[-1]
    for each in sessions(desk, case):
        each.state, each.sequence, each.modified_at = AppointmentState.CANCELLED, 1, SOON
    desk.session.commit()
    keep = CLINIC.calendar.keep_cancelled
    shown, gone = desk.at(last.end_at + keep - dt.timedelta(seconds=1)), desk.at(last.end_at + keep)

    def record(reference: str) -> str:
        return f"{LINK}/{reference}"

    for octets in (
        read(shown, raw),
        files.series_file(shown.office, case, calendar_words(), link=LINK),
        files.clinic_file(shown.office, clinician, calendar_words(), link=record, locale="en"),
    ):
        assert last.id in events(octets)
    assert b"BEGIN:VEVENT" not in read(gone, raw)
    with pytest.raises(NotFound, match="cancelled"):
        files.series_file(gone.office, case, calendar_words(), link=LINK)
    with pytest.raises(NotFound, match="no appointments"):
        files.clinic_file(gone.office, clinician, calendar_words(), link=record, locale="en")


def test_cream_that_was_always_the_clinics_leaves_nothing(desk: Desk) -> None:
    octets = files.series_file(desk.office, desk.booked(), calendar_words(), link=LINK)
    assert len(events(octets)) == 4


def test_a_reader_who_hangs_up_leaves_no_connection_behind(app: Flask, desk: Desk, clinician: Staff) -> None:
    desk.booked()
    raw = feeds.make_clinic_feed(desk.office, clinician, locale="en", label="Desk")
    found = feeds.find(desk.office, raw)
    assert found is not None
    opened = feeds.open_feed(desk.office, found, calendar_words(), name="x", link=LINK)
    desk.session.close()
    engine = desk.session.get_bind()
    assert isinstance(engine, sa.Engine)
    pool = engine.pool
    assert isinstance(pool, sa.QueuePool)
    SHARED.clear()
    pieces = opened.octets(app.app_context)
    for _ in range(2):
        assert next(pieces)
        assert pool.checkedout() == 0
    del pieces
    assert pool.checkedout() == 0


def test_a_patients_feed_is_found_by_indexes_and_a_clinics_by_one_that_covers_it() -> None:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    values = {"clinic": CLINIC.id, "hash": "x", "since": NOW.isoformat()}
    plans = {}
    with engine.connect() as connection:
        for mark, statement in feeds.FINDING.items():
            query = statement.compile(engine)
            given = tuple(values[name] for name in query.positiontup or ())
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", given).all()
            plans[mark] = [row[-1] for row in rows]
    engine.dispose()
    searched = {
        mark: {step.partition(" (")[0] for step in plan if " intake_" in step} for mark, plan in plans.items()
    }
    assert not [step for steps in searched.values() for step in steps if "SCAN" in step]
    assert "SEARCH intake_appointment USING INDEX ix_intake_appointment_case" in searched["p"]
    for mark in "cr":
        assert "SEARCH intake_appointment USING COVERING INDEX ix_intake_appointment_feed" in searched[mark]
