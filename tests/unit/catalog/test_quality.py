# SPDX-License-Identifier: Apache-2.0
"""What every agent that CCO ships must be; the figures are shown after the tests."""

import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import pytest

from cco.catalog import tools
from cco.catalog.catalog import CHARS_PER_TOKEN, PREFIX, Catalog
from cco.catalog.definition import MAX_DESCRIPTION
from cco.catalog.loader import BUILTIN, check, load
from tests.unit.catalog import likeness

TIERS: Final = {"opus": 1, "sonnet": 37, "haiku": 81}
BODY_LINES: Final = (40, 120)
MAX_SHARED_LINES: Final = 0.05
MAX_SHARED_SHINGLES: Final = 0.10
MAX_TOKENS: Final = 7_500
PRODUCTS: Final = frozenset({"Security Manager", "Selenium Manager"})
"""Named like an agent, and none: a part of the JVM, and one of Selenium."""

TEMPLATE: Final = """\
You are an expert in {language}. You write clean, idiomatic {language} that follows the
conventions of the project, and you know {framework} and {tool} by heart.

First read the surrounding code and find out which version of {language} is in use. Then make the
smallest change that solves the task, run `{command}` and repair whatever it reports. Prefer the
standard library over a new dependency, handle every error where it can be handled, and write a
test with {tool} for each behaviour that you change.

Leave the architecture to the {agent}. At the end report which files were changed, which commands
were run and what remains open.
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load(BUILTIN, user=None)


@cache
def evaluation() -> list[Mapping[str, Any]]:
    tasks: list[Mapping[str, Any]] = tomllib.loads(
        (BUILTIN / "evaluation.toml").read_text(encoding="utf-8")
    )["task"]
    return tasks


def masked(catalog: Catalog, body: str) -> frozenset[tuple[str, ...]]:
    names = {name for agent in catalog.agents for name in (agent.name, PREFIX + agent.slug)}
    return likeness.shingles(body, names | tools.KNOWN)


def closest(sets: Mapping[str, frozenset[Any]]) -> tuple[float, str, str]:
    """Return the two that share most, and how much."""
    return max(
        (likeness.share(sets[one], sets[other]), one, other)
        for one, other in itertools.combinations(sets, 2)
    )


# ------------------------------------------------------------------------------------- the team


def test_team_is_whole(catalog: Catalog, show: Callable[[str], None]) -> None:
    tiers = Counter(agent.tier for agent in catalog.agents)
    counted = ", ".join(f"{tiers[tier]} {tier}" for tier in TIERS)
    show(f"agents: {len(catalog.agents)} ({counted}) in {len(catalog.by_category())} categories")

    assert len(catalog.agents) == 119
    assert tiers == TIERS
    assert catalog.problems == ()


def test_definitions_hold_nothing_that_a_check_refuses() -> None:
    assert check(BUILTIN / "agents") == ()


def test_tools_are_explicit_and_known(catalog: Catalog) -> None:
    for agent in catalog.agents:
        assert agent.tools, agent.slug
        assert set(agent.tools) <= tools.KNOWN, agent.slug


def test_descriptions_are_cheap(catalog: Catalog, show: Callable[[str], None]) -> None:
    longest = max(len(agent.description) for agent in catalog.agents)
    tokens = catalog.context_tokens
    show(
        f"descriptions: {tokens} tokens with the names, {CHARS_PER_TOKEN} characters a token"
        f" (at most {MAX_TOKENS}); the longest has {longest} characters (at most 200)"
    )

    assert tokens <= MAX_TOKENS
    assert longest <= MAX_DESCRIPTION == 200


def test_descriptions_tell_when_and_when_not(catalog: Catalog) -> None:
    for agent in catalog.agents:
        assert agent.description.startswith("Use "), agent.slug
        assert re.search(r"\bnot\b", agent.description), agent.slug


# ------------------------------------------------------------------------------------- the bodies


def test_bodies_are_of_a_length_that_is_read(catalog: Catalog, show: Callable[[str], None]) -> None:
    sizes = {agent.slug: len(agent.body.strip().splitlines()) for agent in catalog.agents}
    fewest, most = BODY_LINES
    show(
        f"bodies: {min(sizes.values())} to {max(sizes.values())} lines ({fewest} to {most} allowed)"
    )

    assert {slug: size for slug, size in sizes.items() if not fewest <= size <= most} == {}


def test_no_two_bodies_share_lines(catalog: Catalog, show: Callable[[str], None]) -> None:
    shared, one, other = closest(
        {agent.slug: likeness.lines(agent.body) for agent in catalog.agents}
    )
    whose = f", {one} and {other}" if shared else ""
    show(f"shared lines of more than {likeness.LINE} characters: {shared:.1%} at most{whose} (5 %)")

    assert shared <= MAX_SHARED_LINES, (one, other)


def test_no_two_bodies_share_phrases(catalog: Catalog, show: Callable[[str], None]) -> None:
    shared, one, other = closest(
        {agent.slug: masked(catalog, agent.body) for agent in catalog.agents}
    )
    show(f"shared five-word shingles, names masked: {shared:.1%} at most, {one} and {other} (10 %)")

    assert shared <= MAX_SHARED_SHINGLES, (one, other)


def test_template_with_its_nouns_swapped_is_found_out(catalog: Catalog) -> None:
    one = TEMPLATE.format(
        language="Python",
        framework="Django",
        tool="pytest",
        command="ruff check . && pytest -q",
        agent="Chief Architect",
    )
    other = TEMPLATE.format(
        language="Rust",
        framework="Tokio",
        tool="Clippy",
        command="cargo test",
        agent="Database Architect",
    )

    assert likeness.share(masked(catalog, one), masked(catalog, other)) > 0.95


def test_body_of_ours_with_its_nouns_swapped_is_found_out(catalog: Catalog) -> None:
    body = catalog.find("go-specialist").body
    swapped = re.sub(r"`[^`]+`", "`cargo`", re.sub(r"\bGo\b", "Rust", body))

    assert likeness.share(masked(catalog, body), masked(catalog, swapped)) > 0.9


def test_fifth_of_a_body_taken_from_another_is_found_out(catalog: Catalog) -> None:
    source = catalog.find("go-specialist").body.splitlines()
    target = catalog.find("rust-specialist").body.splitlines()
    start = len(source) // 4
    stolen = source[start : start + len(target) // 5]
    patched = "\n".join([*target[len(stolen) :], *stolen])
    shared = likeness.share(masked(catalog, "\n".join(source)), masked(catalog, patched))

    assert shared > MAX_SHARED_SHINGLES


def test_agents_named_in_bodies_exist(catalog: Catalog) -> None:
    names = sorted((agent.name for agent in catalog.agents), key=len, reverse=True)
    known = re.compile("|".join(map(re.escape, names)))
    roles = "|".join(sorted({name.split()[-1] for name in names}))
    unknown = re.compile(rf"(?<!\w)[A-Z][\w.+#-]* (?:{roles})\b")
    slugs = {agent.slug for agent in catalog.agents}
    for agent in catalog.agents:
        text = " ".join(agent.body.split())
        assert set(re.findall(rf"{PREFIX}([\w-]+)", text)) <= slugs, agent.slug
        assert set(unknown.findall(known.sub("", text))) <= PRODUCTS, agent.slug


def test_bodies_name_only_tools_that_are_there(catalog: Catalog) -> None:
    named = re.compile(rf"\b({'|'.join(sorted(tools.KNOWN))})`? tool\b")
    for agent in catalog.agents:
        assert set(named.findall(agent.body)) <= set(agent.tools), agent.slug
        if "Bash" in agent.tools:  # then Claude Code offers no Grep and no Glob
            assert not re.search(r"\b(Grep|Glob)\b", agent.body), agent.slug
        if PREFIX in agent.body:
            assert "Agent" in agent.tools, agent.slug


# --------------------------------------------------------------------------- rules and evaluation


def test_rules_hold_those_of_the_product(catalog: Catalog) -> None:
    routing = catalog.rules.task_routing

    assert routing["architecture"] == ("Chief Architect",)
    assert routing["implementation"] == ("TDD Coding Agent", "Language Specialists")
    assert routing["testing"] == ("Test Engineer", "QA Engineer")
    assert routing["security"] == ("Security Auditor", "Security Engineer")


def test_rules_and_groups_resolve(catalog: Catalog, show: Callable[[str], None]) -> None:
    groups, routing = catalog.rules.groups, catalog.rules.task_routing
    show(f"groups: {len(groups)}; rules: {len(routing)}")

    for name, members in groups.items():
        found = {catalog.find(member).slug for member in members}
        assert {agent.slug for agent in catalog.in_groups([name]).agents} == found
        assert "," not in name  # cco run --agents takes several, parted by commas
    for names in routing.values():
        for name in names:
            assert name in groups or catalog.find(name).name == name
    assert not set(groups) & {agent.name for agent in catalog.agents}


def test_every_agent_is_in_a_group(catalog: Catalog) -> None:
    grouped = set(itertools.chain.from_iterable(catalog.rules.groups.values()))

    assert {agent.name for agent in catalog.agents} == grouped


def test_language_specialists_are_all_of_them(catalog: Catalog) -> None:
    specialists = {agent.name for agent in catalog.agents if agent.type == "language-specialist"}

    assert set(catalog.rules.groups["Language Specialists"]) == specialists


def test_every_agent_has_one_evaluation_task(catalog: Catalog, show: Callable[[str], None]) -> None:
    show(f"evaluation tasks: {len(evaluation())}")

    assert Counter(task["agent"] for task in evaluation()) == Counter(
        agent.slug for agent in catalog.agents
    )


def test_evaluation_tasks_are_whole(catalog: Catalog) -> None:
    for task in evaluation():
        assert set(task) == {"agent", "task", "must_contain"}, task["agent"]
        assert len(set(task["must_contain"])) == len(task["must_contain"]) == 3, task["agent"]
        assert all(len(text.strip()) > 10 for text in [task["task"], *task["must_contain"]])


def test_evaluation_tasks_do_not_give_the_answer_away(catalog: Catalog) -> None:
    """A task that repeats a description would measure nothing."""
    for task in evaluation():
        agent = catalog.find(task["agent"])
        said = likeness.shingles(task["task"], ())
        assert not said & likeness.shingles(agent.description, ()), agent.slug
        assert agent.name.casefold() not in task["task"].casefold(), agent.slug
