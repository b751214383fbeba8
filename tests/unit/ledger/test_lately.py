# SPDX-License-Identifier: Apache-2.0
"""What happened lately, each figure equal to what the rows say."""

from collections.abc import Iterator
from concurrent.futures import wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cco.ledger import lately
from cco.ledger.rows import AgentRun, RequestRow
from cco.ledger.store import Store

DEADLINE_S = 30
NANO = 1_000_000_000
MINUTE_NS = 60 * NANO
NOW_NS = int(datetime(2026, 11, 22, 12, 30, 40, tzinfo=UTC).timestamp()) * NANO
NONE = {"p50": None, "p95": None}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as opened:
        yield opened


def record(store: Store, *rows: dict[str, Any]) -> None:
    made = [RequestRow(**{"request_id": f"r{n}", **row}) for n, row in enumerate(rows)]
    done, _ = wait([store.record(row) for row in made], DEADLINE_S)
    assert len(done) == len(rows)


def test_activity_has_a_slot_for_each_minute_and_hour(store: Store) -> None:
    record(
        store,
        {"started_ns": NOW_NS, "cost_nano": 5, "project": "/a"},
        {"started_ns": NOW_NS - 40 * NANO, "cost_nano": 6},  # the minute's first moment
        {"started_ns": NOW_NS - 41 * NANO, "cost_nano": 7},
        {"started_ns": NOW_NS - 2 * 60 * MINUTE_NS, "cost_nano": 8},
        {"started_ns": NOW_NS - 48 * 60 * MINUTE_NS, "cost_nano": 9},
    )
    told = lately.activity(store, now_ns=NOW_NS)

    minutes, hours = told["minutes"], told["hours"]
    assert (told["project"], minutes["from"]) == (None, "2026-11-22T11:31:00.000Z")
    assert hours["from"] == "2026-11-21T13:00:00.000Z"
    assert (len(minutes["requests"]), len(hours["costUsd"])) == (60, 24)
    assert minutes["requests"] == [0] * 58 + [1, 2]
    assert minutes["costUsd"][-2:] == [7 / NANO, 11 / NANO]
    assert hours["requests"] == [0] * 21 + [1, 0, 3]
    assert hours["costUsd"][-3:] == [8 / NANO, 0, 18 / NANO]


def test_activity_of_a_project_is_its_own(store: Store) -> None:
    record(store, {"started_ns": NOW_NS, "project": "/a"}, {"started_ns": NOW_NS, "project": "/b"})
    told = lately.activity(store, now_ns=NOW_NS, project="/a")

    assert told["project"] == "/a"
    assert sum(told["minutes"]["requests"]) == sum(told["hours"]["requests"]) == 1


def test_activity_of_nothing_is_zeros(store: Store) -> None:
    told = lately.activity(store, now_ns=NOW_NS)
    assert told["minutes"]["requests"] == told["minutes"]["costUsd"] == [0] * 60


def test_latency_of_an_upstream_is_that_of_its_good_answers_in_the_last_hour(store: Store) -> None:
    good = [
        {"upstream": "a", "status": 200, "started_ns": NOW_NS - n, "latency_ms": float(n)}
        for n in range(1, 101)
    ]
    record(
        store,
        *good,
        {"upstream": "a", "status": 529, "started_ns": NOW_NS, "latency_ms": 9999.0},
        {"upstream": "a", "status": 200, "error": "cut", "started_ns": NOW_NS, "ttft_ms": 1.0},
        {"upstream": "b", "status": 0, "started_ns": NOW_NS},
        {"upstream": "c", "status": 200, "started_ns": NOW_NS - 61 * MINUTE_NS},
        {"upstream": "", "status": 200, "started_ns": NOW_NS},
    )
    told = lately.upstreams(store, now_ns=NOW_NS)

    assert told == {
        "a": {
            "requests": 102,
            "errors": 2,
            "latencyMs": {"p50": 50.0, "p95": 95.0},
            "ttftMs": NONE,
        },
        "b": {"requests": 1, "errors": 1, "latencyMs": NONE, "ttftMs": NONE},
    }


def test_one_answer_is_its_own_percentile(store: Store) -> None:
    record(
        store,
        {"upstream": "a", "status": 200, "started_ns": NOW_NS, "latency_ms": 8.0, "ttft_ms": 2.5},
    )
    told = lately.upstreams(store, now_ns=NOW_NS)["a"]
    assert told["latencyMs"] == {"p50": 8.0, "p95": 8.0}
    assert told["ttftMs"] == {"p50": 2.5, "p95": 2.5}


def test_running_agents_are_those_of_the_launch_that_have_not_ended(store: Store) -> None:
    record(
        store,
        {"started_ns": 1, "session_id": "one", "client_session": "c-1"},
        {"started_ns": 2, "session_id": "one", "client_session": "c-1"},
        {"started_ns": 3, "session_id": "other", "client_session": "c-2"},
        {"started_ns": 4, "session_id": "one", "client_session": ""},
    )
    for nth, (session, agent, ended) in enumerate(
        [("c-1", "Go", None), ("c-1", "Rust", 9), ("c-1", "Go", None), ("c-2", "C", None)]
    ):
        run = AgentRun(
            client_session=session,
            agent_id=f"a{nth}",
            agent=agent,
            started_ns=nth,
            ended_ns=ended,
        )
        store.save_agent_run(run).result(DEADLINE_S)

    assert lately.running_agents(store, ["one", "other", "none"]) == {
        "one": ["Go", "Go"],
        "other": ["C"],
        "none": [],
    }
