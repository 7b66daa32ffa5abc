"""Never run, only type-checked: what a host may write, and what its type checker must refuse.

An unused `type: ignore` is an error, so every one below stands for a mistake that is caught.
"""

from __future__ import annotations

from email.message import EmailMessage
from typing import assert_type

from flask import Flask, redirect
from flask_sqlalchemy import SQLAlchemy
from werkzeug.wrappers import Response

from intake_plugin import Intake, IntakeBlueprint, Staff, current_clinic, staff_behind
from intake_plugin.settings import Clinic


class Site(Flask):
    """A host's own subclass of Flask."""


db = SQLAlchemy()


def staff_or_login() -> Staff | Response | None:
    return redirect("/login")


def send(message: EmailMessage) -> None: ...


def send_text(text: str) -> None: ...


Intake(db)
Intake(db, staff=lambda: None)
Intake(db, staff=lambda: Staff(id="7", name="Ana", role="read"))
Intake(db, staff=staff_or_login)
Intake(db, staff_or_login, csp_nonce=lambda: "nonce")
Intake(db, mailer=send)

Intake(db, mailer=send_text)  # type: ignore[arg-type]
Intake(db, mailer=lambda: None)  # type: ignore[arg-type,misc]
Intake()  # type: ignore[call-arg]
Intake(db, staff=lambda: True)  # type: ignore[arg-type,return-value]
Intake(db, staff=lambda: "root")  # type: ignore[arg-type,return-value]
Intake(db, staff=Staff(id="7", name="Ana"))  # type: ignore[arg-type]
Intake(db, None, lambda: "nonce")  # type: ignore[call-arg]
Staff(id="7", name="Ana", role="admin")  # type: ignore[arg-type]
Staff(id=7, name="Ana")  # type: ignore[arg-type]

intake = Intake(db)
assert_type(intake.init_app(Site(__name__)), Site)
assert_type(intake.blueprint("north", "clinics/north.toml"), IntakeBlueprint)
intake.blueprint("north", {"id": "north"})  # type: ignore[arg-type]
assert_type(current_clinic, Clinic)
current_clinic.nmae  # type: ignore[attr-defined] # noqa: B018 -- a misspelt name
staff_behind(lambda view: view, lambda: None)
