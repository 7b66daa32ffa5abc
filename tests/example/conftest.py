"""The example clinic as its own command line and its visitors meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from example_host import create_app
from example_host.extensions import db

MakeExample = Callable[..., Flask]


@pytest.fixture
def make_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExample]:
    """Make the example clinic with an instance folder of the test's own."""
    for name in ("SECRET_KEY", "INTAKE_KEYS", "SQLALCHEMY_DATABASE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EXAMPLE_INSTANCE", str(tmp_path / "instance"))
    made: list[Flask] = []

    def make(config: Mapping[str, Any] | None = None) -> Flask:
        made.append(create_app(config))
        return made[-1]

    yield make
    for app in made:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def example(make_example: MakeExample) -> Flask:
    return make_example()
