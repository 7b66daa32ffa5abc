"""What somebody reads who has the database and not the keys: nothing of who, what or why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import sqlalchemy as sa

from intake_plugin.journeys import booking, consent, delivery, review
from intake_plugin.journeys.intake import answers_of, identity_of
from intake_plugin.journeys.review import Ruling
from intake_plugin.posting import Carrier
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Appointment, Case, Series, Verdict
from intake_plugin.state import Staff
from tests.journeys.conftest import Desk
from tests.journeys.mailing import LONGEST, STATIONERY, calendar_of, rows, text_of, with_mail

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
    yield from ("Pat Example", "1990-05-17", "7946 0123", "fine_lines", "neck", "LMX4")
    identity = identity_of(case)
    assert identity is not None
    yield identity.email
    yield "The scar is older than two years."
    for link_id, answer in answers_of(case).items():
        words = answer if isinstance(answer, tuple) else (str(answer),)
        yield from (word for word in (link_id, *words) if len(word) >= LONG_ENOUGH)
    for document in consent.documents(desk.office, case):
        yield from (line for line in document.rendered.text.splitlines() if len(line) >= LONG_ENOUGH)


def test_the_database_gives_away_nothing_of_a_booked_patient(
    make_desk: Callable[..., Desk], clinician: Staff
) -> None:
    desk = with_mail(make_desk, reminders=["P2D"])
    case = desk.screened(area="neck", medicines=("blood_thinner",))
    ruling = Ruling(verdict=Verdict.CLEAR, note="The scar is older than two years.", version=case.version)
    review.decide(desk.office, clinician, case.reference, ruling)
    desk.sign_all(case)
    booking.confirm(desk.office, case, desk.plan(case))
    # The mail server says "later", so that what is to be sent stays, with the secrets in it.
    tried: list[EmailMessage] = []

    def refuse(message: EmailMessage) -> None:
        tried.append(message)
        raise ConnectionResetError

    while not [message for message in tried if calendar_of(message)]:
        delivery.deliver(lambda: desk.office, Carrier(refuse, LONGEST), STATIONERY)
    words = set(secrets(desk, case))
    words |= set(re.findall(r"(?:link|cal)/(\w[\w-]{20,})", "".join(map(text_of, tried))))
    assert len(words) > 50
    tables = raw(desk)
    assert set(Base.metadata.tables) == set(tables)
    empty = {table for table, rows in tables.items() if not rows}
    assert not empty & {
        "intake_case",
        "intake_signature",
        "intake_decision",
        "intake_appointment",
        "intake_outbox",
    }
    assert [row.content for row in rows(desk) if row.content]
    found = {(table, word) for table, rows in tables.items() for word in words if word.encode() in rows}
    assert found == set()


def test_what_is_sealed_of_a_series_is_read_as_it_was_booked(desk: Desk) -> None:
    desk.booked(area="neck")
    desk.session.expire_all()
    series = desk.session.scalars(sa.select(Series)).one()
    assert (series.course_id, series.area_id, series.product_id) == ("fine_lines", "neck", "LMX4")
    assert {each.product_id for each in desk.session.scalars(sa.select(Appointment))} == {"LMX4"}
