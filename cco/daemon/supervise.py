# SPDX-License-Identifier: Apache-2.0
"""``python3 -I -m cco.daemon.supervise [--background]``: what `cco daemon run` becomes.

In the foreground everything is written to standard error. In the background it goes to
`Paths.log_file`, and to standard error only until the daemon is ready: the starter reads there
what went wrong.
"""

import contextlib
import faulthandler
import io
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cco import log, paths
from cco.configfile import load
from cco.daemon.ending import give_up
from cco.daemon.logfile import LogFile
from cco.daemon.supervisor import Supervisor
from cco.errors import CcoError
from cco.systemd import Notifier

BACKGROUND: Final = "--background"
READY: Final = b"READY=1\n"
"""The last that the starter hears."""


class Sink(io.StringIO):
    """The background's standard error: the log file, and at first the starter too."""

    def __init__(self, file: LogFile | None) -> None:
        super().__init__()
        self._file = file
        self._starter: int | None = sys.stderr.fileno()
        os.set_blocking(self._starter, False)  # whatever it does, we do not wait for it

    def write(self, text: str) -> int:
        """Take what the supervisor logs."""
        self.take(text.encode())
        return len(text)

    def take(self, data: bytes) -> None:
        """Take what a child wrote."""
        if self._file is not None:
            self._file.write(data, today=datetime.now(UTC).astimezone().date())
        if self._starter is not None:
            with contextlib.suppress(OSError):  # it has gone, or has been told enough
                os.write(self._starter, data)

    def release(self) -> None:
        """Tell the starter that all is ready, and let go of it: it reads until we do."""
        if self._starter is not None:
            with contextlib.suppress(OSError):
                os.write(self._starter, READY)
        self._starter = None
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nowhere, fd)
        os.close(nowhere)


def main(argv: list[str]) -> int:
    """Supervise until told to stop; return the exit status."""
    environ = dict(os.environ)
    try:
        return _run(environ, is_background=BACKGROUND in argv)
    except CcoError as error:
        return give_up(error)


def _run(environ: dict[str, str], *, is_background: bool) -> int:
    uid = os.getuid()
    where = paths.locate(environ, uid=uid)
    settings = load(environ, config=where.config).settings
    paths.make_runtime(where, uid=uid)
    notifier = Notifier(environ.pop("NOTIFY_SOCKET", None))
    sink = Sink(_open_log(where.log_file)) if is_background else None
    log.setup(environ, stream=sink or sys.stderr)

    def on_ready() -> None:
        notifier.send("READY=1\nSTATUS=Serving")
        if sink:
            sink.release()

    return Supervisor(
        where,
        settings,
        environ=environ,
        on_ready=on_ready,
        sink=sink.take if sink else None,
    ).run()


def _open_log(path: Path) -> LogFile | None:
    """Open the log; None where it cannot be written, nor can the ledger, which warns of it."""
    try:
        return LogFile(path)
    except OSError:
        return None


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    sys.exit(main(sys.argv[1:]))
