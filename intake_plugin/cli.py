"""`flask intake ...`: is this site ready, a new key, is the audit chain whole, and work outside of pages."""

from __future__ import annotations

import datetime as dt
import functools
import traceback
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import click
import sqlalchemy as sa
from flask import Flask, current_app
from flask.cli import ScriptInfo

from intake_plugin.calendars.busy import engine
from intake_plugin.calendars.vtimezone import outdated
from intake_plugin.errors import IntakeError, SetupError, did_you_mean
from intake_plugin.journeys import busy as journeys_busy
from intake_plugin.journeys import delivery, review, upkeep
from intake_plugin.journeys import feeds as journeys_feeds
from intake_plugin.journeys import race as races
from intake_plugin.journeys.delivery import Delivered
from intake_plugin.journeys.office import SYSTEM, Office
from intake_plugin.journeys.why import why_not_offered
from intake_plugin.loading import INACTIVITY
from intake_plugin.records import audit, keyring
from intake_plugin.records.base import Base
from intake_plugin.settings import Approval, BusySource, Clinic, Treatment
from intake_plugin.state import State, current_state
from intake_plugin.web import mail
from intake_plugin.web.calendar_words import calendar_words
from intake_plugin.web.i18n import speaking
from intake_plugin.web.limits import limiters
from intake_plugin.web.why_words import reason_words, unasked_words

P = ParamSpec("P")
R = TypeVar("R")

_RESULTS = {
    "read": "read, {} busy times",
    "unchanged": "unchanged",
    "refused": "refused, what was read before stays",
    "elsewhere": "being read by another process",
}
_DAYS_AHEAD = 2 * 366
"""Nothing is booked further ahead."""
_NAMED = 5
"""Cases that a message names."""
_UNCOUNTED = "none, because the site has no Flask-Limiter (the extra `limits`)"
_ENDINGS = ("sent", "later", "given up", "needless")
_MIGRATE = "Run `flask db migrate` and `flask db upgrade`."


def _in_app(command: Callable[P, R]) -> Callable[P, R]:
    """Run `command` in the app; what is wrong with its files or settings is told without a traceback."""

    @click.pass_context
    def run(context: click.Context, /, *args: Any, **kwargs: Any) -> R:
        try:
            app = context.ensure_object(ScriptInfo).load_app()
        except IntakeError as error:
            raise click.ClickException(str(error)) from None
        with app.app_context():
            return command(*args, **kwargs)

    return functools.update_wrapper(run, command)


@click.group()
def intake() -> None:
    """Check and look after the intake plugin."""


@intake.command("new-key")
def new_key() -> None:
    """Print a new encryption key, to be put in front of INTAKE_KEYS."""
    click.echo(keyring.new_key())


@intake.command()
@_in_app
def check() -> None:
    """Say what is missing before a patient may use this site.

    Lists each clinic's treatments with version, changes, fingerprint and approval, and compares
    the plugin's tables with the database. The exit code is 1 when anything is missing.
    """
    state = current_state()
    found = [line for mount, clinic in state.clinics.items() for line in _check_clinic(mount, clinic)]
    checks = (_check_busy, _check_zone, _check_words)
    found += [line for clinic in _clinics(state) for check in checks for line in check(clinic)]
    found += [line for clinic in _clinics(state) for line in mail.problems(_app(), clinic)]
    if not state.clinics:
        found.append("No clinic is mounted. Register intake.blueprint(...) for at least one.")
    found += _check_host()
    click.echo(f"Rate limits: {'counted by Flask-Limiter' if any(limiters()) else _UNCOUNTED}")
    found += _check_tables(state) or [
        line for clinic in _clinics(state) for line in _check_cases(state, clinic)
    ]
    if found:
        raise click.ClickException("This site is not ready for patients:\n" + _listed(found))
    click.echo("Ready for patients.")


