# SPDX-License-Identifier: Apache-2.0
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from cco.errors import CcoError, Unavailable
from cco.gateway.entry import Accounts, Entry
from cco.gateway.errors import AnswerCut
from cco.gateway.exchange import Exchange
from cco.gateway.fold import UsageFold
from cco.gateway.relay import Relay
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from tests.forwarding import ANSWER, STREAM, make_call
from tests.rawserver import chunk, reply
from tests.unit.gateway.far import Far

EVENTS = reply("200 OK", "Transfer-Encoding: chunked", length=False)


class Answering:
    """Relays over a real connection whose other end the test holds."""

    def __init__(self, far: Far) -> None:
        self.far = far
        self.rows: list[RequestRow] = []
        self.ended: list[Exchange] = []
        self.stop_error: CcoError | None = None
        self.durable: Future[None] = Future()
        self.durable.set_result(None)

    def record(self, row: RequestRow) -> "Future[None]":
        self.rows.append(row)
        return self.durable

    def relay(
        self, data: bytes, *, stream: bool = True, can_append: bool = True, silence_s: float = 10.0
    ) -> Relay:
        exchange = self.far.answered(data, silence_s=silence_s)
        accounts = Accounts(self.record, Prices.load())
        entry = Entry(make_call(), accounts, itertools.count().__next__)
        entry.status, entry.is_stream, entry.may_have_used = 200, stream, True
        entry.fold = UsageFold("text/event-stream" if stream else "application/json")
        return Relay(
            exchange,
            entry,
            can_append=can_append,
            stopping=lambda: self.stop_error,
            on_end=self.ended.append,
        )


@pytest.fixture
def answering() -> Iterator[Answering]:
    far = Far()
    yield Answering(far)
    far.close()


def test_hands_on_what_arrives_and_writes_one_row(answering: Answering) -> None:
    relay = answering.relay(EVENTS + chunk(STREAM) + chunk(b""))
    assert b"".join(relay) == STREAM
    relay.close()
    assert [row.partial for row in answering.rows] == [False]
    assert len(answering.ended) == 1
    assert list(relay) == []


def test_tells_the_head_before_the_first_event(answering: Answering) -> None:
    relay = answering.relay(EVENTS)
    assert next(relay) == b""
    answering.far.ends[0].sendall(chunk(STREAM) + chunk(b""))
    assert list(relay) == [STREAM]


def test_a_json_answer_begins_with_its_bytes(answering: Answering) -> None:
    assert list(answering.relay(reply(body=ANSWER), stream=False)) == [ANSWER]


@pytest.mark.parametrize("stream", [True, False])
def test_holds_back_what_completes_the_answer(answering: Answering, stream: bool) -> None:
    answering.durable = Future()
    data = EVENTS + chunk(STREAM[:-1]) if stream else reply(body=ANSWER)[:-1]
    last = STREAM[-1:] if stream else ANSWER[-1:]
    relay = answering.relay(data, stream=stream)
    first = next(relay)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(next(relay)))
    answering.far.ends[0].sendall(chunk(last) if stream else last)

    thread.start()
    while not answering.rows:
        time.sleep(0.001)
    assert got == []
    answering.durable.set_result(None)
    thread.join()

    assert first + b"".join(got) == (STREAM if stream else ANSWER)
    relay.close()


def test_the_end_of_a_completed_stream_changes_nothing(
    answering: Answering, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    relay = answering.relay(EVENTS + chunk(STREAM))
    assert next(relay) == STREAM
    assert len(answering.rows) == 1
    answering.far.hang_up()
    with pytest.raises(AnswerCut):  # as the upstream did it, and nothing of ours behind the end
        next(relay)
    relay.close()
    assert [(row.partial, row.error) for row in answering.rows] == [(False, "")]


def test_ends_a_silent_stream_with_an_error_event(
    answering: Answering, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    relay = answering.relay(EVENTS + chunk(STREAM[:400]), silence_s=0.01)
    assert b"timeout_error" in b"".join(relay)
    assert answering.rows[0].error == "upstream-timeout"


@pytest.mark.parametrize("happening", ["stream", "json", "silence"])
def test_cuts_what_was_cut_or_cannot_be_told_otherwise(
    answering: Answering, expect_log: Callable[[str], None], happening: str
) -> None:
    expect_log("an answer was cut")
    is_json = happening == "json"
    relay = answering.relay(
        reply(body=ANSWER)[:-1] if is_json else EVENTS + chunk(STREAM[:400]),
        stream=not is_json,
        can_append=happening == "stream",
        silence_s=0.01 if happening == "silence" else 10,
    )
    if happening != "silence":
        answering.far.hang_up()
    assert next(relay) == (ANSWER[:-1] if is_json else STREAM[:400])
    with pytest.raises(AnswerCut):
        next(relay)
    with pytest.raises(StopIteration):
        next(relay)
    code = "upstream-timeout" if happening == "silence" else "upstream-broken"
    assert [(row.partial, row.error) for row in answering.rows] == [(True, code)]


def test_close_ends_the_upstreams_connection_at_once(answering: Answering) -> None:
    relay = answering.relay(EVENTS + chunk(STREAM[:400]))
    next(relay)
    answering.far.ends[0].recv(100)
    relay.close()
    assert answering.far.ends[0].recv(1) == b""
    relay.close()
    assert [(row.partial, row.error) for row in answering.rows] == [(True, "")]
    assert answering.rows[0].usage.input == 25
    assert len(answering.ended) == 1


def test_close_by_another_thread_wakes_who_waits(answering: Answering) -> None:
    relay = answering.relay(EVENTS + chunk(STREAM[:400]))
    next(relay)
    timer = threading.Timer(0.05, relay.close)
    timer.start()
    with pytest.raises(AnswerCut):
        next(relay)
    timer.join()
    assert [(row.partial, row.error) for row in answering.rows] == [(True, "")]
    assert len(answering.ended) == 1


def test_says_that_the_daemon_stops(
    answering: Answering, expect_log: Callable[[str], None]
) -> None:
    expect_log("The daemon is stopping")
    relay = answering.relay(EVENTS + chunk(STREAM[:400]))
    next(relay)
    answering.stop_error = Unavailable("daemon-stopping", "The daemon is stopping")
    relay._exchange.abort()
    assert b"The daemon is stopping" in b"".join(relay)
    assert answering.rows[0].error == "daemon-stopping"
