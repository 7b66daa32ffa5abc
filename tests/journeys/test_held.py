"""Confirming what is held: those seats where they still do, else what is free beside them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from intake_plugin.clinical import screening as screens
from intake_plugin.errors import OutOfTurn, Stale, TimeTaken
from intake_plugin.journeys import blocking, booking, changing, consent, holding
from intake_plugin.journeys.intake import submitted_of
from intake_plugin.journeys.times import held_of, session_of
from intake_plugin.records.base import Base
from intake_plugin.records.tables import TICK, Appointment, Case, CaseState, Claim, Occupancy, Series
from intake_plugin.scheduling.clocks import SECOND
from intake_plugin.scheduling.slots import Slot
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY, Staff, State
from intake_plugin.testing import approve, clinic
from tests.journeys.conftest import CLINIC, NOW, SETTINGS, Desk, proposed
from tests.journeys.test_holding import TWO
from tests.journeys.test_queries import counting
from tests.journeys.test_rivals import lost_to_a_rival
from tests.journeys.test_safety import rule_ids

HOLD = CLINIC.booking.hold
MINUTE = dt.timedelta(minutes=1)
ROOMS = approve(
    clinic(
        resources=[
            {"id": "nurse", "kind": "practitioner", "name": "Nurse"},
            {"id": "room-1", "kind": "room", "name": "Room 1"},
            {"id": "room-2", "kind": "room", "name": "Room 2"},
        ]
    )
)


def practitioners(desk: Desk, case: Case) -> set[str | None]:
    return {each.practitioner_id for each in booking.appointments_of(desk.office, case)}


def test_what_is_held_is_booked_although_who_was_asked_for_is_free_again(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    late, case, chosen, other, rivals = lost_to_a_rival(make_desk)
    booking.change(late.office, case, chosen)
    for each in booking.appointments_of(other.office, rivals):
        changing.cancel(other.office, rivals, each.ordinal, staff=clinician)
    late.session.rollback()
    booking.confirm(late.office, case, chosen)
    assert practitioners(late, case) == {"ben"}


def test_where_a_held_seat_is_lost_another_that_is_free_is_booked(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=ROOMS)
    case, chosen = desk.planned()
    lost = desk.session.scalars(sa.select(Occupancy).where(Occupancy.resource_id.like("room-%"))).first()
    assert lost is not None
    room, starts = lost.resource_id, lost.start_at
    # As whoever put time right by hand would leave it: somebody else's, and no longer held.
    for table in (Claim, Occupancy):
        whose = sa.update(table).where(table.resource_id == room, table.hold_id == case.id)
        desk.session.execute(whose.values(hold_id=None, expires_at=None, appointment_id="another"))
    desk.session.commit()
    series = booking.confirm(desk.office, case, chosen)
    rooms = {each.ordinal: each.room_id for each in booking.appointments_of(desk.office, case)}
    assert len(rooms) == len(chosen)
    assert rooms[1] != room
    others = desk.session.scalars(sa.select(Occupancy).where(Occupancy.appointment_id == "another")).all()
    assert starts in {each.start_at for each in others}
    assert series.case_id == case.id


def test_a_block_put_on_a_held_time_stops_its_booking(desk: Desk, clinician: Staff) -> None:
    case, chosen = desk.planned()
    within = chosen[2] + session_of(desk.office, case).span.arrive
    blocking.block(desk.office, clinician, "room", within, within + MINUTE, "Paint")
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, chosen)
    assert case.state == CaseState.BOOKING
    assert not desk.session.scalars(sa.select(Series)).all()


def test_what_was_put_over_a_held_time_by_hand_stops_its_booking(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk, staff = make_desk(), make_desk()
    over = staff.booked()
    case, chosen = desk.planned(8)
    changing.move(staff.office, over, 1, {1: chosen[1]}, staff=clinician, reason="urgent")
    desk.session.rollback()
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, case, chosen)


def lanes(count: int) -> Clinic:
    resources = [
        {"id": kind, "kind": kind, "name": kind, "lanes": count} for kind in ("practitioner", "room")
    ]
    return approve(clinic(resources=resources))


def test_a_lane_that_the_clinic_gave_up_meanwhile_takes_the_held_time(make_desk: Callable[..., Desk]) -> None:
    desk, other = make_desk(clinic=lanes(2)), make_desk(clinic=lanes(2))
    case, chosen = desk.planned()
    rival = other.signed()
    booking.choose_first(other.office, rival, chosen[1])
    booking.confirm(other.office, rival, proposed(other.office, rival))
    desk.session.rollback()
    fewer = make_desk(clinic=lanes(1), session=desk.session)
    with pytest.raises(TimeTaken):
        booking.confirm(fewer.office, case, chosen)


def test_a_buffer_that_grew_meanwhile_takes_another_room(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=ROOMS)
    case, chosen = desk.planned()
    held = desk.session.scalars(
        sa.select(Occupancy).where(Occupancy.resource_id.like("room-%")).order_by(Occupancy.start_at)
    ).first()
    assert held is not None
    room, ends = held.resource_id, held.end_at
    following = Occupancy(
        clinic_id=CLINIC.id,
        resource_id=room,
        lane=0,
        start_at=ends,
        end_at=ends + HOLD,
        appointment_id="another",
    )
    desk.session.add(following)
    desk.session.commit()
    longer = tuple(
        replace(each, after=5 * MINUTE) if each.kind == "room" else each for each in ROOMS.resources
    )
    grown = make_desk(clinic=replace(ROOMS, resources=longer), session=desk.session)
    booking.confirm(grown.office, case, chosen)
    rooms = {each.ordinal: each.room_id for each in booking.appointments_of(grown.office, case)}
    assert rooms[1] != room
    assert room in rooms.values()


def test_confirming_a_held_series_reads_its_visits_once_and_no_signature(app: Flask, desk: Desk) -> None:
    case, chosen = desk.planned()
    with counting(app) as statements:
        booking.confirm(desk.office, case, chosen)
    reads = [each for each in statements if each.startswith("SELECT")]
    assert not [each for each in reads if "intake_signature" in each]
    assert [each.count("end_at >") for each in reads if "FROM intake_occupancy" in each] == [len(chosen) + 1]


def test_around_a_held_visit_all_that_takes_a_resource_whole_is_read(make_desk: Callable[..., Desk]) -> None:
    """What ends as the visit's buffer begins, or begins as it ends, is no part of it; a second more is."""
    desk = make_desk(clinic=ROOMS)
    case = desk.signed()
    span = session_of(desk.office, case).span
    arrive = NOW + dt.timedelta(days=10)
    begins = arrive + span.arrive - max(span.arrive, span.room) - TICK
    ends = arrive + span.arrive + span.treatment + span.after + TICK
    around = {
        "far before": (begins - HOLD, begins),
        "before": (begins - HOLD, begins + SECOND),
        "after": (ends - SECOND, ends + HOLD),
        "far after": (ends, ends + HOLD),
        "over": (begins - HOLD, ends + HOLD),
    }
    rows = [
        {
            "clinic_id": CLINIC.id,
            "resource_id": name,
            "lane": 1,
            "start_at": start,
            "end_at": end,
            "appointment_id": name,
        }
        for name, (start, end) in around.items()
    ]
    desk.session.execute(sa.insert(Base.metadata.tables[Occupancy.__tablename__]), rows)
    desk.session.commit()
    taken = held_of(desk.office, case, span, [arrive])
    assert set(taken.busy) == {"before", "after", "over"}


