"""Protocols, clinic profiles and deployment settings from files, each with every problem at once."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from intake_plugin.clinical.linter import lint
from intake_plugin.clinical.protocol import Protocol, Texts
from intake_plugin.errors import Problem, ProtocolError, did_you_mean
from intake_plugin.reading import Structured, place, read

_SUFFIX = ".toml"


def load_protocol(source: str | Path, *, languages: Sequence[str] | None = None) -> Protocol:
    """Read a protocol with every language file beside it.

    `source` is the id of a protocol of the package ("microneedling") or a path to a TOML file.
    `languages`, when given, are the languages that must be there. Raises `ProtocolError` with
    all problems of all files.
    """
    folder, stem = _locate(source)
    words = dict(_language_files(folder, stem))
    problems: list[Problem] = []
    protocol, tainted = _main_file(folder, stem, problems)
    texts: dict[str, Texts] = {}
    for language, file in sorted(words.items()):
        raw = _toml(file, problems)
        if raw is None:
            continue
        structured = read(raw, Texts, file.name)
        problems += structured.problems
        tainted += _tainted(raw, structured, file.name)
        if structured.value is not None:
            texts[language] = structured.value
    for language in languages or ():
        if language not in words:
            what = f"There is no language file {stem}.{language}{_SUFFIX}.{did_you_mean(language, words)}"
            problems.append(Problem(stem + _SUFFIX, what))
    if protocol is not None:
        protocol = dataclasses.replace(protocol, texts=texts)
        problems += [problem for problem in lint(protocol) if not _caused(problem, tainted)]
    if problems or protocol is None:
        raise ProtocolError(f"Protocol {stem!r}", dict.fromkeys(problems))
    return protocol


def _locate(source: str | Path) -> tuple[Traversable, str]:
    if isinstance(source, str) and "/" not in source and not source.endswith(_SUFFIX):
        folder = resources.files("intake_plugin") / "protocols"
        known = sorted(
            entry.name[: -len(_SUFFIX)] for entry in folder.iterdir() if entry.name.count(".") == 1
        )
        if source not in known:
            hint = did_you_mean(source, known)
            raise ProtocolError(
                f"Protocol {source!r}", [Problem("", f"The package has no protocol {source!r}.{hint}")]
            )
        return folder, source
    path = Path(source)
    if not path.is_file():
        raise ProtocolError(f"Protocol {path.stem!r}", [Problem(str(path), "There is no such file.")])
    return path.parent, path.stem


def _language_files(folder: Traversable, stem: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        head, _, language = entry.name.removesuffix(_SUFFIX).partition(".")
        if head == stem and language and entry.name.endswith(_SUFFIX):
            yield language, entry


def _toml(file: Traversable, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        problems.append(Problem(file.name, f"This is not TOML: {error}."))
    except UnicodeDecodeError as error:
        problems.append(Problem(file.name, f"This is not UTF-8 text: {error.reason} at byte {error.start}."))
    return None


def _main_file(
    folder: Traversable, stem: str, problems: list[Problem]
) -> tuple[Protocol | None, list[tuple[str, str]]]:
    file = folder / (stem + _SUFFIX)
    raw = _toml(file, problems)
    if raw is None:
        return None, []
    if raw.pop("texts", None) is not None:
        what = f"Words stand in a file per language, such as {stem}.en{_SUFFIX}."
        problems.append(Problem(f"{file.name}: texts", what))
    structured = read(raw, Protocol, file.name)
    problems += structured.problems
    if raw.get("id", stem) != stem:
        what = f"The id is {raw['id']!r} but the file is called {file.name}; give both the same name."
        problems.append(Problem(f"{file.name}: id", what))
    return structured.value, _tainted(raw, structured, file.name)


def _tainted(raw: Any, structured: Structured, name: str) -> list[tuple[str, str]]:
    """Return (place, item's id) of each mended value: what the linter says of them is an echo."""
    found = []
    for path in structured.mended:
        where = place(raw, path)
        item = where.split(".")[1] if "." in where else where
        found.append((f"{name}: {where}", repr(item)))
    return found


def _caused(problem: Problem, tainted: Sequence[tuple[str, str]]) -> bool:
    return any(problem.where.startswith(where) or item in problem.what for where, item in tainted)