@intake.command()
@_in_app
def verify() -> None:
    """Walk the audit chain of every clinic and name the entries that are broken.

    Prints each chain's last hash; kept elsewhere, it proves that the chain was not written anew.
    """
    state = current_state()
    broken = []
    for clinic_id in sorted({clinic.id for clinic in state.clinics.values()}):
        problems = audit.verify(state.db.session(), clinic_id)
        broken += [f"{clinic_id}: {problem}" for problem in problems]
        if not problems:
            click.echo(f"{clinic_id}: whole, up to {audit.head(state.db.session(), clinic_id)}")
    if broken:
        raise click.ClickException("The audit chain is broken:\n" + _listed(broken))


@intake.command("rotate-keys")
@_in_app
def rotate_keys() -> None:
    """Seal every record with the first key of INTAKE_KEYS; stopped, it goes on where it was.

    The exit code is 1 while records are left that need an older key.
    """
    state, now = current_state(), dt.datetime.now(dt.UTC)
    session, newest = state.db.session(), state.keyring.newest
    for clinic in {clinic.id: clinic for clinic in state.clinics.values()}.values():
        office = Office(
            clinic=clinic, session=session, settings=state.settings, keyring=state.keyring, now=now
        )
        before = upkeep.outdated(session, clinic.id)
        try:
            with click.progressbar(length=before, label=clinic.id) as bar:
                for done in upkeep.rotate(office):
                    bar.update(done)
        except IntakeError as error:
            raise click.ClickException(f"{clinic.id}: {error} Run this again.") from None
        sealed = before - upkeep.outdated(session, clinic.id)
        click.echo(f"{clinic.id}: {sealed} records sealed with {newest}")
    if left := upkeep.outdated(session):
        raise click.ClickException(
            f"{left} records still need an older key: they were in use, or their clinic is not mounted here. "
            "Keep the older keys and run this again."
        )
    click.echo(f"Every record is sealed with {newest}. The older keys can be taken out of INTAKE_KEYS.")


@intake.command()
@_in_app
def expire() -> None:
    """Delete drafts, links and holds that have run out; for cron, on as many hosts as you like."""
    state = current_state()
    for clinic in _clinics(state):
        click.echo(f"{clinic.id}: {upkeep.expire(_office(state, clinic))} drafts deleted")


@intake.command()
@click.option("--again", is_flag=True, help="Try what was given up once more, too.")
@_in_app
def deliver(*, again: bool) -> None:
    """Send the mail that is due; for cron, every minute or so, on as many hosts as you like.

    The exit code is 1 when a message was given up (the desk says whom to telephone), and when a clinic's
    mail could not be sent; the other clinics' is sent all the same.
    """
    state, lost, troubled = current_state(), 0, list[str]()
    for mount, clinic in _mounts(state).items():
        if clinic.mail is None:
            continue
        desk = functools.partial(_office, state, clinic)
        try:
            revived = delivery.again(desk()) if again else 0
            found = mail.deliver(_app(), mount, desk)
        except Exception as error:  # whatever it is, it must not cost the other clinics their mail
            # The words of any other error may hold what was sent.
            why = str(error) if isinstance(error, IntakeError) else type(error).__name__
            click.echo(f"{clinic.id}: {why}", err=True)
            troubled.append(clinic.id)
            state.db.session.rollback()
            continue
        _report(clinic, revived, found)
        if found.unwritten:
            troubled.append(clinic.id)
        lost += found.given_up
    reasons = [f"{lost} given up. The clinic's desk names the cases."] if lost else []
    if troubled:
        reasons.append(f"Not everything was done at {', '.join(troubled)}. Run this again.")
    if reasons:
        raise click.ClickException(" ".join(reasons))


def _report(clinic: Clinic, revived: int, found: Delivered) -> None:
    if revived:
        click.echo(f"{clinic.id}: {revived} to be tried once more")
    click.echo(f"{clinic.id}: " + ", ".join(f"{found.counts[word]} {word}" for word in _ENDINGS))
    if found.failures:
        reasons = (f"{code} ({count})" for code, count in found.failures.items())
        click.echo(f"{clinic.id}: {', '.join(reasons)}")
    if found.unreachable:
        click.echo(f"{clinic.id}: the mail server could not be used, so the rest waits")
    if found.unwritten:
        rows = ", ".join(found.unwritten)
        click.echo(f"{clinic.id}: how it ended could not be written down, so it may be sent again: {rows}")


