"""What the plugin knows of each app, and which clinic and which member of staff a request is about.

Everything here lives in `app.extensions["intake_plugin"]` or on the request, never on a module, so
that several apps and several clinics share one process without meeting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

from flask import abort, current_app, g, request
from flask_sqlalchemy import SQLAlchemy
from jinja2 import Template
from werkzeug.local import LocalProxy
from werkzeug.wrappers import Response

from intake_plugin.errors import ReadOnly, SetupError
from intake_plugin.posting import Mailer
from intake_plugin.records.base import INFO_KEY
from intake_plugin.records.keyring import KeyRing
from intake_plugin.settings import Clinic, Settings

KEY = INFO_KEY
"""The plugin's place in `app.extensions`."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Staff:
    """Who is at the clinic's desk, as the host knows them.

    `id` stays the same for a person for ever, because it signs the audit trail; at most 64
    characters, and 200 for `name`. `role` is "decide" for those who decide reviews, change bookings
    and block time; "read", the default, sees the desk and changes nothing. Raises ValueError when a
    value could not be stored.
    """

    id: str
    name: str
    role: Literal["read", "decide"] = "read"

    def __post_init__(self) -> None:
        # A host's user ids are often numbers, and not every host has a type checker.
        for field_name, longest in (("id", 64), ("name", 200)):
            value: object = getattr(self, field_name)
            if not isinstance(value, str) or not (value.strip() and len(value) <= longest):
                raise ValueError(
                    f"Staff({field_name}={value!r}): give a string of 1 to {longest} characters, "
                    f"such as str(user.{field_name})."
                )
        if self.role not in {"read", "decide"}:
            raise ValueError(f"Staff(role={self.role!r}): a role is 'read' or 'decide'.")


StaffHook = Callable[[], Staff | Response | None]
"""The host's answer to "who is asking?": a `Staff`, a response such as a redirect to the login, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The plugin's state of one app."""

    settings: Settings
    keyring: KeyRing
    db: SQLAlchemy
    staff: StaffHook | None
    csp_nonce: Callable[[], str] | None
    mailer: Mailer | None = None
    """The host's own way of sending mail; None for the `MAIL_*` settings."""
    clinics: dict[str, Clinic] = field(default_factory=dict)
    """By the name of the mounted blueprint."""
    templates: dict[tuple[str, str], Template] = field(default_factory=dict)
    """What each clinic has under the name of a template, where the site does not look for changes."""


def current_state() -> State:
    """Return the state of the app whose context is active."""
    try:
        return cast("State", current_app.extensions[KEY])
    except KeyError:
        raise SetupError("This app has no intake plugin. Call Intake.init_app(app) first.") from None


def current_mount() -> str:
    """Return the blueprint name under which the page being served is mounted ("north").

    An endpoint is `f"{current_mount()}.step"` wherever a relative one would mean a nested blueprint.
    """
    clinics = current_state().clinics
    for name in request.blueprints if request else ():
        if name in clinics:
            return name
    raise SetupError(
        "current_clinic is only there while one of the plugin's pages is being served. In mail, commands "
        "and the site's own pages, pass the clinic along."
    )


def _find_clinic() -> Clinic:
    return current_state().clinics[current_mount()]


current_clinic = cast("Clinic", LocalProxy(_find_clinic))
"""The clinic of the page being served."""


def staff_gate() -> Response | None:
    """Let only staff pass; the one `before_request` of every staff page.

    Anything but a `Staff` or a response from the host's hook is refused with 403, so a hook that
    returns True by mistake lets nobody in. An error in the hook is an error, never the page.
    """
    hook = current_state().staff
    answer = hook() if hook is not None else None
    if isinstance(answer, Response):
        return answer
    if not isinstance(answer, Staff):
        abort(403)
    g.intake_staff = answer
    return None


def refuse_readers() -> None:
    """Refuse whatever a staff page that changes something was sent by somebody who may only look.

    It follows the gate, so that a page added later is covered as well.
    """
    if request.method not in READING and current_staff().role != "decide":
        raise ReadOnly("Your account can look at cases and change none.")


def current_staff() -> Staff:
    """Return who passed the gate of the staff page being served."""
    return cast("Staff", g.intake_staff)
