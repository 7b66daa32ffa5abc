"""A four-session series against icalendar building and serialising the same with its own VTIMEZONE."""

from __future__ import annotations

import datetime as dt
import gc
import time
import uuid
import warnings
from collections.abc import Callable
from typing import Any

import icalendar
import ics
import vobject
from dateutil.tz import gettz

from intake_plugin.calendars import EventCache, Place, Reminders, Style, Visit, Words, patient_series
from intake_plugin.calendars import cache as caching
from intake_plugin.calendars import vtimezone as zones

NOW = dt.datetime(2026, 9, 2, tzinfo=dt.UTC)
KEEP = dt.timedelta(days=30)
MUCH = 1_000_000
"""Octets for more events than a series has."""

STYLE = Style(
    words=Words(
        appointment="Appointment",
        appointment_at="Appointment at {name}",
        appointment_details="{title}, {ordinal} of {count}",
        appointment_case="Appointment {case}",
        cancelled="Cancelled: {title}",
        cancelled_note="This appointment was cancelled.",
        withdrawn_note="You no longer need this entry. Your appointment stands.",
        prepare="Prepare for your appointment",
        after="After your appointment",
        arrive="Please arrive at {time}.",
        cream_on_home="Put the cream on at {time}.",
        cream_on_clinic="At the clinic the cream goes on at {time}.",
        cream_off="The cream comes off at {time}.",
        treatment_start="The treatment starts at {time}.",
        telephone="Questions? Call {telephone}.",
        link="Change or cancel: {url}",
        case="Case {case}",
        session="Session {ordinal} of {count}",
        resources="With {resources}",
        product="Cream: {product}",
        clock="{hour:02}:{minute:02}",
    ),
    place=Place(name="North Clinic", address="1 Mill Lane, Leeds", telephone="0113 496 0000"),
    reminders=Reminders(
        prepare=dt.timedelta(minutes=60), ahead=dt.timedelta(days=1), entry=dt.timedelta(minutes=15)
    ),
)


def series() -> list[Visit]:
    """Return four sessions as they come from the database: new objects each time."""
    first = dt.datetime(2026, 10, 1, 7, tzinfo=dt.UTC)
    uids = [str(uuid.UUID(int=number, version=4)) for number in range(1, 5)]
    starts = [first + dt.timedelta(weeks=4 * number) for number in range(4)]
    return [
        Visit(
            uid=uid,
            arrive=start,
            end=start + dt.timedelta(minutes=105),
            treatment_start=start + dt.timedelta(minutes=60),
            zone="Europe/Berlin",
            ordinal=ordinal,
            count=4,
            sequence=0,
            cancelled=False,
            modified=NOW,
            cream_on=start - dt.timedelta(minutes=10),
            cream_off=start + dt.timedelta(minutes=50),
            cream_at="home",
            product="Lidocaine 4 %",
            resources=("Dr Ames", "Room 2"),
            series_uid=uids[0],
            version=1,
            url="https://clinic.example/north/book/manage",
            preparation=("Come with a clean face, without make-up.",),
        )
        for ordinal, (uid, start) in enumerate(zip(uids, starts, strict=True), start=1)
    ]


def ours(visits: list[Visit], cache: EventCache) -> bytes:
    return patient_series(visits, STYLE, now=NOW, keep_cancelled=KEEP, cache=cache)


def theirs(facts: list[dict[str, Any]]) -> bytes:
    """Build and serialise the same events with icalendar, with the VTIMEZONE it makes itself."""
    calendar = icalendar.Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", "-//intake_plugin//Appointments 1//EN")
    calendar.add("calscale", "GREGORIAN")
    for fact in facts:
        event = icalendar.Event()
        for name, value in fact.items():
            if name != "alarms":
                event.add(name, value)
        for trigger in fact["alarms"]:
            alarm = icalendar.Alarm()
            alarm.add("action", "DISPLAY")
            alarm.add("description", STYLE.words.prepare)
            alarm.add("trigger", trigger)
            event.add_component(alarm)
        calendar.add_component(event)
    calendar.add_missing_timezones()
    octets: bytes = calendar.to_ical()
    return octets


