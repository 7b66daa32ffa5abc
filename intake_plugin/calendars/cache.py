"""Octets of events already written, so that one moved appointment costs one event."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import lru_cache
from threading import Lock

from intake_plugin.calendars.events import Written, write
from intake_plugin.calendars.outputs import Output
from intake_plugin.calendars.visits import Style, Visit

PROFILE_VERSION = 1
"""Rises when the same visit would be written in other octets."""


@lru_cache(maxsize=256)
def fingerprint(output: Output, style: Style) -> str:
    """Return what the octets of an event depend on besides its visit, the same in every process."""
    return hashlib.sha256(repr((PROFILE_VERSION, output, style)).encode("utf-8", "replace")).hexdigest()


class EventCache:
    """Written events by UID, row version and fingerprint; the least recently used are dropped first.

    A visit that differs under a version already seen is written anew, never served from here.
    Safe to share between threads.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._events: OrderedDict[tuple[str, int, str], tuple[int, Written]] = OrderedDict()
        self._lock = Lock()

    def written(self, visit: Visit, output: Output, style: Style) -> Written:
        """Return the events of `visit`, from the cache where nothing about it has changed."""
        key, content = (visit.uid, visit.version, fingerprint(output, style)), hash(visit)
        with self._lock:
            known = self._events.get(key)
            if known is not None and known[0] == content:
                self._events.move_to_end(key)
                return known[1]
        fresh = write(visit, output, style)
        with self._lock:
            self._events[key] = (content, fresh)
            self._events.move_to_end(key)
            while len(self._events) > self._size:
                self._events.popitem(last=False)
        return fresh

    def clear(self) -> None:
        """Forget every event."""
        with self._lock:
            self._events.clear()


SHARED = EventCache(size=16_384)
"""The process's own; it saves work and holds nothing that is not in the rows."""
