"""How often one address may try, counted by the site's own Flask-Limiter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from werkzeug.test import TestResponse

from intake_plugin import Intake
from intake_plugin.settings import Clinic
from intake_plugin.testing import Page, Visitor
from tests.web.conftest import CLINICIAN, DESK, HOME, WREN, MakeSite, Site
from tests.web.test_pages import check

Limited = Callable[..., Site]


def with_limiter(app: Flask) -> None:
    Limiter(get_remote_address, app=app, storage_uri="memory://")


@pytest.fixture
def limited(make_site: MakeSite) -> Limited:
    """Make a site that has Flask-Limiter, with limits of its own."""
    return lambda **limits: make_site(prepare=with_limiter, **limits)


def start(site: Site, address: str = "203.0.113.7", home: str = HOME) -> TestResponse:
    response: TestResponse = site.app.test_client().post(home, environ_base={"REMOTE_ADDR": address})
    return response


def private_link(site: Site) -> str:
    patient, _ = site.to("check")
    shown = patient.submit(patient.get(f"{HOME}save"))
    return next(address for _, address in shown.links if "/link/" in address)


def refused(page: Page) -> None:
    assert page.reply.status == 429
    assert page.name == "problem"
    check(page)


def test_beyond_the_limit_a_page_of_the_site_says_how_long_to_wait(limited: Limited) -> None:
    site = limited(INTAKE_LIMIT_START="2 per 10 minutes")
    assert [start(site).status_code for _ in range(3)] == [303, 303, 429]
    response = start(site)
    assert "Nothing was changed, and nothing is lost. Wait 10 minutes, then try again." in response.text
    assert "<header>Harbour</header>" in response.text
    assert 1 <= int(response.headers["Retry-After"]) <= 600
    assert len(site.rows()) == 2
    visitor = site.visitor()
    site.client.environ_base["REMOTE_ADDR"] = "203.0.113.7"
    page = visitor.get(HOME)
    assert page.reply.status == 200
    refused(visitor.submit(page))


def test_each_address_and_each_mount_is_counted_by_itself(make_site: MakeSite, clinic: Clinic) -> None:
    def two_mounts(app: Flask) -> None:
        with_limiter(app)
        db = app.extensions["sqlalchemy"]
        app.register_blueprint(Intake(db).blueprint("quay", replace(clinic, id="quay")), url_prefix="/quay")

    site = make_site(prepare=two_mounts, INTAKE_LIMIT_START="1 per hour")
    assert start(site).status_code == 303
    assert start(site).status_code == 429
    assert start(site, "203.0.113.8").status_code == 303
    assert start(site, home="/quay/").status_code == 303
    assert start(site, home="/quay/").status_code == 429


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.9", False),
        ("", "unix:", True),
    ],
)
def test_a_household_is_one_address(limited: Limited, first: str, second: str, same: bool) -> None:
    site = limited(INTAKE_LIMIT_START="1 per hour")
    assert start(site, first).status_code == 303
    assert (start(site, second).status_code == 429) == same


def test_links_and_dates_of_birth_are_counted_together_and_stop_before_a_guess(limited: Limited) -> None:
    site = limited(INTAKE_LIMIT_OPEN="4 per hour")
    secret = private_link(site)
    other = site.visitor()
    page = other.get(secret)
    for number in range(3):
        page = other.submit(page, {"birth_date-day": str(number + 1)})
        assert page.reply.status == 422
    refused(other.submit(page, {"birth_date": WREN["birth_date"]}))
    refused(site.visitor().get(f"{HOME}link/{'x' * 43}"))
    assert other.get(f"{HOME}verify").reply.status == 200


def test_signing_is_counted_and_reading_is_not(limited: Limited) -> None:
    site = limited(INTAKE_LIMIT_SIGN="1 per hour")
    visitor, page = site.to("consent")
    document = visitor.submit(page)
    signed = visitor.submit(document, {"name": "Wren Okafor"})
    assert signed.reply.status == 200
    refused(visitor.submit(signed, {"name": "Wren Okafor"}))
    assert visitor.get(signed.reply.url).reply.status == 200


def test_making_links_is_counted_private_ones_and_calendars(limited: Limited) -> None:
    site = limited(INTAKE_LIMIT_LINKS="2 per hour")
    visitor, _ = site.to("done")
    for path in ("save", "calendar/link"):
        assert visitor.send("POST", HOME + path, ()).status == 200
    for path in ("save", "calendar/link"):
        assert visitor.send("POST", HOME + path, ()).status == 429
    site.staff = CLINICIAN
    assert site.visitor().send("POST", f"{DESK}feeds", ()).status == 429
    assert site.visitor().get(f"{DESK}feeds").reply.status == 200


def test_the_usual_limits_let_a_waiting_room_through(limited: Limited) -> None:
    site = limited()
    for number in range(4):
        _, page = site.to("done", {"email": f"patient{number}@example.com"})
        assert page.name == "done"


@pytest.mark.parametrize(
    "prepare",
    [lambda app: None, with_limiter],
    ids=["no limiter", "a limiter that is switched off"],
)
def test_without_a_counter_nothing_is_counted(make_site: MakeSite, prepare: Any) -> None:
    site = make_site(prepare=prepare, RATELIMIT_ENABLED=False, INTAKE_LIMIT_START="1 per hour")
    assert [start(site).status_code for _ in range(3)] == [303, 303, 303]


def test_without_the_library_nothing_asks_for_it(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("limits", "flask_limiter"):
        monkeypatch.setitem(sys.modules, name, None)
    site = make_site()
    assert start(site).status_code == 303


def test_an_empty_limit_counts_nothing(limited: Limited) -> None:
    site = limited(INTAKE_LIMIT_START="")
    assert {start(site).status_code for _ in range(70)} == {303}


def test_a_counter_out_of_order_keeps_nobody_away_and_is_logged(
    limited: Limited, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = limited(INTAKE_LIMIT_START="1 per hour")
    (limiter,) = site.app.extensions["limiter"]

    def down(*more: object) -> bool:
        raise ConnectionError("the store is down")

    monkeypatch.setattr(limiter.limiter, "hit", down)
    # Whatever other tests of this process have done to the loggers above it.
    monkeypatch.setattr(site.app.logger, "handlers", [caplog.handler])
    with caplog.at_level(logging.ERROR, logger=site.app.logger.name):
        assert [start(site).status_code for _ in range(2)] == [303, 303]
    assert "storage does not answer" in caplog.text


def test_the_sites_own_limits_get_a_page_too(make_site: MakeSite) -> None:
    def own(app: Flask) -> None:
        Limiter(get_remote_address, app=app, storage_uri="memory://", default_limits=["1 per hour"])

    visitor = make_site(prepare=own).visitor()
    assert visitor.get(HOME).reply.status == 200
    page = visitor.get(HOME)
    refused(page)
    assert "Wait a while, then try again" in page.text


def test_an_answer_of_the_sites_own_wins(make_site: MakeSite) -> None:
    def own(app: Flask) -> None:
        def words(limit: object) -> Any:
            return app.make_response((render_template_string("Ours."), 429))

        Limiter(
            get_remote_address,
            app=app,
            storage_uri="memory://",
            default_limits=["1 per hour"],
            on_breach=words,
        )

    visitor: Visitor = make_site(prepare=own).visitor()
    visitor.get(HOME)
    assert visitor.get(HOME).reply.body == b"Ours."
