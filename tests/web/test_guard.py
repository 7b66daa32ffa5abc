"""Who may post, what a page tells the browser, and what the cookies are like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader

from intake_plugin import Intake
from intake_plugin.settings import Clinic
from intake_plugin.testing import keys
from tests.web.conftest import CLINICIAN, DESK, HOME, LAYOUT, MakeSite, Site


@pytest.mark.parametrize("path", ["", "outcome", "consent/nothing", "staff/"])
def test_pages_stay_out_of_caches_and_search_engines(site: Site, path: str) -> None:
    site.staff = CLINICIAN
    response = site.get(HOME + path)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Robots-Tag"] == "noindex"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_stylesheet_may_be_kept(site: Site) -> None:
    page = site.get(HOME).text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    with site.get(address) as response:
        assert response.status_code == 200
        assert "no-store" not in response.headers["Cache-Control"]


def test_pages_appear_in_frames_of_the_sites_named_only_and_the_desk_in_none(make_site: MakeSite) -> None:
    site = make_site(INTAKE_EMBED="https://partner.example https://other.example")
    site.staff = CLINICIAN
    page, desk = site.get(HOME).headers, site.get(DESK).headers
    assert (
        page["Content-Security-Policy"]
        == "frame-ancestors 'self' https://partner.example https://other.example"
    )
    assert desk["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert desk["X-Frame-Options"] == "DENY"


def test_the_cookie_is_for_these_pages_and_no_script(site: Site) -> None:
    cookie = site.app.test_client().post(HOME).headers["Set-Cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "intake_harbour"
    assert len(rest.split(";")[0]) >= 43
    assert {"HttpOnly", "Path=/book/", "SameSite=Lax"} <= set(rest.split("; "))
    assert "Secure" not in rest
    secure = site.app.test_client().post(HOME, base_url="https://localhost").headers["Set-Cookie"]
    assert "Secure" in secure.split("; ")


def test_a_site_behind_a_proxy_says_by_its_own_cookie_that_it_has_https(make_site: MakeSite) -> None:
    cookie = make_site(SESSION_COOKIE_SECURE=True).app.test_client().post(HOME).headers["Set-Cookie"]
    assert "Secure" in cookie.split("; ")


def test_in_a_frame_elsewhere_the_cookie_is_kept_apart(make_site: MakeSite) -> None:
    site = make_site(INTAKE_EMBED="https://partner.example")
    attributes = set(site.app.test_client().post(HOME).headers["Set-Cookie"].split("; "))
    assert {"Secure", "HttpOnly", "SameSite=None", "Partitioned"} <= attributes


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "https://localhost"}, False),
        ({"Origin": "http://localhost:8000"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://proxy.example"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
    ],
)
def test_a_post_comes_from_the_pages_own_origin(site: Site, headers: dict[str, str], accepted: bool) -> None:
    response = site.app.test_client().post(HOME, headers=headers)
    assert response.status_code == (303 if accepted else 403)
    if not accepted:
        assert 'data-intake-page="problem"' in response.text
        assert "This form was not sent from this site" in response.text
        assert site.rows() == []


def test_every_form_carries_the_hosts_token(make_site: MakeSite) -> None:
    site = make_site(prepare=CSRFProtect)
    visitor, page = site.to("done")
    assert page.name == "done", page.text
    for path in ("", "outcome", "leave", "save", "manage"):
        for form in visitor.get(HOME + path).forms:
            assert "csrf_token" in form.names
    site.staff = CLINICIAN
    desk = site.visitor()
    site.to("outcome", {"medicines": "blood_thinner"})
    address = next(address for _, address in desk.get(f"{DESK}?state=review").links if "/cases/" in address)
    assert "csrf_token" in desk.get(address).form.names


def test_a_token_that_has_run_out_leads_back_to_the_page_it_was_on(make_site: MakeSite) -> None:
    visitor, page = make_site(prepare=CSRFProtect).to("question")
    refused = visitor._read(visitor.send("POST", page.reply.url, [("name", "Wren Okafor")]))
    assert refused.reply.status == 400
    assert "Open the page again and send it once more" in refused.text
    assert [address for _, address in refused.links if address == f"{HOME}about-you"]


def test_a_host_that_switched_its_csrf_off_is_left_alone(make_site: MakeSite) -> None:
    _, page = make_site(prepare=CSRFProtect, WTF_CSRF_ENABLED=False).to("check")
    assert page.name == "check"


def test_no_session_of_the_host_is_needed(make_site: MakeSite) -> None:
    _, page = make_site(SECRET_KEY=None).to("check")
    assert page.name == "check"


def test_a_nonce_is_given_where_the_host_asks_for_one(make_site: MakeSite) -> None:
    def with_nonce(app: Flask) -> None:
        state: Any = app.extensions["intake_plugin"]
        object.__setattr__(state, "csp_nonce", lambda: "n0nce")

    site = make_site(prepare=with_nonce)
    visitor, page = site.to("question")
    html = visitor.submit(page).reply.body.decode()
    assert 'nonce="n0nce" defer></script>' in html


def test_a_post_larger_than_any_page_is_refused_before_it_is_read(site: Site) -> None:
    client = site.app.test_client()
    client.post(HOME)
    stored = site.rows()
    response = client.post(f"{HOME}about-you", data={"name": "x" * 300_000})
    assert response.status_code == 413
    assert "more text than this page can take" in response.text
    assert site.rows() == stored


@pytest.mark.parametrize(("path", "method"), [("done", "post"), ("manage", "post"), ("link/x", "post")])
def test_a_method_a_page_does_not_have_is_refused_in_the_sites_layout(
    site: Site, path: str, method: str
) -> None:
    response = getattr(site.app.test_client(), method)(HOME + path)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET"
    assert 'data-intake-page="problem"' in response.text


def test_a_head_request_is_answered_like_the_page(site: Site) -> None:
    response = site.app.test_client().head(HOME)
    assert response.status_code == 200
    assert response.data == b""
    assert site.rows() == []


def test_two_mounts_do_not_share_a_cookie(make_site: MakeSite, clinic: Clinic) -> None:
    db = SQLAlchemy()
    app = Flask("two")
    app.config.from_mapping(SQLALCHEMY_DATABASE_URI="sqlite://", INTAKE_KEYS=keys())
    app.jinja_loader = DictLoader({"site.html": LAYOUT})
    db.init_app(app)
    intake = Intake(db)
    intake.init_app(app)
    app.register_blueprint(intake.blueprint("a", clinic), url_prefix="/a")
    app.register_blueprint(intake.blueprint("b", replace(clinic, id="b")), url_prefix="/b")
    with app.app_context():
        db.create_all()
    client = app.test_client()
    token = client.post("/a/").headers["Set-Cookie"].split(";")[0].split("=")[1]
    assert client.get("/a/about-you").status_code == 200
    assert client.get("/b/about-you").status_code == 403
    client.set_cookie("intake_b", token, path="/b/")
    assert client.get("/b/about-you").status_code == 403
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
