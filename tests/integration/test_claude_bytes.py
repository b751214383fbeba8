# SPDX-License-Identifier: Apache-2.0
"""What Claude Code sends arrives upstream byte for byte, and so does what comes back.

Both ends are recorded on the wire: a tap between Claude Code and the daemon, another one between
the daemon and the upstream.
"""

import json
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from cco.gateway.headers import HOP_BY_HOP
from cco.offline.server import OfflineUpstream
from tests import capabilities
from tests.daemon import CCO, Daemon, exchange, short_directory
from tests.integration.claude import Place, asking
from tests.integration.tap import (
    Conversation,
    Exchange,
    Fields,
    Message,
    Tap,
    read_exchanges,
    tapping,
)
from tests.integration.terminal import terminal
from tests.mounting import wait_until
from tests.rawserver import Received, chunk, reply, serving

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

WRAPPER: Final = """\
#!{python} -I
import os, sys
def turn(text):
    return text.replace({daemon!r}, {tap!r})
environ = {{name: turn(value) for name, value in os.environ.items()}}
os.execve({claude!r}, [{claude!r}, *map(turn, sys.argv[1:])], environ)
"""
"""Stands before Claude Code and leads it to the tap."""

PROMPTS: Final = (
    "offline: agent cco:chief-architect One >> agent cco:test-engineer Two",
    'offline: tool Read {"file_path": "/large.txt"}',  # is counted first: count_tokens
    "offline: cut message_start",  # comes back without streaming
    "offline: status 529 times=1",
    "offline: cut length times=1",
    "offline: pings 20\noffline: text 20000",
)


AWKWARD: Final = (
    b"",
    b'{"stream":true,"model":"m","b":1,"a":2}',  # order of keys
    b'{"a":1,"a":2,"model":"x","model":"y"}',  # repeated keys
    b'{"n":[1.0,1e5,1E+5,-0,-0.0,1.10,123456789012345678901234567890,1e400]}',
    b'{"s":"\\u00e9\\/\\u0041\\ud83c\\udf88\\ud800"}',  # escapes, a lone surrogate
    '{"s":"\u00e9\U0001f388\u2028\x7f"}'.encode(),
    b' \r\n\t{ "a" :\n[ 1 , 2 ] }\n\n',
    b"\xef\xbb\xbf{}",  # a byte order mark
    b"\x00\xff no JSON \r\n\r\n0\r\n\r\nPOST / HTTP/1.1\r\n\r\n",
    b'{"model":"m","big":"' + b"0123456789abcdef" * (5 * 65536) + b'"}',  # 5 MB
)
"""Bodies that a parser and a writer would not both leave as they are."""

FIELDS: Final[Fields] = [
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("anthropic-beta", "one-2026-01-01,two-2026-01-01"),
    ("anthropic-beta", "three-2026-01-01"),
    ("anthropic-from-the-future", "spaced   inside"),
    ("x-claude-code-session-id", "s"),
    ("x-stainless-retry-count", "0"),
    ("x_with_underscores", "1"),
    ("x-forwarded-for", "192.0.2.1"),
    ("content-type", "application/json; charset=latin-1"),
    ("x-latin-1", "caf\xe9"),
    ("x-empty", ""),
    ("x-api-key", "k"),
    ("authorization", "Bearer t"),
    ("user-agent", "a b (c; d)"),
    ("cookie", "a=b; c=d"),
    ("date", "then"),
    ("server", "s"),
]
TARGETS: Final = (
    "/v1/messages?beta=true",
    "/v1/messages/count_tokens?a=%2F%c3%A9&a=&&b",
    "/v1/files/a%2Fb%20c;d/../e?x=/s/1",
    "/v1/a//b/",
)


@dataclass(frozen=True)
class Tapped:
    """A place with a tap on either side of the daemon."""

    place: Place
    near: Tap
    """Between Claude Code and the daemon."""
    far: Tap
    """Between the daemon and the upstream."""


@pytest.fixture
def tapped() -> Iterator[Tapped]:
    with tapping_both_sides() as made:
        yield made


@contextmanager
def tapping_both_sides() -> Iterator[Tapped]:
    """Set up; the daemon has another loopback address, so that the near tap can have its port.

    The tap could not change the ``Host`` header, and the daemon insists on its own port there.
    """
    with OfflineUpstream() as upstream, tapping(upstream.url) as far:
        place = Place(short_directory(), upstream, url=far.url, host="127.0.0.2")
        try:
            place.start()
            with tapping(place.url, port=int(place.url.rpartition(":")[2])) as near:
                write_wrapper(place, near)
                yield Tapped(place, near, far)
        finally:
            place.close()


def write_wrapper(place: Place, near: Tap) -> None:
    values = {"python": sys.executable, "claude": str(capabilities.claude())}
    wrapper = place.base / "claude"
    wrapper.write_text(WRAPPER.format(daemon=place.url, tap=near.url, **values))
    wrapper.chmod(0o755)


