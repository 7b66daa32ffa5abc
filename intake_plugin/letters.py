"""From words and a calendar to a message in MIME. Pure: whoever calls says what time it is.

A name or an address comes from a profile or a form; none of it can begin a header of its own. The
octets of a calendar are carried in base64, so that no mail server on the way changes a line of them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Literal

from intake_plugin.errors import MailRefused

# Seven bits, because not every server on the way takes eight; octets of line ends are kept by base64.
_POLICY: Final = SMTP.clone(cte_type="7bit")
_INTERNATIONAL: Final = _POLICY.clone(utf8=True)
"""RFC 6532, only where the address itself cannot be written in ASCII."""
_LOCAL: Final = re.compile(r"""[^\s@<>()\[\]\\,;:"\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}""")
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a message says, in one language."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A calendar that goes along: a file to open, or with a `method` an invitation that opens itself."""

    octets: bytes
    filename: str
    method: Literal["REQUEST", "CANCEL"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Letter:
    """Everything a message is made of."""

    message_id: str
    """In angle brackets."""
    date: dt.datetime
    sender: str
    sender_name: str
    to: str
    language: str
    """As HTML writes it."""
    wording: Wording
    calendar: Attached | None = None


def message_id(unique: str, sender: str) -> str:
    """Return the Message-ID that a unique word makes at the domain of the sender's mailbox."""
    return f"<{unique}@{sender.rpartition('@')[2].lower()}>"


def compose(letter: Letter) -> EmailMessage:
    """Return the message: text alone, text with a file, or with an invitation as RFC 6047 wants it.

    The same letter makes the same octets.
    Raises MailRefused for an address that no message can bear.
    """
    address = _address(letter.to)
    message = EmailMessage(policy=_POLICY if address.addr_spec.isascii() else _INTERNATIONAL)
    message["From"] = Address(display_name=_one_line(letter.sender_name), addr_spec=letter.sender)
    message["To"] = address
    message["Subject"] = _one_line(letter.wording.subject)
    message["Date"] = format_datetime(letter.date.astimezone(dt.UTC))
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"
    # Exchange knows no Auto-Submitted, and would answer with somebody's absence.
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(letter.wording.text, charset="utf-8")
    message["Content-Language"] = letter.language
    if letter.calendar is not None:
        _attach(message, letter.calendar)
        # Neither base64 nor quoted-printable ever holds "=_", so no part can hold the boundary.
        message.set_boundary(f"=_{hashlib.sha256(letter.message_id.encode()).hexdigest()[:32]}")
    return message


def _attach(message: EmailMessage, calendar: Attached) -> None:
    add: Callable[..., None] = message.add_attachment
    params, more = {"charset": "utf-8"}, {"filename": calendar.filename}
    if calendar.method is not None:
        # RFC 6047 section 2.4: the parameter and the METHOD inside are the same.
        add, params, more = message.add_alternative, {"method": calendar.method, **params}, {}
    add(calendar.octets, maintype="text", subtype="calendar", params=params, **more)


def mailbox(written: str) -> str:
    """Return an address in the form that a message bears, whatever way somebody wrote it.

    Raises MailRefused for an address that no message can bear.
    """
    return _address(written).addr_spec


def _address(written: str) -> Address:
    local, _at, domain = written.strip().rpartition("@")
    try:
        # A domain has a form in ASCII that every server takes; the part before it has none.
        ascii_domain = domain.encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    if not (_LOCAL.fullmatch(local) and _DOMAIN.fullmatch(ascii_domain)):
        raise MailRefused("not an address")
    return Address(username=local, domain=ascii_domain)


def _one_line(text: str) -> str:
    """Return `text` without line ends and other controls, which a header must not hold."""
    spaced = "".join(" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in text)
    return " ".join(spaced.split())
