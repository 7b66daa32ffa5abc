"""Servers as one meets them, each real and on this machine: honest, slow, endless, packed, misleading."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import ipaddress
import os
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from intake_plugin import fetching
from intake_plugin.errors import ImportRefused
from intake_plugin.fetching import Bounds, Fetched, fetch, public
from tests.fetching.conftest import CALENDAR, SECRET, MakeServer, Talk, answer

LIMIT = 1.0
"""Seconds; every test that runs into it takes this long."""


def bounds(*, octets: int = 100_000, redirects: int = 0, private: bool = True) -> Bounds:
    return Bounds(
        octets=octets, within=dt.timedelta(seconds=LIMIT), redirects=redirects, private_addresses=private
    )


def refusal(source: str, given: Bounds | None = None, **more: object) -> str:
    """Return why a fetch was refused; the address's secret is never part of it."""
    began = time.monotonic()
    with pytest.raises(ImportRefused) as refused:
        fetch(source, given or bounds(), **more)  # type: ignore[arg-type]  # the tests' own arguments
    assert time.monotonic() - began < LIMIT + 3
    assert "s3cret" not in str(refused.value)
    return str(refused.value)


def test_a_file_is_fetched_with_what_the_next_call_needs(serve: MakeServer) -> None:
    server = serve(answer(CALENDAR, "200 OK", 'ETag: "v1"', "Last-Modified: Mon, 02 Mar 2026 09:00:00 GMT"))
    fetched = fetch(server.url(), bounds())
    assert fetched == Fetched(octets=CALENDAR, etag='"v1"', last_modified="Mon, 02 Mar 2026 09:00:00 GMT")
    (request,) = server.requests
    assert request.startswith(b"GET /private-s3cret/basic.ics HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in request
    assert b"If-None-Match" not in request


def test_an_unchanged_file_is_not_sent_again(serve: MakeServer) -> None:
    server = serve(answer(b"", "304 Not Modified", 'ETag: "v1"'))
    fetched = fetch(server.url(), bounds(), etag='"v1"', last_modified="Mon, 02 Mar 2026 09:00:00 GMT")
    assert fetched.octets is None
    assert b'If-None-Match: "v1"\r\n' in server.requests[0]
    assert b"If-Modified-Since: Mon, 02 Mar 2026 09:00:00 GMT\r\n" in server.requests[0]


def test_chunks_and_gzip_are_put_together(serve: MakeServer) -> None:
    packed = gzip.compress(CALENDAR)
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, packed[index : index + 1]) for index in range(len(packed)))

    def talk(line: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
        line.sendall(head + chunks + b"0\r\n\r\n")

    assert fetch(serve(talk).url(), bounds()).octets == CALENDAR


def test_the_name_is_resolved_once_and_the_connection_goes_to_that_answer(serve: MakeServer) -> None:
    server, asked = serve(answer()), list[str]()

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    fetched = fetch(server.url("calendar.invalid"), bounds(), resolve=resolve)
    assert fetched.octets == CALENDAR
    assert asked == ["calendar.invalid"]
    assert f"Host: calendar.invalid:{server.port}\r\n".encode() in server.requests[0]


PRIVATE = [
    str(ipaddress.IPv4Address(0)),
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_never_asked(address: str) -> None:
    assert not public(address)
    for answers in ([address], ["1.1.1.1", address], [address, "1.1.1.1"]):
        says = refusal(
            "https://calendar.invalid" + SECRET, bounds(private=False), resolve=lambda *_, it=answers: it
        )
        assert "calendar.invalid has an address on a private network" in says
        assert "private_addresses = true" in says


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_an_address_of_the_open_internet_is(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("http://calendar.invalid" + SECRET, "over http"),
        ("ftp://calendar.invalid" + SECRET, "must begin with https://"),
        ("https://" + SECRET, "must begin with https://"),
        ("https://calendar.invalid:99999" + SECRET, "cannot be read"),
        ("https://[calendar.invalid" + SECRET, "cannot be read"),
        ("https://me:s3cret@calendar.invalid" + SECRET, "name and password"),
        ("https://calendar.invalid" + SECRET, "There is no server named calendar.invalid"),
    ],
)
def test_an_address_that_cannot_be_is_refused(source: str, says: str) -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert says in refusal(source, bounds(private=False), resolve=nowhere)


def test_no_redirect_is_followed_unless_the_profile_allows_it(serve: MakeServer) -> None:
    goal = serve(answer())
    hop = serve(answer(b"", "302 Found", f"Location: {goal.url()}"))
    assert "redirected to 127.0.0.1" in refusal(hop.url())
    assert goal.requests == []
    assert fetch(hop.url(), bounds(redirects=1)).octets == CALENDAR
    circle = serve(lambda line, _: answer(b"", "301 Moved", f"Location: {SECRET}")(line, b""))
    assert "redirected" in refusal(circle.url(), bounds(redirects=3))
    assert len(circle.requests) == 4


@pytest.mark.parametrize("location", ["https://[bad/", "//[::1", "http://a]/", "https://x.invalid:99999/"])
def test_a_redirect_to_an_address_that_cannot_be_read_is_refused(serve: MakeServer, location: str) -> None:
    says = refusal(serve(answer(b"", "302 Found", f"Location: {location}")).url(), bounds(redirects=3))
    assert "cannot be read" in says


@pytest.mark.parametrize(
    ("status", "says"), [("404 Not Found", "answered 404"), ("500 Oops", "answered 500"), ("206 Part", "206")]
)
def test_an_answer_that_is_no_file_is_refused(serve: MakeServer, status: str, says: str) -> None:
    assert says in refusal(serve(answer(CALENDAR, status)).url())


def drip(line: socket.socket, _: bytes) -> None:
    """Send one octet of the body at a time, each well within any time-out of a read."""
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _octet in range(1000):
        line.sendall(b"x")
        line.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            if not line.recv(1):
                return


def drip_headers(line: socket.socket, request: bytes) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip(line, request)


def silence(line: socket.socket, _: bytes) -> None:
    line.recv(1)


@pytest.mark.parametrize("talk", [drip, drip_headers, silence])
def test_a_slow_server_is_given_up_however_it_is_slow(serve: MakeServer, talk: Talk) -> None:
    server = serve(talk)
    before = set(threading.enumerate())
    assert "had not sent everything after 1 seconds" in refusal(server.url())
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_a_server_that_never_greets_is_given_up(serve: MakeServer) -> None:
    url = serve(silence).url().replace("http:", "https:")
    assert "had not sent everything after 1 seconds" in refusal(url)


def test_whichever_clock_ends_first_the_words_are_the_same() -> None:
    def late(host: str, port: int) -> list[str]:
        raise TimeoutError

    says = refusal("https://calendar.invalid" + SECRET, resolve=late)
    assert "calendar.invalid had not sent everything after 1 seconds" in says


def test_an_endless_file_is_not_read_to_its_end(serve: MakeServer) -> None:
    sent = []

    def talk(line: socket.socket, _: bytes) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            line.sendall(b"x" * 65536)
            sent.append(65536)

    assert "more than 100000 octets" in refusal(serve(talk).url())
    assert sum(sent) < 50_000_000


def test_a_gzip_bomb_is_not_unpacked(serve: MakeServer) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    assert "more than 100000 octets" in refusal(serve(answer(bomb, "200 OK", "Content-Encoding: gzip")).url())


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (answer(CALENDAR, length=1000), "hung up before everything was sent"),
        (answer(gzip.compress(CALENDAR)[:-9], "200 OK", "Content-Encoding: gzip"), "hung up before"),
        (answer(CALENDAR, "200 OK", "Content-Encoding: gzip"), "did not answer as it should"),
        (answer(CALENDAR, "200 OK", "Content-Encoding: br"), "packed as 'br'"),
        (lambda line, _: line.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"), "did not answer as it should"),
        (lambda line, _: None, "did not answer as it should"),
        (
            lambda line, _: line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
            "did not answer as it should",
        ),
    ],
    ids=["short", "short gzip", "no gzip", "another packing", "no HTTP", "nothing", "half a chunk"],
)
def test_half_an_answer_is_none(serve: MakeServer, talk: Talk, says: str) -> None:
    assert says in refusal(serve(talk).url())


