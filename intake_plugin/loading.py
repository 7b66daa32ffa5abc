"""Protocols, clinic profiles and deployment settings from files, each with every problem at once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from intake_plugin import profile as profiles
from intake_plugin.clinical.changes import effective, fingerprint
from intake_plugin.clinical.linter import lint
from intake_plugin.clinical.protocol import Protocol, Texts
from intake_plugin.errors import ConfigurationError, Problem, ProtocolError, did_you_mean
from intake_plugin.profile import KINDS, Profile, TreatmentEntry
from intake_plugin.reading import Structured, place, read
from intake_plugin.settings import Clinic, Settings, Treatment

__all__ = [
    "BUSY_DEFAULTS",
    "CALENDAR_DEFAULTS",
    "DEFAULTS",
    "MAIL_DEFAULTS",
    "effective",
    "fingerprint",
    "load_clinic",
    "load_protocol",
    "load_settings",
]

DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "draft_lifetime": "P7D",
        "link_lifetime": "P730D",
        "lock_timeout": "PT5S",
        "mail_timeout": "PT20S",
        "limit_start": "60 per hour",
        "limit_open": "30 per 10 minutes",
        "limit_sign": "60 per 10 minutes",
        "limit_links": "30 per hour",
    }
)
"""What a deployment that says nothing gets: ISO 8601 durations, and limits as Flask-Limiter writes them."""

CALENDAR_DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "prepare": "PT1H",
        "ahead": "P1D",
        "entry": "PT15M",
        "keep_cancelled": "P30D",
        "care_at": "09:00",
        "refresh": "PT6H",
        "max_age": "PT15M",
    }
)
"""What a clinic that says nothing in `[calendar]` gets: ISO 8601 durations, and a local time."""

BUSY_DEFAULTS: Final[Mapping[str, str | int]] = MappingProxyType(
    {
        "ahead": "P18M",
        "within": "PT1M",
        "octets": 20_000_000,
        "entries": 50_000,
        "instances": 50_000,
        "redirects": 0,
    }
)
"""What a clinic that says nothing in a `[[busy]]` gets: ISO 8601 durations and greatest numbers."""

MAIL_DEFAULTS: Final[Mapping[str, str | tuple[str, ...]]] = MappingProxyType(
    {
        "name": "",
        "notices": "",
        "calendar": "attach",
        "reminders": (),
        "retry_after": "PT2M",
        "retry_most": "PT2H",
        "give_up_after": "P2D",
        "keep_sent": "P90D",
    }
)
"""What a clinic that says nothing in `[mail]` besides its sender gets: ISO 8601 durations, and texts."""

_SUFFIX: Final = ".toml"
_PREFIX: Final = "INTAKE_"
_ENVIRONMENT: Final = "env:"
INACTIVITY: Final = dt.timedelta(hours=20)
"""WCAG 2.2, success criterion 2.2.1: a limit longer than this needs no warning."""
_PATIENCE: Final = dt.timedelta(seconds=1)
"""The least lock time-out that every database can keep: MariaDB counts whole seconds."""
_LIMIT: Final = r"[1-9][0-9]{0,6} per ([1-9][0-9]{0,3} )?(second|minute|hour|day)s?"
_LIMITS: Final = re.compile(rf"({_LIMIT}(; ?{_LIMIT})*)?")
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?")


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


def load_clinic(source: str | Path | Mapping[str, Any]) -> Clinic:
    """Read a clinic's profile from a TOML file, or from the same tables as a mapping.

    Raises `ConfigurationError` with every problem of the profile and of the protocols it names::

        id = "north"                        # stored with every record; never change it
        name = "North Clinic"
        zone = "Europe/London"              # IANA name
        languages = ["en"]                  # every protocol must have them
        base_template = "base.html"         # the host's own
        retention = "P8Y"                   # how long records are kept
        marketing_name = ""                 # what calendars may call the clinic, on a lock screen too

        [contact]                           # all four are shown to patients
        telephone = "..."
        email = "..."
        address = "..."
        emergency = "999"

        [hours]                             # mon to sun; a day left out is closed
        mon = "09:00-12:30, 13:30-17:00"

        [[closures]]
        first = 2026-12-24
        last = 2026-12-26                   # left out: one day
        reason = "Christmas"

        [booking]                           # ISO 8601 durations
        notice = "PT24H"
        horizon = "P3M"
        grid = "PT15M"
        drift = "P3D"
        hold = "PT20M"                      # how long chosen times are held, per press
        hold_most = "PT4H"                  # and in all
        move_notice = "PT48H"
        cancel_notice = "PT48H"
        block_most = "P12M"                 # how long one block by hand can be

        [calendar]                          # may be left out, see CALENDAR_DEFAULTS
        prepare = "PT1H"                    # alarm before the arrival
        ahead = "P1D"                       # the earlier alarm
        entry = "PT15M"                     # how long "cream on" is shown
        keep_cancelled = "P30D"
        care_at = "09:00"                   # local time of care notes that count whole days
        refresh = "PT6H"                    # how often a subscribed calendar is told to ask again
        max_age = "PT15M"                   # how long it may go on without asking

        [mail]                              # left out: no mail at all; see MAIL_DEFAULTS
        sender = "desk@..."                 # the clinic's mailbox
        name = "..."                        # what mail programs show for it
        notices = "desk@..."                # told when a case waits for a clinician
        calendar = "attach"                 # or "invite"
        reminders = ["P2D"]                 # before each session
        retry_after = "PT2M"                # doubled after each failure,
        retry_most = "PT2H"                 # up to this,
        give_up_after = "P2D"               # and given up after this
        keep_sent = "P90D"

        [[resources]]                       # hours and closures of its own are optional
        id = "room-1"
        kind = "room"                       # or "practitioner"
        name = "Room 1"
        treatments = ["microneedling"]      # left out: all
        lanes = 1
        before = "PT5M"
        after = "PT15M"

        [[busy]]                            # somebody's own calendar, see BUSY_DEFAULTS
        resource = "nurse-a"
        source = "https://..."              # or a path beginning at the profile, or "env:NAME"
        stale_after = "PT6H"
        stale = "block"                     # or "warn"
        private_addresses = false

        [consent_facts]                     # own words for placeholders of the consent texts
        controller = "..."

        [[treatments]]
        protocol = "microneedling"          # of the package, or a path beginning at the profile
        rules_on = []
        rules_off = []
        offers = []                         # optional options the clinic provides
        waits = { botulinum = "P21D" }
        limits = { }
        courses = { fine_lines = { sessions = { min = 3, usual = 4, max = 6 } } }
        products = { LMX4 = { contact_max = "PT45M" } }
        before = "PT0M"                     # kept free in every resource; the longer buffer counts
        after = "PT10M"
        numbing = { stock = ["LMX4"], home = "never", contact = { LMX4 = "PT30M" } }
        retired = false                     # true: no new cases, see docs/operating.md

        [treatments.approval]               # who answers for exactly this content
        by = "..."
        role = "Medical director"
        on = 2026-03-02
        version = "..."
        fingerprint = "..."                 # as `flask intake check` prints it
    """
    if isinstance(source, Mapping):
        return _clinic(source, "profile", Path())
    path = Path(source)
    subject = f"Clinic profile {path.name!r}"
    if not path.is_file():
        raise ConfigurationError(subject, [Problem(str(path), "There is no such file.")])
    problems: list[Problem] = []
    raw = _toml(path, problems)
    if raw is None:
        raise ConfigurationError(subject, problems)
    return _clinic(raw, path.name, path.parent)


def _clinic(raw: Mapping[str, Any], name: str, folder: Path) -> Clinic:
    calendar = raw.get("calendar", {})
    if isinstance(calendar, Mapping):
        raw = {**raw, "calendar": {**CALENDAR_DEFAULTS, **calendar}}
    if isinstance(raw.get("mail"), Mapping):
        raw = {**raw, "mail": {**MAIL_DEFAULTS, **raw["mail"]}}
    found: list[Problem] = []
    if isinstance(raw.get("busy"), list):
        raw = {
            **raw,
            "busy": [_busy(each, f"{name}: busy[{at}]", found) for at, each in enumerate(raw["busy"])],
        }
    structured = read(raw, Profile, name, KINDS)
    found += structured.problems
    profile: Profile | None = structured.value
    treatments: dict[str, Treatment] = {}
    if profile is not None:
        tainted = _tainted(raw, structured, name)
        protocols = _protocols(profile, folder, name, found)
        own = [Problem(f"{name}: {place}", what) for place, what in profiles.problems(profile, protocols)]
        found += [problem for problem in own if not _caused(problem, tainted)]
        if not found:
            treatments = _treatments(profile, protocols, name, found)
    if found or profile is None:
        raise ConfigurationError(f"Clinic profile {name!r}", dict.fromkeys(found))
    return profiles.clinic(profile, treatments, folder)


def _busy(table: Any, place: str, found: list[Problem]) -> Any:
    """Fill in what a `[[busy]]` leaves out, and the address that the environment keeps for it."""
    if not isinstance(table, Mapping):
        return table
    table = {**BUSY_DEFAULTS, **table}
    source = table.get("source")
    if isinstance(source, str) and source.startswith(_ENVIRONMENT):
        variable = source.removeprefix(_ENVIRONMENT)
        if not os.environ.get(variable):
            found.append(Problem(f"{place}.source", f"There is no environment variable {variable!r}."))
        table["source"] = os.environ.get(variable) or variable
    return table


def _protocols(profile: Profile, folder: Path, name: str, found: list[Problem]) -> dict[str, Protocol | None]:
    protocols: dict[str, Protocol | None] = {}
    for entry in profile.treatments:
        if entry.protocol in protocols:
            continue
        packaged = "/" not in entry.protocol and not entry.protocol.endswith(_SUFFIX)
        source = entry.protocol if packaged else folder / entry.protocol
        try:
            protocols[entry.protocol] = load_protocol(source, languages=profile.languages)
        except ProtocolError as error:
            protocols[entry.protocol] = None
            where = f"{name}: treatments.{entry.protocol}"
            found += [item if item.where else Problem(where, item.what) for item in error.problems]
    return protocols


def _treatments(
    profile: Profile, protocols: Mapping[str, Protocol | None], name: str, found: list[Problem]
) -> dict[str, Treatment]:
    treatments: dict[str, Treatment] = {}
    for entry in profile.treatments:
        protocol = protocols[entry.protocol]
        if protocol is None:
            continue
        treatment = profiles.treatment(entry, protocol, profile.languages)
        treatments[protocol.id] = treatment
        found += _changed_wrongly(entry, treatment.protocol, name)
    return treatments


def _changed_wrongly(entry: TreatmentEntry, protocol: Protocol, name: str) -> Iterator[Problem]:
    """A protocol that was sound can be made unsound by a clinic's changes."""
    for problem in lint(protocol):
        what = f"With this clinic's changes, {problem.where.partition(': ')[2]}: {problem.what}"
        yield Problem(f"{name}: treatments.{entry.protocol}", what)


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Read the deployment settings from `app.config`, or from its namespace `INTAKE_`.

    `INTAKE_KEYS` is the key ring or a callable that returns it. `INTAKE_DRAFT_LIFETIME`,
    `INTAKE_LINK_LIFETIME`, `INTAKE_LOCK_TIMEOUT`, how long a request waits for a lock in the
    database, and `INTAKE_MAIL_TIMEOUT`, how long one answer of the mail server may take, are ISO 8601
    durations or timedeltas (see `DEFAULTS`). `INTAKE_EMBED` lists the origins that may show the
    patient pages in a frame. `INTAKE_SITE` is the site's address, for links in mail, and
    `INTAKE_DELIVER` says when mail is sent, "command" or "after-commit". `INTAKE_LIMIT_START`,
    `_OPEN`, `_SIGN` and `_LINKS` count where the app has Flask-Limiter. Raises `ConfigurationError`.
    """
    raw = {**DEFAULTS, **{name: _plain(name, value) for name, value in _own(config).items()}}
    structured = read(raw, Settings, "")
    found = [_named(problem) for problem in structured.problems]
    settings: Settings | None = structured.value
    if settings is not None:
        checked = (Problem(_PREFIX + name.upper(), what) for name, what in _setting_problems(settings))
        found += [problem for problem in checked if problem.where not in {item.where for item in found}]
    if found or settings is None:
        raise ConfigurationError("The app's configuration", found)
    return settings


def _site_is_sound(site: str) -> bool:
    try:
        parts = urlsplit(site)
    except ValueError:
        return False
    whole = bool(parts.hostname) and not (parts.query or parts.fragment or "@" in parts.netloc)
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    return whole and site.isascii() and (parts.scheme == "https" or (local and parts.scheme == "http"))


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plugin's entries by small name, whether given all of `app.config` or only its own."""
    if not any(name.isupper() for name in config):
        return dict(config)
    own = (name for name in config if name.startswith(_PREFIX))
    return {name.removeprefix(_PREFIX).lower(): config[name] for name in own}


