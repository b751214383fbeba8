# SPDX-License-Identifier: Apache-2.0
"""The sealed format: the drawn layout is what is written, and nothing else is read."""

import gzip
import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cco.errors import SealError
from cco.sealing.envelope import MAX_PAYLOAD_BYTES, encode_name, seal, unseal

DATA = Path(__file__).parents[2] / "data" / "sealing"

NAME = "agents.sealed"
KEY = bytes(range(32))
NONCE = bytes(range(12))
PAYLOAD = b'{"webAgents":[]}'
SEALED = seal(PAYLOAD, name=NAME, key=KEY, nonce=NONCE)
HEADER_BYTES = 27 + len(NAME)


class Vector(NamedTuple):
    """One file of `tests/data/sealing`.

    Their payloads repeat nothing, so that every deflate library packs them into the same bytes.
    """

    name: str
    key: bytes
    nonce: bytes
    payload: bytes
    sealed: bytes


def read_vector(path: Path) -> Vector:
    fields = json.loads(path.read_text(encoding="utf-8"))
    return Vector(
        name=fields["name"],
        key=bytes.fromhex(fields["key"]),
        nonce=bytes.fromhex(fields["nonce"]),
        payload=fields["payload"].encode(),
        sealed=bytes.fromhex(fields["sealed"]),
    )


