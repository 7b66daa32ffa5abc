"""Patient pages: their time against a bare Flask view, and the weight of the first one.

The bare view asks for one row and renders the same template with the same values, so that what
is compared is all that the plugin does besides: finding the case, opening its seals, deciding
what to ask.
"""

from __future__ import annotations

import datetime as dt
import gzip
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from flask import Flask, template_rendered
from flask.testing import FlaskClient
from jinja2 import Template

from example_host import create_app
from example_host.extensions import db
from intake_plugin.testing import Given, Visitor, keys

NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
"""Always the same moment, because what there is to offer changes with the hour."""
START = "/london/book/"
WINDOW = 14 * 1024
"""Octets of a page that arrive with the first round trip."""
GIVEN: Given = {
    "name": "Wren Okafor",
    "birth_date": dt.date(1991, 3, 14),
    "email": "wren.okafor@example.com",
    "telephone": "07700 900123",
    "concern": "fine_lines",
    "area": "face",
    "no_alcohol": "yes",
}


@contextmanager
def site() -> Iterator[Flask]:
    """Serve the example clinic from an empty database of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, EXAMPLE_INSTANCE=folder),
        patch("intake_plugin.web.visit.now", return_value=NOW),
    ):
        app = create_app(
            {
                "SECRET_KEY": "benchmark",
                "INTAKE_KEYS": keys(),
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{Path(folder) / 'clinic.sqlite'}",
            }
        )
        app.add_url_rule("/bare", "bare", _bare_view(app))
        yield app
        with app.app_context():
            db.engine.dispose()


def _bare_view(app: Flask) -> Callable[[], str]:
    cases = sa.table("intake_case", sa.column("id"), sa.column("reference"))

    def bare() -> str:
        db.session.execute(sa.select(cases).limit(1)).one_or_none()
        template, values = app.config["BARE"]
        rendered: str = template.render(values)
        return rendered

    return bare


def page_ratios(rounds: int = 60) -> dict[str, float]:
    """Return, for each kind of page on the patient's way, its time over the bare view's time."""
    with site() as app:
        client = app.test_client()
        visitor, ratios = Visitor.of(client), dict[str, float]()
        page = visitor.get(START)
        for _ in range(60):
            if page.name not in ratios:
                ratios[page.name] = _ratio(app, client, page.reply.url, rounds)
            if page.name == "done":
                return ratios
            page = visitor.submit(page, GIVEN)
        raise AssertionError(f"The way has no end: {visitor.visited}")


def _ratio(app: Flask, client: FlaskClient, url: str, rounds: int) -> float:
    seen: list[tuple[Template, dict[str, Any]]] = []

    def note(_app: Flask, template: Template, context: dict[str, Any], **_: Any) -> None:
        seen.append((template, context))

    with template_rendered.connected_to(note, app):
        client.get(url)
    app.config["BARE"] = seen[-1]
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(_seconds(lambda: client.get(url)))
        bare.append(_seconds(lambda: client.get("/bare")))
    # The best of many is what the code costs; everything above it is what else the machine did.
    return min(ours) / min(bare)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def first_page_octets() -> int:
    """Return the size of the first page with its style sheets, compressed, octets."""
    with site() as app:
        client = app.test_client()
        html = client.get(START).data
        sheets = re.findall(r'<link rel="stylesheet" href="([^"]+)"', html.decode())
        return sum(len(gzip.compress(body, 9)) for body in (html, *(client.get(url).data for url in sheets)))


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, ratio, the most it may be) for every page's time and the first page's weight."""
    pages = [(f"page {name!r} over a bare view", ratio, 2.0) for name, ratio in page_ratios().items()]
    return [*pages, ("first page, HTML and CSS compressed, over 14 KB", first_page_octets() / WINDOW, 1.0)]


if __name__ == "__main__":
    for name, ratio, limit in ratios():
        print(f"{name}: {ratio:.2f} (limit {limit:g})")
