# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from cco.catalog.loader import BUILTIN, load
from cco.errors import ConfigError
from tests.unit.catalog.samples import HOOKS, RULES, make_definition, write_tree

CHIEF = "agents/leadership/chief-architect.md"
GO = "agents/codingAgents/go-specialist.md"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tree(
        tmp_path / "data",
        {
            CHIEF: make_definition(),
            GO: make_definition(name="Go Specialist"),
            "rules.toml": RULES,
            "hooks.toml": HOOKS,
        },
    )


def test_builtin_catalogue_is_loaded_leadership_first(data: Path) -> None:
    catalog = load(data, user=None)

    assert [(a.category, a.slug, a.origin) for a in catalog.agents] == [
        ("leadership", "chief-architect", "builtin"),
        ("codingAgents", "go-specialist", "builtin"),
    ]
    assert catalog.rules.task_routing == {"architecture": ("Chief Architect",)}
    assert [hook.event for hook in catalog.hooks] == ["SessionStart", "PreCompact"]
    assert catalog.problems == ()


@pytest.mark.parametrize(
    ("file", "text", "code", "reason"),
    [
        (CHIEF, "nothing", "agent-invalid", "chief-architect.md:1: has no front matter"),
        ("agents/x.md", make_definition(), "agent-invalid", "must lie in the folder of a category"),
        ("agents/a/b/x.md", make_definition(), "agent-invalid", "must lie in the folder"),
        # the same slug in two folders
        ("agents/x/go-specialist.md", make_definition(name="X"), "agent-invalid", "is already in"),
        # the same name in another case under two slugs
        ("agents/x/y.md", make_definition(name="GO specialist"), "agent-invalid", "already that"),
        # a name that is the slug of another: neither could be asked for
        ("agents/x/y.md", make_definition(name="go-specialist"), "agent-invalid", "already that"),
        ("rules.toml", "[taskRouting]\nx = 'No'", "rules-invalid", "rules.toml:2: 'x' names 'No'"),
        ("hooks.toml", "x = 1", "hooks-invalid", "hooks.toml:1: unknown table 'x'"),
    ],
)
def test_broken_builtin_file_is_an_error(
    data: Path, file: str, text: str, code: str, reason: str
) -> None:
    write_tree(data, {file: text})
    with pytest.raises(ConfigError) as caught:
        load(data, user=None)

    assert caught.value.code == code
    assert reason in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("missing", "code"), [("rules.toml", "rules-invalid"), ("hooks.toml", "hooks-invalid")]
)
def test_missing_builtin_file_is_an_error(data: Path, missing: str, code: str) -> None:
    (data / missing).unlink()
    with pytest.raises(ConfigError) as caught:
        load(data, user=None)

    assert caught.value.code == code


def test_package_without_agents_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, user=None)

    assert caught.value.code == "catalog-empty"


def test_broken_builtin_files_are_told_together(data: Path) -> None:
    write_tree(data, {CHIEF: "nothing", GO: "nothing"})
    with pytest.raises(ConfigError) as caught:
        load(data, user=None)

    assert caught.value.message.count("has no front matter") == 2


def test_user_without_files_changes_nothing(data: Path, tmp_path: Path) -> None:
    assert load(data, user=tmp_path / "gone") == load(data, user=None)


def test_user_agents_join_and_override(data: Path, tmp_path: Path) -> None:
    user = write_tree(
        tmp_path / "user",
        {
            "agents/own.md": make_definition(name="Own"),
            "agents/teamAgents/other.md": make_definition(name="Other", tools="[mcp__a__b]"),
            "agents/chief-architect.md": make_definition(body="Mine.\n", category="leadership"),
        },
    )
    catalog = load(data, user=user)

    assert catalog.problems == ()
    assert [(a.category, a.slug, a.origin) for a in catalog.agents] == [
        ("leadership", "chief-architect", "user"),
        ("codingAgents", "go-specialist", "builtin"),
        ("teamAgents", "other", "user"),
        ("userAgents", "own", "user"),
    ]
    assert catalog.find("chief-architect").body == "Mine.\n"


