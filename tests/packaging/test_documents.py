"""The examples of the README and the documents run, and what they name is there."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.document import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from intake_plugin.testing import Visitor, keys

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LAYOUT = "<!doctype html><title>{% block title %}{% endblock %}</title>{% block content %}{% endblock %}"


@pytest.fixture
def site_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the examples assume it: two clinic profiles, a base template, keys in the environment."""
    (tmp_path / "clinics").mkdir()
    (tmp_path / "templates").mkdir()
    for example, name in (("london", "north"), ("new-york", "south")):
        shutil.copy(ROOT / f"example_host/clinics/{example}.toml", tmp_path / f"clinics/{name}.toml")
    (tmp_path / "templates/site.html").write_text(LAYOUT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_INTAKE_KEYS", keys())
    monkeypatch.setenv("FLASK_SECRET_KEY", "for tests")
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", "sqlite://")
    return tmp_path


def parse(path: Path) -> Document:
    sybil = Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT), patterns=["*.md"])
    return sybil.parse(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_example_runs(path: Path, site_folder: Path) -> None:
    document = parse(path)
    # No such module, so Flask takes the current folder for the app's own.
    document.namespace["__name__"] = "a_site"
    for example in document.examples():
        example.evaluate()
    create_app = document.namespace.get("create_app")
    if create_app is None:
        return
    app = create_app()
    for mount in app.extensions["intake_plugin"].clinics:
        assert Visitor.of(app.test_client()).get(f"/{mount}/book/").name == "start"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_project_leads_to_a_file(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def shown() -> dict[str, set[str]]:
    """Return what the pages hand to each template, besides what every page has."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "intake_plugin" / "web").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "show":
                template = ast.literal_eval(node.args[1])
                found.setdefault(template, set()).update(each.arg or "" for each in node.keywords)
    return {name: values - {"page", "heading", "back", "mistakes"} for name, values in found.items()}


def test_a_site_that_overrides_a_page_is_told_what_the_page_gets() -> None:
    told: dict[str, set[str]] = {}
    for line in (ROOT / "docs" / "theming.md").read_text().splitlines():
        if line.startswith("| `") and ".html` |" in line:
            pages, values = line.strip("| ").split(" | ")
            for page in re.findall("`([^`]+)`", pages):
                told[page] = set(re.findall("`([^`]+)`", values))
    assert told == {name: values for name, values in shown().items() if values}


def test_the_readme_has_two_commands_each_whole_by_itself() -> None:
    commands = [
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python3.11 ")
    ]
    assert len(commands) == 2
    for command in commands:
        assert command.startswith("python3.11 -m venv .venv && .venv/bin/python -m pip install ")
        assert "-c constraints.txt" in command
    assert commands[0].endswith(".venv/bin/flask --app example_host run")
    assert " -m pytest" in commands[1]
