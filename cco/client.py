# SPDX-License-Identifier: Apache-2.0
"""Speaks HTTP/1.1 to the daemon over its Unix socket.

Used by everything that is not the daemon: launcher, commands, dashboard and mount. It is written
on plain sockets because ``http.client`` costs the mount 6 MB and every launch 30 ms (measured with
Python 3.11), and because one peer, ours, needs no more than this: a request with a length, an
answer with a length or in chunks, one connection a request.

Threading: a `Client` holds no connection, so any number of threads may share one.
"""

import json
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    NotFound,
    RequestError,
    Unavailable,
    UpstreamError,
)

MAX_LINE: Final = 65536
"""Bytes of a status line, header line or chunk size; ours never come near it."""

MAX_PATH_BYTES: Final = 107
"""Longest path that a Unix socket can have, `unix(7)`."""
START_HINT: Final = "Start it with: cco daemon start"

_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,12}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")
_TIMEVAL: Final = struct.Struct("@ll")


class Reply(NamedTuple):
    """One answer of the daemon; header names are in lower case, the last of a repeated one wins."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded body.

        Raises:
            Unavailable: it is not JSON, so whoever answered is not the daemon.
        """
        try:
            return json.loads(self.body)
        except ValueError as exc:
            raise Unavailable(
                "daemon-garbled",
                "the daemon's answer is not JSON",
                hint="Something else may serve the socket; look with: cco daemon status",
            ) from exc


