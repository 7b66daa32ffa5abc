"""What is stored of a patient's case, from the first answer to the booked series.

`clinic_id` leads every primary key and every index, so that a large database can be partitioned
by clinic and no query crosses clinics. What says who a patient is, what they answered, signed or
are treated for is sealed; what stays readable is what the database has to search, sort or guard.

The relationships are there so that a flush writes a case before what refers to it, in whatever
order rows were added. They load nothing: queries say what they read.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from intake_plugin.records.base import TABLE_OPTIONS, Base, LongText, State, new_id
from intake_plugin.records.sealed import Sealed

AT_HOME = "home"
"""The value of `Appointment.cream_where` for a patient who puts the cream on."""
TICK = dt.timedelta(minutes=5)
"""The grain of a claim: a booked time takes one row for every tick it touches."""

LONGEST_BUSY = dt.timedelta(days=1)
"""Longer times are stored in pieces."""

ClinicId = Annotated[str, mapped_column(sa.String(64), primary_key=True)]
RowId = Annotated[str, mapped_column(sa.String(32))]
ProfileId = Annotated[str, mapped_column(sa.String(64))]
"""An id from a protocol, a clinic's profile or the host."""
Sha256 = Annotated[str, mapped_column(sa.String(64))]


class CaseState(StrEnum):
    """Where a case stands."""

    DRAFT = "draft"
    """Questions are being answered."""
    STOPPED = "stopped"
    """A rule says that this treatment is not for this patient."""
    WAITING = "waiting"
    """To be asked again once something has healed."""
    REVIEW = "review"
    """A clinician will look."""
    DECLINED = "declined"
    """A clinician looked and declined."""
    CONSENT = "consent"
    """Answers accepted; consent is to be signed."""
    BOOKING = "booking"
    """Consent signed; times are to be chosen."""
    BOOKED = "booked"
    CLOSED = "closed"


class TokenPurpose(StrEnum):
    """What a token opens; a token opens nothing else."""

    SESSION = "session"
    """A browser's cookie."""
    MANAGE = "manage"
    """The patient's own link: it continues a draft, and leads to a booked series."""


class Verdict(StrEnum):
    """What a clinician decided on a case under review."""

    CLEAR = "clear"
    CLEAR_FROM = "clear_from"
    DECLINE = "decline"
    ASK_AGAIN = "ask_again"
    """The answers go back to the patient."""


class CareEntries(StrEnum):
    """Whether care before and after a session stands in the patient's calendar as entries of its own."""

    NEVER = "never"
    SHOWN = "shown"
    WITHDRAWN = "withdrawn"
    """Calendars hold entries that the patient no longer wants; they are marked as cancelled."""


class AppointmentState(StrEnum):
    """Whether a session of a series stands."""

    BOOKED = "booked"
    CANCELLED = "cancelled"


def _to_case() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["clinic_id", "case_id"], ["intake_case.clinic_id", "intake_case.id"])


