# SPDX-License-Identifier: Apache-2.0
"""Room in the real daemon: many streams, clients that hold what they do not use, and no leaks."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psutil
import pytest

from cco.daemon.server import SPARE_THREADS
from tests.capabilities import ROOT
from tests.daemon import KEY, Answer, Daemon, Launched, Stream, asking, call, exchange
from tests.mounting import DEADLINE_S, wait_until
from tests.rawserver import Received, reply, serving
from tests.recomputed import rows_of

STREAMS: Final = 200
PLACES: Final = 4
"""As few as the settings allow."""
REQUESTS: Final = 10_000
DISCONNECTS: Final = 1_000
CLIENTS: Final = 8

SSE: Final = (ROOT / "tests/data/sse/001.sse").read_bytes()
HALF: Final = SSE.index(b"\n\n", len(SSE) // 2) + 2
LAST: Final = SSE[:HALF].splitlines()[-2]
"""The line that ends the first half; its only one."""
SSE_HEAD: Final = reply("200 OK", "Content-Type: text/event-stream", length=False)
MESSAGE: Final = (
    b'{"type":"message","model":"claude-sonnet-4-6","content":[],"stop_reason":"end_turn",'
    b'"usage":{"input_tokens":10,"output_tokens":4}}'
)


class Held:
    """An upstream that sends half of each stream at once, and the rest when it is told to."""

    def __init__(self) -> None:
        self._ended: dict[int, threading.Event] = {}
        self._all = threading.Event()

    def script(self, received: Received, sock: socket.socket) -> bool:
        number = int(re.findall(rb"stream (\d+)", received.body)[0])
        sock.sendall(SSE_HEAD + SSE[:HALF])
        self._event(number).wait(DEADLINE_S)
        sock.sendall(SSE[HALF:])
        return False

    def finish(self, number: int) -> None:
        self._event(number).set()

    def finish_all(self) -> None:
        for event in self._ended.values():
            event.set()

    def _event(self, number: int) -> threading.Event:
        return self._ended.setdefault(number, threading.Event())


@contextmanager
def holding(cco: Daemon, *, places: int) -> Iterator[Held]:
    """Run the daemon before a `Held`."""
    held = Held()
    with serving(held.script) as upstream:
        cco.upstream_url = upstream.url
        cco.configure(threads=places)
        cco.start()
        try:
            yield held
        finally:
            held.finish_all()


def stream(cco: Daemon, session: Launched, number: int, undo: ExitStack) -> Stream:
    """Begin a stream, and read what the upstream has sent of it."""
    begun = undo.enter_context(Stream(cco.port, session.id, f"stream {number}"))
    assert begun.status == 200
    begun.read_to(LAST)
    return begun


def assert_the_rest_is_served(cco: Daemon, session: Launched) -> None:
    """Everything that is not a request to a model is answered."""
    assert cco.is_serving()
    token = {"x-cco-session": session.token}
    for method, target, body in (
        ("GET", "/health", None),
        ("POST", "/api/hooks/SubagentStart", b"{}"),
        ("GET", "/api/project/stats", None),
        ("GET", "/api/machine/stats", None),
        ("GET", "/metrics", None),
        ("HEAD", "/", None),
    ):
        assert call(cco.port, method, target, body=body, headers=token).status < 300, target
    assert cco.read_inside("CLAUDE.md", session.token).returncode == 0


@pytest.mark.timeout(180)
def test_two_hundred_slow_streams_run_beside_each_other_and_the_rest(cco: Daemon) -> None:
    with holding(cco, places=256) as held, ExitStack() as undo:
        session = cco.launch()
        streams = [stream(cco, session, number, undo) for number in range(STREAMS)]
        # Each has what its upstream has sent, though none has ended: nobody waits for another.
        assert {one.data for one in streams} == {SSE[: HALF - 1]}
        assert_the_rest_is_served(cco, session)

        for number in (STREAMS - 1, 0, STREAMS // 2):  # whichever ends is not held by the others
            held.finish(number)
            assert streams[number].rest() == SSE
        held.finish_all()
        assert {one.rest() for one in streams} == {SSE}
    rows = rows_of(cco)
    assert [(row["status"], row["partial"]) for row in rows] == [(200, 0)] * STREAMS
    assert len({row["cost_nano"] for row in rows}) == 1


def refused(answer: Answer) -> dict[str, Any]:
    """Return the error of a request that found no place."""
    assert (answer.status, answer.headers["x-cco-error"]) == (503, "no-room")
    assert int(answer.headers["retry-after"]) >= 1
    told: dict[str, Any] = answer.json()
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    return told


def test_requests_to_models_leave_threads_for_the_rest(cco: Daemon) -> None:
    with holding(cco, places=PLACES) as held, ExitStack() as undo:
        session = cco.launch()
        streams = [stream(cco, session, number, undo) for number in range(PLACES)]
        target, body = f"/s/{session.id}/v1/messages", asking("stream 99", stream=True)

        def one_more(_: int) -> Answer:
            return call(cco.port, "POST", target, body=body)

        with ThreadPoolExecutor(CLIENTS) as pool:
            for answer in pool.map(one_more, range(3 * SPARE_THREADS)):
                told = refused(answer)
        assert "4 requests are under way" in told["error"]["message"]
        assert_the_rest_is_served(cco, session)

        held.finish(0)
        held.finish(99)
        assert streams[0].rest() == SSE
        wait_until(lambda: one_more(0).status == 200, "there is a place again")
        with streams[1]:
            pass  # a client that hangs up leaves its place as well
        wait_until(lambda: one_more(0).status == 200, "there is a place again")
    rows = [row for row in rows_of(cco) if row["error"] == "no-room"]
    assert len(rows) >= 3 * SPARE_THREADS
    assert {(row["status"], row["attempts"], row["session_id"]) for row in rows} == {
        (503, 0, session.id)
    }


def post(port: int, *, length: int, body: bytes = b"") -> bytes:
    """Return a request for a message, or its beginning."""
    return (
        f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nx-api-key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode() + body


@pytest.mark.parametrize("sent", ["nothing", "half a head", "half a body"])
def test_clients_that_send_nothing_more_keep_nobody_from_being_served(
    cco: Daemon, sent: str
) -> None:
    cco.configure(threads=PLACES)
    cco.start()
    session, port = cco.launch(), cco.port
    data = {
        "nothing": b"",
        "half a head": post(port, length=10)[:60],
        "half a body": post(port, length=1000, body=b"{"),
    }[sent]
    with ExitStack() as undo:
        silent = []
        for _ in range(2 * (PLACES + SPARE_THREADS)):
            sock = undo.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.sendall(data)
            silent.append(sock)
        assert_the_rest_is_served(cco, session)
        if sent != "half a body":  # these have no place either
            assert call(port, "POST", "/v1/messages", body=asking("hello")).status == 200
    wait_until(
        lambda: call(port, "POST", "/v1/messages", body=asking("hello")).status == 200,
        "there is a place",
    )


def test_connections_at_rest_hold_no_thread(cco: Daemon) -> None:
    cco.configure(threads=PLACES)
    cco.start()
    port = cco.port
    head = f"GET /api/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with ExitStack() as undo:
        resting = []
        for _ in range(4 * (PLACES + SPARE_THREADS)):
            sock = undo.enter_context(socket.create_connection(("127.0.0.1", port)))
            sock.settimeout(DEADLINE_S)
            resting.append(sock)
        for _ in range(2):
            for sock in resting:
                sock.sendall(head)
                assert b" 200 " in receive(sock)
    assert cco.worker.num_threads() < PLACES + SPARE_THREADS + 16


def receive(sock: socket.socket) -> bytes:
    """Return one answer that has a length, in a connection that is kept."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    assert found, head
    while len(rest) < int(found[1]):
        rest += _some(sock)
    return head + b"\r\n\r\n" + rest


