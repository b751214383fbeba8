# SPDX-License-Identifier: Apache-2.0
"""What a session is told about the team, in words; pure.

Three texts from the same parts: ``CLAUDE.md`` names everybody, the text at the start of a session
leaves that to Claude Code's own list, the one after a compaction holds the least that must be
said again. Claude Code shows of a hook's output at most 10 000 characters.
"""

import re
from collections.abc import Sequence
from typing import Final

from cco.catalog.catalog import PREFIX, Catalog
from cco.catalog.definition import Agent

MAX_STARTUP_BYTES: Final = 9_400
MAX_COMPACT_BYTES: Final = 3_500
"""Leaves room beside it for what is remembered of the session."""

_INTRO: Final = """\
You lead a team of {count} specialised agents. Give a task to one with the Agent tool: the
`subagent_type` is the name in backquotes, the `prompt` is the whole task.
"""
_DELEGATION: Final = """\
- Do what takes a few steps yourself. Delegate what needs a specialist, what reads much and
  reports little, and what others can do meanwhile.
- Take the agent that a rule below names; of several in a rule, the first that fits the task.
"""
_PARALLEL: Final = """\
- Start tasks that do not depend on each other together, as several Agent calls in one message, at
  most {limit} at a time. Tasks that change the same files go one after another.
"""
_SERIAL: Final = """\
- Run one agent at a time, and read its result before you start the next.
"""
_HANDOVER: Final = """\
- An agent sees nothing of this conversation. Tell it the goal, the paths, what is decided already,
  what to leave alone, how to check the result, and what to answer.
- Ask for what was changed (paths), how it was checked (command and outcome) and what is open.
- Check the result yourself before you call it done.
"""
_SHARING: Final = """\
- Pass on what one agent found to those whose task it touches: the facts, not the whole report.
"""
_FULL_LIST: Final = """\
The Agent tool lists all of them. With what they are for, they are also in
`$ORCHESTRATOR_VFS_MOUNT/CLAUDE.md`.
"""
_LINE_END: Final = "\n"
_CUT: Final = "(Shortened. The rest is in `$ORCHESTRATOR_VFS_MOUNT/CLAUDE.md`.)\n"


def claude_md(catalog: Catalog) -> str:
    """Return ``CLAUDE.md``: the whole team and how to work with it, in Markdown."""
    members = [
        f"### {_title(category)}\n\n{''.join(map(_member, agents))}"
        for category, agents in catalog.by_category().items()
    ]
    return "\n".join(
        [
            "# The team of this session\n",
            _intro(catalog),
            _how(catalog),
            *_routes(catalog),
            "## Who is there\n",
            *members,
        ]
    )


def startup_context(catalog: Catalog) -> str:
    """Return what a new session is told, at most `MAX_STARTUP_BYTES`; nothing without agents."""
    if not catalog.agents:
        return ""
    counts = [
        f"{_title(category)} ({len(agents)})" for category, agents in catalog.by_category().items()
    ]
    parts = [
        "# CCO: your team\n",
        _intro(catalog),
        _how(catalog),
        f"Categories: {', '.join(counts)}.\n",
        _FULL_LIST,
        *_routes(catalog),
    ]
    return _cut("\n".join(parts), MAX_STARTUP_BYTES)


def compact_context(catalog: Catalog) -> str:
    """Return what a compacted session is told again, at most `MAX_COMPACT_BYTES`; as above."""
    if not catalog.agents:
        return ""
    parts = ["# CCO: your team is still here\n", _intro(catalog), _FULL_LIST, *_routes(catalog)]
    return _cut("\n".join(parts), MAX_COMPACT_BYTES)


def _intro(catalog: Catalog) -> str:
    return _INTRO.format(count=len(catalog.agents))


def _how(catalog: Catalog) -> str:
    rules = catalog.rules
    parallel = _PARALLEL.format(limit=rules.max_concurrent_agents)
    delegation = _DELEGATION + (parallel if rules.parallel_execution else _SERIAL)
    handover = _HANDOVER + (_SHARING if rules.knowledge_sharing else "")
    return f"## When to delegate\n\n{delegation}\n## How to hand over\n\n{handover}"


def _routes(catalog: Catalog) -> list[str]:
    """Return the section with the rules, or nothing where there are none."""
    lines: list[str] = []
    for task, names in catalog.rules.task_routing.items():
        whom = []
        for name in names:
            group = catalog.rules.groups.get(name)
            whom.append(
                f"{name} ({_called(catalog, group)})" if group else _called(catalog, [name])
            )
        lines.append(f"- {task}: {', '.join(whom)}\n")
    return [f"## Who does what\n\n{''.join(lines)}"] if lines else []


def _called(catalog: Catalog, names: Sequence[str]) -> str:
    return ", ".join(f"`{PREFIX}{catalog.find(name).slug}`" for name in names)


def _member(agent: Agent) -> str:
    return f"- `{PREFIX}{agent.slug}` {agent.name} ({agent.tier}): {agent.description}\n"


def _title(category: str) -> str:
    """Return ``codingAgents`` as ``Coding agents``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", category).lower()
    return words[:1].upper() + words[1:]


def _cut(text: str, limit: int) -> str:
    """Return whole lines of at most `limit` bytes in all; a character is a byte or more."""
    if len(text.encode()) <= limit:
        return text
    room = limit - len(_CUT.encode()) - 1
    head = text.encode()[:room].decode(errors="ignore")
    return f"{head[: head.rfind(_LINE_END) + 1]}\n{_CUT}"
