"""How messages leave the house: by the host's own mailer, or by Flask-Mailman and the `MAIL_*` settings.

Which failures mean that trying again is no use is decided here too, and by codes alone: what a
server says in words holds the patient's address.
"""

from __future__ import annotations

import datetime as dt
import re
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from importlib import import_module
from typing import Any, Final

from flask import Flask

from intake_plugin.errors import MailRefused, SetupError

Mailer = Callable[[EmailMessage], object]
"""Sends one message, and returns once a mail server has taken it over.

It raises `MailRefused` when the server will never take it. Any other error means: try again later.
"""

ANSWERS: Final = 20
"""More answers than a mail server gives while one message is handed over, sign-in included."""

LENGTH: Final = 60
"""The longest code that is kept of a failure."""

_PERMANENT: Final = range(500, 600)
_SIGN_IN: Final = frozenset({530, 534, 535, 538})
"""RFC 4954: permanent refusals of ourselves and not of the recipient; whoever runs the site mends them."""
_HANGS_UP: Final = 421
"""RFC 5321, 3.8: the server closes the connection, whatever the message is."""
_POLICY: Final = re.compile(r"\d{3} [45]\.7\.")
"""RFC 3463, 3.8: security and policy. A relay denied, SPF, DKIM or a block list: the site is refused and not
the recipient."""
_ENHANCED: Final = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}\b")
_SMTP: Final = frozenset({"smtp", "flask_mailman.backends.smtp", "flask_mailman.backends.smtp.EmailBackend"})


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who takes messages, and how long handing one over may take at most."""

    send: Mailer
    longest: dt.timedelta


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message was not taken; `code` names nobody."""

    code: str
    lasting: bool = False
    """Trying again is no use."""
    unreachable: bool = False
    """It is the server and not the message, so other messages would fare no better now."""


def carrier(app: Flask, mailer: Mailer | None, timeout: dt.timedelta) -> Carrier:
    """Return what takes this app's messages.

    Raises SetupError when nothing can: the extra `mail` is missing, or the site names no server.
    """
    if mailer is not None:
        return Carrier(mailer, ANSWERS * timeout)
    if app.config.get("MAIL_SUPPRESS_SEND"):
        raise SetupError("MAIL_SUPPRESS_SEND is set, so no mail is sent. Messages stay and wait.")
    try:
        flask_mailman: Any = import_module("flask_mailman")
    except ModuleNotFoundError as error:
        if error.name != "flask_mailman":
            raise
        raise SetupError(
            "Nothing can send mail. Install 'intake_plugin[mail]' and set MAIL_SERVER, or pass a function "
            "that sends an email.message.EmailMessage: Intake(db, mailer=send)."
        ) from None
    settings = app.extensions.get("mailman") or flask_mailman.Mail.init_mail(app.config, app.testing)
    patience = dt.timedelta(seconds=settings.timeout) if settings.timeout else timeout
    smtp: Any = import_module("intake_plugin.smtp")
    backend = smtp.VerifiedSMTP
    if settings.backend not in _SMTP:
        backend = flask_mailman.Mail().import_backend(settings.backend)
    elif not app.config.get("MAIL_SERVER"):
        raise SetupError("MAIL_SERVER is not set, so nothing can send mail. Set it, and MAIL_PORT beside it.")

    def send(message: EmailMessage) -> None:
        # A connection of its own for each message: what breaks one has no part in the next.
        connection = backend(mailman=settings, timeout=patience.total_seconds())
        if connection.send_messages([smtp.Ready(message)]) == 0:
            raise OSError("The backend sent nothing.")

    return Carrier(send, ANSWERS * patience)


def failure_of(error: Exception) -> Failure:
    """Return what an error of a mailer means for the message."""
    match error:
        case MailRefused(code=code):
            return Failure(code[:LENGTH], lasting=True)
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            return _refusal(*next(iter(recipients.values())))
        case smtplib.SMTPDataError(smtp_code=code, smtp_error=words):
            return _refusal(code, words)
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=words):
            return Failure(_code(code, words), unreachable=True)
        case smtplib.SMTPException() | OSError():
            return Failure(name_of(error), unreachable=True)
        case _:
            return Failure(name_of(error))


def name_of(error: Exception) -> str:
    """Return the name of an error, cut to what a row of the outbox has room for."""
    return type(error).__name__[:LENGTH]


def _refusal(code: int, words: bytes | str) -> Failure:
    found = _code(code, words)
    ours = code in _SIGN_IN or code == _HANGS_UP or _POLICY.match(found) is not None
    return Failure(found, lasting=code in _PERMANENT and not ours, unreachable=ours)


def _code(code: int, words: bytes | str) -> str:
    found = _ENHANCED.match(words if isinstance(words, bytes) else words.encode(errors="replace"))
    return f"{code} {found[0].decode()}" if found else str(code)