def pack(payload: bytes) -> bytes:
    """Make the gzip member of RFC 1952 by hand: header, raw deflate, CRC-32, length."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    header = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
    body = deflate.compress(payload) + deflate.flush()
    return header + body + struct.pack("<II", zlib.crc32(payload), len(payload))


def seal_member(member: bytes, *, name: str, key: bytes, nonce: bytes) -> bytes:
    """Seal any bytes as the drawing says, with the primitives themselves."""
    encoded = name.encode()
    length = len(member) + 16
    header = b"\x89CCO\r\n\x1a\n" + bytes([1, 1, len(encoded)]) + encoded + nonce
    header += length.to_bytes(4, "big")
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(header)
    return header + cipher.update(member) + cipher.finalize() + cipher.tag


def code_of(data: bytes, *, name: str = NAME, key: bytes = KEY) -> str:
    """Return the code with which a file is refused, having looked at its sentence."""
    with pytest.raises(SealError) as caught:
        unseal(data, name=name, key=key)
    error = caught.value
    assert re.fullmatch(r"\S.*[^.]", error.message)
    assert error.hint
    return error.code


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json")), ids=lambda path: path.stem)
def test_vector_both_ways_and_recomputed(path: Path) -> None:
    name, key, nonce, payload, sealed = read_vector(path)

    assert seal_member(pack(payload), name=name, key=key, nonce=nonce) == sealed
    assert seal(payload, name=name, key=key, nonce=nonce) == sealed
    assert unseal(sealed, name=name, key=key) == payload


def test_vectors_are_there() -> None:
    assert {path.stem for path in DATA.glob("*.json")} == {"agents", "longest-name", "smallest"}


def test_fields_are_where_they_are_drawn() -> None:
    n = len(NAME)

    assert SEALED[0:8] == bytes.fromhex("8943434f0d0a1a0a")
    assert SEALED[8:11] == bytes([1, 1, n])
    assert SEALED[11 : 11 + n] == NAME.encode()
    assert SEALED[11 + n : 23 + n] == NONCE
    assert len(SEALED[27 + n :]) == int.from_bytes(SEALED[23 + n : 27 + n], "big")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'{"agents":' + b"[1," * 50_000 + b"2]",  # deflate shrinks it two hundredfold
        bytes(MAX_PAYLOAD_BYTES),  # as long as may be
    ],
    ids=["empty", "repetitive", "longest"],
)
def test_payload_comes_back_and_is_plain_gzip_inside(payload: bytes) -> None:
    sealed = seal(payload, name=NAME, key=KEY, nonce=NONCE)

    assert unseal(sealed, name=NAME, key=KEY) == payload
    cipher = Cipher(algorithms.AES(KEY), modes.GCM(NONCE, sealed[-16:])).decryptor()
    cipher.authenticate_additional_data(sealed[:HEADER_BYTES])
    member = cipher.update(sealed[HEADER_BYTES:-16]) + cipher.finalize()
    assert gzip.decompress(member) == payload
    assert member[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_longest_payload_that_does_not_shrink_comes_back() -> None:
    payload = os.urandom(MAX_PAYLOAD_BYTES)

    assert unseal(seal(payload, name=NAME, key=KEY, nonce=NONCE), name=NAME, key=KEY) == payload


def test_equal_input_gives_equal_bytes() -> None:
    assert seal(PAYLOAD, name=NAME, key=KEY, nonce=NONCE) == SEALED


@pytest.mark.parametrize("size", range(len(SEALED)))
def test_truncated_at_any_length_is_refused_as_truncated(size: int) -> None:
    assert code_of(SEALED[:size]) == "seal-truncated"


def test_empty_file_is_called_empty() -> None:
    with pytest.raises(SealError, match=r"agents\.sealed is empty"):
        unseal(b"", name=NAME, key=KEY)


def region_of(offset: int) -> set[str]:
    """Return the codes that an altered byte at this offset may give."""
    if offset < 8:
        return {"seal-not-sealed"}
    if offset in (8, 9):
        return {("seal-version", "seal-algorithm")[offset - 8]}
    if offset == 10:  # the name seems longer or shorter, or to reach beyond the end
        return {"seal-name", "seal-truncated"}
    if offset < 11 + len(NAME):
        return {"seal-name"}
    if 23 + len(NAME) <= offset < HEADER_BYTES:  # more is expected than there is, or less
        return {"seal-truncated", "seal-altered"}
    return {"seal-altered"}


@pytest.mark.parametrize("offset", range(len(SEALED)))
def test_altered_at_any_byte_to_any_value_is_refused(offset: int) -> None:
    data = bytearray(SEALED)
    codes = set()
    for change in range(1, 256):
        data[offset] = SEALED[offset] ^ change
        codes.add(code_of(bytes(data)))

    assert codes <= region_of(offset)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (SEALED + b"\0", "seal-altered"),  # something after the end
        (SEALED + SEALED, "seal-altered"),
        (SEALED[1:], "seal-not-sealed"),
        (PAYLOAD, "seal-not-sealed"),  # the plain text itself
        (gzip.compress(PAYLOAD), "seal-not-sealed"),
        (b"\x89PNG\r\n\x1a\n" + SEALED[8:], "seal-not-sealed"),
        (SEALED.replace(b"\r\n", b"\n"), "seal-not-sealed"),  # a transfer that "helped"
        (b"\0", "seal-not-sealed"),
        (SEALED[:HEADER_BYTES] + bytes(len(SEALED) - HEADER_BYTES), "seal-altered"),
        (SEALED[: HEADER_BYTES - 4] + bytes(4), "seal-altered"),  # not even a tag
    ],
)
def test_other_bytes_are_refused(data: bytes, code: str) -> None:
    assert code_of(data) == code


@pytest.mark.parametrize(
    "name", ["hooks.sealed", "agents.sealed2", "agents.seale", "Agents.sealed"]
)
def test_other_name_is_refused_and_named(name: str) -> None:
    assert code_of(SEALED, name=name) == "seal-name"
    with pytest.raises(SealError, match=f"^{name} was sealed under another name: 'agents.sealed'$"):
        unseal(SEALED, name=name, key=KEY)


def test_name_in_an_altered_file_cannot_steer_the_terminal() -> None:
    data = SEALED.replace(b"agents", b"\x1b[2J\xff\n")

    with pytest.raises(SealError) as caught:
        unseal(data, name=NAME, key=KEY)

    assert caught.value.message.isprintable()


def test_other_key_is_refused_as_altered() -> None:
    assert code_of(SEALED, key=bytes(32)) == "seal-altered"


@pytest.mark.parametrize("name", ["", "a/b", "/", "a\0b", "n" * 256, "é" * 128, "\udcff"])
def test_impossible_name_is_refused(name: str) -> None:
    assert code_of(SEALED, name=name) == "seal-name"
    with pytest.raises(SealError) as caught:
        seal(PAYLOAD, name=name, key=KEY, nonce=NONCE)
    assert caught.value.code == "seal-name"


@pytest.mark.parametrize("name", ["a", "n" * 255, "é" * 127, "..", "two words"])
def test_possible_name_is_its_utf8(name: str) -> None:
    assert encode_name(name) == name.encode()


def test_more_than_the_longest_payload_is_not_sealed() -> None:
    with pytest.raises(SealError) as caught:
        seal(bytes(MAX_PAYLOAD_BYTES + 1), name=NAME, key=KEY, nonce=NONCE)

    assert caught.value.code == "seal-too-large"


@pytest.mark.parametrize("size", [MAX_PAYLOAD_BYTES + 1, 8 * MAX_PAYLOAD_BYTES])
def test_decompression_bomb_is_refused(size: int) -> None:
    bomb = seal_member(pack(bytes(size)), name=NAME, key=KEY, nonce=NONCE)

    assert len(bomb) < size / 500
    assert code_of(bomb) == "seal-too-large"


def test_body_beyond_any_payload_is_refused_before_it_is_decrypted() -> None:
    body_bytes = MAX_PAYLOAD_BYTES + 64 * 1024 + 1
    data = SEALED[: HEADER_BYTES - 4] + body_bytes.to_bytes(4, "big") + bytes(body_bytes)

    assert code_of(data) == "seal-too-large"


@pytest.mark.parametrize(
    "member",
    [
        b"",
        PAYLOAD,  # never packed
        pack(PAYLOAD)[:-1],  # cut short before it was sealed
        pack(PAYLOAD) + b"\0",
        pack(PAYLOAD) + pack(PAYLOAD),
        pack(PAYLOAD)[:-8] + bytes(8),  # another checksum
        zlib.compress(PAYLOAD),  # zlib's frame, not gzip's
    ],
)
def test_sealed_by_the_right_key_but_not_one_gzip_member_is_refused(member: bytes) -> None:
    data = seal_member(member, name=NAME, key=KEY, nonce=NONCE)

    assert code_of(data) == "seal-altered"


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_key_of_another_size_is_a_mistake_of_the_program(size: int) -> None:
    with pytest.raises(ValueError, match="a key has 32 bytes"):
        seal(PAYLOAD, name=NAME, key=bytes(size), nonce=NONCE)
    with pytest.raises(ValueError, match="a key has 32 bytes"):
        unseal(SEALED, name=NAME, key=bytes(size))


@pytest.mark.parametrize("size", [0, 11, 13])
def test_nonce_of_another_size_is_a_mistake_of_the_program(size: int) -> None:
    with pytest.raises(ValueError, match="a nonce has 12 bytes"):
        seal(PAYLOAD, name=NAME, key=KEY, nonce=bytes(size))
