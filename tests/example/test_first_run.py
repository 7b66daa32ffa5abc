"""What the first run leaves in the instance folder, and what later runs make of it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from intake_plugin.records.keyring import KeyRing
from intake_plugin.testing import keys

SECRETS = {"secret_key", "intake_keys", "demo_password"}


def made(app: Flask) -> dict[str, Path]:
    return {path.name: path for path in Path(app.instance_path).iterdir()}


def test_it_makes_what_is_missing_and_says_so(
    make_example: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    files = made(make_example())
    said = capsys.readouterr().err
    assert set(files) == SECRETS | {"clinic.sqlite"}
    assert all(name in said for name in SECRETS)
    assert KeyRing.parse(f"file:{files['intake_keys']}").newest


def test_only_the_owner_can_read_the_secrets(example: Flask) -> None:
    files = made(example)
    assert {stat.S_IMODE(files[name].stat().st_mode) for name in SECRETS} == {0o600}


def test_a_later_run_keeps_them(
    make_example: Callable[..., Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    first = {name: made(make_example())[name].read_text() for name in SECRETS}
    capsys.readouterr()
    again = {name: made(make_example())[name].read_text() for name in SECRETS}
    assert again == first
    assert "Made" not in capsys.readouterr().err


def test_what_the_environment_sets_is_not_made(
    make_example: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY", "from the environment")
    monkeypatch.setenv("INTAKE_KEYS", keys())
    monkeypatch.setenv("SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path / 'own.sqlite'}")
    app = make_example()
    assert set(made(app)) == {"demo_password"}
    assert (tmp_path / "own.sqlite").exists()
    assert app.config["INTAKE_KEYS"] == keys()
