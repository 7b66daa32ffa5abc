"""Handing messages to a real mail server, and what its refusals mean."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask

from intake_plugin import posting
from intake_plugin.errors import MailRefused, SetupError
from intake_plugin.letters import Attached, Letter, Wording, compose
from intake_plugin.posting import ANSWERS, Carrier, Failure, failure_of
from tests.mailserver import CUT, MailServer, mail_server

SHORT = dt.timedelta(seconds=5)
NOW = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
LATER = Failure("451 4.3.0")


def letter(to: str = "pat@example.com") -> EmailMessage:
    return compose(
        Letter(
            message_id="<0f0f@clinic.example>",
            date=NOW,
            sender="desk@clinic.example",
            sender_name="North",
            to=to,
            language="en",
            wording=Wording(subject="Grüße", text="Dienstag: 09:00 – nüchtern\n.\n"),
            calendar=Attached(octets=b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", filename="a.ics"),
        )
    )


def carrier(port: int, timeout: dt.timedelta = SHORT, **config: Any) -> Carrier:
    app = Flask("posting")
    app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port, **config)
    return posting.carrier(app, None, timeout)


def failure(send: Callable[[EmailMessage], object], to: str = "pat@example.com") -> Failure:
    try:
        send(letter(to))
    except Exception as error:
        return failure_of(error)
    raise AssertionError("It was taken.")


def test_a_message_arrives_octet_for_octet_at_its_one_recipient(server: MailServer) -> None:
    carrier(server.port).send(letter())
    (received,) = server.received
    assert received.to == ("pat@example.com",)
    assert received.octets == letter().as_bytes()


@pytest.mark.parametrize(
    ("rcpt", "data", "meaning"),
    [
        ("550 5.1.1 <pat@example.com>: no such user", "", Failure("550 5.1.1", lasting=True)),
        ("553 pat is unknown", "", Failure("553", lasting=True)),
        ("451 4.3.0 try later, pat", "", LATER),
        ("450 busy", "", Failure("450")),
        ("530 5.7.0 sign in first", "", Failure("530 5.7.0", unreachable=True)),
        ("", "554 5.6.0 not this", Failure("554 5.6.0", lasting=True)),
        ("", "451 4.3.0 not now", LATER),
        ("", "452 4.3.1 full", Failure("452 4.3.1")),
        ("421 4.3.2 closing", "", Failure("421 4.3.2", unreachable=True)),
        ("", "421 4.7.0 closing", Failure("421 4.7.0", unreachable=True)),
        ("554 5.7.1 <pat@example.com>: Relay access denied", "", Failure("554 5.7.1", unreachable=True)),
        ("", "550 5.7.26 neither SPF nor DKIM", Failure("550 5.7.26", unreachable=True)),
        ("", CUT, Failure("SMTPServerDisconnected", unreachable=True)),
    ],
)
def test_what_a_server_says_is_for_good_or_for_now(
    server: MailServer, rcpt: str, data: str, meaning: Failure
) -> None:
    server.rcpt.extend([rcpt] if rcpt else [])
    server.data.extend([data] if data else [])
    assert failure(carrier(server.port).send) == meaning
    assert len(server.received) == (data == CUT)


def test_no_server_at_all_is_for_now() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert failure(carrier(port).send) == Failure("ConnectionRefusedError", unreachable=True)


def silent() -> Iterator[int]:
    """A server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("config", [{}, {"MAIL_TIMEOUT": 0.05}])
def test_a_server_that_says_nothing_is_not_waited_for(config: dict[str, Any]) -> None:
    patience = SHORT if config else dt.timedelta(milliseconds=50)
    for port in silent():
        way = carrier(port, patience, **config)
        assert way.longest == ANSWERS * dt.timedelta(milliseconds=50)
        assert failure(way.send) == Failure("SMTPServerDisconnected", unreachable=True)


