# SPDX-License-Identifier: Apache-2.0
import socket
import threading
from collections.abc import Iterator

import pytest

from cco.gateway import transport
from cco.gateway.transport import IDLE_S, AbandonedError, Connection, Pool, has_hung_up
from tests.unit.gateway.far import Far

SILENCE_S = 10.0


class Clock:
    """A clock that the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(10)
    connection = Connection(near)
    connection.begin(client_fd=None, silence_s=SILENCE_S)
    yield connection, far
    connection.close()
    far.close()


def test_receives_as_it_arrives(pair: tuple[Connection, socket.socket]) -> None:
    connection, far = pair
    far.sendall(b"one")
    assert connection.receive() == b"one"
    far.close()
    assert connection.receive() == b""


def test_sends_more_than_fits_at_once(pair: tuple[Connection, socket.socket]) -> None:
    connection, far = pair
    data = bytes(range(256)) * 20_000
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(far.recv(65536))

    thread = threading.Thread(target=read)
    thread.start()
    connection.send(data)
    thread.join()
    assert got == data


def test_bounds_the_silence_in_both_directions(pair: tuple[Connection, socket.socket]) -> None:
    connection, _ = pair
    connection.begin(client_fd=None, silence_s=0.01)
    with pytest.raises(TimeoutError):
        connection.receive()
    with pytest.raises(TimeoutError):
        connection.send(bytes(10_000_000))


@pytest.mark.parametrize("direction", ["receive", "send"])
def test_gives_up_when_the_client_hangs_up(
    pair: tuple[Connection, socket.socket], direction: str
) -> None:
    connection, _ = pair
    browser, client = socket.socketpair()
    connection.begin(client_fd=client.fileno(), silence_s=SILENCE_S)
    timer = threading.Timer(0.05, browser.close)
    timer.start()
    with pytest.raises(AbandonedError):
        connection.receive() if direction == "receive" else connection.send(bytes(10_000_000))
    timer.join()
    client.close()


def test_what_a_client_sends_meanwhile_is_no_hang_up(
    pair: tuple[Connection, socket.socket],
) -> None:
    connection, far = pair
    browser, client = socket.socketpair()
    with browser, client:
        connection.begin(client_fd=client.fileno(), silence_s=SILENCE_S)
        browser.sendall(b"the next request, too early")
        timer = threading.Timer(0.05, far.sendall, [b"answer"])
        timer.start()
        assert connection.receive() == b"answer"
        timer.join()
        connection.end()
        assert connection.is_quiet()


@pytest.mark.parametrize("direction", ["receive", "send"])
def test_abort_wakes_who_waits(pair: tuple[Connection, socket.socket], direction: str) -> None:
    connection, _ = pair
    timer = threading.Timer(0.05, connection.abort)
    timer.start()
    with pytest.raises(AbandonedError):
        connection.receive() if direction == "receive" else connection.send(bytes(10_000_000))
    timer.join()


def test_nothing_is_read_after_abort(pair: tuple[Connection, socket.socket]) -> None:
    connection, far = pair
    far.sendall(b"in flight")
    connection.abort()
    with pytest.raises(AbandonedError):
        connection.receive()


def test_abort_after_close_does_nothing(pair: tuple[Connection, socket.socket]) -> None:
    connection, _ = pair
    connection.close()
    connection.abort()


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def test_takes_the_connection_that_was_used_last(far: Far) -> None:
    pool = Pool(far.dial, monotonic=Clock())
    first, second = pool.take(), pool.take()
    pool.give(first)
    pool.give(second)
    assert pool.take() is second
    assert pool.take() is first
    assert len(far.ends) == 2
    first.close()
    second.close()


@pytest.mark.parametrize("happening", ["closed", "said something"])
def test_does_not_take_a_connection_that_something_happened_to(far: Far, happening: str) -> None:
    pool = Pool(far.dial, monotonic=Clock())
    old = pool.take()
    pool.give(old)
    if happening == "closed":
        far.ends[0].close()
    else:
        far.ends[0].sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    new = pool.take()
    assert new is not old
    new.close()


def test_closes_what_rested_too_long(far: Far) -> None:
    clock = Clock()
    pool = Pool(far.dial, monotonic=clock)
    short, usual = pool.take(), pool.take()
    pool.give(usual)
    pool.give(short, keep_s=4.0)
    clock.now += 5
    pool.reap()
    assert far.ends[0].recv(1) == b""
    assert pool.take() is usual
    pool.give(usual, keep_s=1e9)
    clock.now += IDLE_S
    pool.reap()
    assert far.ends[1].recv(1) == b""


def test_keeps_a_bounded_number(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_IDLE", 2)
    pool = Pool(far.dial, monotonic=Clock())
    for connection in [pool.take() for _ in range(3)]:
        pool.give(connection)
    assert far.ends[2].recv(1) == b""
    pool.close()
    assert [end.recv(1) for end in far.ends] == [b""] * 3


def test_keeps_nothing_that_the_upstream_will_not(far: Far) -> None:
    pool = Pool(far.dial, monotonic=Clock())
    pool.give(pool.take(), keep_s=0.0)
    assert far.ends[0].recv(1) == b""


def test_closes_what_comes_back_after_close(far: Far) -> None:
    pool = Pool(far.dial, monotonic=Clock())
    connection = pool.take()
    pool.close()
    pool.give(connection)
    assert far.ends[0].recv(1) == b""


def test_sees_that_a_client_has_hung_up() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert not has_hung_up(near.fileno())
        far.sendall(b"more")  # what it says is not our business
        assert not has_hung_up(near.fileno())
        far.close()
        assert has_hung_up(near.fileno())
    assert not has_hung_up(None)


def test_what_is_ready_is_received_without_waiting(pair: tuple[Connection, socket.socket]) -> None:
    connection, far = pair
    assert connection.receive_ready() == b""
    far.sendall(b"abc")
    assert connection.receive_ready() == b"abc"
    assert connection.receive_ready() == b""
    far.close()
    assert connection.receive_ready() == b""
    connection.abort()
    assert connection.receive_ready() == b""


def test_watches_one_client_after_the_other(pair: tuple[Connection, socket.socket]) -> None:
    connection, far = pair
    pairs = [socket.socketpair() for _ in range(2)]
    (one, one_end), (two, two_end) = pairs
    with one, one_end, two, two_end:
        connection.watch(one.fileno())
        connection.watch(two.fileno())
        one_end.close()
        far.sendall(b"abc")
        assert connection.receive() == b"abc"
        two_end.close()
        with pytest.raises(AbandonedError):
            connection.receive()
        connection.watch(None)
        far.sendall(b"def")
        assert connection.receive() == b"def"


def test_client_that_waits_no_longer_is_not_kept_waiting() -> None:
    clock = Clock()
    near, far = socket.socketpair()
    connection = Connection(near, monotonic=clock)
    with far:
        connection.begin(client_fd=None, silence_s=60, deadline=clock.now + 0.01)
        with pytest.raises(AbandonedError):
            connection.receive()
        connection.watch(None, clock.now - 1)
        far.sendall(b"one")
        assert connection.receive() == b"one"  # what is there is there
        with pytest.raises(AbandonedError):
            connection.receive()
        connection.watch(None)
        far.sendall(b"two")
        assert connection.receive() == b"two"
        connection.close()
