# SPDX-License-Identifier: Apache-2.0
"""What is told about budgets."""

import pytest

from cco.config import Budget
from cco.ledger.pots import NANO, Pot, State, money


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (20 * NANO, "$20.00"),
        (1_234_567_890, "$1.23"),
        (NANO // 10, "$0.10"),
        (10_000_000, "$0.01"),
        # what cents would hide
        (4_000_000, "$0.004"),
        (99_999_999, "$0.099999999"),
        (1, "$0.000000001"),
    ],
)
def test_money_is_told_in_cents_or_finer(nano: int, text: str) -> None:
    assert money(nano) == text


@pytest.mark.parametrize(
    ("budget", "key", "sentence"),
    [
        (Budget(usd=1.0), "2026-11-22", "the day budget of $1.00 is spent: $1.25 so far"),
        (
            Budget(usd=1.0, project="/p"),
            "2026-11-22",
            "the day budget for /p of $1.00 is spent: $1.25 so far",
        ),
        (
            Budget(scope="project", usd=1.0),
            "/q",
            "the project budget for /q of $1.00 is spent: $1.25 so far",
        ),
        (
            Budget(scope="session", usd=0.005),
            "0123",
            "the session budget of $0.005 is spent: $1.25 so far",
        ),
    ],
)
def test_sentence_names_budget_limit_and_spent(budget: Budget, key: str, sentence: str) -> None:
    assert State(0, budget, key, 5 * NANO // 4, 0).sentence() == sentence


@pytest.mark.parametrize(
    ("spent", "reserved", "is_spent", "has_room"),
    [
        (0, 0, False, True),
        (0, NANO, False, False),
        (NANO - 1, 0, False, True),
        (NANO, 0, True, False),
        (2 * NANO, 0, True, False),
    ],
)
def test_room_is_what_is_neither_spent_nor_reserved(
    spent: int, reserved: int, *, is_spent: bool, has_room: bool
) -> None:
    state = State(0, Budget(usd=1.0), "", spent, reserved)
    assert (state.is_spent, state.has_room) == (is_spent, has_room)


def test_pot_is_that_of_scope_and_project() -> None:
    pot = Pot("day", "/p", "2026-11-22", 0)

    assert pot.counts_for(Budget(scope="day", project="/p", usd=7.0, action="warn"))
    assert not pot.counts_for(Budget(scope="day"))
    assert not pot.counts_for(Budget(scope="session", project="/p"))
