# SPDX-License-Identifier: Apache-2.0
"""Statistics of a ledger of a million requests, beside one of ten thousand over the same days."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from cco.ledger import reports
from cco.ledger.store import Store
from tests.bench.figures import show, times_ms
from tests.filling import DAY_NS, END_NS, LAUNCH, PROJECT, fill

FEW: Final = 10_000
MANY: Final = 1_000_000

CALLS: Final[dict[str, Callable[[Store], Any]]] = {
    "project stats, all projects": reports.project_stats,
    "project stats, one project": lambda store: reports.project_stats(store, project=PROJECT),
    "project stats, last 24 h, to the hour": partial(
        reports.project_stats, since_ns=END_NS - DAY_NS
    ),
    "project stats, last 24 h, to the second": partial(
        reports.project_stats, since_ns=END_NS - DAY_NS + 10**9
    ),
    "project stats, cost and recent": partial(
        reports.project_stats, members=frozenset({"cost", "recent"})
    ),
    "machine stats": reports.machine_totals,
    "cost of one session": lambda store: reports.launch_costs(store, [LAUNCH]),
}


def show_growth(home: Path) -> None:
    """Measure each statistic in both ledgers, as JSON; the ratio is the growth."""
    with ExitStack() as undo:
        stores = []
        for rows in (MANY, FEW):
            path = home / f"{rows}.db"
            fill(path, rows)
            stores.append(undo.enter_context(Store.open(path)))
        for name, statistic in CALLS.items():
            works = [partial(_encoded, statistic, store) for store in stores]
            times_ms(3, *works)
            show(name, *times_ms(40, *works))


def _encoded(statistic: Callable[[Store], Any], store: Store) -> str:
    return json.dumps(statistic(store))
