# SPDX-License-Identifier: Apache-2.0
"""Where connections wait, without a thread, until a whole request head is there.

::

    connects ──▶ silent ──▶ head incomplete ──▶ served (a thread's) ──▶ leaving ──▶ closed
                   ▲                              │
                   └────────── keep-alive ────────┘

Each state but `served` ends at a deadline: silence after `KEEPALIVE_S`, a head `HEAD_S` after its
first byte, leaving after `LEAVE_S`. Whose a connection is, is looked up when it is accepted:
strangers have `MAX_STRANGERS` of all connections between them, for `HEAD_S` and one request each.
Where there is no room, the connection that has waited longest makes some; so no connection that
waits can keep another one out, or from a thread.

A connection that has got its last answer is closed in two steps: first our side only, then, when
the client has seen that, the rest. A client that still sends a body would lose the answer else.

Threading: one thread runs the loop (`turn`, `stop`, `close`). `rest` and `leave` are called by the
thread that has served a guest. A guest is the loop's while it waits, else that thread's: it is
polled for one event at a time.
"""

import contextlib
import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

log = logging.getLogger(__name__)

HEAD_S: Final = 10.0
"""Longest time from the first byte of a head to its last."""
KEEPALIVE_S: Final = 75.0
LEAVE_S: Final = 2.0
LINGER_S: Final = 1.0
"""How long a stop waits for the requests of connections that had been accepted."""
MAX_HEAD_BYTES: Final = 1024 * 1024
HEAD_BYTES: Final = 512
"""As much of a head as is looked at to refuse it."""
MAX_STRANGERS: Final = 16
SWEEP_S: Final = 1.0
"""How exact the deadlines are."""

_ONE_EVENT: Final = select.EPOLLIN | select.EPOLLONESHOT
_READ_BYTES: Final = 65536
_ACCEPTED_AT_ONCE: Final = 16
_FULL_S: Final = 0.05
"""Pause where there are no descriptors left for another connection."""


class Guest:
    """A connection, and what has come by it of the next request.

    Args:
        sock: connected; it stays blocking.
        address: of the client.
        server: name of the listener that it came by.
        is_ours: the client is a process of our own user.
    """

    def __init__(self, sock: socket.socket, address: Any, server: Any, *, is_ours: bool) -> None:
        self.sock: Final = sock
        self.fd: Final = sock.fileno()
        self.address: Final = address
        self.server: Final = server
        self.is_ours: Final = is_ours
        self.received = bytearray()
        """Bytes of the next request."""
        self.is_waiting = False
        """It is the loop's."""
        self.since = 0.0
        """When it was last connected, answered or left."""
        self.deadline = 0.0
        """When it has waited long enough."""
        self.is_leaving = False
        self.kept: Any = None
        """What the server keeps from one request to the next."""
        self._searched = 0

    def has_head(self) -> bool:
        """Say whether a whole head is there; each byte is looked at once."""
        found = self.received.find(b"\r\n\r\n", max(self._searched - 3, 0))
        self._searched = len(self.received)
        return found >= 0

    def take(self) -> bytes:
        """Return what was received, and forget it."""
        received, self.received = bytes(self.received), bytearray()
        self._searched = 0
        return received


