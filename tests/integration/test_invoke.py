# SPDX-License-Identifier: Apache-2.0
"""Agents invoked as programs do it: a real daemon, the offline upstream, real sockets."""

import contextlib
import http.client
import json
import shlex
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.daemon import CCO, KEY, Daemon, call
from tests.integration.terminal import terminal
from tests.mounting import DEADLINE_S, wait_until

TARGET = "/api/agent/invoke"
AGENT = "chief-architect"


def asked(task: str, **more: Any) -> dict[str, Any]:
    return {"agent": AGENT, "task": task, **more}


@contextmanager
def asking(served: Daemon, payload: Any, **headers: str) -> Iterator[http.client.HTTPResponse]:
    """Ask over TCP and yield the answer as it arrives; leaving early hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        fields = {"x-api-key": KEY, "content-type": "application/json", **headers}
        connection.request("POST", TARGET, json.dumps(payload), fields)
        response = connection.getresponse()
        with response:
            yield response


def events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield the events of an answer as they arrive."""
    name = ""
    for line in response:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def rows(served: Daemon) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(served.state / "cco.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM requests ORDER BY id")]


def row_of(served: Daemon, request_id: str) -> dict[str, Any]:
    return next(row for row in rows(served) if row["request_id"] == request_id)


def is_idle(served: Daemon) -> bool:
    """Say whether an agent is at once to be had, one of as many as may run."""
    told = call(served.port, "POST", TARGET, body=json.dumps(asked("Are you there?")).encode())
    return told.status == 200


def test_stream_begins_before_the_answer_is_whole(served: Daemon) -> None:
    with asking(served, asked("offline: slow 0.2\nName four risks", stream=True)) as response:
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-cco-cache"] == "miss"
        heard = list(events(response))

    *deltas, (name, result) = heard
    assert name == "result"
    assert len(deltas) > 1
    assert {one for one, _ in deltas} == {"delta"}
    assert "".join(delta["text"] for _, delta in deltas) == result["response"] != ""
    row = row_of(served, result["requestId"])
    assert (row["cost_nano"], row["stream"]) == (round(result["costUsd"] * 1e9), 1)
    assert row["agent"] == result["agent"] == "Chief Architect"


def test_stream_and_plain_answer_are_one_for_the_cache(served: Daemon) -> None:
    task = "Name the one risk"
    with asking(served, asked(task, stream=True)) as response:
        first = list(events(response))[-1][1]
    again = call(served.port, "POST", TARGET, body=json.dumps(asked(task)).encode())
    assert again.headers["x-cco-cache"] == "hit"
    told = again.json()
    assert (told["response"], told["cached"], told["costUsd"]) == (first["response"], True, 0)


@pytest.mark.parametrize("cut", ["content", "message_start"])
def test_stream_that_breaks_off_ends_with_an_error(cut: str, served: Daemon) -> None:
    with asking(served, asked(f"offline: cut {cut}\nSay it", stream=True)) as response:
        *_, (name, told) = events(response)

    assert (name, told["error"]["code"]) == ("error", "upstream-broken")
    assert told["error"]["hint"]


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("status 529", 502, "upstream-error"),
        ("status 401", 403, "bad-credential"),
        ("error overloaded_error", 502, "upstream-error"),
        ("cut length", 502, "upstream-broken"),
        ("html", 502, "upstream-error"),
    ],
)
def test_what_the_provider_refuses_is_an_answer(
    directive: str, status: int, code: str, served: Daemon
) -> None:
    body = json.dumps(asked(f"offline: {directive}\nSay it")).encode()
    answer = call(served.port, "POST", TARGET, body=body)

    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


