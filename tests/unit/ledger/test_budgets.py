# SPDX-License-Identifier: Apache-2.0
"""Budgets: nothing is refused that would have fitted, little is let through that does not."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cco.config import Budget
from cco.errors import BudgetExceeded
from cco.ledger.budgets import Budgets, Reservation
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store

ExpectLog = Callable[[str], None]

NANO = 1_000_000_000
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as opened:
        yield opened


def make(store: Store, *budgets: Budget, now: datetime = NOON) -> Budgets:
    made = Budgets(store, now=lambda: now)
    made.configure(budgets, Prices.load())
    return made


def spend(store: Store, usd: float, *, name: str = "r", when: datetime = NOON, **more: str) -> None:
    row = RequestRow(
        request_id=name,
        started_ns=int(when.timestamp()) * NANO,
        cost_nano=round(usd * NANO),
        **more,  # type: ignore[arg-type]  # texts only
    )
    store.record(row).result()


def ask(
    budgets: Budgets, *, project: str = "/p", session: str = "s", body_bytes: int = 3000
) -> Reservation:
    return budgets.admit(
        project=project, session=session, model=MODEL, body_bytes=body_bytes, max_tokens=100
    )


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        (Budget(scope="day", usd=1.0), False),
        (Budget(scope="day", usd=1.01), True),
        (Budget(scope="day", usd=1.0, project="/other"), True),  # not this project's
        (Budget(scope="day", usd=1.0, action="warn"), True),
        (Budget(scope="project", usd=0.9), False),
        (Budget(scope="session", usd=0.5), False),
        (Budget(scope="session", usd=0.6), True),
    ],
)
def test_what_was_spent_before_counts(
    store: Store, expect_log: ExpectLog, budget: Budget, *, allowed: bool
) -> None:
    if budget.action == "warn":
        expect_log("budget of")
    spend(store, 0.5, name="a", project="/p", session_id="s")
    spend(store, 0.5, name="b", project="/p", session_id="another")
    budgets = make(store, budget)
    if allowed:
        ask(budgets).settle(0)
        return
    with pytest.raises(BudgetExceeded) as caught:
        ask(budgets)
    assert caught.value.code == "budget-spent"
    assert f"of ${budget.usd:.2f} is spent" in caught.value.message


def test_a_day_begins_anew(store: Store) -> None:
    spend(store, 5, when=datetime(2026, 11, 21, 23, 59, tzinfo=UTC))

    ask(make(store, Budget(scope="day", usd=1.0))).settle(0)


def test_fifty_at_once_on_one_dollar_spend_one_dollar(store: Store, expect_log: ExpectLog) -> None:
    """Each costs 0.10: ten are answered, forty refused, and none of the ten before its time."""
    expect_log("budget")
    budgets = make(store, Budget(scope="day", usd=1.0))
    answered, refused = [], []

    def run(number: int) -> None:
        try:
            # The estimate is about 0.11: the last ones wait for the running to settle.
            reservation = ask(budgets, body_bytes=88_000)
        except BudgetExceeded:
            refused.append(number)
        else:
            reservation.settle(NANO // 10, output=10)
            answered.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answered) in (10, 11)
    assert len(refused) == 50 - len(answered)


def test_estimate_that_is_far_too_high_refuses_nothing_that_fits(
    store: Store, expect_log: ExpectLog
) -> None:
    expect_log("budget")
    budgets = make(store, Budget(scope="day", usd=1.0))
    for _ in range(10):
        ask(budgets, body_bytes=700_000).settle(NANO // 10)  # reserves 0.88

    with pytest.raises(BudgetExceeded):
        ask(budgets)


def test_request_waits_for_running_ones_and_then_goes_on(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=1.0))
    first = ask(budgets, body_bytes=900_000)  # more than all of it
    admitted = threading.Event()

    def second() -> None:
        ask(budgets).settle(0)
        admitted.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not admitted.wait(0.05)
    first.settle(0)
    thread.join()

    assert admitted.is_set()


def test_settling_twice_counts_once(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=1.0))
    reservation = ask(budgets)
    reservation.settle(NANO // 2)
    reservation.settle(NANO // 2)

    assert [(spent, limit) for _, spent, limit, _ in budgets.states()] == [(NANO // 2, NANO)]


def test_estimate_learns_from_answers(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=100.0))
    before = budgets.estimate(MODEL, body_bytes=0, max_tokens=0)
    ask(budgets).settle(0, output=4000)

    assert budgets.estimate(MODEL, body_bytes=0, max_tokens=0) > before
    # 4000 tokens at 15 USD a million; max_tokens bounds it.
    assert budgets.estimate(MODEL, body_bytes=0, max_tokens=0) == 4000 * 15_000
    assert budgets.estimate(MODEL, body_bytes=0, max_tokens=10) == 10 * 15_000


def test_model_without_a_price_reserves_nothing(store: Store) -> None:
    assert make(store).estimate("unheard-of", body_bytes=10**6, max_tokens=0) == 0


def test_settings_read_again_keep_what_is_spent_and_reserved(
    store: Store, expect_log: ExpectLog
) -> None:
    expect_log("budget")
    budget = Budget(scope="day", usd=1.0)
    budgets = make(store, budget)
    running = ask(budgets)
    budgets.configure((budget, Budget(scope="session", usd=9.0)), Prices.load())
    running.settle(2 * NANO)

    with pytest.raises(BudgetExceeded):
        ask(budgets)
