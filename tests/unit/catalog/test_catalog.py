# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.rules import Rules
from cco.errors import ConfigError, NotFound
from tests.unit.catalog.samples import make_agent, make_catalog

CHIEF = make_agent()
GO = make_agent(name="Go Specialist", category="codingAgents")
TESTER = make_agent(name="Test Engineer", category="testingAgents")
RULES = Rules(
    {"architecture": ("Chief Architect",), "implementation": ("Gophers", "Test Engineer")},
    {"Gophers": ("Go Specialist",)},
)
CATALOG = make_catalog(CHIEF, GO, TESTER, rules=RULES)


@pytest.mark.parametrize(
    "wanted",
    [
        "Go Specialist",  # name
        "go-specialist",  # slug
        "GO SPECIALIST",  # the case is no matter
        "cco:go-specialist",  # as Claude Code spells it
        " go-specialist ",  # as people paste it
    ],
)
def test_agent_is_found(wanted: str) -> None:
    assert CATALOG.find(wanted) is GO


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("Chef Architect", "Did you mean Chief Architect?"),  # a slip, told once
        ("zzzzzz", "List them: cco agents"),  # nothing like it
        ("", "List them: cco agents"),
        ("x" * 100_000, "List them: cco agents"),  # cut before it costs time
    ],
)
def test_unknown_agent_has_a_hint(wanted: str, hint: str) -> None:
    with pytest.raises(NotFound) as caught:
        CATALOG.find(wanted)

    assert (caught.value.code, caught.value.hint) == ("unknown-agent", hint)
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("groups", "agents"),
    [
        (["*"], (CHIEF, GO, TESTER)),  # all
        (["leadership", "*"], (CHIEF, GO, TESTER)),  # all, whatever else is named
        (["testingAgents", "leadership"], (CHIEF, TESTER)),  # in the order of the catalogue
        (["Gophers"], (GO,)),  # a group of the rules
        (["gophers", "TESTINGAGENTS"], (GO, TESTER)),  # the case is no matter
        (["Gophers", "codingAgents"], (GO,)),  # nobody twice
        ([], ()),  # none
    ],
)
def test_groups_limit_the_agents(groups: list[str], agents: tuple[object, ...]) -> None:
    assert CATALOG.in_groups(groups).agents == agents


def test_rules_of_a_limited_catalogue_name_only_who_is_there() -> None:
    limited = CATALOG.in_groups(["testingAgents"])

    assert limited.rules.task_routing == {"implementation": ("Test Engineer",)}
    assert limited.rules.groups == {}


def test_group_that_is_almost_right_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        CATALOG.in_groups(["testingagent"])

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Did you mean testingAgents")


def test_context_is_counted_rather_too_high() -> None:
    catalog = make_catalog(make_agent(name="12345", description="1234"))

    assert catalog.context_tokens == 3
    assert catalog.slugs == {"12345"}


def test_unknown_group_names_the_known() -> None:
    with pytest.raises(ConfigError) as caught:
        CATALOG.in_groups(["leadership", "nobody"])

    assert caught.value.code == "unknown-group"
    assert "'nobody'" in caught.value.message
    assert caught.value.hint == (
        "Known are leadership, codingAgents, testingAgents, Gophers, and * for all"
    )
