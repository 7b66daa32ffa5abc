"""Busy times from outside: read, kept, never offered; on every kind of database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from intake_plugin import fetching
from intake_plugin.errors import Busy, TimeTaken
from intake_plugin.fetching import Fetched
from intake_plugin.journeys import booking, busy, changing, files
from intake_plugin.journeys.office import SYSTEM, Office
from intake_plugin.journeys.why import why_not_offered
from intake_plugin.records.base import Base
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import (
    LONGEST_BUSY,
    Appointment,
    BusyReading,
    BusyTime,
    Case,
    Claim,
    Occupancy,
)
from intake_plugin.settings import BusySource
from intake_plugin.state import Staff
from intake_plugin.testing import clinic, keys
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.why_words import reason_words
from tests.fetching.conftest import Server, answer
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk, proposed

LONDON = ZoneInfo("Europe/London")
HOUR = dt.timedelta(hours=1)
Span = tuple[dt.datetime, dt.datetime]


def source(address: object, resource: str = "nurse", **more: Any) -> BusySource:
    entry = {"resource": resource, "source": str(address), "stale_after": "PT6H", "stale": "block"}
    return clinic(busy=[entry | {"private_addresses": True} | more]).busy[0]


def knowing(desk: Desk, *sources: BusySource) -> Desk:
    """Return the desk with calendars in its clinic's profile."""
    return Desk(replace(desk.office, clinic=replace(desk.office.clinic, busy=sources)))


