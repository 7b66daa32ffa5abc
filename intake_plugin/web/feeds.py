"""Calendars to subscribe to: what calendar programs read, and the pages that make and stop them.

The feed itself is for programs. It asks for no sign-in, sets no cookie, redirects nowhere and looks
at no header but those of conditional requests and compression: Google sends next to none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask import Response, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.http import http_date, quote_etag
from wtforms.fields import SelectChoice

from intake_plugin.calendars import CONTENT_TYPE
from intake_plugin.calendars.links import Occasion, google_event, microsoft_event, subscribe
from intake_plugin.journeys import feeds
from intake_plugin.journeys.feeds import Choices, FoundFeed, OpenFeed
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.visits import style_of
from intake_plugin.records.tables import Appointment
from intake_plugin.state import current_mount, current_staff, current_state
from intake_plugin.web import forms
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.forms import AnswersForm, OneChoice, Text, Wording
from intake_plugin.web.i18n import _, speaking
from intake_plugin.web.intake_pages import MISTAKEN
from intake_plugin.web.render import show
from intake_plugin.web.visit import Visit, current_office

WHOLE_CLINIC = "clinic"
_RESOURCE = "resource:"
"""Before a resource's id in the choices, so that none can be taken for the whole clinic."""
_LABEL_LENGTH = 100
_GZIP = 16 + zlib.MAX_WBITS
_FAST = 1
"""Events are alike, so that the fastest level already leaves little."""


# What calendar programs read --------------------------------------------------------------------


def feed(token: str) -> Response:
    """Hand out the calendar behind an address, or say that nothing has changed."""
    office = current_office()
    found = feeds.find(office, token)
    if found is None:
        return Response("There is no such calendar.\n", 404, content_type="text/plain; charset=utf-8")
    with speaking(found.locale):
        opened = feeds.open_feed(
            office, found, calendar_words(), name=_name(office, found), link=_link(found)
        )
    tag = opened.etag
    response = _answer(opened, tag)
    response.headers["ETag"] = quote_etag(tag, weak=True)
    response.headers["Last-Modified"] = http_date(found.modified)
    response.headers["Vary"] = "Accept-Encoding"
    age = round(office.clinic.calendar.max_age.total_seconds())
    response.headers["Cache-Control"] = f"private, max-age={age}"
    return response


def _answer(opened: OpenFeed, tag: str) -> Response:
    # A time says less than the tag: two changes may fall into one second, and words may change
    # without any appointment. So If-Modified-Since alone is answered in full.
    if request.if_none_match.contains_weak(tag):
        return Response(status=304)
    zipped = request.accept_encodings.quality("gzip") > 0
    octets: Iterable[bytes] = iter(())
    if request.method != "HEAD":
        pieces = opened.octets(current_app.app_context)
        octets = _zipped(pieces) if zipped else pieces
    response = Response(octets, content_type=CONTENT_TYPE)
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    return response