class Case(Base, kw_only=True):
    """One patient's intake for one course of treatment.

    `version` is checked on every update: of two transactions that read the same version, the
    second fails with SQLAlchemy's `StaleDataError`.
    """

    __tablename__ = "intake_case"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    reference: Mapped[str] = mapped_column(sa.String(16))
    protocol_id: Mapped[ProfileId]
    protocol_version: Mapped[str] = mapped_column(sa.String(32))
    fingerprint: Mapped[Sha256]
    """SHA-256 of the protocol with the clinic's changes, as the patient answered it."""
    locale: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[CaseState] = mapped_column(State(CaseState), default=CaseState.DRAFT)
    created_at: Mapped[dt.datetime]
    updated_at: Mapped[dt.datetime]
    """When a column of this row last changed; what happened to the case stands in the audit chain."""
    expires_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    """When an unfinished draft is deleted."""
    version: Mapped[int] = mapped_column(init=False)
    identity_sealed: Mapped[bytes | None] = mapped_column("identity", init=False)
    identity: Sealed[dict[str, Any] | None] = Sealed(lambda: None)
    """`name`, `birth_date` (ISO 8601), `email`, `telephone`."""
    answers_sealed: Mapped[bytes] = mapped_column("answers", init=False)
    answers: Sealed[dict[str, Any]] = Sealed(dict)
    """As `clinical.answers.to_json` writes them."""
    screening_sealed: Mapped[bytes | None] = mapped_column("screening", init=False)
    screening: Sealed[dict[str, Any] | None] = Sealed(lambda: None)
    """`screening` (the findings at submission), `dropped` (link ids no longer asked), `lifted` (rule ids
    that a clinician's decision set aside), `numbing` (the product a clinician chose), and `settled`
    (the consent texts for which the booking was opened)."""
    plan_sealed: Mapped[bytes | None] = mapped_column("plan", init=False)
    plan: Sealed[dict[str, Any] | None] = Sealed(lambda: None)
    """Times chosen but not yet booked, see `journeys.holding.Choice`."""
    outcome: Mapped[str | None] = mapped_column(sa.String(16), default=None)
    not_before: Mapped[dt.date | None] = mapped_column(default=None)
    """The first date that the outcome and the clinician allow."""
    answers_hash: Mapped[Sha256 | None] = mapped_column(default=None)
    submitted_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    email_index: Mapped[str | None] = mapped_column(sa.String(64), default=None)
    """Blind index of the e-mail address, see `KeyRing.email_index`."""
    numbing_home: Mapped[bool] = mapped_column(default=False)
    """A clinician approved that numbing cream is applied at home."""

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 -- SQLAlchemy declares it without ClassVar
    __table_args__ = (
        sa.UniqueConstraint("clinic_id", "reference"),
        sa.Index("ix_intake_case_created", "clinic_id", "created_at"),
        sa.Index("ix_intake_case_state", "clinic_id", "state", "created_at"),
        sa.Index("ix_intake_case_email", "clinic_id", "email_index"),
        sa.Index("ix_intake_case_expires", "clinic_id", "expires_at"),
        TABLE_OPTIONS,
    )


class Token(Base, kw_only=True):
    """A secret that opens one thing for one case; only its SHA-256 is stored."""

    __tablename__ = "intake_token"

    clinic_id: Mapped[ClinicId]
    hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    case_id: Mapped[RowId]
    purpose: Mapped[TokenPurpose] = mapped_column(State(TokenPurpose))
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    revoked_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    used_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    """Dates of birth given with it since the last right one."""
    case: Mapped[Case] = relationship(init=False, lazy="raise")

    __table_args__ = (
        _to_case(),
        sa.Index("ix_intake_token_case", "clinic_id", "case_id"),
        sa.Index("ix_intake_token_expires", "clinic_id", "expires_at"),
        TABLE_OPTIONS,
    )


class Signature(Base, kw_only=True):
    """A consent document as it was shown, and the patient's own act on it."""

    __tablename__ = "intake_signature"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    case_id: Mapped[RowId]
    document_id: Mapped[ProfileId]
    version: Mapped[str] = mapped_column(sa.String(32))
    locale: Mapped[str] = mapped_column(sa.String(16))
    text_sealed: Mapped[bytes] = mapped_column("text", init=False)
    text: Sealed[str] = Sealed(str)
    """The exact text that was on the page; it names the area and the concern that are treated."""
    sha256: Mapped[Sha256]
    """SHA-256 of `text` in UTF-8."""
    button: Mapped[str] = mapped_column(sa.String(200))
    """The wording of the button that was pressed."""
    answers_hash: Mapped[Sha256]
    chain_head: Mapped[Sha256]
    """Hash of the last audit entry at the time of signing; it is printed on the patient's copy."""
    signed_at: Mapped[dt.datetime]
    declined: Mapped[bool] = mapped_column(default=False)
    """An optional document was declined."""
    signer_sealed: Mapped[bytes] = mapped_column("signer", init=False)
    signer: Sealed[dict[str, Any]] = Sealed(dict)
    """`name`, `ip`, `user_agent`, and `guardian` where one signed."""
    case: Mapped[Case] = relationship(init=False, lazy="raise")

    __table_args__ = (
        _to_case(),
        sa.Index("ix_intake_signature_case", "clinic_id", "case_id"),
        TABLE_OPTIONS,
    )


