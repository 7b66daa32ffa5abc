from __future__ import annotations

import datetime as dt
from urllib.parse import parse_qs, urlsplit

import pytest

from intake_plugin.calendars.links import Occasion, google_event, microsoft_event, subscribe, webcal

FEED = "https://clinic.example/north/cal/f/abc-_1.ics"
OCCASION = Occasion(
    title="Appointment & more",
    start=dt.datetime(2026, 10, 1, 9, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    end=dt.datetime(2026, 10, 1, 9, 45, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    zone="Europe/Berlin",
    location="1 Mill Lane, Leeds",
)


def query(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query, strict_parsing=True)


def test_webcal_changes_the_scheme_only() -> None:
    assert webcal(FEED) == "webcal://clinic.example/north/cal/f/abc-_1.ics"


@pytest.mark.parametrize("url", ["http://clinic.example/f.ics", "/cal/f/abc.ics", "javascript:alert(1)"])
def test_a_feed_needs_https(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        subscribe(url, "Clinic")


def test_subscription_links() -> None:
    links = subscribe(FEED, "Appointments & more")
    assert links["webcal"] == webcal(FEED)
    assert links["google"] == (
        "https://calendar.google.com/calendar/u/0/r?cid=webcal%3A%2F%2Fclinic.example%2Fnorth%2Fcal%2Ff%2Fabc-_1.ics"
    )
    for link, host in ((links["outlook"], "outlook.live.com"), (links["microsoft365"], "outlook.office.com")):
        assert link.startswith(f"https://{host}/calendar/0/addfromweb/?url=https%3A%2F%2F")
        assert query(link) == {"url": [FEED], "name": ["Appointments & more"]}
        assert "name=Appointments%20%26%20more" in link


def test_google_event() -> None:
    link = google_event(OCCASION)
    assert link.startswith(
        "https://calendar.google.com/calendar/render?action=TEMPLATE&text=Appointment%20%26%20more&"
    )
    assert query(link) == {
        "action": ["TEMPLATE"],
        "text": ["Appointment & more"],
        "dates": ["20261001T070000Z/20261001T074500Z"],
        "ctz": ["Europe/Berlin"],
        "location": ["1 Mill Lane, Leeds"],
    }


def test_microsoft_event() -> None:
    link = microsoft_event(OCCASION, "microsoft365")
    assert link.startswith("https://outlook.office.com/calendar/0/action/compose?rru=addevent&")
    assert query(link)["startdt"] == ["2026-10-01T07:00:00Z"]
    assert query(link)["enddt"] == ["2026-10-01T07:45:00Z"]
    assert "body" not in query(link)
