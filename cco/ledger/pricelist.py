# SPDX-License-Identifier: Apache-2.0
"""The price list: its format, read and checked.

Only :func:`load` touches the disk. Prices are read as decimals and kept as integers of
nano-dollars (10^-9 USD), or as fractions where one does not come out even; no binary float is
ever involved. The format, of which a user's file may hold any part (it is merged model by model
and key by key; a model that is new needs all five prices)::

    {"unit": "US dollars per million tokens", "asOf": "2026-11", "source": "...",
     "webSearchPerThousand": 10.0,
     "models": {"claude-x": {
        "input": 5.0, "output": 25.0, "cacheRead": 0.5, "cacheWrite5m": 6.25, "cacheWrite1h": 10.0,
        "longContext": {"aboveInputTokens": 200000, ... the five prices again ...},   # optional
        "speed": {"fast": 2.0}, "serviceTier": {"batch": 0.5},                        # optional
        "contextTokens": 1000000, "maxOutputTokens": 128000, "retiredOn": "2026-06-09"}}}

``longContext`` holds for the whole of a request whose input side (input, cache reads and writes)
is above its limit; null takes it away. ``speed`` and ``serviceTier`` multiply the price of all
tokens, not of searches; a value that is not listed changes nothing. The last three members are
information, no price.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from cco.errors import ConfigError

Rate: TypeAlias = int | Fraction
"""Nano-dollars for one token or search; or a factor."""

UNIT: Final = "US dollars per million tokens"

_PRICES: Final = ("input", "output", "cacheRead", "cacheWrite5m", "cacheWrite1h")
_MULTIPLIERS: Final = ("speed", "serviceTier")
_FACTS: Final = ("contextTokens", "maxOutputTokens", "retiredOn")
_MODEL_KEYS: Final = frozenset({*_PRICES, "longContext", *_MULTIPLIERS, *_FACTS})
_TIER_KEYS: Final = frozenset({*_PRICES, "aboveInputTokens"})
_TOP_KEYS: Final = frozenset({"unit", "asOf", "source", "webSearchPerThousand", "models"})

_MAX_NUMBER: Final = 1_000_000
_MAX_DECIMALS: Final = 12
"""Bounds of any number here: exact arithmetic on an absurd one would never end."""

_NANO_PER_TOKEN: Final = 1_000
"""A USD for a million tokens is 1 000 nano-dollars for each."""
_NANO_PER_SEARCH: Final = 1_000_000
"""A USD for a thousand searches is 1 000 000 nano-dollars for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Nano-dollars a token, by kind of token."""

    input: Rate
    output: Rate
    cache_read: Rate
    cache_write_5m: Rate
    cache_write_1h: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class LongContext:
    """The prices of a request that was given more than so many tokens."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What one model costs."""

    rates: Rates
    long_context: LongContext | None
    speed: Mapping[str, Rate]
    """Factors by reported speed."""
    service_tier: Mapping[str, Rate]
    """Factors by reported service tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """All models' prices."""

    models: Mapping[str, ModelPrice]
    web_search: Rate
    """Nano-dollars a search."""


def load(*paths: Path) -> PriceList:
    """Read price lists, each merged over those before it.

    Raises:
        ConfigError: a file can't be read or used; file and key are named.
    """
    entries: dict[str, dict[str, object]] = {}
    models: dict[str, ModelPrice] = {}
    web_search: Rate = 0
    for path in paths:
        top = _Section(path, "", _read(path), known=_TOP_KEYS)
        if top.members.get("unit", UNIT) != UNIT:
            top.refuse("unit", f'must be "{UNIT}"')
        if "webSearchPerThousand" in top.members:
            web_search = top.number("webSearchPerThousand", factor=_NANO_PER_SEARCH)
        listed = top.section("models")
        for model in listed.members:
            given = listed.section(model, known=_MODEL_KEYS)
            entries[model] = {**entries.get(model, {}), **given.members}
            models[model] = _model(_Section(path, given.place, entries[model]))
    return PriceList(models=models, web_search=web_search)


class _Section:
    """One JSON object of a file, and where it stands, for messages that name file and key."""

    def __init__(
        self, path: Path, place: str, value: object, *, known: Collection[str] | None = None
    ) -> None:
        self.path = path
        self.place = place
        if not isinstance(value, dict):
            self.refuse("", "must be an object")
        self.members: dict[str, object] = value
        for key in self.members:
            if known is not None and key not in known:
                self.refuse(key, f"is not known here; known are {', '.join(sorted(known))}")

    def refuse(self, key: str, why: str) -> NoReturn:
        name = ".".join(part for part in (self.place, key) if part) or "the file"
        raise _invalid(self.path, f"{name} {why}")

    def section(self, key: str, *, known: Collection[str] | None = None) -> "_Section":
        """Return an object within; one that is absent or null is empty."""
        place = f"{self.place}.{key}" if self.place else key
        value = self.members.get(key)
        return _Section(self.path, place, {} if value is None else value, known=known)

    def number(self, key: str, *, factor: int = 1) -> Rate:
        """Return a number times ``factor``, exactly."""
        value = self.members.get(key)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            self.refuse(key, "is missing" if value is None else "must be a number")
        if not 0 <= value <= _MAX_NUMBER:
            self.refuse(key, f"must lie between 0 and {_MAX_NUMBER}")
        exponent = Decimal(value).as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_MAX_DECIMALS:
            self.refuse(key, f"must have at most {_MAX_DECIMALS} decimals")
        exact = Fraction(value) * factor
        return exact.numerator if exact.denominator == 1 else exact


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
        document: object = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except OSError as error:
        raise ConfigError(
            "prices-unreadable",
            f"the price list {path} cannot be read: {error.strerror}",
            hint="Correct prices in the [ledger] section of the settings",
        ) from error
    except ValueError as error:
        raise _invalid(path, f"the file is not valid JSON: {error}") from error
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _invalid(path: Path, message: str) -> ConfigError:
    return ConfigError(
        "prices-invalid",
        f"{path}: {message}",
        hint="Correct the file, or prices in the [ledger] section of the settings",
    )


def _model(entry: _Section) -> ModelPrice:
    long_context = None
    if entry.members.get("longContext") is not None:
        tier = entry.section("longContext", known=_TIER_KEYS)
        above = tier.number("aboveInputTokens")
        if not isinstance(above, int):
            tier.refuse("aboveInputTokens", "must be a whole number")
        long_context = LongContext(above_input_tokens=above, rates=_rates(tier))
    return ModelPrice(
        rates=_rates(entry),
        long_context=long_context,
        speed=_multipliers(entry.section("speed")),
        service_tier=_multipliers(entry.section("serviceTier")),
    )


def _rates(entry: _Section) -> Rates:
    return Rates(
        input=entry.number("input", factor=_NANO_PER_TOKEN),
        output=entry.number("output", factor=_NANO_PER_TOKEN),
        cache_read=entry.number("cacheRead", factor=_NANO_PER_TOKEN),
        cache_write_5m=entry.number("cacheWrite5m", factor=_NANO_PER_TOKEN),
        cache_write_1h=entry.number("cacheWrite1h", factor=_NANO_PER_TOKEN),
    )


def _multipliers(entry: _Section) -> dict[str, Rate]:
    return {name: entry.number(name) for name in entry.members}