def test_requests_and_answers_of_claude_code_cross_unchanged(tapped: Tapped) -> None:
    place = tapped.place
    (place.project / "large.txt").write_text("a line of a large file\n" * 9000)
    prompts = [prompt.replace("/large.txt", f"{place.project}/large.txt") for prompt in PROMPTS]
    more = {"CCO_CLAUDE": str(place.base / "claude"), "CLAUDE_CODE_MAX_RETRIES": "2"}

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda prompt: place.ask(prompt, environ=more), prompts))
    have_a_title_made(place, more)

    assert [(one.status, one.err) for one in done] == [(0, "")] * len(PROMPTS)
    near = sorted((one for one in tapped.near.exchanges() if "/v1/" in one.target), key=identity)
    far = sorted(tapped.far.exchanges(), key=identity)
    assert {kind(one) for one in near} == {"stream", "title", "whole", "count"}
    assert len(near) == len(far)  # one request of the client's is one upstream
    for one, other in zip(near, far, strict=True):
        check_request(one, other)
        assert one.response is not None
        assert other.response is not None
        check_response(one.response, other.response)


def have_a_title_made(place: Place, more: dict[str, str]) -> None:
    """Send the first prompt of an interactive session, for which the client wants a title."""
    command = [*CCO, "run", "--", "--model", asking("")[3]]
    environ = place.environ(**more)
    socket = place.base / "tmux"
    with terminal(command, socket=socket, environ=environ, directory=place.project) as shown:
        shown.wait_for("? for shortcuts")
        shown.enter("hello there")
        shown.wait_for("This fixed text stands in for an answer.")
        shown.enter("/exit")
        wait_until(shown.has_ended, "Claude Code has ended")


def identity(one: Exchange) -> tuple[str, bytes, list[str]]:
    """Return what is equal on both sides, and different for what is not the same.

    The upstream gives each answer an id of its own; equal requests may follow one another.
    """
    answered = one.response.values("request-id") if one.response else []
    return one.target.partition("/v1/")[2], one.request.body, answered


def kind(one: Exchange) -> str:
    body = json.loads(one.request.body)
    if "/count_tokens" in one.target:
        return "count"
    if "json_schema" in json.dumps(body.get("output_config")):
        return "title"
    return "stream" if body.get("stream") else "whole"


def check_request(near: Exchange, far: Exchange) -> None:
    """Compare a request on both sides of the daemon."""
    prefix, _, _ = near.target.partition("/v1/")
    assert prefix.startswith("/s/")
    assert near.request.first == far.request.first.replace("/v1/", f"{prefix}/v1/", 1)
    assert near.request.body == far.request.body
    assert essence(near.request, "host") == essence(far.request, "host")


def check_response(near: Message, far: Message) -> None:
    """Compare an answer on both sides of the daemon."""
    assert near.first == far.first
    ours = [name for name, _ in near.fields if name.startswith("x-cco-")]
    assert sorted(ours) == ["x-cco-cache", "x-cco-request-id", "x-cco-upstream"]
    if not far.values("date"):  # then whoever passes a message on dates it: RFC 9110, 6.6.1
        ours.append("date")
    assert essence(near, *ours) == essence(far)
    assert (near.body, near.is_whole) == (far.body, far.is_whole)


def essence(message: Message, *but: str) -> Fields:
    """Return the header fields of a message but for those of one connection, and of `but`."""
    return [field for field in message.fields if field[0] not in HOP_BY_HOP | set(but)]


def test_awkward_requests_and_answers_cross_unchanged(cco: Daemon) -> None:
    def script(received: Received, sock: socket.socket) -> None:
        sock.sendall(answer_with(received.body))

    with serving(script) as upstream:
        cco.upstream_url = upstream.url
        cco.configure()
        cco.start()
        prefix = f"/s/{cco.launch().id}"
        for target in TARGETS:
            for body in AWKWARD:
                for is_chunked in (False, True):
                    sent = send(cco.port, prefix + target, body, is_chunked=is_chunked)
                    got = upstream.received[-1]
                    assert (got.method, got.target, got.body) == ("POST", target, body)
                    assert [field for field in got.fields if field[0] in dict(FIELDS)] == FIELDS
                    left = {name.lower() for name, _ in got.fields} - set(dict(FIELDS))
                    assert left == {"host", "content-length"}
                    check_awkward_answer(sent)


def answer_with(body: bytes) -> bytes:
    """Return an answer with such a body, in chunks that split it anywhere."""
    lines = [f"{name}: {value}" for name, value in FIELDS]
    head = reply("200 Odd Reason", *lines, "Transfer-Encoding: chunked", length=False)
    pieces = [body[:1], body[1:4], body[4:5000], body[5000:]]
    return head + b"".join(chunk(piece) for piece in pieces if piece) + chunk(b"")


def send(port: int, target: str, body: bytes, *, is_chunked: bool) -> Exchange:
    """Send a request and return both of its sides, as they were on the wire."""
    head = [f"POST {target} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    head += [f"{name}: {value}" for name, value in FIELDS]
    if is_chunked:
        head.append("Transfer-Encoding: chunked")
        data = b"".join(chunk(piece) for piece in (body[:3], body[3:]) if piece) + chunk(b"")
    else:
        head.append(f"Content-Length: {len(body)}")
        data = body
    said = Conversation()
    said.asked += "\r\n".join([*head, "", ""]).encode("latin-1") + data
    with socket.create_connection(("127.0.0.1", port)) as sock:
        said.answered += exchange(sock, bytes(said.asked))
    (found,) = read_exchanges(said)
    return found


def check_awkward_answer(sent: Exchange) -> None:
    answer = sent.response
    assert answer is not None
    assert answer.is_whole
    assert answer.first == "HTTP/1.1 200 Odd Reason"
    assert answer.body == sent.request.body
    ours = [name for name, _ in answer.fields if name.startswith("x-cco-")]
    assert essence(answer, *ours) == FIELDS
