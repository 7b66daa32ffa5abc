"""A real server on this machine that does whatever a test wants of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

CALENDAR = b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
SECRET = "/private-s3cret/basic.ics"

Talk = Callable[[socket.socket, bytes], None]
"""What a server does with a connection after it has read the request."""


def answer(body: bytes = CALENDAR, status: str = "200 OK", *headers: str, length: int | None = None) -> Talk:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return lambda line, _: line.sendall("\r\n".join([*head, "", ""]).encode() + body)


class Server:
    """A server on this machine that does what its `talk` says, one thread for each connection."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self.talk, self.tls = talk, tls
        self.requests: list[bytes] = []
        self.sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, host: str = "127.0.0.1", path: str = SECRET) -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(line,)))
                self._threads[-1].start()

    def _serve(self, line: socket.socket) -> None:
        # A client that was refused, or gave up, has hung up: that is no fault of the test.
        with contextlib.suppress(OSError), self._spoken(line) as spoken:
            request = spoken.recv(65536)
            self.requests.append(request)
            self.talk(spoken, request)

    @contextlib.contextmanager
    def _spoken(self, line: socket.socket) -> Iterator[socket.socket]:
        with line:
            if self.tls is None:
                yield line
                return
            with self.tls.wrap_socket(line, server_side=True) as secure:
                yield secure

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(timeout=10)
            assert not thread.is_alive()


MakeServer = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[MakeServer]:
    servers: list[Server] = []

    def make(talk: Talk, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(talk, tls))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
