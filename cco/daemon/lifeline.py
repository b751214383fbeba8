# SPDX-License-Identifier: Apache-2.0
"""What ties the processes of one daemon together, so that none outlives the others unnoticed.

A lock says that any of them lives: the supervisor takes it, its children inherit it, and the kernel
drops it with the last of them. And the kernel ends a child whose parent has been killed.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cco.errors import Unavailable

REMAINS_S: Final = 15.0
"""How long what a killed supervisor left may take to end."""
POLL_S: Final = 0.05
LOCK_FD: Final = 64
"""Least number of the lock's descriptor, so that it is in nobody's way in the children."""
SUPERVISOR: Final = b"cco.daemon.supervise"
"""In the command line of every supervisor."""

_PR_SET_PDEATHSIG: Final = 1
"""linux/prctl.h"""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, *4 * [ctypes.c_ulong]]


def end_with_parent(number: signal.Signals, *, parent: int) -> None:
    """Have the kernel send this process a signal when its parent ends, however that happens.

    It holds over execve(2), but for this process alone, not for its children.

    Args:
        number: the signal.
        parent: pid of the parent; if it has ended meanwhile, the signal comes at once.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def hold(path: Path, *, patience_s: float = REMAINS_S) -> Iterator[int]:
    """Hold the lock that says that a daemon lives here; its text is the supervisor's pid.

    Yields the lock's descriptor, for children to inherit. The file is removed at the end.

    Args:
        path: of the lock.
        patience_s: how long the rest of a daemon whose supervisor was killed is waited for.

    Raises:
        Unavailable: another daemon lives here, or the file cannot be made.
    """
    fd = _lock(path, patience_s)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        path.unlink(missing_ok=True)  # while it is locked, so that it is surely ours
        os.close(fd)


def _lock(path: Path, patience_s: float) -> int:
    deadline = time.monotonic() + patience_s
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).strip()
            os.close(fd)
            if is_supervisor(holder) or time.monotonic() > deadline:
                raise _taken(path, holder) from None
            time.sleep(POLL_S)
            continue
        if _is_at(path, fd):
            return fd
        os.close(fd)  # its last holder has removed it meanwhile


def is_supervisor(pid: bytes, *, proc: Path = Path("/proc")) -> bool:
    """Say whether a pid, as the lock's file tells it, is that of a supervisor that lives."""
    try:
        return pid.isdigit() and SUPERVISOR in (proc / pid.decode() / "cmdline").read_bytes()
    except OSError:
        return False


def _open(path: Path) -> int:
    try:
        low = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise Unavailable(
            "runtime-unusable",
            f"the file {path} cannot be made ({exc.strerror})",
            hint=f"Look at the directory: ls -ld {path.parent}",
        ) from exc
    fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, LOCK_FD)
    os.close(low)
    return fd


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _taken(path: Path, holder: bytes) -> Unavailable:
    who = f" (pid {holder.decode()})" if holder.isdigit() else ""
    return Unavailable(
        "already-running",
        f"another CCO daemon{who} lives in {path.parent}",
        hint="See: cco daemon status",
    )
