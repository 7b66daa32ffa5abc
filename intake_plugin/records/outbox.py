"""What is still to be told by mail, and what was told: one row for each change and message.

A row says that something is to be told, and about what. The words and the calendar are written from
the records when it is sent, so that nothing about a patient stands here but, sealed and only until
the mail server has the message, where it goes and the secrets in it.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from intake_plugin.records.base import TABLE_OPTIONS, Base, State, new_id
from intake_plugin.records.sealed import Sealed
from intake_plugin.records.tables import ClinicId, RowId


class MailKind(StrEnum):
    """What a message tells, and so how it is written."""

    BOOKED = "booked"
    """A series, with its calendar file."""
    MOVED = "moved"
    """Sessions have new times, with the calendar file."""
    CANCELLED = "cancelled"
    """A session was cancelled, with the calendar file in which it is marked so."""
    REQUEST = "request"
    """The invitation to one session, first or changed."""
    CANCEL = "cancel"
    """The cancellation of an invitation."""
    REMINDER = "reminder"
    DECIDED = "decided"
    """A clinician looked at the answers; what came of it stands behind the patient's link."""
    NOTICE = "notice"
    """To the clinic: a case waits for a clinician."""


class MailState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    """The mail server has taken it over."""
    UNDELIVERABLE = "undeliverable"
    """Refused for good, or given up."""
    TOLD = "told"
    """Undeliverable, and staff have told the patient in another way."""
    NEEDLESS = "needless"
    """By the time it could be sent there was nothing left to tell."""


class Outgoing(Base, kw_only=True):
    """A message to be sent, or one that was."""

    __tablename__ = "intake_outbox"

    clinic_id: Mapped[ClinicId]
    id: Mapped[RowId] = mapped_column(primary_key=True, default_factory=new_id)
    key: Mapped[str] = mapped_column(sa.String(128))
    """The change it tells of and in which way; a second row for the same cannot be stored."""
    kind: Mapped[MailKind] = mapped_column(State(MailKind))
    case_id: Mapped[RowId]
    appointment_id: Mapped[str | None] = mapped_column(sa.String(36), default=None)
    """The session it is about, where it is about one."""
    sequence: Mapped[int | None] = mapped_column(default=None)
    """The session's SEQUENCE after the change."""
    state: Mapped[MailState] = mapped_column(State(MailState), default=MailState.WAITING)
    due_at: Mapped[dt.datetime]
    """When it is to be told."""
    next_at: Mapped[dt.datetime]
    """When it may be tried next; while somebody sends it, when they will have given up."""
    attempts: Mapped[int] = mapped_column(default=0)
    tried_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    """When it was tried first; how long it is tried counts from then."""
    lease: Mapped[str | None] = mapped_column(sa.String(32), default=None)
    """Who is sending it."""
    message_id: Mapped[str | None] = mapped_column(sa.String(320), default=None)
    """Random, and the domain of the clinic's mailbox; the same at every attempt."""
    content_sealed: Mapped[bytes | None] = mapped_column("content", init=False)
    content: Sealed[dict[str, Any] | None] = Sealed(lambda: None)
    """`to`, and the secrets `link` and `feed` in the text; from the first attempt until it was sent."""
    error: Mapped[str] = mapped_column(sa.String(64), default="")
    """What went wrong last: a code of the mail server's or the name of an error, never its words."""
    ended_at: Mapped[dt.datetime | None] = mapped_column(default=None)
    """When it was sent, given up or found needless."""

    __table_args__ = (
        sa.ForeignKeyConstraint(["clinic_id", "case_id"], ["intake_case.clinic_id", "intake_case.id"]),
        sa.UniqueConstraint("clinic_id", "key"),
        sa.Index("ix_intake_outbox_next", "clinic_id", "state", "next_at"),
        sa.Index("ix_intake_outbox_case", "clinic_id", "case_id"),
        sa.Index("ix_intake_outbox_ended", "clinic_id", "ended_at"),
        TABLE_OPTIONS,
    )
