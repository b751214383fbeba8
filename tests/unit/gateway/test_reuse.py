# SPDX-License-Identifier: Apache-2.0
"""What is used again, one request at a time; many at once, and clients that go, are in
tests/integration/test_gateway_reuse.py.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cco import config
from cco.errors import BudgetExceeded, Unavailable
from cco.gateway.call import Answer, Call, FixedBody, SessionRef
from cco.gateway.entry import Entry
from cco.gateway.relay import Keep
from cco.gateway.reuse import LOST_S, Reuse
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    BODY,
    JSON,
    SSE,
    STREAM,
    STREAM_COST_NANO,
    Forwarding,
    forwarding,
    make_call,
    streamed,
)
from tests.mounting import wait_until
from tests.rawserver import Received, Script, always, reply
from tests.unit.gateway.answering import Answering

COUNT = b'{"input_tokens":12}'
STREAM_BODY = BODY[:-1] + b',"stream":true}'
COUNT_TARGET = "/v1/messages/count_tokens?beta=true"
HEADERS = [("content-type", "application/json"), ("x-api-key", "k")]


def script_of(answers: Iterator[bytes]) -> Script:
    """Return a script that gives one answer after the other."""

    def script(received: Received, sock: Any) -> None:
        del received
        sock.sendall(next(answers))

    return script


def numbered() -> Script:
    """Return a script of which no two answers are the same."""
    return script_of(
        reply("200 OK", JSON, f"request-id: req_{n}", body=ANSWER.replace(b"[]", b"[%d]" % n))
        for n in itertools.count(1)
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_reuse(clock: Callable[[], float] = lambda: 0.0, **settings: Any) -> Reuse:
    return Reuse(config.Cache(**settings), monotonic=clock)


def state(answer: Answer) -> str:
    return dict(answer.headers)["x-cco-cache"]


def counting(**overrides: Any) -> Call:
    return make_call(**{"target": COUNT_TARGET, **overrides})


def streaming(**overrides: Any) -> Call:
    return make_call(**{"body": STREAM_BODY, **overrides})


def lose(through: Forwarding, call: Call) -> Answer:
    """Ask, and be gone before the bytes that were fetched are handed on."""
    answer = through.gateway.forward(call)
    for piece in answer.body:
        if piece:
            break
    answer.close()
    return answer


def test_a_count_is_asked_for_once(tmp_path: Path) -> None:
    answer = reply("200 OK", JSON, "request-id: req_1", "anthropic-ratelimit-x: 1", body=COUNT)
    with forwarding(always(answer), tmp_path) as through:
        call, again = counting(), counting()
        first, second = through.get(call), through.get(again)
        assert len(through.server.received) == 1
        assert first[1] == second[1] == COUNT
        assert (state(first[0]), state(second[0])) == ("miss", "hit")
        assert second[0].headers == [
            ("Content-Type", "application/json"),
            ("request-id", again.request_id),
            ("Content-Length", str(len(COUNT))),
            ("x-cco-cache", "hit"),
            ("x-cco-request-id", again.request_id),
            ("x-cco-upstream", "up"),
        ]
        row = through.rows()[1]
        assert (row["cache"], row["attempts"], row["status"], row["upstream"]) == (
            "hit",
            0,
            200,
            "up",
        )
        assert (row["cost_nano"], row["saved_nano"], row["priced"]) == (0, 0, 1)
        assert (row["upstream_request_id"], row["response_bytes"]) == ("", len(COUNT))
        told = through.gateway.cache_stats()
        assert (told["hits"], told["misses"], told["hitRate"]) == (1, 1, 0.5)
        assert (told["entries"], told["savedUsd"], told["enabled"]) == (1, 0, True)
        assert through.gateway.clear_cache().entries == 1
        assert state(through.get(counting())[0]) == "miss"


def test_a_count_is_kept_for_its_time(tmp_path: Path) -> None:
    clock = Clock()
    reuse = make_reuse(clock, ttl_s=100)
    with forwarding(always(reply("200 OK", JSON, body=COUNT)), tmp_path, reuse=reuse) as through:
        states = []
        for clock.now in (0, 99, 100, 150):
            states.append(state(through.get(counting())[0]))
        assert states == ["miss", "hit", "miss", "hit"]
        clock.now = 300
        through.gateway.reap()
        assert through.gateway.cache_stats()["sizeBytes"] == 0


def test_what_ourselves_ask_is_answered_once_and_saves_its_cost(tmp_path: Path) -> None:
    with forwarding(numbered(), tmp_path) as through:
        first, second = (through.get(make_call(reuse=True)) for _ in range(2))
        assert first[1] == second[1]
        assert (state(first[0]), state(second[0])) == ("miss", "hit")
        rows = through.rows()
        assert [row["cost_nano"] for row in rows] == [ANSWER_COST_NANO, 0]
        assert [row["saved_nano"] for row in rows] == [0, ANSWER_COST_NANO]
        assert [row["input_tokens"] for row in rows] == [10, 0]
        assert through.gateway.cache_stats()["savedUsd"] == ANSWER_COST_NANO / 1e9
        # A conversation with the same words is another thing.
        assert state(through.get(make_call())[0]) == "miss"


def test_what_stands_for_a_body_decides_what_is_the_same(tmp_path: Path) -> None:
    other = BODY.replace(b"[]", b"[1]")
    with forwarding(numbered(), tmp_path) as through:
        for body, same_as, cache in (
            (BODY, b'{"a":1}', "miss"),
            (other, b'{"a":1}', "hit"),
            (BODY, b'{"a":2}', "miss"),
            (BODY, b"", "miss"),
        ):
            answer, _ = through.get(make_call(reuse=True, body=body, same_as=same_as))
            assert state(answer) == cache
        assert [received.body for received in through.server.received] == [BODY, BODY, BODY]


@pytest.mark.parametrize("messages", ["off", "retry"])
def test_a_conversation_gets_a_new_answer_each_time(tmp_path: Path, messages: str) -> None:
    with forwarding(numbered(), tmp_path, reuse=make_reuse(messages=messages)) as through:
        first, second = (through.get() for _ in range(2))
        assert first[1] != second[1]
        wanted = "bypass" if messages == "off" else "miss"
        assert (state(first[0]), state(second[0])) == (wanted, wanted)
        assert through.gateway.cache_stats()["entries"] == 0


def test_exact_answers_are_replayed_byte_for_byte(tmp_path: Path) -> None:
    fields = ("x-a: 1", "X-A: 2", "cache-control: no-cache")
    head = reply("200 Fine", SSE, *fields, "Transfer-Encoding: chunked", length=False)
    body = STREAM + b": one more comment\n\n"
    answer = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with forwarding(always(answer), tmp_path, reuse=make_reuse(messages="exact")) as through:
        first, second = (through.get(streaming()) for _ in range(2))
        assert first[1] == second[1] == body
        assert second[0].reason == "Fine"
        kept = [("x-a", "1"), ("X-A", "2"), ("cache-control", "no-cache")]
        assert second[0].headers[:4] == [("Content-Type", "text/event-stream"), *kept]
        assert state(second[0]) == "hit"
        rows = through.rows()
        assert [row["stream"] for row in rows] == [1, 1]
        assert [row["saved_nano"] for row in rows] == [0, STREAM_COST_NANO]
        # In the other form it is another answer.
        assert state(through.get(make_call())[0]) == "miss"
        assert len(through.server.received) == 2


def test_no_cache_bypasses_everything(tmp_path: Path) -> None:
    reuse = make_reuse(messages="exact")
    headers = [*HEADERS, ("Cache-Control", "max-age=0, No-Cache")]
    with forwarding(numbered(), tmp_path, reuse=reuse) as through:
        through.get()
        fresh = through.get(make_call(headers=headers))
        assert (state(fresh[0]), b"[2]" in fresh[1]) == ("bypass", True)
        lose(through, make_call(headers=headers, body=BODY + b" "))
        # It was not kept either: the first answer still stands, and the lost one was not kept.
        assert b"[1]" in through.get()[1]
        assert state(through.get(make_call(body=BODY + b" "))[0]) == "miss"


@pytest.mark.parametrize(
    "settings", [{"enabled": False}, {"max_bytes": 0}, {"ttl_s": 0}], ids=lambda s: next(iter(s))
)
def test_keeps_nothing_where_the_user_wants_nothing(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    reuse = make_reuse(messages="exact", **settings)
    with forwarding(numbered(), tmp_path, reuse=reuse) as through:
        bodies = {through.get(make_call(reuse=True))[1] for _ in range(3)}
        assert len(bodies) == 3
        told = through.gateway.cache_stats()
        assert (told["entries"], told["hits"]) == (0, 0)
        assert told["enabled"] == settings.get("enabled", True)
        cache = {row["cache"] for row in through.rows()}
        assert cache == {"miss" if told["enabled"] else "bypass"}


@pytest.mark.parametrize(
    "answer",
    [
        reply("500 No", JSON, body=b'{"type":"error","error":{"type":"api_error"}}'),
        reply("429 No", JSON, body=b'{"type":"error","error":{"type":"rate_limit_error"}}'),
        reply("200 OK", "Content-Type: text/html", body=b"<html>"),
        reply("200 OK", JSON, body=b"<html>"),
        reply("200 OK", JSON, body=ANSWER.replace(b"end_turn", b"max_tokens")),
        reply("204 No Content", length=False),
        reply("200 OK", JSON),
        streamed(STREAM[:-60]),
        streamed(STREAM + b"event: error\ndata: {}\n\n"),
    ],
    ids=range(9),
)
def test_what_is_not_good_is_not_given_again(tmp_path: Path, answer: bytes) -> None:
    reuse = make_reuse(messages="exact")
    with forwarding(always(answer), tmp_path, reuse=reuse) as through:
        first, second = (through.get() for _ in range(2))
        assert first[1] == second[1]
        assert [row["cache"] for row in through.rows()] == ["miss", "miss"]
        assert len(through.server.received) == 2


def test_an_answer_that_is_cut_is_not_given_again(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    cut = reply("200 OK", JSON, body=ANSWER)[:-5]
    answers = iter([cut, reply("200 OK", JSON, body=ANSWER)])

    def script(received: Received, sock: Any) -> bool:
        sock.sendall(next(answers))
        return False

    with forwarding(script, tmp_path, reuse=make_reuse(messages="exact")) as through:
        with pytest.raises(ConnectionResetError):
            through.get()
        assert through.get()[1] == ANSWER
        assert [row["cache"] for row in through.rows()] == ["miss", "miss"]


@pytest.mark.parametrize(
    "other",
    [
        {"headers": [*HEADERS[:1], ("x-api-key", "another")]},
        {"headers": [*HEADERS[:1], ("authorization", "Bearer k")]},
        {"headers": [*HEADERS, ("anthropic-beta", "x")]},
        {"headers": [*HEADERS, ("accept-encoding", "gzip")]},
        {"target": "/v1/messages"},
        {"body": BODY.replace(b"9", b"10")},
    ],
    ids=lambda other: str(next(iter(other.values())))[-40:],
)
def test_another_request_gets_another_answer(tmp_path: Path, other: dict[str, Any]) -> None:
    with forwarding(numbered(), tmp_path, reuse=make_reuse(messages="exact")) as through:
        through.get()
        assert b"[2]" in through.get(make_call(**other))[1]
        assert b"[1]" in through.get()[1]
        assert b"[2]" in through.get(make_call(**other))[1]


def test_sessions_with_upstreams_of_their_own_share_nothing(tmp_path: Path) -> None:
    with forwarding(numbered(), tmp_path, reuse=make_reuse(messages="exact")) as through:
        url = through.server.url
        sessions = [
            None,
            SessionRef("one", "/p"),
            SessionRef("two", "/q"),
            SessionRef("three", "/p", url + "/base"),
            SessionRef("four", "/p", url + "/base"),
            SessionRef("five", "/p", url + "/other"),
        ]
        given = [through.get(make_call(session=session))[1] for session in sessions * 2]
        numbers = [json.loads(body)["content"][0] for body in given]
        assert numbers == [1, 1, 1, 2, 3, 4] * 2


def test_other_upstreams_or_keys_are_another_matter(tmp_path: Path) -> None:
    reuse = make_reuse()
    states = []
    for keys in ({}, {"up": "k1"}, {"up": "k2"}, {"up": "k1"}):
        with forwarding(numbered(), tmp_path, reuse=reuse) as through:
            gateway = type(through.gateway)(
                [config.Upstream(name="up", base_url=through.server.url)],
                store=through.store,
                prices=through.gateway._accounts.prices,
                environ={},
                keys=keys,
                reuse=reuse,
            )
            for _ in range(2):
                answer = gateway.forward(make_call(reuse=True))
                states.append(state(answer))
                b"".join(answer.body)
                answer.close()
            gateway.close()
    assert states == ["miss", "hit"] * 4  # each server has a port of its own


def test_a_bad_url_of_a_session_is_told(tmp_path: Path) -> None:
    with forwarding(numbered(), tmp_path) as through:
        session = SessionRef("s", "/p", "nonsense")
        answer, _ = through.get(counting(session=session))
        assert (answer.status, dict(answer.headers)["x-cco-error"]) == (400, "upstream-invalid")
        assert state(answer) == through.row()["cache"] == "bypass"
        assert through.gateway.cache_stats()["misses"] == 0


@pytest.mark.parametrize("messages", ["retry", "exact"])
def test_a_lost_stream_serves_its_repetition_once(tmp_path: Path, messages: str) -> None:
    with forwarding(
        always(streamed(STREAM)), tmp_path, reuse=make_reuse(messages=messages)
    ) as through:
        lose(through, streaming())
        answer, body = through.get(streaming())
        assert (state(answer), body) == ("hit", STREAM)
        assert len(through.server.received) == 1
        rows = through.rows()
        assert [row["cost_nano"] for row in rows] == [STREAM_COST_NANO, 0]
        assert [row["saved_nano"] for row in rows] == [0, STREAM_COST_NANO]
        if messages == "retry":
            assert state(through.get(streaming())[0]) == "miss"


@pytest.mark.parametrize("messages", ["retry", "exact"])
def test_a_lost_stream_is_a_message_for_who_asks_for_one(tmp_path: Path, messages: str) -> None:
    answer = reply("200 OK", SSE, "request-id: r", "anthropic-ratelimit-x: 1", body=STREAM)
    reuse = make_reuse(messages=messages)
    with forwarding(always(answer), tmp_path, reuse=reuse) as through:
        lose(through, streaming())
        call = make_call()
        got, body = through.get(call)
        assert state(got) == "hit"
        assert got.headers[:3] == [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("request-id", call.request_id),
        ]
        message = json.loads(body)
        assert message["stop_reason"] == "end_turn"
        assert message["content"][0]["type"] == "text"
        assert message["usage"]["output_tokens"] == 15
        row = through.rows()[1]
        assert (row["stream"], row["saved_nano"]) == (0, STREAM_COST_NANO)
        assert len(through.server.received) == 1


def test_a_stream_that_is_not_clear_is_not_made_a_message(tmp_path: Path) -> None:
    odd = STREAM.replace(b"text_delta", b"mood_delta")
    with forwarding(always(streamed(odd)), tmp_path) as through:
        lose(through, streaming())
        assert state(through.get(make_call())[0]) == "miss"
        # And still there for who asks for a stream.
        answer, body = through.get(streaming())
        assert (state(answer), body) == ("hit", odd)


def test_a_lost_message_is_not_made_a_stream(tmp_path: Path) -> None:
    with forwarding(numbered(), tmp_path) as through:
        lose(through, make_call())
        assert state(through.get(streaming())[0]) == "miss"
        answer, body = through.get(make_call())
        assert (state(answer), b"[1]" in body) == ("hit", True)


def test_where_the_form_is_not_clear_it_stays_as_it_is(tmp_path: Path) -> None:
    body = BODY[:-1] + b',"stream":null}'
    with forwarding(always(streamed(STREAM)), tmp_path) as through:
        lose(through, make_call(body=body))
        assert through.get(make_call(body=body))[1] == STREAM


def test_a_lost_answer_that_is_lost_again_waits_for_the_next(tmp_path: Path) -> None:
    clock = Clock()
    with forwarding(always(streamed(STREAM)), tmp_path, reuse=make_reuse(clock)) as through:
        lose(through, streaming())
        clock.now = LOST_S / 2
        assert state(lose(through, streaming())) == "hit"
        assert state(lose(through, make_call())) == "hit"  # as a message, and lost as well
        answer, body = through.get(streaming())
        assert (state(answer), body) == ("hit", STREAM)
        assert len(through.server.received) == 1


@pytest.mark.parametrize("late_s", [0, 1])
def test_a_lost_answer_waits_for_a_minute(tmp_path: Path, late_s: int) -> None:
    clock = Clock()
    reuse = make_reuse(clock, ttl_s=10)  # which is for others
    with forwarding(always(streamed(STREAM)), tmp_path, reuse=reuse) as through:
        lose(through, streaming())
        clock.now = LOST_S - 1 + late_s
        assert state(through.get(streaming())[0]) == ("miss" if late_s else "hit")


def test_an_answer_that_was_got_is_not_lost(tmp_path: Path) -> None:
    with forwarding(always(streamed(STREAM)), tmp_path) as through:
        through.get(streaming())
        assert through.gateway.cache_stats()["entries"] == 0
        lose(through, streaming(body=STREAM_BODY + b" "))
        assert state(through.get(streaming())[0]) == "miss"


@pytest.mark.parametrize("messages", ["off", "retry"])
def test_nothing_is_looked_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: str
) -> None:
    # A body is read for its key only if it may be of use: nearly never.
    def refuse(**given: object) -> None:
        raise AssertionError(given)

    monkeypatch.setattr("cco.gateway.reuse.key_of", refuse)
    reuse = make_reuse(messages=messages)
    with forwarding(always(streamed(STREAM)), tmp_path, reuse=reuse) as through:
        assert through.get(streaming())[1] == STREAM


def asking_after(
    reuse: Reuse, answering: Answering, fetch: Callable[[Keep | None], Answer]
) -> tuple[Entry, threading.Thread, list[Answer]]:
    """Ask what somebody asks already, and wait with them."""
    entry = answering.entry()
    got: list[Answer] = []

    def ask() -> None:
        got.append(reuse.answer(counting(), entry, realm=lambda: "r", fetch=fetch))

    thread = threading.Thread(target=ask)
    thread.start()
    (flight,) = reuse._flights._flights.values()
    wait_until(lambda: len(flight._waiting) == 2, "it waits too")
    return entry, thread, got


def no_content(keep: Keep | None) -> Answer:
    return Answer(204, "No Content", [("a", "b")], FixedBody())


def test_a_budget_of_one_is_not_the_budget_of_the_next() -> None:
    answering = Answering()
    reuse = make_reuse()
    others: list[tuple[Entry, threading.Thread, list[Answer]]] = []

    def spent(keep: Keep | None) -> Answer:
        others.append(asking_after(reuse, answering, no_content))
        raise BudgetExceeded("budget-spent", "Nothing is left")  # before anything was sent

    with pytest.raises(BudgetExceeded):
        reuse.answer(counting(), answering.entry(), realm=lambda: "r", fetch=spent)
    entry, thread, got = others[0]
    thread.join()
    assert (entry.cache, got[0].status) == ("miss", 204)
    assert len(reuse._flights) == 0
    answering.close()


def test_an_answer_without_a_body_is_one_for_all() -> None:
    answering = Answering()
    reuse = make_reuse()
    others: list[tuple[Entry, threading.Thread, list[Answer]]] = []

    def fetch(keep: Keep | None) -> Answer:
        others.append(asking_after(reuse, answering, no_content))
        return no_content(keep)

    reuse.answer(counting(), answering.entry(), realm=lambda: "r", fetch=fetch)
    entry, thread, got = others[0]
    thread.join()
    assert (got[0].status, got[0].headers, list(got[0].body)) == (204, [("a", "b")], [])
    (row,) = answering.rows
    assert (row.cache, row.status, entry.row) == ("coalesced", 204, row)
    assert (reuse.stats()["misses"], reuse.stats()["coalesced"]) == (1, 1)
    answering.close()


def test_a_failure_of_ours_leaves_nobody_waiting() -> None:
    answering = Answering()
    reuse = make_reuse()

    def fetch(keep: Keep | None) -> Answer:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            reuse.answer(counting(), answering.entry(), realm=lambda: "r", fetch=fetch)
    assert len(reuse._flights) == 0
    answering.close()


def test_an_error_is_told_and_leaves_nobody_waiting() -> None:
    answering = Answering()
    reuse = make_reuse()

    def fetch(keep: Keep | None) -> Answer:
        raise Unavailable("x", "No")

    entry = answering.entry()
    with pytest.raises(Unavailable):
        reuse.answer(counting(), entry, realm=lambda: "r", fetch=fetch)
    assert (entry.cache, reuse.stats()["misses"]) == ("miss", 1)
    assert len(reuse._flights) == 0
    answering.close()
