# SPDX-License-Identifier: Apache-2.0
"""How each configured upstream is, and which one is to be asked next.

Every upstream has a `Breaker`; each time one goes out or comes back is one line in the log. What
sessions brought along is not judged: it is asked whatever happened.

Threading: everything may be called by any thread; choosing and taking the probe is one step.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cco.gateway.breaker import Breaker, State
from cco.gateway.upstream import Upstream

log = logging.getLogger(__name__)

NO_CREDENTIAL: Final = "no-credential"
"""State of an upstream that cannot be asked: the key that the settings name is not there."""
FAILURE_STATUSES: Final = frozenset({502, 503, 529})
"""Answers that speak against an upstream; every other one is a sign of life."""
LIMIT_STATUS: Final = 429


class Taken(NamedTuple):
    """An upstream that is to be asked."""

    upstream: Upstream
    probe: int
    """What `Breaker.begin` said."""
    is_out: bool
    """It is not worth it, but neither is any other."""


class Circuits:
    """The breakers of all configured upstreams.

    Args:
        upstreams: in the order of the settings.
        monotonic: the clock.
        now_ns: Unix time in nanoseconds.
    """

    def __init__(
        self,
        upstreams: Iterable[Upstream],
        *,
        monotonic: Callable[[], float],
        now_ns: Callable[[], int],
    ) -> None:
        self._breakers = {upstream: Breaker() for upstream in upstreams}
        self._monotonic = monotonic
        self._now_ns = now_ns
        self._lock = threading.Lock()

    def take(
        self, ranked: Sequence[Upstream], *, bound: str = "", even_out: bool = False
    ) -> Taken | None:
        """Choose the upstream to ask next; None if there is none to be asked.

        Args:
            ranked: in the order of preference.
            bound: name of the one that the session is bound to; it goes before all others, and it
                may be resting.
            even_out: choose one that is out where there is no other.
        """
        ranked = sorted(ranked, key=lambda each: each.name != bound)  # stable
        with self._lock:
            now = self._monotonic()
            admitted = [each for each in ranked if self._breakers[each].admits(now)]
            fresh = (
                each
                for each in admitted
                if each.name == bound or self._breakers[each].state(now) != State.RESTING
            )
            others = admitted or (ranked if even_out else [])
            chosen = next(fresh, None) or next(iter(others), None)
            if chosen is None:
                return None
            return Taken(chosen, self._breakers[chosen].begin(now), is_out=not admitted)

    def note_answer(self, upstream: Upstream, status: int, *, retry_after_s: float | None) -> None:
        """Take note of an answer.

        Args:
            upstream: that gave it.
            status: of the answer.
            retry_after_s: the answer's ``retry-after``, None for none.
        """
        if status in FAILURE_STATUSES:
            self.note_failure(upstream, f"status-{status}")
            return
        breaker = self._breakers.get(upstream)
        if breaker is None:
            return
        with self._lock:
            is_back = breaker.succeed()
            rests = (
                status == LIMIT_STATUS
                and retry_after_s is not None
                and breaker.rest(self._monotonic(), retry_after_s)
            )
        if is_back:
            log.info("the upstream %s is back", upstream.name)
        if rests:
            log.info("the upstream %s takes no new sessions for a while", upstream.name)

    def note_failure(self, upstream: Upstream, error: str) -> None:
        """Take note that an upstream gave no answer, or one that speaks against it.

        Args:
            upstream: which.
            error: code of what happened.
        """
        breaker = self._breakers.get(upstream)
        if breaker is None:
            return
        with self._lock:
            is_out = breaker.fail(self._monotonic(), error)
            failures = breaker.failures
        if is_out:
            log.warning(
                "the upstream %s is out: %d failures in a row, the last was %s",
                upstream.name,
                failures,
                error,
                extra={"CODE": error},
            )

    def abandon(self, upstream: Upstream, probe: int) -> None:
        """Take note that a request ended without telling anything about an upstream."""
        if upstream in self._breakers:
            with self._lock:
                self._breakers[upstream].abandon(probe)

    def states(self) -> list[dict[str, object]]:
        """Return how each upstream is, in the shape of ``/health``, in the order of the settings.

        ::

            {"name", "state": "up" | "resting" | "half-open" | "open" | "no-credential",
             "family", "priority", "weight", "consecutiveFailures",
             "lastError": code or null, "openedAt": time, only while it is out}
        """
        with self._lock:
            now = self._monotonic()
            return [self._told(each, breaker, now) for each, breaker in self._breakers.items()]

    def _told(self, upstream: Upstream, breaker: Breaker, now: float) -> dict[str, object]:
        state = NO_CREDENTIAL if upstream.lacks_credential else str(breaker.state(now))
        told: dict[str, object] = {
            "name": upstream.name,
            "state": state,
            "family": upstream.family,
            "priority": upstream.priority,
            "weight": upstream.weight,
            "consecutiveFailures": breaker.failures,
            "lastError": breaker.last_error or None,
        }
        if breaker.opened_at is not None:
            opened_s = self._now_ns() / 1e9 - (now - breaker.opened_at)
            moment = datetime.fromtimestamp(opened_s, UTC).isoformat(timespec="milliseconds")
            told["openedAt"] = moment.replace("+00:00", "Z")
        return told
