"""One site with two clinics."""

from __future__ import annotations

import pytest
from flask import Blueprint, Flask, url_for
from flask_sqlalchemy import SQLAlchemy

from intake_plugin import Intake, current_clinic
from intake_plugin.errors import SetupError
from intake_plugin.settings import Clinic
from intake_plugin.testing import Visitor
from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


@pytest.fixture
def site(make_site: MakeSite, south: Clinic) -> Flask:
    db = SQLAlchemy()

    def add_south(app: Flask) -> None:
        app.register_blueprint(Intake(db).blueprint("south", south), url_prefix="/south/book")
        outer = Blueprint("tenant", __name__)
        outer.register_blueprint(Intake(db).blueprint("inner", south), url_prefix="/inner/book")
        app.register_blueprint(outer, url_prefix="/tenant")

    return make_site(db, prepare=add_south)


def test_each_mount_keeps_its_own_cases(site: Flask) -> None:
    for mount in ("north", "south", "tenant/inner", "south"):
        begin(site, mount)
    assert clinics_of_cases(site) == ["north", "south", "south", "south"]


def test_a_case_of_one_clinic_is_not_open_at_the_other(site: Flask) -> None:
    client = site.test_client()
    visitor = Visitor.of(client)
    page = visitor.submit(visitor.get("/north/book/"))
    own, _, step = page.reply.url.partition("/north/book/")
    elsewhere = visitor.get(f"{own}/south/book/{step}")
    assert elsewhere.name != page.name
    cookie = client.get_cookie("intake_north", path="/north/book/")
    assert cookie is not None
    client.set_cookie("intake_south", cookie.value, path="/south/book/")
    assert visitor.get(f"{own}/south/book/{step}").name != page.name
    assert visitor.get(page.reply.url).name == page.name


def test_the_clinic_is_the_one_whose_page_is_served(site: Flask) -> None:
    found = {}
    for name in ("north", "south", "tenant.inner"):
        with site.test_request_context():
            address = url_for(f"{name}.start")
        with site.test_request_context(address):
            found[name] = current_clinic.id
    assert found == {"north": "north", "south": "south", "tenant.inner": "south"}


def test_elsewhere_on_the_site_there_is_no_current_clinic(site: Flask) -> None:
    with site.test_request_context("/"), pytest.raises(SetupError, match="pass the clinic along"):
        _ = current_clinic.id
    with site.app_context(), pytest.raises(SetupError, match="pass the clinic along"):
        _ = current_clinic.id
