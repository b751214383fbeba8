# SPDX-License-Identifier: Apache-2.0
"""``cco tui``: the dashboard, which comes up whether the daemon runs or not."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cco import configfile, paths
from cco.cli.run import project_of
from cco.cli.service import Service
from cco.client import Client
from cco.errors import RequestError

TIMEOUT_S = 5.0
"""Longest silence of the daemon before it counts as away."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show the dashboard until it is ended."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RequestError(
            "no-terminal",
            "the dashboard needs a terminal",
            hint="For figures on a pipe: cco stats --json",
        )
    # Only here: nothing else of the command line needs what is behind it.
    from cco.tui.app import App, Outside
    from cco.tui.logs import Journal, LogFile, LogReader
    from cco.tui.model import Model

    uid = os.getuid()
    where = paths.locate(environ, uid=uid)
    service = Service(where, environ=environ, uid=uid)
    here = str(project_of(Path(arguments.project or ".")))
    settings = configfile.load(environ, config=where.config).settings

    def open_log() -> LogReader:
        manager = service.manager()
        if manager is None:
            return LogFile(where.log_file)
        return Journal(manager.journal_command(), manager.environ)

    model = Model(
        interval_s=settings.tui.refresh_s,
        project=here if arguments.project else "",
        other_project="" if arguments.project else here,
    )
    outside = Outside(
        client=Client(where.socket, timeout_s=TIMEOUT_S),
        environ=environ,
        open_log=open_log,
        start=service.start,
    )
    App(model, outside).run()
    return os.EX_OK
