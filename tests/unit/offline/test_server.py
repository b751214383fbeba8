# SPDX-License-Identifier: Apache-2.0
"""The server on real sockets: framing, keep-alive, breaks, and a clean end."""

import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from cco.errors import Unavailable
from cco.offline.answer import NOTICE
from cco.offline.body import MAX_BODY_BYTES
from cco.offline.server import OfflineUpstream, Recorded

TIMEOUT_S = 30.0


@pytest.fixture
def upstream() -> Iterator[OfflineUpstream]:
    with OfflineUpstream() as running:
        yield running


@pytest.fixture
def client(upstream: OfflineUpstream) -> Iterator[http.client.HTTPConnection]:
    with connect(upstream) as made:
        yield made


def address(upstream: OfflineUpstream) -> tuple[str, int]:
    parts = urlsplit(upstream.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def connect(upstream: OfflineUpstream) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(*address(upstream), timeout=TIMEOUT_S))


def raw(upstream: OfflineUpstream) -> socket.socket:
    return socket.create_connection(address(upstream), timeout=TIMEOUT_S)


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def send(connection: socket.socket, body: bytes, version: str = "1.1") -> None:
    head = f"POST /v1/messages HTTP/{version}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def make_body(prompt: str = "hello", **members: Any) -> bytes:
    message = {"role": "user", "content": prompt}
    return json.dumps({"model": "m", "max_tokens": 999, "messages": [message]} | members).encode()


def ask(client: http.client.HTTPConnection, body: bytes) -> http.client.HTTPResponse:
    client.request("POST", "/v1/messages?beta=true", body)
    return client.getresponse()


def test_one_connection_serves_whatever_comes(
    upstream: OfflineUpstream, client: http.client.HTTPConnection
) -> None:
    client.connect()
    kept = client.sock
    for body, status in [
        (make_body(), 200),
        (make_body(stream=True), 200),
        (b"not json", 400),
        (make_body("offline: status 529"), 529),
        (make_body("offline: html"), 200),
        (make_body("offline: error api_error", stream=True), 200),
    ]:
        response = ask(client, body)
        assert (response.status, bool(response.read())) == (status, True)
    for method, target, status in [
        ("HEAD", "/", 200),
        ("HEAD", "/nowhere", 404),
        ("GET", "/v1/models", 200),
        ("PUT", "/v1/messages", 404),
        ("DELETE", "//", 404),
    ]:
        client.request(method, target, b"a body that must be read away")
        response = client.getresponse()
        assert (response.status, bool(response.read())) == (status, method != "HEAD")
    assert client.sock is kept
    assert [request.target for request in upstream.requests[-2:]] == ["/v1/messages", "//"]


def test_a_request_is_recorded_to_the_byte(upstream: OfflineUpstream) -> None:
    body = b'{"b": 1, "a":\t"\\u00fc", "b": 1e999}'
    head = b"POST /v1/messages?a=b%2f&a HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nx-two:  2\r\n"
    with raw(upstream) as connection:
        connection.sendall(head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body)
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")

    (recorded,) = upstream.requests
    assert (recorded.method, recorded.target) == ("POST", "/v1/messages?a=b%2f&a")
    assert recorded.headers[:3] == (("Host", "x"), ("X-Two", "1"), ("x-two", "2"))
    assert recorded.header("CONTENT-length") == str(len(body))
    assert recorded.header("x-three") is None
    assert recorded.body == body
    assert recorded.sha256 == hashlib.sha256(body).hexdigest()


def test_a_chunked_body_is_accepted(
    upstream: OfflineUpstream, client: http.client.HTTPConnection
) -> None:
    body = make_body("x" * 10_000)
    pieces = (body[start : start + 999] for start in range(0, len(body), 999))

    client.request("POST", "/v1/messages", pieces, encode_chunked=True)

    assert client.getresponse().status == 200
    assert upstream.requests[0].body == body


def test_a_client_may_wait_for_continue(upstream: OfflineUpstream) -> None:
    with raw(upstream) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")


def test_a_document_comes_in_one_piece(upstream: OfflineUpstream) -> None:
    with raw(upstream) as connection:
        send(connection, make_body())
        head, _, content = connection.recv(65536).partition(b"\r\n\r\n")

    assert b"content-length: %d" % len(content) in head
    assert NOTICE in json.loads(content)["content"][0]["text"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/messages HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/messages\r\n\r\n",
        b"GET / HTTP/x\r\n\r\n",
        b"GET / x / y HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
    ],
)
def test_a_broken_request_is_refused_and_ends_the_connection(
    upstream: OfflineUpstream, request_bytes: bytes
) -> None:
    with raw(upstream) as connection:
        connection.sendall(request_bytes)
        head, _, content = read_all(connection).partition(b"\r\n\r\n")

    assert b"connection: close" in head
    assert json.loads(content)["type"] == "error"


