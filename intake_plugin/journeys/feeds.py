"""Subscribed calendars: made and stopped, and read by whoever has the address.

Rules of reading, in words:

- The address is the key: 256 random bits, of which only the hash is stored. It stays good until the
  patient, or staff, stops it. There is nothing else to ask a calendar program for.
- Whether a feed has changed is told by one query that reads an index and no appointment.
- Where it has, the stamps of its appointments are read in one statement, so that a session moved
  meanwhile stands in it once; whole rows follow in batches, and only of events not written before.
- No transaction is open while a slow reader takes what was sent.
- Being read leaves no trace in the audit chain: it would bury every other entry within a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from intake_plugin.calendars import feeds
from intake_plugin.calendars.feeds import Recipe, Stamp
from intake_plugin.calendars.outputs import CLINIC_FEED, PATIENT_FEED, Output
from intake_plugin.calendars.visits import Visit, Words
from intake_plugin.errors import NotFound, ReadOnly
from intake_plugin.journeys.booking import appointments_of, series_of
from intake_plugin.journeys.intake import require
from intake_plugin.journeys.office import PATIENT, SYSTEM, Office, note, transaction, writing
from intake_plugin.journeys.visits import PatientVisits, clinic_visit, style_of
from intake_plugin.records import audit, tokens
from intake_plugin.records.base import UTCDateTime
from intake_plugin.records.tables import Appointment, AppointmentState, CareEntries, Case, Feed, Series
from intake_plugin.state import Staff

Audience = Literal["patient", "clinic"]

_MARKS = ("p", "c", "r")
"""A patient's, the whole clinic's, one resource's: what a secret begins with says which query finds its
feed, and opens nothing by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a patient wants in their calendar."""

    care: bool
    """Care before and after each session as entries of its own."""
    details: bool
    """The treatment's name in the text of entries, and which session it is in their titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFeed:
    """A feed as its address finds it, and what tells whether it has changed."""

    audience: Audience
    locale: str
    since: dt.datetime
    """Appointments that ended before are no longer in it."""
    modified: dt.datetime
    """The newest change of any appointment in it."""
    state: tuple[object, ...]
    """How many appointments there are, and what grows with each change of one of them."""
    facts: tuple[object, ...]
    """What else goes into its events."""
    case_id: str | None = None
    resource_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientCalendar:
    """What a patient can see and change of their calendar."""

    choices: Choices
    feeds: Sequence[Feed]
    """Those that are open, oldest first."""
    sessions: Sequence[Appointment]
    """Those to come."""


def calendar_of(office: Office, case: Case) -> PatientCalendar:
    """Return the calendar of a booked case.

    Raises OutOfTurn before the series is booked.
    """
    require(office, case, "done")
    rows = office.session.execute(
        sa.select(Series, Appointment)
        .join(
            Appointment,
            sa.and_(Appointment.clinic_id == Series.clinic_id, Appointment.series_id == Series.id),
        )
        .where(Series.clinic_id == office.clinic.id, Series.case_id == case.id)
        .order_by(Appointment.ordinal)
    ).all()
    series = rows[0][0]
    return PatientCalendar(
        choices=Choices(care=series.calendar_care == CareEntries.SHOWN, details=series.calendar_details),
        feeds=_patient_feeds(office, case),
        sessions=[appointment for _, appointment in rows if _to_come(office, appointment)],
    )


def _to_come(office: Office, appointment: Appointment) -> bool:
    return appointment.state == AppointmentState.BOOKED and appointment.end_at > office.now


def choose(office: Office, case: Case, choices: Choices) -> None:
    """Keep what the patient wants in their calendar, and let the sessions to come show it.

    Raises OutOfTurn before the series is booked.
    """
    with writing(office, case) as locked:
        require(office, locked, "done")
        series = series_of(office, locked)
        before = (series.calendar_care, series.calendar_details)
        gone = CareEntries.NEVER if series.calendar_care == CareEntries.NEVER else CareEntries.WITHDRAWN
        series.calendar_care = CareEntries.SHOWN if choices.care else gone
        series.calendar_details = choices.details
        if (series.calendar_care, series.calendar_details) == before:
            return
        for appointment in appointments_of(office, locked):
            if _to_come(office, appointment):
                # Google leaves an event as it is unless its SEQUENCE has risen.
                appointment.sequence += 1
                appointment.modified_at = office.now
        note(office, locked, "calendar choices", {"care": choices.care, "details": choices.details})


def make_patient_feed(office: Office, case: Case) -> str:
    """Return the raw secret of a new feed of a booked case; earlier ones go on working.

    Raises OutOfTurn before the series is booked.
    """
    raw = patient_secret()
    with writing(office, case) as locked:
        require(office, locked, "done")
        add_patient_feed(office, locked, raw)
    return raw


