# SPDX-License-Identifier: Apache-2.0
"""Answers used again: many who ask at once, clients that go, and the real SDK as the judge."""

import contextlib
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import anthropic
import pytest

from cco import config
from cco.config import Server
from cco.gateway.call import Answer, Call
from cco.gateway.errors import AnswerCut
from cco.gateway.rebuild import rebuild_message
from cco.gateway.reuse import Reuse
from tests.daemon import Daemon, call, daemon
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    BODY,
    CHUNKED,
    JSON,
    SSE,
    STREAM,
    STREAM_COST_NANO,
    Forwarding,
    forwarding,
    make_call,
)
from tests.mounting import wait_until
from tests.rawserver import DEADLINE_S, Received, chunk, reply, serving

HEAD: Final = reply("200 OK", SSE, CHUNKED, length=False)
STREAM_BODY: Final = BODY[:-1] + b',"stream":true}'
COUNT_TARGET: Final = "/v1/messages/count_tokens?beta=true"
BURST: Final = 130


def make_reuse(**settings: Any) -> Reuse:
    return Reuse(config.Cache(**settings), monotonic=time.monotonic)


def counting(body: bytes, **more: Any) -> Call:
    return make_call(target=COUNT_TARGET, body=body, **more)


def count_of(body: bytes) -> bytes:
    """Return the answer to a request for a count; its number tells which request."""
    return b'{"input_tokens":%d}' % int(body.strip(b'{}"n: '))


def state(answer: Answer) -> str:
    return dict(answer.headers)["x-cco-cache"]


class Asking(threading.Thread):
    """One client, in a thread of its own."""

    def __init__(self, through: Forwarding, call: Call) -> None:
        super().__init__()
        self.answer: Answer | None = None
        self.body = b""
        self.is_cut = False
        self._through = through
        self._call = call
        self.start()

    def run(self) -> None:
        self.answer = self._through.gateway.forward(self._call)
        try:
            for piece in self.answer.body:
                self.body += piece
        except AnswerCut:
            self.is_cut = True
        finally:
            self.answer.close()

    @property
    def state(self) -> str:
        assert self.answer is not None
        return state(self.answer)


def waiting(through: Forwarding) -> int:
    """Return how many wait for an answer to begin, those who sent a request included."""
    flights = list(through.gateway._reuse._flights._flights.values())
    return sum(len(flight._waiting) for flight in flights if flight._fanout is None)


@pytest.mark.parametrize("is_slow", [True, False])
def test_a_burst_of_counts_sends_one_request_for_each_body(tmp_path: Path, is_slow: bool) -> None:
    all_wait = threading.Event()

    def script(received: Received, sock: socket.socket) -> None:
        if is_slow:
            all_wait.wait(DEADLINE_S)
        sock.sendall(reply("200 OK", JSON, body=count_of(received.body)))

    bodies = [b'{"n":%d}' % (number % 13) for number in range(BURST)]
    random.Random(7).shuffle(bodies)
    with forwarding(script, tmp_path) as through:
        clients = [Asking(through, counting(body)) for body in bodies]
        if is_slow:
            wait_until(lambda: waiting(through) == BURST, "all wait")
            all_wait.set()
        for client in clients:
            client.join()

        asked = Counter(received.body for received in through.server.received)
        assert asked == dict.fromkeys(bodies, 1)
        assert [client.body for client in clients] == [count_of(body) for body in bodies]
        states = Counter(client.state for client in clients)
        assert states["miss"] == 13
        if is_slow:
            assert states["coalesced"] == BURST - 13
        rows = through.rows()
        assert Counter(row["cache"] for row in rows) == states
        assert {row["status"] for row in rows} == {200}
        assert sum(row["attempts"] for row in rows) == 13
        told = through.gateway.cache_stats()
        assert {name: told[name] for name in ("misses", "coalesced", "hits")} == {
            "misses": 13,
            "coalesced": states["coalesced"],
            "hits": states["hit"],
        }
        assert len(through.gateway._reuse._flights) == 0
        assert state(through.get(counting(bodies[0]))[0]) == "hit"