class Decision(Base, kw_only=True):
    """What a named clinician decided on a case under review."""

    __tablename__ = "intake_decision"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    case_id: Mapped[RowId]
    staff_id: Mapped[ProfileId]
    staff_name: Mapped[str] = mapped_column(sa.String(200))
    verdict: Mapped[Verdict] = mapped_column(State(Verdict))
    not_before: Mapped[dt.date | None] = mapped_column(default=None)
    home_numbing: Mapped[bool] = mapped_column(default=False)
    answers_hash: Mapped[Sha256]
    """The answers it was made on; it counts for no others."""
    note_sealed: Mapped[bytes] = mapped_column("note", init=False)
    note: Sealed[str] = Sealed(str)
    decided_at: Mapped[dt.datetime]
    case: Mapped[Case] = relationship(init=False, lazy="raise")

    __table_args__ = (
        _to_case(),
        sa.Index("ix_intake_decision_case", "clinic_id", "case_id"),
        TABLE_OPTIONS,
    )


class Series(Base, kw_only=True):
    """The booked course of a case."""

    __tablename__ = "intake_series"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    case_id: Mapped[RowId]
    course_id_sealed: Mapped[bytes] = mapped_column("course_id", init=False)
    course_id: Sealed[str] = Sealed(str)
    area_id_sealed: Mapped[bytes] = mapped_column("area_id", init=False)
    area_id: Sealed[str] = Sealed(str)
    product_id_sealed: Mapped[bytes | None] = mapped_column("product_id", init=False)
    product_id: Sealed[str | None] = Sealed(lambda: None)
    created_at: Mapped[dt.datetime]
    calendar_care: Mapped[CareEntries] = mapped_column(State(CareEntries), default=CareEntries.NEVER)
    calendar_details: Mapped[bool] = mapped_column(default=False)
    """The patient wants the treatment named in calendars."""
    case: Mapped[Case] = relationship(init=False, lazy="raise")

    __table_args__ = (_to_case(), sa.UniqueConstraint("clinic_id", "case_id"), TABLE_OPTIONS)


class Appointment(Base, kw_only=True):
    """One session of a series; `id` is its calendar UID.

    Instants are kept beside the local wall time and zone they were chosen in, so that a change of
    a zone's rules can be found and told.
    """

    __tablename__ = "intake_appointment"

    clinic_id: Mapped[ClinicId]
    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    series_id: Mapped[RowId]
    case_id: Mapped[RowId]
    ordinal: Mapped[int]
    """1 for the first session."""
    count: Mapped[int]
    state: Mapped[AppointmentState] = mapped_column(State(AppointmentState), default=AppointmentState.BOOKED)
    zone: Mapped[str] = mapped_column(sa.String(64))
    local_start: Mapped[str] = mapped_column(sa.String(32))
    """Local wall time of arrival, ISO 8601 without an offset."""
    arrive_at: Mapped[dt.datetime]
    treatment_at: Mapped[dt.datetime]
    end_at: Mapped[dt.datetime]
    cream_on_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    cream_off_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    numbing_entry: Mapped[bool] = mapped_column(default=False, init=False)
    """Whether calendars hold an entry "cream on": the cream is, or was before a move, put on at home."""
    cream_where: Mapped[str | None] = mapped_column(sa.String(16), default=None)
    product_id_sealed: Mapped[bytes | None] = mapped_column("product_id", init=False)
    product_id: Sealed[str | None] = Sealed(lambda: None)
    practitioner_id: Mapped[ProfileId | None] = mapped_column(default=None)
    room_id: Mapped[ProfileId | None] = mapped_column(default=None)
    sequence: Mapped[int] = mapped_column(default=0)
    """iCalendar's SEQUENCE: grows with every move and with a cancellation."""
    overlap_sealed: Mapped[bytes | None] = mapped_column("overlap", init=False)
    overlap: Sealed[dict[str, Any] | None] = Sealed(lambda: None)
    """`staff_id`, `staff_name` and `reason` where somebody put the session over what was taken."""
    version: Mapped[int] = mapped_column(init=False)
    created_at: Mapped[dt.datetime]
    modified_at: Mapped[dt.datetime]
    series: Mapped[Series] = relationship(init=False, lazy="raise")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 -- SQLAlchemy declares it without ClassVar
    __table_args__ = (
        sa.ForeignKeyConstraint(["clinic_id", "series_id"], ["intake_series.clinic_id", "intake_series.id"]),
        sa.Index("ix_intake_appointment_arrive", "clinic_id", "arrive_at"),
        # Everything by which a feed knows whether it has changed, so that it need not read the rows.
        sa.Index(
            "ix_intake_appointment_feed",
            "clinic_id",
            "end_at",
            "modified_at",
            "version",
            "practitioner_id",
            "room_id",
        ),
        sa.Index("ix_intake_appointment_case", "clinic_id", "case_id", "end_at"),
        sa.Index("ix_intake_appointment_series", "clinic_id", "series_id"),
        TABLE_OPTIONS,
    )

    @validates("cream_where")
    def _remember_entry(self, _key: str, where: str | None) -> str | None:
        if where == AT_HOME:
            self.numbing_entry = True
        return where


