"""From words and a calendar to MIME: what stands in a message, and what can never get into one."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import Any

import pytest

from intake_plugin.errors import MailRefused
from intake_plugin.letters import Attached, Letter, Wording, compose, message_id

NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
ICS = "BEGIN:VCALENDAR\r\nSUMMARY:Grüße \U0001f9f4\r\n folded\r\nEND:VCALENDAR\r\n".encode()
LETTER = Letter(
    message_id="<0f0f@clinic.example>",
    date=NOW,
    sender="desk@clinic.example",
    sender_name="North Clinic",
    to="pat@example.com",
    language="en",
    wording=Wording(subject="Your appointments", text="Tuesday: arrive at 09:00\n"),
)


def sent(letter: Letter) -> EmailMessage:
    """Return the message as whoever receives it reads it."""
    octets = compose(letter).as_bytes()
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", octets) is None
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    return message_from_bytes(octets, _class=EmailMessage, policy=SMTP)


def parts(message: EmailMessage) -> list[tuple[str, str | None]]:
    return [(part.get_content_type(), part.get_content_disposition()) for part in message.walk()]


def test_a_message_says_from_whom_to_whom_and_that_a_machine_wrote_it() -> None:
    message = sent(LETTER)
    assert dict(message.items()) == {
        "From": "North Clinic <desk@clinic.example>",
        "To": "pat@example.com",
        "Subject": "Your appointments",
        "Date": "Mon, 02 Mar 2026 09:30:00 +0000",
        "Message-ID": "<0f0f@clinic.example>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
        "Content-Language": "en",
    }
    assert message.get_content() == "Tuesday: arrive at 09:00\r\n"


def test_a_file_is_attached_octet_for_octet() -> None:
    message = sent(replace(LETTER, calendar=Attached(octets=ICS, filename="appointments.ics")))
    assert parts(message) == [
        ("multipart/mixed", None),
        ("text/plain", None),
        ("text/calendar", "attachment"),
    ]
    file = list(message.walk())[2]
    assert (file.get_filename(), file["Content-Type"].params) == (
        "appointments.ics",
        {"charset": "utf-8"},
    )
    assert file.get_payload(decode=True) == ICS


@pytest.mark.parametrize("method", ["REQUEST", "CANCEL"])
def test_an_invitation_is_an_alternative_to_the_text(method: Any) -> None:
    calendar = Attached(octets=ICS, filename="appointments.ics", method=method)
    message = sent(replace(LETTER, calendar=calendar))
    assert parts(message) == [
        ("multipart/alternative", None),
        ("text/plain", None),
        ("text/calendar", None),
    ]
    invitation = list(message.walk())[2]
    assert invitation["Content-Type"].params == {"method": method, "charset": "utf-8"}
    assert invitation.get_payload(decode=True) == ICS


EVIL = "North\r\nBcc: all@example.org\r\n\r\nHello\x00\u2028\ud800\x0b\N{RIGHT-TO-LEFT MARK}"


@pytest.mark.parametrize("place", ["sender_name", "subject"])
def test_no_name_begins_a_line_of_its_own(place: str) -> None:
    letter = (
        replace(LETTER, sender_name=EVIL)
        if place == "sender_name"
        else replace(LETTER, wording=replace(LETTER.wording, subject=EVIL))
    )
    message = sent(letter)
    assert set(message.keys()) == set(sent(LETTER).keys())
    shown = message["From"].addresses[0].display_name if place == "sender_name" else message["Subject"]
    assert shown == "North Bcc: all@example.org Hello \N{RIGHT-TO-LEFT MARK}"
    assert message["From"].addresses[0].addr_spec == "desk@clinic.example"


@pytest.mark.parametrize("name", ['Ada "Dee" <x@y.example>, Ltd.', "Grüße & Co", "名" * 5_000, "", ","])
def test_any_name_arrives_as_it_was_written(name: str) -> None:
    message = sent(replace(LETTER, sender_name=name))
    assert message["From"].addresses[0].addr_spec == "desk@clinic.example"
    # The parser of the standard library puts spaces between the pieces of a long encoded name.
    pieces = decode_header(parseaddr(message_from_bytes(message.as_bytes())["From"])[0])
    assert str(make_header(pieces)) == name


@pytest.mark.parametrize(
    "to",
    [
        "pat@example.com\r\nBcc: all@example.org",
        "pat@example.com, all@example.org",
        "pat@example.com\u2028@example.org",
        "Pat <pat@example.com>",
        "pat",
        "@example.com",
        "pat@",
        "pat@" + "x" * 64 + ".example",
        "",
        "\ud800@example.com",
    ],
)
def test_what_is_no_single_address_is_refused(to: str) -> None:
    with pytest.raises(MailRefused, match="not an address") as refusal:
        compose(replace(LETTER, to=to))
    assert "pat" not in str(refusal.value)


def test_a_domain_in_another_script_is_written_in_ascii() -> None:
    message = sent(replace(LETTER, to="pat@exämple.example"))
    assert message["To"] == "pat@xn--exmple-cua.example"


def test_an_address_that_needs_it_is_written_as_it_is() -> None:
    octets = compose(replace(LETTER, to="jörg@exämple.example")).as_bytes()
    assert "To: jörg@xn--exmple-cua.example\r\n".encode() in octets


def test_words_in_any_language_need_seven_bits() -> None:
    text = "Dienstag: 09:00 – nüchtern\n" + "名" * 400 + "\n"
    octets = compose(replace(LETTER, wording=Wording(subject="Grüße", text=text))).as_bytes()
    assert octets.isascii()
    message = message_from_bytes(octets, _class=EmailMessage, policy=SMTP)
    assert (message["Subject"], message.get_content().replace("\r\n", "\n")) == ("Grüße", text)


def test_a_message_id_bears_the_mailbox_domain_and_nothing_else_of_it() -> None:
    assert message_id("0f0f", "Desk.North@Clinic.Example") == "<0f0f@clinic.example>"
