# SPDX-License-Identifier: Apache-2.0
"""Limits on money: requests are admitted while what is spent and what is reserved stay below.

At admission a request reserves what it may cost, by an estimate of our own:

    tokens in   = bytes of the body / 3, at the price of writing the prompt cache for five minutes
    tokens out  = the longest of the last `REMEMBERED` answers of its model (`FIRST_OUTPUT` while
                  there is none), never more than its max_tokens, at the price of output

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
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cco.config import Budget
from cco.errors import BudgetExceeded, StoreError
from cco.ledger.prices import Prices
from cco.ledger.store import Store
from cco.ledger.sums import Scope, total
from cco.ledger.usage import Usage

log = logging.getLogger(__name__)

BYTES_A_TOKEN: Final = 3
"""Fewer than text usually has, so the estimate is rather too high."""
FIRST_OUTPUT: Final = 1024
REMEMBERED: Final = 20
WAIT_S: Final = 120.0
"""Longest wait for running requests to settle."""

_NANO: Final = 1_000_000_000


@dataclass(slots=True)
class _Pot:
    """One budget's money for one day, project or session."""

    budget: Budget
    name: str
    """As a sentence names it: ``day``, ``project /home/me/x``."""
    spent_nano: int
    reserved_nano: int = 0
    is_warned: bool = False

    @property
    def limit_nano(self) -> int:
        return round(self.budget.usd * _NANO)


@dataclass(slots=True)
class Reservation:
    """Money set aside for one running request; settle it once, in any case."""

    amount_nano: int
    model: str
    pots: Sequence[_Pot]
    _on_settle: Callable[["Reservation", int, int], None]
    is_open: bool = True

    def settle(self, cost_nano: int, *, output: int = 0) -> None:
        """Give the reserve back and count what the request did cost; later calls do nothing.

        Args:
            cost_nano: 0 where it cost nothing, or nobody knows.
            output: tokens of the answer, 0 where there was none.
        """
        self._on_settle(self, cost_nano, output)


class Budgets:
    """The user's budgets.

    Args:
        store: what was spent before.
        now: local time, with its zone.
    """

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        self._budgets: Sequence[Budget] = ()
        self._prices: Prices | None = None
        self._store = store
        self._now = now
        self._changed = threading.Condition()
        self._pots: dict[tuple[Budget, str], _Pot] = {}
        self._outputs: dict[str, deque[int]] = {}

    def configure(self, budgets: Sequence[Budget], prices: Prices) -> None:
        """Take over the settings; what runs keeps its reserve, and counts where it did."""
        with self._changed:
            self._budgets, self._prices = budgets, prices
            self._changed.notify_all()

    def admit(
        self, *, project: str, session: str, model: str, body_bytes: int, max_tokens: int
    ) -> Reservation:
        """Reserve what a request may cost; waits while it would fit once others have settled.

        Raises:
            BudgetExceeded: a budget that blocks is spent, named with what is spent and its limit.
        """
        if not self._budgets:
            return Reservation(0, model, (), self._settle)
        amount = self.estimate(model, body_bytes=body_bytes, max_tokens=max_tokens)
        with self._changed:
            pots = self._pots_of(project=project, session=session)
            blocking = [pot for pot in pots if pot.budget.action == "block"]
            self._changed.wait_for(lambda: _is_decided(blocking), timeout=WAIT_S)
            for pot in blocking:
                if pot.spent_nano + pot.reserved_nano >= pot.limit_nano:
                    raise _refusal(pot)
            for pot in pots:
                pot.reserved_nano += amount
        return Reservation(amount, model, pots, self._settle)

    def estimate(self, model: str, *, body_bytes: int, max_tokens: int) -> int:
        """Return what a request may cost, in nano-dollars; 0 where its model has no price."""
        seen = self._outputs.get(model)
        output = max(seen) if seen else FIRST_OUTPUT
        usage = Usage(
            cache_write_5m=body_bytes // BYTES_A_TOKEN,
            output=min(output, max_tokens) if max_tokens else output,
        )
        return (self._prices.cost(model, usage) or 0) if self._prices else 0

    def states(self) -> list[tuple[str, int, int, str]]:
        """Return name, spent and limit in nano-dollars, and action of each budget in use."""
        with self._changed:
            return [
                (pot.name, pot.spent_nano, pot.limit_nano, pot.budget.action)
                for pot in self._pots.values()
            ]

    def _pots_of(self, *, project: str, session: str) -> list[_Pot]:
        now = self._now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        found: list[_Pot] = []
        for budget in self._budgets:
            if budget.project not in ("", project):
                continue
            key, name, scope = {
                "day": (
                    midnight.date().isoformat(),
                    "day",
                    Scope(
                        project=budget.project or None,
                        since_ns=int(midnight.timestamp()) * _NANO,
                    ),
                ),
                "project": (project, f"project {project}", Scope(project=project)),
                "session": (session, "session", Scope(session=session)),
            }[budget.scope]
            if budget.scope != "day" and not key:
                continue  # a request that belongs to no project, or no session
            if pot := self._pots.get((budget, key)) or self._open(budget, key, name, scope):
                found.append(pot)
        return found

    def _open(self, budget: Budget, key: str, name: str, scope: Scope) -> _Pot | None:
        """Begin to count for a budget; None while the ledger cannot be read: requests go on."""
        try:
            with self._store.reading() as connection:
                spent_nano = total(connection, scope).cost_nano
        except StoreError as error:
            log.warning("the %s budget cannot be kept: %s", name, error.message)
            return None
        pot = self._pots[budget, key] = _Pot(budget, name, spent_nano)
        return pot

    def _settle(self, reservation: Reservation, cost_nano: int, output: int) -> None:
        with self._changed:
            if not reservation.is_open:
                return
            reservation.is_open = False
            if output:
                seen = self._outputs.setdefault(reservation.model, deque(maxlen=REMEMBERED))
                seen.append(output)
            for pot in reservation.pots:
                pot.reserved_nano -= reservation.amount_nano
                pot.spent_nano += cost_nano
                if pot.spent_nano >= pot.limit_nano and not pot.is_warned:
                    pot.is_warned = True
                    log.warning("%s", _sentence(pot))
            self._changed.notify_all()


def _is_decided(pots: Sequence[_Pot]) -> bool:
    """Say whether a request fits now, or never will: running ones could not change that."""
    return any(pot.spent_nano >= pot.limit_nano for pot in pots) or all(
        pot.spent_nano + pot.reserved_nano < pot.limit_nano for pot in pots
    )


def _sentence(pot: _Pot) -> str:
    return (
        f"the {pot.name} budget of ${pot.limit_nano / _NANO:.2f} is spent:"
        f" ${pot.spent_nano / _NANO:.2f} so far"
    )


def _refusal(pot: _Pot) -> BudgetExceeded:
    return BudgetExceeded(
        "budget-spent", _sentence(pot), hint="Raise it in [[budget]] and run: cco daemon reload"
    )
