"""The clinic's own pages: every link leads somewhere, and only staff get behind the counter."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from flask import Flask

from example_host.first_run import DEMO_EMAIL
from intake_plugin.testing import Page, Visitor


def sign_in(app: Flask, visitor: Visitor, address: str = "/staff/sign-in", password: str = "") -> Page:
    password = password or (Path(app.instance_path) / "demo_password").read_text().strip()
    return visitor.submit(visitor.get(address), {"email": DEMO_EMAIL, "password": password})


def test_every_link_of_the_site_leads_to_a_page(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    todo, seen = ["http://localhost/"], set[str]()
    while todo:
        address = todo.pop()
        seen.add(address)
        page = visitor.get(address)
        assert page.reply.status == 200, address
        assert page.heading, address
        links = (urljoin(page.reply.url, href).partition("#")[0] for _, href in page.links)
        todo += {link for link in links if urlsplit(link).netloc == "localhost"} - seen - set(todo)
    assert {"/", "/treatments", "/clinics", "/london/book/", "/new-york/book/"} <= {
        urlsplit(address).path for address in seen
    }


def test_every_page_carries_the_policy(example: Flask) -> None:
    for address in ("/", "/nowhere", "/london/book/"):
        policies = example.test_client().get(address).headers.getlist("Content-Security-Policy")
        assert any("default-src 'none'" in policy for policy in policies), address


def test_the_opening_hours_are_the_profiles_own(example: Flask) -> None:
    text = Visitor.of(example.test_client()).get("/clinics").text
    assert "Monday to Tuesday 09:00 to 18:00" in text
    assert "Wednesday to Thursday 09:00 to 20:00" in text
    assert "Tuesday to Friday 10:00 to 19:00" in text


def test_a_missing_page_is_told_in_the_sites_layout(example: Flask) -> None:
    page = Visitor.of(example.test_client()).get("/nowhere")
    assert (page.reply.status, page.heading) == (404, "Page not found")


def test_patients_are_told_that_nobody_approved_the_protocol(example: Flask) -> None:
    assert "demonstration" in Visitor.of(example.test_client()).get("/london/book/").text.lower()


def test_staff_pages_ask_to_sign_in_and_lead_back(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    asked = visitor.get("/london/book/staff/")
    assert urlsplit(asked.reply.url).path == "/staff/sign-in"
    page = sign_in(example, visitor, asked.reply.url)
    assert urlsplit(page.reply.url).path == "/london/book/staff/"
    assert page.name == "staff"


def test_a_wrong_password_opens_nothing(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    page = sign_in(example, visitor, password="wrong")
    assert page.reply.status == 422
    assert page.title.startswith("Error: ")
    assert urlsplit(visitor.get("/staff/").reply.url).path == "/staff/sign-in"


def test_passwords_cannot_be_tried_for_ever(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    page = visitor.get("/staff/sign-in")
    tries = [visitor.submit(page, {"email": DEMO_EMAIL, "password": "wrong"}) for _ in range(11)]
    assert [each.reply.status for each in tries] == [422] * 10 + [429]
    assert tries[-1].heading == "Too many requests"


def test_cases_cannot_be_begun_for_ever(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    start = visitor.get("/new-york/book/")
    begun = [visitor.submit(start) for _ in range(61)]
    assert {page.name for page in begun[:60]} == {"question"}
    assert (begun[60].reply.status, begun[60].heading) == (429, "Too many tries in a short time")


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "staff"])
def test_signing_in_leads_to_no_other_site(example: Flask, target: str) -> None:
    page = sign_in(example, Visitor.of(example.test_client()), f"/staff/sign-in?next={target}")
    assert page.reply.url == "http://localhost/staff/"


def test_signing_out_is_an_act_and_not_a_link(example: Flask) -> None:
    visitor = Visitor.of(example.test_client())
    page = sign_in(example, visitor)
    assert visitor.get("/staff/sign-out").reply.status == 405
    assert visitor.submit(page).reply.url == "http://localhost/"
    assert urlsplit(visitor.get("/staff/").reply.url).path == "/staff/sign-in"
