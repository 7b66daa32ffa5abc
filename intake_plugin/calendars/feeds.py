"""Subscribed calendars: what tells that one has changed, and its octets, a batch of events at a time.

A feed is asked for again and again, nearly always for nothing new. So its rows come in two steps: the
stamp of each, which is enough for events written before, and the whole row only where it is not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from intake_plugin.calendars.cache import SHARED, EventCache, fingerprint
from intake_plugin.calendars.events import write
from intake_plugin.calendars.files import CLOSING, opening
from intake_plugin.calendars.outputs import Output
from intake_plugin.calendars.visits import Style, Visit
from intake_plugin.calendars.vtimezone import edition, holds, vtimezone

BATCH = 500
"""Events that are joined, and rows that are loaded, at once."""

_ALWAYS_THERE = "Etc/UTC"


class Stamp(NamedTuple):
    """Of a stored appointment, what tells its events from all those written before.

    Its times are naive UTC, as databases give them.
    """

    uid: str
    version: int
    modified: dt.datetime
    end: dt.datetime
    zone: str


class Recipe(NamedTuple):
    """What a feed's octets depend on besides its appointments."""

    output: Output
    style: Style
    name: str
    refresh: dt.timedelta
    zone: str
    """The clinic's."""
    facts: tuple[object, ...]
    """Everything else that a visit is made from and that no stamp shows: numbers, texts, and None."""

    @property
    def fingerprint(self) -> str:
        """The same in every process for as long as the same appointments give the same octets."""
        parts = (fingerprint(self.output, self.style), self.name, self.refresh, self.zone, self.facts)
        return _digest((*parts, edition(self.zone)))


def etag(recipe: Recipe, *state: object) -> str:
    """Return the entity tag of a feed, without quotes; `state` sums up the rows: count, versions, newest."""
    return _digest((recipe.fingerprint, state))


def _digest(parts: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:32]


def stream(
    recipe: Recipe,
    stamps: Sequence[Stamp],
    load: Callable[[Sequence[str]], Iterable[Visit]],
    *,
    cache: EventCache = SHARED,
) -> Iterator[bytes]:
    """Yield a feed in pieces, in the order of `stamps`.

    `load` returns the visits of some UIDs; it is asked only for those whose events are not known.
    One that it does not return, deleted in the meantime, is left out.
    """
    yield opening(recipe.output, _zones(recipe, stamps), name=recipe.name, refresh=recipe.refresh)
    context = recipe.fingerprint
    for start in range(0, len(stamps), BATCH):
        yield b"".join(_events(recipe, context, stamps[start : start + BATCH], load, cache))
    yield CLOSING


def _events(
    recipe: Recipe,
    context: str,
    stamps: Sequence[Stamp],
    load: Callable[[Sequence[str]], Iterable[Visit]],
    cache: EventCache,
) -> list[bytes]:
    known = cache.find([(uid, version, modified, context) for uid, version, modified, _, _ in stamps])
    missing = [stamp.uid for stamp, events in zip(stamps, known, strict=True) if events is None]
    if not missing:
        return [events.octets for events in known if events]
    fresh = {}
    for visit in load(missing):
        fresh[visit.uid] = write(visit, recipe.output, recipe.style)
        modified = visit.modified.astimezone(dt.UTC).replace(tzinfo=None)
        cache.keep((visit.uid, visit.version, modified, context), fresh[visit.uid])
    both = (events or fresh.get(stamp.uid) for stamp, events in zip(stamps, known, strict=True))
    return [events.octets for events in both if events]


def _zones(recipe: Recipe, stamps: Sequence[Stamp]) -> set[str]:
    """Return every zone that an event may name: those whose rule is right in some year of the feed.

    They stand before the events and so are found without writing any. A calendar needs a component:
    one without events has the clinic's zone.
    """
    if not stamps:
        return {recipe.zone if vtimezone(recipe.zone) else _ALWAYS_THERE}
    ends = [stamp.end.year for stamp in stamps]
    # Care before and after a session may stand in the year next to it.
    years = range(min(ends) - 1, max(ends) + 2)
    return {zone for zone in {stamp.zone for stamp in stamps} if any(holds(zone, year) for year in years)}