def _plain(name: str, value: Any) -> Any:
    if name == "keys" and callable(value):
        return value()
    if isinstance(value, dt.timedelta):
        return f"PT{int(value.total_seconds())}S"
    return value.split() if name == "embed" and isinstance(value, str) else value


def _named(problem: Problem) -> Problem:
    name = problem.where.removeprefix(": ")
    hint = re.sub(r"'([a-z_]+)'", lambda match: repr(_PREFIX + match[1].upper()), problem.what)
    extra = problem.what.startswith("There is no")
    return Problem(_PREFIX + name.upper(), hint if extra else problem.what)


def _setting_problems(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.draft_lifetime < INACTIVITY:
        hours = INACTIVITY // dt.timedelta(hours=1)
        what = f"A draft must live for at least {hours} hours, so that nobody loses answers to a time limit"
        yield "draft_lifetime", f"{what} (WCAG 2.2, 2.2.1); write 'P7D' or at least 'PT{hours}H'."
    if settings.link_lifetime <= dt.timedelta():
        yield "link_lifetime", "A patient's link must work for some time; write days, such as 'P730D'."
    if settings.lock_timeout < _PATIENCE:
        yield "lock_timeout", "Waiting for a lock takes a second at least; write 'PT5S'."
    for name in ("limit_start", "limit_open", "limit_sign", "limit_links"):
        if not _LIMITS.fullmatch(limit := getattr(settings, name)):
            what = (
                f"{limit!r} is no limit; write '20 per hour', '5 per 10 minutes; 50 per day', or '' for none."
            )
            yield name, what
    if settings.mail_timeout <= dt.timedelta():
        yield "mail_timeout", "The mail server must be given some time to answer; write 'PT20S'."
    if settings.site and not _site_is_sound(settings.site):
        what = f"{settings.site!r} is not the address of a site that a private link can go to"
        yield "site", f"{what}; write 'https://www.example.org'. Only this machine itself may go without TLS."
    for origin in settings.embed:
        if not _ORIGIN.fullmatch(origin):
            yield "embed", f"{origin!r} is not an origin; write 'https://www.example.org', without a path."
