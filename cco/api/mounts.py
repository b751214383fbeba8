# SPDX-License-Identifier: Apache-2.0
"""The line to the mount: it is told what to show, and says how it is.

The mount holds one connection open and reads a line of JSON whenever something changes; the end
of the connection tells each side at once that the other is gone, without anybody polling.

Threading: all methods may be called from any thread.
"""

import json
import os
import select
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, Final

KEEP_ALIVE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class MountReport:
    """What the mount last said of itself."""

    pid: int
    path: str
    is_serving: bool
    """Whether its own read test passed."""
    message: str
    figures: dict[str, float]
    """``pssBytes``, ``rssBytes``, ``cpuPercent`` as far as it gave them."""


class MountLine:
    """Tells every connected mount what to show."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line = b""
        self._wakers: dict[int, MountReport] = {}
        self._stopping = False
        self.trouble = ""
        """Why the last mount that failed did; empty once one serves."""

    @property
    def report(self) -> MountReport | None:
        """What the connected mount says; None while none is connected."""
        with self._lock:
            return next(reversed(self._wakers.values()), None)

    def show(self, *, generation: str, health: str, entries: list[dict[str, Any]]) -> None:
        """Tell the mounts, at once and whenever one connects."""
        content = {"generation": generation, "health": health, "entries": entries}
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if line != self._line:
                self._line = line
                self._wake()

    def stop(self) -> None:
        """End every connection; the daemon is about to go."""
        with self._lock:
            self._stopping = True
            self._wake()

    def note(self, pid: int, *, is_serving: bool, message: str, figures: dict[str, float]) -> None:
        """Take in what the mount of this pid says of itself."""
        with self._lock:
            self.trouble = "" if is_serving else message
            for waker, report in self._wakers.items():
                if report.pid == pid:
                    self._wakers[waker] = replace(
                        report, is_serving=is_serving, message=message, figures=figures
                    )

    def watch(
        self, connection: socket.socket, *, pid: int, path: str
    ) -> Generator[bytes, None, None]:
        """Yield the lines for one mount until it goes away or the daemon stops."""
        waker = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        report = MountReport(pid, path, is_serving=False, message="starting", figures={})
        with self._lock:
            self._wakers[waker] = report
        try:
            poller = select.poll()
            poller.register(connection, select.POLLRDHUP)
            poller.register(waker, select.POLLIN)
            while True:
                ready = dict(poller.poll(KEEP_ALIVE_S * 1000))
                if connection.fileno() in ready or self._stopping:
                    return
                if waker in ready:
                    os.eventfd_read(waker)
                    yield self._line
                else:
                    yield b"\n"
        finally:
            with self._lock:
                del self._wakers[waker]
                os.close(waker)

    def _wake(self) -> None:
        for waker in self._wakers:
            os.eventfd_write(waker, 1)
