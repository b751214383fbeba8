# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server whose every byte the test decides: an upstream, or a proxy."""

import contextlib
import itertools
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

DEADLINE_S: Final = 10.0
"""Longest wait of the server itself, so that no test hangs."""


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    connection: int
    """Number of the connection that it came by, from 0."""

    def values(self, name: str) -> list[str]:
        """Return the values of a field, by its name in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


Script = Callable[[Received, socket.socket], bool | None]
"""Writes the answer; False closes the connection, anything else reads the next request."""


def reply(status: str = "200 OK", *fields: str, body: bytes = b"", length: bool = True) -> bytes:
    """Return a response; `fields` are whole lines."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """Return one chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def always(data: bytes) -> Script:
    """Return a script that answers everything with the same bytes."""
    return lambda _, sock: sock.sendall(data)


@dataclass
class RawServer:
    """Reads requests, keeps them, and lets the script answer. Use `serving`."""

    script: Script
    port: int
    received: list[Received] = field(default_factory=list)
    connections: Iterator[int] = field(default_factory=itertools.count)
    opened: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)
    """Set when a client's end of a connection was seen."""
    sockets: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Base URL, for plain HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for_hang_up(self, sock: socket.socket) -> None:
        """Wait until the client has closed its end, and tell the test."""
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass
        self.hung_up.set()

    def serve(self, sock: socket.socket) -> None:
        """Answer the requests of one connection."""
        number = next(self.connections)
        with sock, contextlib.suppress(OSError):
            sock.settimeout(DEADLINE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = sock.recv(65536)
                    if not more:
                        self.hung_up.set()
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                fields = [(k, v) for k, _, v in (line.partition(": ") for line in lines)]
                found = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
                length = int(found[1]) if found else 0
                pieces, have = [data], len(data)
                while have < length:
                    pieces.append(sock.recv(1 << 20))
                    have += len(pieces[-1])
                whole = b"".join(pieces)
                request = Received(method, target, fields, whole[:length], number)
                data = whole[length:]
                self.received.append(request)
                if self.script(request, sock) is False:
                    return


@contextmanager
def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Serve on a free port; everything is closed and joined at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(script, listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def serve(plain: socket.socket) -> None:
        try:
            sock = tls.wrap_socket(plain, server_side=True) if tls else plain
        except OSError:
            plain.close()
            return
        server.sockets.append(sock)
        server.serve(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                plain.settimeout(DEADLINE_S)
                server.opened += 1
                thread = threading.Thread(target=serve, args=(plain,))
                threads.append(thread)
                thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()
        for sock in server.sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
