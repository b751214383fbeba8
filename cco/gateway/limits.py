# SPDX-License-Identifier: Apache-2.0
"""What the provider last said about the limits of a plan: the headers ``anthropic-ratelimit-…``.

Kept for each credential, named by the beginning of its digest, with the moment they came. Nothing
is computed from them and nothing is assumed: what was never told is not there.

Threading: all methods may be called from any thread.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cco.gateway.credentials import digest
from cco.gateway.headers import Fields, Index, index

PREFIX: Final = "anthropic-ratelimit-"
NAME_LENGTH: Final = 12
"""Characters of a digest: enough to tell two apart, of no use to anybody."""
MAX_CREDENTIALS: Final = 64
"""The least recently heard of are forgotten."""
MAX_VALUES: Final = 100
"""Of one answer; the provider sends about a dozen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The last limits that were told for one credential."""

    credential: str
    """The beginning of its digest; empty where the request had none."""
    upstream: str
    values: dict[str, str]
    """Name without the prefix, such as ``unified-5h-utilization``, to the value as it came."""
    told_ns: int
    """Unix time in nanoseconds."""

    def age_s(self, now_ns: int) -> float:
        """Return how long ago that was, in seconds."""
        return max(0, now_ns - self.told_ns) / 1e9


class PlanLimits:
    """Remembers the limits.

    Args:
        now_ns: the clock, Unix time in nanoseconds.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns: Final = now_ns
        self._lock = threading.Lock()
        self._told: OrderedDict[str, Limits] = OrderedDict()

    def note(
        self, asked: Fields, answered: Index, *, upstream: str, key: str | None = None
    ) -> None:
        """Take the limits out of an answer, if it tells any.

        Args:
            asked: headers of the client's request, for its credential.
            answered: headers of the answer.
            upstream: name of who answered.
            key: credential that stood in for the client's own.
        """
        values = {
            name.removeprefix(PREFIX): found[-1]
            for name, found in list(answered.items())
            if name.startswith(PREFIX)
        }
        if not values or len(values) > MAX_VALUES:
            return
        sent = index([("x-api-key", key)]) if key else index(asked)
        credential = digest(sent)[:NAME_LENGTH]
        limits = Limits(credential, upstream, values, self.now_ns())
        with self._lock:
            self._told[credential] = limits
            self._told.move_to_end(credential)
            while len(self._told) > MAX_CREDENTIALS:
                self._told.popitem(last=False)

    def told(self) -> list[Limits]:
        """Return what is known, the latest first."""
        with self._lock:
            return list(reversed(self._told.values()))
