"""Plain data from a file -> frozen dataclasses, with every problem and its place.

`read` never stops at the first mistake. Where a value is wrong it notes the problem, puts a
stand-in in its place and goes on, so that the checks that follow (the linter, the clinic's own)
can still speak about the rest of the file.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn, TypeVar

import cattrs
import isodate
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from intake_plugin.clinical.protocol import All, AnyOf, Compare, Condition, Outcome, Wait, Within
from intake_plugin.errors import Problem, did_you_mean

T = TypeVar("T")
Path = tuple[str | int, ...]

_ROUNDS: Final = 8
_CONDITIONS: Final[Mapping[str, type]] = {"all": All, "any": AnyOf, "within": Within, "question": Compare}


class Wrong(ValueError):
    """A value that does not fit; its text says what fits."""


@dataclass(frozen=True, slots=True)
class Structured:
    """What `read` made of the data: `value` is None where too little of it was readable."""

    value: Any
    problems: tuple[Problem, ...]
    mended: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """How one further type is read: `parse` raises `Wrong`; `stand_in` is a raw value that it takes."""

    parse: Callable[[Any], Any]
    stand_in: Any


def read(
    raw: Mapping[str, Any], cls: type[T], name: str, kinds: Mapping[type, Kind] | None = None
) -> Structured:
    """Structure `raw` as `cls`; `name` is the file's name, which begins every place."""
    kinds = kinds or {}
    converter, problems, mended = _converter(kinds), list[Problem](), list[Path]()
    draft: Any = _copy(raw)
    for _ in range(_ROUNDS):
        try:
            value = converter.structure(draft, cls)
        except Exception as error:
            slips = list(_slips(error, (), cls))
            problems += [Problem(f"{name}: {place(raw, slip.path)}", slip.what) for slip in slips]
            mended += [slip.path for slip in slips]
            if not all(_mend(draft, slip, kinds) for slip in slips):
                break
        else:
            return Structured(value, tuple(problems), tuple(mended))
    return Structured(None, tuple(problems), tuple(mended))


def place(raw: Any, path: Path) -> str:
    """Return `path` as a reader of the file would say it: `rules.S20.wait`, not `rules[19].wait`."""
    words: list[str] = []
    for step in path:
        raw = _child(raw, step)
        label = _label(raw)
        if isinstance(step, int) and not isinstance(label, str):
            words[-1:] = [f"{words[-1] if words else ''}[{step}]"]
        else:
            words.append(label if isinstance(step, int) and isinstance(label, str) else str(step))
    if words[:1] == ["sections"] and words[2:3] == ["questions"] and len(words) > 3:
        words = words[2:]
    return ".".join(words)


def _label(raw: Any) -> Any:
    """Return what a reader calls an entry of a list."""
    if not isinstance(raw, Mapping):
        return None
    return next((raw[key] for key in ("id", "link_id", "protocol") if key in raw), None)


def duration(text: Any) -> Wait | dt.timedelta:
    """Read an ISO 8601 duration: a `Wait` when it has no time part, else a timedelta.

    Raises `Wrong` for anything else, for fractions and for negative durations.
    """
    if not isinstance(text, str):
        raise Wrong(f"{text!r} is not an ISO 8601 duration; write it as text, such as 'P14D' or 'PT30M'.")
    try:
        parsed = isodate.parse_duration(text, as_timedelta_if_possible=False)
    except (isodate.ISO8601Error, ValueError, ArithmeticError):
        _no_duration(text)
    if not text[-2:-1].isdigit() or text[:1] != "P" or any(mark in text for mark in ".,"):
        _no_duration(text)
    months = int(parsed.years) * 12 + int(parsed.months)
    exact = parsed.tdelta
    if "T" not in text:
        return Wait(months=months, days=exact.days)
    if months:
        raise Wrong(f"{text!r} mixes months with hours; a wait is either in dates or in exact time.")
    return typing.cast("dt.timedelta", exact)


def wait(text: Any) -> Wait:
    """Read a wait in months and days, such as 'P6M' or 'P28D'."""
    found = duration(text)
    if isinstance(found, Wait):
        return found
    raise Wrong(f"{text!r} has a time part; this wait is counted in dates: write 'P1D', 'P2W', 'P6M'.")


