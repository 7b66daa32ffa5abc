"""From appointments to iCalendar octets. Pure."""

from intake_plugin.calendars.cache import EventCache
from intake_plugin.calendars.events import Message, Party
from intake_plugin.calendars.files import (
    CONTENT_TYPE,
    FILENAME,
    clinic_import,
    mail_cancel,
    mail_invite,
    mail_series,
    patient_series,
    patient_session,
)
from intake_plugin.calendars.visits import CareNote, Place, Reminders, Style, Visit, Words

__all__ = [
    "CONTENT_TYPE",
    "FILENAME",
    "CareNote",
    "EventCache",
    "Message",
    "Party",
    "Place",
    "Reminders",
    "Style",
    "Visit",
    "Words",
    "clinic_import",
    "mail_cancel",
    "mail_invite",
    "mail_series",
    "patient_series",
    "patient_session",
]
