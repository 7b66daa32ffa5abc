"""A real mail server on this machine that does whatever a test wants of it."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from typing import Any, cast

from aiosmtpd.smtp import SMTP

CUT = "cut"
"""In place of a reply: the server hangs up."""


@dataclass(frozen=True)
class Received:
    """What the server took over, and for whom."""

    to: tuple[str, ...]
    octets: bytes

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.octets, _class=EmailMessage, policy=SMTP_POLICY)


@dataclass
class MailServer:
    """Replies are taken one for each command, and are good ones when there are none left."""

    port: int = 0
    rcpt: deque[str] = field(default_factory=deque)
    data: deque[str] = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    """In the order of their arrival, those too whose sender never heard that they had arrived."""

    @property
    def messages(self) -> list[EmailMessage]:
        return [each.message for each in self.received]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        reply = self.rcpt.popleft() if self.rcpt else "250 OK"
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        reply = self.data.popleft() if self.data else "250 OK"
        if reply == CUT or reply.startswith("2"):
            self.received.append(Received(tuple(envelope.rcpt_tos), bytes(envelope.content)))
        if reply == CUT:
            cast("asyncio.Transport", server.transport).abort()
        return reply


@contextmanager
def mail_server(*, tls: ssl.SSLContext | None = None, utf8: bool = True) -> Iterator[MailServer]:
    """Serve on a port of the system's choice; `tls` offers STARTTLS and `utf8` SMTPUTF8.

    The loop lives in a thread of its own altogether: a browser's test may have one in this thread.
    """
    handler, ready, over = MailServer(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def speak() -> SMTP:
        return SMTP(
            handler, loop=loop, hostname="mail.test", ident="test", tls_context=tls, enable_SMTPUTF8=utf8
        )

    async def serve() -> None:
        server = await loop.create_server(speak, "127.0.0.1", 0)
        handler.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()
        # Whoever is still talking is hung up on.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30)
        yield handler
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
