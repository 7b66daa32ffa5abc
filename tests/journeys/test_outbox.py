"""What is to be told is written with the act itself: once for each change, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError

from intake_plugin.errors import Busy, OutOfTurn, TimeTaken
from intake_plugin.journeys import booking, changing, delivery, intake, outbox, review
from intake_plugin.journeys.office import Office, note, transaction
from intake_plugin.journeys.review import Ruling
from intake_plugin.records import audit
from intake_plugin.records.outbox import MailKind, MailState
from intake_plugin.records.tables import Case, Series, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import NOW, Desk
from tests.journeys.mailing import (
    DAY,
    HOUR,
    on_tuesday,
    rows,
    sessions,
    told,
    with_mail,
)
from tests.journeys.test_queries import counting

MakeDesk = Callable[..., Desk]
REMINDED = ["P2D", "PT3H"]


def reminders(desk: Desk) -> set[tuple[str | None, dt.timedelta, int | None]]:
    """Return of each reminder its session, how long before the arrival it comes, and the SEQUENCE."""
    starts = {each.id: each.arrive_at for case in cases(desk) for each in sessions(desk, case)}
    return {
        (row.appointment_id, starts[row.appointment_id] - row.due_at, row.sequence)
        for row in rows(desk, MailKind.REMINDER)
        if row.appointment_id is not None
    }


def cases(desk: Desk) -> list[Case]:
    return list(desk.session.scalars(sa.select(Case)))


def test_a_clinic_without_mail_writes_nothing(desk: Desk, clinician: Staff) -> None:
    case = on_tuesday(desk)
    changing.cancel(desk.office, case, 4)
    referred = desk.screened(medicines=("blood_thinner",))
    ruling = Ruling(verdict=Verdict.CLEAR, note="Fine.", version=referred.version)
    review.decide(desk.office, clinician, referred.reference, ruling)
    assert told(desk) == []


def test_a_booked_series_is_told_once(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    case = on_tuesday(desk)
    (row,) = rows(desk)
    series = desk.session.scalars(sa.select(Series)).one()
    assert (row.kind, row.case_id, row.key) == (MailKind.BOOKED, case.id, f"{series.id}:booked")
    assert (row.state, row.due_at, row.next_at, row.attempts) == (MailState.WAITING, NOW, NOW, 0)
    assert row.content is None
    again = {each.ordinal: each.arrive_at for each in sessions(desk, case)}
    booking.confirm(desk.office, case, again)
    assert len(rows(desk)) == 1


def test_with_invitations_each_session_is_told_by_itself(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk, calendar="invite")
    case = on_tuesday(desk)
    found = {(row.appointment_id, row.kind, row.sequence) for row in rows(desk)}
    assert found == {(each.id, MailKind.REQUEST, 0) for each in sessions(desk, case)}
    assert len(found) == 4


def test_a_booking_that_fails_tells_nobody(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = with_mail(make_desk, reminders=REMINDED)
    case, chosen = desk.planned()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("before the commit")

    monkeypatch.setattr(booking, "note", broken)
    with pytest.raises(RuntimeError):
        booking.confirm(desk.office, case, chosen)
    assert told(desk) == []
    monkeypatch.undo()
    taken, lost = desk.planned(), desk.planned()
    booking.confirm(desk.office, *taken)
    with pytest.raises(TimeTaken):
        booking.confirm(desk.office, lost[0], taken[1])
    assert {row.case_id for row in rows(desk)} == {taken[0].id}


def test_a_move_is_told_once_however_many_sessions_go_along(make_desk: MakeDesk) -> None:
    for calendar, expected in (("attach", 1), ("invite", 3)):
        desk = with_mail(make_desk, calendar=calendar)
        case = on_tuesday(desk)
        before = sessions(desk, case)
        later = desk.at(NOW + HOUR)
        times = changing.move_times(later.office, case, 2, first=dt.date(2026, 4, 21))
        plan = changing.plan_move(later.office, case, 2, {2: times.slots[0].arrive})
        assert len(plan.sessions) == 3
        changing.move(later.office, case, 2, plan.arrivals)
        changing.move(later.office, case, 2, plan.arrivals)
        fresh = [row for row in rows(desk) if row.due_at == NOW + HOUR and row.case_id == case.id]
        assert len(fresh) == expected
        assert {row.sequence for row in fresh} == {1}
        assert {row.appointment_id for row in fresh} <= {each.id for each in before[1:]}
        assert before[1].id in {row.appointment_id for row in fresh}
        assert {row.kind for row in fresh} == {MailKind.MOVED if calendar == "attach" else MailKind.REQUEST}


def test_a_cancellation_is_told_once(make_desk: MakeDesk) -> None:
    for calendar, kind in (("attach", MailKind.CANCELLED), ("invite", MailKind.CANCEL)):
        desk = with_mail(make_desk, calendar=calendar)
        case = on_tuesday(desk)
        for _ in range(2):
            changing.cancel(desk.office, case, 3)
        found = rows(desk, kind)
        assert [(row.sequence, row.appointment_id) for row in found] == [(1, sessions(desk, case)[2].id)]


def test_staff_who_put_a_session_over_another_tell_its_patient(make_desk: MakeDesk, clinician: Staff) -> None:
    desk = with_mail(make_desk)
    other, case = on_tuesday(desk), on_tuesday(desk)
    time = sessions(desk, other)[0].arrive_at
    later = desk.at(NOW + HOUR)
    plan = changing.plan_move(later.office, case, 1, {1: time}, staff=clinician, overlap=True)
    assert plan.overlaps
    changing.move(later.office, case, 1, plan.arrivals, staff=clinician, reason="Agreed.")
    (row,) = rows(desk, MailKind.MOVED)
    assert (row.case_id, row.sequence) == (case.id, 1)


def test_reminders_are_due_before_each_session_that_is_far_enough_away(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk, reminders=REMINDED)
    case = on_tuesday(desk)
    expected = {(each.id, lead, 0) for each in sessions(desk, case) for lead in (2 * DAY, 3 * HOUR)}
    assert reminders(desk) == expected
    assert len(rows(desk)) == 1 + 8
    soon = with_mail(make_desk, reminders=["P3D", "P20D"])
    first = sessions(soon, soon.booked())[0]
    assert first.arrive_at - NOW < 3 * DAY
    assert [row for row in rows(soon, MailKind.REMINDER) if row.appointment_id == first.id] == []


def test_a_move_and_a_cancellation_take_reminders_back(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk, reminders=["P2D"])
    case = on_tuesday(desk)
    later = desk.at(NOW + HOUR)
    new = changing.move_times(later.office, case, 4).slots[-1].arrive
    changing.move(later.office, case, 4, {4: new})
    changing.cancel(later.office, case, 3)
    first, second, _, fourth = sessions(desk, case)
    assert fourth.arrive_at == new
    assert reminders(desk) == {(first.id, 2 * DAY, 0), (second.id, 2 * DAY, 0), (fourth.id, 2 * DAY, 1)}


def test_reminders_are_taken_back_at_a_clinic_that_sends_no_mail_any_more(make_desk: MakeDesk) -> None:
    desk, bare = with_mail(make_desk, reminders=["P2D"]), make_desk()
    case = on_tuesday(desk)
    mine = bare.session.get_one(Case, (case.clinic_id, case.id))
    new = changing.move_times(bare.office, mine, 4).slots[-1].arrive
    changing.move(bare.office, mine, 4, {4: new})
    changing.cancel(bare.office, mine, 3)
    first, second, *_ = sessions(desk, case)
    assert {row.appointment_id for row in rows(desk, MailKind.REMINDER)} == {first.id, second.id}


def test_a_move_that_fails_leaves_the_reminders(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk, reminders=["P2D"])
    case = on_tuesday(desk)
    before = reminders(desk)
    with pytest.raises(TimeTaken):
        changing.move(desk.office, case, 4, {4: NOW + 400 * DAY})
    assert reminders(desk) == before


@pytest.mark.parametrize("verdict", [Verdict.CLEAR, Verdict.ASK_AGAIN, Verdict.DECLINE])
def test_a_decision_is_told_whatever_it_is(make_desk: MakeDesk, clinician: Staff, verdict: Verdict) -> None:
    desk = with_mail(make_desk)
    case = desk.screened(medicines=("blood_thinner",))
    (notice,) = rows(desk)
    assert (notice.kind, notice.case_id) == (MailKind.NOTICE, case.id)
    ruling = Ruling(verdict=verdict, note="Looked at.", version=case.version)
    review.decide(desk.office, clinician, case.reference, ruling)
    assert sorted(kind for kind, _ in told(desk)) == [MailKind.DECIDED, MailKind.NOTICE]


def test_the_clinic_is_told_of_each_time_a_case_is_sent_to_it(make_desk: MakeDesk, clinician: Staff) -> None:
    desk = with_mail(make_desk)
    case = desk.screened(medicines=("blood_thinner",))
    ruling = Ruling(verdict=Verdict.ASK_AGAIN, note="Which one?", version=case.version)
    review.decide(desk.office, clinician, case.reference, ruling)
    intake.submit(desk.office, case, shown=intake.answers_hash(case))
    assert len(rows(desk, MailKind.NOTICE)) == 2
    desk.screened()
    assert len(rows(desk, MailKind.NOTICE)) == 2
    quiet = with_mail(make_desk, notices="")
    quiet.screened(medicines=("blood_thinner",))
    assert len(rows(desk, MailKind.NOTICE)) == 2


def test_the_clinic_is_told_of_a_second_case_that_only_the_booking_finds(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    desk.email = "pat@example.com"
    first, second = desk.signed(), desk.signed()
    chosen, others = desk.plan(first), desk.plan(second)
    booking.confirm(desk.office, first, chosen)
    with pytest.raises(OutOfTurn):
        booking.confirm(desk.office, second, others)
    assert [row.case_id for row in rows(desk, MailKind.NOTICE)] == [second.id]


def test_one_change_cannot_be_written_twice(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    case = on_tuesday(desk)
    first = sessions(desk, case)[0]
    with transaction(desk.office):
        outbox.cancelled(desk.office, case, first)
    with pytest.raises(IntegrityError), transaction(desk.office):
        outbox.cancelled(desk.office, case, first)
    assert len(rows(desk, MailKind.CANCELLED)) == 1


@pytest.mark.parametrize("calendar", ["attach", "invite"])
def test_mail_costs_a_booking_one_statement(app: Flask, make_desk: MakeDesk, calendar: str) -> None:
    counted = []
    for desk in (make_desk(), with_mail(make_desk, calendar=calendar, reminders=REMINDED)):
        case, chosen = desk.planned()
        with counting(app) as statements:
            booking.confirm(desk.office, case, chosen)
        counted.append(statements)
    without, with_it = counted
    assert len(with_it) == len(without) + 1
    assert sum("intake_outbox" in statement for statement in with_it) == 1


def test_only_a_site_that_sends_after_the_commit_remembers_its_rows(make_desk: MakeDesk) -> None:
    desk = with_mail(make_desk)
    desk.booked()
    assert outbox.take_fresh(desk.office) == ()
    eager: Office = replace(desk.office, settings=replace(desk.office.settings, deliver="after-commit"))
    Desk(eager).booked()
    fresh = outbox.take_fresh(eager)
    assert len(fresh) == 1
    assert set(fresh) < {row.id for row in rows(desk)}
    assert outbox.take_fresh(eager) == ()


def test_what_is_being_told_by_staff_is_not_tried_again(
    make_desk: MakeDesk, clinician: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, other = with_mail(make_desk), with_mail(make_desk)
    case = on_tuesday(desk)
    (row,) = rows(desk)
    row.state, row.ended_at, row.error = MailState.UNDELIVERABLE, NOW, "550 5.1.1"
    desk.session.commit()
    soon = replace(other.office.settings, lock_timeout=dt.timedelta(seconds=1))
    really = note

    def noted(*given: Any, **more: Any) -> object:
        # Staff have the row; whoever asks for it to be tried anew has to wait, and then finds it told.
        with pytest.raises(Busy):
            delivery.again(replace(other.office, settings=soon))
        return really(*given, **more)

    monkeypatch.setattr("intake_plugin.journeys.outbox.note", noted)
    outbox.told(desk.office, case, audit.Actor(kind="staff", id=clinician.id))
    assert delivery.again(other.office) == 0
    assert [row.state for row in rows(desk)] == [MailState.TOLD]


def test_staff_put_away_what_they_have_told_in_another_way(make_desk: MakeDesk, clinician: Staff) -> None:
    desk = with_mail(make_desk)
    case, other = on_tuesday(desk), on_tuesday(desk)
    for row in rows(desk):
        row.state, row.ended_at, row.error = MailState.UNDELIVERABLE, NOW, "550 5.1.1"
        row.content = {"to": "pat@example.com", "link": "x", "feed": ""}
    desk.session.commit()
    (mine,) = review.whole(desk.office, clinician, case.reference).undelivered
    assert (mine.kind, mine.error, mine.since, mine.ordinal) == (MailKind.BOOKED, "550 5.1.1", NOW, None)
    assert {each.reference for each in outbox.undelivered(desk.office)} == {case.reference, other.reference}
    outbox.told(desk.office, case, audit.Actor(kind="staff", id=clinician.id))
    assert [each.reference for each in outbox.undelivered(desk.office)] == [other.reference]
    (row,) = [row for row in rows(desk) if row.case_id == case.id]
    assert (row.state, row.content) == (MailState.TOLD, None)
    assert audit.verify(desk.session, desk.office.clinic.id) == ()
