"""Flask-Mailman's way to a mail server, with a certificate that is checked and an end to waiting.

Flask-Mailman reads the site's `MAIL_*` settings. Its own SMTP backend would go on over STARTTLS with
whoever answers, and leave a connection open after a failure.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import Policy
from typing import Any, cast

import flask_mailman
from flask_mailman.backends.smtp import EmailBackend

from intake_plugin.errors import MailRefused


class VerifiedSMTP(EmailBackend):
    """One connection, opened for the messages at hand and closed whatever happens."""

    connection: smtplib.SMTP | None

    def open(self) -> bool:
        """Connect and sign in; return False when that was done before."""
        if self.connection is not None:
            return False
        secure: dict[str, Any] = {"context": self._context()} if self.use_ssl else {}
        kind = smtplib.SMTP_SSL if self.use_ssl else smtplib.SMTP
        connection = kind(self.host, self.port, timeout=self.timeout, **secure)
        self.connection = connection
        try:
            if self.use_tls and not self.use_ssl:
                connection.starttls(context=self._context())
            if self.username and self.password:
                connection.login(self.username, self.password)
        except BaseException:
            self.close()
            raise
        return True

    def close(self) -> None:
        """Say goodbye; whether that succeeds changes nothing about what was taken over before."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        with suppress(smtplib.SMTPException, OSError):
            connection.quit()
        connection.close()

    def send_messages(self, email_messages: Sequence[Ready]) -> int:
        """Send each message, and return how many the server took over."""
        opened = self.open()
        try:
            for message in email_messages:
                self._hand_over(cast("smtplib.SMTP", self.connection), message)
        finally:
            if opened:
                self.close()
        return len(email_messages)

    def _hand_over(self, connection: smtplib.SMTP, ready: Ready) -> None:
        try:
            connection.send_message(
                ready.mime, ready.from_email, ready.recipients(), mail_options=self.mailman.mail_options
            )
        except smtplib.SMTPNotSupportedError:
            raise MailRefused("SMTPUTF8") from None

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ssl_certfile:
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
        return context


class Ready(flask_mailman.EmailMessage):
    """A message that is written already, for any of Flask-Mailman's backends."""

    def __init__(self, mime: EmailMessage) -> None:
        to, sender = mime["To"].addresses[0], mime["From"].addresses[0]
        super().__init__(subject=mime["Subject"], from_email=sender.addr_spec, to=[to.addr_spec])
        self.mime = mime
        self.body = mime.get_body(("plain",)).get_content()  # type: ignore[union-attr]  # every letter has one

    def message(self) -> EmailMessage:
        """Return the message in the form in which backends turn it into octets."""
        return message_from_bytes(self.mime.as_bytes(), _class=_Octets, policy=self.mime.policy)


class _Octets(EmailMessage):
    def as_bytes(self, unixfrom: bool = False, policy: Policy | None = None, linesep: str = "\r\n") -> bytes:
        """Return the octets; Flask-Mailman's backends say which line end they want."""
        return super().as_bytes(unixfrom, (policy or self.policy).clone(linesep=linesep))
