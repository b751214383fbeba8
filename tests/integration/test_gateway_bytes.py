# SPDX-License-Identifier: Apache-2.0
"""Not a byte is changed on the way to the upstream or back."""

import gzip
import hashlib
import json
import random
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import brotli
import pytest
import zstandard

from cco.gateway.errors import AnswerCut
from tests import generated
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    CHUNKED,
    JSON,
    SSE,
    STREAM,
    STREAM_COST_NANO,
    Forwarding,
    forwarding,
    make_call,
    read,
    streamed,
)
from tests.rawserver import Received, always, chunk, reply


def awkward_bodies() -> Iterator[bytes]:
    """Bodies that a parser and a writer would not both leave as they are."""
    yield b""
    yield b"{}"
    yield b'{"stream":true,"model":"m","b":1,"a":2}'  # order of keys
    yield b'{"a":1,"a":2,"model":"x","model":"y"}'  # repeated keys
    yield b'{"n":[1.0,1e5,1E+5,-0,-0.0,1.10,123456789012345678901234567890,1e400]}'
    yield b'{"s":"\\u00e9\\/\\u0041\\ud83c\\udf88\\ud800"}'  # escapes, a lone surrogate
    yield '{"s":"é🎈\u2028\x7f"}'.encode()
    yield b' \r\n\t{ "a" :\n[ 1 , 2 ] }\n\n'  # white space
    yield b"\xef\xbb\xbf{}"  # a byte order mark
    yield b"\x00\xff\xfe not JSON at all \r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    yield "{}".encode("utf-16")
    yield b'{"x":' * 5000
    yield b'{"model":"m","big":"' + b"0123456789abcdef" * (5 * 65536) + b'"}'  # 5 MB


def test_bodies_reach_the_upstream_as_they_are(tmp_path: Path) -> None:
    bodies = [*awkward_bodies(), *generated.bodies(300, seed=42)]
    with forwarding(always(reply(body=ANSWER)), tmp_path) as through:
        for body in bodies:
            through.get(make_call(body=body))
        got = [hashlib.sha256(received.body).digest() for received in through.server.received]
        assert got == [hashlib.sha256(body).digest() for body in bodies]
        assert through.server.opened == 1
        assert [row["request_bytes"] for row in through.rows()] == list(map(len, bodies))


def test_headers_cross_with_their_number_and_order(tmp_path: Path) -> None:
    chance = random.Random(1)
    sent, answered = ([generated.fields(chance) for _ in range(60)] for _ in range(2))
    answers = iter(answered)

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(reply("200 OK", *(f"{k}: {v}" for k, v in next(answers)), body=ANSWER))

    with forwarding(script, tmp_path) as through:
        for given, told in zip(sent, answered, strict=True):
            answer, _ = through.get(make_call(headers=given))
            assert through.server.received[-1].fields[1:-1] == given
            assert answer.headers[:-4] == told


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 413, 429, 500, 529])
@pytest.mark.parametrize("kind", [JSON, SSE, "Content-Type: text/html"])
def test_whatever_the_upstream_says_reaches_the_client(
    tmp_path: Path, status: int, kind: str
) -> None:
    body = b'{"type":"error","error":{"type":"some_error","message":"\\u00e9  x"}}\n'
    lines = ["retry-after: 7", "x-should-retry: true", "request-id: req_1", "a: b"]
    lines += ["anthropic-ratelimit-unified-5h-status: allowed"]
    with forwarding(always(reply(f"{status} Odd \xe9", kind, *lines, body=body)), tmp_path) as t:
        answer, got = t.get()
        row = t.row()

    assert (answer.status, answer.reason, got) == (status, "Odd \xe9", body)
    assert {tuple(line.split(": ")) for line in lines} <= set(answer.headers)
    assert "x-cco-error" not in dict(answer.headers)
    assert (row["status"], row["response_bytes"]) == (status, len(body))
    if status >= 400 and kind == JSON:
        assert row["error"] == "some_error"
    if status >= 300:
        assert (row["priced"], row["cost_nano"]) == (1, 0)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("HEAD", reply("200 OK", "Content-Type: text/plain", "Content-Length: 77", length=False)),
        ("GET", b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: e\r\nContent-Length: 5\r\n\r\n"),
        ("POST", reply("200 OK")),
    ],
)
def test_answers_without_a_body(tmp_path: Path, method: str, data: bytes) -> None:
    with forwarding(always(data), tmp_path) as through:
        for _ in range(2):
            answer = through.gateway.forward(make_call(method=method, target="/", body=b""))
            rows = through.rows()  # durable before the head goes out
            assert read(answer) == b""
        assert [row["status"] for row in rows] == [answer.status] * 2
        assert through.server.opened == 1  # and the connection is fit for the next
    told = data.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    assert [f"{k}: {v}" for k, v in answer.headers[:-3]] == told


def test_requests_without_a_body(tmp_path: Path) -> None:
    with forwarding(always(reply()), tmp_path) as through:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            through.get(make_call(method=method, body=b""))
        received = through.server.received
    lengths = {r.method: r.values("content-length") for r in received}
    assert lengths == {"GET": [], "HEAD": [], "POST": ["0"], "DELETE": [], "OPTIONS": []}


