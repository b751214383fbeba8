# SPDX-License-Identifier: Apache-2.0
"""The supervisor in the background, where systemd is not init: finds it and starts it."""

import contextlib
import fcntl
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cco.errors import CcoError, ConfigError, Unavailable
from cco.paths import Paths

START_S: Final = 60.0
"""Longest wait for a supervisor to be ready."""
SUPERVISE: Final = ("-I", "-m", "cco.daemon.supervise")
READY: Final = b"READY=1\n"
"""The last that a supervisor in the background says to its starter."""

_LOGGED_ERROR: Final = re.compile(
    r"\S+ ERROR cco[\w.]*: (?P<sentence>.+?)(?:\. (?P<remedy>[A-Z].*))?$"
)
"""A line of the log: time, level, logger, a sentence and perhaps what to do."""


class Background:
    """The supervisor of one runtime directory.

    Args:
        paths: of the daemon.
        environ: of the caller, with absolute paths; a supervisor started here inherits it.
    """

    def __init__(self, paths: Paths, environ: Mapping[str, str]) -> None:
        self._paths = paths
        self._environ = environ

    def holder(self) -> int | None:
        """Return the pid of the supervisor that lives here, None where nothing does.

        0 where something else does: what a killed supervisor left, which is about to end, keeps
        its lock.
        """
        try:
            with self._paths.pid_file.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    pid = file.read().strip()
                else:
                    return None
        except OSError:
            return None
        return int(pid) if pid.isdigit() and _is_supervisor(int(pid)) else 0

    @contextlib.contextmanager
    def start_lock(self) -> Iterator[None]:
        """Hold the lock of those who start a daemon; its file is there only meanwhile."""
        path = self._paths.start_lock
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.stat(), os.fstat(fd)):
                    break
            os.close(fd)  # whoever held it before has removed it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def spawn(self) -> None:
        """Start a supervisor; return when it is ready.

        Raises:
            Unavailable: it ended instead, with its own words.
            ConfigError: likewise, because of its settings.
        """
        environ = dict(self._environ)
        environ.pop("NOTIFY_SOCKET", None)  # it is not the supervisor that was asked to be ready
        child = subprocess.Popen(
            [sys.executable, *SUPERVISE, "--background"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environ,
            cwd="/",
            start_new_session=True,
        )
        assert child.stderr is not None
        with child.stderr as pipe:
            said = _read_to_end(pipe.fileno(), timeout_s=START_S)
        if said.endswith(READY):
            child.returncode = 0  # it lives on; it is not ours to wait for
            return
        child.terminate()  # nothing half-made is left of one that took too long
        raise reason(child.wait(), said)


def reason(status: int, said: bytes) -> CcoError:
    """Return why a supervisor ended, in its own words or, failing that, in its log's.

    Args:
        status: its exit status.
        said: what it and its children wrote.
    """
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    kind = ConfigError if status == os.EX_CONFIG else Unavailable
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        if line.startswith("cco: "):
            return kind("daemon-failed", line.removeprefix("cco: "), hint=following.strip() or None)
    for line in lines:
        if found := _LOGGED_ERROR.match(line):
            return kind("daemon-failed", found["sentence"], hint=found["remedy"])
    return kind("daemon-failed", "the daemon did not start", hint="See: cco daemon logs")


def _is_supervisor(pid: int) -> bool:
    try:
        return SUPERVISE[-1].encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _read_to_end(fd: int, *, timeout_s: float) -> bytes:
    """Return what is written to a pipe until nobody can write any more, or for so long."""
    deadline, said = time.monotonic() + timeout_s, b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(fd, 65536)
        if not data:
            break
        said += data
    return said
