# SPDX-License-Identifier: Apache-2.0
"""From a request to the upstream that answers it: sticky, judged, with failover.

A request goes to the upstream of its session (`balance`), unless that is out (`circuits`). When
nothing was sent because there was no connection, or the answer is one of `FAILOVER_STATUSES`, the
next upstream of the same family is asked, each once at most. Everything else is the client's:
nobody can know whether an upstream that was sent a request, and then broke, has worked and will
want its money. The first byte for the client ends the choice.

With one upstream in the family, and for a session that brought its own, there is nothing to
choose: one request is one request, whatever the breaker says. Nor does it ever refuse: where all
upstreams are out, each is tried in turn, because it may be our own network that was.

Only upstreams of the family of the most preferred one are ever chosen. Those of other families are
for sessions that name their base URL: a conversation cannot go on elsewhere, for its thinking
blocks are signed.

Threading: `Router.send` is called by as many threads as there are requests.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cco.errors import RequestError, UpstreamError, UpstreamRefused
from cco.gateway import credentials
from cco.gateway.balance import Bindings, ranked, session_key
from cco.gateway.call import Call
from cco.gateway.circuits import Circuits, Taken
from cco.gateway.entry import Entry
from cco.gateway.errors import LASTING
from cco.gateway.exchange import Exchange
from cco.gateway.headers import first, index
from cco.gateway.limits import PlanLimits
from cco.gateway.requested import requested_model
from cco.gateway.running import Running
from cco.gateway.transport import AbandonedError, has_hung_up
from cco.gateway.upstream import Upstream, Upstreams
from cco.gateway.wire import Head

FAILOVER_STATUSES: Final = frozenset({429, 502, 503, 529})
"""Answers after which another upstream is asked: none of them was billed."""
MAX_RETRY_AFTER_S: Final = 60
"""The client gives up on an answer that asks it to wait for longer."""
OVERLOADED_STATUS: Final = 529
"""The client gives up on it after three attempts, where others get eleven."""


class Routed(NamedTuple):
    """An answer that begins."""

    exchange: Exchange
    head: Head
    upstream: Upstream


class _Session(NamedTuple):
    """What binds a request to an upstream."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Setback:
    """Why another upstream is asked: an answer, or an error."""

    upstream: Upstream
    reached: Routed | UpstreamRefused

    @property
    def rank(self) -> tuple[int, float]:
        """Say how well it serves a client that will ask again: lower is better.

        Whichever upstream is ready first will answer then, so the best answer is the one that
        brings the client back soonest and does not make it give up: first one that says when, then
        one that it meets with its own back-off for three minutes, then one that it meets three
        times only, and last one that it does not meet again.
        """
        if isinstance(self.reached, UpstreamRefused):
            return (3, math.inf) if self.reached.code in LASTING else (1, 0.0)
        head = self.reached.head
        wait_s = retry_after_s(head)
        if first(head.named, "x-should-retry").lower() == "false":
            return (3, wait_s or 0.0)
        if wait_s is not None:
            return (0 if wait_s <= MAX_RETRY_AFTER_S else 3, wait_s)
        return (2 if head.status == OVERLOADED_STATUS else 1, 0.0)


