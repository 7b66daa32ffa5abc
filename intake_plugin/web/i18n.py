"""The words of the pages in the case's language, and dates, times and waits as it writes them.

A page speaks the language of its case, so the catalogue is chosen by that language and not by the
browser's. Catalogues are GNU `.mo` files of the domain `intake`: the plugin's own, then the host's
translation folders, of which a later one wins. Where the host uses Flask-Babel, its layout is
rendered in the same language. Without Babel, dates are written in plain English.
"""

from __future__ import annotations

import datetime as dt
import gettext as catalogues
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from flask import current_app, g, has_app_context

from intake_plugin.clinical.answers import PartialDate
from intake_plugin.clinical.protocol import Wait

DOMAIN = "intake"
PLAIN = "en"
"""The language of the message ids; its dates are written without Babel, so everywhere alike."""

_OWN_FOLDER = Path(__file__).parents[1] / "translations"
_CATALOGUES = "intake_plugin.catalogues"
_RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})


@contextmanager
def speaking(locale: str) -> Iterator[None]:
    """Let everything in the block, the host's layout included, speak `locale`."""
    before = g.get("intake_locale"), g.get("intake_catalogue")
    # A page asks for hundreds of messages, so the catalogue lies ready beside the language.
    g.intake_locale, g.intake_catalogue = locale, _catalogue(locale)
    try:
        with _host_speaking(locale):
            yield
    finally:
        g.intake_locale, g.intake_catalogue = before


@contextmanager
def _host_speaking(locale: str) -> Iterator[None]:
    # A host that never imported Flask-Babel has nothing to translate, so it is not imported for it.
    flask_babel = sys.modules.get("flask_babel")
    if flask_babel is None or "babel" not in current_app.extensions or _babel_locale(locale) is None:
        yield
        return
    with flask_babel.force_locale(locale):
        yield


def language() -> str:
    """Return the language of the page being made."""
    return cast("str", g.get("intake_locale") or PLAIN) if has_app_context() else PLAIN


def language_tag(locale: str) -> str:
    """Return `locale` as HTML's `lang` writes it: pt_BR is pt-BR."""
    return locale.replace("_", "-")


def direction(locale: str) -> str:
    """Return "rtl" for a language written from right to left, else "ltr"."""
    return "rtl" if language_tag(locale).split("-")[0] in _RIGHT_TO_LEFT else "ltr"


def language_name(locale: str) -> str:
    """Return a language's own name for itself, or its code where Babel is absent."""
    found = _babel_locale(locale)
    if found is not None:
        return str(found.get_display_name(found)).capitalize()
    return "English" if locale == PLAIN else locale


def gettext(message: str, **variables: object) -> str:
    """Return `message` in the page's language, with `%(name)s` places filled in."""
    text = _spoken().gettext(message)
    return text % variables if variables else text


def ngettext(singular: str, plural: str, num: int, **variables: object) -> str:
    """Return the form for `num` in the page's language; `%(num)s` is the number."""
    return _spoken().ngettext(singular, plural, num) % {"num": num, **variables}


_ = gettext


def noted(message: str) -> str:
    """Mark `message` for the catalogue; it is translated where it is used."""
    return message


MONTHS = (
    noted("January"),
    noted("February"),
    noted("March"),
    noted("April"),
    noted("May"),
    noted("June"),
    noted("July"),
    noted("August"),
    noted("September"),
    noted("October"),
    noted("November"),
    noted("December"),
)
WEEKDAYS = (
    noted("Monday"),
    noted("Tuesday"),
    noted("Wednesday"),
    noted("Thursday"),
    noted("Friday"),
    noted("Saturday"),
    noted("Sunday"),
)


def _spoken() -> catalogues.NullTranslations:
    """Return the catalogue of the page being made; without an app there is none."""
    if not has_app_context():
        return catalogues.NullTranslations()
    return cast("catalogues.NullTranslations", g.get("intake_catalogue") or _catalogue(PLAIN))


def _catalogue(locale: str) -> catalogues.NullTranslations:
    cached: dict[str, catalogues.NullTranslations] = current_app.extensions.setdefault(_CATALOGUES, {})
    if locale not in cached:
        cached[locale] = _load(locale)
    return cached[locale]


