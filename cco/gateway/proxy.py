# SPDX-License-Identifier: Apache-2.0
"""The gateway itself: one request in, one request out, the answer back, one row in the ledger.

Nothing is retried: the client does that itself. (Where several upstreams are configured, `route`
may go on to another one before an answer begins. Where the answer is there already, `reuse` has
it.) Here and in the modules beside it there is no web framework; whoever serves HTTP makes a
`Call`, sends the `Answer` on and closes it.

Threading: `Gateway.forward` is called by as many threads as there are requests; the answer is
read by the same thread or another.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from cco import config
from cco.errors import CcoError, RequestError, Unavailable
from cco.gateway.balance import Bindings
from cco.gateway.cache import Cleared
from cco.gateway.call import Answer, Call, FixedBody, SessionRef
from cco.gateway.circuits import Circuits
from cco.gateway.entry import Accounts, Entry
from cco.gateway.errors import error_headers, render_body, status_of
from cco.gateway.exchange import Exchange
from cco.gateway.fold import UsageFold, is_event_stream
from cco.gateway.headers import Fields, client_headers, first
from cco.gateway.key import realm_of
from cco.gateway.limits import PlanLimits
from cco.gateway.relay import Keep, Relay
from cco.gateway.reuse import Reuse
from cco.gateway.route import Router
from cco.gateway.running import Running
from cco.gateway.transport import AbandonedError
from cco.gateway.upstream import Upstreams
from cco.gateway.wire import Head
from cco.ledger.budgets import Budgets
from cco.ledger.prices import Prices
from cco.ledger.store import Store

log = logging.getLogger(__name__)

CLIENT_GONE: Final = 499
"""Status of an answer that nobody will see."""

_MAX_ID_LENGTH: Final = 128


class Gateway:
    """Forwards requests to the upstreams.

    Args:
        upstreams: of the settings, one or more.
        store: where rows are recorded.
        prices: what usage costs.
        environ: where proxies are looked up.
        keys: in place of the client's own, by the names of their upstreams.
        bindings: which session is bound to which upstream; they outlive a reload.
        budgets: what requests may cost; None for no limit.
        limits: what is known of plans' limits; they outlive a reload.
        reuse: the answers that are kept, which may outlive a reload too; None keeps some as the
            default settings say.
        monotonic: the clock.
        now_ns: the clock, Unix time in nanoseconds.

    Raises:
        RequestError: an upstream's base URL cannot be used.
    """

    def __init__(
        self,
        upstreams: Sequence[config.Upstream],
        *,
        store: Store,
        prices: Prices,
        environ: Mapping[str, str],
        keys: Mapping[str, str] = MappingProxyType({}),
        bindings: Bindings | None = None,
        budgets: Budgets | None = None,
        limits: PlanLimits | None = None,
        reuse: Reuse | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._upstreams = Upstreams(upstreams, environ=environ, monotonic=monotonic, keys=keys)
        self._accounts = Accounts(store.record, prices, budgets)
        self._monotonic = monotonic
        self._running = Running()
        self._circuits = Circuits(self._upstreams.configured, monotonic=monotonic, now_ns=now_ns)
        bindings = Bindings(monotonic) if bindings is None else bindings
        limits = PlanLimits(now_ns) if limits is None else limits
        self._router = Router(
            self._upstreams,
            self._circuits,
            bindings,
            self._running,
            limits,
            monotonic=monotonic,
        )
        self._reuse = Reuse(config.Cache(), monotonic=monotonic) if reuse is None else reuse
        self._realms = {
            family: realm_of((each for each in upstreams if each.family == family), keys)
            for family in {each.family for each in upstreams}
        }

    @property
    def running(self) -> int:
        """Requests that wait for an upstream or receive its answer."""
        return len(self._running)

    def forward(self, call: Call) -> Answer:
        """Send a request on and return its answer as soon as the head is there.

        Errors of ours are answers too. The answer must be closed.
        """
        entry = Entry(call, self._accounts, self._monotonic)
        try:
            if self._running.stop_error is not None:
                raise self._running.stop_error
            if not call.target.startswith("/"):
                raise RequestError("target-invalid", "The request target is not a path")
            answer = self._reuse.answer(
                call,
                entry,
                realm=lambda: self._realm(call),
                fetch=lambda keep: self._fetch(call, entry, keep),
            )
        except AbandonedError:
            answer = self._abandoned(call, entry)
        except CcoError as error:
            answer = self._failed(call, entry, error)
        except BaseException:
            entry.status = 500
            entry.settle(partial=entry.may_have_used, error="internal")
            raise
        return replace(answer, headers=answer.headers + _own_fields(entry))

    def refuse(self, call: Call, error: CcoError, status: int) -> Answer:
        """Answer with an error of ours, and nothing more than a row comes of the request."""
        entry = Entry(call, self._accounts, self._monotonic)
        answer = self._failed(call, entry, error, status)
        return replace(answer, headers=answer.headers + _own_fields(entry))

    def reap(self) -> None:
        """Let go of what has rested too long; to be called now and then."""
        self._upstreams.reap()
        self._reuse.reap()

    def close(self) -> None:
        """Keep no connection from now on; answers under way go on to their end."""
        self._upstreams.close()

    def stop(self) -> None:
        """End the answers under way, each with an error that the client will try again after."""
        self._running.stop(Unavailable("daemon-stopping", "The daemon is stopping"))
        self.close()

    def upstream_states(self) -> list[dict[str, object]]:
        """Return how each configured upstream is, see `Circuits.states`."""
        return self._circuits.states()

    def cache_stats(self) -> dict[str, Any]:
        """Return the figures of ``GET /api/cache/stats``."""
        return self._reuse.stats()

    def clear_cache(self) -> Cleared:
        """Forget all answers that are kept."""
        return self._reuse.clear()

    def has_credential(self, session: SessionRef | None = None) -> bool:
        """Say whether requests without a credential get one here.

        Args:
            session: that they belong to; it may have brought an upstream of its own.
        """
        own = session.upstream if session else ""
        among = [self._upstreams.choose(own)] if own else self._upstreams.candidates
        return any(upstream.has_credential for upstream in among)

    def _realm(self, call: Call) -> str:
        """Return what requests must have in common to have one answer, besides themselves.

        What fields of its own a session's own upstream goes by is not known, so only requests of
        the same session are the same there.

        Raises:
            RequestError: the base URL that the session named cannot be used.
        """
        family = self._router.family(call)
        if call.session is not None and call.session.upstream:
            return f"{call.session.id} {family}"
        return self._realms[family]

    def _fetch(self, call: Call, entry: Entry, keep: Keep | None) -> Answer:
        """Send a request on and return its answer, without fields of our own."""
        exchange, head, _ = self._router.send(call, entry)
        return self._answer(call, entry, exchange, head, keep)

    def _answer(
        self, call: Call, entry: Entry, exchange: Exchange, head: Head, keep: Keep | None
    ) -> Answer:
        content_type = first(head.named, "content-type")
        coding = ", ".join(head.named.get("content-encoding", ()))
        entry.status = head.status
        entry.is_stream = is_event_stream(content_type)
        entry.upstream_request_id = first(head.named, "request-id")[:_MAX_ID_LENGTH]
        entry.may_have_used = entry.is_metered and 200 <= head.status < 300
        if entry.may_have_used or head.status >= 400:
            entry.fold = UsageFold(content_type, coding)
        headers = client_headers(head.fields, head.named, length=exchange.length)
        if keep is not None:
            keep.begin(head.status, head.reason, headers)
        if exchange.ended:  # there is no body, so the row comes before the head
            exchange.release()
            self._running.remove(exchange)
            entry.settle()
            return Answer(head.status, head.reason, headers, FixedBody())
        body = Relay(
            exchange,
            entry,
            can_append=entry.is_stream and not coding and exchange.length is None,
            stopping=lambda: self._running.stop_error,
            on_end=self._running.remove,
            client_fd=call.client_fd,
            keep=keep,
        )
        return Answer(head.status, head.reason, headers, body)

    def _abandoned(self, call: Call, entry: Entry) -> Answer:
        if self._running.stop_error is not None:
            return self._failed(call, entry, self._running.stop_error)
        entry.settle(partial=True)
        return Answer(CLIENT_GONE, "Client Closed Request", [], FixedBody())

    def _failed(
        self, call: Call, entry: Entry, error: CcoError, status: int | None = None
    ) -> Answer:
        """Answer with an error of ours; nothing of an answer has been sent yet."""
        entry.status = status or status_of(error)
        if entry.status >= 500:
            log.warning(
                "%s %s: %s", call.method, call.path, error.message, extra={"CODE": error.code}
            )
        entry.settle(partial=entry.may_have_used, error=error.code)
        data = render_body(error, call.request_id, status=entry.status)
        headers = error_headers(error, call.request_id, length=len(data), status=entry.status)
        body = FixedBody(b"" if call.method == "HEAD" else data)
        return Answer(entry.status, HTTPStatus(entry.status).phrase, headers, body)


def _own_fields(entry: Entry) -> Fields:
    fields = [("x-cco-cache", entry.cache), ("x-cco-request-id", entry.request_id)]
    if entry.upstream:
        fields.append(("x-cco-upstream", entry.upstream))
    return fields
