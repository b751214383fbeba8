# SPDX-License-Identifier: Apache-2.0
"""The catalogue as JSON documents and as a plugin of Claude Code; pure, equal bytes each time.

What it says to a session in words comes from `cco.catalog.brief`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from cco.catalog import asking
from cco.catalog.brief import claude_md, compact_context, startup_context
from cco.catalog.catalog import PREFIX, Catalog
from cco.catalog.definition import Agent
from cco.catalog.hooks import Hook

__all__ = [
    "agent_path",
    "agents_document",
    "claude_md",
    "compact_context",
    "hooks_document",
    "plugin_files",
    "plugin_manifest",
    "rules_document",
    "session_hooks",
    "startup_context",
]

SESSION_VARIABLE: Final = "CCO_SESSION"
"""Environment variable with the session's token; Claude Code puts it into the hooks' header."""
MANIFEST: Final = ".claude-plugin/plugin.json"
"""Path in the plugin of the file that lists its agents: those that Claude Code loads."""
_DESCRIPTION: Final = "The agents and hooks of CCO"


def agents_document(catalog: Catalog) -> dict[str, Any]:
    """Return what ``agents.sealed`` holds.

    ::

        {"leadership": [{"name", "slug", "type", "model", "capabilities", "tools",
                         "description", "instructions"}, …], "codingAgents": […], …}
    """
    return {
        category: [_agent_row(agent) for agent in agents]
        for category, agents in catalog.by_category().items()
    }


def rules_document(catalog: Catalog) -> dict[str, Any]:
    """Return what ``orchestrator.sealed`` holds.

    ::

        {"rules": {"taskRouting": {"architecture": "Chief Architect", "testing": […], …},
                   "coordination": {"parallelExecution", "maxConcurrentAgents",
                                    "knowledgeSharing"}}}

    A single name is a text, several are a list.
    """
    rules = catalog.rules
    return {
        "rules": {
            "taskRouting": {key: _one_or_list(names) for key, names in rules.task_routing.items()},
            "coordination": {
                "parallelExecution": rules.parallel_execution,
                "maxConcurrentAgents": rules.max_concurrent_agents,
                "knowledgeSharing": rules.knowledge_sharing,
            },
        }
    }


def hooks_document(catalog: Catalog) -> dict[str, Any]:
    """Return what ``hooks.sealed`` holds.

    ::

        {"hooks": {"PreCompact": [{"transport": "http", "timeoutSeconds": 5, "purpose": "…",
                                   "compaction": "pre"}],
                   "SessionStart": [{"matcher", "transport": "cat", "file", …}, …], …}}

    `matcher`, `file` and `compaction` are there where they say something.
    """
    return {"hooks": _by_event(catalog.hooks, _hook_row)}


def plugin_files(catalog: Catalog, *, version: str, hooks_url: str) -> dict[str, bytes]:
    """Return the files of the plugin by their path in it, sorted.

    What ``context/`` holds differs between sessions and is not among them.

    Args:
        catalog: what to show.
        version: of CCO.
        hooks_url: ``http://host:port/path`` that takes an event's name after a slash.

    Raises:
        ValueError: `hooks_url` is no such URL: Claude Code would drop every hook without a word.
    """
    url = urlsplit(hooks_url)
    if url.scheme != "http" or not url.hostname or url.query or url.fragment or "$" in hooks_url:
        raise ValueError(f"not a URL for hooks: {hooks_url!r}")
    url_of_hooks = hooks_url.rstrip("/")
    hooks = [hook for hook in catalog.hooks if hook.transport == "http"]
    plugged = _by_event(hooks, lambda hook: _posted(hook, url_of_hooks))
    made = {
        MANIFEST: plugin_manifest(catalog, version=version).encode(),
        "hooks/hooks.json": _json({"hooks": plugged}),
        asking.PATH: asking.program(hooks_url).encode(),
    }
    made |= {agent_path(agent): _plugin_agent(agent) for agent in catalog.agents}
    return dict(sorted(made.items()))


def plugin_manifest(catalog: Catalog, *, version: str) -> str:
    """Return the plugin's `MANIFEST`, which names the file of every agent."""
    manifest = {
        "name": PREFIX.removesuffix(":"),
        "version": version,
        "description": _DESCRIPTION,
        "author": {"name": "CCO developers"},
        # Each file by itself: its name is then flat, ``cco:<slug>``, whatever folder it is in.
        "agents": [f"./{path}" for path in sorted(map(agent_path, catalog.agents))],
    }
    return _json(manifest).decode()


def agent_path(agent: Agent) -> str:
    """Return the path of an agent's file in the plugin."""
    return f"agents/{agent.category}/{agent.slug}.md"


def _agent_row(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "slug": agent.slug,
        "type": agent.type,
        "model": agent.model,
        "capabilities": list(agent.capabilities),
        "tools": list(agent.tools),
        "description": agent.description,
        "instructions": agent.body,
    }


def _one_or_list(names: Sequence[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)


def _by_event(
    hooks: Sequence[Hook], row: Callable[[Hook], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each event, events sorted, rows in the order of the file."""
    found: dict[str, list[dict[str, Any]]] = {hook.event: [] for hook in hooks}
    for hook in hooks:
        found[hook.event].append(row(hook))
    return dict(sorted(found.items()))


def _hook_row(hook: Hook) -> dict[str, Any]:
    row = {
        "matcher": hook.matcher,
        "transport": hook.transport,
        "file": hook.file,
        "timeoutSeconds": hook.timeout_s,
        "compaction": hook.compaction,
        "purpose": hook.purpose,
    }
    return {key: value for key, value in row.items() if value != ""}


def session_hooks(catalog: Catalog) -> dict[str, Any]:
    """Return the hooks that are in a session's settings, as Claude Code reads them there.

    All that run a command: of one in a plugin whose mount is gone Claude Code would tell its user.
    """
    hooks = [hook for hook in catalog.hooks if hook.transport != "http"]
    return _by_event(hooks, _run)


def _run(hook: Hook) -> dict[str, Any]:
    is_cat = hook.transport == "cat"
    command = asking.show_command(hook.file) if is_cat else asking.command(hook.event)
    return _hook_entry(hook, {"type": "command", "command": command})


def _posted(hook: Hook, hooks_url: str) -> dict[str, Any]:
    action = {
        "type": "http",
        "url": f"{hooks_url}/{hook.event}",
        "headers": {"x-cco-session": f"${{{SESSION_VARIABLE}}}"},
        "allowedEnvVars": [SESSION_VARIABLE],
    }
    return _hook_entry(hook, action)


def _hook_entry(hook: Hook, action: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"matcher": hook.matcher} if hook.matcher else {}
    return {**entry, "hooks": [{**action, "timeout": hook.timeout_s}]}


def _plugin_agent(agent: Agent) -> bytes:
    head: Mapping[str, str] = {
        "name": agent.slug,
        "description": json.dumps(agent.description, ensure_ascii=False),
        "model": agent.tier,
        "tools": ", ".join(agent.tools),
    }
    lines = [f"{key}: {value}\n" for key, value in head.items()]
    return f"---\n{''.join(lines)}---\n{agent.body}".encode()


def _json(value: Any) -> bytes:
    return f"{json.dumps(value, ensure_ascii=False, indent=2)}\n".encode()