def text(*spans: Span, uid: str = "entry") -> str:
    events = (
        f"BEGIN:VEVENT\r\nUID:{uid}-{index}\r\nDTSTAMP:20260101T000000Z\r\n"
        f"DTSTART:{start:%Y%m%dT%H%M%SZ}\r\nDTEND:{end:%Y%m%dT%H%M%SZ}\r\nEND:VEVENT\r\n"
        for index, (start, end) in enumerate(spans)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{''.join(events)}END:VCALENDAR\r\n"


def at(day: int, hour: float, length: float = 1) -> Span:
    start = dt.datetime(2026, 3, day, tzinfo=dt.UTC) + hour * HOUR
    return start, start + length * HOUR


def stored(desk: Desk) -> list[Span]:
    desk.session.rollback()
    rows = desk.session.execute(sa.select(BusyTime.start_at, BusyTime.end_at).order_by(BusyTime.start_at))
    return [(start, end) for start, end in rows]


def row(desk: Desk) -> BusyReading:
    desk.session.rollback()
    return desk.session.scalars(sa.select(BusyReading).execution_options(populate_existing=True)).one()


def free_days(desk: Desk, case: Case) -> set[dt.date]:
    """Return the dates of the first fortnight that have any time."""
    weeks = [booking.times(desk.office, case, first=NOW.date() + dt.timedelta(days=days)) for days in (0, 7)]
    return {slot.date for week in weeks for slot in week.slots}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nurse.ics"
    path.write_text(text(at(5, 10)))
    return path


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(talk: Any) -> Server:
        servers.append(Server(talk))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@contextmanager
def counting(desk: Desk) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        statements.append(statement)

    engine = desk.session.get_bind(Case).engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_a_reading_replaces_what_was_stored_and_a_second_one_changes_nothing(desk: Desk, file: Path) -> None:
    own = source(file)
    desk = knowing(desk, own)
    assert busy.refresh(desk.office, own) == busy.Reading(source=own, result="read", times=1)
    assert stored(desk) == [at(5, 10)]
    assert busy.refresh(desk.office, own).result == "unchanged"
    file.write_text(text(at(6, 9), at(6, 9.5), at(9, 12)))
    assert busy.refresh(desk.office, own).times == 2
    assert stored(desk) == [at(6, 9, 1.5), at(9, 12)]
    assert busy.refresh(desk.office, own, afresh=True).result == "read"
    assert stored(desk) == [at(6, 9, 1.5), at(9, 12)]
    file.write_text(text())
    assert busy.refresh(desk.office, own).times == 0
    assert stored(desk) == []


def test_a_long_absence_is_stored_in_pieces_and_blocks_all_of_its_days(desk: Desk, file: Path) -> None:
    case = desk.signed()
    file.write_text(text(at(3, 12, 24 * 8.25)))
    own = source(file)
    desk = knowing(desk, own)
    assert busy.refresh(desk.office, own).times == 9
    pieces = stored(desk)
    assert all(end - start <= LONGEST_BUSY for start, end in pieces)
    assert [end for _, end in pieces[:-1]] == [start for start, _ in pieces[1:]]
    free = free_days(desk, case)
    assert not [date for date in free if dt.date(2026, 3, 3) < date < dt.date(2026, 3, 12)]
    assert dt.date(2026, 3, 12) in free
    for day in range(4, 12):
        week = booking.times(desk.office, case, first=dt.date(2026, 3, day))
        assert all(slot.date >= dt.date(2026, 3, 12) for slot in week.slots)


spans = st.lists(
    st.tuples(st.integers(0, 30 * 24 * 12), st.integers(1, 40 * 12)).map(
        lambda it: (NOW + it[0] * HOUR / 12, NOW + (it[0] + it[1]) * HOUR / 12)
    ),
    max_size=12,
)


@given(nurse=spans, room=spans)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_no_time_is_offered_while_its_resource_is_busy_elsewhere(
    make_desk: Callable[..., Desk], tmp_path: Path, nurse: list[Span], room: list[Span]
) -> None:
    desk = make_desk()
    case = desk.signed()
    everything = booking.times(desk.office, case, first=dt.date(2026, 3, 10)).slots
    known = []
    for resource, taken in (("nurse", nurse), ("room", room)):
        path = tmp_path / f"{resource}.ics"
        path.write_text(text(*taken))
        known.append(source(path, resource))
    desk = knowing(desk, *known)
    for each in known:
        busy.refresh(desk.office, each, afresh=True)
    taken_from = {"nurse": nurse, "room": room}
    free = {
        slot.arrive
        for slot in everything
        if all(
            claim.end <= start or end <= claim.start
            for claim in slot.claims
            for start, end in taken_from[claim.resource_id]
        )
    }
    offered = booking.times(desk.office, case, first=dt.date(2026, 3, 10)).slots
    assert {slot.arrive for slot in offered} == free


def test_the_whole_series_keeps_clear_and_is_not_booked_over_an_entry_that_came_meanwhile(
    desk: Desk, file: Path
) -> None:
    own = source(file)
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    case, chosen = desk.planned()
    second = chosen[2]
    file.write_text(text((second - HOUR, second + 3 * HOUR)))
    busy.refresh(desk.office, own)
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, chosen)
    booked = sa.select(sa.func.count()).select_from(Claim).where(Claim.appointment_id.is_not(None))
    assert desk.session.scalar(booked) == 0
    plan = booking.proposal(desk.office, case)
    assert [each.proposal.ordinal for each in plan.sessions if each.problem == "taken"] == [2]
    other = plan.sessions[1].proposal.alternatives[0].arrive
    booking.change(desk.office, case, chosen | {2: other})
    booking.confirm(desk.office, case, proposed(desk.office, case))
    assert busy.overlaps(desk.office) == ()


def test_a_calendar_that_was_never_read_is_stale(desk: Desk, file: Path) -> None:
    case = desk.signed()
    assert free_days(desk, case)
    assert not free_days(knowing(desk, source(file)), case)
    assert free_days(knowing(desk, source(file, stale="warn")), case)
    (fresh,) = busy.freshness(knowing(desk, source(file)).office)
    assert (fresh.stale, fresh.blocks, fresh.read_at) == (True, True, None)
    (fresh,) = busy.freshness(knowing(desk, source(file, stale="warn")).office)
    assert (fresh.stale, fresh.blocks) == (True, False)


