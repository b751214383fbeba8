# SPDX-License-Identifier: Apache-2.0
"""Copies of answers that are still arriving, all of them together within bounds.

Threading: `Room` is everybody's; whoever owns a `Recording` holds a lock around every call.
"""

import threading
from typing import Final


class Room:
    """Bytes that the recordings under way share.

    Args:
        size_bytes: of all together.
    """

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Take room; say whether there was so much."""
        with self._lock:
            if size_bytes > self._left:
                return False
            self._left -= size_bytes
            return True

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        with self._lock:
            self._left += size_bytes


class Recording:
    """The bytes of one answer so far.

    It holds all of them until they are more than it may or there is no more room. From then on it
    is not whole: what `forget` is not told to drop stays readable, beyond all bounds.

    Args:
        room: what it has a share in.
        max_bytes: how large a whole recording may be.
    """

    def __init__(self, room: Room, *, max_bytes: int) -> None:
        self.size: int = 0
        """Bytes that were added in all."""
        self.is_whole = True
        """Every one of them is here."""
        self._room: Final = room
        self._max_bytes: Final = max_bytes
        self._taken = 0
        self._data = bytearray()
        self._begin = 0
        """How many bytes are gone from the front."""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        if self.is_whole:
            if self.size + len(data) <= self._max_bytes and self._room.take(len(data)):
                self._taken += len(data)
            else:
                self._leave_room()
        self.size += len(data)
        self._data += data

    def read(self, begin: int, end: int) -> bytes:
        """Return the bytes between two positions, which must not be forgotten yet."""
        assert begin >= self._begin
        return bytes(memoryview(self._data)[begin - self._begin : end - self._begin])

    def forget(self, end: int) -> None:
        """Drop the bytes before a position, unless the recording is whole."""
        if not self.is_whole and end > self._begin:
            del self._data[: end - self._begin]
            self._begin = end

    def close(self) -> None:
        """Drop everything; nothing may be added afterwards."""
        self._leave_room()
        self.forget(self.size)

    def _leave_room(self) -> None:
        self.is_whole = False
        self._room.give(self._taken)
        self._taken = 0
