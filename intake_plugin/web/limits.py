"""How often one address may do what somebody could try over and over.

The host's Flask-Limiter counts, where it has one: its storage, its strategy, its off switch. Its
decorators know a limit by the view's name, which all mounts share, so its counter is asked
directly. Without Flask-Limiter nothing is counted; a private link still stops after a few wrong
dates of birth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from flask import current_app, request
from werkzeug.exceptions import TooManyRequests

from intake_plugin.state import READING, current_mount, current_state

if TYPE_CHECKING:
    from flask_limiter import Limiter

GROUPS: Mapping[str, str] = {
    "start": "start",
    "link": "open",
    "verify": "open",
    "document": "sign",
    "save": "links",
    "feed_made": "links",
    "staff.feeds": "links",
}
"""What is counted together, by endpoint: `INTAKE_LIMIT_START` and so on say how much of it."""

ASKED_FOR = frozenset({"link"})
"""Endpoints that count when they are looked at, too."""

_HOUSEHOLD = 64
"""Whoever has one address of IPv6 has all that begin with these bits."""


def count() -> None:
    """Count the request against its limits; raises TooManyRequests beyond them."""
    endpoint = (request.endpoint or "").removeprefix(f"{current_mount()}.")
    group = GROUPS.get(endpoint)
    if group is None or (request.method in READING and endpoint not in ASKED_FOR):
        return
    limit: str = getattr(current_state().settings, f"limit_{group}")
    if not limit:
        return
    for limiter in limiters():
        try:
            seconds = _seconds_left(limiter, limit, group)
        except Exception:
            # Nobody is kept from an appointment because a counter is out of order.
            current_app.logger.exception(
                "Flask-Limiter's storage does not answer; a request passed uncounted."
            )
            continue
        if seconds is not None:
            raise TooManyRequests(retry_after=seconds)


def limiters() -> Iterator[Limiter]:
    """Yield the host's Flask-Limiters that are switched on."""
    for limiter in current_app.extensions.get("limiter", ()):
        if limiter.enabled:
            yield limiter


def _seconds_left(limiter: Limiter, limit: str, group: str) -> int | None:
    """Take one of each limit's tries; return how long to wait where there was none left."""
    from limits import parse_many

    who = ("intake_plugin", current_mount(), group, _address())
    for item in parse_many(limit):
        if not limiter.limiter.hit(item, *who):
            # Its windows are on the machine's clock, whatever the pages take for now.
            left = limiter.limiter.get_window_stats(item, *who).reset_time - time.time()
            return max(1, math.ceil(left))
    return None


def _address() -> str:
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, _HOUSEHOLD), strict=False))