def _some(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise ConnectionResetError("the daemon hung up")
    return data


def test_requests_that_come_together_are_answered_in_order(cco: Daemon) -> None:
    cco.start()
    one = f"GET /api/agents/%s HTTP/1.1\r\nHost: 127.0.0.1:{cco.port}\r\n%s\r\n"
    names = ("chief-architect", "test-engineer", "code-reviewer")
    heads = [one % (name, "Connection: close\r\n" * (name == names[-1])) for name in names]
    with socket.create_connection(("127.0.0.1", cco.port)) as sock:
        got = exchange(sock, "".join(heads).encode())
    slugs = re.findall(rb'"slug": ?"([a-z-]+)"', got)
    assert [slug.decode() for slug in slugs] == list(names)


def test_body_that_nobody_read_is_not_taken_for_a_request(cco: Daemon) -> None:
    cco.start()
    host = f"Host: 127.0.0.1:{cco.port}\r\n"
    inner = f"DELETE /api/sessions/x HTTP/1.1\r\n{host}\r\n"
    outer = f"GET /api/sessions HTTP/1.1\r\n{host}Content-Length: {len(inner)}\r\n\r\n{inner}"
    last = f"GET /api/sessions HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", cco.port)) as sock:
        got = exchange(sock, (outer + last).encode())
    assert got.count(b"HTTP/1.1 200 ") == got.count(b"HTTP/1.1 ") == 2


def test_client_that_sends_a_large_body_hears_why_it_is_refused(cco: Daemon) -> None:
    cco.start()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:{cco.port}\r\nOrigin: http://x\r\n"
        "Content-Length: 3000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", cco.port)) as sock:
        got = exchange(sock, head.encode() + b"x" * 3_000_000)
    assert got.startswith(b"HTTP/1.1 403 ")
    assert b"web pages may not call CCO" in got


