# SPDX-License-Identifier: Apache-2.0
"""The offline upstream's sockets: one thread a connection, kept alive, ended at once on close.

Only here are sockets and threads; what to answer is decided in `run` and below. A request that was
read to its end leaves its connection usable; one that was not closes it, after the reply, in such
a way that the client can still read the reply.
"""

import hashlib
import http.client
import logging
import secrets
import select
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from cco.errors import RequestError, Unavailable
from cco.offline.body import TOO_LARGE, read_body
from cco.offline.count import Usage
from cco.offline.run import Run
from cco.offline.wire import FOREVER, Reply

log = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came, to the byte."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """In order, with repetitions, spelled as sent."""
    body: bytes
    """Without its transfer coding."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the body, in hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in any spelling of its name."""
        values = (value for key, value in self.headers if key.lower() == name.lower())
        return next(values, None)


class OfflineUpstream:
    """The server in a thread of this process, as a context manager.

    Args:
        host: address to listen on.
        port: 0 picks a free one.
        on_request: gets every complete request before it is answered, from any thread; without it
            they are kept in `requests`.

    Raises:
        Unavailable: nothing can listen there.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_request: Callable[[Recorded], None] | None = None,
    ) -> None:
        self.requests: list[Recorded] = []
        self._run = Run(mark=secrets.token_hex(4))
        try:
            self._server = _Server((host, port), self._run, on_request or self.requests.append)
        except OSError as exc:
            raise Unavailable(
                "offline-port",
                f"the offline upstream cannot listen on {host}:{port}: {exc.strerror}",
                hint="Give another port, or 0 for any free one",
            ) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="cco-offline"
        )

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def usage_by_model(self) -> dict[str, Usage]:
        """What the answers begun report, by requested model; errors and counts report nothing."""
        return self._run.usage

    @property
    def usage_total(self) -> Usage:
        """The sum of `usage_by_model`."""
        return sum(self._run.usage.values(), Usage())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Accepts connections and can end them all."""

    allow_reuse_port = False  # a taken port is an error, whatever the default of this Python
    daemon_threads = False
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], run: Run, on_request: Callable[[Recorded], None]
    ) -> None:
        self.run = run
        self.on_request = on_request
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake every thread that waits on a connection; its connection is then at its end."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.error("A request to the offline upstream failed", exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def _serve(self) -> None:
        try:
            body = read_body(self.rfile, self.headers)
        except RequestError as exc:
            self.send_error(413 if exc.code == TOO_LARGE else 400, exc.message)
            return
        target = self.requestline.split()[1]  # self.path has leading slashes merged
        headers = tuple((name, str(value)) for name, value in self.headers.items())
        self.server.on_request(Recorded(self.command, target, headers, body))
        self._send(self.server.run.handle(self.command, target, body))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a request that was not read to its end, and close."""
        self.close_connection = True
        self.command = self.command or "GET"
        self._send(self.server.run.refuse(code, message or http.client.responses[code]))
        self._linger()

    def _send(self, reply: Reply) -> None:
        chunked = reply.length is None and self.request_version == "HTTP/1.1"
        if reply.length is None and not chunked:
            self.close_connection = True
        pending = self._head(reply, chunked=chunked)
        if reply.cut:
            self.close_connection = True
        for step in reply.steps:
            self._pause(step.pause_s)
            data = b"" if self.command == "HEAD" else step.data
            if chunked and data:
                data = b"%x\r\n%s\r\n" % (len(data), data)
            self.wfile.write(pending + data)
            pending = b""
        if chunked and not reply.cut:
            self.wfile.write(b"0\r\n\r\n")

    def _head(self, reply: Reply, *, chunked: bool) -> bytes:
        lines = [f"HTTP/1.1 {reply.status} {http.client.responses.get(reply.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if reply.length is not None:
            lines.append(f"content-length: {reply.length}")
        if chunked:
            lines.append("transfer-encoding: chunked")
        if self.close_connection:
            lines.append("connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _pause(self, seconds: float) -> None:
        """Wait, unless the connection ends before.

        Raises:
            ConnectionAbortedError: the client left, or the server is closing.
        """
        if seconds > 0.0:
            watch = select.poll()
            watch.register(self.connection, select.POLLRDHUP)
            if watch.poll(None if seconds == FOREVER else seconds * 1000):
                raise ConnectionAbortedError("the connection ended in a pause")

    def _linger(self) -> None:
        """Read on for a while: closing over unread bytes would reset the reply away."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        left = _LINGER_BYTES
        with suppress(TimeoutError):
            while left > 0 and (data := self.connection.recv(65536)):
                left -= len(data)
