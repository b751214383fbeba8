# SPDX-License-Identifier: Apache-2.0
"""The ledger's row of one request, filled while the request runs and written once.

The row is durable before the client has the whole answer: what completes the answer is held back
until the ledger has committed. A ledger that cannot write delays nobody for long: one answer
waits `MAX_WAIT_S`, and none after it until the ledger has caught up.
"""

import logging
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Final

from cco.gateway.call import Call
from cco.gateway.fold import UsageFold
from cco.gateway.requested import requested_max_tokens, requested_model
from cco.ledger.budgets import Budgets
from cco.ledger.pots import Reservation
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.usage import Usage

log = logging.getLogger(__name__)

MAX_WAIT_S: Final = 3.0

METERED_PATH: Final = "/v1/messages"
"""The one path whose answers cost money."""

_MAX_PATH_LENGTH: Final = 256


class Accounts:
    """Where rows are written and priced, and money is reserved."""

    def __init__(
        self,
        record: Callable[[RequestRow], Future[None]],
        prices: Prices,
        budgets: Budgets | None = None,
    ) -> None:
        self.prices: Final = prices
        self.budgets: Final = budgets
        self._record = record
        self._stalled: Future[None] | None = None
        """The row that was waited for in vain."""

    def write(self, row: RequestRow) -> None:
        """Record a row and wait until it is durable, within bounds."""
        written = self._record(row)
        if self._stalled is not None and not self._stalled.done():
            return
        try:
            error = written.exception(MAX_WAIT_S)
        except (TimeoutError, CancelledError):
            self._stalled = written
            log.warning("the ledger does not keep up; answers go on without waiting for it")
        else:
            if error is not None:
                log.warning("a request could not be recorded: %s", error)


class Entry:
    """What is known of one request so far.

    Args:
        call: the request.
        accounts: where the row goes.
        monotonic: the clock.
    """

    def __init__(self, call: Call, accounts: Accounts, monotonic: Callable[[], float]) -> None:
        self.upstream = ""
        self.attempts = 0
        self.model = ""
        """As the request names it."""
        self.cache = "bypass"
        self.status = 0
        """As the client gets it; 0 while it got none."""
        self.is_stream = False
        self.upstream_request_id = ""
        self.may_have_used = False
        """The upstream may have worked, and will want its money."""
        self.saved_nano = 0
        """What the answer would have cost, had another request not paid for it."""
        self.fold: UsageFold | None = None
        self.row: RequestRow | None = None
        """As it was written; None before that."""
        self._reservation: Reservation | None = None
        self._call = call
        self._accounts = accounts
        self._monotonic = monotonic
        self._started = monotonic()
        self._ttft_ms: float | None = None
        self._response_bytes = 0
        self._is_settled = False

    @property
    def request_id(self) -> str:
        """Our id of the request."""
        return self._call.request_id

    @property
    def is_metered(self) -> bool:
        """Say whether the upstream takes money for such a request."""
        return self._call.path == METERED_PATH and self._call.method == "POST"

    def admit(self, look: Callable[[], None]) -> None:
        """Reserve what the request may cost, which may take its time.

        Args:
            look: called now and then meanwhile, and at the end; what it raises ends the request.

        Raises:
            BudgetExceeded: a budget is spent.
            Unavailable: what is left is reserved for others.
        """
        budgets = self._accounts.budgets
        if budgets is None or not budgets.are_set or not self.is_metered:
            return
        session = self._call.session
        self._reservation = budgets.admit(
            project=session.project if session else "",
            session=session.id if session else "",
            model=requested_model(self._call.body),
            body_bytes=len(self._call.body),
            max_tokens=requested_max_tokens(self._call.body),
            look=look,
        )
        look()

    def add(self, data: bytes) -> bool:
        """Take note of bytes of the answer; say whether they complete it."""
        if self._ttft_ms is None:
            self._ttft_ms = self._elapsed_ms()
        self._response_bytes += len(data)
        return self.overhear(data)

    def overhear(self, data: bytes) -> bool:
        """Take note of bytes of the answer that nobody gets; say whether they complete it."""
        if self.fold is None:
            return False
        self.fold.feed(data)
        return self.fold.complete

    def settle(self, *, partial: bool = False, error: str = "") -> None:
        """Write the row; nothing that happens afterwards changes it.

        Args:
            partial: the answer ended before it was whole.
            error: code of our own error; empty takes the type that the upstream named, if any.
        """
        if self._is_settled:
            return
        self._is_settled = True
        try:
            if self.fold is not None:
                self.fold.finish()
                error = error or self.fold.error
                partial = partial or self._lacks_end(self.fold)
            self.row = self._priced(self._row(partial=partial, error=error))
            self._accounts.write(self.row)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        """Count what the request did cost in place of what was reserved."""
        if self._reservation is not None:
            cost, output = (self.row.cost_nano, self.row.usage.output) if self.row else (0, 0)
            self._reservation.settle(cost, output=output)

    def _row(self, *, partial: bool, error: str) -> RequestRow:
        """Return the row but for what was used."""
        call = self._call
        return RequestRow(
            request_id=call.request_id,
            started_ns=call.started_ns,
            session_id=call.session.id if call.session else "",
            client_session=call.agent.client_session,
            project=call.session.project if call.session else "",
            agent_id=call.agent.agent_id,
            agent=call.agent.agent,
            parent_agent_id=call.agent.parent_agent_id,
            parent_agent=call.agent.parent_agent,
            model=self.model or requested_model(call.body),
            method=call.method,
            path=call.path[:_MAX_PATH_LENGTH],
            upstream=self.upstream,
            attempts=self.attempts,
            status=self.status,
            error=error,
            cache=self.cache,
            stream=self.is_stream,
            partial=partial,
            saved_nano=self.saved_nano,
            latency_ms=self._elapsed_ms(),
            ttft_ms=self._ttft_ms,
            request_bytes=len(call.body),
            response_bytes=self._response_bytes,
            upstream_request_id=self.upstream_request_id,
        )

    def _lacks_end(self, fold: UsageFold) -> bool:
        return self.is_stream and fold.is_readable and not fold.complete

    def _priced(self, row: RequestRow) -> RequestRow:
        """Return the row with usage and cost; usage that nobody told is not priced."""
        if not self.may_have_used:
            return row
        fold = self.fold
        if fold is None or not fold.known:
            usage = Usage() if row.partial else Usage(flawed=True)
            return replace(row, usage=usage, priced=False)
        prices = self._accounts.prices
        model, cost = prices.charge(asked=row.model, answered=fold.model, usage=fold.usage)
        return replace(
            row,
            model=model,
            usage=fold.usage,
            priced=cost is not None,
            cost_nano=cost or 0,
            prompt_saved_nano=prices.prompt_saving(model, fold.usage),
        )

    def _elapsed_ms(self) -> float:
        return (self._monotonic() - self._started) * 1000
