# SPDX-License-Identifier: Apache-2.0
"""How many requests that may take long are under way: never so many that no thread is left.

Threading: everything may be called by any thread.
"""

import threading
from types import TracebackType

from cco.errors import Unavailable


class Places:
    """A bounded number of places; whoever finds none is told at once, for the client asks again.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)

    def take(self) -> "Place":
        """Take a place.

        Raises:
            Unavailable: there is none (``no-room``).
        """
        if not self._free.acquire(blocking=False):
            raise Unavailable(
                "no-room",
                f"{self._count} requests are under way, which is as many as there may be",
                hint="Raise threads in [server], then: cco daemon restart",
            )
        return Place(self._free)


class Place:
    """Held until it is released; a context that releases it."""

    def __init__(self, free: threading.Semaphore) -> None:
        self._free = free
        self._is_held = True

    def release(self) -> None:
        """Give the place back; once only counts."""
        if self._is_held:
            self._is_held = False
            self._free.release()

    def __enter__(self) -> "Place":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it."""
        self.release()