def test_a_closed_door_is_told(serve: MakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "Connection refused" in refusal(f"http://127.0.0.1:{port}{SECRET}")


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's certificate for calendar.invalid, and a client that trusts it."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "t")]),
    )
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("calendar.invalid")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path / "server.pem"
    file.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=pem.decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return server, client


def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_the_certificate_is_checked_against_the_name_and_not_the_address(
    serve: MakeServer, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server = serve(answer(), certificates[0])
    fetched = fetch(server.url("calendar.invalid"), bounds(), resolve=here, tls=certificates[1])
    assert fetched.octets == CALENDAR
    says = refusal(server.url("other.invalid"), resolve=here, tls=certificates[1])
    assert "certificate of other.invalid is not in order" in says
    says = refusal(server.url("calendar.invalid"), resolve=here)
    assert "certificate of calendar.invalid is not in order" in says
    assert len(server.requests) == 1


def test_a_redirect_from_a_public_server_to_a_private_address_is_refused(
    serve: MakeServer,
    certificates: tuple[ssl.SSLContext, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # No server of this machine is public, so one of its addresses is taken for one.
    monkeypatch.setattr(fetching, "public", lambda address: address == "127.0.0.1")
    goal = serve(answer())
    for location in (
        f"https://inside.invalid:{goal.port}/",
        f"https://127.0.0.2:{goal.port}/",
        f"http://calendar.invalid:{goal.port}/",
        "file:///etc/passwd",
    ):
        hop = serve(answer(b"", "302 Found", f"Location: {location}"), certificates[0])
        refusal(
            hop.url("calendar.invalid"),
            bounds(redirects=3, private=False),
            resolve=lambda host, port: ["127.0.0.1" if host == "calendar.invalid" else "127.0.0.2"],
            tls=certificates[1],
        )
        assert len(hop.requests) == 1
    assert goal.requests == []


def test_a_file_on_disk_is_read(tmp_path: Path) -> None:
    file = tmp_path / "nurse.ics"
    file.write_bytes(CALENDAR)
    assert fetch(str(file), bounds()).octets == CALENDAR
    assert "more than 5 octets" in refusal(str(file), bounds(octets=5))
    assert "There is no such file" in refusal(str(tmp_path / "absent.ics"))
    assert "There is no such file" in refusal(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.ics")
    assert "There is no such file" in refusal(str(tmp_path / "pipe.ics"))
