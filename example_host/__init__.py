"""Alder & Rowan, a small clinic group's site with the intake plugin mounted twice.

`flask --app example_host run` serves it from a SQLite file in the instance folder. The environment
may set SECRET_KEY, SQLALCHEMY_DATABASE_URI, INTAKE_KEYS and EXAMPLE_INSTANCE (another folder). Mail goes
to FLASK_MAIL_SERVER, with FLASK_MAIL_PORT and so on; without it each message becomes a file in the
instance folder. FLASK_INTAKE_SITE is the address in the links of messages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from flask import Flask, Response
from flask_login import login_required

from example_host import first_run, mailbox
from example_host.accounts import accounts, add, current_staff
from example_host.demo import demo
from example_host.extensions import babel, csrf, db, limiter, login, migrate
from example_host.site import Branch, add_site
from intake_plugin import Intake, staff_behind
from intake_plugin.loading import load_clinic

intake = Intake(db, staff=staff_behind(login_required, current_staff))

CLINICS = Path(__file__).parent / "clinics"
MOUNTS = {"london": "London", "new-york": "New York"}
USUAL = {
    "SESSION_COOKIE_SAMESITE": "Lax",
    # Nobody loses what they typed because they took more than an hour over a page.
    "WTF_CSRF_TIME_LIMIT": None,
    "INTAKE_DELIVER": "after-commit",
    "INTAKE_SITE": "http://127.0.0.1:5000",
}
POLICY = (
    "default-src 'none'; base-uri 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'"
)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the site; `config` wins over the environment."""
    app = Flask(__name__, instance_path=_instance_folder())
    app.config.from_mapping(USUAL)
    app.config.from_prefixed_env()
    app.config.from_mapping(_settings(app, config or {}))
    if not app.config.get("MAIL_SERVER"):
        app.config.from_mapping(mailbox.settings(Path(app.instance_path)))
    for extension in (db, login, csrf, babel, limiter):
        extension.init_app(app)
    migrate.init_app(app, db)
    intake.init_app(app)
    add_site(app, tuple(_mount(app, mount, city) for mount, city in MOUNTS.items()))
    app.register_blueprint(accounts)
    app.after_request(_protect)
    app.cli.add_command(demo)
    app.cli.add_command(add_staff)
    first_run.prepare(app)
    first_run.announce(app)
    return app


def _instance_folder() -> str | None:
    folder = os.environ.get("EXAMPLE_INSTANCE")
    return str(Path(folder).resolve()) if folder else None


def _settings(app: Flask, config: Mapping[str, Any]) -> dict[str, Any]:
    folder = Path(app.instance_path)
    makers: dict[str, Callable[[], str]] = {
        "SECRET_KEY": lambda: first_run.session_secret(folder),
        "INTAKE_KEYS": lambda: first_run.intake_keys(folder),
        "SQLALCHEMY_DATABASE_URI": lambda: f"sqlite:///{folder / 'clinic.sqlite'}",
    }
    given = {name: os.environ[name] for name in makers if name in os.environ} | dict(config)
    made = {name: make() for name, make in makers.items() if not (name in given or app.config.get(name))}
    return {**made, **given}


def _mount(app: Flask, mount: str, city: str) -> Branch:
    clinic = load_clinic(CLINICS / f"{mount}.toml")
    app.register_blueprint(intake.blueprint(mount, clinic), url_prefix=f"/{mount}/book")
    return Branch(city=city, mount=mount, clinic=clinic)


def _protect(response: Response) -> Response:
    response.headers.add("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response


@click.command("add-staff")
@click.argument("email")
@click.argument("name")
@click.password_option()
def add_staff(email: str, name: str, password: str) -> None:
    """Add a staff account with an e-mail address and a name."""
    add(email, name, password)
    click.echo(f"{name} can now sign in as {email}.")