def test_an_address_that_the_server_cannot_take_is_refused_for_good(server: MailServer) -> None:
    carrier(server.port).send(letter("jörg@exämple.example"))
    assert server.received[0].to == ("jörg@xn--exmple-cua.example",)
    with mail_server(utf8=False) as old:
        assert failure(carrier(old.port).send, "jörg@example.com") == Failure("SMTPUTF8", lasting=True)
        assert old.received == []


@pytest.fixture
def stranger(tmp_path: Path) -> ssl.SSLContext:
    """The certificate of somebody whom nobody vouches for."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "stranger.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_nothing_is_told_to_a_server_whose_certificate_nobody_vouches_for(
    stranger: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(tls=stranger) as server:
        way = carrier(server.port, MAIL_USE_TLS=True)
        assert failure(way.send) == Failure("SSLCertVerificationError", unreachable=True)
        assert server.received == []
        # Once somebody vouches for it, and it is called by its name, it is told.
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "stranger.pem"))
        app = Flask("posting")
        app.config.update(MAIL_SERVER="localhost", MAIL_PORT=server.port, MAIL_USE_TLS=True)
        posting.carrier(app, None, SHORT).send(letter())
        assert len(server.received) == 1


def test_without_the_extra_the_site_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_mailman", None)
    monkeypatch.delitem(sys.modules, "intake_plugin.smtp", raising=False)
    with pytest.raises(SetupError, match=r"Install 'intake_plugin\[mail\]' .* or pass a function"):
        carrier(25)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "MAIL_SERVER is not set"),
        ({"MAIL_SERVER": "mail.example", "MAIL_SUPPRESS_SEND": True}, "MAIL_SUPPRESS_SEND is set"),
    ],
)
def test_a_site_that_cannot_send_is_told_why(config: dict[str, Any], words: str) -> None:
    app = Flask("posting")
    app.config.update(config)
    with pytest.raises(SetupError, match=words):
        posting.carrier(app, None, SHORT)


def test_the_hosts_own_mailer_goes_first_and_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flask_mailman", None)
    taken: list[EmailMessage] = []
    way = posting.carrier(Flask("posting"), taken.append, SHORT)
    way.send(letter())
    assert ([message["To"] for message in taken], way.longest) == (["pat@example.com"], ANSWERS * SHORT)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (MailRefused("unknown mailbox"), Failure("unknown mailbox", lasting=True)),
        (MailRefused(), Failure("refused", lasting=True)),
        (KeyError("pat@example.com"), Failure("KeyError")),
        (ConnectionResetError("pat@example.com"), Failure("ConnectionResetError", unreachable=True)),
    ],
)
def test_what_a_hosts_mailer_raises(error: Exception, meaning: Failure) -> None:
    assert failure_of(error) == meaning


@pytest.mark.parametrize("backend", ["locmem", "console", "file"])
def test_flask_mailmans_other_backends_take_the_message_as_it_is(
    backend: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from flask_mailman import Mail

    app = Flask("posting")
    app.config.update(MAIL_BACKEND=backend, MAIL_FILE_PATH=str(tmp_path))
    state = Mail().init_app(app)
    way = posting.carrier(app, None, SHORT)
    with app.app_context():
        way.send(letter())
    if backend == "locmem":
        (ready,) = state.outbox
        assert (ready.to, ready.subject, ready.message().as_bytes()) == (
            ["pat@example.com"],
            "Grüße",
            letter().as_bytes(),
        )
    else:
        written = "".join(path.read_text() for path in tmp_path.iterdir()) or capsys.readouterr().out
        assert "Message-ID: <0f0f@clinic.example>" in written


def test_a_backend_that_sends_nothing_has_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("posting")
    app.config["MAIL_BACKEND"] = "hosts_own.EmailBackend"
    module = ModuleType("hosts_own")
    module.EmailBackend = EmailBackend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hosts_own", module)
    way = posting.carrier(app, None, SHORT)
    assert failure(way.send) == Failure("OSError", unreachable=True)


class EmailBackend:
    """A backend that sends nothing and does not say why."""

    def __init__(self, **_: Any) -> None:
        pass

    def send_messages(self, messages: list[Any]) -> int:
        return 0
