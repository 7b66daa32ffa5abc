"""From stored appointments to what the calendar room is told of them.

What goes into a patient's calendar is seen by whoever sees the calendar, so advice that was given
because of an answer stays on the pages: it would tell the answer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

from intake_plugin.calendars.visits import CareNote, Place, Reminders, Style, Visit, Words
from intake_plugin.clinical.care import CareEntry, Moment, starts
from intake_plugin.clinical.protocol import CareStep, Wait
from intake_plugin.journeys.booking import care_of, first_uid, series_of
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import (
    AT_HOME,
    Appointment,
    AppointmentState,
    CareEntries,
    Case,
    Series,
)

RecordLink = Callable[[str], str]
"""From a case's reference to the address of its record, empty for none."""


def style_of(office: Office, words: Words) -> Style:
    """Return what all events of the clinic share."""
    clinic = office.clinic
    return Style(
        words=words,
        place=Place(name=clinic.name, address=clinic.contact.address, telephone=clinic.contact.telephone),
        reminders=Reminders(
            prepare=clinic.calendar.prepare, ahead=clinic.calendar.ahead, entry=clinic.calendar.entry
        ),
        display_name=clinic.marketing_name,
    )


@dataclass(frozen=True, slots=True)
class PatientVisits:
    """The patient's view of a booked case; `link` is their manage page, without a token."""

    office: Office
    case: Case
    series: Series
    link: str

    @classmethod
    def of(cls, office: Office, case: Case, link: str) -> PatientVisits:
        """Return the view of `case`, which has to be booked."""
        return cls(office, case, series_of(office, case), link)

    def visit(self, appointment: Appointment) -> Visit:
        """Return one session with what its patient should do and when."""
        told = self._told(appointment)
        day = dt.datetime.fromisoformat(appointment.local_start).date()
        preparation = tuple(
            entry.text
            for step, entry in told
            if step.phase == "before" and entry.starts is not None and _date(entry.starts) == day
        )
        details = self.series.calendar_details
        return _visit(
            appointment,
            url=self.link,
            preparation=preparation,
            treatment=self.office.title_of(self.case) if details else "",
            care=tuple(self._notes(told)),
        )

    def _told(self, appointment: Appointment) -> list[tuple[CareStep, CareEntry]]:
        if self.office.find_treatment(self.case) is None:
            return []
        steps = {step.id: step for step in self.office.protocol_of(self.case).care if step.when is None}
        entries = care_of(self.office, self.case, appointment)
        return [(steps[entry.id], entry) for entry in entries if entry.id in steps]

    def _notes(self, told: list[tuple[CareStep, CareEntry]]) -> Iterator[CareNote]:
        """Yield one note for all that begins at the same distance from the session.

        The distance names the note, so that it keeps its identity when the session moves. What
        begins on the day itself stands in the session's own entry.
        """
        wanted = self.series.calendar_care
        if wanted == CareEntries.NEVER:
            return
        groups: dict[tuple[Literal["before", "after"], Wait | dt.timedelta], list[CareEntry]] = {}
        for step, entry in told:
            away = starts(step, self.office.protocol_of(self.case))
            if step.phase == "after" or (step.phase == "before" and away != Wait()):
                groups.setdefault((step.phase, away), []).append(entry)
        policy = self.office.clinic.calendar
        for (phase, away), entries in groups.items():
            if entries[0].starts is None:
                continue
            start = self._moment(entries[0].starts)
            yield CareNote(
                kind=f"{phase}-{_distance(away)}",
                start=start,
                end=start + policy.entry,
                description="\n".join(entry.text for entry in entries),
                phase=phase,
                withdrawn=wanted == CareEntries.WITHDRAWN,
            )

    def _moment(self, moment: Moment) -> dt.datetime:
        if not isinstance(moment, dt.datetime):
            clinic = self.office.clinic
            moment = dt.datetime.combine(moment, clinic.calendar.care_at, clinic.zone)
        return moment.astimezone(dt.UTC)


def _distance(away: Wait | dt.timedelta) -> str:
    return str(away) if isinstance(away, Wait) else f"PT{round(away.total_seconds())}S"


def _date(moment: Moment) -> dt.date:
    return moment.date() if isinstance(moment, dt.datetime) else moment


def clinic_visit(
    office: Office,
    appointment: Appointment,
    reference: str,
    protocol_id: str,
    *,
    link: RecordLink,
    locale: str,
) -> Visit:
    """Return one session as the clinic sees it: case number, resources, product, link to the record.

    `locale` is the language in which the product is named, one of the clinic's.
    """
    names = {resource.id: resource.name for resource in office.clinic.resources}
    taken = (appointment.practitioner_id, appointment.room_id)
    return _visit(
        appointment,
        url=link(reference),
        case=reference,
        product=_product(office, protocol_id, appointment.product_id, locale),
        resources=tuple(names.get(each, each) for each in taken if each is not None),
    )


def _product(office: Office, protocol_id: str, product_id: str | None, locale: str) -> str:
    treatment = office.clinic.treatments.get(protocol_id)
    if product_id is None or treatment is None:
        return product_id or ""
    products = treatment.protocol.words(locale).products
    return products[product_id].name if product_id in products else product_id


def _visit(
    appointment: Appointment,
    *,
    url: str,
    case: str = "",
    product: str = "",
    resources: tuple[str, ...] = (),
    preparation: tuple[str, ...] = (),
    treatment: str = "",
    care: tuple[CareNote, ...] = (),
) -> Visit:
    at_home = appointment.cream_where == AT_HOME
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
        numbing_withdrawn=appointment.numbing_entry and not at_home,
        product=product,
        resources=resources,
        series_uid=first_uid(appointment.series_id),
        version=appointment.version,
        url=url,
        case=case,
        preparation=preparation,
        treatment=treatment,
        care=care,
    )
