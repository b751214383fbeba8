# SPDX-License-Identifier: Apache-2.0
"""The mount process, ``cco-vfs.service``: its life from the checks to the clean unmount.

Ready only after it has read its own files through the kernel. It outlives the daemon: the mount
stays while the daemon is away, and `health` says so. Exit status: 0 after a signal, 69 where
something is not to be had or the mount was taken away, so that the supervisor starts it again.

Threading: the main thread is llfuse's; ``watch`` follows the daemon; ``proof`` reads and reports.
"""

import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from getopt import GetoptError, getopt
from pathlib import Path
from types import FrameType
from typing import Final

from cco import log as logs
from cco.errors import CcoError, Unavailable
from cco.paths import locate
from cco.systemd import Notifier
from cco.vfs import memory, mount, mountpoint
from cco.vfs.figures import Meter
from cco.vfs.source import Source
from cco.vfs.tree import HEALTH

log = logging.getLogger(__name__)

PATIENCE_S: Final = 30.0
"""How long the daemon may take to announce its tree."""

REPORT_EVERY_S: Final = 60.0

MANIFEST: Final = ".manifest"

USAGE: Final = "cco-vfs [--mount PATH] [--patience SECONDS]"

_STOP: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Proof:
    """Reads the mount as a user would, says when it is ready, and reports.

    Args:
        path: of the mount.
        source: takes the reports, and tells when there is something new to read.
        notifier: hears of readiness.
    """

    def __init__(self, path: Path, *, source: Source, notifier: Notifier) -> None:
        self.failure: Unavailable | None = None
        """Why the mount is of no use; the process has been told to stop then."""
        self._path = path
        self._source = source
        self._notifier = notifier

    def start(self) -> None:
        """Begin in a thread, which ends with the process."""
        threading.Thread(target=self._run, name="proof", daemon=True).start()

    def _run(self) -> None:
        meter = Meter(time.monotonic)
        trouble = try_reading(self._path)
        if trouble:
            message = f"the files on {self._path} cannot be read ({trouble})"
            self._fail(Unavailable("mount-unreadable", message, hint="See: cco daemon logs"))
            return
        log.info("mounted on %s", self._path)
        self._notifier.send(f"READY=1\nSTATUS=Mounted on {self._path}")
        while mountpoint.find_mount(self._path) is not None:
            status = {"status": "error", "message": trouble} if trouble else {"status": "ok"}
            try:
                self._source.report({**status, **meter.read()})
            except CcoError as exc:
                log.debug("no report: %s", exc.message)
            self._source.wait_for_news(timeout_s=REPORT_EVERY_S)
            trouble = try_reading(self._path)
        self._fail(_taken(self._path))

    def _fail(self, failure: Unavailable) -> None:
        self.failure = failure
        os.kill(os.getpid(), signal.SIGTERM)


def try_reading(path: Path) -> str:
    """List the mount and read its plain files; return what went wrong, empty for nothing."""
    try:
        os.listdir(path)  # noqa: PTH208 - names only, and all of them at once
        for name in (HEALTH, MANIFEST):
            (path / name).read_bytes()
    except OSError as exc:
        return f"{exc.filename}: {exc.strerror}"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the mount until a signal comes; return the exit status."""
    try:
        options = dict(
            getopt(sys.argv[1:] if argv is None else argv, "", ["mount=", "patience="])[0]
        )
        patience_s = float(options.get("--patience", PATIENCE_S))
    except (GetoptError, ValueError) as exc:
        sys.stderr.write(f"cco-vfs: {exc}\nUsage: {USAGE}\n")
        return 2
    paths = locate(os.environ, uid=os.getuid())
    logs.setup(os.environ, stream=sys.stderr)
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
    memory.limit_heap()
    # What is served must not reach the disk, not even by a crash.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        return _run(
            Path(options.get("--mount", paths.mount)).absolute(),
            paths.socket,
            notifier,
            patience_s=patience_s,
        )
    except CcoError as exc:
        notifier.send(f"STATUS={exc.message}")
        log.error("%s. %s", exc.message, exc.hint or "")
        return os.EX_UNAVAILABLE
    except Exception:
        log.exception("the mount process has failed")
        return os.EX_SOFTWARE


class _Stopped(BaseException):
    """A signal has come while llfuse was not looking after signals."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    _ignore_signals()
    raise _Stopped


def _ignore_signals() -> None:
    for number in _STOP:
        signal.signal(number, signal.SIG_IGN)


def _run(path: Path, socket: Path, notifier: Notifier, *, patience_s: float) -> int:
    """Live between the first check and the removal of the directory."""
    programs = mountpoint.fusermounts(os.environ.get("PATH", ""))
    # Between making the directory and minding it no signal may come.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    for number in _STOP:
        signal.signal(number, _stop)
    try:
        with mountpoint.prepare(path, uid=os.getuid(), programs=programs) as point:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
            source = Source(socket, identity={"pid": os.getpid(), "path": str(point.path)})
            source.start()
            source.wait(timeout_s=patience_s)
            return _serve(point.path, source, notifier)
    except _Stopped:
        return os.EX_OK


def _serve(path: Path, source: Source, notifier: Notifier) -> int:
    """Live while mounted."""
    mount.attach(mount.Files(source, uid=os.getuid(), gid=os.getgid()), path)
    proof = Proof(path, source=source, notifier=notifier)
    try:
        memory.settle()
        proof.start()
        was_told = mount.serve()
    except _Stopped:
        was_told = True
    finally:
        failure = proof.failure  # read before we unmount, which the proof would take for one
        _ignore_signals()
        notifier.send("STOPPING=1")
        mount.detach()
    if failure is not None:
        raise failure
    if not was_told:
        raise _taken(path)
    log.info("unmounted from %s", path)
    return os.EX_OK


def _taken(path: Path) -> Unavailable:
    return Unavailable(
        "mount-taken",
        f"somebody has unmounted {path}",
        hint="It comes back when this process is started again: cco daemon restart",
    )
