"""What a wheel will carry, checked without building one."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "intake_plugin"
SOURCES_ONLY = {".py", ".pyc", ".po", ".pot"}


def declared() -> set[Path]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["intake_plugin"]
    return {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}


def test_every_data_file_of_the_package_is_declared() -> None:
    present = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in SOURCES_ONLY}
    assert sorted(present - declared()) == []


@pytest.mark.parametrize("room", ["templates", "static", "protocols"])
def test_each_data_room_has_something_to_carry(room: str) -> None:
    assert [path for path in declared() if path.is_relative_to(PACKAGE / room)]


def test_the_package_says_it_is_typed() -> None:
    assert PACKAGE / "py.typed" in declared()


def test_flask_finds_the_command_line() -> None:
    commands = {point.name: point.value for point in entry_points(group="flask.commands")}
    assert commands["intake"] == "intake_plugin.cli:intake"


def test_constraints_pin_what_is_required_and_name_no_place() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "@" not in line and "/" not in line for line in lines)
    pinned = {canonical(line) for line in lines}
    needed = {canonical(requirement) for requirement in requires("intake_plugin") or ()}
    assert needed - {"intake-plugin"} <= pinned


def canonical(requirement: str) -> str:
    """Return a project's name as package indexes compare names."""
    return re.sub("[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()