def test_list_is_told_as_each_one_ends(served: Daemon) -> None:
    session = served.launch()
    tasks = ["offline: silent 2\nlast", "second", "offline: status 529\nthird"]
    several = [asked(task) for task in tasks] + [{"agent": "chief-architekt", "task": "x"}]
    with asking(served, {"invocations": several}, **{"x-cco-session": session.token}) as response:
        heard = list(events(response))

    assert {name for name, _ in heard} == {"result"}
    order = [told["index"] for _, told in heard]
    assert sorted(order) == [0, 1, 2, 3]
    assert order[-1] == 0  # the slow one
    told = {one["index"]: one for _, one in heard}
    assert told[0]["response"]
    assert told[1]["response"]
    assert told[2]["error"]["code"] == "upstream-error"
    assert told[3]["error"]["code"] == "unknown-agent"
    assert "Chief Architect" in told[3]["error"]["hint"]
    mine = [row for row in rows(served) if row["session_id"] == session.id]
    assert len(mine) == 3
    assert {row["project"] for row in mine} == {str(served.home)}


LIMITS = "[agents]\nmax_concurrent = 2\nqueue_timeout_s = 1\n"
"""Nobody who asks whether there is a turn keeps another one from having it."""


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("directive", ["stall", "slow 30"])
def test_caller_that_goes_away_ends_what_it_began(
    directive: str, is_list: bool, cco: Daemon
) -> None:
    cco.configure(LIMITS)
    cco.start()
    tasks = [asked(f"offline: {directive}\nTask {n}", stream=True) for n in range(4)]
    with asking(cco, {"invocations": tasks} if is_list else tasks[0]) as response:
        assert response.status == 200
        wait_until(lambda: not is_list or not is_idle(cco), "all turns are taken")
    wait_until(lambda: is_idle(cco), "there is a turn again")

    began = 2 if is_list else 1
    wait_until(lambda: sum(row["partial"] for row in rows(cco)) == began, "they are in the ledger")


def test_lists_that_are_left_leave_no_thread(cco: Daemon) -> None:
    cco.configure(LIMITS)
    cco.start()
    assert is_idle(cco)
    threads = cco.worker.num_threads()
    for nth in range(12):
        tasks = [asked(f"offline: stall\nTask {nth} {n}") for n in range(4)]
        with asking(cco, {"invocations": tasks}) as response:
            assert response.status == 200
    wait_until(lambda: is_idle(cco), "there is a turn again")
    wait_until(lambda: cco.worker.num_threads() < threads + 12, "no thread is left")


def test_turns_are_counted_over_all_callers_and_reloads(cco: Daemon) -> None:
    cco.configure("[agents]\nmax_concurrent = 2\nqueue_timeout_s = 0\n")
    cco.start()
    with (
        asking(cco, asked("offline: stall\none", stream=True)),
        asking(cco, asked("offline: stall\ntwo", stream=True)),
    ):
        assert not is_idle(cco)
        assert cco.run("daemon", "reload").returncode == 0
        assert not is_idle(cco)
        refused = call(cco.port, "POST", TARGET, body=json.dumps(asked("x")).encode())
        assert (refused.status, refused.json()["error"]["code"]) == (429, "agents-busy")
    wait_until(lambda: is_idle(cco), "there is a turn again")


def test_time_and_money_are_bounded(cco: Daemon) -> None:
    cco.configure("[agents]\ninvoke_timeout_s = 1\ninvoke_max_usd = 0.2\n")
    cco.start()
    late = call(cco.port, "POST", TARGET, body=json.dumps(asked("offline: stall\nx")).encode())
    assert (late.status, late.json()["error"]["code"]) == (504, "invoke-timeout")
    with asking(cco, asked("offline: slow 0.4\nSay it", stream=True)) as response:
        *_, (name, told) = events(response)
    assert (name, told["error"]["code"]) == ("error", "invoke-timeout")
    assert "invoke_timeout_s" in told["error"]["hint"]

    dear = call(cco.port, "POST", TARGET, body=json.dumps(asked("word " * 20_000)).encode())
    assert (dear.status, dear.json()["error"]["code"]) == (400, "invoke-too-dear")
    assert "invoke_max_usd" in dear.json()["error"]["message"]


def test_budget_that_is_spent_refuses_agents(cco: Daemon) -> None:
    cco.configure('[[budget]]\nscope = "day"\nusd = 0.0\naction = "block"\n')
    cco.start()
    answer = call(cco.port, "POST", TARGET, body=json.dumps(asked("x")).encode())

    assert (answer.status, answer.json()["error"]["code"]) == (402, "budget-spent")


