# SPDX-License-Identifier: Apache-2.0
"""Costs to the nano-dollar."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import cco
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage

DATA = Path(__file__).parents[2] / "data" / "ledger"
GOLDEN: list[dict[str, Any]] = json.loads((DATA / "prices.json").read_text())
PRICES = Prices.load()


def by_hand(formula: str) -> Decimal:
    """Work out ``count*price + ...``, prices in USD a million, as nano-dollars."""
    products = (term.split("*") for term in formula.split(" + "))
    return sum((Decimal(count) * Decimal(price) for count, price in products), Decimal()) * 1000


def test_golden_table_is_as_large_as_promised() -> None:
    assert len(GOLDEN) >= 60
    assert len({case["case"] for case in GOLDEN}) == len(GOLDEN)


@pytest.mark.parametrize("case", GOLDEN, ids=[case["case"] for case in GOLDEN])
def test_golden_case_costs_what_the_table_says(case: dict[str, Any]) -> None:
    if case["formula"] is not None:
        assert by_hand(case["formula"]) == case["nano"]

    assert PRICES.cost(case["model"], Usage.from_mapping(case["usage"])) == case["nano"]


def test_every_listed_model_resolves_to_itself() -> None:
    listed = json.loads((Path(cco.__file__).parent / "ledger/data/prices.json").read_text())

    for model in listed["models"]:
        assert PRICES.resolve(model) == model
        assert PRICES.resolve(f"anthropic/{model}[1m]") == model


def own_prices(tmp_path: Path, entry: dict[str, Any]) -> Prices:
    five = dict.fromkeys(("input", "output", "cacheRead", "cacheWrite5m", "cacheWrite1h"), 0)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"models": {"m": five | entry}}))
    return Prices.load(path)


@pytest.mark.parametrize(
    ("tokens", "nano"),
    # 0.0005 USD a million is half a nano-dollar each: rounded once, half to even
    [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (7, 4), (1_000_001, 500_000)],
)
def test_uneven_price_is_rounded_once_half_to_even(tmp_path: Path, tokens: int, nano: int) -> None:
    prices = own_prices(tmp_path, {"input": 0.0005})

    assert prices.cost("m", Usage(input=tokens)) == nano


def test_uneven_parts_are_summed_before_rounding(tmp_path: Path) -> None:
    prices = own_prices(tmp_path, {"input": 0.0004, "output": 0.0003})

    # 0.4 + 0.3 nano-dollars: each alone would round to nothing
    assert prices.cost("m", Usage(input=1, output=1)) == 1


def test_service_tier_of_the_list_multiplies_tokens_only(tmp_path: Path) -> None:
    prices = own_prices(tmp_path, {"input": 3, "serviceTier": {"batch": 0.5}})
    usage = Usage(input=100, web_searches=1, service_tier="batch")

    assert prices.cost("m", usage) == 150_000 + 10_000_000


def test_speed_and_tier_multiply_each_other(tmp_path: Path) -> None:
    prices = own_prices(
        tmp_path, {"output": 1, "speed": {"fast": 3}, "serviceTier": {"batch": 0.5}}
    )

    assert prices.cost("m", Usage(output=2, speed="fast", service_tier="batch")) == 3_000


@pytest.mark.parametrize(
    ("model", "usage", "nano"),
    [
        # 1 000 tokens read: 5 USD a million as input, 0.5 as read
        ("claude-opus-4-8", Usage(cache_read=1000, input=7, cache_write_1h=9), 4_500_000),
        ("claude-opus-4-8", Usage(cache_read=1000, speed="fast"), 9_000_000),
        # above the limit: 0.5 less 0.05
        ("claude-haiku-5-5", Usage(cache_read=100_001), 45_000_450),
        ("claude-opus-4-8", Usage(input=1000), 0),
        ("unheard-of", Usage(cache_read=1000), 0),
    ],
)
def test_prompt_saving_is_input_price_less_read_price(model: str, usage: Usage, nano: int) -> None:
    assert PRICES.prompt_saving(model, usage) == nano


@pytest.mark.parametrize(
    ("asked", "answered", "model", "nano"),
    [
        ("claude-opus-4-8", "claude-opus-4-8", "claude-opus-4-8", 5000),
        ("claude-opus-4-8", "claude-haiku-4-5", "claude-haiku-4-5", 1000),
        ("claude-opus-4-8", "", "claude-opus-4-8", 5000),
        ("claude-opus-4-8", "nobody", "claude-opus-4-8", 5000),
        ("", "claude-haiku-4-5", "claude-haiku-4-5", 1000),
        ("nobody", "claude-haiku-4-5", "claude-haiku-4-5", 1000),
        ("nobody", "", "nobody", None),
    ],
)
def test_request_is_charged_by_the_model_that_answered(
    asked: str, answered: str, model: str, nano: int | None
) -> None:
    found = PRICES.charge(asked=asked, answered=answered, usage=Usage(input=1))
    assert found == (model, nano)
