# SPDX-License-Identifier: Apache-2.0
"""Turns for agents: a fixed number run at once, the others wait, first come first served."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from cco.errors import RequestError


class Slots:
    """A fair, bounded queue.

    Args:
        count: how many may run at once.
        timeout_s: longest wait for a turn, in seconds.
    """

    def __init__(self, count: int, *, timeout_s: float) -> None:
        self._free = count
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            RequestError: none came in time (``agents-busy``).
        """
        self._acquire()
        try:
            yield
        finally:
            self._release()

    def _acquire(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(self._timeout_s):
            return
        with self._lock:
            if mine.is_set():  # given just now
                return
            self._waiting.remove(mine)
        raise RequestError(
            "agents-busy",
            f"no agent became free within {self._timeout_s:g} seconds",
            hint="Try again later, or raise [agents] max_concurrent",
        )

    def _release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
