# SPDX-License-Identifier: Apache-2.0
"""The main job: Claude Code launched by `cco` has the agents, runs them, and its bill is right."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.integration.claude import (
    MODELS,
    Done,
    Place,
    key_lines,
    listed,
    nano,
    placed,
    system_texts,
)

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

TEAM: Final = "\n".join(
    [
        "Please:",
        "offline: agent cco:chief-architect One >> agent cco:python-specialist Nested",
        "offline: agent cco:test-engineer Two",
        "offline: agent cco:knowledge-manager Three",
    ]
)
"""Three agents in parallel, one of which starts another."""


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


def test_agents_run_from_their_sealed_text_and_the_bill_is_right_to_the_nano_dollar(
    place: Place,
) -> None:
    agents = place.unsealed_agents()

    with ThreadPoolExecutor() as pool:
        runs = dict(
            zip(MODELS, pool.map(lambda m: place.ask(TEAM, model=m), MODELS.values()), strict=True)
        )

    for tier, done in runs.items():
        assert (done.status, done.err, done.told["is_error"]) == (0, "", False)
        session = done.told["session_id"]
        sent = [
            (request, body)
            for request, body in place.messages()
            if request.header("x-claude-code-session-id") == session
        ]
        check_listing(sent[0][1], agents)
        check_system_prompts(sent, agents)
        check_answers(done)
        check_rows(place, done, model=MODELS[tier])
    assert place.rows("agent = 'unattributed' OR client_session = ''") == []
    check_statistics(place, runs)


def check_listing(body: dict[str, Any], agents: dict[str, Any]) -> None:
    """All agents are listed to the upstream, each with its description."""
    assert listed(body) == {slug: agent["description"] for slug, agent in agents.items()}


def check_system_prompts(sent: list[Any], agents: dict[str, Any]) -> None:
    """Each agent ran with exactly its sealed text, and nobody else has any of it."""
    instructions = {slug: agent["instructions"] for slug, agent in agents.items()}
    ran: Counter[str] = Counter()
    for request, body in sent:
        own = [slug for slug, text in instructions.items() if has_block(body, text)]
        is_subagent = request.header("x-claude-code-agent-id") is not None
        assert len(own) == is_subagent
        ran.update(own)
        others = [text for slug, text in instructions.items() if slug not in own]
        lines = {line for text in others for line in key_lines(text)}
        said = json.dumps(body, ensure_ascii=False)
        assert not [line for line in lines if line in said]
    # Who starts an agent has its result to deal with in another request.
    assert ran == {
        "chief-architect": 2,
        "python-specialist": 1,
        "test-engineer": 1,
        "knowledge-manager": 1,
    }


def has_block(body: dict[str, Any], instructions: str) -> bool:
    """Say whether a block of the system prompt is these instructions.

    Claude Code puts its own notes on the surroundings behind an agent's text, in the same block.
    """
    return any(text.startswith(instructions.rstrip() + "\n") for text in system_texts(body))


def check_answers(done: Done) -> None:
    for slug in ("chief-architect", "test-engineer", "knowledge-manager"):
        assert f"Agent cco:{slug} answered:" in done.result
    assert "> Agent cco:python-specialist answered:" in done.result


def check_rows(place: Place, done: Done, *, model: str) -> None:
    """The ledger has every request under its agent's name, and the sum that the client tells."""
    rows = place.rows(f"client_session = '{done.told['session_id']}'")
    assert sum(row["cost_nano"] for row in rows) == nano(done.told["total_cost_usd"]) > 0
    names = Counter((row["agent"], row["parent_agent"], row["model"]) for row in rows)
    assert names == {
        ("main", "", model): 2,
        ("Chief Architect", "main", MODELS["opus"]): 2,
        ("Python Specialist", "Chief Architect", MODELS["haiku"]): 1,
        ("Test Engineer", "main", MODELS["sonnet"]): 1,
        ("Knowledge Manager", "main", MODELS["haiku"]): 1,
    }
    ids = {row["agent"]: row["agent_id"] for row in rows}
    assert ids["main"] == ""
    assert len(set(ids.values())) == len(ids)
    (nested,) = [row for row in rows if row["agent"] == "Python Specialist"]
    assert nested["parent_agent_id"] == ids["Chief Architect"]
    for row in rows:
        assert row["project"] == str(place.project)
        assert (row["status"], row["partial"], row["priced"], row["attempts"]) == (200, 0, 1, 1)
        assert row["session_id"] == rows[0]["session_id"]


def check_statistics(place: Place, runs: dict[str, Done]) -> None:
    """`cco stats` shows the same sums to a person."""
    stats = json.loads(place.run("stats", "--json").stdout)
    told = {done.told["session_id"]: nano(done.told["total_cost_usd"]) for done in runs.values()}
    assert {row["session"]: nano(row["costUsd"]) for row in stats["bySession"]} == told
    assert nano(stats["cost"]["totalUsd"]) == sum(told.values())
