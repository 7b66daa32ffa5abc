"""`flask intake`: what stands between a site and its first patient."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
import zoneinfo
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect

from intake_plugin import Intake
from intake_plugin.cli import _office
from intake_plugin.errors import ConfigurationError, Problem
from intake_plugin.journeys import access
from intake_plugin.records.base import Base
from intake_plugin.records.keyring import KeyRing
from intake_plugin.records.tables import Case
from intake_plugin.settings import Clinic
from intake_plugin.state import KEY, current_state
from intake_plugin.testing import PROFILE, approve, clinic, keys

MakeSite = Callable[..., Flask]


@pytest.fixture
def make_site(database_url: str) -> MakeSite:
    """Make a site with one mounted clinic and its tables."""

    def make(profile: Clinic | None) -> Flask:
        db = SQLAlchemy()
        app = Flask("site")
        app.config.update(SQLALCHEMY_DATABASE_URI=database_url, INTAKE_KEYS=keys())
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"poolclass": sa.NullPool}
        db.init_app(app)
        intake = Intake(db)
        intake.init_app(app)
        if profile is not None:
            app.register_blueprint(intake.blueprint("north", profile), url_prefix="/north/book")
        with app.app_context():
            db.create_all()
        return app

    return make


def run(app: Flask, command: str, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["intake", command, *more])
    return result.exit_code, result.output


def execute(app: Flask, statement: str) -> None:
    with app.app_context():
        db: SQLAlchemy = app.extensions["sqlalchemy"]
        with db.engine.begin() as connection:
            connection.exec_driver_sql(statement)


def test_a_site_whose_protocols_are_approved_is_ready(make_site: MakeSite) -> None:
    code, output = run(make_site(approve(clinic())), "check")
    assert code == 0, output
    assert "approved by Test clinician (Medical director)" in output
    assert f"all {len(Base.metadata.tables)} tables" in output
    assert output.endswith("Ready for patients.\n")


def test_without_approval_it_is_not_and_the_fingerprint_is_told(make_site: MakeSite) -> None:
    profile = clinic()
    code, output = run(make_site(profile), "check")
    assert code == 1
    assert "microneedling 2026.1, not approved" in output
    assert output.count(profile.treatments["microneedling"].fingerprint) == 2


def test_a_change_undoes_the_approval_and_is_named(make_site: MakeSite) -> None:
    approved = approve(clinic()).treatments["microneedling"].approval
    changed = clinic(treatments=[{"protocol": "microneedling", "waits": {"botulinum": "P21D"}}])
    treatment = dataclasses.replace(changed.treatments["microneedling"], approval=approved)
    code, output = run(
        make_site(dataclasses.replace(changed, treatments={"microneedling": treatment})), "check"
    )
    assert code == 1
    assert "changed since Test clinician approved it on 2026-01-01" in output
    assert "changed: Wait botulinum: P21D instead of P14D" in output


def test_cases_whose_treatment_has_left_the_profile_are_named(make_site: MakeSite) -> None:
    app = make_site(approve(clinic()))
    with app.app_context():
        office = _office(current_state(), approve(clinic()))
        for number in range(6):
            case, _ = access.begin(office, protocol_id="microneedling", locale="en")
            case.submitted_at, case.reference = office.now, f"AAA-AAA{number}"
        access.begin(office, protocol_id="microneedling", locale="en")
        office.session.commit()
    assert run(app, "check")[0] == 0
    app.extensions[KEY].clinics["north"] = dataclasses.replace(approve(clinic()), treatments={})
    code, output = run(app, "check")
    assert code == 1
    assert "no treatment 'microneedling' any more, so 6 of its cases cannot be read: AAA-AAA0, " in output
    assert "AAA-AAA4, .... Put it back, with `retired = true`" in output


@pytest.mark.parametrize(("limit", "ready"), [(3600, False), (None, True), (7 * 24 * 3600, True)])
def test_a_token_that_runs_out_while_somebody_types_is_named(
    make_site: MakeSite, limit: int | None, ready: bool
) -> None:
    app = make_site(approve(clinic()))
    app.config.update(SECRET_KEY="for tests", WTF_CSRF_TIME_LIMIT=limit)
    CSRFProtect(app)
    code, output = run(app, "check")
    assert (code == 0) == ready
    assert ("Set WTF_CSRF_TIME_LIMIT = None" in output) != ready


def with_approval(**changes: Any) -> Clinic:
    approved = approve(clinic())
    treatment = approved.treatments["microneedling"]
    assert treatment.approval is not None
    changed = dataclasses.replace(treatment, approval=dataclasses.replace(treatment.approval, **changes))
    return dataclasses.replace(approved, treatments={"microneedling": changed})


@pytest.mark.parametrize("changes", [{"by": " "}, {"version": "2025.1"}])
def test_an_approval_without_a_name_or_of_another_version_is_none(
    make_site: MakeSite, changes: dict[str, Any]
) -> None:
    code, output = run(make_site(with_approval(**changes)), "check")
    assert (code, "nobody answers for microneedling" in output) == (1, True)


def test_calendars_are_renewed_clinic_by_clinic(make_site: MakeSite) -> None:
    code, output = run(make_site(clinic()), "renew-calendars")
    assert (code, output) == (0, "test-clinic: 0 sessions to come will be read anew\n")


def test_old_rules_for_the_clinics_clock_are_told(make_site: MakeSite, tmp_path: Path) -> None:
    profile = approve(clinic())
    zones = resources.files("tzdata") / "zoneinfo"
    file = tmp_path / profile.zone.key
    file.parent.mkdir()
    file.write_bytes(zones.joinpath("Asia", "Tokyo").read_bytes())
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        code, output = run(make_site(profile), "check")
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    assert code == 1
    assert f"the rules for {profile.zone.key} that this system has are old, and wrong from" in output


def test_a_translation_with_a_mark_that_nobody_fills_in_is_told(make_site: MakeSite, tmp_path: Path) -> None:
    catalogue = Catalog("en")
    catalogue.add("Arrive at {time}.", "Be there at {tiem}.")
    folder = tmp_path / "translations" / "en" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "intake.mo").open("wb") as file:
        write_mo(file, catalogue)
    app = make_site(approve(clinic()))
    assert run(app, "check")[0] == 0
    app = make_site(approve(clinic()))
    app.root_path = str(tmp_path)
    code, output = run(app, "check")
    assert code == 1
    assert "of the calendar's words in the language 'en', arrive: nothing fills in {tiem}" in output
    assert "arrive: {time} is missing" in output


def test_an_approval_cannot_be_of_tomorrow(make_site: MakeSite) -> None:
    today = dt.datetime.now(clinic().zone).date()
    assert run(make_site(with_approval(on=today)), "check")[0] == 0
    code, output = run(make_site(with_approval(on=today + dt.timedelta(days=2))), "check")
    assert (code, "still to come" in output) == (1, True)


def test_a_site_without_a_clinic_is_told_to_mount_one(make_site: MakeSite) -> None:
    code, output = run(make_site(None), "check")
    assert code == 1
    assert "Register intake.blueprint(...)" in output


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DROP TABLE intake_claim", "there is no table intake_claim. Run `flask db migrate`"),
        ("ALTER TABLE intake_token DROP COLUMN attempts", "intake_token has no column attempts"),
        ("CREATE TABLE unrelated (id INTEGER)", None),
    ],
)
def test_the_database_is_compared_with_the_tables(make_site: MakeSite, damage: str, told: str | None) -> None:
    app = make_site(approve(clinic()))
    execute(app, damage)
    code, output = run(app, "check")
    assert (code, told is None or told in output) == (0 if told is None else 1, True), output


def test_a_missing_index_is_told(make_site: MakeSite) -> None:
    app = make_site(approve(clinic()))
    with app.app_context():
        db: SQLAlchemy = app.extensions["sqlalchemy"]
        index = next(
            index
            for index in db.metadata.tables["intake_case"].indexes
            if index.name == "ix_intake_case_state"
        )
        index.drop(db.engine)
    code, output = run(app, "check")
    assert code == 1
    assert "add index ix_intake_case_state" in output


def test_a_broken_profile_is_told_without_a_traceback() -> None:
    def broken() -> Flask:
        raise ConfigurationError("Clinic profile 'north.toml'", [Problem("zone", "There is no such zone.")])

    result = CliRunner().invoke(FlaskGroup(create_app=broken), ["intake", "check"])
    assert result.exit_code == 1
    assert (
        "Error: Clinic profile 'north.toml' has 1 problem:\n  - zone: There is no such zone." in result.output
    )


def test_a_new_key_goes_to_the_front_of_the_ring(make_site: MakeSite) -> None:
    code, output = run(make_site(None), "new-key")
    assert code == 0
    ring = KeyRing.parse(f"{output.strip()} {keys()}")
    assert ring.open(KeyRing.parse(keys()).seal(b"before", b"place"), b"place") == b"before"
    assert ring.newest == output.partition(":")[0]


def test_an_altered_audit_entry_breaks_the_chain(make_site: MakeSite) -> None:
    app = make_site(approve(clinic()))
    app.test_client().post("/north/book/", data={})
    code, output = run(app, "verify")
    assert (code, "test-clinic: whole" in output) == (0, True), output
    execute(app, "UPDATE intake_audit SET action = 'nothing' WHERE seq = 1")
    code, output = run(app, "verify")
    assert code == 1
    assert "test-clinic: entry 1: was changed after it was written" in output


def test_drafts_that_have_run_out_are_deleted_with_their_links(make_site: MakeSite) -> None:
    app = make_site(approve(clinic()))
    app.test_client().post("/north/book/", data={})
    assert run(app, "expire") == (0, "test-clinic: 0 drafts deleted\n")
    execute(app, "UPDATE intake_case SET expires_at = '2020-01-01 00:00:00'")
    assert run(app, "expire") == (0, "test-clinic: 1 drafts deleted\n")
    assert run(app, "verify")[0] == 0
    with app.app_context():
        db: SQLAlchemy = app.extensions["sqlalchemy"]
        assert db.session.scalar(sa.select(sa.func.count()).select_from(sa.table("intake_token"))) == 0
        assert db.session.scalar(sa.select(sa.func.count()).select_from(sa.table("intake_case"))) == 0


def test_check_warns_of_a_session_that_can_be_moved_out_of_its_notice_and_cancelled(
    make_site: MakeSite,
) -> None:
    notices = {**PROFILE["booking"], "move_notice": "PT24H", "cancel_notice": "PT48H"}
    warned = run(make_site(approve(clinic(booking=notices))), "check")
    assert warned[0] == 0
    assert "warning: cancel_notice is longer than move_notice" in warned[1]


def test_why_not_says_what_is_in_the_way_or_that_nothing_is(make_site: MakeSite) -> None:
    app = make_site(approve(clinic()))
    week = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=7)
    weekday = next(date for date in (week + dt.timedelta(days=n) for n in range(7)) if date.isoweekday() == 3)
    assert run(app, "why-not", "north", "nurse", f"{weekday} 10:00") == (0, "It is offered.\n")
    assert run(app, "why-not", "test-clinic", "any", f"{weekday}T10:00") == (0, "It is offered.\n")
    code, output = run(app, "why-not", "north", "room", f"{weekday} 03:07")
    assert code == 0
    assert output.splitlines()[0].startswith(
        "Arrivals are offered every 15 minutes. The nearest: 03:00, 03:15."
    )
    assert "The opening hours of Room do not hold" in output
    for wrong, told in (
        (("nort", "nurse", f"{weekday} 10:00"), "There is no clinic 'nort'. Did you mean 'north'?"),
        (("north", "nurs", f"{weekday} 10:00"), "Did you mean 'nurse'?"),
        (("north", "nurse", f"{weekday} 10:00", "--case", "AAA-AAAA"), "has no case 'AAA-AAAA'"),
    ):
        code, output = run(app, "why-not", *wrong)
        assert (code, told in output) == (1, True), output


def store_case(app: Flask, clinic_id: str) -> None:
    with app.app_context():
        session, now = app.extensions[KEY].db.session, dt.datetime.now(dt.UTC)
        session.add(
            Case(
                clinic_id=clinic_id,
                reference="K7M-2QXF",
                protocol_id="microneedling",
                protocol_version="1",
                fingerprint="f" * 64,
                locale="en",
                created_at=now,
                updated_at=now,
            )
        )
        session.commit()


def use_keys(app: Flask, ring: str) -> None:
    app.extensions[KEY] = dataclasses.replace(app.extensions[KEY], keyring=KeyRing.parse(ring))


def test_keys_are_rotated_and_the_old_ones_are_kept_while_anything_needs_them(make_site: MakeSite) -> None:
    profile = clinic()
    app = make_site(profile)
    store_case(app, profile.id)
    use_keys(app, f"{keys('new')},{keys()}")
    code, output = run(app, "rotate-keys")
    assert code == 0, output
    assert f"{profile.id}: 1 records sealed with new" in output
    assert "The older keys can be taken out" in output
    use_keys(app, keys())
    store_case(app, "not-mounted")
    use_keys(app, f"{keys('new')},{keys()}")
    code, output = run(app, "rotate-keys")
    assert (code, "1 records still need an older key" in output) == (1, True), output


ENTRY = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:u\r\nDTSTART:21000101T100000Z\r\nDURATION:PT1H\r\nEND:VEVENT\r\n"
    "END:VCALENDAR\r\n"
)


def test_busy_times_are_read_as_often_as_one_likes(make_site: MakeSite, tmp_path: Path) -> None:
    (tmp_path / "nurse.ics").write_text(ENTRY)
    entry = {"source": str(tmp_path / "nurse.ics"), "stale_after": "PT6H", "stale": "block"}
    entries = [entry | {"resource": "nurse"}, entry | {"resource": "room"}]
    app = make_site(clinic(busy=entries))
    assert run(app, "busy") == (
        0,
        "test-clinic, nurse: read, 0 busy times\ntest-clinic, room: read, 0 busy times\n",
    )
    assert run(app, "busy") == (0, "test-clinic, nurse: unchanged\ntest-clinic, room: unchanged\n")
    (tmp_path / "nurse.ics").write_text("<html>")
    code, output = run(app, "busy")
    assert code == 1
    assert "test-clinic, room: refused, what was read before stays" in output
    assert "It is a web page and no calendar file" in output
    assert str(tmp_path) not in output


def test_a_calendar_that_the_profile_no_longer_names_is_forgotten(
    make_site: MakeSite, tmp_path: Path
) -> None:
    (tmp_path / "nurse.ics").write_text(ENTRY)
    entry = {
        "resource": "nurse", "source": str(tmp_path / "nurse.ics"), "stale_after": "PT6H", "stale": "block"
    }  # fmt: skip
    run(make_site(clinic(busy=[entry])), "busy")
    app = make_site(clinic())
    assert run(app, "busy") == (
        0,
        "test-clinic: forgot 1, no longer in the profile\n",
    )
    assert run(app, "busy") == (0, "")


def test_without_what_unfolds_repetition_the_site_is_not_ready(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"resource": "nurse", "source": "nurse.ics", "stale_after": "PT6H", "stale": "block"}
    app = make_site(approve(clinic(busy=[entry])))
    assert run(app, "check")[0] == 0
    monkeypatch.setitem(sys.modules, "recurring_ical_events", None)
    for command in ("check", "busy"):
        code, output = run(app, command)
        assert code == 1
        assert "Install 'intake_plugin[busy]'" in output
