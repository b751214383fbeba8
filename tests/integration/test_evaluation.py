# SPDX-License-Identifier: Apache-2.0
"""`cco agents eval` from end to end: a real daemon, with answers and verdicts written here."""

import contextlib
import json
import socket
import sqlite3
from collections.abc import Iterator

import pytest

from tests.daemon import KEY, Daemon, daemon
from tests.rawserver import RawServer, Received, reply, serving

pytestmark = pytest.mark.needs("fuse")

VERDICTS = {"ANSWER-OF-go": "1: yes\n2. No\n**3**: yes", "ANSWER-OF-rust": "All of it, I think."}
"""What the judge says of each answer."""


def answer(request: Received, sock: socket.socket) -> None:
    asked = json.loads(request.body)
    said = json.dumps(asked["messages"])
    words = next((text for mark, text in VERDICTS.items() if mark in said), "")
    if not words:
        words = f"ANSWER-OF-{'go' if 'Go service' in said else 'rust'}"
    told = {
        "type": "message",
        "model": asked["model"],
        "content": [{"type": "text", "text": words}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }
    sock.sendall(reply("200 OK", "Content-Type: application/json", body=json.dumps(told).encode()))


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    with serving(answer) as made:
        yield made


@pytest.fixture
def judged(upstream: RawServer) -> Iterator[Daemon]:
    with daemon() as made:
        made.upstream_url = upstream.url
        made.configure()
        made.start()
        yield made


def test_agents_are_asked_and_judged_and_the_cost_is_in_the_ledger(
    judged: Daemon, upstream: RawServer
) -> None:
    done = judged.run(
        *("agents", "eval", "go-specialist", "Rust Specialist", "--yes"), ANTHROPIC_API_KEY=KEY
    )

    assert (done.returncode, done.stderr) == (1, "")
    first, second, last = done.stdout.splitlines()
    assert first.split()[:3] == ["1/2", "go-specialist", "2/3"]
    assert first.endswith(" left")
    assert second.split()[:3] == ["2/2", "rust-specialist", "-/3"]
    assert "the judge did not say yes or no to each statement" in second
    assert last.startswith("2 of 3 (67%) in 1 of 2 answers, $")
    with contextlib.closing(sqlite3.connect(judged.state / "cco.db")) as ledger:
        rows = ledger.execute("SELECT agent, cost_nano, session_id FROM requests").fetchall()
    assert sorted(agent for agent, _, _ in rows) == [
        "Go Specialist",
        "LLM Evaluation Engineer",
        "LLM Evaluation Engineer",
        "Rust Specialist",
    ]
    assert {session for _, _, session in rows} == {""}
    assert last.endswith(f"${sum(cost for _, cost, _ in rows) / 1e9:.6f}")
    assert len(upstream.received) == 4


def test_money_is_not_spent_without_agreement(judged: Daemon, upstream: RawServer) -> None:
    done = judged.run("agents", "eval", "go-specialist", ANTHROPIC_API_KEY=KEY)

    assert done.returncode == 65
    sentence, remedy = done.stderr.splitlines()
    assert sentence.startswith("cco: this takes 1 agent, 2 calls of models, about $0.")
    assert remedy.strip() == "Add --yes to agree"
    assert upstream.received == []


def test_result_is_json_for_programs(judged: Daemon) -> None:
    done = judged.run("agents", "eval", "go-specialist", "--yes", "--json", ANTHROPIC_API_KEY=KEY)

    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)["agents"]
    assert told["agent"] == "go-specialist"
    assert told["contained"] == [True, False, True]
    assert told["costUsd"] > 0
    assert told["error"] is None
    assert "1/1 go-specialist" in done.stderr  # how it goes on is for whoever watches


def test_without_a_key_it_ends_at_once(judged: Daemon, upstream: RawServer) -> None:
    done = judged.run("agents", "eval", "--yes")

    assert done.returncode != 0
    assert "there is no API key" in done.stderr
    assert (done.stdout, upstream.received) == ("", [])


def test_agent_that_is_not_there_is_told(judged: Daemon) -> None:
    done = judged.run("agents", "eval", "go-specialst", "--yes")

    assert done.returncode == 66
    assert "there is no agent 'go-specialst'" in done.stderr
