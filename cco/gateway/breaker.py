# SPDX-License-Identifier: Apache-2.0
"""Whether an upstream is worth asking, from how it answered before.

Pure: the clock is passed in, always the same one. ::

           FAILURES in a row          cool-down is over
        up ─────────────────▶ open ─────────────────────▶ half-open
        ▲                      │ ▲                          │   │
        ├──── any success ─────┘ └─ failure: it doubles ────┘   │
        └──────────────────────── any success ──────────────────┘

In ``half-open`` one request is let through, the probe, and nobody else until it is over. The
cool-down begins with `COOL_DOWN_S` and doubles up to `MAX_COOL_DOWN_S`.

Beside that an upstream may be `resting`: it said 429 and when to come back. It is up, and who is
bound to it may go on asking (limits are per model, so theirs need not be reached); new sessions
go elsewhere until then.

Threading: whoever owns it holds a lock around every call.
"""

from enum import StrEnum
from typing import Final

FAILURES: Final = 3
"""Failures in a row that open it."""
COOL_DOWN_S: Final = 10.0
MAX_COOL_DOWN_S: Final = 300.0
MAX_REST_S: Final = 3600.0
"""A longer ``retry-after`` is asked about in between."""


class State(StrEnum):
    """What an upstream is, as ``/health`` says it."""

    UP = "up"
    RESTING = "resting"
    """It takes no new sessions for a while: a limit is reached."""
    HALF_OPEN = "half-open"
    """It was out; the next request finds out whether it still is."""
    OPEN = "open"
    """It is out: asked only where no other is left."""


class Breaker:
    """The state of one upstream."""

    def __init__(self) -> None:
        self.failures = 0
        """In a row, until now."""
        self.last_error = ""
        """Code of the last failure; empty for none so far."""
        self.opened_at: float | None = None
        """When it went out; None while it is not."""
        self._due_at = 0.0
        """End of the cool-down."""
        self._cool_down_s = COOL_DOWN_S
        self._probe = 0
        """Number of the probe that is under way; 0 for none."""
        self._probes = 0
        """How many there have been."""
        self._rests_until = float("-inf")

    def state(self, now: float) -> State:
        """Return the state."""
        if self.opened_at is not None:
            return State.HALF_OPEN if now >= self._due_at else State.OPEN
        return State.RESTING if now < self._rests_until else State.UP

    def admits(self, now: float) -> bool:
        """Say whether a request is worth it."""
        state = self.state(now)
        return state != State.OPEN and not (state == State.HALF_OPEN and self._probe)

    def begin(self, now: float) -> int:
        """Take note that a request goes out; return its number if it is the probe, else 0.

        In the end `succeed`, `fail` or `abandon` must be called.
        """
        if self.state(now) != State.HALF_OPEN or self._probe:
            return 0
        self._probes += 1
        self._probe = self._probes
        return self._probe

    def succeed(self) -> bool:
        """Take note of an answer; say whether the upstream is back by it."""
        is_back = self.opened_at is not None
        self.failures = 0
        self.opened_at = None
        self._cool_down_s = COOL_DOWN_S
        self._probe = 0
        return is_back

    def fail(self, now: float, error: str) -> bool:
        """Take note of a failure; say whether the upstream is out by it, having been up."""
        state = self.state(now)
        self.failures += 1
        self.last_error = error
        if state == State.OPEN:
            return False  # of a request that was under way, or had nowhere else to go
        if state == State.HALF_OPEN:
            self._cool_down_s = min(2 * self._cool_down_s, MAX_COOL_DOWN_S)
            self._probe = 0
        elif self.failures < FAILURES:
            return False
        else:
            self.opened_at = now
        self._due_at = now + self._cool_down_s
        return state != State.HALF_OPEN

    def rest(self, now: float, seconds: float) -> bool:
        """Take note of a limit that is reached for a while; say whether that is news."""
        is_news = now >= self._rests_until
        self._rests_until = max(self._rests_until, now + min(seconds, MAX_REST_S))
        return is_news and now < self._rests_until

    def abandon(self, probe: int) -> None:
        """Take note that a request ended without telling anything; was it the probe, another may.

        Args:
            probe: what `begin` returned.
        """
        if probe == self._probe:
            self._probe = 0
