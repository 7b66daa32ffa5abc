"""A site's own templates over ours, and static files that are kept for as long as they stay the same."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, render_template, url_for
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader

import intake_plugin
from tests.hosts.conftest import LAYOUT, MakeSite

STATIC = Path(intake_plugin.__file__).parent / "static"


def a_stylesheet() -> str:
    return next(path.relative_to(STATIC).as_posix() for path in sorted(STATIC.rglob("*.css")))


def test_a_page_of_the_site_wins_and_may_extend_ours(make_site: MakeSite) -> None:
    def override(app: Flask) -> None:
        hello = "{% block intake %}<p>Hello.</p>{{ super() }}{% endblock %}"
        own = "{% extends 'intake_plugin/start.html' %}" + hello
        app.jinja_loader = DictLoader({"site.html": LAYOUT, "intake/start.html": own})

    app = make_site(SQLAlchemy(), prepare=override)
    page = app.test_client().get("/north/book/").text
    assert "<p>Hello.</p>" in page
    assert 'data-intake-page="start"' in page


def test_a_page_of_one_clinic_wins_over_that_of_the_site(make_site: MakeSite) -> None:
    def override(app: Flask) -> None:
        own = {
            f"intake/{name}start.html": "{% extends 'intake_plugin/start.html' %}{% block intake %}"
            f"<p>{name or 'site'}</p>{{{{ super() }}}}{{% endblock %}}"
            for name in ("", "north/")
        }
        app.jinja_loader = DictLoader({"site.html": LAYOUT, **own})

    page = make_site(SQLAlchemy(), prepare=override).test_client().get("/north/book/").text
    assert "<p>north/</p>" in page
    assert "<p>site</p>" not in page


def test_our_templates_are_out_of_the_way_of_the_sites(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy())
    ours = [name for name in app.jinja_env.list_templates() if name not in {"site.html", "south.html"}]
    assert ours
    assert all(name.split("/")[0] in {"intake", "intake_plugin"} for name in ours)
    with app.test_request_context():
        assert render_template("site.html").startswith("<!doctype html>")


def test_a_static_file_is_kept_for_a_year_at_its_own_address_only(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy())
    with app.test_request_context():
        address = url_for("north.static", filename=a_stylesheet())
    client = app.test_client()
    with client.get(address) as kept:
        assert kept.status_code == 200
        assert kept.cache_control.max_age == 365 * 24 * 3600
    for other in (address.partition("?")[0], address[:-1] + "x", f"{address.partition('?')[0]}?v=None"):
        with client.get(other) as asked_again:
            assert asked_again.status_code == 200
            assert asked_again.cache_control.no_cache


def test_what_is_not_a_static_file_is_not_found(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy())
    with app.test_request_context():
        assert url_for("north.static", filename="no-such.css").endswith("/no-such.css")
    for name in ("no-such.css?v=None", "../state.py", "%2e%2e/state.py", "no-such.css"):
        assert app.test_client().get(f"/north/book/static/{name}").status_code == 404
