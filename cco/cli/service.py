# SPDX-License-Identifier: Apache-2.0
"""Controls the daemon: through systemd where it has our units, else by itself.

Whoever finds no daemon starts one under a lock, so that a hundred at once start one.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cco import units
from cco.client import Client
from cco.errors import CcoError, ConfigError, Unavailable
from cco.paths import Paths, make_runtime

START_S: Final = 60.0
"""Longest wait for a daemon to serve."""
STOP_S: Final = 25.0
SUPERVISE: Final = ("-I", "-m", "cco.daemon.supervise")


class Service:
    """The daemon of one user.

    Args:
        paths: where it is.
        environ: of the caller; the daemon inherits it where it is not a unit.
        uid: of the user.
    """

    def __init__(self, paths: Paths, *, environ: Mapping[str, str], uid: int) -> None:
        self.paths = paths
        self.client = Client(paths.socket)
        self._environ = environ
        self._uid = uid

    def health(self) -> dict[str, Any] | None:
        """Return the daemon's health, serving or not; None where none runs."""
        try:
            reply = self.client.request("GET", "/health")
        except Unavailable as error:
            if error.code == "daemon-unavailable":
                return None
            raise
        if reply.status not in (200, 503):
            raise Unavailable("daemon-garbled", f"{self.paths.socket} is not served by CCO")
        told: dict[str, Any] = reply.json()
        return told

    def ensure(self) -> dict[str, Any]:
        """Return the health of a daemon that serves, started if need be.

        Raises:
            Unavailable: it does not come up, with its own reason.
            ConfigError: its settings cannot be used.
        """
        health = self.health()
        if health is not None and health["status"] == "ok":
            return health
        if health is None:
            self.start()
        return self.wait_until_ok()

    def start(self) -> bool:
        """Start the daemon and wait until it serves; return False if it did already.

        Raises:
            Unavailable: it does not come up, with its own reason.
            ConfigError: its settings cannot be used.
        """
        manager = units.find(self._environ, uid=self._uid)
        if manager is None:
            make_runtime(self.paths, uid=self._uid)
        with self._start_lock(needed=manager is None):
            if self.health() is not None:
                return False
            if manager is None:
                self._spawn()
            else:
                manager.run("start", units.SERVICE, *units.SOCKETS)
        self.wait_until_ok()
        return True

    def wait_until_ok(self) -> dict[str, Any]:
        """Wait until daemon and mount serve.

        Raises:
            Unavailable: they do not in time; says what is missing.
        """
        deadline = time.monotonic() + START_S
        while True:
            health = self.health()
            if health is not None and health["status"] == "ok":
                return health
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if health is None:
            raise Unavailable(
                "daemon-unavailable", "the daemon did not come up", hint="See: cco daemon logs"
            )
        raise Unavailable(
            "daemon-ailing",
            f"the mount is not there ({health['vfs']['status']})",
            hint="See: cco daemon logs",
        )

    def stop(self) -> bool:
        """Stop daemon, sockets and mount; return False if nothing ran.

        Raises:
            Unavailable: it does not stop, or it was started by other means.
        """
        manager = units.find(self._environ, uid=self._uid)
        if manager is not None and any(
            state in ("active", "activating") for state in manager.states().values()
        ):
            manager.run("stop", *units.SOCKETS, units.SERVICE, units.MOUNT)
            return True
        pid = self.supervisor()
        if pid is None:
            return False
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            if not select.select([fd], [], [], STOP_S)[0]:
                raise Unavailable("stop-failed", f"the daemon (pid {pid}) does not stop")
        finally:
            os.close(fd)
        return True

    def reload(self) -> None:
        """Make the daemon read its settings and agents again.

        Raises:
            Unavailable: none runs.
        """
        manager = units.find(self._environ, uid=self._uid)
        if manager is not None:
            manager.run("reload", units.SERVICE)
        elif pid := self.supervisor():
            os.kill(pid, signal.SIGHUP)
        else:
            raise Unavailable(
                "daemon-unavailable", "no CCO daemon runs", hint="Start it: cco daemon start"
            )

    def supervisor(self) -> int | None:
        """Return the pid of the supervisor that runs here, None where none does."""
        try:
            with self.paths.pid_file.open(encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read() or 0) or None
                return None
        except OSError:
            return None

    def manager(self) -> units.Manager | None:
        """Return the service manager that runs the daemon, if one has our units."""
        return units.find(self._environ, uid=self._uid)

    def _spawn(self) -> None:
        """Start the supervisor in the background; return when it is ready.

        Raises:
            Unavailable: it ended instead, with its own words.
            ConfigError: likewise, because of its settings.
        """
        with _notify_socket(self.paths.runtime / "cco-start.notify") as (notify, address):
            child = subprocess.Popen(
                [sys.executable, *SUPERVISE, "--background"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**self._environ, "NOTIFY_SOCKET": address},
                cwd="/",
                start_new_session=True,
            )
            said = child.stderr
            assert said is not None
            ended = os.pidfd_open(child.pid)
            try:
                ready, _, _ = select.select([notify.fileno(), ended], [], [], START_S)
                if notify.fileno() in ready:
                    child.returncode = 0  # it lives on; it is not ours to wait for
                    return
                raise _reason(child, said.read() if ready else b"")
            finally:
                os.close(ended)
                said.close()

    @contextlib.contextmanager
    def _start_lock(self, *, needed: bool) -> Iterator[None]:
        if not needed:  # systemd has locks of its own
            yield
            return
        fd = os.open(self.paths.start_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


@contextlib.contextmanager
def _notify_socket(path: Path) -> Iterator[tuple[socket.socket, str]]:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        try:
            yield sock, str(path)
        finally:
            path.unlink(missing_ok=True)


def _reason(child: "subprocess.Popen[bytes]", said: bytes) -> CcoError:
    """Return why the supervisor ended, in its own words."""
    status = child.wait() if said or child.poll() is not None else None
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    at = next((n for n, line in enumerate(lines) if line.startswith("cco: ")), None)
    kind = ConfigError if status == os.EX_CONFIG else Unavailable
    if at is None:
        return kind("daemon-failed", "the daemon did not start", hint="See: cco daemon logs")
    hint = lines[at + 1].strip() if at + 1 < len(lines) else None
    return kind("daemon-failed", lines[at].removeprefix("cco: "), hint=hint)