@pytest.mark.parametrize("is_stream", [True, False])
def test_equal_messages_that_are_under_way_are_one(tmp_path: Path, is_stream: bool) -> None:
    go_on = threading.Semaphore(0)
    data = STREAM if is_stream else ANSWER
    cost = STREAM_COST_NANO if is_stream else ANSWER_COST_NANO
    half = len(data) // 2

    def script(_: Received, sock: socket.socket) -> None:
        go_on.acquire(timeout=DEADLINE_S)
        head = (
            HEAD if is_stream else reply("200 OK", JSON, "retry-after: 7", body=data)[: -len(data)]
        )
        sock.sendall(head + (chunk(data[:half]) if is_stream else data[:half]))
        go_on.acquire(timeout=DEADLINE_S)
        sock.sendall(chunk(data[half:]) + chunk(b"") if is_stream else data[half:])

    body = STREAM_BODY if is_stream else BODY
    with forwarding(script, tmp_path, reuse=make_reuse(messages="exact")) as through:
        early = [Asking(through, make_call(body=body)) for _ in range(5)]
        wait_until(lambda: waiting(through) == 5, "all wait")
        go_on.release()
        wait_until(lambda: all(client.body == data[:half] for client in early), "half is there")
        late = [Asking(through, make_call(body=body)) for _ in range(5)]
        wait_until(
            lambda: all(client.body == data[:half] for client in late), "half of it is there"
        )
        go_on.release()
        for client in early + late:
            client.join()
            assert client.body == data
        assert len(through.server.received) == 1
        assert Counter(client.state for client in early + late) == {"miss": 1, "coalesced": 9}
        rows = through.rows()
        assert sorted(row["cost_nano"] for row in rows) == [0] * 9 + [cost]
        assert sorted(row["saved_nano"] for row in rows) == [0] + [cost] * 9
        assert {row["partial"] for row in rows} == {0}
        if not is_stream:  # it is the answer of this moment, so all of it is theirs
            assert all(
                ("retry-after", "7") in client.answer.headers for client in late if client.answer
            )
        answer, got = through.get(make_call(body=body))
        assert (state(answer), got) == ("hit", data)