# The end.


@pytest.mark.timeout(180)
def test_restarts_lose_no_request(cco: Daemon) -> None:
    """Requests on connections of their own, and on some that are kept, while it restarts.

    As under systemd, which keeps the sockets: the supervisor does when its child ends.
    """
    cco.start()
    outcomes: dict[str, int] = {}
    is_over = threading.Event()
    port, lock = cco.port, threading.Lock()

    def fresh() -> str:
        return str(call(port, "POST", "/v1/messages", body=asking("hello")).status)

    def kept() -> str:
        head = f"GET /api/sessions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(DEADLINE_S)
            while not is_over.is_set():
                sock.sendall(head)
                answer = receive(sock)
                note(answer[9:12].decode())
                if b"\r\nConnection: close\r\n" in answer:
                    break
        return "200"

    def note(outcome: str) -> None:
        with lock:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def wait_for_more() -> None:
        wanted = outcomes.get("200", 0) + 20
        wait_until(lambda: outcomes.get("200", 0) > wanted, "requests go well")

    def run(once: Callable[[], str]) -> None:
        while not is_over.is_set():
            try:
                outcome = once()
            except OSError as error:
                outcome = repr(error)
            note(outcome)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(run, once) for once in (fresh, fresh, kept, kept)]
        try:
            wait_for_more()
            for _ in range(3):
                cco.arbiter.terminate()
                wait_for_more()
        finally:
            is_over.set()
        for one in done:
            one.result()
    assert set(outcomes) == {"200"}


# Leaks.


def bare(received: Received, sock: socket.socket) -> bool:
    """Answer with a message, or with a stream that the client will not wait for."""
    if b'"stream": true' in received.body:
        sock.sendall(SSE_HEAD + SSE[:HALF])
        with contextlib.suppress(OSError):
            sock.recv(1)  # until the daemon hangs up
    else:
        sock.sendall(reply("200 OK", "Connection: close", body=MESSAGE))
    return False


class Traffic:
    """Requests and disconnects from several clients at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        body = asking("hello")
        host = f"Host: 127.0.0.1:{port}\r\n"
        self._cheap = f"GET /api/sessions HTTP/1.1\r\n{host}\r\n".encode()
        self._message = post(port, length=len(body), body=body)
        begun = asking("hello", stream=True)
        self._stream = post(port, length=len(begun), body=begun)

    def run(self, *, requests: int, disconnects: int) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            shares = [(requests // CLIENTS, disconnects // CLIENTS)] * CLIENTS
            for _ in pool.map(lambda share: self._run(*share), shares):
                pass

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.settimeout(DEADLINE_S)
        return sock

    def _run(self, requests: int, disconnects: int) -> None:
        with self._connect() as sock:
            for number in range(requests):
                sock.sendall(self._cheap if number % 4 else self._message)
                assert b" 200 " in receive(sock)
        for number in range(disconnects):
            with self._connect() as sock:
                if number % 3 == 0:
                    sock.sendall(self._message[:40])
                elif number % 3 == 1:
                    sock.sendall(self._message[:-5])
                else:
                    sock.sendall(self._stream)
                    got = b""
                    while b"message_start" not in got:
                        got += _some(sock)


@pytest.mark.timeout(180)
def test_ten_thousand_requests_and_a_thousand_disconnects_leave_nothing(cco: Daemon) -> None:
    with serving(bare) as upstream:
        cco.upstream_url = upstream.url
        cco.configure("[cache]\nenabled = false\n")
        cco.start()
        traffic = Traffic(cco.port)
        traffic.run(requests=REQUESTS // 10, disconnects=DISCONNECTS // 10)
        wait_until(lambda: not connections(cco), "all connections are gone")
        threads, files = cco.worker.num_threads(), cco.worker.num_fds()
        traffic.run(requests=REQUESTS, disconnects=DISCONNECTS)
        wait_until(lambda: not connections(cco), "all connections are gone")
        few = 4  # readers of the database come and go
        wait_until(lambda: cco.worker.num_fds() <= files + few, "all descriptors are gone")
        # Threads of the pool stay: no more than ever ran at once, those that saw an end among them.
        assert cco.worker.num_threads() <= threads + 4 * CLIENTS
        assert len(upstream.received) >= (REQUESTS + DISCONNECTS) // 5
        assert call(cco.port, "GET", "/health").status == 200


def connections(cco: Daemon) -> list[object]:
    """Return the worker's TCP connections, in either direction."""
    found = cco.worker.net_connections(kind="tcp")
    return [one for one in found if one.status != psutil.CONN_LISTEN]
