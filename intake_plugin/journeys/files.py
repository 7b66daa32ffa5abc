"""Calendar files from what is booked: the patient's series, one session, the clinic's import.

Words come translated from the caller; times, numbing and identities come from the records.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Literal, cast

import sqlalchemy as sa

from intake_plugin.calendars.files import clinic_import, patient_series, patient_session
from intake_plugin.calendars.visits import Place, Reminders, Style, Visit, Words
from intake_plugin.errors import NotFound
from intake_plugin.journeys.booking import appointments_of, care_of, first_uid
from intake_plugin.journeys.intake import require
from intake_plugin.journeys.office import Office, note, transaction
from intake_plugin.records import audit
from intake_plugin.records.tables import Appointment, AppointmentState, Case
from intake_plugin.state import Staff


def series_file(office: Office, case: Case, words: Words, *, link: str) -> bytes:
    """Return the whole series; `link` is the patient's manage page, without a token.

    Raises OutOfTurn before the series is booked.
    """
    require(office, case, "done")
    visits = [_patient_visit(office, case, each, link) for each in appointments_of(office, case)]
    _served(office, case, "series")
    return patient_series(
        visits, _style(office, words), now=office.now, keep_cancelled=office.clinic.calendar.keep_cancelled
    )


def session_file(office: Office, case: Case, ordinal: int, words: Words, *, link: str) -> bytes:
    """Return one session of the series.

    Raises OutOfTurn before the series is booked, NotFound when it has no such session.
    """
    require(office, case, "done")
    for appointment in appointments_of(office, case):
        if appointment.ordinal == ordinal:
            visit = _patient_visit(office, case, appointment, link)
            _served(office, case, f"session {ordinal}")
            return patient_session(visit, _style(office, words))
    raise NotFound(f"This series has no session {ordinal}.")


def clinic_file(office: Office, staff: Staff, words: Words, *, link: Callable[[str], str]) -> bytes:
    """Return every session that is still to come; `link` gives the record of a case reference.

    Raises NotFound while nothing is booked.
    """
    with transaction(office):
        rows = office.session.execute(
            sa.select(Appointment, Case)
            .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
            .where(
                Appointment.clinic_id == office.clinic.id,
                Appointment.end_at >= office.now - office.clinic.calendar.keep_cancelled,
            )
            .order_by(Appointment.arrive_at, Appointment.id)
        ).all()
        if not rows:
            raise NotFound(f"{office.clinic.name} has no appointments to come.")
        visits = [_clinic_visit(office, case, appointment, link) for appointment, case in rows]
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
        visits, _style(office, words), now=office.now, keep_cancelled=office.clinic.calendar.keep_cancelled
    )


def _served(office: Office, case: Case, what: str) -> None:
    with transaction(office):
        note(office, case, "calendar file", {"file": what})


def _style(office: Office, words: Words) -> Style:
    clinic = office.clinic
    return Style(
        words=words,
        place=Place(name=clinic.name, address=clinic.contact.address, telephone=clinic.contact.telephone),
        reminders=Reminders(
            prepare=clinic.calendar.prepare, ahead=clinic.calendar.ahead, entry=clinic.calendar.entry
        ),
        display_name=clinic.marketing_name,
    )


def _patient_visit(office: Office, case: Case, appointment: Appointment, link: str) -> Visit:
    day = dt.datetime.fromisoformat(appointment.local_start).date()
    preparation = tuple(
        entry.text
        for entry in care_of(office, case, appointment)
        if entry.phase == "before" and entry.starts is not None and _date(entry.starts) == day
    )
    return _visit(appointment, url=link, preparation=preparation)


def _date(moment: dt.datetime | dt.date) -> dt.date:
    return moment.date() if isinstance(moment, dt.datetime) else moment


def _clinic_visit(office: Office, case: Case, appointment: Appointment, link: Callable[[str], str]) -> Visit:
    names = {resource.id: resource.name for resource in office.clinic.resources}
    taken = (appointment.practitioner_id, appointment.room_id)
    product = ""
    if appointment.product_id is not None:
        product = (
            office.protocol_of(case).words(office.clinic.languages[0]).products[appointment.product_id].name
        )
    return _visit(
        appointment,
        url=link(case.reference),
        case=case.reference,
        product=product,
        resources=tuple(names.get(each, each) for each in taken if each is not None),
    )


def _visit(
    appointment: Appointment,
    *,
    url: str,
    case: str = "",
    product: str = "",
    resources: tuple[str, ...] = (),
    preparation: tuple[str, ...] = (),
) -> Visit:
    return Visit(
        uid=appointment.id,
        arrive=appointment.arrive_at,
        end=appointment.end_at,
        treatment_start=appointment.treatment_at,
        zone=appointment.zone,
        ordinal=appointment.ordinal,
        count=appointment.count,
        sequence=appointment.sequence,
        cancelled=appointment.state == AppointmentState.CANCELLED,
        modified=appointment.modified_at,
        cream_on=appointment.cream_on_at,
        cream_off=appointment.cream_off_at,
        cream_at=cast("Literal['home', 'clinic'] | None", appointment.cream_where),
        product=product,
        resources=resources,
        series_uid=first_uid(appointment.series_id),
        version=appointment.version,
        url=url,
        case=case,
        preparation=preparation,
    )
