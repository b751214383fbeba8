# SPDX-License-Identifier: Apache-2.0
"""Which events of Claude Code CCO answers, and how they reach it; pure.

The hooks file is TOML, one table an event and matcher::

    [[hook]]
    event = "SessionStart"
    matcher = "startup|clear"        may be missing: every case of the event
    transport = "cat"                cat: a command shows a file of the plugin; http: Claude Code
                                     posts; ask: a program posts, for Claude Code would tell of it
    file = "context/startup.md"      with cat only, relative to the plugin
    timeout_s = 5
    compaction = "post"              pre, post, or missing where it has to do with no compaction
    purpose = "One sentence"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from cco.catalog.problem import Findings, nearest
from cco.catalog.tables import Tables

EVENTS: Final = frozenset(
    {
        "PostCompact",
        "PostToolUse",
        "PostToolUseFailure",
        "PreCompact",
        "PreToolUse",
        "SessionEnd",
        "SessionStart",
        "Stop",
        "SubagentStart",
        "SubagentStop",
        "UserPromptSubmit",
    }
)
"""Events that may be handled; one unknown name makes Claude Code drop all hooks of the plugin.

Source: Claude Code 2.1.197; of its events those that were seen to fire and that CCO has a use for.
"""

_FORMS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "event": re.compile("|".join(sorted(EVENTS))),
        "matcher": re.compile(r"[A-Za-z_|.*]{0,100}"),
        "transport": re.compile("cat|http|ask"),
        "file": re.compile(r"(context/[a-z]+\.md)?"),
        "timeout_s": re.compile(r"[1-9]|[1-5][0-9]|60"),
        "compaction": re.compile("(pre|post)?"),
        "purpose": re.compile(r".{1,200}"),
    }
)
_REQUIRED: Final = frozenset({"event", "transport", "timeout_s", "purpose"})


@dataclass(frozen=True, slots=True)
class Hook:
    """One event, or one case of it."""

    event: str
    transport: str
    """cat, http or ask."""
    timeout_s: int
    purpose: str
    matcher: str = ""
    """Regular expression on the case; "" is every case."""
    file: str = ""
    """What `cat` prints; else ""."""
    compaction: str = ""
    """pre, post or ""."""


def parse(text: str, findings: Findings) -> tuple[Hook, ...]:
    """Return the hooks of a file, without those that have a problem."""
    tables = Tables(text, findings)
    rows = tables.data.get("hook", [])
    for name in tables.data.keys() - {"hook"}:
        tables.complain(f"unknown table {name!r}", name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        tables.complain("must be written [[hook]]", "hook")
        return ()
    read = [_hook(tables, row, nth) for nth, row in enumerate(rows)]
    return tuple(hook for hook in read if hook is not None)


def _hook(tables: Tables, row: dict[str, Any], nth: int) -> Hook | None:
    complaints: list[tuple[str, str]] = []
    for key, value in row.items():
        kind = int if key == "timeout_s" else str
        if key not in _FORMS:
            complaints.append((key, f"unknown key {key!r}{nearest(key, _FORMS)}"))
        elif type(value) is not kind or not _FORMS[key].fullmatch(str(value)):
            hint = nearest(str(value), EVENTS) if key == "event" else ""
            complaints.append((key, f"'{key}' cannot be {value!r}{hint}"))
    missing = sorted(_REQUIRED - row.keys())
    complaints += [("", f"the key '{key}' is missing") for key in missing]
    if not complaints:
        is_cat = row["transport"] == "cat"
        if is_cat != ("file" in row):
            complaints.append(("transport", "'file' goes with the transport cat, and only with it"))
        if is_cat != (row["event"] == "SessionStart"):
            complaints.append(("transport", "cat is for SessionStart, http and ask for all else"))
    for key, message in complaints:
        tables.complain(message, "hook", key, nth=nth)
    return None if complaints else Hook(**row)
