"""The octets of a feed, read in two steps."""

from __future__ import annotations

import datetime as dt
import gc
import hashlib
import importlib.resources
import tracemalloc
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import icalendar
import pytest

from intake_plugin.calendars import EventCache, Style, Visit
from intake_plugin.calendars import feeds as room
from intake_plugin.calendars.feeds import Recipe, Stamp, etag, stream
from intake_plugin.calendars.outputs import CLINIC_FEED, PATIENT_FEED
from intake_plugin.calendars.vtimezone import edition
from tests.calendars.conftest import stamp

MakeVisit = Callable[..., Visit]
Lint = Callable[..., list[str]]
MUCH = 1_000_000
"""Octets for more events than any of these tests writes."""


@pytest.fixture
def recipe(style: Style) -> Recipe:
    return Recipe(
        output=PATIENT_FEED,
        style=style,
        name="Appointments",
        refresh=dt.timedelta(hours=6),
        zone="Europe/London",
        facts=("en", 3, None),
    )


class Rows:
    """A table of visits that notes what was loaded from it."""

    def __init__(self, visits: Iterable[Visit]) -> None:
        self.visits = {visit.uid: visit for visit in visits}
        self.loaded: list[str] = []

    @property
    def stamps(self) -> list[Stamp]:
        return [stamp(visit) for visit in self.visits.values()]

    def load(self, uids: Sequence[str]) -> list[Visit]:
        self.loaded += uids
        # A database gives rows in whatever order it likes.
        return [self.visits[uid] for uid in reversed(uids) if uid in self.visits]

    def read(self, recipe: Recipe, cache: EventCache) -> bytes:
        return b"".join(stream(recipe, self.stamps, self.load, cache=cache))


def uids(octets: bytes) -> list[str]:
    calendar = icalendar.Calendar.from_ical(octets)
    return [
        str(event["UID"])
        for event in calendar.walk("VEVENT")
        if "RELTYPE=PARENT" not in event.to_ical().decode()
    ]


def test_a_feed_is_read_once_and_then_from_what_was_written(
    series: tuple[Visit, ...], recipe: Recipe, lint: Lint
) -> None:
    rows, cache = Rows(series), EventCache(octets=MUCH)
    first = rows.read(recipe, cache)
    assert lint(first) == []
    assert uids(first) == [visit.uid for visit in series]
    assert rows.loaded == [visit.uid for visit in series]
    rows.loaded.clear()
    assert rows.read(recipe, cache) == first
    assert rows.loaded == []


def test_one_moved_appointment_rebuilds_one_event(series: tuple[Visit, ...], recipe: Recipe) -> None:
    rows, cache = Rows(series), EventCache(octets=MUCH)
    rows.read(recipe, cache)
    rows.loaded.clear()
    later = series[1].modified + dt.timedelta(seconds=1)
    moved = replace(
        series[1], end=series[1].end + dt.timedelta(hours=1), sequence=1, modified=later, version=2
    )
    rows.visits[moved.uid] = moved
    again = rows.read(recipe, cache)
    assert rows.loaded == [moved.uid]
    assert again == Rows(rows.visits.values()).read(recipe, EventCache(octets=MUCH))


@pytest.mark.parametrize("changed", [{"version": 2}, {"modified": dt.datetime(2026, 9, 9, tzinfo=dt.UTC)}])
def test_a_new_version_or_a_new_time_is_a_new_event(
    changed: dict[str, object], series: tuple[Visit, ...], recipe: Recipe
) -> None:
    rows, cache = Rows(series[:1]), EventCache(octets=MUCH)
    rows.read(recipe, cache)
    rows.visits = {series[0].uid: replace(series[0], **changed)}  # type: ignore[arg-type]  # of any field
    rows.read(recipe, cache)
    assert rows.loaded == [series[0].uid] * 2


def test_a_row_deleted_between_the_two_steps_is_left_out(
    series: tuple[Visit, ...], recipe: Recipe, lint: Lint
) -> None:
    rows = Rows(series)
    stamps = rows.stamps
    del rows.visits[series[2].uid]
    octets = b"".join(stream(recipe, stamps, rows.load, cache=EventCache(octets=MUCH)))
    assert uids(octets) == [series[0].uid, series[1].uid, series[3].uid]
    assert lint(octets) == []


def test_a_row_changed_between_the_two_steps_is_as_it_is_now_and_kept_as_that(
    series: tuple[Visit, ...], recipe: Recipe
) -> None:
    rows, cache = Rows(series[:1]), EventCache(octets=MUCH)
    stamps = rows.stamps
    rows.visits = {series[0].uid: replace(series[0], cancelled=True, sequence=1, version=2)}
    now = b"".join(stream(recipe, stamps, rows.load, cache=cache))
    assert b"STATUS:CANCELLED" in now
    rows.loaded.clear()
    assert rows.read(recipe, cache) == now
    assert rows.loaded == []