class Feed(Base, kw_only=True):
    """A calendar that others subscribe to by its address; of the secret in it only the SHA-256 is stored.

    It is one patient's, or the clinic's: whole, or of one practitioner or room.
    """

    __tablename__ = "intake_feed"

    clinic_id: Mapped[ClinicId]
    hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    case_id: Mapped[str | None] = mapped_column(sa.String(32), default=None)
    """Whose calendar it is; None for the clinic's."""
    resource_id: Mapped[ProfileId | None] = mapped_column(default=None)
    """The practitioner or room of a clinic's feed; None for the whole clinic."""
    locale: Mapped[str | None] = mapped_column(sa.String(16), default=None)
    """The language of a clinic's feed; a patient's follows the case."""
    label: Mapped[str] = mapped_column(sa.String(200), default="")
    """What staff wrote down about who reads it, to know it again."""
    staff_id: Mapped[ProfileId | None] = mapped_column(default=None)
    staff_name: Mapped[str | None] = mapped_column(sa.String(200), default=None)
    created_at: Mapped[dt.datetime]
    revoked_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    case: Mapped[Case | None] = relationship(init=False, lazy="raise")

    __table_args__ = (
        _to_case(),
        sa.Index("ix_intake_feed_case", "clinic_id", "case_id"),
        TABLE_OPTIONS,
    )


class Claim(Base, kw_only=True):
    """The database's own proof that one tick of one resource is taken.

    A second claim on the same tick violates the primary key; that is the whole guarantee against
    double booking. A claim with `expires_at` is a hold; `hold_id` is the case it is held for. A hold
    that has expired counts for nothing, and goes when somebody wants its place.
    """

    __tablename__ = "intake_claim"

    clinic_id: Mapped[ClinicId]
    resource_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    lane: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    """Which of the sessions that the resource can hold at once, from 0; one beyond them is an overlap."""
    tick: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    """Number of `TICK`s since the Unix epoch."""
    appointment_id: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    hold_id: Mapped[str | None] = mapped_column(sa.String(32), default=None)
    expires_at: Mapped[dt.datetime | None] = mapped_column(default=None)

    __table_args__ = (
        sa.Index("ix_intake_claim_appointment", "clinic_id", "appointment_id"),
        TABLE_OPTIONS,
    )


class Occupancy(Base, kw_only=True):
    """A stretch of time that a resource is taken, for reading; the claims are its proof.

    One row stands for the many ticks of its claims, so that offering times reads few rows.
    """

    __tablename__ = "intake_occupancy"

    clinic_id: Mapped[ClinicId]
    resource_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    lane: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    start_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    end_at: Mapped[dt.datetime]
    appointment_id: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    hold_id: Mapped[str | None] = mapped_column(sa.String(32), default=None)
    expires_at: Mapped[dt.datetime | None] = mapped_column(default=None)

    __table_args__ = (
        sa.Index("ix_intake_occupancy_start", "clinic_id", "start_at"),
        sa.Index("ix_intake_occupancy_appointment", "clinic_id", "appointment_id"),
        sa.Index("ix_intake_occupancy_hold", "clinic_id", "hold_id"),
        sa.Index("ix_intake_occupancy_expires", "clinic_id", "expires_at"),
        TABLE_OPTIONS,
    )