class Router:
    """Sends requests to where they are answered.

    Args:
        upstreams: all of them.
        circuits: how the configured ones are.
        bindings: which session is bound to which.
        running: exchanges under way.
        limits: what answers tell about the limits of plans.
        monotonic: the clock of deadlines.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        circuits: Circuits,
        bindings: Bindings,
        running: Running,
        limits: PlanLimits,
        *,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._monotonic = monotonic
        self._upstreams = upstreams
        self._circuits = circuits
        self._bindings = bindings
        self._running = running
        self._limits = limits

    def family(self, call: Call) -> str:
        """Return the family of the upstreams that may answer; of a session's own, its URL.

        Raises:
            RequestError: the base URL that the session named cannot be used.
        """
        return self._upstreams.choose(_own_url(call)).family

    def send(self, call: Call, entry: Entry) -> Routed:
        """Send a request, and on to other upstreams if need be; return the answer with its head.

        Args:
            call: the request.
            entry: its row; upstream, attempts, model and `may_have_used` are filled in.

        Raises:
            RequestError: it cannot be sent at all.
            UpstreamError: no upstream answered.
            AbandonedError: nobody wants the answer.
            BudgetExceeded, Unavailable: there is no money for it, see `Entry.admit`.
        """
        entry.admit(lambda: self._look(call))
        session = self._session(call)
        held: _Setback | None = None
        try:
            for taken in self._choices(call, entry, session):
                reached = self._ask(call, entry, taken)
                if isinstance(reached, Routed):
                    if session is not None and 200 <= reached.head.status < 300:
                        self._bindings.confirm(*session, name=reached.upstream.name)
                    return reached
                entry.may_have_used = False
                if held is None or reached.rank <= held.rank:
                    held, reached = reached, held
                self._discard(reached)
            best, held = held, None
        finally:
            self._discard(held)
        assert best is not None, "there is always something to choose"
        entry.upstream = best.upstream.name
        if isinstance(best.reached, UpstreamRefused):
            raise best.reached
        return best.reached

    def _look(self, call: Call) -> None:
        """Look whether a request that waits is still to be sent.

        Raises:
            AbandonedError: nobody wants the answer, or everything is being ended.
        """
        is_late = call.deadline is not None and self._monotonic() >= call.deadline
        if is_late or self._running.stop_error is not None or has_hung_up(call.client_fd):
            raise AbandonedError

    def _session(self, call: Call) -> _Session | None:
        """Return what binds a request to an upstream, None where there is nothing to choose."""
        if _own_url(call) or len(self._upstreams.candidates) == 1:
            return None
        digest = credentials.digest(index(call.headers))
        session_id = call.session.id if call.session else ""
        key = session_key(
            client_session=call.agent.client_session, session_id=session_id, digest=digest
        )
        return _Session(key, digest)

    def _choices(self, call: Call, entry: Entry, session: _Session | None) -> Iterator[Taken]:
        """Yield the upstreams to ask, each when those before it have failed.

        Raises:
            RequestError: there is none, for want of a key.
        """
        if own := _own_url(call):
            (only,) = _with_keys([self._upstreams.choose(own)], entry)
            yield Taken(only, probe=0, is_out=False)
            return
        left: Sequence[Upstream] = _with_keys(self._upstreams.candidates, entry)
        bound = ""
        if session is not None:
            if not session.digest:  # then only a key of ours will do, if there is one
                left = [each for each in left if each.has_credential] or left
            left = ranked(session.key, left)
            bound = self._bindings.find(*session)
        even_out = True
        while (taken := self._circuits.take(left, bound=bound, even_out=even_out)) is not None:
            yield taken
            even_out = taken.is_out
            left = [each for each in left if each is not taken.upstream]

    def _ask(self, call: Call, entry: Entry, taken: Taken) -> Routed | _Setback:
        """Send a request to one upstream and take note of what comes of it."""
        upstream = taken.upstream
        try:
            if entry.attempts and has_hung_up(call.client_fd):
                raise AbandonedError
            entry.upstream = upstream.name
            exchange, head = self._exchange(call, entry, upstream)
        except UpstreamError as error:
            self._circuits.note_failure(upstream, error.code)
            if not isinstance(error, UpstreamRefused):
                raise
            return _Setback(upstream, error)
        except BaseException:
            self._circuits.abandon(upstream, taken.probe)
            raise
        self._circuits.note_answer(upstream, head.status, retry_after_s=retry_after_s(head))
        self._limits.note(call.headers, head.named, upstream=upstream.name, key=upstream.credential)
        routed = Routed(exchange, head, upstream)
        return _Setback(upstream, routed) if head.status in FAILOVER_STATUSES else routed

    def _exchange(self, call: Call, entry: Entry, upstream: Upstream) -> tuple[Exchange, Head]:
        """Send a request to one upstream and wait for the head of its answer."""
        body = call.body
        sent = upstream.encode_head(call.method, call.target, call.headers, length=len(body))
        entry.attempts += 1
        exchange = upstream.open(call.client_fd, deadline=call.deadline)
        try:
            self._running.add(exchange)
            entry.may_have_used = entry.is_metered
            exchange.send(sent, body)
            # Here it costs nothing: the upstream is at work now.
            entry.model = requested_model(body)
            return exchange, exchange.read_head(call.method)
        except BaseException:
            exchange.release()
            self._running.remove(exchange)
            raise

    def _discard(self, setback: _Setback | None) -> None:
        """Let go of an answer that nobody will get."""
        if setback is not None and isinstance(setback.reached, Routed):
            setback.reached.exchange.discard()
            self._running.remove(setback.reached.exchange)


def retry_after_s(head: Head) -> float | None:
    """Return the whole seconds of ``retry-after``, which is what the client reads too."""
    told = first(head.named, "retry-after")
    return float(told) if told.isascii() and told.isdecimal() and len(told) < 10 else None


def _own_url(call: Call) -> str:
    """Return the base URL that a session brought along, or the empty string."""
    return call.session.upstream if call.session else ""


def _with_keys(upstreams: Sequence[Upstream], entry: Entry) -> list[Upstream]:
    """Return the upstreams but for those whose key is not there.

    Raises:
        RequestError: none is left: the client's own key is not meant for them.
    """
    found = [upstream for upstream in upstreams if not upstream.lacks_credential]
    if not found:
        entry.upstream = upstreams[0].name
        raise RequestError(
            "no-credential",
            f"The credential that the settings name for the upstream {entry.upstream} is not there",
            hint="See the warnings of: cco daemon status",
        )
    return found
