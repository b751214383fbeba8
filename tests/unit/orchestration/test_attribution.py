# SPDX-License-Identifier: Apache-2.0
"""Which agent a request belongs to, over a restart, and never by guessing."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cco.ledger.store import Store
from cco.orchestration import attribution
from cco.orchestration.attribution import MAIN, UNATTRIBUTED, AgentRuns
from cco.orchestration.load import Load
from tests.mounting import wait_until

NAMES = {"cco:chief-architect": "Chief Architect", "cco:test-engineer": "Test Engineer"}
START_NS = 1_790_000_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "cco.db") as opened:
        yield opened


def runs_of(store: Store) -> AgentRuns:
    clock = itertools.count(START_NS)
    return AgentRuns(
        store,
        now_ns=lambda: next(clock),
        name_of=lambda kind: NAMES.get(kind, kind),
        load=Load(lambda: START_NS),
    )


@pytest.fixture
def runs(store: Store) -> AgentRuns:
    return runs_of(store)


def wait_for_run(store: Store, session: str, agent: str, *, ended: bool = False) -> None:
    def is_there() -> bool:
        run = store.find_agent_run(session, agent)
        return run is not None and (run.ended_ns is not None or not ended)

    wait_until(is_there, "the run is in the store")


def test_agent_is_known_from_its_announcement_on(runs: AgentRuns) -> None:
    assert runs.name("s", "a") == UNATTRIBUTED
    runs.started("s", "a", "cco:chief-architect")

    assert runs.name("s", "a") == "Chief Architect"  # at once: its requests follow


@pytest.mark.parametrize(
    ("session", "agent", "name"),
    [
        ("s", "", MAIN),  # the session itself
        ("", "", MAIN),
        ("s", "b", UNATTRIBUTED),
        ("t", "a", UNATTRIBUTED),  # ids are of one session
        ("", "a", UNATTRIBUTED),
    ],
)
def test_what_was_never_announced_is_not_guessed(
    session: str, agent: str, name: str, runs: AgentRuns
) -> None:
    runs.started("s", "a", "cco:chief-architect")

    assert runs.name(session, agent) == name


def test_agents_of_claude_code_keep_their_type(runs: AgentRuns) -> None:
    runs.started("s", "a", "general-purpose")

    assert runs.name("s", "a") == "general-purpose"


def test_agent_is_known_after_a_restart(store: Store, runs: AgentRuns) -> None:
    runs.started("s", "a", "cco:chief-architect")
    runs.started("s", "b", "cco:test-engineer")
    runs.ended("s", "a", "cco:chief-architect")
    wait_for_run(store, "s", "a", ended=True)
    wait_for_run(store, "s", "b")

    again = runs_of(store)
    assert again.name("s", "a") == "Chief Architect"  # its last answer may still come
    assert again.name("s", "b") == "Test Engineer"
    assert again.name("s", "c") == UNATTRIBUTED


def test_agent_that_is_only_seen_to_end_has_a_name(store: Store, runs: AgentRuns) -> None:
    # The daemon may have been away when it began.
    runs.ended("s", "a", "cco:chief-architect")
    wait_for_run(store, "s", "a")

    assert runs.name("s", "a") == "Chief Architect"


def test_end_keeps_the_start(store: Store, runs: AgentRuns) -> None:
    runs.started("s", "a", "cco:chief-architect")
    runs.ended("s", "a", "cco:chief-architect")
    wait_for_run(store, "s", "a", ended=True)

    run = store.find_agent_run("s", "a")
    assert run is not None
    assert (run.started_ns, run.ended_ns) == (START_NS, START_NS + 1)


def test_memory_is_bounded_and_the_store_knows_the_rest(
    store: Store, runs: AgentRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attribution, "MAX_REMEMBERED", 3)
    for number in range(10):
        runs.started("s", str(number), "cco:test-engineer")
    wait_for_run(store, "s", "9")

    assert len(runs._names) == 3
    assert runs.name("s", "0") == "Test Engineer"
    assert len(runs._names) == 3


def test_database_that_cannot_be_read_keeps_no_request_from_going_on(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("The ledger cannot be written")
    expect_log("The ledger closed before")
    (tmp_path / "file").touch()
    with Store.open(tmp_path / "file" / "cco.db") as store:
        runs = runs_of(store)
        assert runs.name("s", "a") == UNATTRIBUTED
        runs.started("s", "a", "cco:chief-architect")
        assert runs.name("s", "a") == "Chief Architect"