def test_builtin_rules_follow_an_agent_that_the_user_renamed(data: Path, tmp_path: Path) -> None:
    user = write_tree(
        tmp_path / "user", {"agents/chief-architect.md": make_definition(name="Boss")}
    )
    catalog = load(data, user=user)

    assert catalog.rules.task_routing == {"architecture": ("Boss",)}
    assert catalog.problems == ()


@pytest.mark.parametrize(
    ("file", "text", "line", "reason"),
    [
        ("agents/x.md", make_definition(model="gpt"), 4, "unknown model 'gpt'"),
        ("agents/x.md", make_definition(name="Go Specialist"), 1, "the name 'Go Specialist' is al"),
        ("agents/my agents/x.md", make_definition(name="X"), 1, "the folder 'my agents' must be"),
        ("agents/README.md", "# Mine", 1, "has no front matter"),
        ("rules.toml", "[taskRouting]\narchitecture = 'No'", 2, "'architecture' names 'No'"),
        ("rules.toml", "[", 1, "is not TOML"),
    ],
)
def test_broken_user_file_is_refused_and_the_rest_serves(
    data: Path, tmp_path: Path, file: str, text: str, line: int, reason: str
) -> None:
    user = write_tree(
        tmp_path / "user", {"agents/good.md": make_definition(name="Good"), file: text}
    )
    catalog = load(data, user=user)

    (problem,) = catalog.problems
    assert (problem.file, problem.line) == (str(user / file), line)
    assert problem.message.startswith(reason)
    assert [agent.slug for agent in catalog.agents] == ["chief-architect", "go-specialist", "good"]
    assert catalog.rules.task_routing == {"architecture": ("Chief Architect",)}


def test_what_is_no_file_is_refused_and_the_rest_serves(data: Path, tmp_path: Path) -> None:
    (tmp_path / "user/agents/folder.md").mkdir(parents=True)
    (tmp_path / "user/rules.toml").mkdir()
    catalog = load(data, user=tmp_path / "user")

    assert [problem.message for problem in catalog.problems] == ["is a directory"] * 2
    assert len(catalog.agents) == 2


def test_broken_override_leaves_the_builtin_agent(data: Path, tmp_path: Path) -> None:
    user = write_tree(tmp_path / "user", {"agents/chief-architect.md": "nothing"})
    catalog = load(data, user=user)

    assert catalog.find("chief-architect").origin == "builtin"
    assert len(catalog.problems) == 1


def test_second_user_agent_of_a_slug_is_refused(data: Path, tmp_path: Path) -> None:
    text = make_definition(name="X")
    user = write_tree(tmp_path / "user", {"agents/a/x.md": text, "agents/b/x.md": text})
    catalog = load(data, user=user)

    assert catalog.find("x").category == "a"
    assert [problem.file for problem in catalog.problems] == [str(user / "agents/b/x.md")]


def test_user_rules_may_name_user_agents(data: Path, tmp_path: Path) -> None:
    user = write_tree(
        tmp_path / "user",
        {
            "agents/own.md": make_definition(name="Own"),
            "rules.toml": '[taskRouting]\nmine = "Ours"\n[groups]\nOurs = ["own"]\n',
        },
    )
    rules = load(data, user=user).rules

    assert rules.task_routing == {"architecture": ("Chief Architect",), "mine": ("Ours",)}
    assert rules.groups == {"Ours": ("Own",)}


def test_catalogue_of_the_package_is_sound() -> None:
    catalog = load(BUILTIN, user=None)

    assert catalog.problems == ()
    assert catalog.find("Chief Architect").category == "leadership"
    assert catalog.rules.task_routing["implementation"] == (
        "TDD Coding Agent",
        "Language Specialists",
    )
    assert {hook.event for hook in catalog.hooks} == {
        "PreCompact",
        "SessionStart",
        "SubagentStart",
        "SubagentStop",
        "UserPromptSubmit",
    }
