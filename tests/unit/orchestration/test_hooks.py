# SPDX-License-Identifier: Apache-2.0
"""Hooks learn which subagents run, and decide nothing."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cco.ledger.store import Store
from cco.orchestration.attribution import UNATTRIBUTED, AgentRuns
from cco.orchestration.hooks import Hooks
from cco.orchestration.load import Load
from tests.mounting import wait_until

GOOD = {"session_id": "s", "agent_id": "a", "agent_type": "cco:chief-architect"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "cco.db") as opened:
        yield opened


@pytest.fixture
def runs(store: Store) -> AgentRuns:
    clock = itertools.count(1)
    return AgentRuns(store, now_ns=lambda: next(clock), name_of=str, load=Load(lambda: 0))


def test_subagent_is_known_from_its_start_to_its_end(runs: AgentRuns, store: Store) -> None:
    hooks = Hooks(runs)
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
    event: str, changes: dict[str, Any], runs: AgentRuns, store: Store
) -> None:
    assert Hooks(runs).handle(event, {**GOOD, **changes}) is None
    assert runs.name("s", "a") == UNATTRIBUTED
    store.close()


@pytest.mark.parametrize(
    "event", ["PreCompact", "Stop", "UserPromptSubmit", "subagentstart", "", "NoSuchEvent"]
)
def test_other_events_are_answered_with_nothing(event: str, runs: AgentRuns) -> None:
    hooks = Hooks(runs)
    for given in ({}, GOOD, {"session_id": "s", "trigger": "auto"}):
        assert hooks.handle(event, given) is None
    assert runs.name("s", "a") == UNATTRIBUTED