def test_a_case_sees_nothing_as_free_but_what_it_holds(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(clinic=ROOMS)
    case, chosen = desk.planned()
    taken = held_of(desk.office, case, session_of(desk.office, case).span, chosen.values())
    free = {
        (resource.id, ordinal)
        for resource in ROOMS.resources
        for ordinal, arrive in chosen.items()
        if taken.among is not None and resource.id in taken.among
        if not any(time.starts <= arrive < time.ends for _, time in taken.busy.get(resource.id, ()))
    }
    held = {each.resource_id for each in taken.mine}
    assert len(held) == 2
    assert {resource for resource, _ in free} == held
    assert len(free) == 2 * len(chosen)


def test_a_booking_that_was_open_before_texts_were_remembered_reads_what_was_signed(
    app: Flask, desk: Desk
) -> None:
    case, chosen = desk.planned()
    case.screening = {name: each for name, each in (case.screening or {}).items() if name != "settled"}
    desk.session.commit()
    with counting(app) as statements:
        booking.confirm(desk.office, case, chosen)
    assert [each for each in statements if each.startswith("SELECT") and "intake_signature" in each]
    assert case.state == CaseState.BOOKED


def test_signing_again_keeps_the_texts_and_another_text_is_signed_anew(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk()
    case, chosen = desk.planned()
    renamed = make_desk(clinic=replace(CLINIC, name="Another clinic"), session=desk.session)
    with pytest.raises(OutOfTurn) as sent:
        booking.confirm(renamed.office, case, chosen)
    assert sent.value.step == "consent"
    renamed.sign_all(case)
    booking.confirm(renamed.office, case, chosen)
    assert case.state == CaseState.BOOKED


def test_an_act_that_leaves_a_document_open_forgets_for_which_texts_the_booking_was_opened(
    make_desk: Callable[..., Desk],
) -> None:
    desk = make_desk()
    case, _ = desk.planned()
    assert "settled" in submitted_of(case)
    renamed = make_desk(clinic=replace(CLINIC, name="Another clinic"), session=desk.session)
    first = next(each for each in consent.documents(renamed.office, case) if not each.settled)
    act = consent.Act(
        document_id=first.rendered.id, shown=first.rendered.sha256, button="Sign", name="Pat Example"
    )
    consent.sign(renamed.office, case, act)
    assert "settled" not in submitted_of(case)
    assert "screening" in submitted_of(case)


def test_no_session_is_booked_without_its_claims(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions within one tick of each other on one lane: the second would claim nothing."""
    case, chosen = desk.planned()
    whole = holding.apart

    def without_the_last(slots: Mapping[int, Slot]) -> dict[holding.Stretch, int]:
        return {stretch: ordinal for stretch, ordinal in whole(slots).items() if ordinal != len(slots)}

    monkeypatch.setattr(holding, "apart", without_the_last)
    with pytest.raises(TimeTaken, match="too close"):
        booking.confirm(desk.office, case, chosen)
    assert not desk.session.scalars(sa.select(Series)).all()


def test_extending_what_is_held_moves_only_its_end(desk: Desk) -> None:
    case, _ = desk.planned()
    before = desk.session.execute(sa.select(Claim.tick, Claim.hold_id).order_by(Claim.tick)).all()
    later = desk.at(NOW + MINUTE)
    booking.extend(later.office, case)
    after = desk.session.execute(sa.select(Claim.tick, Claim.hold_id).order_by(Claim.tick)).all()
    assert after == before
    assert set(desk.session.scalars(sa.select(Claim.expires_at))) == {NOW + MINUTE + HOLD}
    assert set(desk.session.scalars(sa.select(Occupancy.expires_at))) == {NOW + MINUTE + HOLD}


def test_a_booking_leaves_nothing_of_the_hold_on_its_claims(desk: Desk) -> None:
    desk.booked()
    sessions = set(desk.session.scalars(sa.select(Appointment.id)))
    for table in (Claim, Occupancy):
        rows = desk.session.execute(sa.select(table.hold_id, table.expires_at, table.appointment_id))
        assert set(rows) == {(None, None, each) for each in sessions}


def test_an_address_that_changed_meanwhile_is_told_and_nothing_is_booked(
    make_desk: Callable[..., Desk],
) -> None:
    """Whose other cases are to be locked is read before the lock, so it has to be the same under it."""
    desk, window = make_desk(), make_desk()
    case, chosen = desk.planned()
    assert case.identity is not None
    desk.session.commit()
    assert case.email_index
    same = window.session.get_one(Case, (CLINIC.id, case.id))
    same.identity = {**(same.identity or {}), "email": "new@example.com"}
    same.email_index = window.office.keyring.email_index("new@example.com")
    window.session.commit()
    with pytest.raises(Stale):
        booking.confirm(desk.office, case, chosen)
    assert not window.session.scalars(sa.select(Series)).all()
    booking.confirm(desk.office, case, chosen)


def test_two_cases_of_one_person_confirmed_at_once_wait_for_each_other(
    app: Flask, make_desk: Callable[..., Desk]
) -> None:
    """All of a person's cases are locked in one order, so that neither has what the other waits for."""
    state: State = app.extensions[KEY]
    desk = make_desk(clinic=TWO)
    patient = replace(SETTINGS, lock_timeout=dt.timedelta(seconds=30))
    engine = sa.create_engine(state.db.engine.url)
    for number in range(5):
        desk.email = f"pat{number}@example.com"
        cases = [desk.signed(), desk.signed()]
        chosen = [desk.plan(case, 8 * number + which) for which, case in enumerate(cases)]
        ids = [case.id for case in cases]
        desk.session.commit()
        start = Barrier(2)

        def confirm(which: int) -> str:
            with app.app_context(), Session(engine) as session:
                office = replace(desk.office, session=session, settings=patient)
                case = session.get_one(Case, (CLINIC.id, ids[which]))  # noqa: B023 - run at once
                start.wait(60)  # noqa: B023
                try:
                    booking.confirm(office, case, chosen[which])  # noqa: B023
                except OutOfTurn as sent:
                    return sent.step
                return "booked"

        with ThreadPoolExecutor(2) as pool:
            ended = sorted(pool.map(confirm, range(2)))
        assert ended == ["booked", "outcome"]
        desk.session.rollback()
        (referred,) = (case for case in cases if case.state == CaseState.REVIEW)
        assert screens.CONFLICT in rule_ids(referred)
        assert holding.choice_of(referred) is None
    engine.dispose()
