"""Keys, and the sealing of bytes with them.

An envelope is `version (1 byte) | length of the key id (1 byte) | key id | nonce (12 bytes) |
AES-256-GCM ciphertext with its tag`. The newest key seals; every key of the ring opens. Nonces
are random, so one key seals at most 2**32 values (NIST SP 800-38D, section 8.3): add a key long before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from intake_plugin.errors import KeyRingError, SealBroken

_ENVELOPE_VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,16}")
_MAKE_ONE = "Run `flask intake new-key` to make one and put what it prints into INTAKE_KEYS."


class KeyRing:
    """The keys of one deployment, newest first."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise KeyRingError(f"There is no key to encrypt patients' records with. {_MAKE_ONE}")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._mac_keys = {key_id: _derive(key) for key_id, key in keys.items()}

    @classmethod
    def parse(cls, text: str | None) -> KeyRing:
        """Return the ring written as `id:base64` items, newest first, between commas or spaces.

        `file:/path` reads the items from that file. Raises `KeyRingError` that says what is wrong
        and never repeats a key.
        """
        items = (text or "").strip()
        if items.startswith("file:"):
            items = _read(Path(items.removeprefix("file:")))
        keys: dict[str, bytes] = {}
        for position, item in enumerate(re.split(r"[\s,]+", items.strip(" \t\r\n,")), start=1):
            if not item:
                continue
            key_id, key = _parse_item(item, position)
            if key_id in keys:
                raise KeyRingError(f"Key {key_id!r} stands in INTAKE_KEYS twice. Give each key its own id.")
            keys[key_id] = key
        return cls(keys)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(self._ciphers)}>"

    @cached_property
    def newest(self) -> str:
        """Id of the key that seals."""
        return next(iter(self._ciphers))

    def seal(self, plaintext: bytes, place: bytes) -> bytes:
        """Return an envelope around `plaintext` that opens only with the same `place`."""
        header = _header(self.newest)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self.newest].encrypt(nonce, plaintext, header + place)
        return header + nonce + sealed

    def open(self, envelope: bytes, place: bytes) -> bytes:
        """Return the plaintext. Raises `SealBroken` if it was altered, moved, or its key is gone."""
        key_id = _key_id(envelope)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealBroken(
                f"A record was sealed with key {key_id!r}, which is not in INTAKE_KEYS. "
                "Put that key back at the end of the list."
            )
        header = _header(key_id)
        nonce = envelope[len(header) : len(header) + _NONCE_BYTES]
        try:
            return cipher.decrypt(nonce, envelope[len(header) + _NONCE_BYTES :], header + place)
        except (InvalidTag, ValueError):
            where = place.decode(errors="replace")
            raise SealBroken(
                f"The sealed value at {where} does not open: it was altered or moved there from another "
                "place. Restore the row from a backup, and run `flask intake verify`."
            ) from None

    def is_current(self, envelope: bytes) -> bool:
        """Whether the newest key sealed `envelope`."""
        return _key_id(envelope) == self.newest

    @cached_property
    def beginning(self) -> bytes:
        """What every envelope begins with that the newest key sealed, and no other."""
        return _header(self.newest)

    def mac(self, purpose: str, value: bytes) -> str:
        """Return 64 hexadecimal digits that stand for `value` and do not give it away without the key.

        `purpose` keeps the uses apart, so that a value met in two places does not look the same:
        "email" (the blind index of an address), "answers" (what was signed or decided on) and
        "audit" (the details of an act).
        """
        return self.macs(purpose, value)[0]

    def macs(self, purpose: str, value: bytes) -> tuple[str, ...]:
        """Return what `mac` gave or would have given under each key of the ring, newest first."""
        message = purpose.encode() + b"\0" + value
        return tuple(hmac.new(key, message, hashlib.sha256).hexdigest() for key in self._mac_keys.values())

    def email_index(self, address: str) -> str:
        """Return the blind index to store for an e-mail address; letter case and outer space do not count."""
        return self.email_indexes(address)[0]

    def email_indexes(self, address: str) -> tuple[str, ...]:
        """Return every index under which `address` may have been stored: look up with `IN`."""
        return self.macs("email", address.strip().casefold().encode())


def new_key() -> str:
    """Return a fresh key with a fresh id, as one item of INTAKE_KEYS."""
    return f"k{secrets.token_hex(3)}:{base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


def _derive(key: bytes) -> bytes:
    # Sealing and indexing never share a key, so that neither says anything about the other.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"intake_plugin mac").derive(key)


def _header(key_id: str) -> bytes:
    return bytes([_ENVELOPE_VERSION, len(key_id)]) + key_id.encode("ascii")


def _key_id(envelope: bytes) -> str:
    if len(envelope) < 2 or envelope[0] != _ENVELOPE_VERSION:
        raise SealBroken(
            "A sealed value is not in a form this version can read: it was altered or cut short."
        )
    return envelope[2 : 2 + envelope[1]].decode("ascii", errors="replace")


def _parse_item(item: str, position: int) -> tuple[str, bytes]:
    key_id, colon, encoded = item.partition(":")
    if not colon or not _KEY_ID.fullmatch(key_id):
        raise KeyRingError(
            f"Item {position} of INTAKE_KEYS is not of the form id:base64, with an id of at most 16 letters, "
            f"digits, '-' or '_'. {_MAKE_ONE}"
        )
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise KeyRingError(f"Key {key_id!r} in INTAKE_KEYS is not base64. {_MAKE_ONE}") from None
    if len(key) != _KEY_BYTES:
        raise KeyRingError(
            f"Key {key_id!r} in INTAKE_KEYS has {len(key)} bytes; AES-256 needs {_KEY_BYTES}. {_MAKE_ONE}"
        )
    return key_id, key


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyRingError(f"INTAKE_KEYS names {path}, which cannot be read: {error}.") from error
