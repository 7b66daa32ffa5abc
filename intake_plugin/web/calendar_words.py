"""The words of calendar files in the page's language; `{marks}` are filled in by the calendar room."""

from __future__ import annotations

from intake_plugin.calendars.visits import Words
from intake_plugin.web.i18n import _


def calendar_words() -> Words:
    """Return the words in the language of the page being served."""
    return Words(
        appointment=_("Appointment"),
        appointment_at=_("Appointment: {name}"),
        appointment_details=_("{title}, {ordinal} of {count}"),
        appointment_case=_("Appointment: case {case}"),
        cancelled=_("Cancelled: {title}"),
        cancelled_note=_("This appointment has been cancelled."),
        withdrawn_note=_("You no longer need this entry. Your appointment stands."),
        prepare=_("Prepare for your appointment"),
        after=_("After your appointment"),
        arrive=_("Arrive at {time}."),
        cream_on_home=_("Put the numbing cream on at {time}."),
        cream_on_clinic=_("The clinic puts the numbing cream on at {time}."),
        cream_off=_("The numbing cream comes off at {time}."),
        treatment_start=_("The treatment starts at {time}."),
        telephone=_("To change or cancel, call {telephone}."),
        link=_("Details: {url}"),
        case=_("Case {case}"),
        session=_("Session {ordinal} of {count}"),
        resources=_("With: {resources}"),
        product=_("Numbing product: {product}"),
        clock=_("{hour:02}:{minute:02}"),
        am=_("am"),
        pm=_("pm"),
    )
