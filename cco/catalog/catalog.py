# SPDX-License-Identifier: Apache-2.0
"""The team as it stands: agents, rules and hooks that fit together; pure."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cco.catalog.definition import MAX_NAME, Agent
from cco.catalog.hooks import Hook
from cco.catalog.problem import Problem
from cco.catalog.rules import Rules
from cco.errors import ConfigError, NotFound

PREFIX: Final = "cco:"
"""What Claude Code puts before the slug: the name of the plugin."""
CHARS_PER_TOKEN: Final = 3
"""English prose has four and more, so that a count by three is never too low."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that the catalogue serves, and what it refused."""

    agents: tuple[Agent, ...]
    """Leadership first, then by category and slug."""
    rules: Rules
    hooks: tuple[Hook, ...]
    problems: tuple[Problem, ...] = ()
    """What is wrong with the user's files; what they hold of it is not served."""

    @property
    def slugs(self) -> frozenset[str]:
        """Return the slugs of all agents."""
        return _slugs(self.agents)

    @property
    def context_tokens(self) -> int:
        """Return the tokens that names and descriptions take in a session, rather too many."""
        chars = sum(len(agent.name) + len(agent.description) for agent in self.agents)
        return math.ceil(chars / CHARS_PER_TOKEN)

    def find(self, name_or_slug: str) -> Agent:
        """Return an agent by slug, by ``cco:`` and slug, or by name; the case is no matter.

        Raises:
            NotFound: `unknown-agent`, with the nearest names in the hint.
        """
        wanted = name_or_slug.strip().casefold().removeprefix(PREFIX)
        for agent in self.agents:
            if wanted in (agent.slug, agent.name.casefold()):
                return agent
        shown = name_or_slug[:MAX_NAME]
        near = self._nearest(wanted[:MAX_NAME])
        raise NotFound(
            "unknown-agent",
            f"there is no agent {shown!r}",
            hint=f"Did you mean {' or '.join(near)}?" if near else "List them: cco agents",
        )

    def by_category(self) -> Mapping[str, tuple[Agent, ...]]:
        """Return the agents of each category, in the order of the catalogue."""
        found: dict[str, tuple[Agent, ...]] = {}
        for agent in self.agents:
            found[agent.category] = (*found.get(agent.category, ()), agent)
        return found

    def in_groups(self, groups: Sequence[str]) -> "Catalog":
        """Return the catalogue limited to groups and categories; ``*`` is all.

        Raises:
            ConfigError: `unknown-group`, with the nearest names in the hint.
        """
        if "*" in groups:
            return self
        members = {name.casefold(): _slugs(held) for name, held in self.by_category().items()}
        for name, held in self.rules.groups.items():
            members[name.casefold()] = _slugs(map(self.find, held))
        chosen: set[str] = set()
        for group in groups:
            if group.casefold() not in members:
                raise self._unknown_group(group[:MAX_NAME])
            chosen |= members[group.casefold()]
        agents = tuple(agent for agent in self.agents if agent.slug in chosen)
        names = {agent.name for agent in agents}
        rules = self.rules.renamed(lambda name: name if name in names else None)
        return replace(self, agents=agents, rules=rules)

    def _unknown_group(self, group: str) -> ConfigError:
        known = {name.casefold(): name for name in (*self.by_category(), *self.rules.groups)}
        near = difflib.get_close_matches(group.casefold(), known, n=3)
        names = " or ".join(known[word] for word in near)
        every = f"Known are {', '.join(known.values())}, and * for all"
        return ConfigError(
            "unknown-group",
            f"there is no group or category {group!r}",
            hint=f"Did you mean {names}?" if near else every,
        )

    def _nearest(self, wanted: str) -> list[str]:
        names = {agent.name.casefold(): agent.name for agent in self.agents}
        names |= {agent.slug: agent.name for agent in self.agents}
        near = difflib.get_close_matches(wanted, names, n=3)
        return list(dict.fromkeys(names[word] for word in near))


def _slugs(agents: Iterable[Agent]) -> frozenset[str]:
    return frozenset(agent.slug for agent in agents)
