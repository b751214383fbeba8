# SPDX-License-Identifier: Apache-2.0
"""Hooks learn which subagents run, keep what must survive, and decide nothing."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cco.config import Knowledge as Settings
from cco.ledger.store import Store
from cco.orchestration.attribution import UNATTRIBUTED, AgentRuns
from cco.orchestration.hooks import Hooks
from cco.orchestration.knowledge import Knowledge
from cco.orchestration.load import Load
from cco.orchestration.recall import Recall
from cco.orchestration.router import Choice
from cco.orchestration.sessions import Session
from tests.mounting import wait_until
from tests.unit.catalog.samples import make_agent
from tests.unit.orchestration.test_recall import SESSION
from tests.unit.orchestration.test_transcript import CONVERSATION

GOOD = {"session_id": "s", "agent_id": "a", "agent_type": "cco:chief-architect"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "cco.db") as opened:
        yield opened


@pytest.fixture
def runs(store: Store) -> AgentRuns:
    clock = itertools.count(1)
    return AgentRuns(store, now_ns=lambda: next(clock), name_of=str, load=Load(lambda: 0))


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[Knowledge]:
    made = Knowledge(tmp_path / "knowledge.db", now_ns=lambda: 1_790_000_000_000_000_000)
    yield made
    made.close()


@pytest.fixture
def recall(knowledge: Knowledge) -> Recall:
    return Recall(
        knowledge, settings=lambda project: Settings(), is_sharing=lambda: True, uid=os.getuid()
    )


def suggest(session: Session | None, prompt: str) -> Choice | None:
    """Stands for the router, which has tests of its own."""
    return Choice(make_agent(), 0.9, "a rule") if prompt.startswith("Design ") else None


def test_subagent_is_known_from_its_start_to_its_end(
    runs: AgentRuns, recall: Recall, store: Store
) -> None:
    hooks = Hooks(runs, recall, suggest=suggest)
    more = {**GOOD, "hook_event_name": "SubagentStart", "cwd": "/p", "prompt": "never looked at"}
    assert hooks.handle("SubagentStart", more) is None
    assert runs.name("s", "a") == "cco:chief-architect"
    assert hooks.handle("SubagentStop", GOOD) is None

    def is_ended() -> bool:
        run = store.find_agent_run("s", "a")
        return run is not None and run.ended_ns is not None

    wait_until(is_ended, "the end is in the store")


@pytest.mark.parametrize("event", ["SubagentStart", "SubagentStop"])
@pytest.mark.parametrize(
    "changes",
    [
        {"agent_type": ""},  # a compaction ends with a SubagentStop of no type
        {"agent_type": None},
        {"agent_type": 1},
        {"agent_id": ""},
        {"agent_id": None},
        {"agent_id": ["a"]},
        {"session_id": None},
        {"session_id": {}},
    ],
)
def test_input_that_is_not_as_expected_is_passed_over(
    event: str, changes: dict[str, Any], runs: AgentRuns, recall: Recall, store: Store
) -> None:
    assert Hooks(runs, recall, suggest=suggest).handle(event, {**GOOD, **changes}) is None
    assert runs.name("s", "a") == UNATTRIBUTED
    store.close()


@pytest.mark.parametrize(
    "event", ["PreCompact", "Stop", "UserPromptSubmit", "subagentstart", "", "NoSuchEvent"]
)
def test_other_events_are_answered_with_nothing(
    event: str, runs: AgentRuns, recall: Recall, store: Store
) -> None:
    hooks = Hooks(runs, recall, suggest=suggest)
    for given in ({}, GOOD, {"session_id": "s", "trigger": "auto"}):
        assert hooks.handle(event, given) is None
    assert runs.name("s", "a") == UNATTRIBUTED


def test_result_of_an_agent_is_kept_for_its_project(
    runs: AgentRuns, recall: Recall, knowledge: Knowledge
) -> None:
    hooks = Hooks(runs, recall, suggest=suggest)
    told = {**GOOD, "last_assistant_message": "The design is in docs/design.md."}
    assert hooks.handle("SubagentStart", GOOD, session=SESSION) is None
    assert hooks.handle("SubagentStop", told, session=SESSION) is None

    (fact,) = knowledge.latest(project="/p", limit=9)
    assert fact.text == "The design is in docs/design.md."
    assert (fact.source, fact.session) == ("cco:chief-architect", SESSION.id)


@pytest.mark.parametrize(
    ("changes", "session"),
    [
        ({"last_assistant_message": "of no session"}, None),
        ({"last_assistant_message": 7}, SESSION),
        ({"last_assistant_message": ""}, SESSION),
        ({}, SESSION),
        ({"last_assistant_message": "<summary>", "agent_type": ""}, SESSION),  # of a compaction
    ],
)
def test_nothing_is_kept_of_what_is_no_result(
    changes: dict[str, Any],
    session: Session | None,
    runs: AgentRuns,
    recall: Recall,
    knowledge: Knowledge,
) -> None:
    Hooks(runs, recall, suggest=suggest).handle(
        "SubagentStop", {**GOOD, **changes}, session=session
    )

    assert knowledge.latest(limit=9) == []


@pytest.mark.parametrize("earlier", [[], ["UserPromptSubmit"], ["SubagentStart", "PreCompact"]])
def test_compaction_is_prepared_for(
    earlier: list[str], runs: AgentRuns, recall: Recall, knowledge: Knowledge, tmp_path: Path
) -> None:
    file = tmp_path / "projects" / "-p" / "s.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONVERSATION)
    given = {**GOOD, "transcript_path": str(file), "trigger": "manual"}
    hooks = Hooks(runs, recall, suggest=suggest)
    for event in [*earlier, "PreCompact"]:
        # Claude Code would put any answer into the prompt of the compaction.
        assert hooks.handle(event, given, session=SESSION) is None

    memory = knowledge.memory(SESSION.id)
    assert memory is not None
    assert "We decided to keep money in cents." in memory.text


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"transcript_path": "/etc/passwd", "session_id": "passwd"},
        {"transcript_path": "/nowhere/projects/x/s.jsonl", "session_id": "s"},
        {"transcript_path": ["x"], "session_id": {}},
        {"transcript_path": "\0/projects/x/s.jsonl", "session_id": "s"},
    ],
)
def test_compaction_without_a_transcript_is_no_trouble(
    given: dict[str, Any], runs: AgentRuns, recall: Recall, knowledge: Knowledge
) -> None:
    assert Hooks(runs, recall, suggest=suggest).handle("PreCompact", given, session=SESSION) is None
    assert knowledge.memory(SESSION.id) is None


def test_prompt_that_calls_for_a_specialist_is_answered_in_one_line(
    runs: AgentRuns, recall: Recall
) -> None:
    given = {"session_id": "s", "prompt": "Design the storage layer"}
    told = Hooks(runs, recall, suggest=suggest).handle("UserPromptSubmit", given)

    assert told is not None
    output = told["hookSpecificOutput"]
    assert output["hookEventName"] == "UserPromptSubmit"
    assert set(output) == {"hookEventName", "additionalContext"}  # it decides nothing
    assert output["additionalContext"].startswith("CCO: `cco:chief-architect` (Chief Architect)")
    assert "\n" not in output["additionalContext"]


@pytest.mark.parametrize("prompt", ["hello", "", None, 7, ["Design "]])
def test_other_prompts_are_answered_with_nothing(
    prompt: Any, runs: AgentRuns, recall: Recall
) -> None:
    hooks = Hooks(runs, recall, suggest=suggest)
    assert hooks.handle("UserPromptSubmit", {"session_id": "s", "prompt": prompt}) is None


def test_report_of_an_agent_whose_start_was_missed_has_its_name(
    store: Store, recall: Recall, knowledge: Knowledge
) -> None:
    runs = AgentRuns(store, now_ns=lambda: 1, name_of=lambda _: "Architect", load=Load(lambda: 0))
    hooks = Hooks(runs, recall, suggest=suggest)
    hooks.handle("SubagentStop", {**GOOD, "last_assistant_message": "done"}, session=SESSION)

    (fact,) = knowledge.latest(limit=9)
    assert fact.source == "Architect"
