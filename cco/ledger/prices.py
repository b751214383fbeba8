# SPDX-License-Identifier: Apache-2.0
"""What usage costs, exactly.

Pure but for :meth:`Prices.load`. A request is summed in whole nano-dollars (10^-9 USD); where a
price or a factor does not come out even, in fractions, and rounded once at the end: to the
nearest nano-dollar, half to even. A model without a price has none: it is never free.
"""

from pathlib import Path
from typing import Final, Self

from cco.ledger import pricelist
from cco.ledger.models import aliases, spellings
from cco.ledger.pricelist import ModelPrice, PriceList, Rate, Rates
from cco.ledger.usage import Usage

BUILTIN: Final = Path(__file__).with_name("data") / "prices.json"


class Prices:
    """Prices of all known models; immutable, so any thread may use it."""

    def __init__(self, listed: PriceList) -> None:
        self._listed = listed
        self._aliases = aliases(listed.models)

    @classmethod
    def load(cls, override: Path | None = None) -> Self:
        """Read our price list, and the user's over it.

        Raises:
            ConfigError: the user's can't be read or used; file and key are named.
        """
        return cls(pricelist.load(*filter(None, (BUILTIN, override))))

    def resolve(self, model: str) -> str | None:
        """Return the id under which a model is listed, or None for an unknown one."""
        return next((self._aliases[s] for s in spellings(model) if s in self._aliases), None)

    def cost(self, model: str, usage: Usage) -> int | None:
        """Return the cost of a request in nano-dollars, or None for an unknown model."""
        price = self._find(model)
        if price is None:
            return None
        rates = _rates(price, usage)
        tokens = (
            usage.input * rates.input
            + usage.output * rates.output
            + usage.cache_read * rates.cache_read
            + usage.cache_write_5m * rates.cache_write_5m
            + usage.cache_write_1h * rates.cache_write_1h
        )
        return round(tokens * _factor(price, usage) + usage.web_searches * self._listed.web_search)

    def charge(self, *, asked: str, answered: str, usage: Usage) -> tuple[str, int | None]:
        """Return the model that a request is priced by, and its cost as `cost` gives it.

        It is the model asked for, unless the upstream says that it answered with one of another
        price, or none was named.
        """
        cost, answered_cost = self.cost(asked, usage), self.cost(answered, usage)
        if not asked or (answered_cost is not None and answered_cost != cost):
            return answered, answered_cost
        return asked, cost

    def prompt_saving(self, model: str, usage: Usage) -> int:
        """Return what the provider's prompt cache saved on a request, in nano-dollars.

        That is what the tokens read from it would have cost as input, less what they did cost,
        and nothing else: what it cost to write them, then or now, is not taken off. Zero for an
        unknown model.
        """
        price = self._find(model)
        if price is None:
            return 0
        rates = _rates(price, usage)
        return round(usage.cache_read * (rates.input - rates.cache_read) * _factor(price, usage))

    def _find(self, model: str) -> ModelPrice | None:
        listed = self.resolve(model)
        return None if listed is None else self._listed.models[listed]


def _rates(price: ModelPrice, usage: Usage) -> Rates:
    tier = price.long_context
    return tier.rates if tier and usage.input_side > tier.above_input_tokens else price.rates


def _factor(price: ModelPrice, usage: Usage) -> Rate:
    return price.speed.get(usage.speed, 1) * price.service_tier.get(usage.service_tier, 1)
