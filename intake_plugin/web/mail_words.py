"""The words of messages in the language of the block that speaks it.

A subject shows on lock screens and in lists: no clinic, no treatment, no name stands in one. A text
says when to arrive and from when to prepare; what is done, and what is prepared, stands behind the link.
"""

from __future__ import annotations

from collections.abc import Iterator

from intake_plugin.journeys.writing import Occasion, Session
from intake_plugin.letters import Wording
from intake_plugin.records.outbox import MailKind
from intake_plugin.web.i18n import _, format_day, format_time, ngettext


def wording(occasion: Occasion) -> Wording:
    """Return the subject and the text of a message, in the language being spoken."""
    paragraphs = [*_opening(occasion), *_links(occasion), *_calendar(occasion), _signature(occasion)]
    return Wording(subject=_subject(occasion), text="\n\n".join(paragraphs) + "\n")


def kind_words(kind: MailKind, ordinal: int | None) -> str:
    """Return what the desk calls a message."""
    names = {
        MailKind.BOOKED: _("The booked sessions"),
        MailKind.MOVED: _("New times"),
        MailKind.CANCELLED: _("A cancellation"),
        MailKind.REQUEST: _("An invitation"),
        MailKind.CANCEL: _("A cancellation"),
        MailKind.REMINDER: _("A reminder"),
        MailKind.DECIDED: _("That there is a decision"),
        MailKind.NOTICE: _("To the clinic: a case to decide"),
    }
    if ordinal is None:
        return names[kind]
    return _("%(what)s, session %(number)s", what=names[kind], number=ordinal)


def _subject(occasion: Occasion) -> str:
    match occasion.kind:
        case MailKind.BOOKED:
            return ngettext("Your appointment", "Your appointments", len(occasion.sessions))
        case MailKind.MOVED:
            return _("Your appointments have changed")
        case MailKind.CANCELLED:
            return _("An appointment has been cancelled")
        case MailKind.REQUEST:
            return _("Appointment on %(day)s", day=_day(occasion))
        case MailKind.CANCEL:
            return _("Cancelled: appointment on %(day)s", day=_day(occasion))
        case MailKind.REMINDER:
            return _("Reminder: appointment on %(day)s", day=_day(occasion))
        case MailKind.DECIDED:
            return _("An answer to your request")
        case MailKind.NOTICE:
            return _("Somebody waits for an answer")


def _day(occasion: Occasion) -> str:
    return format_day(occasion.sessions[0].arrive.date())


def _opening(occasion: Occasion) -> Iterator[str]:
    yield _news(occasion)
    if occasion.sessions:
        yield "\n".join(_line(session) for session in occasion.sessions)


def _news(occasion: Occasion) -> str:
    match occasion.kind:
        case MailKind.BOOKED:
            return ngettext(
                "Your appointment is booked.", "Your appointments are booked.", len(occasion.sessions)
            )
        case MailKind.MOVED:
            return _("Your appointments have changed. This is how they stand now.")
        case MailKind.CANCELLED:
            return _("An appointment has been cancelled. This is how your appointments stand now.")
        case MailKind.REQUEST:
            return (
                _("Your appointment has a new time.") if occasion.changed else _("This is your appointment.")
            )
        case MailKind.CANCEL:
            return _("This appointment has been cancelled.")
        case MailKind.REMINDER:
            return _("This is a reminder of your appointment.")
        case MailKind.DECIDED:
            return _("The clinic has looked at your answers. Open your link.")
        case MailKind.NOTICE:
            return _("Case %(reference)s waits for a clinician.", reference=occasion.reference)


def _line(session: Session) -> str:
    day, time = format_day(session.arrive.date()), format_time(session.arrive)
    if session.cancelled:
        text = _("%(day)s at %(time)s: cancelled", day=day, time=time)
    elif session.prepare is None:
        text = _("%(day)s: arrive at %(time)s", day=day, time=time)
    elif session.prepare.date() == session.arrive.date():
        text = _(
            "%(day)s: start to prepare at %(prepare)s, arrive at %(time)s",
            day=day,
            prepare=format_time(session.prepare),
            time=time,
        )
    else:
        text = _(
            "%(day)s: arrive at %(time)s; start to prepare on %(before)s at %(prepare)s",
            day=day,
            time=time,
            before=format_day(session.prepare.date()),
            prepare=format_time(session.prepare),
        )
    return f"{session.ordinal}/{session.count}  {text}" if session.count > 1 else text


def _links(occasion: Occasion) -> Iterator[str]:
    if occasion.kind == MailKind.NOTICE:
        if occasion.link:
            yield occasion.link
        return
    if occasion.kind == MailKind.DECIDED:
        yield _("It opens with your date of birth:\n%(link)s", link=occasion.link)
    else:
        yield _(
            "How to prepare, and where you can move or cancel an appointment: your private link. It opens "
            "with your date of birth.\n%(link)s",
            link=occasion.link,
        )


def _calendar(occasion: Occasion) -> Iterator[str]:
    if occasion.attached and occasion.kind == MailKind.BOOKED:
        yield _(
            "The file with this message puts them into your calendar. Later changes do not reach what was "
            "put in from a file."
        )
    elif occasion.attached:
        yield _(
            "If your calendar does not follow by itself, delete the old entries and open the file with this "
            "message."
        )
    if occasion.subscribe:
        yield _(
            "To let changes follow by themselves, subscribe to this address in your calendar program. "
            "Whoever has it sees your appointments, so keep it to yourself.\n%(address)s\nOn an iPhone, iPad "
            "or Mac, open this one:\n%(webcal)s",
            address=occasion.subscribe,
            webcal=occasion.subscribe.replace("https:", "webcal:", 1),
        )
    elif occasion.kind in {MailKind.MOVED, MailKind.CANCELLED}:
        yield _("To let changes follow by themselves, open your private link and choose to subscribe.")


def _signature(occasion: Occasion) -> str:
    clinic, contact = occasion.clinic, occasion.clinic.contact
    if occasion.kind == MailKind.NOTICE:
        return clinic.name
    lines = [clinic.name, contact.address, _("Telephone: %(telephone)s", telephone=contact.telephone)]
    if occasion.sessions:
        lines.append(_("All times are local times of this address."))
    return "\n".join(lines)
