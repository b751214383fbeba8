# SPDX-License-Identifier: Apache-2.0
"""What budgets count: one pot for each day, project or session, whatever its limits are.

Pure. Amounts are whole nano-dollars.

Threading: whoever owns a pot holds a lock around every use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cco.config import Budget

NANO: Final = 1_000_000_000


@dataclass(slots=True)
class Pot:
    """The money of one day, project or session."""

    scope: str
    """``day``, ``project`` or ``session``."""
    project: str
    """The only one that is counted; empty for all."""
    key: str
    """The day, project or session."""
    spent_nano: int
    reserved_nano: int = 0
    running: int = 0
    """Requests that have a share in it reserved, be it nothing, or wait for one."""
    told: set[Budget] = field(default_factory=set)
    """Budgets of which it was told that they are spent."""

    def counts_for(self, budget: Budget) -> bool:
        """Say whether it is this budget's."""
        return (self.scope, self.project) == (budget.scope, budget.project)


class State(NamedTuple):
    """How a budget stands for one day, project or session."""

    position: int
    """Of the budget in the settings, from 0."""
    budget: Budget
    key: str
    """The day, project or session."""
    spent_nano: int
    reserved_nano: int

    @property
    def limit_nano(self) -> int:
        """The limit."""
        return round(self.budget.usd * NANO)

    @property
    def is_spent(self) -> bool:
        """Say whether nothing is left."""
        return self.spent_nano >= self.limit_nano

    @property
    def has_room(self) -> bool:
        """Say whether something is left beside what is reserved."""
        return self.spent_nano + self.reserved_nano < self.limit_nano

    def sentence(self) -> str:
        """Return what to tell once it is spent: budget, limit, spent."""
        project = self.key if self.budget.scope == "project" else self.budget.project
        whose = f" for {project}" if project else ""
        return (
            f"the {self.budget.scope} budget{whose} of {money(self.limit_nano)} is spent:"
            f" {money(self.spent_nano)} so far"
        )


@dataclass(slots=True)
class Reservation:
    """Money set aside for one running request; settle it once, in any case."""

    amount_nano: int
    model: str
    pots: Sequence[Pot]
    _on_settle: Callable[["Reservation", int, int], None]
    is_open: bool = True

    def settle(self, cost_nano: int, *, output: int = 0) -> None:
        """Give the reserve back and count what the request did cost; later calls do nothing.

        Args:
            cost_nano: 0 where it cost nothing, or nobody knows.
            output: tokens of the answer, 0 where there was none.
        """
        self._on_settle(self, cost_nano, output)


def money(nano: int) -> str:
    """Return an amount in USD: whole cents, but for amounts that they would hide."""
    if nano >= NANO // 10 or nano % (NANO // 100) == 0:
        return f"${nano / NANO:.2f}"
    return f"${nano / NANO:.9f}".rstrip("0")