def test_a_calendar_grows_stale_and_then_the_clinics_policy_decides(desk: Desk, file: Path) -> None:
    case, own = desk.signed(), source(file)
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    in_time, late = NOW + 6 * HOUR, NOW + 6 * HOUR + dt.timedelta(seconds=1)
    assert free_days(desk.at(in_time), case)
    assert not free_days(desk.at(late), case)
    assert [each.stale for each in busy.freshness(desk.at(late).office)] == [True]
    warned = knowing(desk, replace(own, stale="warn")).at(late)
    thursday = dt.date(2026, 3, 5)
    assert thursday in free_days(warned, case)
    times = booking.times(warned.office, case, first=thursday).slots
    start, end = at(5, 10)
    nurses = [claim for slot in times for claim in slot.claims if claim.resource_id == "nurse"]
    assert all(claim.end <= start or end <= claim.start for claim in nurses)


def test_nothing_is_offered_beyond_what_was_read(desk: Desk, file: Path) -> None:
    case, own = desk.signed(), source(file, ahead="P1M")
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    assert row(desk).read_until == dt.datetime(2026, 4, 30, 23, tzinfo=dt.UTC)
    week = booking.times(desk.office, case, first=dt.date(2026, 4, 28))
    assert {slot.date for slot in week.slots} == {dt.date(2026, 4, day) for day in (28, 29, 30)}
    warned = knowing(desk, replace(own, stale="warn"))
    week = booking.times(warned.office, case, first=dt.date(2026, 4, 28))
    assert max(slot.date for slot in week.slots) > dt.date(2026, 4, 30)


def test_what_has_not_changed_is_unfolded_again_when_the_time_comes_nearer(desk: Desk, file: Path) -> None:
    own = source(file, ahead="P1M")
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    until = row(desk).read_until
    for days, result in ((10, "unchanged"), (29, "unchanged"), (31, "read"), (32, "unchanged")):
        later = desk.at(NOW + dt.timedelta(days=days))
        assert busy.refresh(later.office, own).result == result
    assert until is not None
    assert row(desk).read_until == until + dt.timedelta(days=31)


def test_another_address_or_zone_makes_what_was_read_count_no_more(
    desk: Desk, file: Path, tmp_path: Path
) -> None:
    case, own = desk.signed(), source(file)
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    (tmp_path / "other.ics").write_text(text(at(9, 9)))
    other = replace(own, source=str(tmp_path / "other.ics"))
    moved = knowing(desk, other)
    assert [each.stale for each in busy.freshness(moved.office)] == [True]
    assert not free_days(moved, case)
    elsewhere = Desk(replace(desk.office, clinic=replace(desk.office.clinic, zone=ZoneInfo("Asia/Tokyo"))))
    assert [each.stale for each in busy.freshness(elsewhere.office)] == [True]
    assert busy.refresh(moved.office, other).result == "read"
    assert stored(desk) == [at(9, 9)]
    assert free_days(moved, case)


@pytest.mark.parametrize("broken", [b"", b"<html>", text(at(6, 9))[:-20].encode(), None])
def test_a_refused_reading_leaves_everything_as_it_was(desk: Desk, file: Path, broken: bytes | None) -> None:
    own = source(file)
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    before = row(desk).read_at
    file.unlink() if broken is None else file.write_bytes(broken)
    later = desk.at(NOW + HOUR)
    reading = busy.refresh(later.office, own)
    assert reading.result == "refused"
    assert reading.problems
    assert stored(desk) == [at(5, 10)]
    now = row(desk)
    assert (now.read_at, now.attempted_at, now.lease) == (before, NOW + HOUR, None)
    assert now.error == "\n".join(map(str, reading.problems))
    file.write_text(text(at(6, 9)))
    assert busy.refresh(later.office, own).result == "read"
    assert row(desk).error == ""


