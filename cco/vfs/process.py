# SPDX-License-Identifier: Apache-2.0
"""The mount process, ``cco-vfs.service``: its life from the checks to the clean unmount.

Ready only after it has read its own files through the kernel. It outlives the daemon: the mount
stays while the daemon is away, and `health` says so. Exit status: 0 after a signal, 69 where
something is not to be had or the mount was taken away, so that the supervisor starts it again.

Threading: the main thread is llfuse's; ``watch`` follows the daemon; ``proof`` reads and reports;
``signal`` waits for signals, which are blocked in all others, and in `fusermount` too. Whichever
thread comes to the end undoes everything and ends the process, without llfuse: its own way out
waits for workers that may have missed their call (1.5.2; one stop in 25 on a busy machine).
"""

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from getopt import GetoptError, getopt
from pathlib import Path
from typing import Final, NoReturn

from cco import fuse
from cco import log as logs
from cco.errors import CcoError
from cco.paths import locate
from cco.systemd import Notifier
from cco.vfs import memory, mount, mountpoint, source
from cco.vfs.mountpoint import MountPoint
from cco.vfs.proof import Proof, taken
from cco.vfs.source import Source

log = logging.getLogger(__name__)

USAGE: Final = "cco-vfs [--mount PATH] [--patience SECONDS]"

PATIENCE_S: Final = 30.0
"""How long the daemon may take to announce its tree."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the mount until it ends; return the exit status."""
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
    memory.limit_heap()
    # What is served must not reach the disk, not even by a crash.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    life = Life(Notifier(os.environ.get("NOTIFY_SOCKET")))
    life.mind_signals()
    try:
        given = options.get("--mount") or source.mount_setting(paths.socket, patience_s=patience_s)
        path = Path(given or paths.mount).absolute()
        _serve(life, path, paths.socket, patience_s=patience_s)
    except CcoError as exc:
        source.tell_failure(paths.socket, exc)
        return life.end(exc)
    except Exception:
        log.exception("the mount process has failed")
        life.end()
        return os.EX_SOFTWARE


class Life:
    """What has to be undone at the end, by whichever thread comes to it first.

    Args:
        notifier: hears of readiness and of the end.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.guard = threading.Lock()
        """Held while something is done that the end must find done or not begun."""
        self.point: MountPoint | None = None
        self._notifier = notifier

    def mind_signals(self) -> None:
        """Block signals in this thread and those to come, and end on the first one."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # llfuse sends it to its workers when they are no longer wanted.
        signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
        threading.Thread(target=self._await_signal, name="signal", daemon=True).start()

    def tell_ready(self, path: Path) -> None:
        """Say that the mount can be used."""
        log.info("mounted on %s", path)
        self._notifier.send(f"READY=1\nSTATUS=Mounted on {path}")

    def end(self, failure: CcoError | None = None) -> int:
        """Unmount and return the exit status; a second thread to come here waits for ever."""
        self.guard.acquire()
        self._notifier.send("STOPPING=1")
        if failure is not None:
            self._notifier.send(f"STATUS={failure.message}")
            log.error("%s. %s", failure.message, failure.hint or "", extra={"CODE": failure.code})
        if self.point is not None:
            self.point.release()
        return os.EX_OK if failure is None else os.EX_UNAVAILABLE

    def exit(self, failure: CcoError | None = None) -> NoReturn:
        """End the process from a thread that is not the main one."""
        os._exit(self.end(failure))

    def _await_signal(self) -> None:
        signal.sigwait(_SIGNALS)
        self.exit()


def _serve(life: Life, path: Path, socket: Path, *, patience_s: float) -> NoReturn:
    """Make the mount and serve it.

    Raises:
        CcoError: something is not to be had, or the mount was taken away.
    """
    programs = fuse.fusermounts(os.environ.get("PATH", ""))
    with life.guard:
        life.point = mountpoint.prepare(path, uid=os.getuid(), programs=programs)
    path = life.point.path
    daemon = Source(socket, identity={"pid": os.getpid(), "path": str(path)})
    daemon.start()
    daemon.wait(timeout_s=patience_s)
    with life.guard:
        mount.attach(mount.Files(daemon, uid=os.getuid(), gid=os.getgid()), path)
    memory.settle()
    Proof(path, source=daemon, on_ready=lambda: life.tell_ready(path), on_failure=life.exit).start()
    mount.serve()
    raise taken(path)
