"""Links that hand a calendar, or one event, to a calendar service.

A subscription is the only way by which changes reach a patient's calendar by themselves. The
single-event links carry no UID and can never be updated, and their words pass through a third
party's logs: offer them second, with neutral words. All of the services' forms are unofficial.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from intake_plugin.calendars import octets

Service = Literal["webcal", "google", "outlook", "microsoft365"]

_MICROSOFT = {"outlook": "https://outlook.live.com", "microsoft365": "https://outlook.office.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One event as a link can tell it; the moments are aware."""

    title: str
    start: dt.datetime
    end: dt.datetime
    zone: str = ""
    details: str = ""
    location: str = ""


def webcal(url: str) -> str:
    """Return the https address of a feed as webcal, which iOS and macOS offer to subscribe to.

    Raises ValueError unless the address is https: RFC 7986 section 8 asks publishers for it.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise ValueError(f"A feed needs an https address, not {parts.scheme or 'a relative one'}.")
    return urlunsplit(parts._replace(scheme="webcal"))


def subscribe(url: str, name: str) -> dict[Service, str]:
    """Return for each service the link that subscribes to the feed at `url` (https) under `name`."""
    feed = webcal(url)
    microsoft = _query({"url": url, "name": name})
    return {
        "webcal": feed,
        "google": f"https://calendar.google.com/calendar/u/0/r?{_query({'cid': feed})}",
        "outlook": f"{_MICROSOFT['outlook']}/calendar/0/addfromweb/?{microsoft}",
        "microsoft365": f"{_MICROSOFT['microsoft365']}/calendar/0/addfromweb/?{microsoft}",
    }


def google_event(occasion: Occasion) -> str:
    """Return the link that opens Google Calendar with the event filled in."""
    fields = {
        "action": "TEMPLATE",
        "text": occasion.title,
        "dates": f"{octets.utc(occasion.start)}/{octets.utc(occasion.end)}",
        "ctz": occasion.zone,
        "details": occasion.details,
        "location": occasion.location,
    }
    return f"https://calendar.google.com/calendar/render?{_query(fields)}"


def microsoft_event(occasion: Occasion, service: Literal["outlook", "microsoft365"]) -> str:
    """Return the link that opens Outlook on the web with the event filled in."""
    fields = {
        "rru": "addevent",
        "startdt": _iso(occasion.start),
        "enddt": _iso(occasion.end),
        "subject": occasion.title,
        "body": occasion.details,
        "location": occasion.location,
    }
    return f"{_MICROSOFT[service]}/calendar/0/action/compose?{_query(fields)}"


def _iso(moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _query(fields: dict[str, str]) -> str:
    filled = {name: value for name, value in fields.items() if value}
    return urlencode(filled, quote_via=quote, safe="", errors="replace")