def test_crowd_of_callers_is_served_without_a_thread_too_many(cco: Daemon) -> None:
    cco.configure("[agents]\nmax_concurrent = 3\nqueue_timeout_s = 60\n")
    cco.start()
    answers: list[int] = []

    def ask(number: int) -> None:
        several = [asked(f"Task {number} {n}") for n in range(5)]
        with asking(cco, {"invocations": several}) as response:
            answers.extend("response" in told for _, told in events(response))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 30
    assert len(rows(cco)) == 30


def test_person_at_a_terminal_sees_the_answer_as_it_comes(served: Daemon) -> None:
    task = "offline: slow 0.3\nDesign the architecture of a billing system and its components"
    line = shlex.join([*CCO, "invoke", "auto", task])
    with terminal(
        ["sh", "-c", f"{line}; sleep 1000"],
        socket=served.base / "tmux",
        environ=served.environ(ANTHROPIC_API_KEY=KEY, TERM="xterm"),
        directory=served.home,
    ) as shown:
        shown.wait_for("CCO offline upstream:")
        screen = shown.wait_for(" tokens, ")
    assert "no model was asked" in screen
    assert "cco: Chief Architect (" in screen


def test_interrupt_ends_what_was_begun(cco: Daemon) -> None:
    cco.configure("[agents]\nmax_concurrent = 1\nqueue_timeout_s = 0\n")
    cco.start()
    with cco.spawn("invoke", AGENT, "offline: stall\nx", ANTHROPIC_API_KEY=KEY) as process:
        wait_until(lambda: not is_idle(cco), "the agent is asked")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    wait_until(lambda: is_idle(cco), "there is a turn again")
    wait_until(lambda: any(row["partial"] for row in rows(cco)), "it is in the ledger")


def test_caller_that_stops_reading_keeps_no_turn_for_ever(cco: Daemon) -> None:
    limits = "max_concurrent = 1\nqueue_timeout_s = 0\ninvoke_timeout_s = 3\ninvoke_max_usd = 100"
    cco.configure(f"[agents]\n{limits}\n")
    cco.start()
    long = asked("offline: text 900000\nx", stream=True, maxTokens=500_000)
    body = json.dumps(long).encode()
    # By the Unix socket, which takes less in advance than the answer is long.
    with cco.client.stream("POST", TARGET, body=body, headers={"x-api-key": KEY}) as (status, *_):
        assert status == 200
        assert not is_idle(cco)
        wait_until(lambda: is_idle(cco), "there is a turn again")


def test_tasks_of_a_list_choose_their_agents(served: Daemon) -> None:
    several = [
        {"agent": "auto", "task": "Design the architecture of a billing system"},
        {"agent": "auto", "task": "xyzzy"},
    ]
    with asking(served, {"invocations": several}) as response:
        told = {one["index"]: one for _, one in events(response)}
    assert told[0]["agent"] == "Chief Architect"
    assert told[0]["reason"]
    assert told[1]["error"]["code"] == "no-agent-fits"


def test_cost_counts_for_the_project_the_user_stands_in(served: Daemon) -> None:
    project = served.home / "shop"
    below = project / "deep/below"
    below.mkdir(parents=True)
    (project / ".git").mkdir()
    stored = served.run("knowledge", "store", "Prices are in cents", "--project", str(project))
    assert stored.returncode == 0, stored.stderr

    done = served.run(
        "invoke", AGENT, "Which unit do prices have?", "--json", cwd=below, ANTHROPIC_API_KEY=KEY
    )
    assert done.returncode == 0, done.stderr
    row = row_of(served, json.loads(done.stdout)["requestId"])
    assert (row["project"], row["session_id"]) == (str(project), "")
    known = served.run("knowledge", "list", "--json", "--project", str(project))
    assert {fact["source"] for fact in json.loads(known.stdout)} == {"user", "Chief Architect"}
