# SPDX-License-Identifier: Apache-2.0
"""Turns for agents: so many run at once, whoever asked; the others wait.

A turn that becomes free goes to the party that was served longest ago, and within a party to who
came first: a list of fifty holds up nobody who wants one answer.

Threading: everything may be called by any thread.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from cco.errors import RequestError
from cco.gateway.transport import AbandonedError, has_hung_up

WATCH_S: Final = 0.5
"""How often one who waits looks whether its client is there."""


class Slots:
    """A fair, bounded queue; it outlives the settings, so that a reload doubles nothing.

    Args:
        monotonic: the clock.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._count = 0
        self._running = 0
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()
        """By party, the next one to be served first; no party without anybody who waits."""

    @property
    def count(self) -> int:
        """How many may run at once."""
        return self._count

    @property
    def running(self) -> int:
        """How many do."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many would like to."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def configure(self, count: int) -> None:
        """Let so many run at once; of more that run already, none is stopped."""
        with self._lock:
            self._count = count
            self._hand_over()

    @contextmanager
    def turn(self, *, party: str, timeout_s: float, client_fd: int | None = None) -> Iterator[None]:
        """Wait for a turn, and hold it.

        Args:
            party: on whose behalf.
            timeout_s: longest wait.
            client_fd: socket of who waits; a client that hangs up leaves the queue.

        Raises:
            RequestError: none came in time (``agents-busy``).
            AbandonedError: the client has hung up.
        """
        self._acquire(party, timeout_s, client_fd)
        try:
            yield
        finally:
            self._release()

    def _acquire(self, party: str, timeout_s: float, client_fd: int | None) -> None:
        with self._lock:
            if self._running < self._count:  # then nobody waits
                self._running += 1
                return
            mine = threading.Event()
            self._waiting.setdefault(party, deque()).append(mine)
        deadline = self._monotonic() + timeout_s
        left = timeout_s
        while not mine.wait(min(left, WATCH_S)):
            left = deadline - self._monotonic()
            is_gone = has_hung_up(client_fd)
            if (is_gone or left <= 0) and self._leave(party, mine):
                raise AbandonedError if is_gone else _busy(timeout_s)

    def _leave(self, party: str, mine: threading.Event) -> bool:
        """Leave the queue; say whether that was possible: a turn may have come just now."""
        with self._lock:
            if mine.is_set():
                return False
            self._waiting[party].remove(mine)
            if not self._waiting[party]:
                del self._waiting[party]
            return True

    def _release(self) -> None:
        with self._lock:
            self._running -= 1
            self._hand_over()

    def _hand_over(self) -> None:
        """Give what is free to those who wait."""
        while self._waiting and self._running < self._count:
            party, queue = next(iter(self._waiting.items()))
            queue.popleft().set()
            self._running += 1
            if queue:
                self._waiting.move_to_end(party)
            else:
                del self._waiting[party]


def _busy(timeout_s: float) -> RequestError:
    return RequestError(
        "agents-busy",
        f"no agent became free within {timeout_s:g} seconds",
        hint="Try again later, or raise [agents] max_concurrent or queue_timeout_s",
    )
