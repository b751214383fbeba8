# SPDX-License-Identifier: Apache-2.0
"""Has the mount read as a user would, through the kernel, and tells the daemon how it went.

Once before the process calls itself ready, then whenever the daemon announces something, and once
a minute. Another process does the reading: a thread of ours that waits for our own answer could not
be killed, and would keep the mount, and with it itself, for ever.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cco.errors import CcoError, Unavailable
from cco.meter import Meter
from cco.vfs.mountpoint import find_mount
from cco.vfs.source import Source
from cco.vfs.tree import HEALTH

log = logging.getLogger(__name__)

EVERY_S: Final = 60.0

MANIFEST: Final = ".manifest"

_SCRIPT: Final = 'ls -A -- "$0" && exec cat -- "$@"'


class Proof:
    """Proves that a mount works.

    Args:
        path: of the mount.
        source: takes the reports, and tells when there is something new to read.
        on_ready: called after the first success.
        on_failure: called when the mount is of no use; nothing happens after it.
    """

    def __init__(
        self,
        path: Path,
        *,
        source: Source,
        on_ready: Callable[[], None],
        on_failure: Callable[[CcoError], None],
    ) -> None:
        self._path = path
        self._source = source
        self._on_ready = on_ready
        self._on_failure = on_failure

    def start(self) -> None:
        """Begin in a thread, which ends with the process."""
        threading.Thread(target=self._run, name="proof", daemon=True).start()

    def _run(self) -> None:
        meter = Meter()
        trouble = try_reading(self._path)
        if trouble:
            message = f"the files on {self._path} cannot be read ({trouble})"
            self._on_failure(Unavailable("mount-unreadable", message, hint="See: cco daemon logs"))
            return
        # The daemon first: whoever waits for readiness may ask it at once.
        self._report(meter)
        self._on_ready()
        while find_mount(self._path) is not None:
            self._source.wait_for_news(timeout_s=EVERY_S)
            self._report(meter, trouble=try_reading(self._path))
        self._on_failure(taken(self._path))

    def _report(self, meter: Meter, *, trouble: str = "") -> None:
        status = {"status": "error", "message": trouble} if trouble else {"status": "ok"}
        try:
            self._source.report({**status, **meter.read()})
        except CcoError as exc:
            log.debug("no report: %s", exc.message)


def try_reading(path: Path) -> str:
    """List a directory and read the plain files; return what went wrong, empty for nothing."""
    read_end, write_end = os.pipe()
    with open(read_end, encoding="utf-8", errors="replace") as complaints:  # noqa: PTH123
        pid = os.posix_spawn(
            "/bin/sh",
            ["sh", "-c", _SCRIPT, str(path), f"{path}/{HEALTH}", f"{path}/{MANIFEST}"],
            {"PATH": os.defpath, "LC_ALL": "C"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, write_end, 2),
            ],
            setsigmask=[],
        )
        os.close(write_end)
        complaint = complaints.readline().strip()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return complaint or (f"exit status {status}" if status else "")


def taken(path: Path) -> Unavailable:
    """Return the error of a mount that somebody else has ended."""
    return Unavailable(
        "mount-taken",
        f"somebody has unmounted {path}",
        hint="It comes back when this process is started again: cco daemon restart",
    )