def patient_secret() -> str:
    """Return a fresh secret for a patient's feed."""
    return f"p{tokens.new_secret()}"


def add_patient_feed(office: Office, case: Case, raw: str, *, actor: audit.Actor = PATIENT) -> None:
    """Let a secret open the feed of a locked case, from the end of the current transaction on."""
    feed = Feed(clinic_id=office.clinic.id, hash=tokens.hash_of(raw), case_id=case.id, created_at=office.now)
    office.session.add(feed)
    note(office, case, "feed made", {"feed": feed.hash}, actor=actor)


def _patient_feeds(office: Office, case: Case) -> Sequence[Feed]:
    return office.session.scalars(_living(office).where(Feed.case_id == case.id)).all()


def stop_feed(office: Office, case: Case, raw: str) -> None:
    """Let a secret of a locked case open no feed any more, from the end of the current transaction on."""
    feed_hash = tokens.hash_of(raw)
    for feed in _patient_feeds(office, case):
        if feed.hash == feed_hash:
            feed.revoked_at = office.now
            note(office, case, "feed stopped", {"feed": feed.hash}, actor=SYSTEM)


def stop_patient_feeds(office: Office, case: Case) -> None:
    """Stop every feed of a case."""
    with writing(office, case) as locked:
        for feed in _patient_feeds(office, locked):
            feed.revoked_at = office.now
            note(office, locked, "feed stopped", {"feed": feed.hash})


def make_clinic_feed(
    office: Office, staff: Staff, *, locale: str, label: str, resource_id: str | None = None
) -> str:
    """Return the raw secret of a new feed of the clinic, or of one practitioner or room.

    Raises NotFound for a resource the clinic does not have, ReadOnly for an account that may only read.
    """
    _may_write(staff)
    if resource_id is not None and resource_id not in {each.id for each in office.clinic.resources}:
        raise NotFound(f"{office.clinic.name} has no practitioner or room {resource_id!r}.")
    raw = f"{'c' if resource_id is None else 'r'}{tokens.new_secret()}"
    with transaction(office):
        feed = Feed(
            clinic_id=office.clinic.id,
            hash=tokens.hash_of(raw),
            resource_id=resource_id,
            locale=locale,
            label=label,
            staff_id=staff.id,
            staff_name=staff.name,
            created_at=office.now,
        )
        office.session.add(feed)
        _note_staff(office, staff, feed, "feed made")
    return raw


def _may_write(staff: Staff) -> None:
    if staff.role != "decide":
        raise ReadOnly("Your account can read calendars but not make or stop them.")


def clinic_feeds(office: Office) -> Sequence[Feed]:
    """Return the clinic's own feeds that are open, oldest first."""
    return office.session.scalars(_living(office).where(Feed.case_id.is_(None))).all()


def stop_clinic_feed(office: Office, staff: Staff, feed_hash: str) -> None:
    """Stop one of the clinic's feeds.

    Raises NotFound when there is none of that hash, or it is stopped already, ReadOnly for an
    account that may only read.
    """
    _may_write(staff)
    with transaction(office):
        statement = _living(office).where(Feed.case_id.is_(None), Feed.hash == feed_hash).with_for_update()
        feed = office.session.scalars(statement).one_or_none()
        if feed is None:
            raise NotFound("There is no such feed any more.")
        feed.revoked_at = office.now
        _note_staff(office, staff, feed, "feed stopped")


def _living(office: Office) -> sa.Select[Feed]:
    return (
        sa.select(Feed)
        .where(Feed.clinic_id == office.clinic.id, Feed.revoked_at.is_(None))
        .order_by(Feed.created_at, Feed.hash)
    )


def _note_staff(office: Office, staff: Staff, feed: Feed, action: str) -> None:
    audit.record(
        office.session,
        clinic_id=office.clinic.id,
        now=office.now,
        actor=audit.Actor(kind="staff", id=staff.id),
        action=action,
        object_kind="feed",
        object_id=feed.hash,
        payload={"resource": feed.resource_id, "label": feed.label},
    )


def renew(office: Office) -> int:
    """Let calendars take over what a changed profile says of the sessions to come; return how many.

    A clinic's address or telephone is no part of a session, so a change of it raises no SEQUENCE; and
    Google leaves an event as it is unless its SEQUENCE has risen. Raises Busy when the database gave
    no lock.
    """
    to_come = (
        Appointment.clinic_id == office.clinic.id,
        Appointment.state == AppointmentState.BOOKED,
        Appointment.end_at > office.now,
    )
    risen = {
        "sequence": Appointment.sequence + 1,
        "version": Appointment.version + 1,
        "modified_at": office.now,
    }
    with transaction(office):
        statement = sa.update(Appointment).where(*to_come).values(risen)
        result = office.session.execute(statement, execution_options={"synchronize_session": False})
        renewed = cast("sa.CursorResult[Any]", result).rowcount
        audit.record(
            office.session,
            clinic_id=office.clinic.id,
            now=office.now,
            actor=SYSTEM,
            action="calendars renewed",
            object_kind="clinic",
            object_id=office.clinic.id,
            payload={"appointments": renewed},
        )
    return renewed


