"""One file from somebody else's server, with every bound that a stranger's server needs.

The rules:

- https only, with the host's name checked against its certificate. Plain http only where the
  clinic's profile allows private addresses.
- A name is resolved once. Every address it has must be public, or nothing is fetched; the
  connection is made to the address that was checked, so a second answer of the name's server
  (DNS rebinding) is never asked for. An IPv6 address counts as the IPv4 address inside it.
- No redirect is followed unless the profile allows some, and each is checked like the first.
- One clock runs over everything: the name, the connection, the headers, the last octet. Then the
  connection is shut down, however slowly the other side was still sending.
- The body is counted while it comes, and once more as it unfolds from gzip. Nothing is read that
  goes beyond the limit. Content-Type and Content-Length are believed in nothing.
- What goes wrong is told without the address, whose path is often a secret: only its host is named.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from intake_plugin.errors import ImportRefused, Problem

Resolve = Callable[[str, int], Sequence[str]]
"""From a host's name and a port to its addresses."""

_PORTS: Final = {"https": 443, "http": 80}
_CHUNK: Final = 64 * 1024
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_IN_TARGETS: Final = "/?%:@!$&'()*+,;=-._~[]"
_HEADERS: Final = {
    "Accept": "text/calendar, */*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "intake_plugin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a server may cost: octets of the body, time in all, redirects; and where it may be."""

    octets: int
    within: dt.timedelta
    redirects: int = 0
    private_addresses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file, or None for `octets` where it is the one whose validators were sent."""

    octets: bytes | None
    etag: str | None = None
    last_modified: str | None = None


def patience(within: dt.timedelta, subject: str) -> Callable[[], None]:
    """Start a watch; the function returned raises ImportRefused once `within` is over."""
    end = time.monotonic() + within.total_seconds()

    def look() -> None:
        if time.monotonic() > end:
            words = f"It was not read after {within.total_seconds():g} seconds. Publish less of it."
            raise ImportRefused(subject, [Problem("", words)])

    return look


class _Refused(Exception):
    """Why nothing was fetched, in words for the clinic."""


def fetch(
    source: str,
    bounds: Bounds,
    *,
    subject: str = "The file",
    etag: str | None = None,
    last_modified: str | None = None,
    resolve: Resolve | None = None,
    tls: ssl.SSLContext | None = None,
) -> Fetched:
    """Return what is at an https address, or in a file where `source` has no scheme.

    `etag` and `last_modified` are what the last answer came with. `resolve` and `tls` stand in for
    the system's resolver and certificates. Raises ImportRefused.
    """
    try:
        if "://" not in source:
            return Fetched(octets=_from_disk(Path(source), bounds.octets))
        call = _Call(bounds, resolve or _addresses, tls or ssl.create_default_context())
        return call.run(source, {"If-None-Match": etag, "If-Modified-Since": last_modified})
    except _Refused as error:
        raise ImportRefused(subject, [Problem("", str(error))]) from None


def _from_disk(path: Path, most: int) -> bytes:
    try:
        if not path.is_file():
            raise _Refused("There is no such file.")
        with path.open("rb") as file:
            octets = file.read(most + 1)
    except OSError as error:
        raise _Refused(f"The file cannot be read: {error.strerror}.") from None
    if len(octets) > most:
        raise _Refused(_too_long(most))
    return octets


def _too_long(most: int) -> str:
    return f"It has more than {most} octets. Publish fewer past entries, or raise `octets` in the profile."


def _addresses(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def place_of(source: str) -> str:
    """Return where a source is without telling its address: its host, or its file's name."""
    return _host(source) if "://" in source else Path(source).name


def public(address: str) -> bool:
    """Whether an IP address is one of the open internet, and not of some network of our own."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _inner(ip)
        if inner is not None:
            return public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address to which an IPv6 address of a transition mechanism leads."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    teredo = ip.teredo
    return ip.ipv4_mapped or ip.sixtofour or (teredo[1] if teredo else None)


@dataclass(slots=True)
class _Call:
    """One fetch, done in a thread of its own, so that it can be given up whatever it waits for."""

    bounds: Bounds
    resolve: Resolve
    tls: ssl.SSLContext
    _over: bool = False
    _line: socket.socket | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _result: Fetched | Exception | None = None

    def run(self, source: str, validators: Mapping[str, str | None]) -> Fetched:
        thread = threading.Thread(target=self._work, args=(source, validators), daemon=True)
        thread.start()
        thread.join(self.bounds.within.total_seconds())
        self._give_up()
        match self._result:
            case Fetched() as fetched:
                return fetched
            case None:
                raise _Refused(self._late(_host(source)))
            case error:
                raise error

    def _late(self, host: str) -> str:
        return f"{host} had not sent everything after {self.bounds.within.total_seconds():g} seconds."

    def _work(self, source: str, validators: Mapping[str, str | None]) -> None:
        headers = dict(_HEADERS) | {name: value for name, value in validators.items() if value}
        try:
            result: Fetched | Exception = self._follow(source, headers)
        except Exception as error:  # the thread that waits raises it
            result = error
        with self._lock:
            if not self._over:
                self._result = result

    def _give_up(self) -> None:
        with self._lock:
            self._over = True
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)

    def _follow(self, source: str, headers: Mapping[str, str]) -> Fetched:
        for _ in range(self.bounds.redirects + 1):
            answer = self._ask(_parsed(source, plain=self.bounds.private_addresses), headers)
            if isinstance(answer, Fetched):
                return answer
            source = _led_to(source, answer)
        raise _Refused(
            f"It was redirected to {_host(source)}. If that is right, write the address it leads to in the "
            "profile, or allow `redirects`."
        )

    def _ask(self, address: SplitResult, headers: Mapping[str, str]) -> Fetched | str:
        """Return the file, or the address to which the server redirects."""
        host = address.hostname or ""
        try:
            connection = _Connection(address, self._open(address))
            with contextlib.closing(connection):
                connection.request("GET", _target(address), headers=dict(headers))
                with connection.getresponse() as response:
                    return self._answer(response, host)
        except ssl.SSLCertVerificationError as error:
            why = f"The certificate of {host} is not in order: {error.verify_message}."
        except socket.gaierror:
            why = f"There is no server named {host}."
        except TimeoutError:
            # Of this clock and the connection's own either may be the first to end.
            why = self._late(host)
        except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
            why = f"{host} did not answer as it should ({_kind(error)})."
        finally:
            self._hang_up()
        raise _Refused(why)

    def _open(self, address: SplitResult) -> socket.socket:
        host, port = address.hostname or "", address.port or _PORTS[address.scheme]
        line = self._dial(host, port)
        try:
            self._watch(line)
            return self.tls.wrap_socket(line, server_hostname=host) if address.scheme == "https" else line
        except BaseException:
            line.close()
            raise

    def _watch(self, line: socket.socket) -> None:
        """Keep a second handle on the connection, because the first passes into the TLS layer."""
        with self._lock:
            if self._over:
                raise TimeoutError
            self._line = line.dup()

    def _dial(self, host: str, port: int) -> socket.socket:
        addresses = self.resolve(host, port)
        if not self.bounds.private_addresses and not all(map(public, addresses)):
            raise _Refused(
                f"{host} has an address on a private network. If the calendar is kept on the clinic's own, "
                "write `private_addresses = true`."
            )
        failure: OSError = OSError(f"{host} has no address")
        for found in addresses if not self._over else ():
            try:
                return socket.create_connection((found, port), self.bounds.within.total_seconds())
            except OSError as error:
                failure = error
        raise failure

    def _hang_up(self) -> None:
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None

    def _answer(self, response: http.client.HTTPResponse, host: str) -> Fetched | str:
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return location
        etag, modified = response.getheader("ETag"), response.getheader("Last-Modified")
        if response.status == http.HTTPStatus.NOT_MODIFIED:
            return Fetched(octets=None, etag=etag, last_modified=modified)
        if response.status != http.HTTPStatus.OK:
            raise _Refused(
                f"{host} answered {response.status}. Perhaps the calendar is no longer published, or has "
                "a new address."
            )
        return Fetched(octets=self._body(response, host), etag=etag, last_modified=modified)

    def _body(self, response: http.client.HTTPResponse, host: str) -> bytes:
        encoding = (response.getheader("Content-Encoding") or "identity").lower()
        if encoding not in {"identity", "gzip", "x-gzip"}:
            raise _Refused(f"{host} sent it packed as {encoding!r}, which was not asked for.")
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding != "identity" else None
        body, received, most = bytearray(), 0, self.bounds.octets
        while chunk := response.read1(_CHUNK):
            received += len(chunk)
            body += chunk if unpack is None else unpack.decompress(chunk, most + 1 - len(body))
            if max(received, len(body)) > most:
                raise _Refused(_too_long(most))
        promised = response.getheader("Content-Length")
        short = promised is not None and promised.isdecimal() and received < int(promised)
        if short or (unpack is not None and not unpack.eof):
            raise _Refused(f"{host} hung up before everything was sent.")
        return bytes(body)


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is there already, so that nothing is resolved or opened again."""

    def __init__(self, address: SplitResult, line: socket.socket) -> None:
        port = _PORTS[address.scheme]
        super().__init__(address.hostname or "", address.port or port)
        # The Host header leaves the scheme's usual port out.
        self.default_port = port
        self.sock = line

    def connect(self) -> None:
        """Refuse to open another connection."""
        raise http.client.NotConnected


def _parsed(source: str, *, plain: bool) -> SplitResult:
    try:
        address = urlsplit(source)
        host, _ = address.hostname, address.port
    except ValueError:
        raise _Refused("The address cannot be read; copy it once more.") from None
    if address.scheme not in _PORTS or not host:
        raise _Refused("The address must begin with https:// and the name of a server.")
    if address.scheme == "http" and not plain:
        raise _Refused(f"{host} is to be asked over http, where anybody on the way can read and change it.")
    if address.username is not None or address.password is not None:
        raise _Refused(
            "A name and password in an address end in logs; publish the calendar under a private one."
        )
    return address


def _led_to(source: str, location: str) -> str:
    try:
        return urljoin(source, location)
    except ValueError:
        raise _Refused(f"{_host(source)} redirects to an address that cannot be read.") from None


def _target(address: SplitResult) -> str:
    query = f"?{address.query}" if address.query else ""
    return quote(f"{address.path or '/'}{query}", safe=_IN_TARGETS)


def _host(source: str) -> str:
    try:
        return urlsplit(source).hostname or "the server"
    except ValueError:
        return "the server"


def _kind(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
