# SPDX-License-Identifier: Apache-2.0
"""Reading price lists: exact, merged, and clear about what is wrong with them."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cco.errors import ConfigError
from cco.ledger.pricelist import PriceList, load
from cco.ledger.prices import BUILTIN

FIVE = {"input": 5, "output": 25, "cacheRead": 0.5, "cacheWrite5m": 6.25, "cacheWrite1h": 10}


def load_over(tmp_path: Path, document: object) -> PriceList:
    path = tmp_path / "mine.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return load(BUILTIN, path)


def test_builtin_list_comes_out_in_whole_nano_dollars() -> None:
    listed = load(BUILTIN)

    assert listed.web_search == 10_000_000
    assert listed.models["claude-haiku-5-5"].rates.cache_write_5m == 125
    for price in listed.models.values():
        tiers = [price.rates] + ([price.long_context.rates] if price.long_context else [])
        for rates in tiers:
            for name in rates.__slots__:
                assert isinstance(getattr(rates, name), int)


def test_price_that_does_not_come_out_even_is_kept_as_fraction(tmp_path: Path) -> None:
    listed = load_over(tmp_path, {"models": {"m": FIVE | {"input": 0.0001}}})

    assert listed.models["m"].rates.input == Fraction(1, 10)


def test_own_prices_are_merged_key_by_key(tmp_path: Path) -> None:
    before = load(BUILTIN).models["claude-haiku-5-5"]
    listed = load_over(tmp_path, {"models": {"claude-haiku-5-5": {"output": 2}}})
    after = listed.models["claude-haiku-5-5"]

    assert after.rates.output == 2000
    assert after.rates.input == before.rates.input
    assert after.long_context == before.long_context
    assert listed.models["claude-opus-5"] == load(BUILTIN).models["claude-opus-5"]
    assert listed.web_search == 10_000_000


def test_own_model_and_search_price_join(tmp_path: Path) -> None:
    listed = load_over(
        tmp_path,
        {
            "webSearchPerThousand": 3,
            "models": {"m": FIVE | {"speed": {"fast": 1.5}, "serviceTier": {"batch": 0.5}}},
        },
    )

    assert listed.web_search == 3_000_000
    assert listed.models["m"].speed == {"fast": Fraction(3, 2)}
    assert listed.models["m"].service_tier == {"batch": Fraction(1, 2)}


def test_long_context_can_be_taken_away(tmp_path: Path) -> None:
    listed = load_over(tmp_path, {"models": {"claude-haiku-5-5": {"longContext": None}}})

    assert listed.models["claude-haiku-5-5"].long_context is None


def models(entry: object) -> dict[str, Any]:
    return {"models": {"m": entry}}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "not valid JSON"),
        ("NaN", "NaN is no number"),
        ([], "the file must be an object"),
        ({"model": {}}, "model is not known here; known are asOf, models,"),
        ({"unit": "EUR"}, 'unit must be "US dollars per million tokens"'),
        ({"models": []}, "models must be an object"),
        ({"webSearchPerThousand": -1}, "webSearchPerThousand must lie between 0 and 1000000"),
        (models(7), "models.m must be an object"),
        (models({"input": 5}), "models.m.output is missing"),
        (models(FIVE | {"inputs": 5}), "models.m.inputs is not known here"),
        (models(FIVE | {"input": "5"}), "models.m.input must be a number"),
        (models(FIVE | {"input": True}), "models.m.input must be a number"),
        (models(FIVE | {"input": -0.5}), "models.m.input must lie between"),
        (models(FIVE | {"input": 1e30}), "models.m.input must lie between"),
        (models(FIVE | {"input": 1e-13}), "models.m.input must have at most 12 decimals"),
        ('{"models": {"m": {"input": 1e-999999999}}}', "must have at most 12 decimals"),
        (models(FIVE | {"longContext": 5}), "models.m.longContext must be an object"),
        (models(FIVE | {"longContext": FIVE}), "models.m.longContext.aboveInputTokens is missing"),
        (
            models(FIVE | {"longContext": {"aboveInputTokens": 9}}),
            "models.m.longContext.input is missing",
        ),
        (
            models(FIVE | {"longContext": FIVE | {"aboveInputTokens": 0.5}}),
            "models.m.longContext.aboveInputTokens must be a whole number",
        ),
        (
            models(FIVE | {"longContext": FIVE | {"above": 1}}),
            "models.m.longContext.above is not known here",
        ),
        (models(FIVE | {"speed": {"fast": "x"}}), "models.m.speed.fast must be a number"),
        (models(FIVE | {"speed": 2}), "models.m.speed must be an object"),
    ],
)
def test_error_names_file_and_key(tmp_path: Path, document: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_over(tmp_path, document)

    assert caught.value.code == "prices-invalid"
    assert caught.value.message.startswith(f"{tmp_path / 'mine.json'}: ")
    assert says in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_unreadable_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(BUILTIN, tmp_path / name)

    assert caught.value.code == "prices-unreadable"
    assert str(tmp_path / name) in caught.value.message


def test_file_that_is_not_text_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xff\xfe{}")

    with pytest.raises(ConfigError) as caught:
        load(BUILTIN, path)

    assert caught.value.code == "prices-invalid"
