# SPDX-License-Identifier: Apache-2.0
"""The gateway as a client sees it: through the sockets of a daemon, Gunicorn and Flask included."""

import contextlib
import hashlib
import http.client
import json
import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest

from tests import generated
from tests.daemon import KEY, Daemon, Stream, asking, call, exchange, gated
from tests.mounting import DEADLINE_S, wait_until
from tests.rawserver import RawServer, Received, Script, always, chunk, reply, serving

BODIES: Final = {
    "empty": b"",
    "order and repetition of keys": b'{"b":1,"a":2,"a":3,"model":"x","model":"y"}',
    "numbers": b'{"n":[1.0,1e5,-0,123456789012345678901234567890,1e400]}',
    "escapes": b'{"s":"\\u00e9\\/\\ud83c\\udf88\\ud800"}',
    "no JSON": b"\x00\xff\xfe\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "white space": b' \r\n\t{ "a" :\n[ 1 , 2 ] }\n\n',
    "five megabytes": b'{"big":"' + b"0123456789abcdef" * (5 * 65536) + b'"}',
}

OF_A_CONNECTION: Final = frozenset(
    {"connection", "content-length", "x-cco-cache", "x-cco-request-id", "x-cco-upstream"}
)
"""Header fields of an answer that are not the upstream's."""

STATUSES: Final = (200, 201, 400, 401, 402, 403, 404, 413, 418, 429, 500, 503, 529)


@contextmanager
def upstream(served: Daemon, script: Script) -> Iterator[tuple[RawServer, str]]:
    """Serve as a session's own upstream; give the server and the session's prefix."""
    with serving(script) as server:
        session = served.launch(upstream=server.url)
        yield server, f"/s/{session.id}"


