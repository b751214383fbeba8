# SPDX-License-Identifier: Apache-2.0
r"""Which agents a kind of task goes to, and how they work together; pure.

A rules file is TOML::

    [taskRouting]                   kind of task -> agents or groups, the first choice first
    architecture = "Chief Architect"
    implementation = ["TDD Coding Agent", "Language Specialists"]

    [taskPatterns]                  kind of task, group or agent -> regular expressions
    architecture = ['\barchitecture of\b']

    [coordination]
    parallelExecution = true
    maxConcurrentAgents = 10
    knowledgeSharing = true

    [groups]                        group -> agents
    "Language Specialists" = ["Python Specialist", "Go Specialist"]

Agents go by name or slug; a group wins over an agent of the same name. A pattern is looked for
anywhere in a task, in either case; `[]` takes the patterns of a key away. A file read after another
overrides it key by key; a key with a problem is refused and leaves what was there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from cco.catalog.problem import Findings, nearest
from cco.catalog.tables import Tables

Names = Mapping[str, tuple[str, ...]]
Patterns = Mapping[str, tuple[re.Pattern[str], ...]]

MAX_KEY: Final = 64
MAX_PATTERN: Final = 500
_SECTIONS: Final = ("taskRouting", "taskPatterns", "coordination", "groups")
_COORDINATION: Final[Mapping[str, tuple[str, type]]] = MappingProxyType(
    {
        "parallelExecution": ("parallel_execution", bool),
        "maxConcurrentAgents": ("max_concurrent_agents", int),
        "knowledgeSharing": ("knowledge_sharing", bool),
    }
)


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that name only agents and groups that are there."""

    task_routing: Names = field(default_factory=_nothing)
    """Kind of task to names of agents or groups."""
    groups: Names = field(default_factory=_nothing)
    """Group to names of agents."""
    task_patterns: Patterns = field(default_factory=_nothing)
    """Kind of task, group or agent to what tells that a task is for it."""
    parallel_execution: bool = True
    max_concurrent_agents: int = 10
    knowledge_sharing: bool = True

    def renamed(self, change: Callable[[str], str | None]) -> "Rules":
        """Return the rules with other names for the agents, without those changed to None."""
        groups = _changed(self.groups, change)

        def change_any(name: str) -> str | None:
            if name in self.groups:
                return name if name in groups else None
            return change(name)

        routing = _changed(self.task_routing, change_any)
        patterns: dict[str, tuple[re.Pattern[str], ...]] = {}
        for key, told in self.task_patterns.items():
            new = change_any(key) if key not in self.task_routing else key
            if new is not None and (key not in self.task_routing or key in routing):
                patterns[new] = told
        return replace(
            self, task_routing=routing, groups=groups, task_patterns=MappingProxyType(patterns)
        )


def parse(text: str, findings: Findings, *, base: Rules, agents: Mapping[str, str]) -> Rules:
    """Return `base` with the rules of one file over it.

    Args:
        text: TOML.
        findings: takes the problems.
        base: rules read before.
        agents: name of an agent by its name and by its slug, both case-folded.
    """
    tables = Tables(text, findings)
    for name in tables.data:
        if name not in _SECTIONS:
            tables.complain(f"unknown table {name[:MAX_KEY]!r}{nearest(name, _SECTIONS)}", name)
    groups = {**base.groups, **_names(tables, "groups", agents)}
    known = {**agents, **{name.casefold(): name for name in groups}}
    routing = {**base.task_routing, **_names(tables, "taskRouting", known)}
    patterns = {
        **base.task_patterns,
        **_patterns(tables, {**known, **{key: key for key in routing}}),
    }
    return replace(
        base,
        groups=MappingProxyType(groups),
        task_routing=MappingProxyType(routing),
        task_patterns=MappingProxyType(patterns),
        **_coordination(tables),
    )


def _names(tables: Tables, section: str, known: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the keys of a section whose names are all known."""
    good: dict[str, tuple[str, ...]] = {}
    for key, value in _section(tables, section).items():
        if not key.strip() or len(key) > MAX_KEY or not key.isprintable():
            tables.complain(f"a key must be 1 to {MAX_KEY} printable characters", section, key)
            continue
        given = [value] if isinstance(value, str) else value
        if not _is_texts(given):
            tables.complain(f"{key!r} must be a name or a list of names", section, key)
            continue
        unknown = [name for name in given if name.casefold() not in known]
        for name in unknown:
            if tables.findings.is_full:
                break
            message = f"{key!r} names {name[:MAX_KEY]!r}, which is not there"
            tables.complain(message + nearest(name, known.values()), section, key, name)
        if not unknown:
            good[key] = tuple(dict.fromkeys(known[name.casefold()] for name in given))
    return good


def _patterns(tables: Tables, known: Mapping[str, str]) -> dict[str, tuple[re.Pattern[str], ...]]:
    """Return the keys of ``[taskPatterns]`` that are known and whose patterns all can be used."""
    good: dict[str, tuple[re.Pattern[str], ...]] = {}
    for key, value in _section(tables, "taskPatterns").items():
        name = known.get(key) or known.get(key.casefold())
        if name is None:
            message = f"{key[:MAX_KEY]!r} is no kind of task, group or agent"
            tables.complain(message + nearest(key, known.values()), "taskPatterns", key)
            continue
        given = [value] if isinstance(value, str) else value
        if given != [] and not _is_texts(given):
            message = f"{key[:MAX_KEY]!r} must be a pattern or a list of patterns"
            tables.complain(message, "taskPatterns", key)
            continue
        read = [_pattern(tables, key, text) for text in given]
        usable = tuple(pattern for pattern in read if pattern is not None)
        if len(usable) == len(read):
            good[name] = usable
    return good


def _pattern(tables: Tables, key: str, text: str) -> re.Pattern[str] | None:
    """Return a pattern compiled; None, and a problem noted, if it cannot be."""
    try:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"is longer than {MAX_PATTERN} characters")
        pattern = re.compile(text, re.IGNORECASE)
        if pattern.search(""):
            raise ValueError("fits any task")
    except (re.error, ValueError, OverflowError, RecursionError) as exc:
        message = f"{key!r} has the pattern {text[:MAX_KEY]!r}, which cannot be used: {exc}"
        tables.complain(message, "taskPatterns", key, text)
        return None
    return pattern


def _coordination(tables: Tables) -> dict[str, Any]:
    good: dict[str, Any] = {}
    for key, value in _section(tables, "coordination").items():
        if key not in _COORDINATION:
            message = f"unknown key {key[:MAX_KEY]!r}{nearest(key, _COORDINATION)}"
            tables.complain(message, "coordination", key)
            continue
        attribute, kind = _COORDINATION[key]
        is_kind = type(value) is kind
        if not is_kind or (kind is int and not 1 <= value <= 1000):
            must = "true or false" if kind is bool else "a whole number from 1 to 1000"
            tables.complain(f"'{key}' must be {must}", "coordination", key)
        else:
            good[attribute] = value
    return good


def _section(tables: Tables, name: str) -> Mapping[str, Any]:
    value = tables.data.get(name, {})
    if isinstance(value, dict):
        return value
    tables.complain(f"'{name}' must be a table", name)
    return {}


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _changed(names: Names, change: Callable[[str], str | None]) -> Names:
    changed: dict[str, tuple[str, ...]] = {}
    for key, members in names.items():
        kept: Sequence[str] = [new for name in members if (new := change(name)) is not None]
        if kept:
            changed[key] = tuple(kept)
    return MappingProxyType(changed)
