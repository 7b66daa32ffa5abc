"""How long a block by hand may be, and how much of what it touches is listed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest

from intake_plugin.journeys import blocking
from intake_plugin.journeys.blocking import SHOWN
from intake_plugin.records.tables import Appointment, AppointmentState, Occupancy, Series
from intake_plugin.state import Staff
from tests.journeys.conftest import CLINIC, NOW, Desk

MINUTE = dt.timedelta(minutes=1)


def test_a_block_lasts_no_longer_than_the_clinic_allows(desk: Desk, clinician: Staff) -> None:
    latest = blocking.latest_end(desk.office, NOW)
    assert latest == NOW.replace(year=NOW.year + 1)
    with pytest.raises(ValueError, match="no longer than the clinic allows"):
        blocking.block(desk.office, clinician, "room", NOW, latest + MINUTE, "Paint")
    assert blocking.block(desk.office, clinician, "room", NOW, latest, "Paint").end_at == latest


@pytest.mark.parametrize("more", [0, 3])
def test_of_many_sessions_inside_a_block_the_first_are_listed_and_the_rest_counted(
    make_desk: Callable[..., Desk], clinician: Staff, more: int
) -> None:
    desk = make_desk()
    cases = [desk.begun() for _ in range(SHOWN + more)]
    for number, case in enumerate(cases):
        start = NOW + dt.timedelta(days=1 + number)
        desk.session.add(Series(clinic_id=CLINIC.id, id=case.id, case_id=case.id, created_at=NOW))
        desk.session.flush()
        appointment = Appointment(
            clinic_id=CLINIC.id,
            id=case.id,
            series_id=case.id,
            case_id=case.id,
            ordinal=1,
            count=1,
            state=AppointmentState.BOOKED,
            zone="Europe/London",
            local_start=start.replace(tzinfo=None).isoformat(),
            arrive_at=start,
            treatment_at=start,
            end_at=start + 30 * MINUTE,
            created_at=NOW,
            modified_at=NOW,
        )
        desk.session.add(appointment)
        desk.session.add(
            Occupancy(
                clinic_id=CLINIC.id,
                resource_id="room",
                lane=0,
                start_at=start,
                end_at=start + 30 * MINUTE,
                appointment_id=appointment.id,
            )
        )
    desk.session.commit()
    blocking.block(desk.office, clinician, "room", NOW, NOW + dt.timedelta(days=90), "Paint")
    blocking.block(desk.office, clinician, "nurse", NOW, NOW + dt.timedelta(days=90), "Ill")
    rows = {row.block.resource_id: row for row in blocking.blocks(desk.office)}
    assert rows["room"].booked == tuple(case.reference for case in cases[:SHOWN])
    assert rows["room"].more == more
    assert (rows["nurse"].booked, rows["nurse"].more) == ((), 0)
