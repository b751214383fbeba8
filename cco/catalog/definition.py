# SPDX-License-Identifier: Apache-2.0
"""One agent: what its definition must say, checked; pure.

The file is ``<slug>.md`` in the format of `cco.catalog.frontmatter`, with these keys::

    name          as people say it, at most 64 characters
    type          kebab-case
    model         opus, sonnet or haiku, or the older opus-4.1, sonnet-4.5, haiku-4.5
    capabilities  list of short texts
    tools         list of tools of Claude Code; a user's agent may name those of MCP servers
    description   one line, at most 200 characters: Claude Code reads it to choose an agent
    category      camelCase; may be missing, then the folder says it

The body is what the agent is told to be.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Final, Literal

from cco.catalog import frontmatter, tools
from cco.catalog.frontmatter import FrontMatter, Value
from cco.catalog.problem import Findings, Problem, nearest, refusal

Origin = Literal["builtin", "user"]

MAX_NAME: Final = 64
MAX_DESCRIPTION: Final = 200
USER_CATEGORY: Final = "userAgents"
TIERS: Final = MappingProxyType(
    {
        "opus": "opus",
        "sonnet": "sonnet",
        "haiku": "haiku",
        "opus-4.1": "opus",
        "sonnet-4.5": "sonnet",
        "haiku-4.5": "haiku",
    }
)
"""Tier of each spelling of a model."""

_REQUIRED: Final = ("name", "type", "model", "capabilities", "tools", "description")
_KEYS: Final = (*_REQUIRED, "category")
_FORBIDDEN: Final = frozenset({"hooks", "mcpServers", "permissionMode"})
_KEBAB: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CAMEL: Final = re.compile(r"[a-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of the team."""

    name: str
    slug: str
    category: str
    type: str
    model: str
    """As written: a tier or an older spelling of one."""
    capabilities: tuple[str, ...]
    tools: tuple[str, ...]
    description: str
    body: str
    """Instructions, byte for byte as in the file."""
    source: str
    """Name of the file, for messages."""
    origin: Origin

    @property
    def tier(self) -> str:
        """Return opus, sonnet or haiku."""
        return TIERS[self.model]


def parse(
    text: str, *, source: str, category: str = USER_CATEGORY, origin: Origin = "user"
) -> Agent:
    """Return the agent that a definition describes.

    Args:
        text: the whole file.
        source: name of the file; its last part without ``.md`` is the slug.
        category: where the definition names none.
        origin: a builtin may not name tools of MCP servers.

    Raises:
        ConfigError: with every problem of the file, each as ``file:line: reason``.
    """
    found = examine(text, source=source, category=category, origin=origin)
    if isinstance(found, Agent):
        return found
    raise refusal("agent-invalid", found, hint="Correct the definition, then: cco agents check")


def examine(
    text: str, *, source: str, category: str, origin: Origin
) -> Agent | tuple[Problem, ...]:
    """Return the agent, or everything that is wrong with its definition."""
    findings = Findings(source)
    matter = frontmatter.read(text, findings)
    if matter is None:
        return tuple(findings.problems)
    reader = _Reader(matter, findings)
    reader.check_keys()
    agent = Agent(
        name=reader.line_of_text("name", MAX_NAME),
        slug=reader.slug(PurePath(source)),
        category=reader.category(category),
        type=reader.shaped("type", _KEBAB, "kebab-case"),
        model=reader.model(),
        capabilities=reader.texts("capabilities"),
        tools=reader.tools(origin),
        description=reader.line_of_text("description", MAX_DESCRIPTION),
        body=matter.body,
        source=source,
        origin=origin,
    )
    if not matter.body.strip():
        findings.add(matter.end_line, "has no instructions after the front matter")
    return tuple(sorted(findings.problems, key=lambda problem: problem.line)) or agent


class _Reader:
    """Reads one value after another; after a problem the value means nothing."""

    def __init__(self, matter: FrontMatter, findings: Findings) -> None:
        self._fields = matter.fields
        self._broken = matter.broken
        self._end_line = matter.end_line
        self._findings = findings

    def check_keys(self) -> None:
        for key, field in self._fields.items():
            if key in _FORBIDDEN:
                self._findings.add(field.line, f"'{key}' cannot be set by an agent")
            elif key not in _KEYS:
                self._findings.add(field.line, f"unknown key '{key}'{nearest(key, _KEYS)}")

    def slug(self, file: PurePath) -> str:
        if len(file.stem) > MAX_NAME or not _KEBAB.fullmatch(file.stem):
            self._findings.add(1, f"the file name must be kebab-case, at most {MAX_NAME} long")
        return file.stem

    def category(self, default: str) -> str:
        if "category" in self._fields:
            return self.shaped("category", _CAMEL, "camelCase")
        if len(default) > MAX_NAME or not _CAMEL.fullmatch(default):
            self._findings.add(1, f"the folder {default[:MAX_NAME]!r} must be named in camelCase")
        return default

    def model(self) -> str:
        model = self.line_of_text("model", MAX_NAME)
        if model and model not in TIERS:
            self._complain("model", f"unknown model '{model}'{nearest(model, TIERS)}")
        return model

    def tools(self, origin: Origin) -> tuple[str, ...]:
        names = self.texts("tools")
        for name in names:
            if name in tools.KNOWN or (origin == "user" and tools.is_mcp(name)):
                continue
            self._complain("tools", f"unknown tool '{name}'{nearest(name, tools.KNOWN)}")
        return names

    def shaped(self, key: str, form: re.Pattern[str], called: str) -> str:
        value = self.line_of_text(key, MAX_NAME)
        if value and not form.fullmatch(value):
            self._complain(key, f"'{key}' must be {called}")
        return value

    def line_of_text(self, key: str, limit: int) -> str:
        """Return a text; "" after a problem."""
        value = self._value(key)
        if value is None:
            return ""
        if isinstance(value, tuple):
            self._complain(key, f"'{key}' must be a text, not a list")
        elif complaint := _complaint(value, limit):
            self._complain(key, f"'{key}' {complaint}")
        else:
            return value
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list without the items that are a problem."""
        value = self._value(key)
        if value is None:
            return ()
        if isinstance(value, str):
            self._complain(key, f"'{key}' must be a list: [one, two]")
            return ()
        if not value:
            self._complain(key, f"'{key}' must not be empty")
        good: list[str] = []
        for item in value:
            if complaint := _complaint(item, MAX_NAME):
                self._complain(key, f"an item of '{key}' {complaint}")
            elif item in good:
                self._complain(key, f"'{item}' is twice in '{key}'")
            else:
                good.append(item)
        return tuple(good)

    def _value(self, key: str) -> Value | None:
        if field := self._fields.get(key):
            return field.value
        if key not in self._broken:
            self._findings.add(self._end_line, f"the key '{key}' is missing")
        return None

    def _complain(self, key: str, message: str) -> None:
        self._findings.add(self._fields[key].line, message)


def _complaint(text: str, limit: int) -> str | None:
    """Return what is wrong with a one-line text, if anything."""
    if not text.strip():
        return "must not be empty"
    if text != text.strip():
        return "must not begin or end with a space"
    if len(text) > limit:
        return f"has {len(text)} characters, {limit} are allowed"
    for char in text:
        if not char.isprintable():
            return f"holds U+{ord(char):04X}, which cannot be printed"
    return None