def test_an_unchanged_answer_of_a_server_is_enough_to_stay_fresh(
    desk: Desk, serve: Callable[..., Server]
) -> None:
    body = text(at(5, 10)).encode()

    def talk(line: Any, request: bytes) -> None:
        known = b'If-None-Match: "v1"' in request
        reply = answer(b"", "304 Not Modified") if known else answer(body, "200 OK", 'ETag: "v1"')
        reply(line, request)

    server = serve(talk)
    own = source(server.url())
    desk = knowing(desk, own)
    assert busy.refresh(desk.office, own).result == "read"
    assert busy.refresh(desk.at(NOW + HOUR).office, own).result == "unchanged"
    assert row(desk).read_at == NOW + HOUR
    assert busy.refresh(desk.office, own, afresh=True).result == "read"
    assert [b"If-None-Match" in request for request in server.requests] == [False, True, False]
    liar = source(serve(answer(b"", "304 Not Modified")).url())
    assert busy.refresh(knowing(desk, liar).office, liar).result == "refused"


def test_our_own_sessions_in_a_subscribed_calendar_take_no_time(
    desk: Desk, file: Path, clinician: Staff
) -> None:
    desk.booked()
    octets = files.clinic_file(
        desk.office, clinician, calendar_words(), link=lambda it: f"https://x/{it}", locale="en"
    )
    others = text(at(5, 10)).removeprefix("BEGIN:VCALENDAR\r\n")
    file.write_bytes(octets.replace(b"END:VCALENDAR\r\n", b"") + others.encode())
    own = source(file)
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    assert stored(desk) == [at(5, 10)]


def test_what_no_database_takes_is_refused_or_left_out_and_told(
    desk: Desk, file: Path, serve: Callable[..., Server]
) -> None:
    odd = "UID:a\0b\x1b[31m" + "x" * 100_000
    file.write_text(text(at(5, 10)).replace("UID:entry-0", odd).replace("DTEND", "DTSTART"))
    own = source(file)
    desk = knowing(desk, own)
    reading = busy.refresh(desk.office, own)
    assert reading.result == "refused"
    assert "It has DTSTART more than once" in row(desk).error
    assert len(row(desk).error) < 1000
    server = serve(answer(text(at(5, 10)).encode(), "200 OK", 'ETag: "a\0b"', "Last-Modified: \0"))
    own = source(server.url())
    desk = knowing(desk, own)
    assert busy.refresh(desk.office, own).result == "read"
    assert (row(desk).etag, row(desk).last_modified) == (None, None)


def test_a_booked_session_under_a_foreign_entry_is_shown_to_the_staff(desk: Desk, file: Path) -> None:
    case = desk.booked()
    first = desk.session.scalars(sa.select(Appointment).where(Appointment.ordinal == 1)).one()
    file.write_text(text((first.treatment_at, first.treatment_at + 30 * HOUR)))
    own = source(file)
    desk = knowing(desk, own)
    assert busy.overlaps(desk.office) == ()
    busy.refresh(desk.office, own)
    assert busy.overlaps(desk.office) == (
        busy.Overlap(reference=case.reference, resource_id="nurse", arrive_at=first.arrive_at),
    )
    room = knowing(desk, replace(own, resource="room"))
    assert [each.resource_id for each in busy.overlaps(room.office)] == ["room"]
    assert busy.overlaps(desk.at(NOW + dt.timedelta(days=300)).office) == ()