def _mounts(state: State) -> dict[str, Clinic]:
    """Return each clinic once, by the first of its mounts."""
    first = {clinic.id: mount for mount, clinic in reversed(state.clinics.items())}
    return {mount: state.clinics[mount] for mount in state.clinics if mount in first.values()}


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - Flask's documented way


@intake.command()
@click.option("--afresh", is_flag=True, help="Read calendars that say they have not changed, too.")
@_in_app
def busy(*, afresh: bool) -> None:
    """Read the calendars of every clinic's [[busy]]; for cron, on as many hosts as you like.

    The exit code is 1 when one was refused: what was read from it before stays, until it is stale.
    """
    state = current_state()
    refused: list[str] = []
    for clinic in _clinics(state):
        for source in clinic.busy:
            refused += _read_calendar(state, clinic, source, afresh=afresh)
        try:
            removed = journeys_busy.forget_removed(_office(state, clinic))
        except IntakeError as error:
            refused.append(f"{clinic.id}: {error}")
            continue
        if removed:
            click.echo(f"{clinic.id}: forgot {removed}, no longer in the profile")
    if refused:
        raise click.ClickException("Not every calendar could be read:\n" + _listed(refused))


@intake.command("renew-calendars")
@_in_app
def renew_calendars() -> None:
    """Let every calendar take over a clinic's new address, telephone or name; run it after such a change.

    Files that patients added before stay as they are; subscribed calendars follow.
    """
    state = current_state()
    for clinic in _clinics(state):
        try:
            renewed = journeys_feeds.renew(_office(state, clinic))
        except IntakeError as error:
            raise click.ClickException(f"{clinic.id}: {error} Run this again.") from None
        click.echo(f"{clinic.id}: {renewed} sessions to come will be read anew")


def _read_calendar(state: State, clinic: Clinic, source: BusySource, *, afresh: bool) -> Iterator[str]:
    """Read one calendar, say how it went, and yield what was wrong with it."""
    name = f"{clinic.id}, {source.id}"
    try:
        reading = journeys_busy.refresh(_office(state, clinic), source, afresh=afresh)
    except IntakeError as error:
        yield f"{name}: {error}"
        return
    except Exception:  # no calendar may keep the others, and other clinics', from being read
        click.echo(traceback.format_exc(), err=True)
        yield f"{name}: not read, by a fault of the plugin. Please report it with what is printed above."
        return
    click.echo(f"{name}: {_RESULTS[reading.result].format(reading.times)}")
    yield from (f"{name}: {problem}" for problem in reading.problems)


def _clinics(state: State) -> list[Clinic]:
    """Return each clinic once, however often it is mounted."""
    return list({clinic.id: clinic for clinic in state.clinics.values()}.values())


@intake.command()
@click.argument("clinic", required=False)
@click.option("--workers", default=16, show_default=True, type=click.IntRange(2), help="Patients at once.")
@click.option("--rounds", default=100, show_default=True, type=click.IntRange(1), help="How often.")
@_in_app
def race(clinic: str | None, workers: int, rounds: int) -> None:
    """Prove on this site's own database that one time cannot be booked twice.

    CLINIC is the name of a mount, the first one if left out. Its hours and its first treatment are
    used in a scratch clinic, of which nothing stays behind. The exit code is 1 after any overlap
    or any series booked in part, and when nobody booked, because then nothing is proved.
    """
    state = current_state()
    if not state.clinics:
        raise click.ClickException("No clinic is mounted. Register intake.blueprint(...) for at least one.")
    mount = clinic or next(iter(state.clinics))
    if mount not in state.clinics:
        raise click.ClickException(f"No clinic is mounted as {mount!r}.{did_you_mean(mount, state.clinics)}")
    office = _office(state, state.clinics[mount])
    dialect = state.db.engine.dialect.name
    click.echo(f"{mount}: {workers} patients reach for one series at once, {rounds} times, on {dialect}")
    try:
        found = races.race(office, workers=workers, rounds=rounds)
    except IntakeError as error:
        raise click.ClickException(str(error)) from None
    lost = ", ".join(f"{count} {name}" for name, count in sorted(found.lost.items()))
    click.echo(f"rounds {found.rounds}, winners {found.winners}, overlaps {found.overlaps}")
    click.echo(f"lost: {lost or 'none'}; {found.rate:.0f} attempts a second")
    if not found.clean:
        raise click.ClickException("Something was booked twice or in part. This database must not be used.")
    if not found.sound:
        raise click.ClickException(
            "Nobody booked, so nothing is proved. The names above say why; with Busy, raise "
            "INTAKE_LOCK_TIMEOUT or ask for fewer --workers."
        )


