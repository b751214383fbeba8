# SPDX-License-Identifier: Apache-2.0
"""Speaks HTTP/1.1 to the daemon over its Unix socket.

Used by everything that is not the daemon: launcher, commands, dashboard and mount. It is written
on plain sockets because ``http.client`` costs the mount 6 MB and every launch 30 ms (measured with
Python 3.11), and because one peer, ours, needs no more than this: a request with a length, an
answer with a length or in chunks, one connection a request.

Threading: a `Client` holds no connection, so any number of threads may share one.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

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

START_HINT: Final = "Start it with: cco daemon start"


@dataclass(frozen=True, slots=True)
class Reply:
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
            data = b"".join(iter(lambda: reader.read(65536), b""))
        if "content-length" in got and method != "HEAD" and len(data) != int(got["content-length"]):
            raise _broken()
        return Reply(status, got, data)

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

        Raises:
            Unavailable: nobody answers, or the answer breaks off.
        """
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
        if body is not None:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        if self._token:
            lines.append(f"x-cco-session: {self._token}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        with _translated(self.path), self._connect() as sock:
            sock.sendall(head + (body or b""))
            with sock.makefile("rb") as raw:
                status, got = _read_head(raw)
                yield status, got, BodyReader(raw, got, has_body=method != "HEAD")

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout_s)
            sock.connect(str(self.path))
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
        if not self._chunked and "content-length" in headers:
            self._left = int(headers["content-length"])
        self._done = not has_body
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return what has arrived, at most `size` bytes; empty at the end."""
        if self._rest:
            data, self._rest = self._rest[:size], self._rest[size:]
            return data
        if self._chunked and self._left == 0 and not self._done:
            self._next_chunk()
        if self._done or self._left == 0:
            return b""
        data = self._raw.read1(size if self._left is None else min(size, self._left))  # type: ignore[attr-defined]
        if self._left is not None:
            self._left -= len(data)
            if not data and self._chunked:
                raise ConnectionError("cut inside a chunk")
            if self._chunked and self._left == 0:
                self._raw.readline(MAX_LINE)
        return bytes(data)

    def readline(self) -> bytes:
        """Return the next line with its newline; empty, or without newline, at the end."""
        parts: list[bytes] = []
        while True:
            data = self.read(65536)
            line, newline, rest = data.partition(b"\n")
            parts.append(line + newline)
            if newline or not data:
                self._rest = rest
                return b"".join(parts)

    def _next_chunk(self) -> None:
        line = self._raw.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise ConnectionError("cut before a chunk")
        self._left = int(line.split(b";")[0], 16)
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
        return Unavailable("daemon-garbled", f"the daemon answered {reply.status}")
    fallback = RequestError if reply.status < 500 else Unavailable
    kind = dict(_CLASSES).get(reply.status, fallback)
    return kind(str(told.get("code", "error")), str(told.get("message", "")), hint=told.get("hint"))


def _read_head(raw: BinaryIO) -> tuple[int, dict[str, str]]:
    line = raw.readline(MAX_LINE).split(None, 2)
    if len(line) < 2 or not line[1].isdigit():
        raise ConnectionError("no status line")
    headers: dict[str, str] = {}
    while (field := raw.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        if not field:
            raise ConnectionError("cut inside the headers")
        name, _, value = field.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(line[1]), headers


def _broken() -> Unavailable:
    return Unavailable(
        "daemon-unavailable", "the daemon's answer broke off", hint="See: cco daemon logs"
    )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise Unavailable(
            "daemon-unavailable", f"no CCO daemon serves {path}", hint=START_HINT
        ) from exc
    except PermissionError as exc:
        raise Unavailable(
            "daemon-denied",
            f"the socket {path} belongs to another user",
            hint="Run cco as the user who owns the daemon, or start your own",
        ) from exc
    except TimeoutError as exc:
        raise Unavailable(
            "daemon-unavailable", "the daemon does not answer", hint="See: cco daemon status"
        ) from exc
    except (OSError, ValueError) as exc:
        raise _broken() from exc
