# SPDX-License-Identifier: Apache-2.0
"""The reception on real sockets, turn by turn, with a clock of the test's own."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cco.daemon import reception as module
from cco.daemon.reception import (
    HEAD_S,
    KEEPALIVE_S,
    LEAVE_S,
    LINGER_S,
    MAX_HEAD_BYTES,
    MAX_STRANGERS,
    Guest,
    Reception,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Hall:
    """A reception whose turns the test makes."""

    def __init__(self, undo: ExitStack) -> None:
        self.undo = undo
        self.now = 1000.0
        self.are_ours = True
        self.served: list[Guest] = []
        self.listener = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.wake_fd, self.waker = os.pipe()
        undo.callback(os.close, self.wake_fd)
        undo.callback(os.close, self.waker)
        self.reception = Reception(
            [self.listener],
            wake_fd=self.wake_fd,
            is_ours=lambda _: self.are_ours,
            serve=self.served.append,
            refuse=lambda status, head: b"HTTP/1.1 %d %b" % (status, head[:5]),
            limit=20,
            monotonic=lambda: self.now,
        )
        undo.callback(self.reception.close)
        undo.callback(self._end_all)

    def _end_all(self) -> None:
        for guest in self.served:
            self.reception.leave(guest)

    def turn(self, later_s: float = 0.0) -> None:
        """Let time pass, and take in all that has come."""
        self.now += later_s
        for _ in range(4):  # accept, read, and what came behind
            self.reception.turn(0)

    def connect(self) -> socket.socket:
        client = self.undo.enter_context(socket.create_connection(self.listener.getsockname()))
        client.settimeout(5)
        self.turn()
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.turn()


@pytest.fixture
def hall() -> Iterator[Hall]:
    with ExitStack() as undo:
        yield Hall(undo)


def is_open(client: socket.socket) -> bool:
    """Say whether the daemon still has its end; nothing has been sent."""
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def all_of(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


# Heads.


def test_silent_connection_is_not_served(hall: Hall) -> None:
    client = hall.connect()
    assert hall.served == []
    assert is_open(client)


def test_whole_head_is_served(hall: Hall) -> None:
    hall.send(hall.connect(), REQUEST + b"body")
    (guest,) = hall.served
    assert guest.take() == REQUEST + b"body"
    assert guest.take() == b""


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_head_that_comes_in_pieces_is_served_when_it_is_whole(hall: Hall, size: int) -> None:
    client = hall.connect()
    for begin in range(0, len(REQUEST), size):
        assert hall.served == []
        hall.send(client, REQUEST[begin : begin + size])
    (guest,) = hall.served
    assert guest.take() == REQUEST


def test_guest_that_is_served_is_not_read_from(hall: Hall) -> None:
    client = hall.connect()
    hall.send(client, REQUEST)
    hall.send(client, b"body")
    (guest,) = hall.served
    assert guest.take() == REQUEST
    assert guest.sock.recv(10) == b"body"


def test_trickled_head_ends_at_its_deadline(hall: Hall) -> None:
    # Each byte alone is in time: only the whole counts.
    client = hall.connect()
    hall.send(client, REQUEST[:1])
    for byte in REQUEST[1:9]:
        hall.turn(HEAD_S / 10)
        hall.send(client, bytes([byte]))
    assert is_open(client)
    hall.turn(HEAD_S / 4)
    client.settimeout(5)
    assert all_of(client).startswith(b"HTTP/1.1 408 ")
    assert hall.served == []


def test_silent_connection_ends_at_its_deadline(hall: Hall) -> None:
    client = hall.connect()
    hall.turn(KEEPALIVE_S - 1)
    assert is_open(client)
    hall.turn(2)
    assert not is_open(client)
    assert hall.reception.is_empty


def test_endless_head_is_refused(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_HEAD_BYTES >= 65536
    monkeypatch.setattr(module, "MAX_HEAD_BYTES", 1000)
    client = hall.connect()
    hall.send(client, b"GET / HTTP/1.1\r\nx: " + b"y" * 1000)
    assert all_of(client).startswith(b"HTTP/1.1 431 ")
    assert hall.served == []


def test_client_that_hangs_up_is_forgotten(hall: Hall) -> None:
    silent, begun = hall.connect(), hall.connect()
    hall.send(begun, REQUEST[:5])
    assert not hall.reception.is_empty
    silent.close()
    begun.close()
    hall.turn()
    assert hall.reception.is_empty


# After an answer.


def test_guest_rests_until_its_next_request(hall: Hall) -> None:
    client = hall.connect()
    for count in (1, 2, 3):
        hall.send(client, REQUEST)
        assert len(hall.served) == count
        assert hall.served[-1].take() == REQUEST
        hall.reception.rest(hall.served[-1])
        hall.turn(KEEPALIVE_S - 2)
    assert len(set(hall.served)) == 1
    hall.turn(4)
    assert not is_open(client)


def test_next_request_that_is_there_already_is_served(hall: Hall) -> None:
    client = hall.connect()
    hall.send(client, REQUEST)
    (guest,) = hall.served
    guest.take()
    hall.reception.rest(guest, REQUEST[:7])
    assert hall.served == [guest]
    hall.send(client, REQUEST[7:])
    assert hall.served == [guest, guest]
    assert guest.take() == REQUEST
    hall.reception.rest(guest, REQUEST)
    assert hall.served == [guest, guest, guest]


def test_served_guest_has_no_deadline(hall: Hall) -> None:
    client = hall.connect()
    hall.send(client, REQUEST)
    hall.turn(10 * KEEPALIVE_S)
    hall.served[0].sock.sendall(b"at last")
    assert client.recv(100) == b"at last"


def test_leaving_client_gets_its_answer_while_it_still_sends(hall: Hall) -> None:
    client = hall.connect()
    hall.send(client, REQUEST)
    (guest,) = hall.served
    guest.sock.sendall(b"no")
    hall.reception.leave(guest)
    for _ in range(20):
        hall.send(client, b"x" * 50_000)  # of a body that nobody reads
    assert all_of(client) == b"no"
    client.close()
    hall.turn()
    assert guest.sock.fileno() == -1


def test_leaving_client_that_stays_is_let_go(hall: Hall) -> None:
    client = hall.connect()
    hall.send(client, REQUEST)
    (guest,) = hall.served
    hall.reception.leave(guest)
    assert hall.reception.is_empty  # nobody is waited for
    hall.turn(LEAVE_S + 1)
    assert guest.sock.fileno() == -1
    assert not is_open(client)


def test_guest_whose_socket_is_closed_already_is_forgotten(hall: Hall) -> None:
    hall.send(hall.connect(), REQUEST)
    hall.served[0].sock.close()
    hall.reception.leave(hall.served[0])
    assert hall.reception.is_empty


# Room.


def test_connections_that_wait_keep_nobody_out(hall: Hall) -> None:
    idle = [hall.connect() for _ in range(20)]
    hall.now += 1
    late = hall.connect()
    hall.send(late, REQUEST)
    assert len(hall.served) == 1
    assert not is_open(idle[0])  # it had waited longest
    assert all(is_open(client) for client in idle[1:])


def test_served_connections_are_not_ended_to_make_room(hall: Hall) -> None:
    busy = hall.connect()
    hall.send(busy, REQUEST)
    for _ in range(25):
        hall.now += 1
        hall.connect()
    hall.served[0].sock.sendall(b"fine")
    assert busy.recv(10) == b"fine"


def test_few_strangers_wait_at_once(hall: Hall) -> None:
    ours = hall.connect()
    hall.are_ours = False
    strangers = []
    for _ in range(MAX_STRANGERS + 2):
        hall.now += 0.1
        strangers.append(hall.connect())
    assert [is_open(client) for client in strangers] == [False] * 2 + [True] * MAX_STRANGERS
    hall.send(strangers[-1], REQUEST)
    hall.send(ours, REQUEST)  # nobody of ours has to go for a stranger
    assert [guest.is_ours for guest in hall.served] == [False, True]


def test_stranger_is_served_only_when_it_has_asked(hall: Hall) -> None:
    # To be told that it may not; until then it holds no thread.
    hall.are_ours = False
    silent, asking = hall.connect(), hall.connect()
    hall.send(asking, REQUEST)
    (guest,) = hall.served
    assert not guest.is_ours
    hall.turn(HEAD_S - 1)
    hall.send(silent, b"G")
    hall.turn(1)  # counted from when it came, not from when it began to speak
    assert all_of(silent).startswith(b"HTTP/1.1 408 ")


# The end.


def test_stop_serves_what_was_accepted(hall: Hall) -> None:
    client, silent = hall.connect(), hall.connect()
    hall.reception.stop()
    hall.send(client, REQUEST)
    (guest,) = hall.served
    assert not hall.reception.is_empty
    hall.turn(LINGER_S)
    assert not is_open(silent)  # it had its time
    assert not hall.reception.is_empty
    guest.sock.sendall(b"last")
    hall.reception.leave(guest)
    assert all_of(client) == b"last"
    assert hall.reception.is_empty


def test_stop_accepts_nobody_any_more(hall: Hall) -> None:
    hall.reception.stop()
    client = hall.connect()  # the kernel keeps it for the next daemon
    hall.send(client, REQUEST)
    assert hall.served == []
    assert hall.reception.is_empty
    hall.listener.accept()[0].close()


def test_guest_that_is_served_beyond_the_end_is_let_go(hall: Hall) -> None:
    hall.send(hall.connect(), REQUEST)
    hall.reception.close()
    hall.reception.rest(hall.served[0])
    hall.served[0].sock.close()


def test_waking_ends_a_turn(hall: Hall) -> None:
    os.write(hall.waker, b"\x0f")
    hall.reception.turn(60)
    hall.reception.turn(0)
