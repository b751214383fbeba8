# SPDX-License-Identifier: Apache-2.0
"""Several upstreams, and one of them fails: who is asked then, and what the client gets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from cco.gateway.call import SessionRef
from cco.gateway.errors import AnswerCut
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    CHUNKED,
    JSON,
    REFUSAL,
    SSE,
    STREAM,
    STREAM_COST_NANO,
    make_call,
    make_turn,
    read,
    refusing,
    spreading,
    streamed,
)
from tests.rawserver import DEADLINE_S, Received, Script, always, chunk, reply

OK: Final = always(reply("200 OK", JSON, body=ANSWER))
KEYS: Final = {"a": "key-a", "b": "key-b"}


@contextmanager
def nobody() -> Iterator[str]:
    """Give the URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("status", [429, 502, 503, 529])
@pytest.mark.parametrize("kind", [SSE, JSON])
def test_another_upstream_answers_for_one_that_is_busy(
    tmp_path: Path, status: int, kind: str
) -> None:
    answer = streamed(STREAM) if kind == SSE else reply("200 OK", JSON, body=ANSWER)
    with spreading(
        {"a": refusing(status, "retry-after: 7"), "b": always(answer)},
        tmp_path,
        keys=KEYS,
        settings={"b": {"priority": 1}},
    ) as through:
        call = make_call(body=bytes(range(256)) * 1000, headers=[("anthropic-beta", "x")])
        got, body = through.get(call)
        row = through.row()
        received = [through.servers[name].received[0] for name in "ab"]

    assert (got.status, body) == (200, STREAM if kind == SSE else ANSWER)
    fields = dict(got.headers)
    assert "retry-after" not in fields
    assert fields["x-cco-upstream"] == "b"
    assert [one.body == call.body for one in received] == [True, True]
    assert [one.values("x-api-key") for one in received] == [["key-a"], ["key-b"]]
    assert (row["upstream"], row["attempts"], row["status"], row["error"]) == ("b", 2, 200, "")
    assert (row["partial"], row["priced"]) == (0, 1)
    assert row["cost_nano"] == (STREAM_COST_NANO if kind == SSE else ANSWER_COST_NANO)


def test_another_upstream_answers_where_nobody_listens(tmp_path: Path) -> None:
    with (
        nobody() as url,
        spreading(
            {"a": OK, "b": OK}, tmp_path, settings={"a": {"base_url": url}, "b": {"priority": 1}}
        ) as through,
    ):
        assert through.get()[0].status == 200
        row = through.row()
        assert (row["upstream"], row["attempts"], row["cost_nano"]) == ("b", 2, ANSWER_COST_NANO)
        assert through.asked() == {"a": 0, "b": 1}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 500, 501, 504])
def test_every_other_answer_is_the_clients(tmp_path: Path, status: int) -> None:
    with spreading(
        {"a": refusing(status), "b": OK}, tmp_path, settings={"b": {"priority": 1}}
    ) as through:
        answer, body = through.get()
        assert (answer.status, body) == (status, REFUSAL)
        assert (through.row()["upstream"], through.row()["attempts"]) == ("a", 1)
        assert through.asked() == {"a": 1, "b": 0}


