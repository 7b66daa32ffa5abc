"""Who may post, how much, and what every answer tells the browser.

The pages depend on no session of the host: a post must come from the page's own origin, as the
browser itself says. Where the host runs CSRFProtect, its token travels along as well.
"""

from __future__ import annotations

from flask import Response, abort, current_app, request
from markupsafe import Markup, escape

from intake_plugin.state import READING, current_mount, current_state

LONGEST_POST = 256 * 1024
"""Octets; the longest page of questions needs a small part of it."""

_OWN = frozenset({"same-origin", "none"})


def refuse_other_sites() -> None:
    """Refuse a post that another site's page sent.

    The rule of Go's CrossOriginProtection: `Sec-Fetch-Site` decides; where a browser does not send
    it, `Origin` must be ours; a client that sends neither is no browser, so it forges nothing.
    """
    if request.method in READING:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site in _OWN:
        return
    if site is None and (origin is None or origin == request.host_url.rstrip("/")):
        return
    abort(403)


def limit_size() -> None:
    """Refuse to read more than a page of answers can hold, or less where the host says so."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    request.max_content_length = LONGEST_POST if limit is None else min(limit, LONGEST_POST)


def protect(response: Response) -> Response:
    """Keep a page out of caches (unless it says otherwise), search engines and other sites' frames.

    `Referrer-Policy: same-origin` and not `no-referrer`: under https Flask-WTF wants the referrer.
    """
    if (request.endpoint or "").endswith(".static"):
        return response
    staff = request.endpoint is not None and request.endpoint.startswith(f"{current_mount()}.staff.")
    allowed = () if staff else current_state().settings.embed
    ancestors = "'none'" if staff else " ".join(("'self'", *allowed))
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.add("Content-Security-Policy", f"frame-ancestors {ancestors}")
    if staff:
        response.headers["X-Frame-Options"] = "DENY"
    return response


def host_token() -> Markup:
    """Return the hidden input with the host's CSRF token, or nothing where it has no CSRFProtect."""
    make = current_app.jinja_env.globals.get("csrf_token")
    if "csrf" not in current_app.extensions or not callable(make):
        return Markup("")
    name = current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token")
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, escape(make()))
