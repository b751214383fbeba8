# SPDX-License-Identifier: Apache-2.0
"""Limits on money: requests are admitted while what is spent and what is reserved stay below.

At admission a request reserves what it may cost, by an estimate of our own:

    tokens in   = bytes of the body / 3, at the price of writing the prompt cache for five minutes
    tokens out  = the longest of the last `REMEMBERED` answers of its model (`FIRST_OUTPUT` until
                  there are `ENOUGH`), never more than its max_tokens, at the price of output

It settles with what it did cost. An estimate that is too high refuses nothing: a request that does
not fit beside the running ones waits until they have settled, and is refused only when the money is
really spent. Sums live in memory and are read from the ledger when first needed, so a crash forgets
reservations and nothing else.

Threading: all methods may be called from any thread; `admit` may wait.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from cco.config import Budget
from cco.errors import BudgetExceeded, StoreError, Unavailable
from cco.ledger.pots import Pot, Reservation, State
from cco.ledger.prices import Prices
from cco.ledger.store import Store
from cco.ledger.sums import Scope, total
from cco.ledger.usage import Usage

log = logging.getLogger(__name__)

BYTES_A_TOKEN: Final = 3
"""Fewer than text usually has, so the estimate is rather too high."""
FIRST_OUTPUT: Final = 32_000
"""What the client usually allows; too low a guess would let a whole crowd overspend."""
REMEMBERED: Final = 20
ENOUGH: Final = 3
"""The first answers of all are short: a probe, a title."""
WAIT_S: Final = 120.0
"""Longest wait for running requests to settle."""
LOOK_S: Final = 0.5
"""How often one who waits looks whether anybody wants the answer."""
MAX_POTS: Final = 256
"""Sums kept in memory; beyond that the oldest that nothing runs for are read anew when needed."""

REMEDY: Final = "raise it in [[budget]] and run 'cco daemon reload' to go on"


class Budgets:
    """The user's budgets.

    Args:
        store: what was spent before.
        now: local time; without a zone, so that days of 23 and 25 hours are right, or with
            one.
        wait_s: longest wait for running requests to settle.
    """

    def __init__(
        self, store: Store, *, now: Callable[[], datetime], wait_s: float = WAIT_S
    ) -> None:
        self._budgets: Sequence[Budget] = ()
        self._prices: Prices | None = None
        self._store = store
        self._now = now
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._pots: dict[tuple[str, str, str], Pot] = {}
        self._outputs: dict[str, deque[int]] = {}
        self._is_blind = False
        """The ledger could not be read, and that was told."""

    @property
    def are_set(self) -> bool:
        """Say whether there is any."""
        return bool(self._budgets)

    def configure(self, budgets: Sequence[Budget], prices: Prices) -> None:
        """Take over the settings; new limits hold at once, for requests that wait too."""
        with self._changed:
            self._budgets, self._prices = tuple(budgets), prices
            self._changed.notify_all()

    def admit(
        self,
        *,
        project: str,
        session: str,
        model: str,
        body_bytes: int,
        max_tokens: int,
        look: Callable[[], None] = lambda: None,
    ) -> Reservation:
        """Reserve what a request may cost; waits while it would fit once others have settled.

        Args:
            project: that the request belongs to, if any.
            session: the same.
            model: that is asked.
            body_bytes: of the request.
            max_tokens: of the answer; 0 if that is not said.
            look: called now and then while it waits; what it raises ends the waiting.

        Raises:
            BudgetExceeded: a budget that blocks is spent, named with what is spent and its limit.
            Unavailable: what is left has been reserved by others for too long; to be tried again.
        """
        if not self._budgets:
            return Reservation(0, model, (), self._settle)
        amount = self.estimate(model, body_bytes=body_bytes, max_tokens=max_tokens)
        with self._changed:
            self._forget()
            pots = self._pots_of(project=project, session=session)
            for pot in pots:
                pot.running += 1  # so that none is forgotten meanwhile
            try:
                self._wait_for_room(pots, look)
            except BaseException:
                for pot in pots:
                    pot.running -= 1
                raise
            for pot in pots:
                pot.reserved_nano += amount
        return Reservation(amount, model, pots, self._settle)

    def estimate(self, model: str, *, body_bytes: int, max_tokens: int) -> int:
        """Return what a request may cost, in nano-dollars; 0 where its model has no price."""
        prices = self._prices
        listed = prices.resolve(model) if prices else None
        if prices is None or listed is None:
            return 0
        seen = self._outputs.get(listed, ())
        output = max(seen) if len(seen) >= ENOUGH else FIRST_OUTPUT
        usage = Usage(
            cache_write_5m=body_bytes // BYTES_A_TOKEN,
            output=min(output, max_tokens) if max_tokens else output,
        )
        return prices.cost(listed, usage) or 0

    def states(self) -> list[State]:
        """Return how each budget in use stands, in the order of the settings.

        A budget of the day, or of a certain project, is always in use; of others, one that requests
        have been counted for.
        """
        with self._changed:
            self._forget()
            for budget in self._budgets:
                if budget.scope == "day":
                    self._pot(budget, self._today())
                elif budget.scope == "project" and budget.project:
                    self._pot(budget, budget.project)
            return self._states(list(self._pots.values()))

    def _states(self, pots: Sequence[Pot]) -> list[State]:
        return [
            State(position, budget, pot.key, pot.spent_nano, pot.reserved_nano)
            for position, budget in enumerate(self._budgets)
            for pot in pots
            if pot.counts_for(budget)
        ]

    def _blocking(self, pots: Sequence[Pot]) -> list[State]:
        return [state for state in self._states(pots) if state.budget.action == "block"]

    def _wait_for_room(self, pots: Sequence[Pot], look: Callable[[], None]) -> None:
        left_s = self._wait_s
        while not self._changed.wait_for(
            lambda: _is_decided(self._blocking(pots)), timeout=min(left_s, LOOK_S)
        ):
            left_s -= LOOK_S
            if left_s <= 0:
                break
            look()
        states = self._blocking(pots)
        for state in states:
            if state.is_spent:
                raise BudgetExceeded("budget-spent", f"{state.sentence()}; {REMEDY}")
        for state in states:
            if not state.has_room:
                raise Unavailable(
                    "budget-reserved",
                    f"what is left of the {state.budget.scope} budget is reserved by requests"
                    " that are still running",
                )

    def _pots_of(self, *, project: str, session: str) -> list[Pot]:
        keys = {"day": self._today(), "project": project, "session": session}
        found = [
            self._pot(budget, key)
            for budget in self._budgets
            # A request may belong to no project, or to no session.
            if budget.project in ("", project) and (key := keys[budget.scope])
        ]
        return list({id(pot): pot for pot in found if pot is not None}.values())

    def _pot(self, budget: Budget, key: str) -> Pot | None:
        """Return what is counted for a budget; None while the ledger cannot be read."""
        place = (budget.scope, budget.project, key)
        if place in self._pots:
            return self._pots[place]
        try:
            with self._store.reading() as connection:
                spent_nano = total(connection, self._scope(budget, key)).cost_nano
        except StoreError as error:  # requests go on
            if not self._is_blind:
                log.warning(
                    "the %s budget cannot be kept: %s",
                    budget.scope,
                    error.message,
                    extra={"CODE": error.code},
                )
            self._is_blind = True
            return None
        self._is_blind = False
        self._pots[place] = Pot(*place, spent_nano)
        return self._pots[place]

    def _scope(self, budget: Budget, key: str) -> Scope:
        if budget.scope == "project":
            return Scope(project=key)
        if budget.scope == "session":
            return Scope(session=key, project=budget.project or None)
        now = self._now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return Scope(
            project=budget.project or None, since_ns=int(midnight.timestamp()) * 1_000_000_000
        )

    def _today(self) -> str:
        return self._now().date().isoformat()

    def _forget(self) -> None:
        """Let go of what is over: days, and what is set no more; the oldest if they are many."""
        today = self._today()
        for place, pot in list(self._pots.items()):
            is_in_use = any(pot.counts_for(budget) for budget in self._budgets)
            is_over = not is_in_use or (pot.scope == "day" and pot.key != today)
            if not pot.running and (is_over or len(self._pots) >= MAX_POTS):
                del self._pots[place]

    def _settle(self, reservation: Reservation, cost_nano: int, output: int) -> None:
        with self._changed:
            if not reservation.is_open:
                return
            reservation.is_open = False
            listed = self._prices.resolve(reservation.model) if self._prices else None
            if output and listed is not None:
                self._outputs.setdefault(listed, deque(maxlen=REMEMBERED)).append(output)
            for pot in reservation.pots:
                pot.running -= 1
                pot.reserved_nano -= reservation.amount_nano
                pot.spent_nano += cost_nano
                for state in self._states([pot]):
                    if state.is_spent and state.budget not in pot.told:
                        pot.told.add(state.budget)
                        log.warning("%s", state.sentence(), extra={"CODE": "budget-spent"})
            self._changed.notify_all()


def _is_decided(states: Sequence[State]) -> bool:
    """Say whether a request fits now, or never will: running ones could not change that."""
    return any(state.is_spent for state in states) or all(state.has_room for state in states)