def by_ics(facts: list[dict[str, Any]]) -> bytes:
    """Build and serialise the same with ics.py, which folds nothing and writes UTC only."""
    calendar = ics.Calendar(creator="-//intake_plugin//Appointments 1//EN")
    for fact in facts:
        event = ics.Event(
            uid=fact["uid"],
            name=fact["summary"],
            begin=fact["dtstart"],
            end=fact["dtend"],
            description=fact["description"],
            location=fact.get("location"),
            url=fact["url"],
            status=fact["status"],
            transparent=fact["transp"] == "TRANSPARENT",
            last_modified=fact["last-modified"],
            classification=fact["class"],
        )
        event.alarms = [
            ics.DisplayAlarm(trigger, display_text=STYLE.words.prepare) for trigger in fact["alarms"]
        ]
        calendar.events.add(event)
    with warnings.catch_warnings():
        # It calls its own deprecated way of writing a component.
        warnings.simplefilter("ignore", FutureWarning)
        return str(calendar.serialize()).encode()


def by_vobject(facts: list[dict[str, Any]]) -> bytes:
    """Build and serialise the same with vobject, which writes a VTIMEZONE of its own."""
    calendar = vobject.iCalendar()
    for fact in facts:
        event = calendar.add("vevent")
        for name, value in fact.items():
            if name in {"dtstart", "dtend"}:
                # It knows dateutil's zones only.
                event.add(name).value = value.replace(tzinfo=gettz(value.tzinfo.key))
            elif isinstance(value, str | int):
                event.add(name).value = str(value)
        for trigger in fact["alarms"]:
            alarm = event.add("valarm")
            alarm.add("action").value = "DISPLAY"
            alarm.add("description").value = STYLE.words.prepare
            alarm.add("trigger").value = trigger
    return str(calendar.serialize()).encode()


def facts_of(octets: bytes) -> list[dict[str, Any]]:
    """Return what each event of a calendar says, as plain values for icalendar's `add`."""
    calendar: Any = icalendar.Calendar.from_ical(octets.decode())
    return [
        {name.lower(): getattr(value, "dt", value) for name, value in event.items()}
        | {"alarms": [part["TRIGGER"].dt for part in event.subcomponents]}
        for event in calendar.events
    ]


def forget() -> None:
    for cached in (zones.vtimezone, zones.holds, zones._read, caching.fingerprint):  # noqa: SLF001 - cold means cold
        cached.cache_clear()


def best(run: Callable[[], object], repeat: int, before: Callable[[], object] | None = None) -> float:
    """Return the least time of `run` in seconds, `before` not counted."""
    times = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(repeat):
            if before:
                before()
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
    finally:
        if collecting:
            gc.enable()
    return min(times)


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, our time over icalendar's, the most it may be), measured in this run."""
    cache = EventCache(octets=MUCH)
    facts = facts_of(ours(series(), cache))
    assert [fact["uid"] for fact in facts_of(theirs(facts))] == [fact["uid"] for fact in facts]
    base = best(lambda: theirs(facts), 30)
    cold = best(lambda: ours(series(), EventCache(octets=MUCH)), 30, before=forget)
    ours(series(), cache)
    visits: list[Visit] = []

    def fetch() -> None:
        visits[:] = series()

    warm = best(lambda: ours(visits, cache), 300, before=fetch)
    others = {"ics.py": by_ics, "vobject": by_vobject}
    for build in others.values():
        assert build(facts).count(b"BEGIN:VEVENT") == len(facts)
    return [
        ("patient series of four over icalendar, cold", cold / base, 1 / 4),
        ("patient series of four over icalendar, warm", warm / base, 1 / 100),
        *(
            (f"patient series of four over {name}, warm", warm / best(lambda: build(facts), 30), 1)  # noqa: B023 - called at once
            for name, build in others.items()
        ),
    ]


if __name__ == "__main__":
    for name, value, limit in ratios():
        print(f"{name}: 1/{1 / value:.0f} (limit 1/{1 / limit:.0f})")
