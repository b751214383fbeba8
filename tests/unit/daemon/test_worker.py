# SPDX-License-Identifier: Apache-2.0
"""The parts of the worker; as a whole it is in tests/integration/test_gateway_room.py."""

import io
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from cco.daemon import worker
from cco.daemon.worker import BEAT, READY, Heart


@pytest.fixture
def heart() -> Iterator[Heart]:
    made = Heart()
    yield made
    close(made)


def close(heart: Heart) -> None:
    os.close(heart._read)
    os.close(heart._write)


def test_heart_is_heard(heart: Heart) -> None:
    assert heart.heard() == b""
    heart.say(READY)
    heart.say(BEAT)
    assert heart.heard() == READY + BEAT
    assert heart.heard() == b""


def test_arbiter_that_does_not_listen_stops_no_worker(heart: Heart) -> None:
    for _ in range(100_000):  # more than a pipe holds
        heart.say(BEAT)

    assert set(heart.heard()) == set(BEAT)


# Requests.


@contextmanager
def received(data: bytes) -> Iterator[TConn]:
    """Yield a connection by which this has come, the first request of it parsed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        conn = TConn(Config(), ours, ("", 0), ("", 0))
        conn.init()
        ours.settimeout(None)
        next(conn.parser)
        yield conn


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        (GET, True),
        (POST % (3, b"abc"), True),  # a small rest is read
        (POST % (5, b"abc"), False),  # it does not come
        (POST % (80_000, b"a" * 80_000), False),  # it is not small
    ],
)
def test_body_must_be_read_before_the_next_request(
    data: bytes, is_read: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REST_S", 0.01)
    with received(data) as conn:
        assert worker._is_read(conn) is is_read
        assert conn.sock.gettimeout() is None


@pytest.mark.parametrize("ahead", [b"", b"GET /next", GET + GET])
def test_beginning_of_the_next_request_is_not_lost(ahead: bytes) -> None:
    with received(POST % (3, b"abc") + ahead) as conn:
        assert worker._is_read(conn)
        assert worker._take_ahead(conn) == ahead
        assert worker._take_ahead(conn) == b""
        assert isinstance(conn.parser.unreader.buf, io.BytesIO)


def test_as_many_files_may_be_open_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    for soft, hard in ((1024, 4096), (1024, resource.RLIM_INFINITY), (4096, 4096)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, found=(soft, hard): found)
        worker._allow_files()
    assert set_to == [(4096, 4096), (worker.MAX_FILES, resource.RLIM_INFINITY)]
