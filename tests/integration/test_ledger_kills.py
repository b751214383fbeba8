# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` of the worker, a hundred times over, while clients are answered."""

from typing import Final

import pytest

from tests.daemon import Daemon
from tests.killing import check_ledger, kill_again_and_again
from tests.mounting import wait_until
from tests.recomputed import NANO, rows_of, total

KILLS: Final = 100


@pytest.mark.timeout(600)
def test_no_row_of_an_answered_request_is_lost_or_doubled(cco: Daemon) -> None:
    cco.configure("[[budget]]\nusd = 1000.0\n")
    cco.start()
    traffic = kill_again_and_again(cco, KILLS)

    assert traffic.wrong == []
    assert len(traffic.answered) > 3 * KILLS
    check_ledger(cco, traffic)
    assert "set aside" not in cco.log()
    # Nor is any money still reserved for those that were under way.
    wait_until(lambda: figure(cco, "reserved") == 0, "what is under way has ended")
    assert figure(cco, "spent") == pytest.approx(total(rows_of(cco), "cost_nano") / NANO, abs=1e-9)


def figure(served: Daemon, name: str) -> float:
    """Return a figure of the budget, of ``/metrics``."""
    text = served.client.request("GET", "/metrics").body.decode()
    (line,) = [one for one in text.splitlines() if one.startswith(f"cco_budget_{name}_usd{{")]
    return float(line.rpartition(" ")[2])