def exact_time(text: Any) -> dt.timedelta:
    """Read a span of exact time, such as 'PT30M', 'PT24H' or 'P7D'."""
    found = duration(text)
    if isinstance(found, dt.timedelta):
        return found
    if found.months:
        raise Wrong(f"{text!r} has no exact length; write it in days or hours, such as 'P730D' or 'PT48H'.")
    return dt.timedelta(days=found.days)


def _no_duration(text: str) -> NoReturn:
    raise Wrong(f"{text!r} is not an ISO 8601 duration; write 'P14D', 'P4W', 'P6M' or 'PT30M'.")


def _converter(kinds: Mapping[type, Kind]) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for cls, kind in kinds.items():
        converter.register_structure_hook(cls, _by(kind))
    for plain, words in ((str, "text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(plain, _exactly(plain, words))
    converter.register_structure_hook(dt.date, _exactly(dt.date, "a date, such as 2026-03-02"))
    converter.register_structure_hook(Wait, lambda value, _: wait(value))
    converter.register_structure_hook(dt.timedelta, lambda value, _: exact_time(value))
    converter.register_structure_hook(Outcome, lambda value, _: Outcome(_one_of(value, list(Outcome))))
    converter.register_structure_hook_func(_is_literal, lambda value, cls: _one_of(value, _choices(cls)))
    converter.register_structure_hook_func(_is_scalar, _scalar)
    converter.register_structure_hook_func(_is_duration, _any_duration)
    converter.register_structure_hook_func(_is_condition, _condition_hook(converter))
    converter.register_structure_hook_func(_is_tuple, _tuple_hook(converter))
    converter.register_structure_hook_func(_is_mapping, _mapping_hook(converter))
    return converter


def _by(kind: Kind) -> Callable[[Any, Any], Any]:
    return lambda value, _: kind.parse(value)


def _exactly(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise Wrong(f"{value!r} is not {words}.")
        return value

    return hook


def _parts(cls: Any) -> set[Any]:
    return set(typing.get_args(cls)) if typing.get_origin(cls) in (types.UnionType, typing.Union) else {cls}


def _is_literal(cls: Any) -> bool:
    return typing.get_origin(cls) is Literal


def _choices(cls: Any) -> Sequence[str]:
    return typing.get_args(cls)


def _one_of(value: Any, known: Sequence[str]) -> str:
    if value in known:
        return str(value)
    raise Wrong(f"{value!r} is not one of {', '.join(map(str, known))}.{_near(value, known)}")


def _near(value: Any, known: Sequence[str]) -> str:
    hint = did_you_mean(value, known)
    return hint if "Did you mean" in hint else ""


def _is_scalar(cls: Any) -> bool:
    return _parts(cls) == {str, int, bool}


def _scalar(value: Any, _: Any) -> Any:
    if not isinstance(value, str | int):
        raise Wrong(f"{value!r} is not text, a whole number, true or false.")
    return value


def _is_duration(cls: Any) -> bool:
    return _parts(cls) - {types.NoneType} == {Wait, dt.timedelta}


def _any_duration(value: Any, _: Any) -> Wait | dt.timedelta | None:
    return None if value is None else duration(value)


def _is_condition(cls: Any) -> bool:
    return _parts(cls) - {types.NoneType} == _parts(Condition)


def _condition_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise Wrong(f'{value!r} is not a condition; write a table such as {{ question = "..." }}.')
        for key, cls in _CONDITIONS.items():
            if key in value:
                return converter.structure(value, cls)
        found = ", ".join(map(repr, value)) or "nothing"
        raise Wrong(f"A condition has 'question', 'within', 'all' or 'any'; this one has {found}.")

    return hook


def _is_tuple(cls: Any) -> bool:
    return typing.get_origin(cls) is tuple


def _tuple_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise Wrong(f"{value!r} is not a list; write it in brackets: [ ... ].")
        inner = typing.get_args(cls)[0]
        return tuple(_each(converter, enumerate(value), inner, cls).values())

    return hook


def _is_mapping(cls: Any) -> bool:
    return typing.get_origin(cls) is Mapping


def _mapping_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Wrong(f"{value!r} is not a table of names and values.")
        return _each(converter, value.items(), typing.get_args(cls)[1], cls)

    return hook


def _each(converter: cattrs.Converter, items: Any, inner: Any, cls: Any) -> dict[Any, Any]:
    done: dict[Any, Any] = {}
    errors: list[Exception] = []
    for key, value in items:
        try:
            done[key] = converter.structure(value, inner)
        except Exception as error:
            error.add_note(IterableValidationNote(f"item {key!r}", key, inner))
            errors.append(error)
    if errors:
        raise IterableValidationError("items", errors, cls)
    return done


@dataclass(frozen=True, slots=True)
class _Slip:
    path: Path
    what: str
    type: Any
    extra: bool = False


def _slips(error: BaseException, path: Path, cls: Any) -> Iterator[_Slip]:
    match error:
        case ClassValidationError() | IterableValidationError():
            for part in error.exceptions:
                note = _note(part)
                if note is None:
                    yield from _slips(part, path, error.cl)
                else:
                    step = note.index if isinstance(note, IterableValidationNote) else note.name
                    found = _slips(_without(part, note), (*path, step), note.type)
                    yield from _hushed(found) if _is_secret(error.cl, step) else found
        case ForbiddenExtraKeysError():
            known = [field.name for field in dataclasses.fields(error.cl)]
            for key in sorted(error.extra_fields, key=str):
                what = f"There is no {key!r} here.{did_you_mean(key, known)}"
                yield _Slip((*path, key), what, None, extra=True)
        case KeyError():
            yield _Slip(path, "This is missing.", cls)
        case Wrong():
            yield _Slip(path, str(error), cls)
        case _:
            yield _Slip(path, f"This has the wrong form ({type(error).__name__}).", cls)


def _is_secret(cls: Any, name: str | int) -> bool:
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return any(field.metadata.get("secret") for field in fields if field.name == name)


def _hushed(slips: Iterator[_Slip]) -> Iterator[_Slip]:
    """Say of a secret where and not what: problems end up in logs."""
    for slip in slips:
        what = "This is not text. It is a secret, so what it is instead is not repeated here."
        yield dataclasses.replace(slip, what=what)


def _note(error: BaseException) -> AttributeValidationNote | IterableValidationNote | None:
    for note in reversed(getattr(error, "__notes__", ())):
        if isinstance(note, AttributeValidationNote | IterableValidationNote):
            return note
    return None


def _without(error: BaseException, note: str) -> BaseException:
    error.__notes__.remove(note)
    return error


def _copy(raw: Any) -> Any:
    if isinstance(raw, Mapping):
        return {key: _copy(value) for key, value in raw.items()}
    return [_copy(item) for item in raw] if isinstance(raw, list | tuple) else raw


def _child(raw: Any, step: str | int) -> Any:
    try:
        return raw[step]
    except (LookupError, TypeError):
        return None


def _mend(draft: Any, slip: _Slip, kinds: Mapping[type, Kind]) -> bool:
    if not slip.path:
        return False
    *parents, last = slip.path
    for step in parents:
        draft = _child(draft, step)
    if slip.extra:
        return isinstance(draft, dict) and draft.pop(last, draft) is not draft
    kind = kinds.get(slip.type)
    stand_in = kind.stand_in if kind else _stand_in(slip.type)
    if stand_in is None or not isinstance(draft, dict | list):
        return False
    draft[typing.cast("Any", last)] = stand_in
    return True


def _stand_in(cls: Any) -> Any:
    plain = {str: "?", int: 0, bool: False, Wait: "P1D", dt.timedelta: "PT1M", Outcome: "review"}
    parts = [part for part in typing.get_args(cls) if part is not types.NoneType] or [cls]
    if _is_condition(cls):
        return {"all": []}
    if _is_literal(cls):
        return _choices(cls)[0]
    if _is_tuple(cls):
        return []
    if _is_mapping(cls):
        return {}
    if cls is dt.date:
        return dt.date.min
    return next((plain[part] for part in parts if part in plain), None)
