# SPDX-License-Identifier: Apache-2.0
"""``cco tui``: the dashboard, which comes up whether the daemon runs or not."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cco import configfile, paths
from cco.cli.run import project_of
from cco.errors import RequestError

DASHBOARD: Final = ("-I", "-m", "cco.tui")
DUMB: Final = (None, "", "dumb")
"""Terminals that show where to put the cursor instead of putting it there."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Become the dashboard."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise RequestError(
            "no-terminal",
            "the dashboard needs a terminal",
            hint="For figures on a pipe: cco stats --json",
        )
    if environ.get("TERM") in DUMB:
        raise RequestError(
            "no-terminal",
            f"this terminal cannot show a dashboard (TERM is '{environ.get('TERM', '')}')",
            hint="For figures as plain text: cco stats",
        )
    directory = paths.locate(environ, uid=os.getuid()).config
    settings = configfile.load(environ, config=directory).settings
    here = str(project_of(Path(arguments.project or ".")))
    projects = (here, "") if arguments.project else ("", here)
    command = [sys.executable, *DASHBOARD, str(settings.tui.refresh_s), *projects]
    os.execve(command[0], command, dict(environ))
