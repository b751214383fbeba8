# SPDX-License-Identifier: Apache-2.0
"""How busy each agent is: its runs under way, those of Claude Code and those of our own.

Threading: all methods may be called from any thread.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LONGEST_NS: Final = 3600 * 10**9
"""A run that began before this is taken for ended: its session may have died without a word."""


class Load:
    """Counts runs.

    Args:
        now_ns: the clock, Unix time in nanoseconds.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._runs: dict[object, tuple[str, int]] = {}

    def begin(self, run: object, agent: str) -> None:
        """Note that a run of an agent begins."""
        with self._lock:
            self._runs[run] = (agent, self._now_ns())

    def end(self, run: object) -> None:
        """Note that a run has ended; one that is not known is passed over."""
        with self._lock:
            self._runs.pop(run, None)

    @contextmanager
    def running(self, agent: str) -> Iterator[None]:
        """Count a run of an agent for as long as it takes."""
        run = object()
        self.begin(run, agent)
        try:
            yield
        finally:
            self.end(run)

    def of(self, agent: str) -> int:
        """Return how many runs of an agent are under way."""
        oldest_ns = self._now_ns() - LONGEST_NS
        with self._lock:
            for run in [run for run, (_, began_ns) in self._runs.items() if began_ns < oldest_ns]:
                del self._runs[run]
            return sum(name == agent for name, _ in self._runs.values())
