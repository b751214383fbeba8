# SPDX-License-Identifier: Apache-2.0
"""The dashboard as a process of its own: ``python3 -I -m cco.tui SECONDS PROJECT OTHER``.

The command `cco tui` reads what people give it and becomes this, for what the command line has
loaded by then would be a tenth of the dashboard's memory for as long as it is open.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from cco import __version__
from cco.client import Client
from cco.errors import Unavailable
from cco.paths import Paths, locate
from cco.tui.app import App, Outside
from cco.tui.logs import Journal, LogFile, LogReader
from cco.tui.model import Model

TIMEOUT_S: Final = 5.0
"""Longest silence of the daemon before it counts as away."""
START: Final = ("-I", "-m", "cco", "daemon", "start")
INTERRUPTED: Final = 130


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Show the dashboard until it is ended.

    Args:
        argv: seconds between refreshes; the project that is looked at, and the one that its key
            changes to, either of them empty for all.
        environ: of the process.
    """
    interval, project, other = argv
    paths = locate(environ, uid=os.getuid())
    outside = Outside(
        client=Client(paths.socket, timeout_s=TIMEOUT_S),
        environ=environ,
        open_log=lambda: open_log(paths, environ),
        start=lambda: start([sys.executable, *START], environ),
    )
    model = Model(
        version=__version__, interval_s=float(interval), project=project, other_project=other
    )
    app = App(model, outside)
    signal.signal(signal.SIGTERM, lambda *_: app.end())  # with the terminal as it was
    try:
        app.run()
    except KeyboardInterrupt:
        return INTERRUPTED
    return os.EX_OK


def open_log(paths: Paths, environ: Mapping[str, str]) -> LogReader:
    """Return the daemon's log: the journal where systemd runs it, else its file."""
    from cco import units  # only for those who look at the log

    manager = units.find(environ, uid=os.getuid(), is_system=paths.is_system)
    if manager is None:
        return LogFile(paths.log_file)
    return Journal(manager.journal_command(), manager.environ)


def start(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Start the daemon by the command that people have for it.

    Raises:
        Unavailable: it does not come up, in the command's own words.
    """
    done = subprocess.run(
        list(command),
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sentence, _, hint = done.stderr.strip().removeprefix("cco: ").partition("\n")
        raise Unavailable(
            "start-failed",
            sentence or f"the daemon did not start (status {done.returncode})",
            hint=hint.strip() or None,
        )