def _load(locale: str) -> catalogues.NullTranslations:
    # gettext asks a catalogue first and its fallback after, so the last folder comes first.
    first: catalogues.NullTranslations | None = None
    for folder in _folders():
        for path in reversed(catalogues.find(DOMAIN, folder, [locale], all=True)):
            with Path(path).open("rb") as file:
                found = catalogues.GNUTranslations(file)
            if first is not None:
                found.add_fallback(first)
            first = found
    return first or catalogues.NullTranslations()


def _folders() -> list[str]:
    babel = current_app.extensions.get("babel")
    host = getattr(babel, "translation_directories", None) or [Path(current_app.root_path) / "translations"]
    return [str(_OWN_FOLDER), *(str(folder) for folder in host)]


@cache
def _babel() -> ModuleType | None:
    try:
        import_module("babel.dates")
    except ModuleNotFoundError:
        return None
    return import_module("babel")


@cache
def _babel_locale(locale: str):  # type: ignore[no-untyped-def]  # babel.Locale, which may be absent
    babel = _babel()
    if babel is None:
        return None
    try:
        return babel.Locale.parse(locale, sep="-" if "-" in locale else "_")
    except (babel.UnknownLocaleError, ValueError):
        return None


def months() -> tuple[str, ...]:
    """Return the names of the twelve months in the page's language."""
    found = None if language() == PLAIN else _babel_locale(language())
    if found is not None:
        return tuple(found.months["format"]["wide"][number] for number in range(1, 13))
    return tuple(_(name) for name in MONTHS)


def _written(date: dt.date, style: str) -> str | None:
    """Return a date in a style of Babel's, or None where dates are written plainly."""
    found = None if language() == PLAIN else _babel_locale(language())
    if found is None:
        return None
    dates = import_module("babel.dates")
    if style in {"full", "long"}:
        return str(dates.format_date(date, style, locale=found))
    return str(dates.format_skeleton(style, dt.datetime.combine(date, dt.time()), locale=found))


def format_date(date: dt.date) -> str:
    """Return a date without its weekday: 3 March 2026."""
    return _written(date, "long") or f"{date.day} {_(MONTHS[date.month - 1])} {date.year}"


def format_day(date: dt.date) -> str:
    """Return a date with its weekday: Tuesday 3 March 2026."""
    return (
        _written(date, "full")
        or f"{_(WEEKDAYS[date.weekday()])} {date.day} {_(MONTHS[date.month - 1])} {date.year}"
    )


def format_month(date: dt.date) -> str:
    """Return the month of a date: March 2026."""
    return _written(date, "yMMMM") or f"{_(MONTHS[date.month - 1])} {date.year}"


def format_partial(date: PartialDate) -> str:
    """Return an exact date, or the month of one: March 2026."""
    return format_month(date.earliest) if date.day is None else format_date(date.earliest)


def format_time(moment: dt.datetime | dt.time) -> str:
    """Return the time of day in the moment's own zone: 13:00."""
    time = moment.time() if isinstance(moment, dt.datetime) else moment
    found = None if language() == PLAIN else _babel_locale(language())
    if found is None:
        return f"{time:%H:%M}"
    return str(import_module("babel.dates").format_time(time, "short", locale=found))


def format_moment(moment: dt.datetime | dt.date) -> str:
    """Return a day, with the time of day where the moment has one."""
    if isinstance(moment, dt.datetime):
        return _("%(day)s at %(time)s", day=format_day(moment.date()), time=format_time(moment))
    return format_day(moment)


def format_duration(duration: dt.timedelta) -> str:
    """Return a duration in hours and minutes, or in days where it is several: 1 hour 30 minutes."""
    if duration.days > 1 and not duration % dt.timedelta(days=1):
        return ngettext("%(num)s day", "%(num)s days", duration.days)
    hours, minutes = divmod(int(duration.total_seconds()) // 60, 60)
    parts = [ngettext("%(num)s hour", "%(num)s hours", hours)] if hours else []
    if minutes or not hours:
        parts.append(ngettext("%(num)s minute", "%(num)s minutes", minutes))
    return " ".join(parts)


def format_wait(wait: Wait) -> str:
    """Return a wait in months, weeks and days: 4 weeks."""
    weeks, days = divmod(wait.days, len(WEEKDAYS)) if wait.days % len(WEEKDAYS) == 0 else (0, wait.days)
    parts = [ngettext("%(num)s month", "%(num)s months", wait.months)] if wait.months else []
    if weeks:
        parts.append(ngettext("%(num)s week", "%(num)s weeks", weeks))
    if days or not parts:
        parts.append(ngettext("%(num)s day", "%(num)s days", days))
    return " ".join(parts)