class Reception:
    """The loop that takes clients in.

    Args:
        listeners: what is accepted from.
        wake_fd: becomes readable to end a turn early.
        is_ours: says whether a new connection is from a process of our own user.
        serve: called with a guest that has sent a whole head; must return at once, and have `rest`
            or `leave` called in the end.
        refuse: makes the answer to a head that does not come to its end, from the status.
        limit: how many connections may be open.
        monotonic: the clock.
    """

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        *,
        wake_fd: int,
        is_ours: Callable[[socket.socket], bool],
        serve: Callable[[Guest], object],
        refuse: Callable[[int, bytes], bytes],
        limit: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_ours = is_ours
        self._serve = serve
        self._refuse = refuse
        self._limit = limit
        self._monotonic = monotonic
        self._wake_fd = wake_fd
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._guests: dict[int, Guest] = {}
        self._lock = threading.Lock()
        """Held while a guest begins or ends: its descriptor's number is soon another one's."""
        self._next_sweep = 0.0
        self._stops_at = math.inf
        self._epoll = select.epoll()
        self._epoll.register(wake_fd, select.EPOLLIN)
        for fd, listener in self._listeners.items():
            listener.settimeout(0)
            self._epoll.register(fd, select.EPOLLIN)

    @property
    def is_empty(self) -> bool:
        """Nobody is served or waits for anything but the end of the connection."""
        return all(guest.is_leaving for guest in self._everybody())

    def turn(self, timeout_s: float) -> None:
        """Take in what has come, or comes within the time; let go of who has waited too long."""
        for fd, _ in self._epoll.poll(timeout_s):
            if fd in self._listeners:
                self._accept(self._listeners[fd])
            elif fd == self._wake_fd:
                os.read(fd, 4096)
            elif (guest := self._guests.get(fd)) is not None:
                self._read(guest)
        now = self._monotonic()
        if now >= min(self._next_sweep, self._stops_at):
            self._next_sweep = now + SWEEP_S
            self._sweep(now)

    def rest(self, guest: Guest, ahead: bytes = b"") -> None:
        """Have a guest that was served wait for its next request, of which `ahead` is there."""
        guest.since = self._monotonic()
        guest.deadline = guest.since + KEEPALIVE_S
        if ahead:
            self._receive(guest, ahead)
        else:
            self._wait(guest)

    def leave(self, guest: Guest) -> None:
        """End a guest's connection once it has got its answer."""
        try:
            guest.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it was faster
            self._drop(guest)
            return
        guest.is_leaving = True
        guest.since = self._monotonic()
        guest.deadline = guest.since + LEAVE_S
        self._wait(guest)

    def stop(self) -> None:
        """Accept nobody any more; serve what comes by open connections for `LINGER_S`."""
        for fd in self._listeners:
            self._epoll.unregister(fd)
        self._listeners = {}
        self._stops_at = self._monotonic() + LINGER_S

    def close(self) -> None:
        """Close what waits; what is served is closed by whoever serves it."""
        for guest in self._everybody():
            if guest.is_waiting:
                self._drop(guest)
        self._epoll.close()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("no connection can be accepted: %s", error)
                self._make_room(0, self._everybody())
                time.sleep(_FULL_S)
                return
            self._admit(sock, address, listener.getsockname())

    def _admit(self, sock: socket.socket, address: Any, server: Any) -> None:
        guest = Guest(sock, address, server, is_ours=self._is_ours(sock))
        if not guest.is_ours:
            self._make_room(MAX_STRANGERS, [one for one in self._everybody() if not one.is_ours])
        if len(self._guests) >= self._limit:
            self._make_room(self._limit, self._everybody())
        guest.since = self._monotonic()
        guest.deadline = guest.since + (KEEPALIVE_S if guest.is_ours else HEAD_S)
        with self._lock:
            self._guests[guest.fd] = guest
            guest.is_waiting = True
            self._epoll.register(guest.fd, _ONE_EVENT)

    def _everybody(self) -> list[Guest]:
        return list(self._guests.values())

    def _make_room(self, limit: int, among: list[Guest]) -> None:
        """Let the one that has waited longest go if there are so many."""
        waiting = [guest for guest in among if guest.is_waiting]
        if len(among) >= limit and waiting:
            self._drop(min(waiting, key=lambda guest: guest.since))

    def _wait(self, guest: Guest) -> None:
        """Make a guest the loop's."""
        with self._lock, contextlib.suppress(ValueError):  # the loop has ended
            guest.is_waiting = True
            self._epoll.modify(guest.fd, _ONE_EVENT)

    def _read(self, guest: Guest) -> None:
        guest.is_waiting = False
        try:
            data = guest.sock.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._wait(guest)
            return
        except OSError:
            data = b""
        if not data:
            self._drop(guest)
        elif guest.is_leaving:
            self._wait(guest)
        else:
            self._receive(guest, data)

    def _receive(self, guest: Guest, data: bytes) -> None:
        if not guest.received and guest.is_ours:
            guest.deadline = self._monotonic() + HEAD_S
        guest.received += data
        if guest.has_head():
            self._serve(guest)
        elif len(guest.received) > MAX_HEAD_BYTES:
            self._dismiss(guest, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self._wait(guest)

    def _sweep(self, now: float) -> None:
        for guest in self._everybody():
            if not guest.is_waiting or now < min(guest.deadline, self._stops_at):
                continue
            if guest.received and not guest.is_leaving:
                self._dismiss(guest, HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._drop(guest)

    def _dismiss(self, guest: Guest, status: int) -> None:
        """Refuse a request whose head does not come to its end."""
        answer = self._refuse(status, bytes(guest.received[:HEAD_BYTES]))
        with contextlib.suppress(OSError):
            guest.sock.send(answer, socket.MSG_DONTWAIT)
        self.leave(guest)

    def _drop(self, guest: Guest) -> None:
        with self._lock:
            if self._guests.get(guest.fd) is guest:
                del self._guests[guest.fd]
        guest.sock.close()