def test_every_overlap_is_found_and_nothing_beside_it(desk: Desk, file: Path) -> None:
    case = desk.booked()
    taken = sa.select(Occupancy.start_at, Occupancy.end_at).where(Occupancy.resource_id == "nurse")
    start, end = desk.session.execute(taken.order_by(Occupancy.start_at)).all()[0]
    minute, own = HOUR / 60, source(file)
    desk = knowing(desk, own)
    for spans, met in (
        ([(start - HOUR, start)], 0),
        ([(end, end + HOUR)], 0),
        ([(start - HOUR, start), (end, end + HOUR)], 0),
        ([(start - HOUR, start + minute)], 1),
        ([(end - minute, end + HOUR)], 1),
        ([(start - 30 * HOUR, end + 30 * HOUR)], 1),
        ([(start - HOUR, start + minute), (end, end + HOUR)], 1),
        ([(start - 9 * HOUR, start - 8 * HOUR), (start + minute, start + 2 * minute)], 1),
        ([(start + minute, start + 2 * minute), (end - 2 * minute, end - minute)], 1),
    ):
        file.write_text(text(*spans))
        busy.refresh(desk.office, own)
        found = [each.arrive_at for each in busy.overlaps(desk.office)]
        assert len(found) == met, spans
        assert set(found) <= {booking.appointments_of(desk.office, case)[0].arrive_at}


def test_overlaps_look_into_a_primary_key_and_compare_no_two_lists(tmp_path: Path) -> None:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        office = Office(
            clinic=CLINIC, session=session, settings=SETTINGS, keyring=KeyRing.parse(keys()), now=NOW
        )
        desk = knowing(Desk(office), source(tmp_path / "nurse.ics"))
        with counting(desk) as statements:
            busy.overlaps(desk.office)
        (statement,) = statements
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement}", (CLINIC.id,) * statement.count("?")
        )
        (step,) = (row[-1] for row in plan if "intake_busy" in row[-1])
    engine.dispose()
    assert step.startswith("SEARCH intake_busy USING INDEX")
    assert step.endswith("(clinic_id=? AND source_id=? AND start_at<?)")


def test_several_calendars_of_one_resource_count_together_and_a_removed_one_is_forgotten(
    desk: Desk, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "home.ics").write_text(text(at(9, 9, 8)))
    (tmp_path / "away.ics").write_text(text(at(10, 9, 8)))
    home, away = source(tmp_path / "home.ics", id="home"), source(tmp_path / "away.ics", id="away")
    case, both = desk.signed(), knowing(desk, home, away)
    busy.refresh(both.office, home)
    assert not free_days(both, case)
    busy.refresh(both.office, away)
    assert free_days(both, case).isdisjoint({dt.date(2026, 3, 9), dt.date(2026, 3, 10)})
    one = knowing(desk, home)
    assert dt.date(2026, 3, 10) in free_days(one, case)
    assert busy.forget_removed(one.office) == 1
    assert busy.forget_removed(one.office) == 0
    assert stored(desk) == [at(9, 9, 8)]
    assert busy.forget_removed(desk.office) == 1
    assert stored(desk) == []


def test_another_clinics_calendars_are_not_ours(desk: Desk, file: Path) -> None:
    own = source(file)
    busy.refresh(knowing(desk, own).office, own)
    south = Desk(replace(desk.office, clinic=replace(CLINIC, id="south", busy=(own,))))
    assert [each.stale for each in busy.freshness(south.office)] == [True]
    assert busy.forget_removed(Desk(replace(south.office, clinic=replace(CLINIC, id="south"))).office) == 0
    assert stored(desk) == [at(5, 10)]


def test_one_query_more_and_none_without_such_calendars(desk: Desk, file: Path) -> None:
    case, own = desk.signed(), source(file)
    with counting(desk) as without:
        booking.times(desk.office, case, first=dt.date(2026, 3, 10))
    assert not any("intake_busy" in statement for statement in without)
    desk = knowing(desk, own, source(file, "room"))
    busy.refresh(desk.office, own)
    desk.session.refresh(case)
    with counting(desk) as having:
        booking.times(desk.office, case, first=dt.date(2026, 3, 10))
    assert len([statement for statement in having if "intake_busy" in statement]) == 1


