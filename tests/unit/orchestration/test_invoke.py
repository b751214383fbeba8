# SPDX-License-Identifier: Apache-2.0
"""Asking one agent, through a real gateway, of a server whose answers are decided here."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cco import config
from cco.config import Settings
from cco.errors import (
    CcoError,
    Denied,
    RequestError,
    StoreError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from cco.gateway.call import SessionRef
from cco.gateway.transport import AbandonedError
from cco.ledger.prices import Prices
from cco.orchestration.invoke import Caller, Invoker, Sharing
from cco.orchestration.load import Load
from cco.orchestration.prompt import DEFAULT_MAX_TOKENS, Invocation
from cco.orchestration.slots import Slots
from tests.forwarding import CHUNKED, SSE, STREAM, Forwarding, forwarding, streamed
from tests.mounting import wait_until
from tests.rawserver import Received, Script, always, chunk, reply, serving
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

    def __init__(self, behind: Forwarding, settings: Settings, sharing: Sharing | None) -> None:
        self.behind = behind
        self.slots = Slots(monotonic=time.monotonic)
        self.load = Load(lambda: 0)
        self.slots.configure(settings.agents.max_concurrent)
        clock = itertools.count(1_790_000_000_000_000_000, 2_500_000)
        self.invoker = Invoker(
            settings,
            behind.gateway,
            Prices.load(),
            slots=self.slots,
            load=self.load,
            sharing=sharing,
            now_ns=lambda: next(clock),
        )
        self._numbers = itertools.count(1)

    def ask(self, task: str = "Design it", **more: Any) -> dict[str, Any]:
        return self.invoker.invoke(*self.asked(task, **more))

    def asked(
        self,
        task: str = "Design it",
        *,
        api_key: str = "k",
        session: SessionRef | None = None,
        is_fresh: bool = False,
        client_fd: int | None = None,
        **more: Any,
    ) -> tuple[Invocation, Caller]:
        caller = Caller(
            api_key=api_key,
            request_id=f"cco_{next(self._numbers)}",
            session=session,
            client_fd=client_fd,
            is_fresh=is_fresh,
        )
        return Invocation(**{"agent": AGENT, "task": task, **more}), caller

    def sent(self) -> dict[str, Any]:
        """Return the only request that was sent."""
        (received,) = self.behind.server.received
        body: dict[str, Any] = json.loads(received.body)
        return body


@contextmanager
def scene(
    script: Script,
    top: Path,
    settings: Settings = SETTINGS,
    *,
    sharing: Sharing | None = None,
) -> Iterator[Scene]:
    with forwarding(script, top) as behind:
        one = Scene(behind, settings, sharing)
        yield one
        assert (one.slots.running, one.slots.waiting) == (0, 0)
        assert one.load.of("Chief Architect") == 0


def held(go_on: threading.Event) -> Script:
    """Return a script that answers when it is told to."""

    def script(_: object, sock: socket.socket) -> None:
        go_on.wait(30)
        sock.sendall(reply(body=message()))

    return script


def with_limits(**limits: Any) -> Settings:
    return replace(SETTINGS, agents=config.Agents(**limits))


def test_request_carries_version_and_key(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        one.ask(context="code", max_tokens=9)
        (received,) = one.behind.server.received
        sent = one.sent()

    assert (received.method, received.target) == ("POST", "/v1/messages")
    assert received.values("content-type") == ["application/json"]
    assert received.values("anthropic-version") == ["2023-06-01"]
    assert received.values("x-api-key") == ["k"]
    assert (sent["model"], sent["max_tokens"], sent["stream"]) == (MODEL, 9, True)


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
            "latencyMs": 5.0,
            "requestId": "cco_1",
        }


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
    with scene(held(go_on), tmp_path) as one:
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


def test_without_a_credential_nobody_is_asked(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        with pytest.raises(RequestError) as caught:
            one.ask(api_key="")
        assert one.behind.server.received == []

    assert caught.value.code == "no-credential"
    assert "ANTHROPIC_API_KEY" in (caught.value.hint or "")


def test_stream_is_told_piece_by_piece(tmp_path: Path) -> None:
    half = STREAM.index(b"\n\n", STREAM.index(b"text_delta")) + 2
    go_on = threading.Event()

    def script(_: object, sock: socket.socket) -> None:
        sock.sendall(reply("200 OK", SSE, CHUNKED, length=False) + chunk(STREAM[:half]))
        go_on.wait(30)
        sock.sendall(chunk(STREAM[half:]) + chunk(b""))

    with scene(script, tmp_path) as one:
        run = one.invoker.begin(*one.asked())
        first = next(text for text in run if text)
        assert run.result == {}
        assert (one.slots.running, one.load.of("Chief Architect")) == (1, 1)
        go_on.set()
        rest = "".join(run)
        run.close()

    assert run.result["response"] == first + rest == "Grüße 🎈"
    assert (run.cache, run.result["stopReason"]) == ("miss", "end_turn")
    assert run.result["usage"]["total"] == 25 + 15 + 3000


def test_cost_in_the_answer_is_that_of_the_ledger(tmp_path: Path) -> None:
    # Also where the provider answers with a model of another price.
    with scene(always(reply(body=message(model="claude-haiku-4-5"))), tmp_path) as one:
        told = one.ask()
        wait_until(one.behind.rows, "the row is in the ledger")
        row = one.behind.row()

    assert round(told["costUsd"] * 1e9) == row["cost_nano"] > 0


def test_stream_is_kept_for_the_next_one(tmp_path: Path) -> None:
    with scene(always(streamed(STREAM)), tmp_path) as one:
        first, second = one.ask(), one.ask()
        assert len(one.behind.server.received) == 1

    assert (first["cached"], second["cached"]) == (False, True)
    assert first["response"] == second["response"]
    assert second["costUsd"] == 0


@pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
def test_refusal_is_told_and_makes_room(status: int, tmp_path: Path) -> None:
    body = json.dumps({"type": "error", "error": {"type": "x", "message": "It is so."}}).encode()
    with (
        scene(always(reply(f"{status} X", body=body)), tmp_path) as one,
        pytest.raises(Denied if status == 401 else UpstreamError) as caught,
    ):
        one.ask()

    assert caught.value.message.endswith("It is so")


def test_error_inside_a_stream_is_told(tmp_path: Path) -> None:
    data = b'event: error\ndata: {"error": {"type": "overloaded_error", "message": "Full."}}\n\n'
    with (
        scene(always(streamed(STREAM[:200] + b"\n\n" + data)), tmp_path) as one,
        pytest.raises(UpstreamError) as caught,
    ):
        one.ask()

    assert (caught.value.code, caught.value.message) == ("upstream-error", "Full")


def test_more_than_the_limit_wait_for_their_turn(tmp_path: Path) -> None:
    go_on = threading.Event()
    settings = with_limits(max_concurrent=2, queue_timeout_s=60.0)
    with scene(held(go_on), tmp_path, settings) as one:
        answers: list[dict[str, Any]] = []

        def ask(task: str) -> None:
            answers.append(one.ask(task))

        threads = [threading.Thread(target=ask, args=(f"Task {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: one.slots.waiting == 2, "two wait for a turn")
        wait_until(lambda: len(one.behind.server.received) == 2, "two have arrived")
        go_on.set()
        for thread in threads:
            thread.join()

        assert len(answers) == 4
        assert len(one.behind.server.received) == 4


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    go_on = threading.Event()
    settings = with_limits(max_concurrent=1, queue_timeout_s=0.0)
    with scene(held(go_on), tmp_path, settings) as one:
        thread = threading.Thread(target=one.ask)
        thread.start()
        wait_until(lambda: one.behind.server.received, "one is asked")
        with pytest.raises(RequestError) as caught:
            one.ask()
        go_on.set()
        thread.join()

    assert caught.value.code == "agents-busy"


def pinging(far_gone: threading.Event) -> Script:
    """Return a script that is never done and never silent; it notes that nobody listens."""

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", SSE, CHUNKED, length=False))
        try:
            while True:
                sock.sendall(chunk(b"event: ping\ndata: {}\n\n"))
                far_gone.wait(0.02)
        except OSError:
            far_gone.set()
        return False

    return script


def silent(gone: threading.Event) -> Script:
    """Return a script that says nothing; it notes that nobody listens."""

    def script(_: Received, sock: socket.socket) -> bool:
        while sock.recv(65536):
            pass
        gone.set()
        return False

    return script


@pytest.mark.parametrize("script", [silent, pinging])
def test_agent_that_is_never_done_is_given_up(
    script: Callable[[threading.Event], Script], tmp_path: Path
) -> None:
    gone = threading.Event()
    with scene(script(gone), tmp_path, with_limits(invoke_timeout_s=1.0)) as one:
        with pytest.raises(UpstreamTimeout) as caught:
            one.ask()
        assert gone.wait(30), "the provider goes on"
        wait_until(one.behind.rows, "the row is in the ledger")
        row = one.behind.row()

    assert caught.value.code == "invoke-timeout"
    assert "1 seconds" in caught.value.message
    assert "invoke_timeout_s" in (caught.value.hint or "")
    assert row["partial"] == 1


@pytest.mark.parametrize("script", [silent, pinging])
def test_caller_that_goes_away_ends_it_at_once(
    script: Callable[[threading.Event], Script], tmp_path: Path
) -> None:
    gone = threading.Event()
    near, far = socket.socketpair()
    ended: list[BaseException] = []

    def ask(one: Scene) -> None:
        with pytest.raises(AbandonedError) as caught:
            one.ask(client_fd=near.fileno())
        ended.append(caught.value)

    with near, far, scene(script(gone), tmp_path) as one:
        thread = threading.Thread(target=ask, args=(one,))
        thread.start()
        wait_until(lambda: one.behind.server.received, "it is asked")
        far.close()
        thread.join()
        assert gone.wait(30), "the provider goes on"
        wait_until(one.behind.rows, "the row is in the ledger")
        row = one.behind.row()

    assert len(ended) == 1
    assert row["partial"] == 1


def test_answer_is_no_longer_than_the_money_allows(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path, with_limits(invoke_max_usd=0.1)) as one:
        one.ask()
        sent = one.sent()
        (received,) = one.behind.server.received

    dearest = (len(received.body) * 6.25 + sent["max_tokens"] * 25) / 1e6
    assert 0.09 < dearest <= 0.1
    assert sent["max_tokens"] < DEFAULT_MAX_TOKENS


def test_question_that_is_too_dear_is_not_asked(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path, with_limits(invoke_max_usd=0.001)) as one:
        with pytest.raises(RequestError) as caught:
            one.ask()
        assert one.behind.server.received == []

    assert caught.value.code == "invoke-too-dear"


SESSION = SessionRef("abc", "/p")


class Memory:
    """What agents share, as a table."""

    def __init__(self, error: CcoError | None = None) -> None:
        self.facts: list[tuple[str, ...]] = []
        self._error = error
        self.sharing = Sharing(self._remembered, self._learned)

    def _remembered(self, project: str, task: str) -> str:
        if self._error:
            raise self._error
        return "\n".join(fact[-1] for fact in self.facts if fact[0] == project)

    def _learned(self, project: str, agent: str, task: str, text: str) -> None:
        if self._error:
            raise self._error
        self.facts.append((project, agent, task, text))


def test_answers_are_shared_within_the_project(tmp_path: Path) -> None:
    memory = Memory()
    with scene(always(reply(body=message())), tmp_path, sharing=memory.sharing) as one:
        one.ask("first", session=SESSION)
        one.ask("second", session=SESSION)
        one.ask("third", session=SessionRef("def", "/q"))
        one.ask("fourth")
        sent = [received.body.decode() for received in one.behind.server.received]

    assert memory.facts[0] == ("/p", "Chief Architect", "first", "Do it so.")
    assert [fact[2] for fact in memory.facts] == ["first", "second", "third"]
    knows = ["<knowledge>\\nDo it so.\\n</knowledge>" in body for body in sent]
    assert knows == [False, True, False, False]


def test_what_was_learned_makes_no_question_a_new_one(tmp_path: Path) -> None:
    answer = reply("200 OK", "Content-Type: application/json", body=message())
    memory = Memory()
    with scene(always(answer), tmp_path, sharing=memory.sharing) as one:
        told = [one.ask(session=session) for session in (SESSION, SESSION)]
        elsewhere = one.ask(session=SessionRef("def", "/q"))

    assert [one["cached"] for one in told] == [False, True]
    assert elsewhere["cached"] is False  # it knows other things
    assert len(memory.facts) == 2  # what was known before is not learned again


def test_answer_that_was_cut_short_is_not_learned(tmp_path: Path) -> None:
    memory = Memory()
    cut = always(reply(body=message(stop_reason="max_tokens")))
    with scene(cut, tmp_path, sharing=memory.sharing) as one:
        assert one.ask(session=SESSION)["stopReason"] == "max_tokens"

    assert memory.facts == []


def test_knowledge_that_fails_keeps_no_agent_from_working(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("nothing is remembered for Chief Architect: no room")
    expect_log("what Chief Architect found is not kept: no room")
    memory = Memory(StoreError("disk-full", "no room"))
    with scene(always(reply(body=message())), tmp_path, sharing=memory.sharing) as one:
        assert one.ask(session=SESSION)["response"] == "Do it so."


def test_reason_for_an_agent_is_told_where_there_is_one(tmp_path: Path) -> None:
    with scene(always(reply(body=message())), tmp_path) as one:
        assert one.ask(reason="names architecture")["reason"] == "names architecture"
        assert "reason" not in one.ask("another")
