# SPDX-License-Identifier: Apache-2.0
"""Streams beside each other: what they add to the first byte and to each event, and their memory.

The upstream sends an event on every open stream each `PAUSE_S`, one stream after the other, with
the moment of sending in it, so an event's delay is that of this very event; half of the streams go
through CCO, the others do not, and both are read by one loop.
"""

import contextlib
import itertools
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from cco.cli.service import Service
from tests.bench.figures import show, times_ms
from tests.bench.memory import show_memory
from tests.rawserver import Received, chunk, reply, serving

MANY: Final = 200
FEW: Final = 20
PAUSE_S: Final = 0.25
ROUNDS: Final = 40
HEAD: Final = reply(
    "200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", length=False
)
SENT: Final = re.compile(rb'"sent": (\d+)')
BODY: Final = b'{"model": "claude-sonnet-4-6", "max_tokens": 9, "stream": true, "messages": []}'


class Dripping:
    """The upstream: begins each stream at once, and goes on with all of them together."""

    def __init__(self) -> None:
        self._open: list[socket.socket] = []
        self._is_over = threading.Event()

    def script(self, _: Received, sock: socket.socket) -> bool:
        sock.sendall(HEAD + chunk(b"event: message_start\ndata: {}\n\n"))
        self._open.append(sock)
        self._is_over.wait()
        return False

    def run(self) -> None:
        for sent in itertools.count():
            streams = self._open
            if self._is_over.wait(PAUSE_S / max(len(streams), 1)):
                return
            if streams:
                event = b'event: ping\ndata: {"sent": %d}\n\n' % time.perf_counter_ns()
                with contextlib.suppress(OSError):  # that one was let go
                    streams[sent % len(streams)].sendall(chunk(event))

    def stop(self) -> None:
        self._is_over.set()


@contextmanager
def dripping() -> Iterator[str]:
    """Serve a `Dripping`; yield its base URL."""
    upstream = Dripping()
    with serving(upstream.script) as server:
        thread = threading.Thread(target=upstream.run)
        thread.start()
        try:
            yield server.url
        finally:
            upstream.stop()
            thread.join()


def show_streams(service: Service, http_url: str, *, pid: int) -> None:
    """Measure and print."""
    with dripping() as direct, ExitStack() as undo:
        asked = {"pid": pid, "cwd": "/", "project": "/", "upstream": direct}
        session = service.client.call("POST", "/api/sessions", asked)
        ours = f"{http_url}/s/{session['id']}"
        through = [begin(ours, undo) for _ in range(FEW)]
        straight = [begin(direct, undo) for _ in range(FEW)]
        works = (partial(first_event, ours), partial(first_event, direct))
        times_ms(10, *works)
        both(f"first event beside {FEW} open streams", *times_ms(200, *works))
        both(f"each event of {FEW} open streams", *delays_ms(through, straight))
        through += [begin(ours, undo) for _ in range(MANY - FEW)]
        straight += [begin(direct, undo) for _ in range(MANY - FEW)]
        both(f"each event of {MANY} open streams", *delays_ms(through, straight))
        print(f"memory, {MANY} open streams (PSS)")
        show_memory(service)


def both(name: str, through: list[float], straight: list[float]) -> None:
    """Print the times of streams through CCO, and of those beside them."""
    show(name, through, straight)
    show("  the same, direct", straight)


def begin(url: str, undo: ExitStack) -> socket.socket:
    """Begin a stream and read its first event."""
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    sock = undo.enter_context(socket.create_connection(address))
    sock.settimeout(60)
    head = (
        f"POST {parts.path}/v1/messages HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"x-api-key: sk-ant-test-bench\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    sock.sendall(head.encode() + BODY)
    got = b""
    while b"message_start" not in got:
        data = sock.recv(65536)
        if not data:
            raise RuntimeError(f"the stream ended: {got!r}")
        got += data
    return sock


def first_event(url: str) -> None:
    """Begin a stream, on a connection of its own, and let it go."""
    with ExitStack() as undo:
        begin(url, undo)


def delays_ms(*groups: list[socket.socket]) -> tuple[list[float], ...]:
    """Return the delay of each event that comes on the streams of each group for a while."""
    delays: tuple[list[float], ...] = tuple([] for _ in groups)
    kinds = {sock.fileno(): (sock, kind) for kind, group in enumerate(groups) for sock in group}
    poll = select.epoll()
    with poll:
        for fd in kinds:
            poll.register(fd, select.EPOLLIN)
        began = time.perf_counter_ns()  # what was sent before has waited for us
        ends_at = time.perf_counter() + ROUNDS * PAUSE_S
        while (now := time.perf_counter()) < ends_at:
            for fd, _ in poll.poll(ends_at - now):
                sock, kind = kinds[fd]
                data = sock.recv(65536)
                came = time.perf_counter_ns()
                sent = [int(moment) for moment in SENT.findall(data)]
                delays[kind].extend((came - one) / 1e6 for one in sent if one >= began)
    least = min(len(each) for each in delays)
    return tuple(each[:least] for each in delays)
