"""Octets of events already written, so that one moved appointment costs one event."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from threading import Lock

from intake_plugin.calendars.events import Written, write
from intake_plugin.calendars.outputs import Output
from intake_plugin.calendars.visits import Style, Visit

PROFILE_VERSION = 2
"""Rises when the same visit would be written in other octets."""


@lru_cache(maxsize=256)
def fingerprint(output: Output, style: Style) -> str:
    """Return what the octets of an event depend on besides its visit, the same in every process."""
    return hashlib.sha256(repr((PROFILE_VERSION, output, style)).encode("utf-8", "replace")).hexdigest()


_OVERHEAD = 512
"""Octets that one visit's events take besides their own: the key, and the places that hold both."""


class EventCache:
    """Written events by what they were written from, up to a number of octets.

    It counts octets and not events: a session with its care written out is a dozen times as long as
    one without. The least recently used are dropped first. Safe to share between threads.
    """

    def __init__(self, octets: int) -> None:
        self._room = octets
        self._events: OrderedDict[Hashable, Written] = OrderedDict()
        self._lock = Lock()

    def written(self, visit: Visit, output: Output, style: Style) -> Written:
        """Return the events of `visit`, from the cache where nothing about it has changed."""
        key = (visit.uid, visit.version, fingerprint(output, style), hash(visit))
        known = self.find([key])[0]
        if known is None:
            known = write(visit, output, style)
            self.keep(key, known)
        return known

    def find(self, keys: Sequence[Hashable]) -> list[Written | None]:
        """Return the events kept under each key, None where there are none.

        A key has to name everything that its events were written from.
        """
        found = []
        with self._lock:
            for key in keys:
                known = self._events.get(key)
                if known is not None:
                    self._events.move_to_end(key)
                found.append(known)
        return found

    def keep(self, key: Hashable, events: Written) -> None:
        """Keep events under their key, and drop the least recently used beyond the room there is."""
        with self._lock:
            self._drop(key)
            self._events[key] = events
            self._room -= _weight(events)
            while self._room < 0:
                self._drop(next(iter(self._events)))

    def _drop(self, key: Hashable) -> None:
        known = self._events.pop(key, None)
        if known is not None:
            self._room += _weight(known)

    def clear(self) -> None:
        """Forget every event."""
        with self._lock:
            while self._events:
                self._drop(next(iter(self._events)))


def _weight(events: Written) -> int:
    return len(events.octets) + _OVERHEAD


SHARED = EventCache(octets=24 * 1024 * 1024)
"""The process's own, with room for a feed of 15,000; it holds nothing that is not in the rows."""
