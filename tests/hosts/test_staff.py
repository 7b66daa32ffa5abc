"""The staff pages are behind the site's own login, and closed wherever its answer is not a `Staff`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from flask import Flask, redirect
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

from intake_plugin import Staff, StaffHook, staff_behind
from tests.hosts.conftest import MakeSite

DESK = "/north/book/staff/"
ANA = Staff(id="7", name="Dr Ana Ruiz")


def status(app: Flask, address: str = DESK) -> int:
    return app.test_client().get(address).status_code


def test_without_a_hook_there_are_no_staff_pages(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy())
    assert status(app) == 404
    assert not [rule for rule in app.url_map.iter_rules() if ".staff." in rule.endpoint]


def test_staff_pass(make_site: MakeSite) -> None:
    assert status(make_site(SQLAlchemy(), staff=lambda: ANA)) == 200


@pytest.mark.parametrize("answer", [None, True, "root", 1, {"id": "7"}, ("7", "Ana"), object(), Staff])
def test_any_other_answer_is_refused(make_site: MakeSite, answer: object) -> None:
    app = make_site(SQLAlchemy(), staff=cast("StaffHook", lambda: answer))
    assert status(app) == 403


def test_every_staff_page_is_behind_the_gate(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy(), staff=lambda: None)
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("north.staff.")]
    assert rules
    client = app.test_client()
    for rule in rules:
        address = rule.rule
        for name in rule.arguments:
            address = address.replace(f"<{name}>", "K7M-2QXF").replace(f"<int:{name}>", "1")
        for method in rule.methods or ():
            assert client.open(address, method=method).status_code == 403, (method, address)


def test_an_error_in_the_hook_is_an_error_and_never_the_page(make_site: MakeSite) -> None:
    def broken() -> Staff:
        raise RuntimeError("the site's user service is down")

    app = make_site(SQLAlchemy(), staff=broken)
    response = app.test_client().get(DESK)
    assert response.status_code == 500
    assert b"data-intake-page" not in response.data


def test_a_response_is_sent_on(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy(), staff=lambda: redirect("/login", code=303))
    response = app.test_client().get(DESK)
    assert (response.status_code, response.location) == (303, "/login")


def test_the_patients_pages_do_not_ask_for_staff(make_site: MakeSite) -> None:
    assert status(make_site(SQLAlchemy(), staff=lambda: None), "/north/book/") == 200


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"id": 7}, r"id=7\): give a string of 1 to 64 characters, such as str\(user\.id\)"),
        ({"id": ""}, "id=''"),
        ({"id": "7" * 65}, "1 to 64"),
        ({"name": None}, "name=None"),
        ({"name": "  "}, "name='  '"),
        ({"name": "Ana " * 60}, "1 to 200"),
        ({"role": "admin"}, "a role is 'read' or 'decide'"),
    ],
)
def test_a_person_the_records_could_not_hold_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Staff(**({"id": "7", "name": "Ana"} | given))


def test_nobody_decides_unless_the_site_says_so() -> None:
    assert Staff(id="7", name="Ana").role == "read"


class Account(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    id = "7"


def with_login(app: Flask) -> None:
    manager = LoginManager(app)
    manager.login_view = "login"
    manager.user_loader(lambda user_id: Account())

    @app.get("/login")
    def login() -> str:
        return "sign in"

    @app.get("/signed-in")
    def signed_in() -> str:
        login_user(Account())
        return "signed in"


def test_a_login_decorator_of_the_site_guards_the_desk(make_site: MakeSite) -> None:
    hook = staff_behind(login_required, lambda: Staff(id=current_user.get_id(), name="Ana"))
    client = make_site(SQLAlchemy(), staff=hook, prepare=with_login).test_client()
    refused = client.get(DESK)
    assert refused.status_code == 302
    assert refused.location.startswith("/login?next=")
    client.get("/signed-in")
    assert client.get(DESK).status_code == 200


def test_a_decorator_that_lets_pass_still_needs_a_staff(make_site: MakeSite) -> None:
    def open_to_all(view: Callable[..., Any]) -> Callable[..., Any]:
        return view

    assert status(make_site(SQLAlchemy(), staff=staff_behind(open_to_all, lambda: None))) == 403


def test_the_sites_csrf_protection_stays_on_the_desk_when_patients_are_exempt(make_site: MakeSite) -> None:
    csrf = CSRFProtect()
    app = make_site(SQLAlchemy(), staff=lambda: ANA, prepare=csrf.init_app)
    csrf.exempt(app.blueprints["north"])
    client = app.test_client()
    assert client.post(f"{DESK}cases/K7M-2QXF/decision").status_code == 400
    assert client.post("/north/book/").status_code == 303
