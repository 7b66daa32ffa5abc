"""Every page, asked by whom it is not for: nothing is told and nothing changes.

The pages are taken from the app's own list, so that one added later is asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from intake_plugin import Intake, Staff
from intake_plugin.records.base import Base
from intake_plugin.records.tables import Block, Case, Feed
from intake_plugin.settings import Clinic
from tests.web.conftest import CLINICIAN, HOME, RECEPTION, MakeSite, Site
from tests.web.test_feeds import address_on, make_link

TOLD = (b"Wren", b"Okafor", b"wren.okafor", b"07700", b"1991", b"Fine lines", b"Course in Leeds")
"""What only the patient and the patient's own clinic may read."""
ANYBODYS = {"static", "start", "leave", "language"}
"""Pages that are for everybody, or about nothing but the visitor's own device."""

REFUSED = {303, 403, 404, 405}
"""Opening an address that only takes a form leads to the page of the form, which is asked as well."""


@dataclass
class Town:
    """A booked patient at Harbour, and Quay, another clinic of the same site that does not know them."""

    site: Site
    patient: FlaskClient
    values: dict[str, str]
    """What Harbour's addresses name."""

    def pages(self, mount: str, *, staff: bool) -> Iterator[tuple[str, str, str]]:
        """Yield (endpoint, method, address) of every page of a mount, about Harbour's own objects."""
        prefix = f"{mount}.staff." if staff else f"{mount}."
        for rule in self.site.app.url_map.iter_rules():
            name = rule.endpoint.removeprefix(prefix)
            if not rule.endpoint.startswith(prefix) or "." in name or name in ANYBODYS:
                continue
            address = rule.rule.replace("<int:ordinal>", "1")
            for argument in rule.arguments - {"ordinal"}:
                address = address.replace(f"<{argument}>", self.values[f"{name}.{argument}"])
            for method in ("GET", "POST"):
                yield name, method, address

    def stored(self) -> dict[str, list[tuple[object, ...]]]:
        with self.site.app.app_context():
            return {
                name: sorted((tuple(row) for row in self.site.db.session.execute(sa.select(table))), key=repr)
                for name, table in Base.metadata.tables.items()
            }


@pytest.fixture
def town(make_site: MakeSite, clinic: Clinic) -> Town:
    sites: list[Site] = []

    def second(app: Flask) -> None:
        intake = Intake(app.extensions["sqlalchemy"], staff=lambda: sites[0].staff)
        app.register_blueprint(intake.blueprint("quay", replace(clinic, id="quay")), url_prefix="/quay")

    site = make_site(prepare=second)
    sites.append(site)
    visitor, _ = site.to("done")
    patient = site.client
    feed = urlsplit(address_on(make_link(visitor))).path.rsplit("/", 1)[1].removesuffix(".ics")
    shown = visitor.submit(visitor.get(f"{HOME}save"))
    link = next(address for _, address in shown.links if "/link/" in address).rsplit("/", 1)[1]
    site.staff = CLINICIAN
    day = {
        f"{end}-{part}": value
        for end in ("from", "until")
        for part, value in (("day", "16"), ("month", "3"), ("year", "2026"))
    }
    times = {"resource": "nurse", "from_time": "9:00", "until_time": "17:00", "reason": "Course in Leeds"}
    desk = site.app.test_client()
    assert desk.post(f"{HOME}staff/blocks", data=day | times).status_code == 303
    assert desk.post(f"{HOME}staff/feeds", data={"resource": "clinic", "label": "Jo"}).status_code == 200
    site.staff = None
    with site.app.app_context():
        read = site.db.session.scalars
        reference, block = read(sa.select(Case.reference)).one(), read(sa.select(Block.id)).one()
        clinics = read(sa.select(Feed.hash).where(Feed.case_id.is_(None))).one()
    about = ("case_page", "decision", "told", "move_session", "cancel_session", "overlap_session")
    values = {f"{name}.reference": reference for name in about} | {
        "unblock.block_id": block,
        "feed_stopped.feed_hash": clinics,
        "questions.key": "goal",
        "document.document": "treatment",
        "link.token": link,
        "feed.token": feed,
    }
    return Town(site, patient, values)


