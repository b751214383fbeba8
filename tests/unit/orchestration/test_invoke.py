# SPDX-License-Identifier: Apache-2.0
"""Asking one agent, through a real gateway, of a server whose answers are decided here."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cco import config
from cco.config import Settings
from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    RequestError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from cco.gateway.call import SessionRef
from cco.ledger.prices import Prices
from cco.orchestration.invoke import (
    DEFAULT_MAX_TOKENS,
    MAX_TASK_CHARS,
    TEXT_ONLY,
    Invocation,
    Invoker,
)
from cco.orchestration.load import Load
from tests.forwarding import Forwarding, forwarding
from tests.mounting import wait_until
from tests.rawserver import Script, always, reply, serving
from tests.unit.catalog.samples import make_agent

ExpectLog = Callable[[str], None]

AGENT = make_agent(body="You design. Grüße.\n")
MODEL = "claude-opus-4-8"
SETTINGS = Settings(models={"opus": MODEL, "haiku": "claude-haiku-none"})
USAGE = {
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_input_tokens": 2000,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
}
COST_USD = (1000 * 5 + 100 * 25 + 2000 * 0.5 + 10 * 6.25 + 20 * 10) / 1e6


def message(**changes: Any) -> bytes:
    told = {
        "type": "message",
        "model": MODEL,
        "content": [{"type": "text", "text": "Do it so."}],
        "stop_reason": "end_turn",
        "usage": USAGE,
        **changes,
    }
    return json.dumps(told).encode()


class Scene:
    """An invoker and what is behind it."""

    def __init__(self, behind: Forwarding, settings: Settings) -> None:
        self.behind = behind
        clock = itertools.count(1_790_000_000_000_000_000, 2_500_000)
        self.invoker = Invoker(
            settings,
            behind.gateway,
            Prices.load(),
            now_ns=lambda: next(clock),
            load=Load(lambda: 0),
        )
        self._numbers = itertools.count(1)

    def ask(
        self,
        task: str = "Design it",
        *,
        api_key: str = "k",
        session: SessionRef | None = None,
        is_fresh: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        asked = Invocation(**{"agent": AGENT, "task": task, **more})
        return self.invoker.invoke(
            asked,
            api_key=api_key,
            request_id=f"cco_{next(self._numbers)}",
            session=session,
            is_fresh=is_fresh,
        )


@contextmanager
def scene(script: Script, top: Path, settings: Settings = SETTINGS) -> Iterator[Scene]:
    with forwarding(script, top) as behind:
        yield Scene(behind, settings)


def test_request_is_the_agents_text_and_then_the_task(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        one.ask("Plan it: ü", context="code\n")
        (received,) = one.behind.server.received

    assert (received.method, received.target) == ("POST", "/v1/messages")
    assert json.loads(received.body) == {
        "model": MODEL,
        "max_tokens": DEFAULT_MAX_TOKENS,
        "system": [
            {
                "type": "text",
                "text": f"You design. Grüße.\n{TEXT_ONLY}",
                "cache_control": {"type": "ephemeral"},
            }
        ],
        "messages": [{"role": "user", "content": "<context>\ncode\n\n</context>\n\nPlan it: ü"}],
    }
    assert "Grüße".encode() in received.body  # letters as they are
    assert received.values("content-type") == ["application/json"]
    assert received.values("anthropic-version") == ["2023-06-01"]
    assert received.values("x-api-key") == ["k"]


def test_text_of_an_agent_is_always_the_same_prefix(tmp_path: Path) -> None:
    # Otherwise the provider's prompt cache would be of no use.
    with scene(always(reply(body=message())), tmp_path) as one:
        one.ask("first")
        one.ask("second", context="x")
        first, second = (received.body for received in one.behind.server.received)

    head = first[: first.index(b'"messages"')]
    assert second.startswith(head)


def test_instructions_say_that_there_are_no_tools() -> None:
    assert "have no tools" in TEXT_ONLY


def test_answer_has_the_documented_members(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        assert one.ask() == {
            "agent": "Chief Architect",
            "model": MODEL,
            "response": "Do it so.",
            "stopReason": "end_turn",
            "cached": False,
            "usage": {
                "input": 1000,
                "output": 100,
                "cacheRead": 2000,
                "cacheWrite5m": 10,
                "cacheWrite1h": 20,
                "total": 3130,
            },
            "costUsd": pytest.approx(COST_USD, abs=1e-12),
            "latencyMs": 2.5,
            "requestId": "cco_1",
        }


@pytest.mark.parametrize(
    ("changes", "response"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}]}, "a"),
        ({"content": []}, ""),
        ({"content": None}, ""),
        ({"content": "text"}, ""),
        ({"content": ["text", None]}, ""),
    ],
)
def test_text_of_the_answer(changes: dict[str, Any], response: str, tmp_path: Path) -> None:
    with scene(always(reply(body=message(**changes))), tmp_path) as one:
        assert one.ask()["response"] == response


def test_answer_without_usage_is_borne(tmp_path: Path) -> None:
    with scene(always(reply(body=message(usage=None, model=None))), tmp_path) as one:
        assert one.ask()["usage"]["total"] == 0


def test_model_without_a_price_has_no_cost(tmp_path: Path) -> None:
    agent = make_agent(model="haiku")
    with scene(always(reply(body=message(model="x"))), tmp_path) as one:
        answer = one.ask(agent=agent)
        (received,) = one.behind.server.received

    assert json.loads(received.body)["model"] == "claude-haiku-none"
    assert answer["costUsd"] is None  # unknown is not nothing


def test_cost_is_recorded_under_the_agents_name(tmp_path: Path) -> None:
    session = SessionRef("abc", "/p")
    with scene(always(reply(body=message())), tmp_path) as one:
        one.ask(session=session)
        wait_until(one.behind.rows, "the row is in the ledger")
        row = one.behind.row()

    assert (row["agent"], row["session_id"], row["project"]) == ("Chief Architect", "abc", "/p")
    assert row["request_id"] == "cco_1"
    assert row["cost_nano"] == round(COST_USD * 1e9)


def test_what_was_asked_before_is_not_asked_again(tmp_path: Path) -> None:
    answer = reply("200 OK", "Content-Type: application/json", body=message())
    with scene(always(answer), tmp_path) as one:
        first, second = one.ask(), one.ask()
        assert (first["cached"], second["cached"]) == (False, True)
        assert second["response"] == first["response"]
        assert (second["costUsd"], second["usage"]["total"]) == (0, 0)
        assert len(one.behind.server.received) == 1
        rows = one.behind.rows()
        assert [row["saved_nano"] for row in rows] == [0, round(COST_USD * 1e9)]
        assert sum(row["cost_nano"] for row in rows) == round(COST_USD * 1e9)

        assert one.ask("Design it", api_key="another")["cached"] is False
        assert one.ask("Design that")["cached"] is False
        assert one.ask(is_fresh=True)["cached"] is False
        assert one.ask()["cached"] is True


def test_what_is_being_asked_is_not_asked_again(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(_: object, sock: Any) -> None:
        go_on.wait(30)
        sock.sendall(reply(body=message()))

    with scene(slow, tmp_path) as one:
        answers: list[dict[str, Any]] = []
        threads = [threading.Thread(target=lambda: answers.append(one.ask())) for _ in range(3)]
        for thread in threads:
            thread.start()
        flights = one.behind.gateway._reuse._flights._flights
        wait_until(
            lambda: sum(len(flight._waiting) for flight in flights.values()) == 3, "all wait"
        )
        go_on.set()
        for thread in threads:
            thread.join()

        assert len(one.behind.server.received) == 1
        assert sorted(answer["cached"] for answer in answers) == [False, True, True]
        assert sum(answer["costUsd"] for answer in answers) == pytest.approx(COST_USD, abs=1e-12)
        assert sum(row["cost_nano"] for row in one.behind.rows()) == round(COST_USD * 1e9)


def test_session_is_asked_where_it_belongs(tmp_path: Path) -> None:
    with (
        scene(always(reply(body=message())), tmp_path) as one,
        serving(always(reply(body=message()))) as own,
    ):
        one.ask(session=SessionRef("abc", "/p", own.url))
        assert one.behind.server.received == []
        assert len(own.received) == 1


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, UpstreamError, "upstream-error"),
        (401, Denied, "bad-credential"),
        (402, BudgetExceeded, "budget-spent"),
        (403, UpstreamError, "upstream-error"),
        (404, UpstreamError, "upstream-error"),
        (413, UpstreamError, "upstream-error"),
        (429, UpstreamError, "upstream-error"),
        (500, UpstreamError, "upstream-error"),
        (502, UpstreamRefused, "upstream-refused"),
        (504, UpstreamTimeout, "upstream-timeout"),
        (529, UpstreamError, "upstream-error"),
    ],
)
def test_refusals_of_the_provider_are_told_in_its_words(
    status: int, kind: type[CcoError], code: str, tmp_path: Path
) -> None:
    body = json.dumps({"type": "error", "error": {"type": "x", "message": "It is so."}}).encode()
    with (
        scene(always(reply(f"{status} X", body=body)), tmp_path) as one,
        pytest.raises(kind) as caught,
    ):
        one.ask()

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.message.endswith("It is so")  # a sentence of ours has no full stop


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("500 X", b""),
        ("500 X", b"<html>"),
        ("500 X", b"[]"),
        ("500 X", b'{"error": "text"}'),
        ("500 X", b'{"error": {"message": ""}}'),
        ("200 OK", b""),
        ("200 OK", b"not JSON"),
        ("200 OK", b"[]"),
        ("200 OK", b"\xff"),
        ("200 OK", b"[" * 100_000),
        ("204 No Content", b""),
    ],
)
def test_answer_that_is_none_is_an_error(status: str, body: bytes, tmp_path: Path) -> None:
    script = always(reply(status, body=body, length=not status.startswith("204")))
    with scene(script, tmp_path) as one, pytest.raises(UpstreamError) as caught:
        one.ask()

    assert caught.value.message.startswith(f"the provider answered {status[:3]}")


def test_provider_that_cannot_be_reached_is_told(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("POST /v1/messages: ")
    with (
        scene(always(b""), tmp_path) as one,
        pytest.raises(UpstreamRefused) as caught,
    ):
        one.ask(session=SessionRef("abc", "/p", "http://127.0.0.1:1"))

    assert caught.value.code == "upstream-refused"


def test_answer_that_is_cut_is_an_error(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("an answer was cut")
    half = reply(body=message())[:-20]

    def cut(_: object, sock: Any) -> bool:
        sock.sendall(half)
        return False

    with scene(cut, tmp_path) as one, pytest.raises(UpstreamError) as caught:
        one.ask()

    assert caught.value.code == "upstream-broken"


@pytest.mark.parametrize("task", ["", " ", "\n\t"])
def test_empty_task_is_refused(task: str, tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        with pytest.raises(RequestError) as caught:
            one.ask(task)
        assert one.behind.server.received == []

    assert caught.value.code == "empty-task"


@pytest.mark.parametrize(
    ("task", "context", "is_good"),
    [(MAX_TASK_CHARS, 0, True), (MAX_TASK_CHARS + 1, 0, False), (1, MAX_TASK_CHARS, False)],
)
def test_size_of_a_task_is_limited(task: int, context: int, is_good: bool, tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        if is_good:
            one.ask("x" * task, context="y" * context)
            return
        with pytest.raises(RequestError) as caught:
            one.ask("x" * task, context="y" * context)

    assert caught.value.code == "task-too-large"


def test_without_a_credential_nobody_is_asked(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        with pytest.raises(RequestError) as caught:
            one.ask(api_key="")
        assert one.behind.server.received == []

    assert caught.value.code == "no-credential"
    assert "ANTHROPIC_API_KEY" in (caught.value.hint or "")


def test_more_than_the_limit_wait_for_their_turn(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(_: object, sock: Any) -> None:
        go_on.wait(30)
        sock.sendall(reply(body=message()))

    limits = config.Agents(max_concurrent=2, queue_timeout_s=60.0)
    with scene(slow, tmp_path, replace(SETTINGS, agents=limits)) as one:
        answers: list[dict[str, Any]] = []

        def ask(task: str) -> None:
            answers.append(one.ask(task))

        threads = [threading.Thread(target=ask, args=(f"Task {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(one.invoker._slots._waiting) == 2, "two wait for a turn")
        wait_until(lambda: len(one.behind.server.received) == 2, "two have arrived")
        go_on.set()
        for thread in threads:
            thread.join()

        assert len(answers) == 4
        assert len(one.behind.server.received) == 4


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(_: object, sock: Any) -> None:
        go_on.wait(30)
        sock.sendall(reply(body=message()))

    limits = config.Agents(max_concurrent=1, queue_timeout_s=0.0)
    with scene(slow, tmp_path, replace(SETTINGS, agents=limits)) as one:
        thread = threading.Thread(target=one.ask)
        thread.start()
        wait_until(lambda: one.behind.server.received, "one is asked")
        with pytest.raises(RequestError) as caught:
            one.ask()
        go_on.set()
        thread.join()

    assert caught.value.code == "agents-busy"