def test_no_continuation_is_asked_for_and_those_that_come_are_passed_over(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\na: b\r\n\r\n" + reply(body=ANSWER)
    with forwarding(always(answer), tmp_path) as through:
        got, body = through.get(make_call(headers=[("Expect", "100-continue")]))
        assert (got.status, body) == (200, ANSWER)
        assert through.server.received[0].values("expect") == []


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
        ("br", lambda data: b"\x0b" + data),  # which it is not
        ("dcb", lambda data: b"\xff" + data),
    ],
)
@pytest.mark.parametrize("kind", [SSE, JSON])
def test_compressed_answers_pass_as_they_are_and_are_counted_where_they_can_be(
    tmp_path: Path, coding: str, pack: Callable[[bytes], bytes], kind: str
) -> None:
    plain, cost = (STREAM, STREAM_COST_NANO) if kind == SSE else (ANSWER, ANSWER_COST_NANO)
    packed = pack(plain)
    data = reply("200 OK", kind, f"Content-Encoding: {coding}", CHUNKED, length=False)
    for position in range(0, len(packed), 50):
        data += chunk(packed[position : position + 50])
    with forwarding(always(data + chunk(b"")), tmp_path) as through:
        answer, got = through.get(make_call(headers=[("accept-encoding", "gzip, br, zstd")]))
        row = through.row()
        assert through.server.received[0].values("accept-encoding") == ["gzip, br, zstd"]

    assert got == packed
    assert dict(answer.headers)["Content-Encoding"] == coding
    assert row["partial"] == 0
    if packed[1:] == plain:
        assert (row["priced"], row["usage_flawed"], row["cost_nano"]) == (0, 1, 0)
    else:
        assert (row["priced"], row["usage_flawed"], row["cost_nano"]) == (1, 0, cost)


ODD_FRAMINGS: Final = {
    "chunks with extensions and trailers": (
        CHUNKED,
        b"1;x=y\r\n" + STREAM[:1] + b"\r\n%X\r\n" % (len(STREAM) - 1) + STREAM[1:] + b"\r\n",
        b"0\r\nTrailer: t\r\n\r\n",
    ),
    "a length": (f"Content-Length: {len(STREAM)}", STREAM, b""),
    "both, where chunks win": (
        f"Content-Length: 3\r\n{CHUNKED}",
        chunk(STREAM),
        chunk(b""),
    ),
    "until the connection ends": ("Connection: close", STREAM, b""),
}


@pytest.mark.parametrize("kind", ODD_FRAMINGS)
def test_framings(tmp_path: Path, kind: str) -> None:
    field, body, end = ODD_FRAMINGS[kind]

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", SSE, *field.split("\r\n"), length=False) + body + end)
        return False

    with forwarding(script, tmp_path) as through:
        answer, got = through.get()
        assert got == STREAM
        lengths = [v for k, v in answer.headers if k.lower() == "content-length"]
        assert lengths == ([str(len(STREAM))] if kind == "a length" else [])
        assert (through.row()["partial"], through.row()["cost_nano"]) == (0, STREAM_COST_NANO)


def test_a_body_shorter_than_its_length_is_a_cut(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    data = reply("200 OK", JSON, f"Content-Length: {len(ANSWER) + 1}", length=False) + ANSWER

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    with forwarding(script, tmp_path) as through:
        answer = through.gateway.forward(make_call())
        assert next(answer.body) == ANSWER
        with pytest.raises(AnswerCut):
            next(answer.body)
        answer.close()
        row = through.row()
        assert (row["partial"], row["error"]) == (1, "upstream-broken")


def test_a_body_longer_than_its_length_ends_there(tmp_path: Path) -> None:
    with forwarding(always(reply(body=ANSWER) + b"more"), tmp_path) as through:
        assert through.get()[1] == ANSWER
        assert through.get()[1] == ANSWER
        assert through.server.opened == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\x00c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    ],
)
def test_what_is_no_answer_becomes_an_error_of_ours(
    tmp_path: Path, data: bytes, expect_log: Callable[[str], None]
) -> None:
    expect_log("gave no whole answer")

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    with forwarding(script, tmp_path) as through:
        answer, body = through.get()
        row = through.row()
    assert (answer.status, dict(answer.headers)["x-cco-error"]) == (502, "upstream-broken")
    assert json.loads(body)["error"]["type"] == "api_error"
    assert (row["status"], row["error"], row["partial"]) == (502, "upstream-broken", 1)
    assert (row["priced"], row["model"]) == (0, "claude-opus-4-8")


def test_two_errors_of_the_upstream_do_not_hurt_the_connection(tmp_path: Path) -> None:
    with forwarding(always(reply("429 Slow", JSON, body=b"{}")), tmp_path) as through:
        assert [through.get()[0].status for _ in range(3)] == [429] * 3
        assert through.server.opened == 1


def through_all(through: Forwarding, data: bytes) -> bytes:
    """Return what the client gets of an answer."""
    return b"".join(through.gateway.forward(make_call()).body)


def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    text = random.Random(2).randbytes(3_000_000).hex().encode()
    body = ANSWER.replace(b'"content":[]', b'"content":"%s"' % text)
    with forwarding(always(reply("200 OK", JSON, body=body)), tmp_path) as through:
        _, got = through.get()
        assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
        assert through.row()["cost_nano"] == ANSWER_COST_NANO
    assert streamed(b"")
