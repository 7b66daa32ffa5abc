"""The mount: one `Intake` per database object, one blueprint per clinic.

The host keeps what is its own: database object, layout, login, CSRF protection and migrations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from flask import Blueprint, Flask, make_response, request
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from jinja2 import BaseLoader, FileSystemLoader, PrefixLoader
from werkzeug.wrappers import Response

from intake_plugin import web
from intake_plugin.errors import SetupError
from intake_plugin.loading import load_clinic, load_settings
from intake_plugin.posting import Mailer
from intake_plugin.records.base import add_tables_to
from intake_plugin.records.keyring import KeyRing
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY, Staff, StaffHook, State, staff_gate

AppT = TypeVar("AppT", bound=Flask)
View = Callable[[], ResponseReturnValue]

_FOLDER = Path(__file__).parent
_PAGES = FileSystemLoader(_FOLDER / "templates" / "intake")
# A host's own templates/intake/start.html wins over ours, and may extend "intake_plugin/start.html",
# which always means ours.
_TEMPLATES = PrefixLoader({"intake": _PAGES, "intake_plugin": _PAGES})
_YEAR = 365 * 24 * 3600


class Intake:
    """The plugin on a host's database object.

    `db` is the host's own `SQLAlchemy()`. `staff` answers who is asking for a staff page: a
    `Staff`, a response (a redirect to the login, say) or None; without it there are no staff
    pages at all. `csp_nonce` returns the nonce of the current response where the host's Content
    Security Policy asks for one. `mailer` sends an `email.message.EmailMessage` where the site does
    not send its mail by the `MAIL_*` settings; it raises `MailRefused` for an address that will never
    take it, and anything else to be asked again later.
    """

    def __init__(
        self,
        db: SQLAlchemy,
        staff: StaffHook | None = None,
        *,
        csp_nonce: Callable[[], str] | None = None,
        mailer: Mailer | None = None,
    ) -> None:
        self._db = db
        self._staff = staff
        self._csp_nonce = csp_nonce
        self._mailer = mailer

    def init_app(self, app: AppT) -> AppT:
        """Read the app's `INTAKE_*` settings, add the tables to the database's metadata, return the app.

        Raises `ConfigurationError` or `KeyRingError` when a setting is missing or wrong, and
        `SetupError` when the app has the plugin already or its tables cannot be added.
        """
        if KEY in app.extensions:
            raise SetupError(
                "Intake.init_app(app) was called twice for this app. One Intake serves any number of "
                "clinics: call intake.blueprint(...) once for each."
            )
        settings = load_settings(app.config)
        keyring = KeyRing.parse(settings.keys)
        self._refuse_hidden_tables(app)
        add_tables_to(self._db.metadata)
        app.extensions[KEY] = State(
            settings=settings,
            keyring=keyring,
            db=self._db,
            staff=self._staff,
            csp_nonce=self._csp_nonce,
            mailer=self._mailer,
        )
        return app

    def blueprint(self, mount: str, profile: str | Path | Clinic) -> IntakeBlueprint:
        """Return one clinic's pages, to be registered under a `url_prefix` of the host's choice.

        `mount` names the blueprint ("north": endpoints are `north.start` and so on). `profile` is
        the clinic, or the path of its TOML file; a relative path starts at the app's `root_path`,
        and the file is read when the blueprint is registered.
        """
        blueprint = IntakeBlueprint(mount, profile)
        web.add_patient_routes(blueprint)
        if self._staff is not None:
            blueprint.register_blueprint(web.staff_blueprint(staff_gate))
        return blueprint

    def _refuse_hidden_tables(self, app: Flask) -> None:
        schema = self._db.metadata.schema
        if schema is None:
            return
        with app.app_context():
            translated = self._db.engine.get_execution_options().get("schema_translate_map", {})
        if translated.get(None) != schema:
            raise SetupError(
                f"This site's metadata puts tables into the schema {schema!r}, where the plugin's queries "
                "would not look. Add to the app's configuration, before db.init_app(app): "
                'SQLALCHEMY_ENGINE_OPTIONS = {"execution_options": {"schema_translate_map": '
                f'{{None: "{schema}"}}}}}}.'
            )


class IntakeBlueprint(Blueprint):
    """One clinic's pages; one object per mount."""

    def __init__(self, mount: str, profile: str | Path | Clinic) -> None:
        super().__init__(mount, "intake_plugin", static_folder="static")
        self._profile = profile
        self.url_defaults(self._version_static)

    def register(self, app: App, options: dict[str, Any]) -> None:
        """Check that the mount can work, then register it; called by `app.register_blueprint`."""
        # First the checks: routes of a registration that fails half-way would stay behind.
        state = _state_of(app, self.name)
        name = f"{options.get('name_prefix', '')}.{options.get('name', self.name)}".lstrip(".")
        if name in app.blueprints:
            raise SetupError(
                f"This site already has a blueprint named {name!r}. Give this clinic another name: "
                "intake.blueprint('another-name', ...)."
            )
        clinic = self._read_profile(app)
        _refuse_twin(state.clinics, name, clinic)
        super().register(app, options)
        state.clinics[name] = clinic

    @cached_property
    def jinja_loader(self) -> BaseLoader | None:
        """The plugin's templates, under the name a host may override and under the one it may extend."""
        return _TEMPLATES

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        """Return a year for an address that names the file's content, None (ask again) for any other."""
        version = _versions().get(filename or "")
        return _YEAR if version is not None and request.args.get("v") == version else None

    def _read_profile(self, app: App) -> Clinic:
        if isinstance(self._profile, Clinic):
            return self._profile
        return load_clinic(Path(app.root_path) / self._profile)

    def _version_static(self, endpoint: str, values: dict[str, Any]) -> None:
        version = _versions().get(values.get("filename", ""))
        if version is not None and endpoint.endswith(".static"):
            values.setdefault("v", version)


def staff_behind(decorator: Callable[[View], View], staff: Callable[[], Staff | None]) -> StaffHook:
    """Return a staff hook that asks a view decorator first: `staff_behind(login_required, current_staff)`.

    What the decorator answers instead of the view, a redirect to the login for instance, is sent
    to the browser.
    """
    passed = Response()
    view = decorator(lambda: passed)

    def hook() -> Staff | Response | None:
        answer = view()
        return staff() if answer is passed else make_response(answer)

    return hook


def _state_of(app: App, mount: str) -> State:
    if KEY not in app.extensions:
        raise SetupError(f"Call Intake.init_app(app) before registering the intake blueprint {mount!r}.")
    return cast("State", app.extensions[KEY])


def _refuse_twin(clinics: Mapping[str, Clinic], name: str, clinic: Clinic) -> None:
    for mount, other in clinics.items():
        if other.id == clinic.id and other != clinic:
            raise SetupError(
                f"The mounts {mount!r} and {name!r} have different profiles with the same clinic id "
                f"{clinic.id!r}. Their patients' records would mix; give each clinic its own id."
            )


@cache
def _versions() -> Mapping[str, str]:
    folder = _FOLDER / "static"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in folder.rglob("*")
        if path.is_file()
    }