def test_what_breaks_after_it_was_sent_is_not_sent_elsewhere(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("ended before an answer came")
    with spreading(
        {"a": lambda *_: False, "b": OK}, tmp_path, settings={"b": {"priority": 1}}
    ) as through:
        answer, _ = through.get()
        row = through.row()
        assert (answer.status, dict(answer.headers)["x-cco-error"]) == (502, "upstream-broken")
        assert (row["attempts"], row["partial"], row["priced"]) == (1, 1, 0)
        assert through.asked() == {"a": 1, "b": 0}


def test_silence_is_not_asked_elsewhere(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("said nothing")

    def script(_: Received, sock: socket.socket) -> bool:
        through.server.wait_for_hang_up(sock)
        return False

    settings: dict[str, dict[str, Any]] = {"a": {"read_timeout_s": 0.1}, "b": {"priority": 1}}
    with spreading({"a": script, "b": OK}, tmp_path, settings=settings) as through:
        answer, _ = through.get()
        assert answer.status == 504
        assert through.asked() == {"a": 1, "b": 0}


def test_the_first_byte_ends_the_choice(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("an answer was cut")

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", SSE, CHUNKED, length=False) + chunk(STREAM[:300]))
        return False

    with spreading({"a": script, "b": OK}, tmp_path, settings={"b": {"priority": 1}}) as through:
        answer = through.gateway.forward(make_call())
        with pytest.raises(AnswerCut):
            read(answer)
        assert through.asked() == {"a": 1, "b": 0}


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_session_with_its_own_upstream_goes_nowhere_else(
    tmp_path: Path, is_configured: bool
) -> None:
    scripts = {"own": refusing(529), "b": OK}
    with spreading(scripts, tmp_path, settings={"own": {"priority": 1}}) as through:
        url = through.servers["own"].url + ("" if is_configured else "/path")
        for _ in range(2):
            answer, _ = through.get(make_call(session=SessionRef("s", "/p", url)))
            assert answer.status == 529
        assert through.asked() == {"own": 2, "b": 0}
        assert {row["attempts"] for row in through.rows()} == {1}


def test_another_family_is_never_asked(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("is out")
    scripts = {"a": refusing(529), "b": OK, "c": refusing(503)}
    settings: dict[str, dict[str, Any]] = {"b": {"family": "other"}, "c": {"priority": 1}}
    with spreading(scripts, tmp_path, settings=settings) as through:
        for session in range(5):
            assert through.get(make_turn(session))[0].status in (503, 529)
        assert through.asked()["b"] == 0


@pytest.mark.parametrize(
    ("scripts", "status", "chosen"),
    [
        # whoever is free first answers then
        ([refusing(429, "retry-after: 20"), refusing(429, "retry-after: 5")], 429, "b"),
        ([refusing(429, "retry-after: 5"), refusing(429, "retry-after: 20")], 429, "a"),
        # the client gives up on one that names an hour, and after three of these
        ([refusing(429, "retry-after: 3600"), refusing(529)], 529, "b"),
        ([refusing(503), refusing(529)], 503, "a"),
        ([refusing(529, "retry-after: 3"), refusing(503)], 529, "a"),
        # among equals the last
        ([refusing(503), refusing(502)], 502, "b"),
        ([refusing(529), refusing(529), refusing(529)], 529, "c"),
    ],
)
def test_where_all_are_busy_the_client_gets_the_answer_that_serves_it_best(
    tmp_path: Path, scripts: list[Script], status: int, chosen: str
) -> None:
    named = dict(zip("abc", scripts, strict=False))
    settings: dict[str, dict[str, Any]] = {name: {"priority": at} for at, name in enumerate(named)}
    with spreading(named, tmp_path, settings=settings) as through:
        answer, body = through.get()
        row = through.row()
        assert (answer.status, body) == (status, REFUSAL)
        assert dict(answer.headers)["x-cco-upstream"] == row["upstream"] == chosen
        assert (row["attempts"], row["error"]) == (len(named), "overloaded_error")
        assert (row["partial"], row["priced"], row["cost_nano"]) == (0, 1, 0)
        assert through.asked() == dict.fromkeys(named, 1)
        assert through.gateway.running == 0


def test_where_nobody_can_be_reached_the_error_is_ours(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("cannot be reached")
    with nobody() as url, nobody() as other:
        settings: dict[str, dict[str, Any]] = {"a": {"base_url": url}, "b": {"base_url": other}}
        with spreading({"a": OK, "b": OK}, tmp_path, settings=settings) as through:
            answer, _ = through.get()
            row = through.row()
    assert (answer.status, dict(answer.headers)["x-cco-error"]) == (502, "upstream-refused")
    assert (row["attempts"], row["partial"], row["priced"]) == (2, 0, 1)
    assert row["model"] == "claude-opus-4-8"


def test_a_refusal_says_more_than_no_connection(tmp_path: Path) -> None:
    with nobody() as url:
        settings: dict[str, dict[str, Any]] = {"b": {"base_url": url, "priority": 1}}
        scripts = {"a": refusing(429, "retry-after: 5"), "b": OK}
        with spreading(scripts, tmp_path, settings=settings) as through:
            answer, body = through.get()
            assert (answer.status, body, through.row()["upstream"]) == (429, REFUSAL, "a")


def test_connections_of_answers_that_nobody_got_are_used_again(tmp_path: Path) -> None:
    scripts = {"a": refusing(429), "b": refusing(429)}
    with spreading(scripts, tmp_path) as through:
        for session in range(20):
            through.get(make_turn(session))
        assert [server.opened for server in through.servers.values()] == [1, 1]


def test_an_answer_that_nobody_gets_is_not_waited_for(tmp_path: Path) -> None:
    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("529 X", "Content-Length: 100000", length=False) + b"{")
        through.servers["a"].wait_for_hang_up(sock)
        return False

    with spreading({"a": script, "b": OK}, tmp_path, settings={"b": {"priority": 1}}) as through:
        assert through.get()[0].status == 200
        assert through.servers["a"].hung_up.wait(DEADLINE_S)


def test_a_client_that_has_gone_is_not_asked_for_elsewhere(tmp_path: Path) -> None:
    browser, client = socket.socketpair()

    def script(_: Received, sock: socket.socket) -> None:
        browser.close()
        sock.sendall(reply("529 X", body=REFUSAL))

    with (
        client,
        spreading({"a": script, "b": OK}, tmp_path, settings={"b": {"priority": 1}}) as through,
    ):
        answer, _ = through.get(make_call(client_fd=client.fileno()))
        row = through.row()
        assert answer.status == 499
        assert (row["upstream"], row["attempts"]) == ("a", 1)
        assert (row["partial"], row["status"]) == (1, 0)
        assert through.asked() == {"a": 1, "b": 0}
        assert through.gateway.running == 0


def test_stopping_ends_what_was_sent_on(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("The daemon is stopping")
    is_there = threading.Event()

    def script(_: Received, sock: socket.socket) -> bool:
        is_there.set()
        through.servers["b"].wait_for_hang_up(sock)
        return False

    with spreading(
        {"a": refusing(529), "b": script}, tmp_path, settings={"b": {"priority": 1}}
    ) as through:
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(through.get()[0].status))
        thread.start()
        assert is_there.wait(DEADLINE_S)
        assert through.gateway.running == 2
        through.gateway.stop()
        thread.join()
        assert statuses == [503]
        assert through.gateway.running == 0
