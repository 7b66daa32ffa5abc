"""What the demonstration makes for itself so that one command shows a working clinic.

A real site keeps its keys in its own secret store and its tables under its own migrations.
Everything made here lands in Flask's instance folder, and each thing made is announced.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
from pathlib import Path

import click
import sqlalchemy as sa
from flask import Flask

from example_host import accounts
from example_host.extensions import db
from intake_plugin.journeys import busy
from intake_plugin.journeys.office import Office
from intake_plugin.records.keyring import new_key
from intake_plugin.state import State

DEMO_EMAIL = "demo@example.com"


def secret_file(folder: Path, name: str, make: str) -> Path:
    """Return the file, written with `make` if it is not there yet; only its owner may read it."""
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make + "\n")
        click.echo(f"Made {path}.", err=True)
    return path


def session_secret(folder: Path) -> str:
    return secret_file(folder, "secret_key", secrets.token_urlsafe(32)).read_text().strip()


def intake_keys(folder: Path) -> str:
    path = secret_file(folder, "intake_keys", new_key())
    return f"file:{path}"


def prepare(app: Flask) -> None:
    """Create missing tables and, in the demonstration, one staff account; read the other calendars once."""
    with app.app_context():
        db.create_all()
        if not db.session.scalar(sa.select(sa.func.count()).select_from(accounts.table)):
            _add_demo_account(Path(app.instance_path))
            _read_calendars(app)


def _add_demo_account(folder: Path) -> None:
    password = secret_file(folder, "demo_password", secrets.token_urlsafe(9)).read_text().strip()
    accounts.add(DEMO_EMAIL, "Demo clinician", password)


def _read_calendars(app: Flask) -> None:
    """Do once what a real site's scheduler does every hour: `flask intake busy`."""
    state: State = app.extensions["intake_plugin"]
    for clinic in state.clinics.values():
        for source in clinic.busy:
            office = Office(
                clinic=clinic,
                session=db.session(),
                settings=state.settings,
                keyring=state.keyring,
                now=dt.datetime.now(dt.UTC),
            )
            busy.refresh(office, source)


def announce(app: Flask) -> None:
    """Say how to sign in as staff while `flask run` starts; only the demonstration has such a file."""
    password = Path(app.instance_path) / "demo_password"
    command = click.get_current_context(silent=True)
    if command is not None and command.info_name == "run" and password.exists():
        click.echo(f" * Staff sign-in: {DEMO_EMAIL}, password {password.read_text().strip()}", err=True)
