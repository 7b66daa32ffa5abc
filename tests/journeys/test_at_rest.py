"""What somebody reads who has the database and not the keys: nothing of who, what or why."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from intake_plugin.journeys import booking, consent, review
from intake_plugin.journeys.intake import answers_of, identity_of
from intake_plugin.journeys.review import Ruling
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Appointment, Case, Series, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import Desk

LONG_ENOUGH = 6
"""Letters of a word that says something and does not turn up in ids by chance."""


def raw(desk: Desk) -> dict[str, bytes]:
    """Every row of every table, as the database holds it."""
    connection = desk.session.connection()
    return {
        table: b"\0".join(
            value if isinstance(value, bytes) else str(value).encode()
            for row in connection.execute(sa.select(sa.text("*")).select_from(sa.table(table)))
            for value in row
        )
        for table in sa.inspect(connection).get_table_names()
    }


def secrets(desk: Desk, case: Case) -> Iterator[str]:
    yield from ("Pat Example", "1990-05-17", "7946", "fine_lines", "neck", "LMX4")
    identity = identity_of(case)
    assert identity is not None
    yield identity.email
    yield "The scar is older than two years."
    for link_id, answer in answers_of(case).items():
        words = answer if isinstance(answer, tuple) else (str(answer),)
        yield from (word for word in (link_id, *words) if len(word) >= LONG_ENOUGH)
    for document in consent.documents(desk.office, case):
        yield from (line for line in document.rendered.text.splitlines() if len(line) >= LONG_ENOUGH)


def test_the_database_gives_away_nothing_of_a_booked_patient(desk: Desk, clinician: Staff) -> None:
    case = desk.screened(area="neck", medicines=("blood_thinner",))
    ruling = Ruling(verdict=Verdict.CLEAR, note="The scar is older than two years.", version=case.version)
    review.decide(desk.office, clinician, case.reference, ruling)
    desk.sign_all(case)
    booking.confirm(desk.office, case, desk.plan(case))
    words = set(secrets(desk, case))
    assert len(words) > 50
    tables = raw(desk)
    assert set(Base.metadata.tables) == set(tables)
    empty = {table for table, rows in tables.items() if not rows}
    assert not empty & {"intake_case", "intake_signature", "intake_decision", "intake_appointment"}
    found = {(table, word) for table, rows in tables.items() for word in words if word.encode() in rows}
    assert found == set()


def test_what_is_sealed_of_a_series_is_read_as_it_was_booked(desk: Desk) -> None:
    desk.booked(area="neck")
    desk.session.expire_all()
    series = desk.session.scalars(sa.select(Series)).one()
    assert (series.course_id, series.area_id, series.product_id) == ("fine_lines", "neck", "LMX4")
    assert {each.product_id for each in desk.session.scalars(sa.select(Appointment))} == {"LMX4"}
