# SPDX-License-Identifier: Apache-2.0
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from cco.errors import Unavailable
from cco.gateway.errors import AnswerCut
from cco.gateway.headers import Fields
from cco.gateway.transport import AbandonedError
from tests.forwarding import ANSWER, STREAM
from tests.rawserver import chunk, reply
from tests.unit.gateway.answering import EVENTS, Answering


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    yield made
    made.close()


@dataclass
class Keeper:
    """A `Keep` that tells what it was told."""

    is_shared: bool = False
    wants_more: bool = True
    told: list[str] = field(default_factory=list)
    data: bytes = b""

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        raise AssertionError("that is for whoever makes the relay")

    def add(self, data: bytes) -> None:
        self.data += data

    def over(self, *, is_whole: bool) -> None:
        self.told.append("whole" if is_whole else "not whole")

    def close(self, *, is_lost: bool) -> None:
        self.told.append("lost" if is_lost else "closed")


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


def test_tells_a_keep_what_passes_and_when_it_is_over(answering: Answering) -> None:
    keep = Keeper()
    relay = answering.relay(EVENTS + chunk(STREAM) + chunk(b""), keep=keep)
    assert b"".join(relay) == STREAM
    assert keep.told == ["whole"]
    relay.close()
    relay.close()
    assert (keep.told, keep.data) == (["whole", "closed"], STREAM)


@pytest.mark.parametrize(
    ("data", "stream", "told"),
    [
        # complete, and whole
        (EVENTS + chunk(STREAM) + chunk(b""), True, ["whole", "lost"]),
        (reply(body=ANSWER), False, ["whole", "lost"]),
        # complete by what it says, but the end of its chunks is missing
        (EVENTS + chunk(STREAM), True, ["not whole", "lost"]),
        # not complete
        (EVENTS + chunk(STREAM[:-1]), True, ["not whole", "closed"]),
        (reply(body=ANSWER)[:-1], False, ["not whole", "closed"]),
        (EVENTS + chunk(ANSWER), False, ["not whole", "closed"]),
    ],
)
@pytest.mark.parametrize("items", [0, 1])
def test_an_answer_whose_end_nobody_got_is_lost(
    answering: Answering, data: bytes, stream: bool, told: list[str], items: int
) -> None:
    keep = Keeper()
    relay = answering.relay(data, stream=stream, keep=keep)
    for _ in range(items):
        next(relay)
    relay.close()
    assert keep.told == told
    assert keep.data == (STREAM if stream else ANSWER)[: len(keep.data)]
    (row,) = answering.rows
    assert row.partial == ("lost" not in told)


def test_what_has_arrived_is_read_on_when_the_client_goes(answering: Answering) -> None:
    keep = Keeper()
    relay = answering.relay(EVENTS + chunk(STREAM[:400]), keep=keep)
    assert next(relay) == STREAM[:400]
    answering.far.ends[0].sendall(chunk(STREAM[400:600]))
    answering.far.ends[0].sendall(chunk(STREAM[600:]) + chunk(b""))
    relay.close()

    assert (keep.told, keep.data) == (["whole", "lost"], STREAM)
    (row,) = answering.rows
    assert (row.partial, row.response_bytes) == (False, 400)
    assert row.usage.output == 15
    answering.far.begin().release()  # over the same connection, for the answer came to its end
    assert len(answering.far.ends) == 1


def test_nothing_is_read_on_without_a_use_for_it(answering: Answering) -> None:
    keep = Keeper(wants_more=False)
    relay = answering.relay(EVENTS + chunk(STREAM) + chunk(b""), keep=keep)
    relay.close()
    assert (keep.told, keep.data) == (["not whole", "closed"], b"")
    assert answering.rows[0].partial


def test_a_client_that_hung_up_before_the_end_has_not_got_it(answering: Answering) -> None:
    browser, client = socket.socketpair()
    with client:
        keep = Keeper()
        relay = answering.relay(
            EVENTS + chunk(STREAM) + chunk(b""), keep=keep, client_fd=client.fileno()
        )
        browser.close()
        assert b"".join(relay) == STREAM  # nothing had to be waited for
        relay.close()
    assert keep.told == ["whole", "lost"]


def test_a_json_answer_in_chunks_is_lost_if_its_client_is_gone_at_the_end(
    answering: Answering,
) -> None:
    browser, client = socket.socketpair()
    with client:
        keep = Keeper()
        relay = answering.relay(
            EVENTS + chunk(ANSWER), stream=False, keep=keep, client_fd=client.fileno()
        )
        assert next(relay) == ANSWER
        browser.close()
        answering.far.ends[0].sendall(chunk(b""))
        assert list(relay) == []
        relay.close()
    assert keep.told == ["whole", "lost"]


def test_a_keep_hears_our_error_event_too(
    answering: Answering, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    keep = Keeper()
    relay = answering.relay(EVENTS + chunk(STREAM[:400]), silence_s=0.01, keep=keep)
    got = b"".join(relay)
    relay.close()
    assert b"timeout_error" in got
    assert (keep.told, keep.data) == (["not whole", "closed"], got)


def test_a_shared_answer_goes_on_without_the_client_that_is_watched(answering: Answering) -> None:
    browser, client = socket.socketpair()
    with client:
        keep = Keeper(is_shared=True)
        relay = answering.relay(EVENTS + chunk(STREAM[:400]), keep=keep)
        relay.watch(client.fileno())
        next(relay)
        browser.close()
        with pytest.raises(AbandonedError):
            next(relay)
        with pytest.raises(AbandonedError):
            next(relay)
        assert (answering.rows, keep.told) == ([], [])
        relay.watch(None)
        answering.far.ends[0].sendall(chunk(STREAM[400:]) + chunk(b""))
        assert b"".join(relay) == STREAM[400:]
        relay.watch(client.fileno())  # it is over: nothing is watched
    relay.close()
    assert keep.told == ["whole", "closed"]


def test_closing_a_shared_answer_ends_it(answering: Answering) -> None:
    keep = Keeper(is_shared=True)
    relay = answering.relay(EVENTS + chunk(STREAM[:400]), keep=keep)
    next(relay)
    timer = threading.Timer(0.05, relay.close)
    timer.start()
    with pytest.raises(AnswerCut):
        next(relay)
    timer.join()
    assert keep.told == ["not whole", "closed"]
    assert [row.partial for row in answering.rows] == [True]
