"""Calendar files from what is booked: the patient's series, one session, the clinic's import.

Words come translated from the caller; times, numbing and identities come from the records.
"""

from __future__ import annotations

import sqlalchemy as sa

from intake_plugin.calendars.files import clinic_import, patient_series, patient_session, remaining
from intake_plugin.calendars.outputs import PATIENT_SERIES
from intake_plugin.calendars.visits import Words
from intake_plugin.errors import NotFound
from intake_plugin.journeys.booking import appointments_of
from intake_plugin.journeys.intake import require
from intake_plugin.journeys.office import Office, note, transaction
from intake_plugin.journeys.visits import PatientVisits, RecordLink, clinic_visit, style_of
from intake_plugin.records import audit
from intake_plugin.records.tables import Appointment, Case
from intake_plugin.state import Staff


def series_file(office: Office, case: Case, words: Words, *, link: str) -> bytes:
    """Return the whole series; `link` is the patient's manage page, without a token.

    Raises OutOfTurn before the series is booked, NotFound when all of it was cancelled long ago.
    """
    require(office, case, "done")
    view, keep = PatientVisits.of(office, case, link), office.clinic.calendar.keep_cancelled
    visits = [view.visit(each) for each in appointments_of(office, case)]
    if not remaining(visits, PATIENT_SERIES, now=office.now, keep_cancelled=keep):
        raise NotFound("Every session of this series was cancelled, and their time is long over.")
    _served(office, case, "series")
    return patient_series(visits, style_of(office, words), now=office.now, keep_cancelled=keep)


def session_file(office: Office, case: Case, ordinal: int, words: Words, *, link: str) -> bytes:
    """Return one session of the series.

    Raises OutOfTurn before the series is booked, NotFound when it has no such session.
    """
    require(office, case, "done")
    for appointment in appointments_of(office, case):
        if appointment.ordinal == ordinal:
            visit = PatientVisits.of(office, case, link).visit(appointment)
            _served(office, case, f"session {ordinal}")
            return patient_session(visit, style_of(office, words))
    raise NotFound(f"This series has no session {ordinal}.")


def clinic_file(office: Office, staff: Staff, words: Words, *, link: RecordLink, locale: str) -> bytes:
    """Return every session to come, and those just over; `link` gives the record of a case reference.

    `locale` is the language of the words.

    Raises NotFound while nothing is booked.
    """
    with transaction(office):
        rows = office.session.execute(
            sa.select(Appointment, Case.reference, Case.protocol_id)
            .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
            .where(
                Appointment.clinic_id == office.clinic.id,
                Appointment.end_at > office.now - office.clinic.calendar.keep_cancelled,
            )
            .order_by(Appointment.arrive_at, Appointment.id)
        ).all()
        if not rows:
            raise NotFound(f"{office.clinic.name} has no appointments to come.")
        visits = [clinic_visit(office, *row, link=link, locale=locale) for row in rows]
        audit.record(
            office.session,
            clinic_id=office.clinic.id,
            now=office.now,
            actor=audit.Actor(kind="staff", id=staff.id),
            action="clinic calendar",
            object_kind="clinic",
            object_id=office.clinic.id,
            payload={"appointments": len(visits)},
        )
    return clinic_import(
        visits, style_of(office, words), now=office.now, keep_cancelled=office.clinic.calendar.keep_cancelled
    )


def _served(office: Office, case: Case, what: str) -> None:
    with transaction(office):
        note(office, case, "calendar file", {"file": what})
