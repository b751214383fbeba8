# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 messages as a client writes and reads them, RFC 9112: bytes in, values out.

Pure and incremental: sockets are in `transport`. It stands in the place of `http.client`, whose
reader owns the socket (so nothing else can be waited for beside it), runs header fields through
the e-mail parser (which ends the list at the first odd line), and costs ten times as much.

What is read is untrusted. `MalformedError` is raised where passing it on could make the client
read something else than the upstream wrote; everything else is tolerated (bare LF, folded fields,
a missing reason).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cco.errors import RequestError
from cco.gateway.headers import Fields, Index, index, tokens

MAX_HEAD_BYTES: Final = 65536
"""Status line and fields together, interim responses included."""
MAX_LINE_BYTES: Final = 8192
"""A chunk's size line with extensions, or a trailer field; all trailers together get eight."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"[!-~\x80-\xff]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (.*))?")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")


class MalformedError(Exception):
    """What the upstream sent is no HTTP; the message says where."""


def encode_head(
    method: str, target: str, fields: Sequence[tuple[str, str]], *, length: int | None
) -> bytes:
    """Return request line and fields, refusing what would be read as more than one of either.

    Args:
        method: any token.
        target: byte for byte as it shall arrive (latin-1).
        fields: as they shall arrive.
        length: bytes of the body, None for a request without one.

    Raises:
        RequestError: method, target or a field cannot be written as HTTP.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise RequestError("request-line-invalid", "The request line is not valid HTTP")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in fields:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise RequestError("header-invalid", "A header field of the request is not valid HTTP")
        lines.append(f"{name}: {value}")
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and fields of a response."""

    status: int
    reason: str
    fields: Fields
    minor: int
    """Minor version: 0 for HTTP/1.0."""
    named: Index
    """The fields by name."""

    @property
    def is_interim(self) -> bool:
        """Say whether another head follows."""
        return 100 <= self.status < 200


def split_head(data: bytes) -> tuple[Head, bytes] | None:
    """Take the head off the front of what has arrived, or return None if it is not all there.

    Raises:
        MalformedError: it is no response, or too long.
    """
    end = _END_OF_HEAD.search(data, 0, MAX_HEAD_BYTES)
    if end is None:
        if len(data) >= MAX_HEAD_BYTES:
            raise MalformedError("its header is too long")
        return None
    return parse_head(data[: end.start()].decode("latin-1")), data[end.end() :]


def parse_head(text: str) -> Head:
    """Read status line and fields, without the empty line that ends them.

    Raises:
        MalformedError: it is no response.
    """
    if _FORBIDDEN.search(text):
        raise MalformedError("its header has control characters")
    first_line, *lines = text.split("\n")
    status_line = _STATUS_LINE.fullmatch(first_line.rstrip("\r"))
    if status_line is None:
        raise MalformedError("its status line is not HTTP/1.1")
    fields: Fields = []
    for line in lines:
        if line[:1] in (" ", "\t") and fields:  # RFC 9112 5.2: folded, becomes one space
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name):
            raise MalformedError("a header field has no valid name")
        fields.append((name, value.strip(" \t\r")))
    minor, status, reason = status_line.groups()
    return Head(int(status), reason or "", fields, int(minor), index(fields))


class Framing(Protocol):
    """Takes the body out of the bytes of a connection."""

    done: bool
    """The body is whole."""
    excess: bool
    """Bytes came after its end, so the connection is not usable for another request."""
    malformed: str
    """What is wrong with the bytes behind those that `feed` returned; empty while all is well."""

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body in `data`, possibly empty; not called once malformed."""

    def ends_with_connection(self) -> bool:
        """Say whether the end of the connection makes the body whole."""


class LengthFraming:
    """A body of a known number of bytes; zero for responses that have none."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.excess = False
        self.malformed = ""

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body in `data`."""
        if len(data) > self._left:
            self.excess = True
            data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def ends_with_connection(self) -> bool:
        """Say no: it was cut unless it is done."""
        return False


class CloseFraming:
    """A body that lasts until the connection ends."""

    done = False
    excess = False
    malformed = ""

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        return data

    def ends_with_connection(self) -> bool:
        """Say yes."""
        return True


class ChunkedFraming:
    """A body in chunks, RFC 9112 section 7.1; trailers are read and dropped.

    ::

        1a;extension CRLF  (26 bytes)  CRLF  ...  0 CRLF  trailers  CRLF
    """

    def __init__(self) -> None:
        self.done = False
        self.excess = False
        self.malformed = ""
        self._left = 0
        """Bytes of the current chunk that are still to come."""
        self._line = b""
        """Beginning of a line whose end has not arrived."""
        self._read_line = self._size_line
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body in `data`; framing may be split at any byte."""
        pieces = []
        data, self._line = self._line + data if self._line else data, b""
        position = 0
        while position < len(data) and not self.done and not self.malformed:
            if self._left:
                piece = data[position : position + self._left]
                pieces.append(piece)
                self._left -= len(piece)
                position += len(piece)
                continue
            end = data.find(b"\n", position)
            if (end if end >= 0 else len(data)) - position > MAX_LINE_BYTES:
                self.malformed = "a chunk's header is too long"
                break
            if end < 0:
                self._line = data[position:]
                break
            line = data[position:end]
            self._read_line(line[:-1] if line.endswith(b"\r") else line)
            position = end + 1
        self.excess = self.done and position < len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def ends_with_connection(self) -> bool:
        """Say no: it was cut unless it is done."""
        return False

    def _size_line(self, line: bytes) -> None:
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            self.malformed = "a chunk has no valid size"
            return
        self._left = int(size[1], 16)
        self._read_line = self._end_of_chunk if self._left else self._trailer

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            self.malformed = "a chunk is longer than its size"
        self._read_line = self._size_line

    def _trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > 8 * MAX_LINE_BYTES:
            self.malformed = "its trailers are too long"
        self.done = not line


def declared_length(head: Head) -> int | None:
    """Return the ``Content-Length`` of a response, None if it has none.

    Raises:
        MalformedError: there are several, or it is no number.
    """
    values = set(tokens(head.named, "content-length"))
    if not values:
        return None
    value = values.pop()
    if values or not _DIGITS.fullmatch(value):
        raise MalformedError("its Content-Length is not one number")
    return int(value)


def framing_of(method: str, head: Head) -> Framing:
    """Return what takes the body of a response out of the connection, RFC 9112 section 6.3.

    Raises:
        MalformedError: nothing sure can be said about its end.
    """
    if method == "HEAD" or head.status in (204, 304):
        return LengthFraming(0)
    codings = tokens(head.named, "transfer-encoding")
    if codings == ["chunked"]:
        return ChunkedFraming()
    if codings:
        raise MalformedError("its transfer coding is not chunked")
    length = declared_length(head)
    return CloseFraming() if length is None else LengthFraming(length)


def is_reusable(head: Head, framing: Framing) -> bool:
    """Say whether the connection may carry another request after a whole response."""
    if framing.excess or not framing.done:
        return False
    options = tokens(head.named, "connection")
    if "close" in options or (head.minor == 0 and "keep-alive" not in options):
        return False
    return not (isinstance(framing, ChunkedFraming) and tokens(head.named, "content-length"))