# Tables and not entities: these queries answer nearly every request, and the mapper has no part in them.
_FEED, _CASE, _SERIES, _ROW = Feed.__table__, Case.__table__, Series.__table__, Appointment.__table__
_CLINIC = sa.bindparam("clinic", type_=sa.String())
_HASH = sa.bindparam("hash", type_=sa.String())
_SINCE = sa.bindparam("since", type_=UTCDateTime())


def _own(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    feed = _FEED.c
    return sa.select(column).where(feed.clinic_id == _CLINIC, feed.hash == _HASH).scalar_subquery()


def _finding(
    columns: tuple[sa.ColumnElement[Any], ...], source: sa.FromClause, belongs: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """Return the query for an open feed, with what sums up the appointments that belong to it.

    Two changes may bear the same time, and the later one may be committed first: the sum of the
    versions grows with each all the same.
    """
    feed, row = _FEED.c, _ROW.c
    sums = (
        sa.select(
            _CLINIC.label("clinic_id"),
            sa.func.count().label("count"),
            sa.func.sum(row.version).label("versions"),
            sa.func.max(row.modified_at).label("modified"),
        )
        .where(row.clinic_id == _CLINIC, row.end_at > _SINCE, belongs)
        .subquery("sums")
    )
    return (
        sa.select(*columns, sums.c.count, sums.c.versions, sums.c.modified)
        .select_from(source.join(sums, sums.c.clinic_id == feed.clinic_id))
        .where(feed.clinic_id == _CLINIC, feed.hash == _HASH, feed.revoked_at.is_(None))
    )


def _patients() -> sa.Select[Any]:
    feed, case, series = _FEED.c, _CASE.c, _SERIES.c
    source = _FEED.join(_CASE, sa.and_(case.clinic_id == feed.clinic_id, case.id == feed.case_id)).join(
        _SERIES, sa.and_(series.clinic_id == feed.clinic_id, series.case_id == feed.case_id)
    )
    columns = (
        feed.created_at,
        feed.case_id,
        case.locale,
        case.protocol_id,
        case.version,
        series.calendar_care,
        series.calendar_details,
    )
    return _finding(columns, source, _ROW.c.case_id == _own(feed.case_id))


def _clinics() -> sa.Select[Any]:
    feed = _FEED.c
    columns = (feed.created_at, feed.resource_id, feed.locale)
    return _finding(columns, _FEED, sa.true()).where(feed.case_id.is_(None), feed.resource_id.is_(None))


def _resources() -> sa.Select[Any]:
    feed, row = _FEED.c, _ROW.c
    resource = _own(feed.resource_id)
    belongs = sa.or_(row.practitioner_id == resource, row.room_id == resource)
    columns = (feed.created_at, feed.resource_id, feed.locale)
    return _finding(columns, _FEED, belongs).where(feed.case_id.is_(None), feed.resource_id.is_not(None))


FINDING: Mapping[str, sa.Select[Any]] = dict(
    zip(_MARKS, (_patients(), _clinics(), _resources()), strict=True)
)
"""The query that finds a feed, by what its secret begins with; made once."""


def find(office: Office, raw: str) -> FoundFeed | None:
    """Return the feed an address leads to, or None if it is unknown or stopped; one query."""
    finding = FINDING.get(raw[:1])
    if finding is None:
        return None
    since = office.now - office.clinic.calendar.keep_cancelled
    values = {"clinic": office.clinic.id, "hash": tokens.hash_of(raw), "since": since}
    row = office.session.execute(finding, values).one_or_none()
    if row is None:
        return None
    read = _patient_feed if raw.startswith("p") else _clinic_feed
    return read(office, tuple(row), since)


def _patient_feed(office: Office, row: Sequence[Any], since: dt.datetime) -> FoundFeed:
    created, case_id, locale, protocol_id, version, care, details, *sums = row
    treatment = office.clinic.treatments.get(protocol_id)
    fingerprint = None if treatment is None else treatment.fingerprint
    languages = office.clinic.languages
    locale = locale if locale in languages else languages[0]
    return FoundFeed(
        audience="patient",
        locale=locale,
        since=since,
        modified=_newest(created, sums),
        state=_state(sums),
        facts=(fingerprint, locale, version, care.value, details, office.clinic.calendar.care_at),
        case_id=case_id,
    )


def _clinic_feed(office: Office, row: Sequence[Any], since: dt.datetime) -> FoundFeed:
    created, resource_id, locale, *sums = row
    clinic = office.clinic
    locale = locale if locale in clinic.languages else clinic.languages[0]
    return FoundFeed(
        audience="clinic",
        locale=locale,
        since=since,
        modified=_newest(created, sums),
        state=_state(sums),
        facts=(
            resource_id,
            locale,
            *((each.id, each.name) for each in clinic.resources),
            *(treatment.fingerprint for treatment in clinic.treatments.values()),
        ),
        resource_id=resource_id,
    )


def _newest(created: dt.datetime, sums: Sequence[Any]) -> dt.datetime:
    return max(created, sums[-1] or created)


def _state(sums: Sequence[Any]) -> tuple[object, ...]:
    count, versions, modified = sums
    return int(count), int(versions or 0), modified and modified.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFeed:
    """A feed that is about to be read."""

    office: Office
    found: FoundFeed
    recipe: Recipe
    link: str

    @property
    def etag(self) -> str:
        """What changes with every change of the feed's octets, the same in every process."""
        return feeds.etag(self.recipe, *self.found.state)

    def octets(self, app_context: Callable[[], AbstractContextManager[Any]]) -> Iterator[bytes]:
        """Return the feed in pieces, each read when it is asked for, on a session of its own.

        The request may have ended by then; the seals of rows are opened within `app_context`.
        """
        return self._read(self.office.session.get_bind(Appointment), app_context)

    def _read(
        self, bind: sa.Engine | sa.Connection, app_context: Callable[[], AbstractContextManager[Any]]
    ) -> Iterator[bytes]:
        with Session(bind) as session:
            office = replace(self.office, session=session)

            def load(uids: Sequence[str]) -> list[Visit]:
                with app_context():
                    visits = _visits(office, self.found, uids, self.link)
                    session.rollback()
                return visits

            stamps = _stamps(office, self.found)
            session.rollback()
            yield from feeds.stream(self.recipe, stamps, load)


def open_feed(office: Office, found: FoundFeed, words: Words, *, name: str, link: str) -> OpenFeed:
    """Return a feed to be read under a calendar's `name`.

    `link` is the patient's manage page, without a token; in a clinic's feed, what stands before the
    reference in the address of a case's record, empty for no links.
    """
    output: Output = PATIENT_FEED if found.audience == "patient" else CLINIC_FEED
    recipe = Recipe(
        output=output,
        style=style_of(office, words),
        name=name,
        refresh=office.clinic.calendar.refresh,
        zone=office.clinic.zone.key,
        facts=(*found.facts, link),
    )
    return OpenFeed(office=office, found=found, recipe=recipe, link=link)


def _stamps(office: Office, found: FoundFeed) -> list[Stamp]:
    # Core rows with times as they are stored: of ten thousand, the mapper's part would be most of the work.
    row = _ROW.c
    plain = sa.DateTime()
    modified, end = sa.type_coerce(row.modified_at, plain), sa.type_coerce(row.end_at, plain)
    statement = (
        sa.select(row.id, row.version, modified, end, row.zone)
        .where(row.clinic_id == office.clinic.id, row.end_at > found.since)
        .order_by(row.arrive_at, row.id)
    )
    if found.case_id is not None:
        statement = statement.where(row.case_id == found.case_id)
    elif found.resource_id is not None:
        resources = (row.practitioner_id, row.room_id)
        statement = statement.where(sa.or_(*(each == found.resource_id for each in resources)))
    return [Stamp._make(stamp) for stamp in office.session.execute(statement).all()]


def _visits(office: Office, found: FoundFeed, uids: Sequence[str], link: str) -> list[Visit]:
    if found.case_id is None:
        return _clinic_visits(office, found, uids, link)
    return _patient_visits(office, found.case_id, uids, link)


def _patient_visits(office: Office, case_id: str, uids: Sequence[str], link: str) -> list[Visit]:
    case = office.session.get_one(Case, (office.clinic.id, case_id))
    view = PatientVisits.of(office, case, link)
    appointments = sa.select(Appointment).where(
        Appointment.clinic_id == office.clinic.id, Appointment.id.in_(uids)
    )
    return [view.visit(each) for each in office.session.scalars(appointments)]


def _clinic_visits(office: Office, found: FoundFeed, uids: Sequence[str], link: str) -> list[Visit]:
    def record(reference: str) -> str:
        return f"{link}{reference}" if link else ""

    rows = office.session.execute(
        sa.select(Appointment, Case.reference, Case.protocol_id)
        .join(Case, sa.and_(Case.clinic_id == Appointment.clinic_id, Case.id == Appointment.case_id))
        .where(Appointment.clinic_id == office.clinic.id, Appointment.id.in_(uids))
    )
    return [clinic_visit(office, *row, link=record, locale=found.locale) for row in rows]
