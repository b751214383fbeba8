# SPDX-License-Identifier: Apache-2.0
r"""The format of a sealed file, and nothing about where its key comes from.

Only here: the byte layout, AES-GCM and gzip. Pure and free of state; any thread may call it.

Layout of a file whose name has n bytes, numbers big-endian::

    offset   0       8         9           10       11     11+n    23+n     27+n
             ├───────┼─────────┼───────────┼────────┼──────┼───────┼────────┼────────────┬─────┤
             │ magic │ version │ algorithm │ n      │ name │ nonce │ length │ ciphertext │ tag │
    size     │ 8     │ 1       │ 1         │ 1      │ n    │ 12    │ 4      │ length-16  │ 16  │
             ├───────┴─────────┴───────────┴────────┴──────┴───────┴────────┼────────────┼─────┤
              <----------------- header: authenticated as it is -----------> <encrypted->

    magic      89 43 43 4f 0d 0a 1a 0a ("\x89CCO\r\n\x1a\n"): like PNG's, no text begins so, and a
               transfer that rewrites line ends destroys it
    version    01: this layout
    algorithm  01: gzip, then AES-256-GCM
    n          1 to 255, bytes of the name
    name       UTF-8, without NUL and slash; a file served under another name is refused
    nonce      never used twice with one key
    length     bytes that follow, so that a file cut short is told from one that was altered
    ciphertext the payload as one gzip member
    tag        of AES-GCM, over the header and the ciphertext

The gzip member has modification time 0 and operating system 255 (unknown), so that equal payloads
under an equal key, name and nonce give equal bytes on every machine with the same deflate library.

No secret is compared here: OpenSSL compares the tag, in constant time. The fields of the header
are public; comparing them tells an attacker nothing that the file does not say.
"""

import struct
import zlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cco.errors import SealError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""96 bits: the only size that AES-GCM takes without hashing it first (NIST SP 800-38D, 8.2)."""

MAX_PAYLOAD_BYTES: Final = 16 * 1024 * 1024
"""Both ways: room for 119 agents of 140 KB each, and small beside the memory of a machine. Deflate
shrinks up to a thousandfold, so without it a file of 1 MB could unpack to 1 GB."""

_MAGIC: Final = b"\x89CCO\r\n\x1a\n"
_VERSION: Final = 1
_GZIP_AES_256_GCM: Final = 1
_TAG_BYTES: Final = 16
_MAX_NAME_BYTES: Final = 255
_MAX_BODY_BYTES: Final = MAX_PAYLOAD_BYTES + 64 * 1024
"""A payload that deflate cannot shrink grows by 5 bytes in each 16 KiB; gzip and the tag add 34."""

_START: Final = struct.Struct(">8sBBB")
_END: Final = struct.Struct(f">{NONCE_BYTES}sI")

_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_HEADER: Final = bytes.fromhex("1f8b 08 00 00000000 00 ff")
"""RFC 1952, 2.3: magic, deflate, no flags, modification time 0, no extra flags, unknown system."""

_READ_AGAIN: Final = "Read the file again from the mount: its key lives only as long as the daemon"


def seal(payload: bytes, *, name: str, key: bytes, nonce: bytes) -> bytes:
    """Seal a payload under a name.

    Args:
        payload: at most `MAX_PAYLOAD_BYTES`.
        name: of the file; part of what is authenticated.
        key: 32 bytes.
        nonce: 12 bytes that this key never saw; a second use breaks the secrecy of both files.

    Returns:
        The bytes of the file, as drawn above.

    Raises:
        SealError: `seal-name` or `seal-too-large`.
        ValueError: key or nonce have the wrong size.
    """
    cipher = _cipher(key)
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    encoded = encode_name(name)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _too_large(name)
    member = _GZIP_HEADER + zlib.compress(payload, wbits=_GZIP)[len(_GZIP_HEADER) :]
    start = _START.pack(_MAGIC, _VERSION, _GZIP_AES_256_GCM, len(encoded))
    header = start + encoded + _END.pack(nonce, len(member) + _TAG_BYTES)
    return header + cipher.encrypt(nonce, member, header)


def unseal(data: bytes, *, name: str, key: bytes) -> bytes:
    """Return the payload of a sealed file, if every byte of the file is as it was sealed.

    Args:
        data: the whole file.
        name: under which it must have been sealed.
        key: 32 bytes.

    Raises:
        SealError: `seal-truncated`, `seal-not-sealed`, `seal-version`, `seal-algorithm`,
            `seal-name`, `seal-altered` (another key looks the same) or `seal-too-large`.
        ValueError: the key has the wrong size.
    """
    cipher = _cipher(key)
    header_bytes = _check_start(data, name=name) + _END.size
    if len(data) < header_bytes:
        raise _truncated(data, name=name)
    header, body = data[:header_bytes], data[header_bytes:]
    nonce, length = _END.unpack(header[-_END.size :])
    if len(body) < length:
        raise _truncated(data, name=name)
    if len(body) > length:
        raise _altered(f"{name} goes on after its end")
    if len(body) > _MAX_BODY_BYTES:
        raise _too_large(name)
    try:
        member = cipher.decrypt(nonce, body, header)
    except InvalidTag as error:
        raise _altered(f"{name} was altered, or sealed with another key") from error
    return _inflate(member, name=name)


def encode_name(name: str) -> bytes:
    """Return the bytes of a sealed file's name.

    Raises:
        SealError: `seal-name`: not 1 to 255 bytes of UTF-8, or with a slash or a NUL.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:  # lone surrogates: a name that came from bytes outside UTF-8
        encoded = b""
    if not 1 <= len(encoded) <= _MAX_NAME_BYTES or "/" in name or "\0" in name:
        raise SealError(
            "seal-name",
            f"a sealed file cannot be called {name!r}",
            hint="A name has 1 to 255 bytes of UTF-8, without a slash or a NUL",
        )
    return encoded