def _zipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(_FAST, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _name(office: Office, found: FoundFeed) -> str:
    """Return what the calendar is called in a list of calendars, which others may see too."""
    if found.audience == "patient":
        return office.clinic.marketing_name or _("Appointments")
    names = {resource.id: resource.name for resource in office.clinic.resources}
    parts = [office.clinic.name, names.get(found.resource_id or "", found.resource_id or "")]
    return ": ".join(part for part in parts if part)


def _link(found: FoundFeed) -> str:
    mount = current_mount()
    if found.audience == "patient":
        return url_for(f"{mount}.manage", _external=True)
    if current_state().staff is None:
        return ""
    record = url_for(f"{mount}.staff.case_page", reference="-", _external=True)
    return record.removesuffix("-")


# The patient's calendar ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventLinks:
    """One session to be put into a calendar service, where nothing will ever change it."""

    appointment: Appointment
    google: str
    outlook: str
    microsoft365: str


def calendar(visit: Visit) -> ResponseReturnValue:
    """Offer a feed first, files second, single events last; and ask what entries may say."""
    return _calendar_page(visit)


def _calendar_page(visit: Visit, form: AnswersForm | None = None) -> ResponseReturnValue:
    shown = feeds.calendar_of(visit.office, visit.own)
    if form is None:
        ticked = tuple(name for name in ("care", "details") if getattr(shown.choices, name))
        form = forms.make_form(_choice_controls(), given={"shown": ticked})
    html = show(
        visit,
        "calendar.html",
        page="calendar",
        heading=_("Your sessions in your calendar"),
        back=visit.url("done"),
        mistakes=form.mistakes,
        form=form,
        feeds=shown.feeds,
        sessions=[_event_links(visit, each) for each in shown.sessions],
    )
    return html, MISTAKEN if form.mistakes else 200


def _choice_controls() -> dict[str, object]:
    wording = Wording(
        label=_("What else should your calendar show?"),
        subject=_("Your answer"),
        missing=_("Select from the list"),
        hint=_("Others may see your calendar: on a lock screen, in a car, at work."),
    )
    options = [
        SelectChoice(
            value="care", label=_("What to do before and after each session, as entries of its own")
        ),
        SelectChoice(
            value="details",
            label=_("Details: which session it is in the title, the treatment’s name in the text"),
        ),
    ]
    return {"shown": forms.SeveralChoices(wording, options=options, exclusive=(), required=False)}


def _event_links(visit: Visit, appointment: Appointment) -> EventLinks:
    style = style_of(visit.office, calendar_words())
    occasion = Occasion(
        title=style.title,
        start=appointment.arrive_at,
        end=appointment.end_at,
        zone=appointment.zone,
        location=style.location.replace("\n", ", "),
    )
    return EventLinks(
        appointment,
        google=google_event(occasion),
        outlook=microsoft_event(occasion, "outlook"),
        microsoft365=microsoft_event(occasion, "microsoft365"),
    )


def calendar_choices(visit: Visit) -> ResponseReturnValue:
    """Keep what the patient wants to see in their calendar."""
    form = forms.make_form(_choice_controls(), request.form)
    if not form.validate():
        return _calendar_page(visit, form)
    shown = form.answers["shown"]
    chosen = shown if isinstance(shown, tuple) else ()
    feeds.choose(visit.office, visit.own, Choices(care="care" in chosen, details="details" in chosen))
    return redirect(visit.url("calendar"), 303)


def feed_made(visit: Visit) -> ResponseReturnValue:
    """Make a feed and show its address, this once."""
    raw = feeds.make_patient_feed(visit.office, visit.own)
    name = visit.clinic.marketing_name or _("Appointments")
    return _link_page(visit, raw, name, back=visit.url("calendar"))


def feed_stopped(visit: Visit) -> ResponseReturnValue:
    """Stop every feed of the case."""
    feeds.stop_patient_feeds(visit.office, visit.own)
    return redirect(visit.url("calendar"), 303)


def _link_page(visit: Visit, raw: str, name: str, *, back: str, page: str = "link") -> str:
    address = visit.url("feed", token=raw, _external=True)
    return show(
        visit,
        "feed.html",
        page=page,
        heading=_("Your calendar link"),
        back=back,
        address=address,
        # RFC 7986 section 8: a calendar that is not public is published over https only.
        services=subscribe(address, name) if urlsplit(address).scheme == "https" else None,
    )


# The clinic's calendars ---------------------------------------------------------------------------


def clinic_feeds(visit: Visit) -> ResponseReturnValue:
    """List the clinic's feeds; a post makes one and shows its address, this once."""
    posted = request.form if request.method == "POST" else None
    form = forms.make_form(
        _feed_controls(visit), posted, given={"resource": WHOLE_CLINIC} if posted is None else None
    )
    if posted is not None and form.validate():
        resource_id = str(form.answers["resource"]).removeprefix(_RESOURCE)
        raw = feeds.make_clinic_feed(
            visit.office,
            current_staff(),
            locale=visit.locale,
            label=str(form.answers["label"]),
            resource_id=None if resource_id == WHOLE_CLINIC else resource_id,
        )
        return _link_page(visit, raw, visit.clinic.name, back=visit.url("staff.feeds"), page="staff")
    html = show(
        visit,
        "staff_feeds.html",
        page="staff",
        heading=_("Calendars to subscribe to"),
        back=visit.url("staff.queue"),
        mistakes=form.mistakes,
        form=form,
        feeds=feeds.clinic_feeds(visit.office),
        may_write=current_staff().role == "decide",
        resources={resource.id: resource.name for resource in visit.clinic.resources},
        staff=current_staff(),
    )
    return html, MISTAKEN if form.mistakes else 200


def _feed_controls(visit: Visit) -> dict[str, object]:
    resource = Wording(
        label=_("Whose appointments?"),
        subject=_("Whose appointments"),
        missing=_("Select whose appointments"),
    )
    label = Wording(
        label=_("Who will read it, and where?"),
        subject=_("Who will read it"),
        missing=_("Enter who will read it, so that you know later which one to stop"),
        hint=_("For example, “Jo, telephone” or “Reception, Outlook”."),
    )
    options = [
        SelectChoice(value=WHOLE_CLINIC, label=_("The whole clinic")),
        *(SelectChoice(value=f"{_RESOURCE}{each.id}", label=each.name) for each in visit.clinic.resources),
    ]
    return {"resource": OneChoice(resource, options=options), "label": Text(label, max_length=_LABEL_LENGTH)}


def clinic_feed_stopped(visit: Visit, feed_hash: str) -> ResponseReturnValue:
    """Stop one of the clinic's feeds."""
    feeds.stop_clinic_feed(visit.office, current_staff(), feed_hash)
    return redirect(visit.url("staff.feeds"), 303)
