# SPDX-License-Identifier: Apache-2.0
"""Reading a request's body off a connection: by length or in chunks, within a limit.

Source: RFC 9112, sections 6 and 7. Blocks on the stream that it is given; holds nothing.
"""

import re
from email.message import Message
from io import BufferedIOBase
from typing import Final

from cco.errors import RequestError

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""A longer body is refused with 413."""

TOO_LARGE: Final = "offline-too-large"
"""Code of the error for a body over the limit."""

_MAX_LINE_BYTES: Final = 8192
_MAX_TRAILERS: Final = 100
_LENGTH: Final = re.compile("[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n")


def read_body(stream: BufferedIOBase, headers: Message) -> bytes:
    """Read the body that the headers announce, empty if they announce none.

    Raises:
        RequestError: the framing is broken or the body is too large; where it ends is then unknown.
        ConnectionError: the client went away before the end.
    """
    lengths = set(headers.get_all("content-length", []))
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if lengths or coding.strip().lower() != "chunked":
            raise _broken("a transfer coding other than chunked, or with a length")
        return _read_chunks(stream)
    if not lengths:
        return b""
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise _broken("a content-length that is not one number")
    return _read_exactly(stream, _checked(int(length)))


def _read_chunks(stream: BufferedIOBase) -> bytes:
    body = bytearray()
    while True:
        line = _CHUNK_SIZE.fullmatch(stream.readline(_MAX_LINE_BYTES))
        if line is None:
            raise _broken("a chunk without a size")
        size = int(line[1], 16)
        if size == 0:
            break
        body += _read_exactly(stream, _checked(len(body) + size) - len(body))
        if stream.readline(_MAX_LINE_BYTES) not in (b"\r\n", b"\n"):
            raise _broken("a chunk longer than its size")
    for _ in range(_MAX_TRAILERS):
        if stream.readline(_MAX_LINE_BYTES) in (b"\r\n", b"\n", b""):
            return bytes(body)
    raise _broken("too many trailers")


def _read_exactly(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionAbortedError("the client left in the middle of a body")
    return data


def _checked(size: int) -> int:
    if size > MAX_BODY_BYTES:
        limit = MAX_BODY_BYTES // 1024**2
        raise RequestError(TOO_LARGE, f"The body is larger than {limit} MB")
    return size


def _broken(what: str) -> RequestError:
    return RequestError("offline-framing", f"The request has {what}")
