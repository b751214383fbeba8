# SPDX-License-Identifier: Apache-2.0
"""Definitions and catalogues for the tests, right unless told otherwise."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cco.catalog.catalog import Catalog
from cco.catalog.definition import Agent
from cco.catalog.hooks import Hook
from cco.catalog.rules import Rules

FIELDS = MappingProxyType(
    {
        "name": "Chief Architect",
        "type": "system-architect",
        "model": "opus",
        "capabilities": "[architecture, design]",
        "tools": "[Read, Bash]",
        "description": '"Use for design: and trade-offs"',
    }
)
RULES = '[taskRouting]\narchitecture = "Chief Architect"\n'
HOOKS = """\
[[hook]]
event = "SessionStart"
matcher = "startup|clear"
transport = "cat"
file = "context/startup.md"
timeout_s = 5
purpose = "Tells a new session"

[[hook]]
event = "PreCompact"
transport = "http"
timeout_s = 5
compaction = "pre"
purpose = "Marks a compaction"
"""


def make_definition(
    changes: Mapping[str, str | None] = MappingProxyType({}),
    *,
    body: str = "You design.\n",
    **texts: str,
) -> str:
    """Return a definition with other values; one changed to None is left out."""
    fields = {**FIELDS, **changes, **texts}
    lines = [f"{key}: {value}\n" for key, value in fields.items() if value is not None]
    return f"---\n{''.join(lines)}---\n{body}"


def make_agent(**changes: Any) -> Agent:
    """Return an agent; without a slug of its own it has one made of the name."""
    agent = Agent(
        name="Chief Architect",
        slug="chief-architect",
        category="leadership",
        type="system-architect",
        model="opus",
        capabilities=("architecture", "design"),
        tools=("Read", "Bash"),
        description="Use for design: and trade-offs",
        body="You design.\n",
        source="chief-architect.md",
        origin="builtin",
    )
    if "name" in changes:
        changes.setdefault("slug", changes["name"].lower().replace(" ", "-"))
    return replace(agent, **changes)


def make_catalog(*agents: Agent, rules: Rules | None = None, hooks: Sequence[Hook] = ()) -> Catalog:
    """Return a catalogue, of one agent where none is given."""
    return Catalog(agents or (make_agent(),), rules or Rules(), tuple(hooks))


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Write files by their path below `root`, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


def quoted(text: str) -> str:
    """Return a text as a definition quotes it."""
    return json.dumps(text, ensure_ascii=False)
