from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_plugin.errors import KeyRingError, SealBroken
from intake_plugin.records.keyring import KeyRing, new_key
from intake_plugin.testing import keys

OLD, NEW = keys("old"), keys("new")


@given(plaintext=st.binary(max_size=300), place=st.binary(max_size=80))
def test_what_is_sealed_opens_at_its_place_and_nowhere_else(plaintext: bytes, place: bytes) -> None:
    ring = KeyRing.parse(NEW)
    envelope = ring.seal(plaintext, place)
    assert ring.open(envelope, place) == plaintext
    with pytest.raises(SealBroken):
        ring.open(envelope, place + b"x")


@given(data=st.data())
def test_any_changed_bit_breaks_the_seal(data: st.DataObject) -> None:
    ring = KeyRing.parse(NEW)
    envelope = bytearray(ring.seal(b"pregnant: no", b"place"))
    position = data.draw(st.integers(0, len(envelope) - 1))
    envelope[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        ring.open(bytes(envelope), b"place")


@given(envelope=st.binary(max_size=80))
def test_bytes_that_were_never_sealed_do_not_open(envelope: bytes) -> None:
    with pytest.raises(SealBroken):
        KeyRing.parse(NEW).open(envelope, b"place")


@given(length=st.integers(0, 40))
def test_a_value_that_was_cut_short_does_not_open(length: int) -> None:
    ring = KeyRing.parse(NEW)
    with pytest.raises(SealBroken):
        ring.open(ring.seal(b"long enough to be cut", b"place")[:length], b"place")


def test_equal_values_are_sealed_differently() -> None:
    ring = KeyRing.parse(NEW)
    assert len({ring.seal(b"no", b"place") for _ in range(100)}) == 100


def test_the_newest_key_seals_and_every_key_opens() -> None:
    before, after = KeyRing.parse(OLD), KeyRing.parse(f"{NEW}, {OLD}")
    envelope = before.seal(b"value", b"place")
    assert after.open(envelope, b"place") == b"value"
    assert not after.is_current(envelope)
    resealed = after.seal(b"value", b"place")
    assert after.is_current(resealed)
    with pytest.raises(SealBroken, match="'new', which is not in INTAKE_KEYS"):
        before.open(resealed, b"place")


def test_another_key_of_the_same_id_does_not_open() -> None:
    impostor = "old:" + base64.b64encode(bytes(32)).decode()
    with pytest.raises(SealBroken, match="does not open"):
        KeyRing.parse(impostor).open(KeyRing.parse(OLD).seal(b"value", b"place"), b"place")


def test_an_address_is_found_again_in_any_spelling_and_after_a_new_key() -> None:
    stored = KeyRing.parse(OLD).email_index("Ada@Example.com")
    assert stored in KeyRing.parse(f"{NEW} {OLD}").email_indexes(" ada@example.COM ")
    assert stored not in KeyRing.parse(NEW).email_indexes("ada@example.com")
    assert len(stored) == 64
    assert "ada" not in stored


def test_an_index_says_nothing_about_another_purpose() -> None:
    ring = KeyRing.parse(NEW)
    assert ring.mac("email", b"x") != ring.mac("audit", b"x")


def test_a_new_key_is_whole_and_never_the_same() -> None:
    made = {new_key() for _ in range(50)}
    assert len(made) == 50
    assert KeyRing.parse(",".join(made)).newest in {key.partition(":")[0] for key in made}


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{NEW}\n{OLD}\n")
    assert KeyRing.parse(f"file:{path}").newest == "new"


SECRET = base64.b64encode(b"thirty-one bytes of key materia").decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no key to encrypt patients' records with. Run `flask intake new-key`"),
        ("", "no key to encrypt"),
        (" , ", "no key to encrypt"),
        (SECRET, "Item 1 of INTAKE_KEYS is not of the form id:base64"),
        (f"{NEW} {SECRET}", "Item 2 of INTAKE_KEYS"),
        (f"a-name-of-many-letters:{SECRET}", "at most 16 letters"),
        (f"k1:{SECRET}", "Key 'k1' in INTAKE_KEYS has 31 bytes; AES-256 needs 32"),
        (f"k1:*{SECRET}", "Key 'k1' in INTAKE_KEYS is not base64"),
        (f"{NEW} {NEW}", "Key 'new' stands in INTAKE_KEYS twice"),
        ("file:/nowhere/keys", "INTAKE_KEYS names /nowhere/keys, which cannot be read"),
    ],
)
def test_a_wrong_key_ring_says_what_is_wrong_and_repeats_no_key(text: str | None, says: str) -> None:
    with pytest.raises(KeyRingError) as raised:
        KeyRing.parse(text)
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_key_ring_shows_ids_and_no_keys() -> None:
    assert repr(KeyRing.parse(f"{NEW} {OLD}")) == "<KeyRing new, old>"
