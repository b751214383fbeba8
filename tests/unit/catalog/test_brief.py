# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from cco.catalog.brief import (
    MAX_COMPACT_BYTES,
    MAX_STARTUP_BYTES,
    claude_md,
    compact_context,
    startup_context,
)
from cco.catalog.catalog import Catalog
from cco.catalog.loader import BUILTIN, load
from cco.catalog.rules import Rules
from tests.unit.catalog.samples import make_agent, make_catalog

RULES = Rules(
    {"architecture": ("Chief Architect",), "implementation": ("Gophers", "Chief Architect")},
    {"Gophers": ("Go Specialist",)},
)
CATALOG = make_catalog(
    make_agent(), make_agent(name="Go Specialist", category="codingAgents"), rules=RULES
)


def make_crowd(count: int, letter: str = "x") -> Catalog:
    """Return a catalogue with names, descriptions and rules as long as they may be."""
    agents = [
        make_agent(
            name=f"{letter * 58} {n:05}",
            slug=f"{'s' * 58}-{n:05}",
            category=f"category{n % 30}",
            description=letter * 200,
        )
        for n in range(count)
    ]
    routing = {f"{letter * 58} {n}": (agent.name,) for n, agent in enumerate(agents)}
    return make_catalog(*agents, rules=Rules(routing))


def test_claude_md_names_everybody_by_category() -> None:
    text = claude_md(CATALOG)

    assert "### Leadership\n\n- `cco:chief-architect` Chief Architect (opus): Use for" in text
    assert "### Coding agents\n\n- `cco:go-specialist` Go Specialist (opus): " in text


@pytest.mark.parametrize("render", [claude_md, startup_context, compact_context])
def test_every_text_has_the_rules_with_groups_spelled_out(render: object) -> None:
    assert callable(render)
    text = render(CATALOG)

    assert "- architecture: `cco:chief-architect`\n" in text
    assert "- implementation: Gophers (`cco:go-specialist`), `cco:chief-architect`\n" in text


def test_start_counts_the_categories_and_names_nobody_else() -> None:
    text = startup_context(replace(CATALOG, rules=Rules()))

    assert "Categories: Leadership (1), Coding agents (1).\n" in text
    assert "cco:" not in text
    assert "Who does what" not in text


@pytest.mark.parametrize(
    ("rules", "said", "unsaid"),
    [
        (Rules(), "at\n  most 10 at a time", "one agent at a time"),
        (Rules(max_concurrent_agents=3), "most 3 at a time", "most 10"),
        (Rules(parallel_execution=False), "one agent at a time", "several Agent calls"),
        (Rules(), "Pass on what one agent found", "nothing unsaid"),
        (Rules(knowledge_sharing=False), "Check the result yourself", "Pass on what"),
    ],
)
def test_advice_follows_the_rules(rules: Rules, said: str, unsaid: str) -> None:
    for text in (claude_md(replace(CATALOG, rules=rules)), startup_context(make_with(rules))):
        assert said in text
        assert unsaid not in text


def make_with(rules: Rules) -> Catalog:
    return replace(CATALOG, rules=rules)


@pytest.mark.parametrize("letter", ["x", "日", "😀"])  # the limit is in bytes, so it holds in any
def test_context_of_a_crowd_stays_within_its_limit(letter: str) -> None:
    crowd = make_crowd(200, letter)
    start, compact = startup_context(crowd), compact_context(crowd)

    assert len(start.encode()) <= MAX_STARTUP_BYTES < 9_500
    assert len(compact.encode()) <= MAX_COMPACT_BYTES
    for text in (start, compact):
        assert text.startswith("# CCO: your team")
        assert text.endswith("(Shortened. The rest is in `$ORCHESTRATOR_VFS_MOUNT/CLAUDE.md`.)\n")


def test_session_without_agents_is_told_nothing() -> None:
    nobody = replace(CATALOG, agents=(), rules=Rules())

    assert startup_context(nobody) == compact_context(nobody) == ""


def test_texts_of_the_package_are_whole() -> None:
    catalog = load(BUILTIN, user=None)

    assert "Shortened" not in startup_context(catalog) + compact_context(catalog)
    assert all(f"`cco:{agent.slug}`" in claude_md(catalog) for agent in catalog.agents)
