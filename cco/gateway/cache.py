# SPDX-License-Identifier: Apache-2.0
"""The answers that are kept: bounded by bytes, the least recently used one goes first.

Each has its own end. In memory only, so a daemon that stops forgets them all. What may be kept and
who may have it is decided in `reuse`.

Threading: everything may be called by any thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from cachetools import TLRUCache

from cco.gateway.headers import Fields

ENTRY_BYTES: Final = 1024
"""What an answer takes beside body and header fields, rounded up (measured with CPython 3.11)."""
FIELD_BYTES: Final = 192
"""What a header field takes beside its characters, likewise."""
SHARE: Final = 8
"""No answer may take more than this part of the whole."""

_NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer of an upstream."""

    reason: str
    headers: Fields = field(repr=False)
    """As they go to whoever gets it."""
    body: bytes = field(repr=False)
    is_stream: bool
    coding: str
    """Content coding of the body; empty for none."""
    upstream: str
    """Name of who gave it."""
    cost_nano: int
    """What it cost, as counted; 0 where that is not known."""
    expires_at: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        fields = sum(len(name) + len(value) + FIELD_BYTES for name, value in self.headers)
        return ENTRY_BYTES + fields + len(self.body)


class Cleared(NamedTuple):
    """What `ResponseCache.clear` did."""

    entries: int
    freed_bytes: int


class _Entries(TLRUCache[bytes, Kept]):
    """The entries, counting those that had to make room."""

    evictions = 0

    def popitem(self) -> tuple[bytes, Kept]:
        found = super().popitem()
        self.evictions += 1
        return found


class ResponseCache:
    """Keeps answers.

    Args:
        max_bytes: of all together.
        monotonic: the clock.
    """

    def __init__(self, max_bytes: int, *, monotonic: Callable[[], float]) -> None:
        self.max_bytes: Final = max_bytes
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries = _Entries(
            max_bytes, _end, timer=monotonic, getsizeof=lambda kept: kept.size_bytes
        )
        self._hits = 0
        self._misses = 0
        self._coalesced = 0
        self._saved_nano = 0

    @property
    def max_entry_bytes(self) -> int:
        """Size of the largest answer that is kept."""
        return self.max_bytes // SHARE

    def put(self, key: bytes, kept: Kept, *, ttl_s: float) -> None:
        """Keep an answer for a while, if it is not too large."""
        self.put_back(key, replace(kept, expires_at=self._monotonic() + ttl_s))

    def put_back(self, key: bytes, kept: Kept) -> None:
        """Keep what `take` gave until its former end."""
        if kept.size_bytes <= self.max_entry_bytes:
            with self._lock:
                self._entries[key] = kept

    def find(self, key: bytes) -> Kept | None:
        """Return an answer."""
        with self._lock:
            return self._entries.get(key)

    def take(self, key: bytes) -> Kept | None:
        """Return an answer and keep it no longer, so that only one caller gets it."""
        with self._lock:
            return self._entries.pop(key, None)

    def reap(self) -> None:
        """Let go of what has come to its end; to be called now and then."""
        with self._lock:
            self._entries.expire()

    def clear(self) -> Cleared:
        """Let go of everything."""
        with self._lock:
            found = Cleared(len(self._entries), int(self._entries.currsize))
            evictions = self._entries.evictions
            self._entries.clear()
            self._entries.evictions = evictions  # of cachetools 5, which pops one by one
            return found

    def note_hit(self, saved_nano: int) -> None:
        """Count an answer that came from here, and what it would have cost."""
        with self._lock:
            self._hits += 1
            self._saved_nano += saved_nano

    def note_miss(self) -> None:
        """Count a request that was looked up in vain."""
        with self._lock:
            self._misses += 1

    def note_coalesced(self) -> None:
        """Count a request that joined another one under way."""
        with self._lock:
            self._coalesced += 1

    def note_saved(self, saved_nano: int) -> None:
        """Count what the answer to a request that had joined would have cost."""
        with self._lock:
            self._saved_nano += saved_nano

    def stats(self) -> dict[str, Any]:
        """Return figures since the start, in the shape of ``/api/cache/stats``."""
        with self._lock:
            looked_up = self._hits + self._misses
            return {
                "entries": len(self._entries),
                "sizeBytes": int(self._entries.currsize),
                "maxBytes": self.max_bytes,
                "hits": self._hits,
                "misses": self._misses,
                "coalesced": self._coalesced,
                "evictions": self._entries.evictions,
                "hitRate": self._hits / looked_up if looked_up else None,
                "savedUsd": self._saved_nano / _NANO,
            }


def _end(key: bytes, kept: Kept, now: float) -> float:
    return kept.expires_at
