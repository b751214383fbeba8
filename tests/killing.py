# SPDX-License-Identifier: Apache-2.0
"""Traffic through a daemon whose worker is killed again and again, and what its ledger says."""

import contextlib
import http.client
import random
import threading
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.daemon import Daemon, asking, call
from tests.mounting import wait_until
from tests.recomputed import rows_of

THREADS: Final = 4
BETWEEN: Final = 3
"""So many answers at least come between two kills."""


@dataclass
class Traffic:
    """Requests of several threads; each that was answered in full is remembered by its id."""

    served: Daemon
    prefix: str
    port: int
    answered: dict[str, str] = field(default_factory=dict)
    """Our id of an answered request to the upstream's."""
    cut: int = 0
    wrong: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Ask, one after the other, until it is over."""
        turn = 0
        while not self.is_over.is_set():
            turn += 1
            body = asking(f"offline: pings 2\n{number} {turn}", stream=turn % 2 == 0)
            try:
                answer = call(self.port, "POST", f"{self.prefix}/v1/messages", body=body)
            except (ConnectionError, http.client.HTTPException):
                self.cut += 1
                continue
            if answer.status == 200:
                ours, theirs = answer.headers["x-cco-request-id"], answer.headers["request-id"]
                self.answered[ours] = theirs
            else:
                self.wrong.append(f"{answer.status}: {answer.body[:200]!r}")


def kill_again_and_again(served: Daemon, kills: int, *, seed: int = 1) -> Traffic:
    """Kill the worker so many times during traffic; return what the clients saw."""
    chance = random.Random(seed)
    traffic = Traffic(served, f"/s/{served.launch().id}", served.port)
    threads = [threading.Thread(target=traffic.run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            wanted = len(traffic.answered) + BETWEEN + chance.randrange(8)
            wait_until(lambda: len(traffic.answered) >= wanted, "requests are answered")  # noqa: B023
            victim = served.worker
            victim.kill()
            wait_until(lambda: _is_replaced(served, victim), "there is another worker")  # noqa: B023
        wanted = len(traffic.answered) + BETWEEN
        wait_until(lambda: len(traffic.answered) >= wanted, "it goes on")
    finally:
        traffic.is_over.set()
        for thread in threads:
            thread.join()
    return traffic


def check_ledger(served: Daemon, traffic: Traffic) -> None:
    """Hold the rows against what the clients saw: none is lost, and none is there twice."""
    rows = rows_of(served)
    found = {row["request_id"]: row for row in rows}
    assert len(found) == len(rows)
    lost = set(traffic.answered) - set(found)
    assert not lost, f"{len(lost)} of {len(traffic.answered)}"
    for ours, theirs in traffic.answered.items():
        row = found[ours]
        assert (row["upstream_request_id"], row["partial"], row["priced"]) == (theirs, 0, 1)
    theirs_of_all = [row["upstream_request_id"] for row in rows if row["upstream_request_id"]]
    assert len(set(theirs_of_all)) == len(theirs_of_all)
    told = served.client.call("GET", "/api/project/stats?project=")
    assert told["requests"]["total"] == len(rows)
    assert round(told["cost"]["totalUsd"] * 1e9) == sum(row["cost_nano"] for row in rows)


def _is_replaced(served: Daemon, victim: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        return served.worker != victim
    return False
