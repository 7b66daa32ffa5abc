"""Pages in the host's layout: what every template knows, and the check that the layout kept the page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app, render_template
from jinja2 import Template
from markupsafe import Markup

from intake_plugin.clinical.screening import Finding
from intake_plugin.errors import LayoutError
from intake_plugin.journeys.booking import advice_of
from intake_plugin.settings import Clinic
from intake_plugin.state import current_state
from intake_plugin.web import i18n
from intake_plugin.web.forms import Mistake
from intake_plugin.web.guard import host_token
from intake_plugin.web.visit import Visit

MARKER = "data-intake-page"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every template gets as `intake`, besides `say` and `nsay` and its own values."""

    date = staticmethod(i18n.format_date)
    day = staticmethod(i18n.format_day)
    month = staticmethod(i18n.format_month)
    time = staticmethod(i18n.format_time)
    duration = staticmethod(i18n.format_duration)
    wait = staticmethod(i18n.format_wait)
    moment = staticmethod(i18n.format_moment)

    visit: Visit
    page: str
    """`data-intake-page`: start, question, check, outcome, consent, notes, slots, days, series, done,
    calendar, manage, link, staff or problem."""
    heading: str
    title: str
    """For the browser's title bar; begins with "Error:" on a page that found mistakes."""
    back: str | None = None
    mistakes: Sequence[Mistake] = ()
    demonstration: bool = False
    """No clinician of this clinic has approved the treatment's protocol as it stands."""
    advice: Sequence[Finding] = ()
    """Advice from the screening, repeated on every page after it."""

    @property
    def clinic(self) -> Clinic:
        """The clinic's profile."""
        return self.visit.clinic

    @property
    def open_case(self) -> bool:
        """Whether a case is open on this device."""
        return self.visit.case is not None

    @property
    def linkable(self) -> bool:
        """Whether the case open on this device can have a private link, which asks for a date of birth."""
        return self.visit.case is not None and self.visit.case.identity_sealed is not None

    @property
    def lang(self) -> str:
        """The page's language as HTML writes it."""
        return i18n.language_tag(self.visit.locale)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return i18n.direction(self.visit.locale)

    @property
    def token(self) -> Markup:
        """The host's CSRF token as a hidden input; goes into every form."""
        return host_token()

    @property
    def nonce(self) -> str | None:
        """The nonce of the host's Content Security Policy, if it asks for one."""
        make = current_state().csp_nonce
        return None if make is None else make()

    def url(self, endpoint: str, **values: object) -> str:
        """Return the address of one of this clinic's pages: `intake.url("times")`."""
        return self.visit.url(endpoint, **values)

    def asset(self, filename: str) -> str:
        """Return the address of a static file, with the hash of its content."""
        return self.visit.url("static", filename=filename)

    def local(self, moment: dt.datetime) -> dt.datetime:
        """Return an aware instant on the clinic's clock."""
        return moment.astimezone(self.clinic.zone)


def show(
    visit: Visit,
    template: str,
    *,
    page: str,
    heading: str,
    back: str | None = None,
    mistakes: Iterable[Mistake] = (),
    **values: Any,
) -> str:
    """Return a page: the clinic's own version of `template`, else the host's, else the plugin's.

    Raises LayoutError when the host's base template dropped the page or nests `<main>` in `<main>`.
    """
    found = tuple(mistakes)
    frame = Frame(
        visit=visit,
        page=page,
        heading=heading,
        title=_title(visit, heading, error=bool(found)),
        back=back,
        mistakes=found,
        demonstration=not visit.desk and not _approved(visit),
        advice=_advice(visit, page),
    )
    found_template = _template(visit.clinic.id, template)
    html = render_template(found_template, intake=frame, say=i18n.gettext, nsay=i18n.ngettext, **values)
    check_layout(html, visit.clinic.base_template)
    return html


def _template(clinic_id: str, name: str) -> Template:
    # Jinja remembers what it found but not what it did not find, and would look for the clinic's own
    # version on the disk for every page.
    known, jinja = current_state().templates, current_app.jinja_env
    key = clinic_id, name
    found = known.get(key)
    if found is None or jinja.auto_reload:
        found = known[key] = jinja.select_template([f"intake/{clinic_id}/{name}", f"intake/{name}"])
    return found


def _title(visit: Visit, heading: str, *, error: bool) -> str:
    parts = [heading]
    if visit.case is not None:
        parts.append(visit.office.title_of(visit.case))
    parts.append(visit.clinic.name)
    text = " – ".join(part for part in dict.fromkeys(parts) if part)
    return i18n.gettext("Error: %(title)s", title=text) if error else text


def _approved(visit: Visit) -> bool:
    if visit.case is not None:
        treatment = visit.office.find_treatment(visit.case)
        return treatment is None or treatment.approved
    return all(treatment.approved for treatment in visit.clinic.offered.values())


def _advice(visit: Visit, page: str) -> Sequence[Finding]:
    return advice_of(visit.case) if visit.case is not None and page in _ADVISED else ()


_ADVISED = frozenset({"consent", "notes", "slots", "days", "series", "done", "manage"})


def check_layout(html: str, base: str) -> None:
    """Raise LayoutError when `html` lost the page or put it into another `<main>`."""
    before, found, _ = html.partition(MARKER)
    if not found:
        raise LayoutError(
            f"{base!r} has no block named 'content', so the page came out empty. Add that block, or "
            "override intake/layout.html to name the block yours has."
        )
    opened = before.count("<main") - before.count("</main")
    if opened > 1:
        raise LayoutError(
            f"{base!r} has its block 'content' inside its own <main>, and the page brings a <main> too. "
            "Put the block outside of it, or write {% set intake_element = 'div' %} at the top of "
            f"{base!r}."
        )
