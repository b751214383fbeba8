# SPDX-License-Identifier: Apache-2.0
"""Several invocations of one caller, side by side, whose results are told as they end.

Threading: one thread iterates and closes; each invocation runs in a thread of the batch. When the
caller hangs up, those that run end at once, for they watch its socket themselves, and no other one
is begun. `close` waits for them, so that none outlives the socket.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cco.errors import CcoError, Unavailable
from cco.gateway.transport import AbandonedError

log = logging.getLogger(__name__)

Outcome = dict[str, Any] | CcoError


class Batch:
    """An iterator of places and outcomes.

    Args:
        count: how many there are to do.
        invoke: does one, by its place from 0.
        workers: how many at once; threads begin with the first item.
    """

    def __init__(
        self, count: int, invoke: Callable[[int], dict[str, Any]], *, workers: int
    ) -> None:
        self._left = count
        self._invoke = invoke
        self._next = iter(range(count))
        self._lock = threading.Lock()
        self._is_over = False
        self._ended: queue.SimpleQueue[tuple[int, Outcome] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"invoke-{nth}", daemon=True)
            for nth in range(min(workers, count))
        ]
        self._unborn = iter(self._threads)

    def __iter__(self) -> Iterator[tuple[int, Outcome]]:
        """Return itself."""
        return self

    def __next__(self) -> tuple[int, Outcome]:
        """Return the next one that ended.

        Raises:
            StopIteration: there are no more, or nobody wants them.
        """
        if not self._left or self._is_over:
            raise StopIteration
        for thread in self._unborn:
            thread.start()
        ended = self._ended.get()
        if ended is None:
            raise StopIteration
        self._left -= 1
        return ended

    def close(self) -> None:
        """Begin no more, and wait for those that run."""
        self._is_over = True
        self._unborn = iter(())
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        while not self._is_over:
            with self._lock:
                place = next(self._next, None)
            if place is None:
                return
            try:
                self._ended.put((place, self._invoke(place)))
            except CcoError as error:
                self._ended.put((place, error))
            except AbandonedError:
                self._is_over = True
                self._ended.put(None)
            except Exception:  # the edge of this thread
                log.exception("an invocation failed")
                failed = Unavailable(
                    "internal", "CCO failed on this one", hint="See: cco daemon logs"
                )
                self._ended.put((place, failed))
