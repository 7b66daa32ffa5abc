"""The demonstration's mail: files that say what would have been sent, or a real mail server."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from flask import Flask

from intake_plugin.cli import deliver
from intake_plugin.testing import Given, Visitor
from tests.journeys.mailing import calendar_of, text_of
from tests.mailserver import mail_server

WREN: Given = {
    "name": "Wren Okafor",
    "birth_date": dt.date(1991, 3, 14),
    "email": "wren.okafor@example.com",
    "telephone": "07700 900123",
    "concern": "fine_lines",
    "area": "face",
    "no_alcohol": "yes",
}


def written(app: Flask) -> list[EmailMessage]:
    folder = Path(app.instance_path) / "mail"
    return [
        message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=SMTP)
        for path in sorted(folder.glob("*.eml"))
    ]


def test_without_a_mail_server_a_booking_becomes_a_file_and_says_so(
    example: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Visitor.of(example.test_client()).book("/london/book/", WREN)
    assert page.name == "done", page.text
    (message,) = written(example)
    assert (message["To"], message["From"]) == (
        "wren.okafor@example.com",
        "Alder & Rowan <appointments@alderandrowan.example>",
    )
    assert "http://127.0.0.1:5000/london/book/link/" in text_of(message)
    assert (calendar_of(message) or b"").startswith(b"BEGIN:VCALENDAR\r\n")
    assert "Mail is not sent, but written to " in capsys.readouterr().err


def test_what_the_demonstration_made_can_be_delivered(example: Flask) -> None:
    runner = example.test_cli_runner()
    assert runner.invoke(args=["demo", "--cases", "12"]).exit_code == 0
    assert written(example) == []
    result = runner.invoke(deliver)
    assert result.exit_code == 0, result.output
    found = written(example)
    assert found
    assert {message["From"] for message in found} == {"Alder & Rowan <appointments@alderandrowan.example>"}
    assert runner.invoke(deliver).output.count(" 0 sent") == 2


def test_with_a_mail_server_it_is_sent(
    make_example: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server() as server:
        monkeypatch.setenv("FLASK_MAIL_SERVER", "127.0.0.1")
        monkeypatch.setenv("FLASK_MAIL_PORT", str(server.port))
        example = make_example()
        Visitor.of(example.test_client()).book("/new-york/book/", WREN)
        assert {each.to for each in server.received} == {("wren.okafor@example.com",)}
        assert all(b"METHOD:REQUEST" in (calendar_of(each) or b"") for each in server.messages)
        assert written(example) == []