class Client:
    """A caller of the daemon at one Unix socket.

    Args:
        path: the daemon's socket.
        timeout_s: longest silence that is borne, connecting included; None waits for ever.
        token: the session's token, sent as ``x-cco-session``, or None.
    """

    def __init__(
        self, path: Path, *, timeout_s: float | None = 10.0, token: str | None = None
    ) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._token = token

    def call(
        self,
        method: str,
        target: str,
        payload: object | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send JSON, return JSON (None for an empty answer).

        Raises:
            Unavailable: nobody answers.
            CcoError: of the class and with the code and hint that the daemon gave.
        """
        body = None if payload is None else json.dumps(payload).encode()
        reply = self.request(method, target, body=body, headers=headers)
        if reply.status >= 400:
            raise error_from(reply)
        return reply.json() if reply.body else None

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return the whole answer.

        Raises:
            Unavailable: nobody answers, or the answer breaks off.
        """
        with self.stream(method, target, body=body, headers=headers) as (status, got, reader):
            return Reply(status, got, b"".join(iter(lambda: reader.read(65536), b"")))

    @contextmanager
    def stream(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[int, dict[str, str], "BodyReader"]]:
        """Send one request; yield status, headers and a reader of the body as it arrives.

        What goes wrong in the caller's own block is left as it is.

        Raises:
            Unavailable: nobody answers, or the answer breaks off.
            RequestError: a header cannot be sent.
        """
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        if body is not None:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        if self._token:
            lines.append(f"x-cco-session: {self._token}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = _encode_head(lines)
        with _translated(self.path):
            sock = self._connect()
        with sock, sock.makefile("rb") as raw:
            with _translated(self.path):
                # A refusal may come before the body was read; then it, not the pipe, tells why.
                with suppress(BrokenPipeError, ConnectionResetError):
                    sock.sendall(head + (body or b""))
                status, got = _read_head(raw)
                has_body = method != "HEAD" and status not in (204, 304)
                reader = BodyReader(raw, got, has_body=has_body)
            yield status, got, reader

    def _connect(self) -> socket.socket:
        if len(os.fsencode(self.path)) > MAX_PATH_BYTES:
            raise Unavailable(
                "socket-path-too-long",
                f"the path of the socket {self.path} is longer than {MAX_PATH_BYTES} bytes",
                hint="Set XDG_RUNTIME_DIR or CCO_RUNTIME_DIR to a directory with a shorter path",
            )
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self.timeout_s is not None:
                # Not settimeout: in that mode a full queue of the listener refuses at once.
                limit = _TIMEVAL.pack(int(self.timeout_s), int(self.timeout_s % 1 * 1e6))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            sock.connect(str(self.path))
            sock.settimeout(self.timeout_s)
        except BaseException:
            sock.close()
            raise
        return sock


class BodyReader:
    """Reads one body, by its length, its chunks or to the end of the connection."""

    def __init__(self, raw: BinaryIO, headers: Mapping[str, str], *, has_body: bool) -> None:
        self._raw = raw
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left: int | None = 0 if self._chunked else None
        if not self._chunked and (length := headers.get("content-length")) is not None:
            if not length.isdecimal():
                raise ConnectionError("no length")
            self._left = int(length)
        self._is_in_chunks = False
        self._done = not has_body
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return what has arrived, at most `size` bytes; empty at the end.

        Raises:
            Unavailable: the answer breaks off, or is none.
        """
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        with _translated_body():
            return self._read_raw(size)

    def _read_raw(self, size: int) -> bytes:
        if self._chunked and self._left == 0 and not self._done:
            self._next_chunk()
        if self._done or self._left == 0:
            return b""
        data = self._raw.read1(size if self._left is None else min(size, self._left))  # type: ignore[attr-defined]
        if self._left is not None:
            if not data:
                raise ConnectionError("cut")
            self._left -= len(data)
        return bytes(data)

    def readline(self) -> bytes:
        """Return the next line with its newline; empty, or without newline, at the end.

        Raises:
            Unavailable: the answer breaks off, or is none.
        """
        parts: list[bytes] = []
        while True:
            data = self.read(65536)
            line, newline, rest = data.partition(b"\n")
            parts.append(line + newline)
            if newline or not data:
                self._rest = rest
                return b"".join(parts)

    def _next_chunk(self) -> None:
        if self._is_in_chunks and self._raw.readline(3) != b"\r\n":
            raise ConnectionError("cut behind a chunk, or not a chunk")
        self._is_in_chunks = True
        line = self._raw.readline(MAX_LINE)
        size = line.partition(b";")[0].strip()
        if not line.endswith(b"\n") or not _SIZE.fullmatch(size):
            raise ConnectionError("cut before a chunk, or not a chunk")
        self._left = int(size, 16)
        if self._left == 0:
            self._done = True


_CLASSES: Final[tuple[tuple[int, type[CcoError]], ...]] = (
    (402, BudgetExceeded),
    (403, Denied),
    (404, NotFound),
    (502, UpstreamError),
    (504, UpstreamError),
)


def error_from(reply: Reply) -> CcoError:
    """Return the error that a refusal of the daemon stands for."""
    told: Any = None
    try:
        told = json.loads(reply.body).get("error")
    except (ValueError, AttributeError):
        told = None
    if not isinstance(told, dict):
        return Unavailable(
            "daemon-garbled", f"the daemon answered {reply.status}", hint="See: cco daemon logs"
        )
    fallback = RequestError if reply.status < 500 else Unavailable
    kind = dict(_CLASSES).get(reply.status, fallback)
    hint = told.get("hint")
    return kind(
        str(told.get("code", "error")),
        str(told.get("message", "")),
        hint=hint if isinstance(hint, str) else None,
    )


def _encode_head(lines: Sequence[str]) -> bytes:
    """Return the head of a request.

    Raises:
        RequestError: a line cannot be sent; the message does not hold its value.
    """
    for line in lines:
        if _CONTROL.search(line):
            raise RequestError(
                "bad-header",
                f"the value of {line.split(' ')[0].partition(':')[0]!r} cannot be sent",
                hint="It holds a line break or a character that no header can hold",
            )
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _read_head(raw: BinaryIO) -> tuple[int, dict[str, str]]:
    line = raw.readline(MAX_LINE).split(None, 2)
    if len(line) < 2 or not line[1].isdigit():
        raise ConnectionError("no status line")
    headers: dict[str, str] = {}
    while (field := raw.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        if not field.endswith(b"\n"):
            raise ConnectionError("cut inside the headers")
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(line[1]), headers


def _silent() -> Unavailable:
    return Unavailable(
        "daemon-unavailable", "the daemon does not answer", hint="See: cco daemon status"
    )


def _broken() -> Unavailable:
    return Unavailable(
        "daemon-unavailable", "the daemon's answer broke off", hint="See: cco daemon logs"
    )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as exc:
        raise Unavailable(
            "daemon-unavailable", f"no CCO daemon serves {path}", hint=START_HINT
        ) from exc
    except PermissionError as exc:
        raise Unavailable(
            "daemon-denied",
            f"the socket {path} belongs to another user",
            hint="Run cco as the user who owns the daemon, or start your own",
        ) from exc
    except (TimeoutError, BlockingIOError) as exc:
        raise _silent() from exc
    except (OSError, ValueError) as exc:
        raise _broken() from exc


@contextmanager
def _translated_body() -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise _silent() from exc
    except (OSError, ValueError) as exc:
        raise _broken() from exc
