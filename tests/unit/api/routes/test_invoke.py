# SPDX-License-Identifier: Apache-2.0
"""Invoking an agent over HTTP."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cco.gateway.places import Places
from cco.gateway.sse import Decoder
from tests.forwarding import STREAM, refusing, streamed
from tests.mounting import wait_until
from tests.rawserver import RawServer, always, reply, serving
from tests.unit.api.house import House, error_of, open_house

ANSWER = {
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "Do it so."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1000, "output_tokens": 100},
}
KEY = {"x-api-key": "k"}


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    with serving(always(reply(body=json.dumps(ANSWER).encode()))) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: RawServer) -> Iterator[House]:
    settings = f'[[upstream]]\nbase_url = "{upstream.url}"\n[models]\nopus = "claude-opus-4-8"\n'
    with open_house(tmp_path, monkeypatch, settings=settings) as found:
        yield found


def asked(**changes: Any) -> dict[str, Any]:
    return {"agent": "chief-architect", "task": "Design it", **changes}


def sent(upstream: RawServer) -> dict[str, Any]:
    (received,) = upstream.received
    body: dict[str, Any] = json.loads(received.body)
    return body


def test_answer_has_the_documented_members(house: House) -> None:
    answer = house.ask("POST", "/api/agent/invoke", asked(), headers=KEY, by_tcp=True)

    told = answer.get_json()
    assert answer.status_code == 200
    assert told.pop("latencyMs") > 0
    assert told.pop("requestId").startswith("cco_")
    assert told == {
        "agent": "Chief Architect",
        "model": "claude-opus-4-8",
        "response": "Do it so.",
        "stopReason": "end_turn",
        "cached": False,
        "usage": {
            "input": 1000,
            "output": 100,
            "cacheRead": 0,
            "cacheWrite5m": 0,
            "cacheWrite1h": 0,
            "total": 1100,
        },
        "costUsd": 0.0075,
    }


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ("some text", ["<context>\nsome text\n</context>", "Design it"]),
        ({"a": "ü"}, ['<context>\n{\n "a": "ü"\n}\n</context>', "Design it"]),
        ({}, ["Design it"]),
        ("", ["Design it"]),
    ],
)
def test_context_comes_before_the_task(
    context: object, told: list[str], house: House, upstream: RawServer
) -> None:
    house.ask("POST", "/api/agent/invoke", asked(context=context), headers=KEY)

    (message,) = sent(upstream)["messages"]
    assert [block["text"] for block in message["content"]] == told


def test_limit_of_the_answer_may_be_given(house: House, upstream: RawServer) -> None:
    house.ask("POST", "/api/agent/invoke", asked(maxTokens=7), headers=KEY)

    assert sent(upstream)["max_tokens"] == 7


def test_cost_is_the_sessions(house: House) -> None:
    session, token = house.register(project="/p")
    house.ask("POST", "/api/agent/invoke", asked(), headers={**KEY, "x-cco-session": token})

    told = house.ask("GET", "/api/project/stats?project=/p").get_json()
    assert [(one["agent"], one["costUsd"]) for one in told["byAgent"]] == [
        ("Chief Architect", 0.0075)
    ]
    assert session


def test_cost_counts_for_the_project_that_is_named(house: House) -> None:
    several = {"invocations": [asked(task="one"), asked(task="two")], "project": "/p"}
    for payload in (asked(project="/p/"), several):
        answer = house.ask("POST", "/api/agent/invoke", payload, headers=KEY)
        assert (answer.status_code, b"error" in answer.data) == (200, False)

    told = house.ask("GET", "/api/project/stats?project=/p").get_json()
    assert told["requests"]["total"] == 3


def test_project_of_a_session_is_the_sessions(house: House) -> None:
    _, token = house.register(project="/p")
    named = {**KEY, "x-cco-session": token}
    house.ask("POST", "/api/agent/invoke", asked(project="/elsewhere"), headers=named)

    told = house.ask("GET", "/api/project/stats?project=/p").get_json()
    assert told["requests"]["total"] == 1


@pytest.mark.parametrize(
    ("changes", "headers", "status", "code"),
    [
        ({"agent": None}, KEY, 400, "missing-member"),
        ({"agent": 1}, KEY, 400, "bad-member"),
        ({"agent": "nobody"}, KEY, 404, "unknown-agent"),
        ({"task": None}, KEY, 400, "missing-member"),
        ({"task": ["x"]}, KEY, 400, "bad-member"),
        ({"task": ""}, KEY, 400, "empty-task"),
        ({"task": " \n"}, KEY, 400, "empty-task"),
        ({"task": "x" * 400_001}, KEY, 400, "task-too-large"),
        ({"task": "half \ud83d"}, KEY, 400, "bad-member"),
        ({"context": 1}, KEY, 400, "bad-member"),
        ({"context": ["x"]}, KEY, 400, "bad-member"),
        ({"context": "half \ud83d"}, KEY, 400, "bad-member"),
        ({"context": {"half": "\ud83d"}}, KEY, 400, "bad-member"),
        ({"context": "\x7fELF\0"}, KEY, 400, "binary-text"),
        ({"task": "a\0b"}, KEY, 400, "binary-text"),
        ({"project": "p"}, KEY, 400, "bad-project"),
        ({"project": ""}, KEY, 400, "bad-project"),
        ({"project": 1}, KEY, 400, "bad-member"),
        ({"maxTokens": 0}, KEY, 400, "bad-member"),
        ({"maxTokens": 10**9}, KEY, 400, "bad-member"),
        ({"maxTokens": True}, KEY, 400, "bad-member"),
        ({"stream": "yes"}, KEY, 400, "bad-member"),
        ({"invocations": None}, KEY, 400, "bad-member"),
        ({"invocations": {}}, KEY, 400, "bad-member"),
        ({"invocations": []}, KEY, 400, "bad-member"),
        ({"invocations": [{}] * 51}, KEY, 400, "bad-member"),
        ({"invocations": ["x"]}, KEY, 400, "bad-member"),
        ({"invocations": [{"agent": "chief-architect"}]}, KEY, 400, "missing-member"),
        ({"invocations": [{"agent": "x", "task": " "}]}, KEY, 400, "empty-task"),
        ({"maxTokens": "7"}, KEY, 400, "bad-member"),
        ({}, {}, 400, "no-credential"),
        # a login is passed through on /v1/ and used for nothing else
        ({}, {"authorization": "Bearer x"}, 400, "no-credential"),
    ],
)
def test_refusals(
    changes: dict[str, Any],
    headers: dict[str, str],
    status: int,
    code: str,
    house: House,
    upstream: RawServer,
) -> None:
    answer = house.ask("POST", "/api/agent/invoke", asked(**changes), headers=headers)

    assert error_of(answer) == (status, code)
    assert upstream.received == []


def test_unknown_agent_is_told_with_the_nearest_names(house: House) -> None:
    answer = house.ask("POST", "/api/agent/invoke", asked(agent="chief architekt"), headers=KEY)

    assert error_of(answer) == (404, "unknown-agent")
    assert answer.get_json()["error"]["hint"].startswith("Did you mean Chief Architect")


def events(answer: TestResponse) -> list[tuple[str, Any]]:
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    heard = Decoder().feed(answer.data)
    return [(event.name, json.loads(event.data)) for event in heard]


def test_stream_is_the_answer_piece_by_piece_and_then_whole(
    house: House, upstream: RawServer
) -> None:
    upstream.script = always(streamed(STREAM))
    told = []
    for cache in ("miss", "hit"):
        answer = house.ask("POST", "/api/agent/invoke", asked(stream=True), headers=KEY)
        assert answer.headers["x-cco-cache"] == cache
        told.append(events(answer))
    plain = house.ask("POST", "/api/agent/invoke", asked(), headers=KEY)
    assert plain.headers["x-cco-cache"] == "hit"

    for *deltas, (name, result) in told:
        assert {name for name, _ in deltas} == {"delta"}
        assert "".join(delta["text"] for _, delta in deltas) == result["response"] == "Grüße 🎈"
        assert name == "result"
        assert set(result) == set(plain.get_json())
    assert len(upstream.received) == 1


def test_what_goes_wrong_before_a_stream_is_no_stream(
    house: House, upstream: RawServer, expect_log: Callable[[str], None]
) -> None:
    expect_log("POST /api/agent/invoke: the provider answered 529")
    upstream.script = refusing(529)
    answer = house.ask("POST", "/api/agent/invoke", asked(stream=True), headers=KEY)

    assert error_of(answer) == (502, "upstream-error")


def test_what_goes_wrong_inside_a_stream_is_its_last_event(
    house: House, upstream: RawServer, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    whole = streamed(STREAM)

    def cut(_: object, sock: socket.socket) -> bool:
        sock.sendall(whole[:-200])
        return False

    upstream.script = cut
    answer = house.ask("POST", "/api/agent/invoke", asked(stream=True), headers=KEY)

    *deltas, (name, told) = events(answer)
    assert {name for name, _ in deltas} == {"delta"}
    assert (name, told["error"]["code"]) == ("error", "upstream-broken")
    assert set(told["error"]) == {"code", "message", "hint"}
    assert house.services.slots.running == 0


def test_list_is_answered_as_each_one_ends(house: House, upstream: RawServer) -> None:
    _, token = house.register(project="/p")
    several = [asked(task=f"Task {n}") for n in range(4)]
    several[2]["agent"] = "nobody"
    answer = house.ask(
        "POST",
        "/api/agent/invoke",
        {"invocations": several},
        headers={**KEY, "x-cco-session": token},
    )

    heard = events(answer)
    assert {name for name, _ in heard} == {"result"}
    told = {result.pop("index"): result for _, result in heard}
    assert sorted(told) == [0, 1, 2, 3]
    assert told[2]["error"]["code"] == "unknown-agent"
    assert {told[n]["response"] for n in (0, 1, 3)} == {"Do it so."}
    assert len({told[n]["requestId"] for n in (0, 1, 3)}) == 3
    assert len(upstream.received) == 3
    stats = house.ask("GET", "/api/project/stats?project=/p").get_json()
    assert stats["requests"]["total"] == 3


def test_malformed_item_is_told_with_its_place_and_nothing_is_asked(
    house: House, upstream: RawServer
) -> None:
    several = {"invocations": [asked(), asked(task=7)]}
    answer = house.ask("POST", "/api/agent/invoke", several, headers=KEY)

    assert error_of(answer) == (400, "bad-member")
    assert answer.get_json()["error"]["message"] == "invocations[1]: 'task' must be a text"
    assert upstream.received == []


def test_rules_say_whether_a_list_runs_side_by_side(
    house: House, upstream: RawServer, tmp_path: Path
) -> None:
    running = most = 0
    lock = threading.Lock()
    together = threading.Barrier(2)

    def script(_: object, sock: socket.socket) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.5 if is_alone else 30)
        with lock:
            running -= 1
        sock.sendall(reply(body=json.dumps(ANSWER).encode()))

    upstream.script = script
    for is_alone in (False, True):
        rules = tmp_path / ".config/cco/rules.toml"
        rules.parent.mkdir(parents=True, exist_ok=True)
        rules.write_text(
            f"[coordination]\nparallelExecution = {str(not is_alone).lower()}\n"
            "maxConcurrentAgents = 2\n"
        )
        house.services.reload()
        most = 0
        together.reset()
        several = [asked(task=f"{is_alone} {n}") for n in range(4 - 2 * is_alone)]
        answer = house.ask("POST", "/api/agent/invoke", {"invocations": several}, headers=KEY)
        assert [name for name, _ in events(answer)] == ["result"] * len(several)
        assert most == 2 - is_alone


def test_reload_doubles_no_turn(house: House, upstream: RawServer, tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(_: object, sock: socket.socket) -> None:
        go_on.wait(30)
        sock.sendall(reply(body=json.dumps(ANSWER).encode()))

    upstream.script = script
    limits = "[agents]\nmax_concurrent = 1\nqueue_timeout_s = 0\n"
    (tmp_path / "cco.toml").write_text((tmp_path / "cco.toml").read_text() + limits)
    house.services.reload()
    services = house.services
    thread = threading.Thread(
        target=lambda: house.ask("POST", "/api/agent/invoke", asked(), headers=KEY)
    )
    thread.start()
    wait_until(lambda: services.slots.running == 1, "one runs")
    services.reload()
    refused = house.ask("POST", "/api/agent/invoke", asked(task="another"), headers=KEY)
    go_on.set()
    thread.join()

    assert error_of(refused) == (429, "agents-busy")


def test_agent_is_chosen_by_the_task_and_the_reason_told(house: House) -> None:
    task = "Design the architecture of our new billing system and its components"
    (best, *_) = house.ask("POST", "/api/route", {"task": task}).get_json()["agents"]
    told = house.ask("POST", "/api/agent/invoke", asked(agent="auto", task=task), headers=KEY)

    assert told.status_code == 200, told.text
    answer = told.get_json()
    assert (answer["agent"], answer["reason"]) == (best["name"], best["reason"])
    assert answer["reason"]


def test_task_that_fits_nobody_is_no_ones(house: House, upstream: RawServer) -> None:
    told = house.ask("POST", "/api/agent/invoke", asked(agent="auto", task="xyzzy"), headers=KEY)

    assert error_of(told) == (400, "no-agent-fits")
    assert "cco agents" in told.get_json()["error"]["hint"]
    assert upstream.received == []


@pytest.mark.parametrize("is_streamed", [True, False])
def test_invocation_has_one_of_the_places_until_it_is_answered(
    is_streamed: bool, house: House, expect_log: Callable[[str], None]
) -> None:
    # Those that wait for a turn would have every thread otherwise.
    expect_log("1 requests are under way")
    house.services.places = Places(1)

    def ask() -> TestResponse:
        return house.ask("POST", "/api/agent/invoke", asked(stream=is_streamed), headers=KEY)

    for _ in range(2):
        answer = ask()
        assert answer.status_code == 200
        assert error_of(ask()) == (503, "no-room")
        answer.close()


def test_agents_of_a_project_know_of_each_other(house: House, upstream: RawServer) -> None:
    """What one reported is kept, and told to the next one whose task it may concern."""
    mine = {**KEY, "x-cco-session": house.register(project="/p")[1]}
    for task in ("Design the money column", "Review the money column"):
        answer = house.ask("POST", "/api/agent/invoke", asked(task=task), headers=mine)
        assert answer.status_code == 200, answer.text

    first, second = (received.body.decode() for received in upstream.received)
    assert "<knowledge>" not in first
    assert "told by Chief Architect): Design the money column: Do it so." in second
    facts = house.ask("GET", "/api/knowledge?project=/p").get_json()["facts"]
    assert [(fact["type"], fact["source"]) for fact in facts] == [
        ("completion", "Chief Architect"),
        ("completion", "Chief Architect"),
    ]


def test_nothing_is_shared_where_the_rules_say_so(
    house: House, upstream: RawServer, tmp_path: Path
) -> None:
    rules = tmp_path / ".config/cco/rules.toml"
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_text("[coordination]\nknowledgeSharing = false\n")
    house.services.reload()
    mine = {**KEY, "x-cco-session": house.register(project="/p")[1]}
    told = {"text": "Money is kept in cents", "project": "/p"}
    assert house.ask("POST", "/api/knowledge", told).status_code == 201
    house.ask("POST", "/api/agent/invoke", asked(), headers=mine)

    assert "<knowledge>" not in upstream.received[0].body.decode()
    facts = house.ask("GET", "/api/knowledge?project=/p").get_json()["facts"]
    assert [fact["source"] for fact in facts] == ["user"]
