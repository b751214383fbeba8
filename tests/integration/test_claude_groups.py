# SPDX-License-Identifier: Apache-2.0
"""A session sees the agents of its groups: the real Claude Code lists and runs no others."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from cco.catalog.loader import BUILTIN, load
from tests.integration.claude import Done, Place, asking, listed, placed

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

CATALOG = load(BUILTIN, user=None)


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


def first_request(place: Place, done: Done) -> dict[str, Any]:
    assert (done.status, done.err) == (0, "")
    session = done.told["session_id"]
    return next(
        body
        for request, body in place.messages()
        if request.header("x-claude-code-session-id") == session
    )


def test_agents_outside_of_the_groups_are_neither_listed_nor_run(place: Place) -> None:
    team = "offline: agent cco:go-specialist One\noffline: agent cco:chief-architect Two"
    limited = place.launch_claude("run", "--agents", "Language Specialists", "--", *asking(team))
    whole = place.ask("Hello")

    inside = CATALOG.in_groups(["Language Specialists"])
    body = first_request(place, limited)
    assert listed(body) == {agent.slug: agent.description for agent in inside.agents}
    assert set(listed(first_request(place, whole))) == CATALOG.slugs
    assert "Agent cco:go-specialist answered:" in limited.result
    assert "Agent cco:chief-architect answered:" not in limited.result
    assert {row["agent"] for row in place.rows()} == {"main", "Go Specialist"}
    said = json.dumps(body, ensure_ascii=False)
    assert "cco:chief-architect" not in said.replace(team.partition("\n")[2], "")
    assert f"a team of {len(inside.agents)} specialised agents" in said


def test_projects_own_file_chooses_and_an_unknown_group_launches_nothing(place: Place) -> None:
    settings = place.project / ".cco.toml"
    settings.write_text("[agents]\ngroups = ['leadership']\n")
    done = place.ask("Hello")
    assert set(listed(first_request(place, done))) == CATALOG.in_groups(["leadership"]).slugs

    before = len(place.messages())
    settings.write_text("[agents]\ngroups = ['leadreship']\n")
    refused = place.ask("Hello")
    assert refused.status == os.EX_CONFIG
    place_told = f"{settings}:2: there is no group or category 'leadreship'"
    assert refused.err == f"cco: {place_told}\n     Did you mean leadership?\n"
    checked = place.launch_claude("config", "check")
    assert (checked.status, checked.out) == (1, f"{place_told}\n  Did you mean leadership?\n")
    assert len(place.messages()) == before


def test_processes_of_a_session_find_no_definition_of_another_agent(place: Place) -> None:
    files = "leadership/chief-architect.md", "codingAgents/go-specialist.md"
    directory = "$ORCHESTRATOR_VFS_MOUNT/plugin/agents"
    reads = "\n".join(f"offline: bash cat {directory}/{file}; echo $?" for file in files)
    done = place.launch_claude(
        *("run", "--agents", "leadership", "--"),
        *asking(reads, "--allowedTools", "Bash"),
    )

    assert done.status == 0, done.err
    assert "You settle the decisions" in done.result
    assert "No such file or directory" in done.result
