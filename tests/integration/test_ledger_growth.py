# SPDX-License-Identifier: Apache-2.0
"""How much work a statistic is: it grows with days, projects, models and agents, not with rows.

Work is what SQLite's virtual machine does, in steps: on any machine, at any load, it is the same.
The times of a million rows are printed by ``make bench``.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from cco.ledger import lately, reports
from cco.ledger.store import Store
from tests.filling import DAY_NS, DAYS, END_NS, LAUNCH, PROJECT, SESSION, SESSIONS_A_DAY, fill

FEW: Final = 10_000
MANY: Final = 100_000

STATISTICS: Final[Mapping[str, Callable[[Store], Any]]] = {
    "everything": reports.project_stats,
    "a project": lambda store: reports.project_stats(store, project=PROJECT),
    "a week": lambda store: reports.project_stats(store, since_ns=END_NS - 7 * DAY_NS),
    "the machine": reports.machine_totals,
    "of a refresh": lambda store: reports.project_stats(store, members={"cost", "recent"}),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("ledgers")
    paths = directory / "few.db", directory / "many.db"
    for path, rows in zip(paths, (FEW, MANY), strict=True):
        fill(path, rows)
    yield paths
    for path in paths:
        path.unlink()


def steps(path: Path, statistic: Callable[[Store], Any]) -> int:
    """Return how many steps SQLite makes for a statistic."""
    made = 0

    def count() -> int:
        nonlocal made
        made += 1
        return 0

    with Store.open(path) as store:
        with store.reading() as connection:  # the only one, which is lent again
            connection.set_progress_handler(count, 1)
        statistic(store)
        with store.reading() as connection:
            connection.set_progress_handler(None, 1)
    return made


@pytest.mark.parametrize("name", STATISTICS)
def test_ten_times_the_requests_are_the_same_work(stores: tuple[Path, Path], name: str) -> None:
    few, many = (steps(path, STATISTICS[name]) for path in stores)
    assert 500 < many < 1.5 * few


def test_what_is_told_of_a_session_is_the_work_of_its_own_requests(
    stores: tuple[Path, Path],
) -> None:
    """A launch was looked for among all requests that there are."""
    _, path = stores
    own = MANY // DAYS // SESSIONS_A_DAY
    for told in (
        lambda store: reports.launch_costs(store, [LAUNCH]),
        lambda store: reports.session_cost_nano(store, SESSION),
        lambda store: lately.running_agents(store, [LAUNCH]),
    ):
        assert own < steps(path, told) < own * 150


def test_sums_of_many_are_those_of_their_rows(stores: tuple[Path, Path]) -> None:
    _, path = stores
    with Store.open(path) as store:
        told = reports.project_stats(store)
        with store.reading() as connection:
            [cost, tokens] = connection.execute(
                "SELECT sum(cost_nano), sum(output_tokens) FROM requests"
            ).fetchone()
    assert told["requests"]["total"] == MANY
    assert told["tokens"]["output"] == tokens
    for groups in (told["byModel"], told["byAgent"], told["bySession"], told["byDay"]):
        assert sum(round(one["costUsd"] * 1e9) for one in groups) == cost
