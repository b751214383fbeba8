# SPDX-License-Identifier: Apache-2.0
"""A wire tap: passes TCP connections on and keeps every byte, in both directions.

What it kept is read as HTTP/1.1 afterwards, so the tap itself can change nothing.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

Fields = list[tuple[str, str]]

_BODILESS: Final = frozenset({"204", "304"})


@dataclass
class Conversation:
    """The bytes of one connection."""

    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Message:
    """A request or a response."""

    first: str
    """The request line or the status line."""
    fields: Fields
    """Names in lower case, in order, with repetitions."""
    body: bytes
    """Without its transfer coding."""
    is_whole: bool
    """It came to its proper end."""

    def values(self, name: str) -> list[str]:
        """Return the values of a field, by its name in lower case."""
        return [value for key, value in self.fields if key == name]


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    request: Message
    response: Message | None

    @property
    def target(self) -> str:
        """Path and query of the request."""
        return self.request.first.split(" ")[1]


class Tap:
    """The tap; make it with `tapping`.

    Args:
        listener: where clients come.
        destination: where they are passed on to.
    """

    def __init__(self, listener: socket.socket, destination: tuple[str, int]) -> None:
        self.destination = destination
        self.conversations: list[Conversation] = []
        self._listener = listener
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Base URL of the listening end."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def exchanges(self) -> list[Exchange]:
        """Return what was said so far, connection by connection."""
        return [one for said in list(self.conversations) for one in read_exchanges(said)]

    def accept(self) -> None:
        """Pass connections on until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self.destination)
                said = Conversation()
                self.conversations.append(said)
                self._sockets += [client, server]
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(client, server, said.asked)
                self._start(server, client, said.answered)

    def close(self) -> None:
        """End all connections and threads."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _start(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        thread = threading.Thread(target=_pass_on, args=(source, sink, kept))
        self._threads.append(thread)
        thread.start()


@contextmanager
def tapping(destination: str, *, port: int = 0) -> Iterator[Tap]:
    """Listen on 127.0.0.1 and pass on to `destination`, a base URL."""
    host, _, there = destination.removeprefix("http://").rpartition(":")
    listener = socket.create_server(("127.0.0.1", port))
    tap = Tap(listener, (host, int(there)))
    acceptor = threading.Thread(target=tap.accept)
    acceptor.start()
    try:
        yield tap
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        tap.close()


def _pass_on(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def read_exchanges(said: Conversation) -> list[Exchange]:
    """Read the messages of a connection."""
    asked, answered = bytes(said.asked), bytes(said.answered)
    found = []
    while (split := _split(asked, has_body=True, is_request=True)) is not None:
        request, asked = split
        has_body = not request.first.startswith("HEAD ")
        reply = _split(answered, has_body=has_body, is_request=False)
        response = None
        if reply is not None:
            response, answered = reply
        found.append(Exchange(request, response))
    return found


def _split(data: bytes, *, has_body: bool, is_request: bool) -> tuple[Message, bytes] | None:
    """Return the first message and what is behind it; None where no head is whole."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [(k.lower(), v) for k, _, v in (line.partition(": ") for line in lines)]
    named = dict(fields)
    status = "" if is_request else first.split(" ")[1]
    if not has_body or status in _BODILESS:
        body, rest, is_whole = b"", rest, True
    elif "transfer-encoding" in named:
        body, rest, is_whole = _unchunk(rest)
    elif is_request or "content-length" in named:
        length = int(named.get("content-length", 0))
        body, rest, is_whole = rest[:length], rest[length:], len(rest) >= length
    else:
        body, rest, is_whole = rest, b"", True
    return Message(first, fields, body, is_whole), rest


def _unchunk(data: bytes) -> tuple[bytes, bytes, bool]:
    """Return the body of chunks, what is behind it, and whether its end mark is there."""
    body = bytearray()
    while found := re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", data):
        size, start = int(found[1], 16), found.end()
        if size == 0:
            return bytes(body), data[start + 2 :], data[start:].startswith(b"\r\n")
        body += data[start : start + size]
        data = data[start + size + 2 :]
    return bytes(body), b"", False
