"""What the pages give to mail: words, links that work from outside, and sending after a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g
from werkzeug.routing import MapAdapter

from intake_plugin.errors import SetupError
from intake_plugin.journeys import delivery, outbox
from intake_plugin.journeys.delivery import Delivered
from intake_plugin.journeys.office import Office
from intake_plugin.journeys.writing import Occasion, Stationery
from intake_plugin.letters import Wording
from intake_plugin.posting import carrier
from intake_plugin.settings import Clinic, Settings
from intake_plugin.state import State, current_state
from intake_plugin.web import mail_words
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.i18n import language_tag, speaking
from intake_plugin.web.visit import Visit, office_of

_SECURE = "https"
_UNSITED = (
    "Links in mail need the address at which your site is reached from outside. Set "
    'INTAKE_SITE = "https://www.example.org", or Flask\'s SERVER_NAME and PREFERRED_URL_SCHEME.'
)


def addresses(app: Flask, settings: Settings) -> MapAdapter:
    """Return what makes addresses of this site that work from outside, without a request.

    What a request says of its own host is never used: anybody can write that. Raises SetupError when
    the site does not say where it is.
    """
    if settings.site:
        parts = urlsplit(settings.site)
        root = parts.path.rstrip("/") or "/"
        return app.url_map.bind(parts.netloc, script_name=root, url_scheme=parts.scheme)
    adapter = app.create_url_adapter(None)
    if adapter is None:
        raise SetupError(_UNSITED)
    return adapter


def stationery(app: Flask, state: State, mount: str) -> Stationery:
    """Return what messages of the clinic at `mount` are written with; see `addresses` for errors."""
    site = addresses(app, state.settings)

    def address(endpoint: str, **values: Any) -> str:
        return site.build(f"{mount}.{endpoint}", values, force_external=True)

    def record(reference: str) -> str:
        return address("staff.case_page", reference=reference) if state.staff is not None else ""

    return Stationery(
        words=_words,
        calendar_words=_calendar_words,
        language=language_tag,
        manage=address("manage"),
        link=lambda raw: address("link", token=raw),
        feed=(lambda raw: address("feed", token=raw)) if site.url_scheme == _SECURE else None,
        record=record,
    )


def _words(occasion: Occasion) -> Wording:
    with speaking(occasion.locale):
        return mail_words.wording(occasion)


def _calendar_words(locale: str) -> Any:
    with speaking(locale):
        return calendar_words()


def deliver(
    app: Flask, mount: str, desk: Callable[[], Office], *, only: tuple[str, ...] | None = None
) -> Delivered:
    """Send what is due at the clinic of `mount`.

    Raises SetupError when the site cannot send or does not say where it is.
    """
    state = current_state()
    way = carrier(app, state.mailer, state.settings.mail_timeout)
    return delivery.deliver(desk, way, stationery(app, state, mount), only=only)


def problems(app: Flask, clinic: Clinic) -> tuple[str, ...]:
    """Return what keeps a clinic's mail from being sent."""
    if clinic.mail is None:
        return ()
    state, found = current_state(), []
    for check in (
        partial(carrier, app, state.mailer, state.settings.mail_timeout),
        partial(_look_at_addresses, app, state.settings),
    ):
        try:
            check()
        except SetupError as error:
            found.append(f"{clinic.name}: {error}")
    return tuple(found)


def _look_at_addresses(app: Flask, settings: Settings) -> None:
    site = addresses(app, settings)
    if site.url_scheme != _SECURE and not settings.site:
        raise SetupError(
            f"Links in mail would begin with {site.url_scheme!r}. Set PREFERRED_URL_SCHEME to 'https', or "
            "INTAKE_SITE."
        )


def send_afterwards(response: Response) -> Response:
    """Send what this request has to tell once its answer is on its way, where the site asks for that."""
    visit: Visit | None = g.get("intake_visit")
    rows = () if visit is None else outbox.take_fresh(visit.office)
    if visit is None or not rows:
        return response
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Flask's documented way
    response.call_on_close(partial(_send, app, visit.mount, rows))
    return response


def _send(app: Flask, mount: str, rows: tuple[str, ...]) -> None:
    """Send a request's messages; whatever happens, they stay in the outbox for the command."""
    with app.app_context():
        try:
            failures = [*deliver(app, mount, partial(office_of, mount), only=rows).failures]
        except Exception as error:  # the patient has been answered; only the log can hear of it
            failures = [_plainly(error)]
        if failures:
            app.logger.warning("Mail waits for `flask intake deliver`: %s", ", ".join(failures))


def _plainly(error: Exception) -> str:
    # The words of any other error may hold what was sent.
    return str(error) if isinstance(error, SetupError) else type(error).__name__
