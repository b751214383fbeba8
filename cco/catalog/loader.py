# SPDX-License-Identifier: Apache-2.0
"""Loads the catalogue: the agents and rules of the package, and the user's own over them.

Whatever is wrong with the package's own files is an error. Of the user's files only what is wrong
is refused, as a `Problem`, and the rest serves.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cco.catalog import files, hooks, rules
from cco.catalog.catalog import Catalog
from cco.catalog.definition import USER_CATEGORY, Agent, Origin, examine
from cco.catalog.hooks import Hook
from cco.catalog.problem import Findings, Problem, refusal
from cco.catalog.rules import Rules
from cco.errors import ConfigError

__all__ = ["BUILTIN", "Catalog", "Problem", "check", "load"]

BUILTIN: Final = Path(__file__).parent / "data"
"""The package's own agents, rules and hooks."""

_REINSTALL: Final = "Reinstall CCO: its own files are damaged"


def load(data: Path, *, user: Path | None) -> Catalog:
    """Load the catalogue.

    Args:
        data: directory with ``agents/<category>/<slug>.md``, ``rules.toml`` and ``hooks.toml``.
        user: directory whose ``agents/**/*.md`` join or override by slug, and whose
            ``rules.toml`` overrides by key; both may be missing.

    Raises:
        ConfigError: `agent-invalid`, `rules-invalid` or `hooks-invalid` for a file in `data`,
            `catalog-empty` if there is no agent in it.
    """
    builtin = _load_builtin_agents(data / "agents")
    text, findings = _require(data / "rules.toml", "rules-invalid")
    base = rules.parse(text, findings, base=Rules(), agents=_names(builtin))
    _refuse("rules-invalid", findings.problems)
    text, findings = _require(data / "hooks.toml", "hooks-invalid")
    events = hooks.parse(text, findings)
    _refuse("hooks-invalid", findings.problems)
    if user is None:
        return _assemble(builtin, base, events, [])
    agents, problems = _load_user_agents(user / "agents", builtin)
    renamed = {agent.name: agents[slug].name for slug, agent in builtin.items()}
    merged = base.renamed(renamed.get)
    own, findings = files.read_findings(user / "rules.toml")
    if own is not None:
        merged = rules.parse(own, findings, base=merged, agents=_names(agents))
    return _assemble(agents, merged, events, [*problems, *findings.problems])


def check(path: Path) -> tuple[Problem, ...]:
    """Return what is wrong with a definition, or with all below a directory, by itself."""
    definitions, problems = files.find_definitions(path) if path.is_dir() else ([path], [])
    for definition in definitions:
        found = _load_agent(definition, category=USER_CATEGORY, origin="user")
        problems += () if isinstance(found, Agent) else found
    return tuple(problems)


def _assemble(
    agents: Mapping[str, Agent],
    served: Rules,
    events: tuple[Hook, ...],
    problems: Sequence[Problem],
) -> Catalog:
    def order(agent: Agent) -> tuple[bool, str, str]:
        return agent.category != "leadership", agent.category, agent.slug

    return Catalog(tuple(sorted(agents.values(), key=order)), served, events, tuple(problems))


def _load_builtin_agents(root: Path) -> dict[str, Agent]:
    paths, problems = files.find_definitions(root)
    agents: dict[str, Agent] = {}
    for path in paths:
        if len(path.relative_to(root).parts) != 2:
            problems.append(Problem(files.shown(path), 1, "must lie in the folder of a category"))
            continue
        found = _load_agent(path, category=path.parent.name, origin="builtin")
        problems += _join(agents, found)
    _refuse("agent-invalid", problems)
    if not agents:
        raise ConfigError("catalog-empty", f"there are no agents in {root}", hint=_REINSTALL)
    return agents


def _load_user_agents(
    root: Path, builtin: Mapping[str, Agent]
) -> tuple[dict[str, Agent], list[Problem]]:
    """Return the builtin agents with the user's over them, and what was refused."""
    paths, problems = files.find_definitions(root)
    agents = dict(builtin)
    for path in paths:
        category = USER_CATEGORY if path.parent == root else path.parent.name
        problems += _join(agents, _load_agent(path, category=category, origin="user"))
    return agents, problems


def _load_agent(path: Path, *, category: str, origin: Origin) -> Agent | tuple[Problem, ...]:
    text = files.read_text(path)
    if isinstance(text, Problem):
        return (text,)
    return examine(text, source=files.shown(path), category=category, origin=origin)


def _join(agents: dict[str, Agent], found: Agent | tuple[Problem, ...]) -> Sequence[Problem]:
    """Add an agent, or return why not: a user's overrides a builtin one, and no other."""
    if not isinstance(found, Agent):
        return found
    same = agents.get(found.slug)
    if same and same.origin == found.origin:
        return [Problem(found.source, 1, f"'{found.slug}' is already in {same.source}")]
    for other in agents.values():
        taken = (other.slug, other.name.casefold())
        if other is not same and (found.name.casefold() in taken or found.slug in taken):
            message = f"the name '{found.name}' is already that of {other.source}"
            return [Problem(found.source, 1, message)]
    agents[found.slug] = found
    return ()


def _names(agents: Mapping[str, Agent]) -> dict[str, str]:
    """Return the name of each agent by its name and by its slug, case-folded."""
    by_name = {agent.name.casefold(): agent.name for agent in agents.values()}
    return {**by_name, **{slug: agent.name for slug, agent in agents.items()}}


def _require(path: Path, code: str) -> tuple[str, Findings]:
    """Return the text of a file that must be there, and what will take its problems."""
    text = files.read_text(path)
    if isinstance(text, Problem):
        raise refusal(code, [text], hint=_REINSTALL)
    return text, Findings(files.shown(path))


def _refuse(code: str, problems: Sequence[Problem]) -> None:
    if problems:
        raise refusal(code, problems, hint=_REINSTALL)
