"""Sites with Flask-Babel, with Flask-Babel installed and not initialised, and without it."""

from __future__ import annotations

import sys

import pytest
from flask_babel import Babel
from flask_sqlalchemy import SQLAlchemy

from tests.hosts.conftest import MakeSite, begin


def test_with_flask_babel_a_patient_begins(make_site: MakeSite) -> None:
    begin(make_site(SQLAlchemy(), prepare=Babel))


def test_a_patient_begins_where_flask_babel_is_not_initialised(make_site: MakeSite) -> None:
    begin(make_site(SQLAlchemy()))


def test_a_patient_begins_where_flask_babel_is_not_installed(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = begin(make_site(SQLAlchemy()))
    for name in [name for name in sys.modules if name.split(".")[0] in {"flask_babel", "babel"}]:
        monkeypatch.setitem(sys.modules, name, None)
    page = begin(make_site(SQLAlchemy(), name="plain", create=False))
    assert page.text == expected.text
