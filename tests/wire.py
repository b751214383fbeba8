# SPDX-License-Identifier: Apache-2.0
"""Counts what goes through a Unix socket: a daemon seen from beside."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Counter:
    """The bytes that went through, in both directions, and the connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0
        self.connections = 0

    def add(self, size: int) -> None:
        with self._lock:
            self.total += size

    def connected(self) -> None:
        with self._lock:
            self.connections += 1


@contextmanager
def counted(front: Path, back: Path) -> Iterator[Counter]:
    """Serve at `front` what is served at `back`, and count."""
    counter = Counter()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as far:
                try:
                    far.connect(str(back))
                except OSError:
                    return
                counter.connected()
                up = threading.Thread(target=_pass, args=(self.request, far, counter))
                up.start()
                _pass(far, self.request, counter)
                with suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)
                up.join()

    server = socketserver.ThreadingUnixStreamServer(str(front), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield counter
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        front.unlink(missing_ok=True)


def _pass(source: Any, target: Any, counter: Counter) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            counter.add(len(data))
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
