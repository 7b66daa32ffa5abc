"""The public pages of the clinic's site."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, render_template
from flask_babel import get_locale
from werkzeug.exceptions import HTTPException

from intake_plugin.settings import Clinic

site = Blueprint("site", __name__)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ADVICE = {
    403: ("You cannot do that here", "Go back and try again, or sign in if you work at the clinic."),
    404: ("Page not found", "Check the address, or start again from the home page."),
    429: ("Too many requests", "Wait a minute, then try again."),
    500: ("Something went wrong", "It has been recorded. Try again in a minute, or call the clinic."),
}


@dataclass(frozen=True)
class Branch:
    """One clinic as the site's own pages show it; the profile stays the only source."""

    city: str
    mount: str
    clinic: Clinic

    @property
    def telephone(self) -> str:
        return self.clinic.contact.telephone

    @property
    def street(self) -> str:
        return self.clinic.contact.address.split(", ", 1)[0]

    @property
    def district(self) -> str:
        return self.clinic.contact.address.split(", ", 1)[-1]

    @property
    def hours(self) -> tuple[tuple[str, str], ...]:
        """Opening hours in words: neighbouring days with the same hours make one line."""
        open_days = sorted(self.clinic.hours.items())
        groups = itertools.groupby(enumerate(open_days), key=lambda item: (item[1][0] - item[0], item[1][1]))
        return tuple(_line([day for _, (day, _) in group], hours) for (_, hours), group in groups)


def _line(days: list[int], hours: Any) -> tuple[str, str]:
    first, last = DAYS[days[0] - 1], DAYS[days[-1] - 1]
    times = ", ".join(f"{start:%H:%M} to {end:%H:%M}" for start, end in hours)
    return (first if first == last else f"{first} to {last}"), times


def add_site(app: Flask, branches: tuple[Branch, ...]) -> None:
    """Register the pages, what every template may use, and the error pages."""
    app.register_blueprint(site)
    app.register_error_handler(HTTPException, _problem)
    app.context_processor(lambda: {"branches": branches, "language": lambda: str(get_locale() or "en")})


def _problem(error: HTTPException) -> tuple[str, int]:
    code = error.code or 500
    heading, advice = ADVICE.get(code, (error.name, error.description or ""))
    return render_template("error.html", heading=heading, advice=advice), code


@site.get("/")
def home() -> str:
    return render_template("home.html")


@site.get("/treatments")
def treatments() -> str:
    return render_template("treatments.html")


@site.get("/how-we-work")
def about() -> str:
    return render_template("about.html")


@site.get("/clinics")
def clinics() -> str:
    return render_template("clinics.html")


@site.get("/book")
def book() -> str:
    return render_template("book.html")
