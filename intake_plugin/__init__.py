"""Intake, screening, consent and booking for skin clinics, mounted in any Flask site.

The names below load on first use, so that a room without a framework, the protocol linter for
one, can be imported without Flask or a database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intake_plugin.extension import Intake, IntakeBlueprint, staff_behind
    from intake_plugin.state import Staff, StaffHook, current_clinic

__all__ = ["Intake", "IntakeBlueprint", "Staff", "StaffHook", "current_clinic", "staff_behind"]

_HOMES = {
    "Intake": "extension",
    "IntakeBlueprint": "extension",
    "Staff": "state",
    "StaffHook": "state",
    "current_clinic": "state",
    "staff_behind": "extension",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'intake_plugin' has no attribute {name!r}")
    value = getattr(import_module(f"intake_plugin.{home}"), name)
    globals()[name] = value
    return value
