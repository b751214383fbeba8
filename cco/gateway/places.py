# SPDX-License-Identifier: Apache-2.0
"""How many requests that may take long are under way, and how large: what there is, is shared.

Never are there so many that no thread is left for others, nor do their bodies take more memory
than the daemon's unit is given (``MemoryMax=``, four times as much).

Threading: everything may be called by any thread.
"""

import threading
from types import TracebackType
from typing import Final

from cco.errors import Unavailable

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of all bodies together: four of the largest, or a place's worth of a megabyte each."""


class Places:
    """A bounded number of places; whoever finds none is told at once, for the client asks again.

    Args:
        count: how many there are.
        max_bytes: how much those who have one may hold together.
    """

    def __init__(self, count: int, *, max_bytes: int = MAX_BYTES) -> None:
        self._count = count
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._taken = 0
        self._held_bytes = 0

    def take(self) -> "Place":
        """Take a place.

        Raises:
            Unavailable: there is none (``no-room``).
        """
        with self._lock:
            if self._taken >= self._count:
                raise Unavailable(
                    "no-room",
                    f"{self._count} requests are under way, which is as many as there may be",
                    hint="Raise threads in [server], then: cco daemon restart",
                )
            self._taken += 1
        return Place(self)

    def hold(self, size_bytes: int) -> None:
        """Take so much of what may be held together.

        Raises:
            Unavailable: there is not that much left (``no-room``).
        """
        with self._lock:
            if self._held_bytes + size_bytes > self._max_bytes:
                raise Unavailable(
                    "no-room",
                    f"the requests under way are as large as they may be together"
                    f" ({self._max_bytes // 2**20} MB)",
                    hint="Try again when some of them have ended",
                )
            self._held_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Take a place back, and what its holder held."""
        with self._lock:
            self._taken -= 1
            self._held_bytes -= size_bytes


class Place:
    """Held until it is released; a context that releases it."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._is_held = True
        self._held_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Hold so much more, until the place is released.

        Raises:
            Unavailable: there is not that much left (``no-room``).
        """
        self._places.hold(size_bytes)
        self._held_bytes += size_bytes

    def release(self) -> None:
        """Give the place back; once only counts."""
        if self._is_held:
            self._is_held = False
            self._places.give(self._held_bytes)

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