def raw(served: Daemon, head: str, body: bytes = b"") -> bytes:
    """Send a request as it stands; return all that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S) as sock:
        named = f"{head}\nHost: 127.0.0.1:{served.port}\nConnection: close"
        return exchange(sock, named.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)


# Requests


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_reaches_the_upstream_to_the_byte(served: Daemon, body: bytes, framing: str) -> None:
    if framing == "length":
        head, sent = f"Content-Length: {len(body)}", body
    else:
        pieces = [body[at : at + 65521] for at in range(0, len(body), 65521)]
        head, sent = "Transfer-Encoding: chunked", b"".join(map(chunk, pieces)) + chunk(b"")
    with upstream(served, always(reply(body=b"{}"))) as (server, prefix):
        answer = raw(served, f"POST {prefix}/v1/messages HTTP/1.1\n{head}", sent)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        (request,) = server.received
    assert hashlib.sha256(request.body).digest() == hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/messages?beta=true"),
        ("GET", "/v1/models?limit=1000&&after_id=a%20b+c"),
        ("GET", "/v1/files/a%2Fb%2f..%2e/content"),
        ("GET", "/v1/double//slash/"),
        ("DELETE", "/v1/files/file_1"),
        ("PUT", "/v1/anything"),
        ("PATCH", "/v1/anything"),
        ("OPTIONS", "/v1/messages"),
        ("HEAD", "/v1/models"),
    ],
)
def test_a_target_goes_upstream_as_it_was_written(served: Daemon, method: str, target: str) -> None:
    with upstream(served, always(reply())) as (server, prefix):
        raw(served, f"{method} {prefix}{target} HTTP/1.1")
        (request,) = server.received
    assert (request.method, request.target) == (method, target)


def test_header_lines_go_upstream_with_number_order_and_value(served: Daemon) -> None:
    lines = [
        "anthropic-beta: one",
        "anthropic-beta: two,three",
        "x-claude-code-session-id: abc",
        "x-under_score: 1",
        "x-empty:",
        "x-latin: \xe9\xff",
        "x-spaces: a  b\tc",
        "x-stainless-Retry-Count: 0",
        "x-api-key: sk-ant-test",
        "x-anthropic-billing-header: cc_version=1; x=y",
        "accept-encoding: gzip, br",
        "user-agent: claude-cli/2.1.197",
    ]
    with upstream(served, always(reply())) as (server, prefix):
        raw(served, f"GET {prefix}/v1/models HTTP/1.1\n" + "\n".join(lines))
        (request,) = server.received
    wanted = [(name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)]
    got = [(name.lower(), value) for name, value in request.fields]
    assert [pair for pair in got if pair in wanted] == wanted
    assert {name for name, _ in got} - {name for name, _ in wanted} <= {"host", "connection"}
    assert request.values("host") == [server.url.removeprefix("http://")]


def test_a_thousand_requests_of_chance_and_their_answers_cross_to_the_byte(served: Daemon) -> None:
    """The upstream sends back what it gets; the client has one connection."""
    chance = random.Random(7)
    sent = [(body, generated.fields(chance)) for body in generated.bodies(1000, seed=7)]
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    with upstream(served, echo) as (server, prefix), contextlib.closing(connection):
        for body, fields in sent:
            connection.putrequest("POST", f"{prefix}/v1/messages", skip_accept_encoding=True)
            for name, value in fields:
                connection.putheader(name, value.encode("latin-1"))
            is_chunked = chance.random() < 0.5
            framing = ("Transfer-Encoding", "chunked"), ("Content-Length", str(len(body)))
            connection.putheader(*framing[0 if is_chunked else 1])
            connection.endheaders(body, encode_chunked=is_chunked)
            answer = connection.getresponse()
            assert sha256(answer.read()) == sha256(body)
            request = server.received.pop()
            assert sha256(request.body) == sha256(body)
            assert lowered(request.fields[1:-1]) == lowered(fields)  # Host and length are ours
            ours = {*OF_A_CONNECTION, *(set() if request.values("date") else {"date"})}
            told = lowered(answer.getheaders())
            assert [field for field in told if field[0] not in ours] == lowered(fields)
        assert (server.received, server.opened) == ([], 1)


def echo(received: Received, sock: socket.socket) -> None:
    fields = [f"{name}: {value}" for name, value in received.fields[1:-1]]
    sock.sendall(reply("200 OK", *fields, body=received.body))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def lowered(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in fields]


def test_the_largest_body_reaches_the_upstream_and_a_larger_one_does_not(served: Daemon) -> None:
    size = 64 * 1024 * 1024
    with upstream(served, always(reply(body=b"{}"))) as (server, prefix):
        for more, status in ((0, b"200 OK"), (1, b"413 ")):
            head = f"POST {prefix}/v1/messages HTTP/1.1\nContent-Length: {size + more}"
            answer = raw(served, head, b"x" * (size + more))
            assert answer.startswith(b"HTTP/1.1 " + status)
        assert [len(request.body) for request in server.received] == [size]
    assert b"x-cco-error: body-too-large" in answer.lower()
    assert json.loads(answer.rpartition(b"\r\n")[2])["error"]["type"] == "request_too_large"


def test_a_client_that_waits_for_leave_to_send_gets_it(served: Daemon) -> None:
    port = served.port
    with (
        upstream(served, always(reply(body=b"{}"))) as (server, prefix),
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as sock,
    ):
        head = f"POST {prefix}/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += "Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert exchange(sock, b"{}").startswith(b"HTTP/1.1 200 OK\r\n")
        assert [request.body for request in server.received] == [b"{}"]


# Answers


@pytest.mark.parametrize("status", STATUSES)
def test_an_answer_comes_back_with_status_headers_and_bytes(served: Daemon, status: int) -> None:
    body = b'{"type":"error","error":{"type":"x","message":"\\u00e9 <b>"},"n":1.0}'
    fields = [
        "Content-Type: application/json",
        "request-id: req_123",
        "retry-after: 7",
        "x-should-retry: true",
        "anthropic-ratelimit-unified-status: allowed",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: b=2",
        "X-Odd-Case: \xe9",
        "date: Sun, 06 Nov 1994 08:49:37 GMT",
        "server: cloudflare",
    ]
    sent = reply(f"{status} Some Reason", *fields, body=body)
    with upstream(served, always(sent)) as (_, prefix):
        answer = raw(served, f"POST {prefix}/v1/messages HTTP/1.1\nContent-Length: 2", b"{}")
    head, _, got = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    assert (first, got) == (f"HTTP/1.1 {status} Some Reason", body)
    pairs = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    for name, _, value in (line.partition(": ") for line in fields):
        assert (name.lower(), value) in pairs
    names = [name for name, _ in pairs]
    assert [names.count(name) for name in ("date", "server", "set-cookie")] == [1, 1, 2]
    ours = {"connection", "content-length", "x-cco-cache", "x-cco-request-id", "x-cco-upstream"}
    assert set(names) == ours | {line.partition(":")[0].lower() for line in fields}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_have_none(served: Daemon, method: str, status: str) -> None:
    with upstream(served, always(reply(status, length=False))) as (_, prefix):
        answer = raw(served, f"{method} {prefix}/v1/models HTTP/1.1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert (body, b"transfer-encoding" in head.lower()) == (b"", False)


def test_an_answer_in_chunks_comes_in_chunks_and_one_with_a_length_with_it(served: Daemon) -> None:
    data = b"x" * 100_000
    chunked = reply("200 OK", "Transfer-Encoding: chunked", length=False)
    chunked += chunk(data[:1]) + chunk(data[1:]) + chunk(b"")
    for sent, is_chunked in ((chunked, True), (reply(body=data), False)):
        with upstream(served, always(sent)) as (_, prefix):
            answer = call(served.port, "GET", f"{prefix}/v1/x")
        assert answer.body == data
        assert (answer.headers.get("transfer-encoding") == "chunked") is is_chunked
        assert (answer.headers.get("content-length") == "100000") is not is_chunked


def test_an_old_client_gets_an_answer_that_ends_with_the_connection(served: Daemon) -> None:
    sent = reply("200 OK", "Transfer-Encoding: chunked", length=False) + chunk(b"abc") + chunk(b"")
    with upstream(served, always(sent)) as (_, prefix):
        answer = raw(served, f"GET {prefix}/v1/x HTTP/1.0")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (body, b"transfer-encoding" in head.lower()) == (b"abc", False)


def test_pieces_of_a_stream_come_as_they_are_sent(served: Daemon) -> None:
    with gated() as gate:
        session = served.launch(upstream=gate.url)
        with Stream(served.port, session.id, "hello") as stream:
            stream.read_to(gate.FIRST)
            assert gate.LAST not in stream.data
            gate.open()
            assert gate.LAST in stream.rest()


def test_over_the_unix_socket_it_is_the_same(served: Daemon) -> None:
    session = served.launch()
    target = f"/s/{session.id}/v1/messages"
    reply_ = served.client.request(
        "POST", target, body=asking("hello", stream=True), headers={"x-api-key": KEY}
    )
    assert reply_.status == 200
    assert reply_.body.endswith(b'data: {"type":"message_stop"}\n\n')


def test_the_probe_of_the_client_is_answered_here(served: Daemon) -> None:
    with upstream(served, always(reply())) as (server, prefix):
        for target in ("/", prefix, f"{prefix}/"):
            assert call(served.port, "HEAD", target).status == 200
    assert server.received == []


@pytest.mark.parametrize("prompt", ["offline: cut message_start", "offline: cut content"])
def test_a_stream_that_is_cut_is_never_taken_for_whole(served: Daemon, prompt: str) -> None:
    session = served.launch()
    with Stream(served.port, session.id, prompt) as stream:
        with contextlib.suppress(http.client.IncompleteRead):
            stream.rest()
            assert b"event: error\n" in stream.data
        assert b"message_stop" not in stream.data


def test_a_client_that_goes_away_closes_the_upstream(served: Daemon) -> None:
    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", "Content-Type: text/event-stream", length=False))
        sock.sendall(b"event: message_start\ndata: {}\n\n")
        server.wait_for_hang_up(sock)
        return False

    with upstream(served, script) as (server, prefix):
        with Stream(served.port, prefix.removeprefix("/s/"), "hello") as stream:
            stream.read_to(b"message_start")
        assert server.hung_up.wait(DEADLINE_S)


def test_many_at_once_do_not_mix(served: Daemon) -> None:
    session, port = served.launch(), served.port
    barrier = threading.Barrier(40)

    def one(number: int) -> bool:
        barrier.wait()
        size = 100 + number
        with Stream(port, session.id, f"offline: text {size}\noffline: slow 0.01") as stream:
            events = [
                json.loads(line.removeprefix(b"data: "))
                for line in stream.rest().splitlines()
                if line.startswith(b"data: ")
            ]
        texts = [one["delta"]["text"] for one in events if one["type"] == "content_block_delta"]
        return len("".join(texts)) == size and events[-1]["type"] == "message_stop"

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(one, range(40)))


# Accounts


def test_every_request_has_its_row_and_its_session(served: Daemon) -> None:
    session = served.launch()
    headers = {"x-claude-code-session-id": f"client-{session.id}"}

    def post(path: str, prompt: str, *, stream: bool = False) -> str:
        body = asking(prompt, stream=stream)
        answer = call(served.port, "POST", f"/s/{session.id}{path}", body=body, headers=headers)
        assert answer.headers["x-cco-upstream"] == "offline"
        return answer.headers["x-cco-request-id"]

    ids = [
        post("/v1/messages", "one"),
        post("/v1/messages", "two", stream=True),
        post("/v1/messages/count_tokens", "three"),
        post("/v1/messages", "offline: status 529"),
    ]
    assert len(set(ids)) == 4
    told = served.client.call("GET", "/api/project/stats?project=")
    (row,) = [
        one for one in told["bySession"] if one["session"] == headers["x-claude-code-session-id"]
    ]
    assert (row["requests"], row["errors"]) == (4, 1)
    assert row["tokens"]["output"] > 0
    assert row["costUsd"] > 0
    recent = told["recent"][:4]
    assert sorted(one["status"] for one in recent) == [200, 200, 200, 529]


@pytest.mark.parametrize(
    "refused",
    [
        lambda served: call(served.port, "POST", "/s/0000000000000000/v1/messages", body=b"{}"),
        lambda served: call(served.port, "GET", "/v1/models", headers={"Origin": "null"}),
    ],
)
def test_what_is_refused_at_the_door_reaches_no_upstream(
    served: Daemon, refused: Callable[[Daemon], object]
) -> None:
    def total() -> int:
        told = served.client.call("GET", "/api/project/stats?project=")
        return int(told["requests"]["total"])

    before = total()
    refused(served)
    session = served.launch()
    call(served.port, "GET", f"/s/{session.id}/v1/models")
    wait_until(lambda: total() > before, "the row of the one that was let in")
    assert total() == before + 1
