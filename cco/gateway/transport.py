# SPDX-License-Identifier: Apache-2.0
"""Keep-alive connections to one upstream.

Threading: the pool is everybody's; a connection is used by one thread at a time, and only `abort`
may be called by another, at any time. Beside the upstream's socket the client's is watched: when
the client hangs up, what waits for the upstream gives up at once.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final

MAX_IDLE: Final = 32
"""Connections kept for reuse, per upstream."""
IDLE_S: Final = 50.0
"""Seconds that one is kept: below the minute after which common servers close them."""

_READ_BYTES: Final = 65536
_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


class AbandonedError(Exception):
    """Nobody wants this answer any more.

    The client has hung up, the time that it gave is over, or `abort` was called.
    """


def has_hung_up(client_fd: int | None) -> bool:
    """Say whether a client has closed its end; of none it is not known."""
    if client_fd is None:
        return False
    poll = select.poll()
    poll.register(client_fd, select.POLLRDHUP)
    return any(what & _GONE for _, what in poll.poll(0))


class Connection:
    """A connected socket that never blocks but in `_wait`."""

    def __init__(
        self, sock: socket.socket, *, monotonic: Callable[[], float] = time.perf_counter
    ) -> None:
        sock.settimeout(0)
        self._monotonic = monotonic
        self.idle_until = 0.0
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._client_fd: int | None = None
        self._silence_s = 0.0
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._is_open = True
        self._aborted = False

    def is_quiet(self) -> bool:
        """Say whether it can be reused: the upstream has neither closed it nor said anything."""
        return not self._poll.poll(0)

    def begin(
        self, *, client_fd: int | None, silence_s: float, deadline: float | None = None
    ) -> None:
        """Watch a client and bound the upstream's silence until `end`.

        Args:
            client_fd: the client's socket, if there is one.
            silence_s: the longest silence.
            deadline: when the client waits no longer; None for never.
        """
        self._silence_s = silence_s
        self.watch(client_fd, deadline)

    def watch(self, client_fd: int | None, deadline: float | None = None) -> None:
        """Watch another client, or none, and its deadline until `end`."""
        self._deadline = deadline
        if self._client_fd is not None:
            self._poll.unregister(self._client_fd)
        self._client_fd = client_fd
        if client_fd is not None:
            self._poll.register(client_fd, select.POLLRDHUP)

    def end(self) -> None:
        """Watch for nothing but what an upstream does to a resting connection."""
        self.watch(None)
        self._poll.modify(self._sock, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except OSError as error:
                raise self._unless_aborted(error) from error

    def receive(self) -> bytes:
        """Return what has arrived, waiting for it; empty at the end of the connection."""
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError as error:
                raise self._unless_aborted(error) from error
            else:
                if self._aborted:
                    raise AbandonedError
                return data

    def receive_ready(self) -> bytes:
        """Return what has arrived already; empty if nothing has, or nothing will any more."""
        with contextlib.suppress(OSError):
            return self._sock.recv(_READ_BYTES)
        return b""

    def abort(self) -> None:
        """End the connection under whoever uses it. May be called by any thread."""
        with self._lock:  # not while it is closed, or the number could be another's by now
            self._aborted = True
            if self._is_open:
                # Not SSLSocket's own, which would let a reader go on with undecrypted bytes.
                with contextlib.suppress(OSError):  # the other side was faster
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket."""
        with self._lock:
            self._is_open = False
            self._sock.close()

    def _wait(self, event: int) -> None:
        self._poll.modify(self._sock, event)
        wait_s = self._silence_s
        if self._deadline is not None:
            wait_s = max(0.0, min(wait_s, self._deadline - self._monotonic()))
        ready = self._poll.poll(wait_s * 1000)
        if self._aborted or any(fd == self._client_fd and what & _GONE for fd, what in ready):
            raise AbandonedError
        if not ready:
            raise TimeoutError if wait_s == self._silence_s else AbandonedError

    def _unless_aborted(self, error: OSError) -> Exception:
        return AbandonedError() if self._aborted else error


class Pool:
    """The connections to one upstream that are at rest; the last used is the first reused."""

    def __init__(
        self, dial: Callable[[], socket.socket], *, monotonic: Callable[[], float]
    ) -> None:
        self._dial = dial
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._resting: list[Connection] = []
        self._is_open = True

    def take(self) -> Connection:
        """Return a connection that was at rest, or a new one.

        Raises:
            UpstreamRefused: there is none to be had.
        """
        self.reap()
        while True:
            with self._lock:
                connection = self._resting.pop() if self._resting else None
            if connection is None:
                return Connection(self._dial(), monotonic=self._monotonic)
            if connection.is_quiet():
                return connection
            connection.close()

    def give(self, connection: Connection, *, keep_s: float = IDLE_S) -> None:
        """Take back a connection after a whole answer; it is kept for a while."""
        connection.idle_until = self._monotonic() + min(keep_s, IDLE_S)
        with self._lock:
            if self._is_open and keep_s > 0 and len(self._resting) < MAX_IDLE:
                self._resting.append(connection)
                return
        connection.close()

    def reap(self) -> None:
        """Close what has rested too long."""
        now = self._monotonic()
        with self._lock:
            stale = [c for c in self._resting if c.idle_until <= now]
            if stale:
                self._resting = [c for c in self._resting if c.idle_until > now]
        for connection in stale:
            connection.close()

    def close(self) -> None:
        """Close what rests, and from now on everything that comes back."""
        with self._lock:
            self._is_open = False
            resting, self._resting = self._resting, []
        for connection in resting:
            connection.close()
