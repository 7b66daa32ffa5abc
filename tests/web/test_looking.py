"""Looking at times claims nothing, extends nothing and releases nothing."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from intake_plugin.records.base import Base
from intake_plugin.settings import Clinic
from intake_plugin.testing import Visitor
from intake_plugin.web import visit
from tests.web.conftest import HOME, NOW, Site


def stored(site: Site) -> dict[str, list[tuple[Any, ...]]]:
    with site.app.app_context():
        return {
            name: [tuple(row) for row in site.db.session.execute(sa.select(table))]
            for name, table in Base.metadata.tables.items()
        }


def looks(site: Site, visitor: Visitor, path: str, name: str) -> None:
    before = stored(site)
    with site.counting() as statements:
        page = visitor.get(HOME + path)
    assert (page.reply.status, page.name) == (200, name), page.text
    assert statements
    assert all(statement.startswith("SELECT") for statement in statements), statements
    assert stored(site) == before


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("times", "slots"),
        ("times?from=2026-03-17", "slots"),
        ("times/days", "days"),
        ("times/days?from=2026-04-01", "days"),
    ],
)
def test_looking_for_a_first_time_writes_nothing(site: Site, path: str, name: str) -> None:
    visitor, _ = site.to("slots")
    looks(site, visitor, path, name)


@pytest.mark.parametrize("lapsed", [False, True])
@pytest.mark.parametrize(("path", "name"), [("times", "slots"), ("times/days", "days"), ("series", "series")])
def test_looking_at_what_is_held_writes_nothing(
    site: Site, clinic: Clinic, monkeypatch: pytest.MonkeyPatch, path: str, name: str, lapsed: bool
) -> None:
    visitor, _ = site.to("series")
    if lapsed:
        monkeypatch.setattr(visit, "now", lambda: NOW + clinic.booking.hold)
    looks(site, visitor, path, name)