def test_a_body_over_the_limit_can_be_sent_to_its_end(upstream: OfflineUpstream) -> None:
    size = MAX_BODY_BYTES + 1
    piece = b" " * (1024 * 1024)
    with raw(upstream) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(MAX_BODY_BYTES // len(piece)):
            connection.sendall(piece)
        connection.sendall(b" ")
        connection.shutdown(socket.SHUT_WR)
        head, _, content = read_all(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(content)["error"]["type"] == "request_too_large"
    assert upstream.requests == []


def test_an_older_client_gets_a_stream_that_ends_with_the_connection(
    upstream: OfflineUpstream,
) -> None:
    with raw(upstream) as connection:
        send(connection, make_body(stream=True), version="1.0\r\nConnection: keep-alive")
        answer = read_all(connection)

    assert b"chunked" not in answer
    assert answer.endswith(b'data: {"type":"message_stop"}\n\n')


@pytest.mark.parametrize(
    ("directive", "stream"),
    [
        ("cut message_start", True),
        ("cut content", True),
        ("cut length", True),
        ("cut length", False),
    ],
)
def test_a_cut_is_seen_as_one(
    client: http.client.HTTPConnection, directive: str, stream: bool
) -> None:
    response = ask(client, make_body(f"offline: {directive}", stream=stream))

    assert response.status == 200
    assert response.getheader("connection") is None
    with pytest.raises(http.client.IncompleteRead):
        response.read()


def test_silence_and_slowness_end_in_a_whole_answer(client: http.client.HTTPConnection) -> None:
    prompt = "offline: silent 0.05\noffline: slow 0.01\noffline: pings 2"

    text = ask(client, make_body(prompt, stream=True)).read().decode()

    assert text.count("event: ping") == 2
    assert text.endswith('data: {"type":"message_stop"}\n\n')


def test_many_requests_at_once_are_all_answered(upstream: OfflineUpstream) -> None:
    def count(number: int) -> int:
        with connect(upstream) as client:
            client.request("POST", "/v1/messages/count_tokens", make_body("x" * number * 4))
            return int(json.loads(client.getresponse().read())["input_tokens"])

    with ThreadPoolExecutor(32) as pool:
        counts = list(pool.map(count, range(132)))

    assert [number - counts[0] for number in counts] == list(range(132))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("directive", ["stall", "silent 3000", "slow 3000"])
def test_the_end_waits_for_nobody(directive: str, stream: bool) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        with OfflineUpstream() as upstream:
            idle, waiting = (stack.enter_context(raw(upstream)) for _ in range(2))
            idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
            send(waiting, make_body(f"offline: {directive}", stream=stream))
            wait_until(lambda: len(upstream.requests) == 2)
        assert read_all(idle)
        read_all(waiting)
    assert before == threading.active_count()


def test_a_client_that_leaves_frees_its_thread(upstream: OfflineUpstream) -> None:
    before = threading.active_count()
    with raw(upstream) as connection:
        send(connection, make_body("offline: stall"))
        wait_until(lambda: len(upstream.requests) == 1)

    wait_until(lambda: before == threading.active_count())


def test_usage_is_the_sum_of_what_was_reported(
    upstream: OfflineUpstream, client: http.client.HTTPConnection
) -> None:
    reported = [
        json.loads(ask(client, make_body(model=model)).read())["usage"] for model in ("a", "b", "a")
    ]

    assert set(upstream.usage_by_model) == {"a", "b"}
    assert upstream.usage_total.output == sum(usage["output_tokens"] for usage in reported)
    assert upstream.usage_total.input == sum(usage["input_tokens"] for usage in reported)


def test_requests_can_be_passed_on_instead_of_kept() -> None:
    seen: list[Recorded] = []
    with OfflineUpstream(on_request=seen.append) as upstream:
        with connect(upstream) as client:
            client.request("GET", "/")
            client.getresponse().read()
        assert upstream.requests == []

    assert [request.method for request in seen] == ["GET"]


def test_a_failure_of_our_own_ends_one_connection_only(
    expect_log: Callable[[str], None],
) -> None:
    def fail(request: Recorded) -> None:
        if request.target == "/bad":
            raise ValueError(request.target)

    expect_log("A request to the offline upstream failed")
    with OfflineUpstream(on_request=fail) as upstream, connect(upstream) as client:
        client.request("GET", "/bad")
        with pytest.raises(http.client.RemoteDisconnected):
            client.getresponse()
        client.request("GET", "/")
        assert client.getresponse().status == 200


def test_a_taken_port_is_named(upstream: OfflineUpstream) -> None:
    _, port = address(upstream)

    with pytest.raises(Unavailable, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address"):
        OfflineUpstream(port=port)
