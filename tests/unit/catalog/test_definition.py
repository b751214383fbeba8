# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from cco.catalog.definition import Agent, Origin, examine, parse
from cco.errors import ConfigError
from tests.unit.catalog.samples import FIELDS, make_agent, make_definition, quoted

SOURCE = "agents/leadership/chief-architect.md"


def problems_of(text: str, source: str = SOURCE, origin: Origin = "user") -> list[tuple[int, str]]:
    found = examine(text, source=source, category="leadership", origin=origin)
    assert not isinstance(found, Agent)
    return [(problem.line, problem.message) for problem in found]


def test_definition_becomes_an_agent() -> None:
    agent = parse(make_definition(), source=SOURCE, category="leadership", origin="builtin")

    assert agent == make_agent(source=SOURCE)


def test_category_comes_from_key_then_argument_then_default() -> None:
    assert parse(make_definition(category="ownAgents"), source="a.md").category == "ownAgents"
    assert parse(make_definition(), source="a.md", category="x").category == "x"
    assert parse(make_definition(), source="a.md").category == "userAgents"


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("opus", "opus"),
        ("sonnet", "sonnet"),
        ("haiku", "haiku"),
        ("opus-4.1", "opus"),
        ("sonnet-4.5", "sonnet"),
        ("haiku-4.5", "haiku"),
    ],
)
def test_model_is_kept_as_written_and_has_a_tier(model: str, tier: str) -> None:
    agent = parse(make_definition(model=model), source=SOURCE)

    assert (agent.model, agent.tier) == (model, tier)


@pytest.mark.parametrize(
    ("changes", "line", "reason"),
    [
        ({"name": '""'}, 2, "'name' must not be empty"),
        ({"name": '" x"'}, 2, "'name' must not begin or end with a space"),
        ({"name": "x" * 65}, 2, "'name' has 65 characters, 64 are allowed"),
        ({"name": r'"a\nb"'}, 2, "'name' holds U+000A, which cannot be printed"),  # two lines
        ({"name": r'"\ud800"'}, 2, "'name' holds U+D800, which cannot be printed"),  # no UTF-8
        ({"name": "[a, b]"}, 2, "'name' must be a text, not a list"),
        ({"type": "System Architect"}, 3, "'type' must be kebab-case"),
        ({"model": "opuss"}, 4, "unknown model 'opuss', did you mean 'opus'?"),
        ({"model": "gpt"}, 4, "unknown model 'gpt', known are opus, sonnet, haiku, "),
        ({"capabilities": "design"}, 5, "'capabilities' must be a list: [one, two]"),
        ({"capabilities": "[]"}, 5, "'capabilities' must not be empty"),
        ({"capabilities": "[a, a]"}, 5, "'a' is twice in 'capabilities'"),
        ({"capabilities": '[a, ""]'}, 5, "an item of 'capabilities' must not be empty"),
        ({"tools": "Read, Bash"}, 6, "'tools' must be a list"),  # the CSV of Claude Code's files
        ({"tools": "[]"}, 6, "'tools' must not be empty"),  # Claude Code gives no tool at all
        ({"tools": "[Reads]"}, 6, "unknown tool 'Reads', did you mean 'Read'?"),
        ({"tools": "[Bash(git)]"}, 6, "unknown tool 'Bash(git)', did you mean 'Bash'?"),
        ({"tools": "[mcp__]"}, 6, "unknown tool 'mcp__'"),  # an MCP name without a server
        ({"description": "x" * 201}, 7, "'description' has 201 characters, 200 are allowed"),
        ({"category": "own-agents"}, 8, "'category' must be camelCase"),
        ({"category": '"../x"'}, 8, "'category' must be camelCase"),  # it becomes a path
        ({"hooks": "x"}, 8, "'hooks' cannot be set by an agent"),
        ({"mcpServers": "x"}, 8, "'mcpServers' cannot be set by an agent"),
        ({"permissionMode": "plan"}, 8, "'permissionMode' cannot be set by an agent"),
        ({"mode": "opus"}, 8, "unknown key 'mode', did you mean 'model'?"),
        ({"description": None}, 7, "the key 'description' is missing"),  # where it could stand
        ({"description": "a: b"}, 7, "'a: b' needs quotes"),  # there, so not missing as well
    ],
)
def test_wrong_value_is_one_problem(changes: dict[str, str | None], line: int, reason: str) -> None:
    problems = problems_of(make_definition(changes))

    assert [at for at, _ in problems] == [line]
    assert problems[0][1].startswith(reason)


@pytest.mark.parametrize("key", FIELDS)
def test_every_key_of_the_format_is_required(key: str) -> None:
    assert problems_of(make_definition({key: None})) == [(7, f"the key '{key}' is missing")]


def test_body_must_say_something() -> None:
    assert problems_of(make_definition(body=" \n\n")) == [
        (8, "has no instructions after the front matter")
    ]


@pytest.mark.parametrize(
    "name",
    ["Chief.md", "chief_architect.md", "-chief.md", "a--b.md", "a b.md", "é.md", "x" * 65 + ".md"],
)
def test_file_name_must_be_a_slug(name: str) -> None:
    (problem,) = problems_of(make_definition(), source=f"agents/leadership/{name}")

    assert problem[1].startswith("the file name must be kebab-case")


@pytest.mark.parametrize("folder", ["Leadership", "own-agents", "a b", "x" * 65])
def test_folder_must_be_a_category(folder: str) -> None:
    found = examine(make_definition(), source=SOURCE, category=folder, origin="user")

    assert not isinstance(found, Agent)
    assert "must be named in camelCase" in found[0].message


@pytest.mark.parametrize("tool", ["mcp__server__tool", "mcp__plugin_a_b", "mcp__server__*"])
def test_tools_of_mcp_servers_are_for_user_agents(tool: str) -> None:
    text = make_definition(tools=f"[{tool}]")

    assert parse(text, source=SOURCE, origin="user").tools == (tool,)
    assert problems_of(text, origin="builtin") == [(6, f"unknown tool '{tool}'")]


def test_all_problems_of_a_file_are_told_together() -> None:
    text = make_definition(model="gpt-9", tools="[Nope]", colour="red")
    with pytest.raises(ConfigError) as caught:
        parse(text, source="x/my-agent.md")

    assert caught.value.code == "agent-invalid"
    assert caught.value.hint is not None
    told = caught.value.message.split("; ")
    assert [part.split(": ")[0] for part in told] == [
        "x/my-agent.md:4",
        "x/my-agent.md:6",
        "x/my-agent.md:8",
    ]


def test_front_matter_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^a\.md:1: has no front matter"):
        parse("no definition", source="a.md")


def test_any_agent_comes_back_from_its_definition() -> None:
    """Property: an agent written as a definition is read as the same agent."""
    chance = random.Random(3)
    letters = "ab\"\\[]{},:#'-&*!|>%@`/é日😀"
    for _ in range(300):
        name, description, capability, body = (
            "x" + "".join(chance.choices(letters, k=chance.randrange(40))) for _ in range(4)
        )
        tools = chance.sample(["Read", "Bash", "Edit", "Grep", "WebFetch"], k=3)
        text = make_definition(
            name=quoted(name),
            description=quoted(description),
            capabilities=f"[{quoted(capability)}]",
            tools=f"[{', '.join(tools)}]",
            body=body,
        )
        made = make_agent(
            name=name,
            slug="chief-architect",
            description=description,
            capabilities=(capability,),
            tools=tuple(tools),
            body=body,
            source=SOURCE,
        )

        assert parse(text, source=SOURCE, category="leadership", origin="builtin") == made