def test_many_hosts_at_once_leave_one_whole_reading(make_desk: Callable[..., Desk], tmp_path: Path) -> None:
    spans = [at(3 + day, hour) for day in range(20) for hour in (8, 10, 12)]
    path = tmp_path / "nurse.ics"
    path.write_text(text(*spans))
    own, barrier = source(path), Barrier(6)
    desks = [knowing(make_desk(), own) for _ in range(6)]

    def run(desk: Desk) -> list[str]:
        results: list[str] = []
        barrier.wait()
        for _ in range(3):
            try:
                results.append(busy.refresh(desk.office, own, afresh=True).result)
            except Busy:
                results.append("busy")
        return results

    with ThreadPoolExecutor(6) as pool:
        results: Sequence[str] = [result for each in pool.map(run, desks) for result in each]
    assert "read" in results
    assert set(results) <= {"read", "elsewhere", "busy"}
    assert stored(desks[0]) == spans
    assert row(desks[0]).lease is None


def test_a_reading_that_was_overtaken_changes_nothing(
    make_desk: Callable[..., Desk], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = source(file)
    slow, quick = knowing(make_desk(), own), knowing(make_desk(now=NOW + HOUR), own)
    really = fetching.fetch

    def dawdle(*arguments: Any, **more: Any) -> Fetched:
        monkeypatch.setattr(fetching, "fetch", really)
        fetched = really(*arguments, **more)
        file.write_text(text(at(9, 9)))
        assert busy.refresh(quick.office, own).result == "read"
        return fetched

    monkeypatch.setattr(fetching, "fetch", dawdle)
    assert busy.refresh(slow.office, own).result == "elsewhere"
    assert stored(slow) == [at(9, 9)]
    assert row(slow).read_at == NOW + HOUR


def test_while_one_host_reads_another_leaves_it_alone(
    make_desk: Callable[..., Desk], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = source(file)
    one, other = knowing(make_desk(), own), knowing(make_desk(), own)
    really = fetching.fetch

    def meanwhile(*arguments: Any, **more: Any) -> Fetched:
        monkeypatch.setattr(fetching, "fetch", really)
        assert busy.refresh(other.office, own).result == "elsewhere"
        return really(*arguments, **more)

    monkeypatch.setattr(fetching, "fetch", meanwhile)
    assert busy.refresh(one.office, own).result == "read"
    assert busy.refresh(other.office, own).result == "unchanged"


def test_the_desk_is_told_which_calendar_takes_a_time(desk: Desk, file: Path) -> None:
    own = source(file)
    desk = knowing(desk, own)

    def reasons(hour: int) -> list[str]:
        local = dt.datetime.combine(dt.date(2026, 3, 5), dt.time(hour))
        answer = why_not_offered(desk.office, local, actor=SYSTEM, resource_id="nurse")
        return [reason_words(desk.office.clinic, answer, reason) for reason in answer.reasons]

    (stale,) = reasons(10)
    assert stale.startswith("Nobody knows when Nurse is free: what was read of the calendar at nurse.ics is")
    busy.refresh(desk.office, own)
    (taken,) = reasons(10)
    assert taken.startswith("Nurse is busy Thursday 5 March 2026 at 10:00 to Thursday 5 March 2026 at 11:00 ")
    assert taken.endswith(" in the calendar at nurse.ics.")
    assert reasons(12) == []


def test_a_move_is_not_offered_over_a_foreign_entry_and_staff_see_it_before_they_overlap(
    desk: Desk, file: Path, clinician: Staff
) -> None:
    case = desk.booked()
    session = desk.session.scalars(sa.select(Appointment).where(Appointment.ordinal == 4)).one()
    later = session.arrive_at + dt.timedelta(days=1)
    own = source(file)
    file.write_text(text((later, later + 3 * HOUR)))
    desk = knowing(desk, own)
    busy.refresh(desk.office, own)
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 4, {4: later})
    plan = changing.plan_move(desk.office, case, 4, {4: later}, staff=clinician, overlap=True)
    assert [(each.resource_id, each.place, each.start) for each in plan.met] == [
        ("nurse", "nurse.ics", later)
    ]
