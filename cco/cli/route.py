# SPDX-License-Identifier: Apache-2.0
"""``cco route``: which agents a task is for, and why."""

import argparse
import os
from collections.abc import Mapping

from cco.cli.commands import serving
from cco.cli.output import show_json, show_table


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show the agents that fit the task, the best first."""
    told = serving(environ).call("POST", "/api/route", {"task": arguments.task})
    agents = told["agents"]
    if arguments.json:
        show_json(told)
    elif agents:
        rows = [(one["slug"], one["score"], one["reason"]) for one in agents]
        show_table(("agent", "score", "because of"), rows)
    else:
        print("no agent fits this task")
    return os.EX_OK