def test_a_long_feed_comes_in_pieces_and_in_order(
    visit: MakeVisit, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BATCH", 3)
    visits = [visit(f"2026-10-{day:02} 09:00", ordinal=day) for day in range(1, 9)]
    rows = Rows(visits)
    pieces = list(stream(recipe, rows.stamps, rows.load, cache=EventCache(octets=MUCH)))
    assert len(pieces) == 1 + 3 + 1
    assert uids(b"".join(pieces)) == [each.uid for each in visits]


def test_a_cache_smaller_than_the_feed_changes_nothing(series: tuple[Visit, ...], recipe: Recipe) -> None:
    rows, small = Rows(series), EventCache(octets=1)
    assert rows.read(recipe, small) == rows.read(recipe, EventCache(octets=MUCH)) == rows.read(recipe, small)


def test_memory_does_not_grow_with_the_length_of_a_feed(
    visit: MakeVisit, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BATCH", 50)
    one, made = visit(), [str(uuid.UUID(int=number, version=4)) for number in range(1000)]

    def load(uids: Sequence[str]) -> list[Visit]:
        return [replace(one, uid=uid) for uid in uids]

    def peak(length: int) -> int:
        stamps = [stamp(one)._replace(uid=uid) for uid in made[:length]]
        octets = 0
        gc.collect()
        tracemalloc.start()
        for piece in stream(recipe, stamps, load, cache=EventCache(octets=10_000)):
            octets += len(piece)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert octets > length * 1000
        return most

    short, long = peak(100), peak(1000)
    assert long < 1.5 * short
    assert long < 1_000_000


def test_zones_stand_before_the_events_sorted_and_only_where_they_hold(
    visit: MakeVisit, recipe: Recipe, lint: Lint
) -> None:
    zones = ("Europe/London", "America/New_York", "America/Nuuk", "Africa/Cairo")
    rows = Rows(visit("2026-10-01 09:00", zone, ordinal) for ordinal, zone in enumerate(zones, start=1))
    octets = rows.read(recipe, EventCache(octets=MUCH))
    named = [line for line in octets.split(b"\r\n") if line.startswith(b"TZID:")]
    assert named == [b"TZID:America/New_York", b"TZID:Europe/London"]
    assert lint(octets) == []


@pytest.mark.parametrize("right", range(2024, 2031))
def test_a_zone_is_named_that_is_right_in_any_year_an_entry_may_stand_in(
    right: int, visit: MakeVisit, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No zone that there is can be relied on to change its rule in one of these years.
    monkeypatch.setattr(room, "holds", lambda zone, year: year == right)
    visits = [
        visit(f"{year}-06-01 09:00", ordinal=number) for number, year in enumerate((2028, 2026), start=1)
    ]
    octets = Rows(visits).read(recipe, EventCache(octets=MUCH))
    assert (b"TZID:Europe/London" in octets.split(b"BEGIN:VEVENT")[0]) is (2025 <= right <= 2029)


def test_the_last_session_of_a_year_has_its_zone(visit: MakeVisit, recipe: Recipe, lint: Lint) -> None:
    rows = Rows([visit("2026-12-31 23:30", "Europe/Berlin")])
    assert lint(rows.read(recipe, EventCache(octets=MUCH))) == []


@pytest.mark.parametrize(("zone", "named"), [("Europe/London", "Europe/London"), ("Africa/Cairo", "Etc/UTC")])
def test_a_feed_without_events_still_has_a_component(zone: str, named: str, recipe: Recipe) -> None:
    octets = b"".join(stream(recipe._replace(zone=zone), [], lambda uids: [], cache=EventCache(octets=1)))
    calendar = icalendar.Calendar.from_ical(octets)
    assert isinstance(calendar, icalendar.Calendar)
    assert [(part.name, str(part["TZID"])) for part in calendar.subcomponents] == [("VTIMEZONE", named)]


def test_a_feed_names_itself_and_says_how_often_to_ask(series: tuple[Visit, ...], recipe: Recipe) -> None:
    octets = Rows(series).read(recipe, EventCache(octets=MUCH))
    assert b"\r\nNAME:Appointments\r\nX-WR-CALNAME:Appointments\r\n" in octets
    assert b"\r\nREFRESH-INTERVAL;VALUE=DURATION:PT6H\r\nX-PUBLISHED-TTL:PT6H\r\n" in octets
    often = recipe._replace(refresh=dt.timedelta(minutes=90))
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT90M\r\n" in Rows(series).read(often, EventCache(octets=MUCH))


def test_all_that_octets_depend_on_is_in_the_tag(recipe: Recipe, style: Style) -> None:
    others = [
        recipe._replace(output=CLINIC_FEED),
        recipe._replace(style=replace(style, display_name="North")),
        recipe._replace(style=replace(style, words=replace(style.words, appointment="Termin"))),
        recipe._replace(name="Other"),
        recipe._replace(refresh=dt.timedelta(hours=3)),
        recipe._replace(zone="Europe/Berlin"),
        recipe._replace(facts=("en", 4, None)),
    ]
    state = (4, 9, "2026-09-01")
    tags = {etag(each, *state) for each in (recipe, *others)}
    tags |= {
        etag(recipe, *other) for other in ((3, 9, "2026-09-01"), (4, 10, "2026-09-01"), (4, 9, "2026-09-02"))
    }
    assert len(tags) == 1 + len(others) + 3
    assert etag(recipe, *state) == etag(recipe._replace(style=replace(style)), *state)


def test_another_edition_of_the_zone_data_is_another_feed(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    data = importlib.resources.files("tzdata").joinpath("zoneinfo", "Europe", "London").read_bytes()
    before = etag(recipe)
    assert len(edition("Europe/London")) == len(hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(room, "edition", lambda zone: "of the year after")
    assert etag(recipe) != before