def _cipher(key: bytes) -> AESGCM:
    # AESGCM takes 16 and 24 bytes as well, and would quietly be another algorithm than we write.
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    return AESGCM(key)


def _check_start(data: bytes, *, name: str) -> int:
    """Check everything up to the name and return the offset behind it."""
    expected = encode_name(name)
    if not data.startswith(_MAGIC[: len(data)]):
        raise SealError(
            "seal-not-sealed",
            f"{name} is not a sealed file",
            hint="Sealed files are agents.sealed, orchestrator.sealed and hooks.sealed",
        )
    if len(data) < _START.size:
        raise _truncated(data, name=name)
    _, version, algorithm, name_bytes = _START.unpack_from(data)
    if version != _VERSION:
        raise SealError(
            "seal-version",
            f"{name} has version {version} of the sealed format, and only {_VERSION} is known here",
            hint=_READ_AGAIN,
        )
    if algorithm != _GZIP_AES_256_GCM:
        raise SealError(
            "seal-algorithm",
            f"{name} is sealed with algorithm {algorithm}, which is unknown here",
            hint=_READ_AGAIN,
        )
    end: int = _START.size + name_bytes
    if len(data) < end:
        raise _truncated(data, name=name)
    found = data[_START.size : end]
    if found != expected:
        raise SealError(
            "seal-name",
            f"{name} was sealed under another name: {found.decode(errors='backslashreplace')!r}",
            hint="Sealed files cannot be renamed or exchanged for one another",
        )
    return end


def _inflate(member: bytes, *, name: str) -> bytes:
    inflater = zlib.decompressobj(wbits=_GZIP)
    try:
        payload = inflater.decompress(member, MAX_PAYLOAD_BYTES + 1)
    except zlib.error as error:
        raise _altered(f"{name} does not hold gzip data") from error
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _too_large(name)
    if not inflater.eof or inflater.unused_data:
        raise _altered(f"{name} does not hold exactly one gzip member")
    return payload


def _truncated(data: bytes, *, name: str) -> SealError:
    message = f"{name} is cut short after {len(data)} bytes" if data else f"{name} is empty"
    return SealError("seal-truncated", message, hint=_READ_AGAIN)


def _altered(message: str) -> SealError:
    return SealError("seal-altered", message, hint=_READ_AGAIN)


def _too_large(name: str) -> SealError:
    return SealError(
        "seal-too-large",
        f"{name} holds more than {MAX_PAYLOAD_BYTES} bytes",
        hint="Shorten or remove agents of your own in the configuration directory",
    )
