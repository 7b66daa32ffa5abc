"""What each output may carry: one row per kind of file, feed and message.

The builders in `events` and `files` ask the row and never the kind, so that a new kind of output is
a new row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The properties in which outputs differ; everything else is the same in all of them."""

    audience: Literal["patient", "clinic"]
    method: Literal["REQUEST", "CANCEL"] | None = None
    """Only mail has one: in a file it makes Outlook ask for an answer. It brings the parties along."""
    private: bool = True
    """CLASS:PRIVATE. A subscribed event that carries it shows as "Busy" in Google Calendar."""
    alarms: bool = True
    entries: bool = True
    """Whether numbing and care notes stand beside the session as entries of their own."""
    named: bool = False
    """A calendar name and refresh interval. In a file they make Outlook open a new calendar."""
    tombstones: bool = True
    """Whether cancelled sessions stay for a while, marked as cancelled."""


PATIENT_SERIES = Output(audience="patient")
PATIENT_SESSION = Output(audience="patient")
CLINIC_IMPORT = Output(audience="clinic", alarms=False, entries=False)
PATIENT_FEED = Output(audience="patient", private=False, named=True)
CLINIC_FEED = Output(audience="clinic", private=False, named=True, alarms=False, entries=False)
MAIL_SERIES = Output(audience="patient", tombstones=False)
"""The file attached to an informational mail."""
MAIL_INVITE = Output(audience="patient", method="REQUEST", entries=False, tombstones=False)
"""RFC 5546 section 3.2.2: one UID to a message, so nothing stands beside the session."""
MAIL_CANCEL = Output(audience="patient", method="CANCEL", alarms=False, entries=False)
"""RFC 5546 section 3.2.5: no alarms in a cancellation."""
