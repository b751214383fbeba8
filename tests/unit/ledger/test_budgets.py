# SPDX-License-Identifier: Apache-2.0
"""Budgets: nothing is refused that would have fitted, little is let through that does not."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cco.config import Budget
from cco.errors import BudgetExceeded, Unavailable
from cco.ledger.budgets import ENOUGH, FIRST_OUTPUT, MAX_POTS, Budgets
from cco.ledger.pots import Reservation
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store

ExpectLog = Callable[[str], None]

NANO = 1_000_000_000
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"
DEADLINE_S = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as opened:
        yield opened


def make(
    store: Store, *budgets: Budget, now: datetime = NOON, wait_s: float = DEADLINE_S
) -> Budgets:
    made = Budgets(store, now=lambda: now, wait_s=wait_s)
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
    assert f" of ${budget.usd:.2f} is spent: $" in caught.value.message
    assert "cco daemon reload" in caught.value.message
    assert caught.value.hint is None  # one sentence, whoever shows it


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

    (state,) = budgets.states()
    assert (state.spent_nano, state.reserved_nano, state.limit_nano) == (NANO // 2, 0, NANO)


def test_estimate_learns_from_answers(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=100.0))
    for output in (1, 4000, 20)[:ENOUGH]:
        # at 15 USD a million
        assert budgets.estimate(MODEL, body_bytes=0, max_tokens=0) == FIRST_OUTPUT * 15_000
        ask(budgets).settle(0, output=output)
    # 4000 tokens at 15 USD a million; max_tokens bounds it.
    assert budgets.estimate(MODEL, body_bytes=0, max_tokens=0) == 4000 * 15_000
    assert budgets.estimate(MODEL, body_bytes=0, max_tokens=10) == 10 * 15_000


def test_model_without_a_price_reserves_nothing(store: Store) -> None:
    assert make(store).estimate("unheard-of", body_bytes=10**6, max_tokens=0) == 0


def test_a_crowd_at_the_first_start_overspends_by_one_at_most(
    store: Store, expect_log: ExpectLog
) -> None:
    """What an answer may cost is not known yet: the guess must not be too low."""
    expect_log("budget")
    budgets = make(store, Budget(scope="day", usd=1.0))
    answered = []

    def run() -> None:
        try:
            reservation = budgets.admit(
                project="", session="", model=MODEL, body_bytes=3000, max_tokens=8000
            )
        except BudgetExceeded:
            return
        reservation.settle(NANO // 10, output=6667)
        answered.append(reservation)

    threads = [threading.Thread(target=run) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answered) in (10, 11)


def test_settings_read_again_keep_what_is_spent_and_reserved(
    store: Store, expect_log: ExpectLog
) -> None:
    expect_log("budget")
    budgets = make(store, Budget(scope="day", usd=1.0))
    running = ask(budgets)
    budgets.configure((Budget(scope="day", usd=2.0), Budget(scope="session")), Prices.load())
    running.settle(2 * NANO)

    with pytest.raises(BudgetExceeded, match=r"day budget of \$2.00 is spent: \$2.00"):
        ask(budgets)
    budgets.configure((Budget(scope="day", usd=3.0),), Prices.load())
    ask(budgets).settle(0)


def test_limit_that_is_raised_lets_waiting_requests_go(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=1.0))
    running = ask(budgets, body_bytes=900_000)
    admitted = threading.Event()

    def wait() -> None:
        ask(budgets).settle(0)
        admitted.set()

    thread = threading.Thread(target=wait)
    thread.start()
    budgets.configure((Budget(scope="day", usd=9.0),), Prices.load())
    thread.join()
    running.settle(0)

    assert admitted.is_set()


def test_waiting_too_long_is_no_refusal_for_want_of_money(store: Store) -> None:
    budgets = make(store, Budget(scope="day", usd=1.0), wait_s=0.01)
    running = ask(budgets, body_bytes=900_000)

    with pytest.raises(Unavailable) as caught:
        ask(budgets)
    assert caught.value.code == "budget-reserved"
    running.settle(0)
    ask(budgets).settle(0)


def test_sums_are_kept_for_what_is_in_use(store: Store) -> None:
    now = NOON
    budgets = Budgets(store, now=lambda: now)
    session, project = Budget(scope="session"), Budget(scope="project", project="/q")
    budgets.configure((Budget(scope="day"), session, project), Prices.load())
    assert [(state.position, state.key) for state in budgets.states()] == [
        (0, "2026-11-22"),
        (2, "/q"),  # nothing was spent there, but it is known that something may be
    ]
    running = ask(budgets)
    now = datetime(2026, 11, 23, 0, 1, tzinfo=UTC)
    assert {state.key for state in budgets.states()} >= {"2026-11-22", "2026-11-23", "s"}
    running.settle(NANO)
    spent = {state.key: state.spent_nano for state in budgets.states()}
    assert spent == {"2026-11-23": 0, "s": NANO, "/q": 0}  # of the day before nothing runs


def test_sums_of_many_sessions_are_not_kept_for_ever(store: Store) -> None:
    budgets = make(store, Budget(scope="session", usd=1.0))
    spend(store, 0.25, session_id="0")
    running = ask(budgets, session="runs")
    for number in range(MAX_POTS + 20):
        ask(budgets, session=str(number)).settle(0)
    keys = [state.key for state in budgets.states()]

    assert len(keys) <= MAX_POTS
    assert "runs" in keys
    assert "0" not in keys
    ask(budgets, session="0").settle(0)
    assert {s.spent_nano for s in budgets.states() if s.key == "0"} == {NANO // 4}  # read anew
    running.settle(0)


def test_two_levels_of_one_budget_count_the_same_money(store: Store, expect_log: ExpectLog) -> None:
    expect_log(r"the day budget of \$0.50 is spent: \$0.75 so far")
    budgets = make(store, Budget(scope="day", usd=0.5, action="warn"), Budget(scope="day", usd=1.0))
    ask(budgets).settle(3 * NANO // 4)
    ask(budgets).settle(0)

    states = [(state.limit_nano, state.spent_nano, state.is_spent) for state in budgets.states()]
    assert states == [
        (NANO // 2, 3 * NANO // 4, True),
        (NANO, 3 * NANO // 4, False),
    ]


def test_ledger_that_cannot_be_read_stops_nobody(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("The ledger cannot be written")
    expect_log("the day budget cannot be kept")
    (tmp_path / "file").touch()
    with Store.open(tmp_path / "file/ledger.db") as store:
        budgets = make(store, Budget(scope="day", usd=0.0))
        for _ in range(3):  # and is told once
            ask(budgets).settle(0)
        assert budgets.states() == []


def test_without_budgets_nothing_is_reserved(store: Store) -> None:
    budgets = make(store)
    ask(budgets).settle(NANO)

    assert not budgets.are_set
    assert budgets.states() == []
