"""One request at a clinic's pages: which clinic, which case, which language, and the cookie that tells."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, current_app, g, request, url_for

from intake_plugin.errors import JourneyError
from intake_plugin.journeys import access
from intake_plugin.journeys.intake import Step, next_step
from intake_plugin.journeys.office import Office
from intake_plugin.records.tables import Case, CaseState
from intake_plugin.settings import Clinic
from intake_plugin.state import current_mount, current_state
from intake_plugin.web.i18n import language_tag

STEP_ENDPOINTS = {
    "about-you": "about_you",
    "questions": "questions",
    "check": "check",
    "outcome": "outcome",
    "consent": "consent",
    "notes": "notes",
    "times": "times",
    "series": "series",
    "done": "done",
    "manage": "manage",
}
"""Endpoint of each step of the patient's way."""


BOOKED_STATES = frozenset({CaseState.BOOKED, CaseState.CLOSED})
"""States of a case that has sessions."""


class NotOpen(JourneyError):
    """No case is open on this device."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page needs to know of the request it answers."""

    office: Office
    mount: str
    token: str | None
    """The cookie's raw session token, known or not."""
    case: Case | None
    locale: str
    desk: bool = False
    """Whether somebody of the clinic is asking, past the gate of its pages."""

    @property
    def clinic(self) -> Clinic:
        """The clinic whose pages these are."""
        return self.office.clinic

    @property
    def own(self) -> Case:
        """The case open on this device; raises NotOpen when there is none."""
        if self.case is None:
            raise NotOpen("No case is open on this device.")
        return self.case

    def url(self, endpoint: str, **values: object) -> str:
        """Return the address of one of this clinic's pages."""
        return url_for(f"{self.mount}.{endpoint}", **values)  # type: ignore[arg-type]  # any URL value

    def step_url(self, step: Step, **values: object) -> str:
        """Return the address of a step."""
        if step.key is not None:
            values["key"] = step.key
        return self.url(STEP_ENDPOINTS[step.name], **values)

    @property
    def next_url(self) -> str:
        """The address of the furthest step the open case may be on."""
        return self.step_url(next_step(self.office, self.own))


def now() -> dt.datetime:
    """Return this moment; the only place where the pages read the clock."""
    return dt.datetime.now(dt.UTC)


def current_visit() -> Visit:
    """Return what is known of the request being served, looked up once."""
    if "intake_visit" not in g:
        g.intake_visit = _look_up()
    return cast("Visit", g.intake_visit)


def current_office() -> Office:
    """Return the desk of the clinic whose page is being served, at this moment."""
    return office_of(current_mount())


def office_of(mount: str) -> Office:
    """Return the desk of the clinic at `mount`, at this moment."""
    state = current_state()
    return Office(
        clinic=state.clinics[mount],
        session=state.db.session(),
        settings=state.settings,
        keyring=state.keyring,
        now=now(),
    )


def _look_up() -> Visit:
    mount, office = current_mount(), current_office()
    clinic = office.clinic
    # A clinician's browser may hold a patient's cookie too; the clinic's pages are not about that case.
    token = request.cookies.get(cookie_name(mount)) if request.blueprint == mount else None
    case = access.current(office, token)
    locale = preferred_language(clinic) if case is None else office.locale_of(case)
    return Visit(office, mount, token, case, locale, desk="intake_staff" in g)


def preferred_language(clinic: Clinic) -> str:
    """Return the language asked for in the address or by the browser, else the clinic's first."""
    asked = request.args.get("lang")
    if asked in clinic.languages:
        return asked
    tags = {language_tag(locale): locale for locale in clinic.languages}
    best = request.accept_languages.best_match(tags) if len(tags) > 1 else None
    return tags[best] if best else clinic.languages[0]


def cookie_name(mount: str) -> str:
    """Return the name of the cookie that opens a case on this device."""
    return f"intake_{mount}"


def link_cookie_name(mount: str) -> str:
    """Return the name of the cookie that carries a private link from its address to the next page."""
    return f"intake_{mount}_link"


def remember(response: Response, visit: Visit, token: str) -> Response:
    """Open the case of a session token on this device, for as long as a draft is kept."""
    lifetime = visit.office.settings.draft_lifetime
    return set_cookie(response, visit, cookie_name(visit.mount), token, max_age=lifetime)


def set_cookie(
    response: Response, visit: Visit, name: str, value: str, *, max_age: dt.timedelta | None = None
) -> Response:
    """Set a cookie that only this clinic's pages see and no script reads."""
    response.set_cookie(name, value, max_age=max_age, httponly=True, **_attributes(visit))
    return response


def forget(response: Response, visit: Visit, name: str) -> Response:
    """Delete a cookie of this clinic's pages."""
    response.delete_cookie(name, httponly=True, **_attributes(visit))
    return response


def _attributes(visit: Visit) -> dict[str, Any]:
    embedded = bool(visit.office.settings.embed)
    # A site whose own cookies are for https only is behind it, also where a proxy hides that.
    secure = embedded or request.is_secure or current_app.config["SESSION_COOKIE_SECURE"]
    return {
        "path": visit.url("start"),
        "secure": secure,
        "samesite": "None" if embedded else "Lax",
        "partitioned": embedded,
    }
