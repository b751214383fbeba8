# SPDX-License-Identifier: Apache-2.0
"""Keeps API and mount running where systemd is not init: containers, CI.

A fallback, deliberately small. It opens the sockets and passes them on as systemd would, hears
READY=1 as systemd would, starts again what died, with a growing pause, and leaves neither mount
nor socket behind, not even where it is killed. One thread, one loop.
"""

import contextlib
import errno
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
from cco.daemon import lifeline, listeners
from cco.paths import Paths

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.2
MAX_PAUSE_S: Final = 10.0
STEADY_S: Final = 10.0
"""A child that ran this long starts again without a pause."""
STOP_S: Final = 15.0
"""Longest wait for the children at a stop; the API gives its streams ten seconds."""
DEAD: Final = (errno.ENOTCONN, errno.ECONNABORTED)
"""How a mount answers whose process was killed."""


@dataclass(slots=True)
class Child:
    """One program, running or about to."""

    name: str
    command: tuple[str, ...]
    """What Python is to run: ``-m`` and behind it."""
    orphan_signal: signal.Signals
    """What ends it where we are killed."""
    with_sockets: bool = False
    pid: int = 0
    is_ready: bool = False
    started_s: float = 0.0
    pause_s: float = PAUSE_S
    due_s: float = 0.0
    """When to start it, while it does not run."""
    status: int = 0
    """How it last ended, as a shell would say it."""
    notify: socket.socket = field(default_factory=lambda: _datagram_socket())


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
        self._mount = Path(settings.vfs.mount or paths.mount)
        self._children = [
            # Killed, for its streams would keep a new daemon waiting; the mount has to unmount.
            Child("API", ("cco.daemon",), signal.SIGKILL, with_sockets=True),
            Child("mount", ("cco.vfs", "--mount", str(self._mount)), signal.SIGTERM),
        ]
        self._outputs: set[int] = set()
        """Read ends of what children write, living or not, to standard error."""
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
            self._lock = undo.enter_context(lifeline.hold(self._paths.pid_file))
            self._sockets = listeners.open_all(self._paths, self._settings.server)
            undo.callback(self._close_sockets)
            undo.callback(self._clean_mount)
            undo.enter_context(self._signals())
            for child in self._children:
                self._bind_notify(child)
                undo.callback(self._unbind_notify, child)
            undo.callback(self._end_children)
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
        us = os.getpid()
        child.pid = os.fork()
        if child.pid == 0:
            self._become(child, write_end, parent=us)
        if self._sink:
            os.close(write_end)
            os.set_blocking(read_end, False)
            self._outputs.add(read_end)
            self._selector.register(
                read_end, selectors.EVENT_READ, lambda: self._take_output(read_end)
            )

    def _become(self, child: Child, write_end: int, *, parent: int) -> None:
        """Turn this forked process into the child; never returns."""
        try:
            os.setsid()  # away from the terminal: a ^C there is for us, who stop it in good order
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            lifeline.end_with_parent(child.orphan_signal, parent=parent)
            os.set_inheritable(self._lock, True)  # noqa: FBT003
            if write_end >= 0:
                os.dup2(write_end, 1)
                os.dup2(write_end, 2)
            environ = {**self._environ, "NOTIFY_SOCKET": child.notify.getsockname()}
            if child.with_sockets:
                environ |= listeners.hand_over(self._sockets)
            command = [sys.executable, "-I", "-m", *child.command]
            os.execve(command[0], command, environ)
        finally:
            os._exit(os.EX_OSERR)

    def _reap(self) -> None:
        """Take note of what has ended; in a container it may be others' orphans, too."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for child in self._children:
                    if child.pid == ended[0]:
                        self._ended(child, os.waitstatus_to_exitcode(ended[1]))

    def _ended(self, child: Child, status: int) -> None:
        child.pid, child.status = 0, status
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

    def _take_output(self, fd: int) -> None:
        """Pass on all that has been written to one of the pipes so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, 65536):
                if self._sink:
                    self._sink(data)
            self._outputs.discard(fd)
            self._selector.unregister(fd)
            os.close(fd)

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
            self._close_sockets()  # nobody shall wait for an answer that will not come
            self._kill_all(signal.SIGTERM)

    def _kill_all(self, number: int) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, number)

    def _end_children(self) -> None:
        """Wait for nobody: whoever still runs here would run on for ever."""
        self._kill_all(signal.SIGKILL)
        for child in self._children:
            if child.pid:
                os.waitpid(child.pid, 0)
        for fd in list(self._outputs):
            self._take_output(fd)

    def _close_sockets(self) -> None:
        self._sockets.close()
        self._paths.socket.unlink(missing_ok=True)

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
        path = self._paths.runtime / f"cco-{child.name.lower()}.notify"
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
        """Remove what a killed mount process left; one that ended by itself left nothing of it."""
        if self._children[-1].status >= 0:
            return
        try:
            os.statvfs(self._mount)  # stat(2) may be answered from memory
        except OSError as exc:
            if exc.errno in DEAD:
                command = ["fusermount", "-u", "-z", "-q", str(self._mount)]
                with contextlib.suppress(OSError):
                    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
        with contextlib.suppress(OSError):
            self._mount.rmdir()


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(0)
    return sock
