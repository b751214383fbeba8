# SPDX-License-Identifier: Apache-2.0
"""Keeps API and mount running where systemd is not init: containers, CI.

A fallback, deliberately small. It opens the sockets and passes them on as systemd would, hears
READY=1 as systemd would, starts again what died, with a growing pause, and leaves neither mount
nor socket behind. One thread, one loop.

The lock on `Paths.pid_file` says that a supervisor lives; its text is the pid.
"""

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cco.config import Settings
from cco.daemon import listeners
from cco.errors import Unavailable
from cco.paths import Paths

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 10.0
STEADY_S: Final = 10.0
"""A child that ran this long starts again without a pause."""
STOP_S: Final = 15.0
"""Longest wait for the children at a stop; the API gives its streams ten seconds."""


@dataclass(slots=True)
class Child:
    """One program, running or about to."""

    name: str
    module: str
    with_sockets: bool
    pid: int = 0
    is_ready: bool = False
    started_s: float = 0.0
    pause_s: float = PAUSE_S
    due_s: float = 0.0
    """When to start it, while it does not run."""
    status: int = 0
    """How it last ended, as a shell would say it."""
    notify: socket.socket = field(default_factory=lambda: _datagram_socket())
    output: int = -1
    """Read end of its standard error, -1 where it writes to ours."""


class Supervisor:
    """Runs the two programs until told to stop.

    Args:
        paths: of this daemon.
        settings: for the HTTP listener and the mount point.
        environ: passed on to the children.
        on_ready: called once, when both are ready.
        sink: takes what the children write to standard error; None leaves them ours.
    """

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        on_ready: Callable[[], None],
        sink: Callable[[bytes], None] | None,
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._environ = dict(environ)
        self._on_ready = on_ready
        self._sink = sink
        self._children = [
            Child("API", "cco.daemon", with_sockets=True),
            Child("mount", "cco.vfs", with_sockets=False),
        ]
        self._selector = selectors.DefaultSelector()
        self._was_ready = False
        self._stop_s: float | None = None
        self._exit_status = os.EX_OK

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; return the exit status.

        Raises:
            Unavailable: another daemon runs here, or a socket cannot be had.
        """
        with contextlib.ExitStack() as undo:
            undo.enter_context(_pid_lock(self._paths.pid_file))
            self._sockets = listeners.open_all(self._paths, self._settings.server)
            undo.callback(self._paths.socket.unlink, missing_ok=True)
            undo.callback(self._sockets.close)
            undo.callback(self._clean_mount)
            undo.enter_context(self._signals())
            for child in self._children:
                self._bind_notify(child)
                undo.callback(self._unbind_notify, child)
            self._loop()
        return self._exit_status

    def _loop(self) -> None:
        while self._stop_s is None or any(child.pid for child in self._children):
            now = time.monotonic()
            for child in self._children:
                if not child.pid and self._stop_s is None and child.due_s <= now:
                    self._start(child)
            if self._stop_s is not None and now > self._stop_s:
                self._kill_all(signal.SIGKILL)
            for key, _ in self._selector.select(self._timeout(now)):
                key.data()
            self._reap()

    def _timeout(self, now: float) -> float | None:
        """Return how long nothing can be due."""
        due = [child.due_s for child in self._children if not child.pid]
        if self._stop_s is not None:
            due = [self._stop_s]
        return max(0.0, min(due) - now) if due else None

    def _start(self, child: Child) -> None:
        read_end, write_end = os.pipe() if self._sink else (-1, -1)
        child.started_s, child.is_ready = time.monotonic(), False
        child.pid = os.fork()
        if child.pid == 0:
            self._become(child, write_end)
        if self._sink:
            os.close(write_end)
            child.output = read_end
            self._selector.register(
                read_end, selectors.EVENT_READ, lambda: self._take_output(child)
            )

    def _become(self, child: Child, write_end: int) -> None:
        """Turn this forked process into the child; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            if write_end >= 0:
                os.dup2(write_end, 1)
                os.dup2(write_end, 2)
            environ = {**self._environ, "NOTIFY_SOCKET": child.notify.getsockname()}
            if child.with_sockets:
                environ |= listeners.hand_over(self._sockets)
            command = [sys.executable, "-I", "-m", child.module]
            os.execve(command[0], command, environ)
        finally:
            os._exit(os.EX_OSERR)

    def _reap(self) -> None:
        for child in self._children:
            if not child.pid:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, status: int) -> None:
        child.pid, child.status = 0, status
        if child.output >= 0:
            self._take_output(child)
        if self._stop_s is not None:
            return
        if not self._was_ready or status == os.EX_CONFIG:
            # Nothing that starting again would mend: tell whoever waits.
            self._exit_status = status if status > 0 else os.EX_UNAVAILABLE
            self._stop()
            return
        ran_s = time.monotonic() - child.started_s
        child.pause_s = PAUSE_S if ran_s > STEADY_S else min(child.pause_s * 2, MAX_PAUSE_S)
        child.due_s = time.monotonic() + child.pause_s
        log.warning("the %s ended with status %d; it starts again", child.name, status)

    def _take_output(self, child: Child) -> None:
        data = os.read(child.output, 65536) if child.output >= 0 else b""
        if data and self._sink:
            self._sink(data)
        elif child.output >= 0:
            self._selector.unregister(child.output)
            os.close(child.output)
            child.output = -1

    def _take_notice(self, child: Child) -> None:
        with contextlib.suppress(BlockingIOError):
            if b"READY=1" not in child.notify.recv(4096).split(b"\n"):
                return
            child.is_ready = True
        if all(one.is_ready for one in self._children) and not self._was_ready:
            self._was_ready = True
            log.info("serving")
            self._on_ready()

    def _take_signal(self) -> None:
        for number in self._wakeup.recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP and self._children[0].pid:
                os.kill(self._children[0].pid, signal.SIGHUP)

    def _stop(self) -> None:
        if self._stop_s is None:
            self._stop_s = time.monotonic() + STOP_S
            self._kill_all(signal.SIGTERM)

    def _kill_all(self, number: int) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into bytes that the loop reads."""
        self._wakeup, write_end = socket.socketpair()
        for sock in (self._wakeup, write_end):
            sock.settimeout(0)
        signal.set_wakeup_fd(write_end.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._take_signal)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            self._selector.close()
            self._wakeup.close()
            write_end.close()

    def _bind_notify(self, child: Child) -> None:
        path = self._paths.runtime / f"cco-{child.module.rpartition('.')[2]}.notify"
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            child.notify.bind(str(path))
        finally:
            os.umask(before)
        self._selector.register(
            child.notify, selectors.EVENT_READ, lambda: self._take_notice(child)
        )

    def _unbind_notify(self, child: Child) -> None:
        Path(child.notify.getsockname()).unlink(missing_ok=True)
        child.notify.close()

    def _clean_mount(self) -> None:
        """Remove what a killed mount left; one that ended by itself left nothing."""
        mount = Path(self._settings.vfs.mount or self._paths.mount)
        if os.path.lexists(mount):
            command = ["fusermount", "-u", "-z", "-q", str(mount)]
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
            with contextlib.suppress(OSError):
                mount.rmdir()


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(0)
    return sock


@contextlib.contextmanager
def _pid_lock(path: Path) -> Iterator[None]:
    """Hold the lock that says that a supervisor lives here."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Unavailable(
                "already-running",
                f"another CCO daemon holds {path}",
                hint="See: cco daemon status",
            ) from exc
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