def _office(state: State, clinic: Clinic) -> Office:
    return Office(
        clinic=clinic,
        session=state.db.session(),
        settings=state.settings,
        keyring=state.keyring,
        now=dt.datetime.now(dt.UTC),
    )


@intake.command("why-not")
@click.argument("clinic")
@click.argument("resource")
@click.argument("time", type=click.DateTime(["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]))
@click.option("--case", "reference", help="Ask about the visit and the findings of this case.")
@_in_app
def why_not(clinic: str, resource: str, time: dt.datetime, reference: str | None) -> None:
    """Say why RESOURCE cannot be booked at CLINIC for a patient who arrives at TIME, its local time.

    CLINIC is a mount or a clinic's id, RESOURCE a practitioner's or a room's id, or "any". Without
    --case the visit is the shortest of any treatment that RESOURCE serves.
    """
    state = current_state()
    found = _clinic(state, clinic)
    try:
        answer = why_not_offered(
            _office(state, found),
            time,
            actor=SYSTEM,
            resource_id=None if resource == "any" else resource,
            reference=reference,
        )
    except IntakeError as error:
        raise click.ClickException(str(error)) from None
    reasons = [reason_words(found, answer, each) for each in answer.reasons] or ["It is offered."]
    click.echo("\n".join(filter(None, (*reasons, unasked_words(answer)))))


def _clinic(state: State, name: str) -> Clinic:
    for mount, clinic in state.clinics.items():
        if name in {mount, clinic.id}:
            return clinic
    known = [*state.clinics, *(clinic.id for clinic in state.clinics.values())]
    raise click.ClickException(f"There is no clinic {name!r}.{did_you_mean(name, known)}")


def _listed(lines: list[str]) -> str:
    return "\n".join(f"  - {line}" for line in lines)


def _check_clinic(mount: str, clinic: Clinic) -> Iterator[str]:
    click.echo(f"{clinic.name} (clinic {clinic.id!r}, mounted as {mount!r})")
    if clinic.booking.cancel_notice > clinic.booking.move_notice:
        click.echo(
            "  warning: cancel_notice is longer than move_notice. A patient who is too late to cancel can "
            "move the session further away and cancel it then. Make cancel_notice no longer than move_notice."
        )
    for protocol_id, treatment in clinic.treatments.items():
        retired = ", retired" if treatment.retired else ""
        click.echo(f"  {protocol_id} {treatment.protocol.version}, {_approval(treatment)}{retired}")
        click.echo(f"    fingerprint {treatment.fingerprint}")
        for change in treatment.changes:
            click.echo(f"    changed: {change}")
        if not treatment.approved:
            yield (
                f"{clinic.name}: nobody answers for {protocol_id} as it stands. When a clinician has read "
                f"it, enter their approval with the fingerprint {treatment.fingerprint} in the profile."
            )
        elif treatment.approval is not None and treatment.approval.on > _today(clinic):
            yield (
                f"{clinic.name}: the approval of {protocol_id} has the date {treatment.approval.on}, which "
                "is still to come. Enter the day on which it was given."
            )


def _today(clinic: Clinic) -> dt.date:
    return dt.datetime.now(clinic.zone).date()


def _check_busy(clinic: Clinic) -> Iterator[str]:
    if clinic.busy:
        try:
            engine()
        except SetupError as error:
            yield f"{clinic.name}: {error}"


def _check_zone(clinic: Clinic) -> Iterator[str]:
    wrong = outdated(clinic.zone.key, _today(clinic), _DAYS_AHEAD)
    if wrong is not None:
        yield (
            f"{clinic.name}: the rules for {clinic.zone.key} that this system has are old, and wrong from "
            f"{wrong} on. Bring the time zones of the system up to date, or set PYTHONTZPATH to nothing, so "
            "that those of the package tzdata are used."
        )


def _check_words(clinic: Clinic) -> Iterator[str]:
    for locale in clinic.languages:
        with speaking(locale):
            problems = calendar_words().problems()
        for problem in problems:
            yield (
                f"{clinic.name}: of the calendar's words in the language {locale!r}, {problem}. Mend the "
                "translation, or no calendar in it can be written."
            )


def _check_host() -> Iterator[str]:
    limit = current_app.config.get("WTF_CSRF_TIME_LIMIT")
    if "csrf" in current_app.extensions and limit is not None and limit < INACTIVITY.total_seconds():
        yield (
            f"Whoever takes longer than {limit} seconds over a page loses what they typed there, because the "
            "site's CSRF token has run out (WCAG 2.2, 2.2.1). Set WTF_CSRF_TIME_LIMIT = None: the token then "
            "lives as long as the session."
        )


def _check_cases(state: State, clinic: Clinic) -> Iterator[str]:
    for protocol_id, references in review.orphans(_office(state, clinic)).items():
        named = ", ".join(references[:_NAMED]) + (", ..." if len(references) > _NAMED else "")
        yield (
            f"{clinic.name}: the profile has no treatment {protocol_id!r} any more, so {len(references)} of "
            f"its cases cannot be read: {named}. Put it back, with `retired = true` if it is not offered now."
        )


def _approval(treatment: Treatment) -> str:
    match treatment.approval:
        case None:
            return "not approved"
        case Approval(by=by, role=role, on=on, version=version) if treatment.approved:
            return f"version {version} approved by {by} ({role}) on {on}"
        case Approval(by=by, on=on) if by.strip():
            return f"changed since {by} approved it on {on}"
        case _:
            return "not approved: the approval names nobody"


def _check_tables(state: State) -> list[str]:
    missing = list(_missing_tables(state)) or list(_different_tables(state))
    if not missing:
        click.echo(f"Database: all {len(Base.metadata.tables)} tables as they should be")
    return missing


def _missing_tables(state: State) -> Iterator[str]:
    """Yield what is missing outright, which needs no Alembic to see."""
    inspector, theirs = sa.inspect(state.db.engine), state.db.metadata
    for name in Base.metadata.tables:
        table = theirs.tables.get(f"{theirs.schema}.{name}" if theirs.schema else name)
        if table is None or not inspector.has_table(name, table.schema):
            yield f"Database: there is no table {name}. {_MIGRATE}"
            continue
        present = {column["name"] for column in inspector.get_columns(name, table.schema)}
        for column in table.columns:
            if column.name not in present:
                yield f"Database: {name} has no column {column.name}. {_MIGRATE}"


def _different_tables(state: State) -> Iterator[str]:
    """Yield every other difference, where Alembic is there to compare."""
    try:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext
    except ImportError:
        return
    with state.db.engine.connect() as connection:
        options = {"include_object": _ours, "include_schemas": state.db.metadata.schema is not None}
        context = MigrationContext.configure(connection, opts=options)
        for difference in compare_metadata(context, state.db.metadata):
            yield f"Database: {_in_words(difference)}. Run `flask db migrate` and read what it writes."


def _ours(item: Any, name: str | None, type_: str, _reflected: bool, _compared: Any) -> bool:
    return (name if type_ == "table" else item.table.name) in Base.metadata.tables


def _in_words(difference: Any) -> str:
    if isinstance(difference, list):
        return "; ".join(_in_words(part) for part in difference)
    verb = str(difference[0]).replace("_", " ")
    names = [getattr(part, "name", part) for part in difference[1:] if part is not None]
    return f"{verb} {' '.join(str(name) for name in names if not isinstance(name, dict))}"
