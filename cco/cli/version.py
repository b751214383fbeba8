# SPDX-License-Identifier: Apache-2.0
"""`cco version`: scripts ask it often, so it loads nothing of the other commands."""

import argparse
import os
from collections.abc import Mapping

from cco import __version__, build
from cco.cli.output import show_json


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the version and where it was built from."""
    del environ
    made = build.read()
    if arguments.json:
        show_json({"version": __version__, "buildCommit": made.commit, "buildDate": made.date})
    else:
        print(f"cco {__version__} ({made.commit[:12]}, {made.date})")
    return os.EX_OK
