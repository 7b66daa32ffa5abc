"""Sites with and without Flask-WTF's CSRFProtect."""

from __future__ import annotations

import pytest
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

from tests.hosts.conftest import MakeSite, begin, clinics_of_cases


def test_without_csrfprotect_a_patient_begins_and_no_session_is_needed(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy(), prepare=lambda app: app.config.update(SECRET_KEY=None))
    page = begin(app)
    assert "csrf_token" not in page.form.names
    assert clinics_of_cases(app) == ["north"]


@pytest.mark.parametrize("name", ["csrf_token", "site_token"])
def test_with_csrfprotect_the_forms_carry_the_sites_token(make_site: MakeSite, name: str) -> None:
    app = make_site(SQLAlchemy(), prepare=CSRFProtect, WTF_CSRF_FIELD_NAME=name)
    page = begin(app)
    assert name in page.form.names
    assert clinics_of_cases(app) == ["north"]


def test_with_csrfprotect_a_form_without_the_token_is_refused(make_site: MakeSite) -> None:
    app = make_site(SQLAlchemy(), prepare=CSRFProtect)
    assert app.test_client().post("/north/book/").status_code == 400
    assert clinics_of_cases(app) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_sent_from_another_site_is_refused_on_any_host(
    make_site: MakeSite, headers: dict[str, str]
) -> None:
    app = make_site(SQLAlchemy())
    assert app.test_client().post("/north/book/", headers=headers).status_code == 403
    assert clinics_of_cases(app) == []


def test_a_site_may_exempt_the_patients_pages_to_embed_them(make_site: MakeSite) -> None:
    csrf = CSRFProtect()
    app = make_site(SQLAlchemy(), prepare=csrf.init_app)
    csrf.exempt(app.blueprints["north"])
    assert app.test_client().post("/north/book/").status_code == 303
    assert clinics_of_cases(app) == ["north"]
