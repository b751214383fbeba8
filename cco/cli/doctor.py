# SPDX-License-Identifier: Apache-2.0
"""`cco doctor`: says what is wrong here, and the command that mends it.

With ``--json``::

    {"status": "ok" | "warn" | "fail", "version",
     "findings": [{"code", "level", "message", "remedy": text or null}],
     "environment": [{"name", "why", "setBy": "cco" | "you"}]}

Exit status 1 where any finding is not ``ok``.
"""

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cco import __version__, paths
from cco.cli.examine import Examination
from cco.cli.findings import Finding, Level
from cco.cli.output import show_json
from cco.cli.service import Service

REASONS: Final[Mapping[str, str]] = {
    "ORCHESTRATOR_ENABLED": "tells hooks and scripts that CCO is there",
    "ORCHESTRATOR_VFS_MOUNT": "where the sealed files are",
    "ORCHESTRATOR_AGENTS": "the sealed agents",
    "ORCHESTRATOR_RULES": "the sealed rules",
    "ORCHESTRATOR_HOOKS": "the sealed hooks",
    "ORCHESTRATOR_MANIFEST": "the checksums of the sealed files",
    "ORCHESTRATOR_API_URL": "the daemon, for hooks and scripts",
    "CCO_SESSION": "the token that opens the files and names the session",
    "ANTHROPIC_BASE_URL": "sends requests through the gateway, under the session's prefix",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "small tasks keep the small model behind a gateway",
    "ENABLE_TOOL_SEARCH": "for Anthropic: tools are searched, as without a gateway, not all sent",
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "for others, and an old Claude Code: keeps a block out that"
    " breaks prompt caching",
    "NO_PROXY": "no proxy between Claude Code and the daemon on this machine",
    "no_proxy": "the same, for programs that ask for this spelling",
}
"""Why a launch sets each variable."""
OFFERED: Final = frozenset(
    {
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ENABLE_TOOL_SEARCH",
        "CLAUDE_CODE_ATTRIBUTION_HEADER",
    }
)
"""Those that are set only where the user has not set them."""

_WORST: Final = (Level.OK, Level.WARN, Level.FAIL)


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run `cco doctor`."""
    uid = os.getuid()
    service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    found = list(Examination(service, environ, uid=uid).run())
    worst = max((one.level for one in found), key=_WORST.index)
    if arguments.json:
        show_json(
            {
                "status": worst,
                "version": __version__,
                "findings": [dataclasses.asdict(one) for one in found],
                "environment": environment(environ),
            }
        )
    else:
        _show(found, environ)
    return os.EX_OK if worst is Level.OK else 1


def environment(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the variables that a launch sets, why, and whose value counts."""
    return [
        {
            "name": name,
            "why": why,
            "setBy": "you" if name in environ and name in OFFERED else "cco",
        }
        for name, why in REASONS.items()
    ]


def _show(found: Sequence[Finding], environ: Mapping[str, str]) -> None:
    for one in found:
        print(f"{one.level:4}  {one.message}")
        if one.remedy:
            print(f"      {one.remedy}")
    print("\nSet for Claude Code by a launch:")
    for row in environment(environ):
        whose = " (yours is kept)" if row["setBy"] == "you" else ""
        print(f"  {row['name']}: {row['why']}{whose}")