def nothing_told(client: FlaskClient, method: str, address: str) -> int:
    with client.open(address, method=method, data={"name": "x"} if method == "POST" else None) as response:
        for words in TOLD:
            assert words not in response.data, (method, address, words)
        return int(response.status_code)


def test_the_patient_and_the_desk_are_told(town: Town) -> None:
    """The other tests prove nothing unless these words are on the pages of whom they are for."""
    assert b"Wren" in town.patient.get(f"{HOME}done").data + town.patient.get(f"{HOME}consent/treatment").data
    town.site.staff = RECEPTION
    desk = town.site.app.test_client()
    case = desk.get(f"{HOME}staff/cases/{town.values['case_page.reference']}").data
    blocks = desk.get(f"{HOME}staff/blocks").data
    assert [words for words in TOLD if words not in case + blocks] == []


@pytest.mark.parametrize("mount", ["harbour", "quay"])
def test_somebody_without_a_case(town: Town, mount: str) -> None:
    before = town.stored()
    for name, method, address in town.pages(mount, staff=False):
        if mount == "harbour" and name in {"link", "feed"}:
            continue
        assert nothing_told(town.site.app.test_client(), method, address) in REFUSED, address
    assert town.stored() == before


def test_a_patient_at_another_clinic(town: Town) -> None:
    before = town.stored()
    cookie = town.patient.get_cookie("intake_harbour", path="/book/")
    assert cookie is not None
    town.patient.set_cookie("intake_quay", cookie.value, path="/quay/")
    for _, method, address in town.pages("quay", staff=False):
        assert nothing_told(town.patient, method, address) in REFUSED, address
    assert town.stored() == before


def test_a_secret_of_one_kind_opens_nothing_of_another(town: Town) -> None:
    before = town.stored()
    cookie = town.patient.get_cookie("intake_harbour", path="/book/")
    assert cookie is not None
    secrets = {"cookie": cookie.value, "link": town.values["link.token"], "feed": town.values["feed.token"]}
    for kind, secret in secrets.items():
        client = town.site.app.test_client()
        if kind != "cookie":
            client.set_cookie("intake_harbour", secret, path="/book/")
            assert nothing_told(client, "GET", f"{HOME}done") == 403
        if kind != "link":
            assert nothing_told(client, "GET", f"{HOME}link/{secret}") == 404
            client.set_cookie("intake_harbour_link", secret, path="/book/")
            assert nothing_told(client, "GET", f"{HOME}verify") == 404
        if kind != "feed":
            assert nothing_told(client, "GET", f"/book/cal/{secret}.ics") == 404
    assert town.stored() == before


@pytest.mark.parametrize(
    ("mount", "staff"),
    [
        ("harbour", None),
        ("harbour", RECEPTION),
        ("quay", None),
        ("quay", RECEPTION),
        ("quay", CLINICIAN),
    ],
)
def test_the_desk_by_role_and_clinic(town: Town, mount: str, staff: Staff | None) -> None:
    """Nobody sees nothing, a reader changes nothing, and no clinic reaches what is another's."""
    town.site.staff = staff
    before = town.stored()
    for name, method, address in town.pages(mount, staff=True):
        client = town.site.app.test_client()
        if mount == "harbour" and staff is RECEPTION and method == "GET":
            continue
        status = nothing_told(client, method, address)
        if staff is None or (staff is RECEPTION and method == "POST"):
            assert status == 403, address
        elif any(f"{name}.{argument}" in town.values for argument in ("reference", "block_id", "feed_hash")):
            assert status in REFUSED, address
    assert town.stored() == before