class Block(Base, kw_only=True):
    """Time that a member of staff took from a resource by hand; it takes every lane.

    It keeps times from being offered and claims nothing: sessions booked before stay booked.
    """

    __tablename__ = "intake_block"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    resource_id: Mapped[ProfileId]
    start_at: Mapped[dt.datetime]
    end_at: Mapped[dt.datetime]
    staff_id: Mapped[ProfileId]
    staff_name: Mapped[str] = mapped_column(sa.String(200))
    reason_sealed: Mapped[bytes] = mapped_column("reason", init=False)
    reason: Sealed[str] = Sealed(str)
    created_at: Mapped[dt.datetime]

    __table_args__ = (sa.Index("ix_intake_block_end", "clinic_id", "end_at"), TABLE_OPTIONS)


class BusyReading(Base, kw_only=True):
    """How the last reading of a calendar from outside went; one row for each `[[busy]]` of a profile.

    `lease` is the reading under way, if its time is not over: of several hosts one reads.
    """

    __tablename__ = "intake_busy_source"

    clinic_id: Mapped[ClinicId]
    source_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    fingerprint: Mapped[Sha256 | None] = mapped_column(default=None)
    """SHA-256 of the address and zone that the stored times were read from and in."""
    attempted_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    read_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    """When the last good reading began."""
    read_until: Mapped[dt.datetime | None] = mapped_column(default=None)
    """Up to when its times are stored."""
    error: Mapped[str] = mapped_column(LongText, default="")
    """Why the last reading was refused; empty after a good one."""
    etag: Mapped[str | None] = mapped_column(sa.String(512), default=None)
    last_modified: Mapped[str | None] = mapped_column(sa.String(128), default=None)
    sha256: Mapped[Sha256 | None] = mapped_column(default=None)
    """Of the octets that were read."""
    lease: Mapped[RowId | None] = mapped_column(default=None)
    leased_until: Mapped[dt.datetime | None] = mapped_column(default=None)

    __table_args__ = TABLE_OPTIONS


class BusyTime(Base, kw_only=True):
    """A stretch in which a calendar from outside says its resource is busy.

    Stretches of one calendar do not overlap, and none is longer than `LONGEST_BUSY`, so that a
    range query by start finds all that reach into its range.
    """

    __tablename__ = "intake_busy"

    clinic_id: Mapped[ClinicId]
    source_id: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    start_at: Mapped[dt.datetime] = mapped_column(primary_key=True)
    end_at: Mapped[dt.datetime]

    __table_args__ = (sa.Index("ix_intake_busy_start", "clinic_id", "start_at"), TABLE_OPTIONS)


class AuditEntry(Base, kw_only=True):
    """One act on one clinic's records, chained to the one before it; see `records.audit`."""

    __tablename__ = "intake_audit"

    clinic_id: Mapped[ClinicId]
    seq: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[dt.datetime]
    actor_kind: Mapped[str] = mapped_column(sa.String(16))
    actor_id: Mapped[ProfileId]
    action: Mapped[str] = mapped_column(sa.String(64))
    object_kind: Mapped[str] = mapped_column(sa.String(32))
    object_id: Mapped[ProfileId]
    payload_hash: Mapped[Sha256]
    prev_hash: Mapped[Sha256]
    hash: Mapped[Sha256]

    __table_args__ = (
        sa.Index("ix_intake_audit_object", "clinic_id", "object_id", "seq"),
        TABLE_OPTIONS,
    )


class AuditHead(Base, kw_only=True):
    """The end of a clinic's audit chain; its row lock gives entries their order."""

    __tablename__ = "intake_audit_head"

    clinic_id: Mapped[ClinicId]
    seq: Mapped[int] = mapped_column(sa.BigInteger)
    hash: Mapped[Sha256]

    __table_args__ = TABLE_OPTIONS
