# SPDX-License-Identifier: Apache-2.0
"""Calls CCO without a pause while something happens to it, and counts what came of the calls.

``python3 traffic.py SOCKET PORT MOUNT READERS COMMAND...`` runs in the machine. When each caller,
two on the Unix socket, two on the port and so many readers at the mount, has succeeded once, the
command begins; when it has ended and each has succeeded again, they end. One that does not is
waiting for ever, and the exit status says so. What it prints::

    {"unix": {"ok": 812}, "tcp": {"ok": 790}, "mount": {"ok": 90, "ENOTCONN": 3}}
"""

import collections
import errno
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

DEADLINE_S: Final = 30.0
REQUEST: Final = b"GET /api/agents HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n"


def call(family: int, address: object, port: int) -> str:
    """Make one request on a connection of its own; return ``ok`` or what went wrong."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(address)  # type: ignore[arg-type]  # a path or a pair
            sock.sendall(REQUEST % port)
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    status, _, _ = answer.partition(b"\r\n")
    return "ok" if status.startswith(b"HTTP/1.1 200") else status.decode() or "nothing"


def read(mount: Path) -> str:
    """Read a sealed file; return ``ok`` or what went wrong."""
    try:
        return "ok" if (mount / "agents.sealed").read_bytes() else "nothing"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class Caller(threading.Thread):
    """Repeats one kind of call until it is told to stop."""

    def __init__(self, once: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self.counts: collections.Counter[str] = collections.Counter()
        self.has_succeeded = threading.Event()
        self.is_over = threading.Event()
        """The command has ended; the next success is the last call."""
        self._once = once

    def run(self) -> None:
        """Call and count."""
        while True:
            was_over = self.is_over.is_set()
            outcome = self._once()
            self.counts[outcome] += 1
            if outcome == "ok":
                self.has_succeeded.set()
                if was_over:
                    return


def main(argv: list[str]) -> int:
    """Call while a command runs; return its exit status."""
    path, port, mount, readers = argv[0], int(argv[1]), Path(argv[2]), int(argv[3])
    kinds: dict[str, list[Caller]] = {
        "unix": [Caller(lambda: call(socket.AF_UNIX, path, port)) for _ in range(2)],
        "tcp": [Caller(lambda: call(socket.AF_INET, ("127.0.0.1", port), port)) for _ in range(2)],
        "mount": [Caller(lambda: read(mount)) for _ in range(readers)],
    }
    callers = [caller for group in kinds.values() for caller in group]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.has_succeeded.wait(DEADLINE_S)
    status = subprocess.run(argv[4:], check=False).returncode
    for caller in callers:
        caller.is_over.set()
    for caller in callers:
        caller.join(DEADLINE_S)
    counts = {
        kind: sum((caller.counts for caller in group), collections.Counter())
        for kind, group in kinds.items()
    }
    sys.stdout.write(json.dumps(counts))
    return status or sum(caller.is_alive() for caller in callers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