def test_equal_conversations_are_two(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def script(_: Received, sock: socket.socket) -> None:
        both.wait(DEADLINE_S)
        sock.sendall(HEAD + chunk(STREAM) + chunk(b""))

    with forwarding(script, tmp_path) as through:
        clients = [Asking(through, make_call(body=STREAM_BODY)) for _ in range(2)]
        for client in clients:
            client.join()
        assert [client.state for client in clients] == ["miss", "miss"]


@pytest.mark.parametrize("status", [400, 429, 500, 529])
def test_a_refusal_is_one_for_all(tmp_path: Path, status: int) -> None:
    go_on = threading.Event()
    error = b'{"type":"error","error":{"type":"some_error","message":"no"}}'

    def script(_: Received, sock: socket.socket) -> None:
        go_on.wait(DEADLINE_S)
        sock.sendall(reply(f"{status} No", JSON, "retry-after: 3", body=error))

    with forwarding(script, tmp_path) as through:
        clients = [Asking(through, counting(b'{"n":1}')) for _ in range(20)]
        wait_until(lambda: waiting(through) == 20, "all wait")
        go_on.set()
        for client in clients:
            client.join()
            assert client.answer is not None
            assert (client.answer.status, client.body) == (status, error)
            assert ("retry-after", "3") in client.answer.headers
        assert len(through.server.received) == 1
        assert {(row["status"], row["error"]) for row in through.rows()} == {(status, "some_error")}
        through.get(counting(b'{"n":1}'))  # and it was not kept
        assert len(through.server.received) == 2


def test_no_answer_is_none_for_all(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("gave no whole answer")
    go_on = threading.Event()

    def script(_: Received, sock: socket.socket) -> bool:
        go_on.wait(DEADLINE_S)
        return False

    with forwarding(script, tmp_path) as through:
        clients = [Asking(through, counting(b'{"n":1}')) for _ in range(20)]
        wait_until(lambda: waiting(through) == 20, "all wait")
        go_on.set()
        ids = set()
        for client in clients:
            client.join()
            assert client.answer is not None
            assert client.answer.status == 502
            ids.add(json.loads(client.body)["request_id"])
        assert ids == {row["request_id"] for row in through.rows()}
        assert len(through.server.received) == 1
        assert Counter(row["cache"] for row in through.rows()) == {"miss": 1, "coalesced": 19}


def test_a_cut_answer_is_cut_for_all(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("an answer was cut")
    go_on = threading.Event()

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(HEAD + chunk(STREAM[:400]))
        go_on.wait(DEADLINE_S)
        return False

    with forwarding(script, tmp_path, reuse=make_reuse(messages="exact")) as through:
        clients = [Asking(through, make_call(body=STREAM_BODY)) for _ in range(10)]
        wait_until(lambda: all(client.body == STREAM[:400] for client in clients), "all read")
        go_on.set()
        for client in clients:
            client.join()
            assert (client.body, client.is_cut) == (STREAM[:400], True)
        assert len(through.server.received) == 1
        assert {(row["error"], row["partial"]) for row in through.rows()} == {
            ("upstream-broken", 1)
        }
        assert sum(row["input_tokens"] for row in through.rows()) == 25


def test_when_who_asked_first_hangs_up_the_others_get_an_answer(tmp_path: Path) -> None:
    first_is_gone = threading.Event()

    def script(_: Received, sock: socket.socket) -> bool:
        if not first_is_gone.is_set():
            through.server.wait_for_hang_up(sock)
            first_is_gone.set()
            return False
        sock.sendall(HEAD + chunk(STREAM) + chunk(b""))
        return True

    browser, client_end = socket.socketpair()
    with client_end, forwarding(script, tmp_path, reuse=make_reuse(messages="exact")) as through:
        gone = Asking(through, make_call(body=STREAM_BODY, client_fd=client_end.fileno()))
        wait_until(lambda: through.server.received, "the request has arrived")
        others = [Asking(through, make_call(body=STREAM_BODY)) for _ in range(5)]
        wait_until(lambda: waiting(through) == 6, "all wait")
        browser.close()
        gone.join()
        for client in others:
            client.join()
            assert client.body == STREAM
        assert gone.answer is not None
        assert gone.answer.status == 499
        assert len(through.server.received) == 2
        assert Counter(client.state for client in others) == {"miss": 1, "coalesced": 4}
        assert sum(row["cost_nano"] for row in through.rows()) == STREAM_COST_NANO
        assert len(through.rows()) == 6


@pytest.mark.parametrize("leaves", [0, 1])
def test_who_hangs_up_in_the_midst_takes_nothing_from_the_others(
    tmp_path: Path, leaves: int
) -> None:
    go_on = threading.Event()

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD + chunk(STREAM[:400]))
        go_on.wait(DEADLINE_S)
        sock.sendall(chunk(STREAM[400:]) + chunk(b""))

    pairs = [socket.socketpair() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        for near, far in pairs:
            stack.enter_context(near)
            stack.enter_context(far)
        through = stack.enter_context(
            forwarding(script, tmp_path, reuse=make_reuse(messages="exact"))
        )
        clients = []
        for near, _ in pairs:
            clients.append(Asking(through, make_call(body=STREAM_BODY, client_fd=near.fileno())))
            wait_until(lambda: clients[-1].body == STREAM[:400], "the beginning is there")
        pairs[leaves][1].close()
        clients[leaves].join(DEADLINE_S)
        assert clients[leaves].is_cut
        assert not through.server.hung_up.is_set()
        go_on.set()
        clients[1 - leaves].join()
        assert clients[1 - leaves].body == STREAM
        assert len(through.server.received) == 1
        # The bill is the bill, whoever stayed to see it.
        assert sum(row["cost_nano"] for row in through.rows()) == STREAM_COST_NANO


def test_when_all_have_hung_up_the_upstream_is_closed(tmp_path: Path) -> None:
    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(HEAD + chunk(STREAM[:400]))
        through.server.wait_for_hang_up(sock)
        return False

    pairs = [socket.socketpair() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for near, far in pairs:
            stack.enter_context(near)
            stack.enter_context(far)
        through = stack.enter_context(
            forwarding(script, tmp_path, reuse=make_reuse(messages="exact"))
        )
        calls = [make_call(body=STREAM_BODY, client_fd=near.fileno()) for near, _ in pairs]
        clients = [Asking(through, each) for each in calls]
        wait_until(lambda: all(each.body == STREAM[:400] for each in clients), "all read")
        for _, far in pairs:
            far.close()
        for client in clients:
            client.join(DEADLINE_S)
            assert client.is_cut
        assert through.server.hung_up.wait(DEADLINE_S)
        assert {row["partial"] for row in through.rows()} == {1}
        assert through.gateway.running == 0
        assert len(through.gateway._reuse._flights) == 0


def test_stopping_ends_what_many_wait_for(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("The daemon is stopping")

    def script(_: Received, sock: socket.socket) -> bool:
        through.server.wait_for_hang_up(sock)
        return False

    with forwarding(script, tmp_path) as through:
        clients = [Asking(through, counting(b'{"n":1}')) for _ in range(5)]
        wait_until(lambda: waiting(through) == 5, "all wait")
        wait_until(lambda: through.server.received, "the request has arrived")
        through.gateway.stop()
        for client in clients:
            client.join(DEADLINE_S)
            assert client.answer is not None
            assert client.answer.status == 503
        assert len(through.server.received) == 1


def test_a_crowd_that_comes_and_goes_loses_no_money(tmp_path: Path) -> None:
    # Clients leave at any time; whatever happens, the rows are the upstream's own bill.
    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD)
        for position in range(0, len(STREAM), 60):
            sock.sendall(chunk(STREAM[position : position + 60]))
            time.sleep(0.001)  # so that they meet in the midst
        sock.sendall(chunk(b""))

    with forwarding(script, tmp_path, reuse=make_reuse(messages="exact", ttl_s=0)) as through:
        wrong: list[bytes] = []

        def ask(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(8):
                body = STREAM_BODY + b" " * rng.randrange(3)
                answer = through.gateway.forward(make_call(body=body))
                got = b""
                pieces = rng.choice([1, 3, 8, 1000])
                for number, piece in enumerate(answer.body):
                    got += piece
                    if number == pieces:
                        break
                else:
                    if got != STREAM:
                        wrong.append(got)
                answer.close()
                if not STREAM.startswith(got):
                    wrong.append(got)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = through.rows()
        assert wrong == []
        assert len(rows) == 96
        assert len({row["request_id"] for row in rows}) == 96
        paid = [row for row in rows if row["cache"] == "miss"]
        assert len(through.server.received) == len(paid)
        assert all(row["cost_nano"] in (0, STREAM_COST_NANO) or row["partial"] for row in paid)
        assert all(row["cost_nano"] == 0 for row in rows if row["cache"] != "miss")
        assert through.gateway._reuse._room._left == 67108864 // 4
        assert len(through.gateway._reuse._flights) == 0
        assert through.gateway.running == 0


class Halves:
    """A script that sends the second half of an answer when the client has got the first."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._halves = first, second
        self._go_on = threading.Event()
        self._sent = threading.Event()

    def __call__(self, received: Received, sock: socket.socket) -> None:
        del received
        sock.sendall(self._halves[0])
        assert self._go_on.wait(DEADLINE_S)
        sock.sendall(self._halves[1])
        self._sent.set()

    def lose(self, through: Forwarding, body: bytes) -> bytes:
        """Ask, and hang up when all has been sent but the gateway has read the first half only."""
        browser, client = socket.socketpair()
        with client:
            answer = through.gateway.forward(make_call(body=body, client_fd=client.fileno()))
            got = next(answer.body) or next(answer.body)
            self._go_on.set()
            assert self._sent.wait(DEADLINE_S)
            browser.close()
            with contextlib.suppress(AnswerCut):
                got += b"".join(answer.body)
            answer.close()
        return got


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_hangs_up_at_the_end_is_not_billed_twice(
    tmp_path: Path, is_stream: bool
) -> None:
    if is_stream:
        data, body, cost = STREAM, STREAM_BODY, STREAM_COST_NANO
        script = Halves(HEAD + chunk(data[:400]), chunk(data[400:]) + chunk(b""))
    else:
        data, body, cost = ANSWER, BODY, ANSWER_COST_NANO
        whole = reply("200 OK", JSON, body=data)
        script = Halves(whole[:-20], whole[-20:])

    with forwarding(script, tmp_path) as through:
        script.lose(through, body)
        answer, got = through.get(make_call(body=body))
        assert (state(answer), got) == ("hit", data)
        assert len(through.server.received) == 1
        rows = through.rows()
        assert [(row["cost_nano"], row["saved_nano"]) for row in rows] == [(cost, 0), (0, cost)]


def test_what_a_client_left_half_done_is_not_kept(tmp_path: Path) -> None:
    script = Halves(HEAD + chunk(STREAM[:200]), chunk(STREAM[200:400]))
    with forwarding(script, tmp_path) as through:
        assert STREAM.startswith(script.lose(through, STREAM_BODY))
        assert through.server.hung_up.wait(DEADLINE_S)
        assert through.gateway.cache_stats()["entries"] == 0
        assert through.row()["partial"] == 1


# The SDK as the judge of a rebuilt message


def random_text(rng: random.Random) -> str:
    return "".join(
        rng.choices(["a", " ", "é", "😀", "\n", '"', "\\", "\u2028", "<", "stream"], k=6)
    )


def random_json(rng: random.Random, depth: int = 0) -> Any:
    kinds: Sequence[Callable[[], Any]] = [
        lambda: rng.randrange(-(10**6), 10**6),
        lambda: rng.random(),
        lambda: random_text(rng),
        lambda: rng.choice([True, False, None]),
        lambda: [random_json(rng, depth + 1) for _ in range(rng.randrange(3))],
        lambda: {random_text(rng): random_json(rng, depth + 1) for _ in range(rng.randrange(3))},
    ]
    return rng.choice(kinds[: 6 if depth < 3 else 4])()


def split(rng: random.Random, text: str) -> list[str]:
    cuts = sorted(rng.randrange(len(text) + 1) for _ in range(rng.randrange(4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def random_block(rng: random.Random) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the start of a block and its deltas."""
    citation = {
        "type": "char_location",
        "cited_text": random_text(rng),
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 5,
        "file_id": None,
    }
    pieces = split(rng, random_text(rng) * 3)
    match rng.randrange(6):
        case 0:
            texts = [{"type": "text_delta", "text": piece} for piece in pieces]
            cited = [{"type": "citations_delta", "citation": citation}] * rng.randrange(3)
            more = rng.choice([{}, {"citations": None}])
            return {"type": "text", "text": "", **more}, texts[:1] + cited + texts[1:]
        case 1:
            thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            signed = {"type": "signature_delta", "signature": f"Eq{rng.random()}"}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signed]
        case 2:
            return {"type": "redacted_thinking", "data": f"Em{rng.random()}"}, []
        case 3:
            result = {
                "type": "web_search_result",
                "title": random_text(rng),
                "url": "https://example.com/",
                "encrypted_content": "x",
                "page_age": None,
            }
            start: dict[str, Any] = {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [result] * rng.randrange(3),
            }
            return start, []
        case kind:
            text = json.dumps({random_text(rng): random_json(rng) for _ in range(rng.randrange(4))})
            parts = split(rng, text) if rng.random() < 0.9 else []
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            name = "server_tool_use" if kind == 4 else "tool_use"
            tool = "web_search" if kind == 4 else "Bash"
            return {"type": name, "id": "toolu_1", "name": tool, "input": {}}, deltas


def random_stream(rng: random.Random) -> bytes:
    """Return an answer as the provider might stream it."""
    usage = {
        "input_tokens": rng.randrange(999),
        "output_tokens": 1,
        "cache_creation_input_tokens": rng.choice([None, 0, 5]),
        "cache_read_input_tokens": rng.choice([None, 7]),
        "service_tier": "standard",
    }
    message: dict[str, Any] = {
        "id": f"msg_{rng.random()}",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-8",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index in range(rng.randrange(5)):
        start, deltas = random_block(rng)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    later = {
        "input_tokens": rng.choice([None, 12]),
        "cache_read_input_tokens": rng.choice([None, 0, 3]),
        "server_tool_use": rng.choice([None, {"web_search_requests": 2, "web_fetch_requests": 0}]),
    }
    used = {name: count for name, count in later.items() if rng.random() < 0.7}
    reason = rng.choice(["end_turn", "tool_use"])
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": rng.randrange(999), **used},
        }
    )
    events.append({"type": "message_stop"})
    data = b""
    for event in events:
        if rng.random() < 0.1:
            data += b'event: ping\ndata: {"type": "ping"}\n\n'
        text = json.dumps(event, ensure_ascii=rng.random() < 0.5)
        data += f"event: {event['type']}\ndata: {text}\n\n".encode()
    return data


@pytest.fixture(scope="module")
def sdk_streams() -> list[bytes]:
    return [random_stream(random.Random(seed)) for seed in range(300)]


@pytest.mark.timeout(120)
def test_a_rebuilt_message_is_the_one_that_the_sdk_makes_of_the_stream(
    sdk_streams: list[bytes],
) -> None:
    given: list[bytes] = []

    def script(received: Received, sock: socket.socket) -> None:
        is_stream = json.loads(received.body).get("stream", False)
        kind = SSE if is_stream else JSON
        sock.sendall(reply("200 OK", kind, body=given[-1]))

    asked: dict[str, Any] = {
        "model": "claude-opus-4-8",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with (
        serving(script) as server,
        anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=0) as client,
    ):
        for data in sdk_streams:
            given.append(data)
            with client.messages.stream(**asked) as stream:
                streamed = stream.get_final_message()
            rebuilt = rebuild_message(data)
            assert rebuilt is not None, data
            given.append(rebuilt)
            whole = client.messages.create(**asked)
            assert told(whole) == told(streamed), data


def told(message: anthropic.types.Message) -> Any:
    return message.model_dump(mode="json", exclude_none=True, exclude={"parsed_output"})


# The whole way: Gunicorn, real sockets, a client that is gone


@pytest.fixture
def cco() -> Iterator[Daemon]:
    with daemon() as made:
        yield made


@pytest.mark.timeout(120)
@pytest.mark.needs("fuse")
def test_a_lost_stream_is_not_paid_twice_on_the_whole_way(cco: Daemon) -> None:
    last = STREAM.index(b"event: content_block_stop")
    go_on, sent = threading.Event(), threading.Event()

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD + chunk(STREAM[:last]))
        go_on.wait(DEADLINE_S)
        sock.sendall(chunk(STREAM[last:]) + chunk(b""))
        sent.set()

    cco.start()
    with serving(script) as server:
        target = f"/s/{cco.launch(upstream=server.url).id}/v1/messages"
        with contextlib.closing(socket.create_connection(("127.0.0.1", cco.port))) as client:
            client.settimeout(DEADLINE_S)
            client.sendall(
                b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n"
                b"Accept-Encoding: identity\r\nx-api-key: k\r\n\r\n%s"
                % (target.encode(), cco.port, len(STREAM_BODY), STREAM_BODY)
            )
            got = b""
            while STREAM[:last] not in got:
                got += client.recv(65536)
            worker = cco.worker
            worker.suspend()
            try:
                go_on.set()
                assert sent.wait(DEADLINE_S)
            finally:
                client.close()
                worker.resume()
        wait_until(lambda: recorded(cco), "the row is written")

        answer = call(
            cco.port,
            "POST",
            target,
            body=BODY,
            headers={"x-api-key": "k"},
        )
        assert (answer.status, answer.headers["x-cco-cache"]) == (200, "hit")
        assert answer.json()["usage"]["output_tokens"] == 15
        assert answer.headers["content-type"] == "application/json"
        assert len(server.received) == 1
        stats = cco.client.call("GET", "/api/cache/stats")
        assert (stats["hits"], stats["savedUsd"]) == (1, STREAM_COST_NANO / 1e9)


@pytest.mark.timeout(120)
@pytest.mark.needs("fuse")
def test_a_burst_on_the_whole_way_is_one_request_for_each_body(cco: Daemon) -> None:
    def script(received: Received, sock: socket.socket) -> None:
        time.sleep(0.2)  # so that many wait; whoever comes later is served from what is kept
        sock.sendall(reply("200 OK", JSON, body=count_of(received.body)))

    cco.configure(threads=Server().threads)  # a burst of Claude Code's has room by default
    cco.start()
    with serving(script) as server:
        target = f"/s/{cco.launch(upstream=server.url).id}{COUNT_TARGET}"
        bodies = [b'{"n":%d}' % (number % 3) for number in range(BURST)]
        with ThreadPoolExecutor(BURST) as pool:
            answers = list(pool.map(lambda body: call(cco.port, "POST", target, body=body), bodies))
        assert [answer.body for answer in answers] == [count_of(body) for body in bodies]
        assert Counter(received.body for received in server.received) == dict.fromkeys(bodies, 1)
        states = Counter(answer.headers["x-cco-cache"] for answer in answers)
        assert states["miss"] == 3
        stats = cco.client.call("GET", "/api/cache/stats")
        assert (stats["hits"], stats["coalesced"]) == (states["hit"], states["coalesced"])
        wait_until(lambda: recorded(cco) == BURST, "every request has its row")

        assert cco.client.call("POST", "/api/cache/clear")["cleared"] == 3
        call(cco.port, "POST", target, body=bodies[0])
        assert len(server.received) == 4


def recorded(cco: Daemon) -> int:
    """Return how many requests of this project the ledger knows."""
    told = cco.client.call("GET", f"/api/project/stats?project={cco.home}")
    return int(told["requests"]["total"])
