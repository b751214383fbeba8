# SPDX-License-Identifier: Apache-2.0
"""``make soak``: a daemon under the same load for a long time; what it takes must not grow.

Memory, threads and open files of the daemon are asked for as it serves; a line is laid through
what was told after a quarter of the time. Its slope is growth: more than `MAX_RSS_MB_AN_HOUR`, with
twice its standard error taken off, ends with status 1; not of a run that is shorter than
`JUDGED_MIN`, in which much has its first time. At last the worker is killed again and
again, and the ledger is held against what clients were told.
"""

import argparse
import contextlib
import http.client
import math
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.daemon import Daemon, Stream, asking, call, daemon_of_processes
from tests.killing import check_ledger, kill_again_and_again

MAX_RSS_MB_AN_HOUR: Final = 1.0
MAX_COUNT_AN_HOUR: Final = 1.0
"""Threads and open files come and go with the load, but there are no more of them."""
JUDGED_MIN: Final = 30
THREADS: Final = 8
SAMPLES: Final = 400
WAYS: Final = ("whole", "stream", "counted", "left")
"""How a request goes: in one piece, streamed, only counted, or its client leaves in the midst."""


class Sample(NamedTuple):
    """What the daemon took at a moment."""

    at_s: float
    rss_mb: float
    threads: float
    files: float


@dataclass
class Load:
    """Requests at a steady rate, of several threads.

    Args:
        served: the daemon.
        rate: requests in a second.
        body_bytes: size of each.
    """

    served: Daemon
    rate: float
    body_bytes: int
    outcomes: Counter[str] = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._session = self.served.launch().id
        self._port = self.served.port
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(THREADS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        turn, due = 0, time.monotonic()
        while not self.is_over.wait(max(0.0, due - time.monotonic())):
            due += THREADS / self.rate
            turn += 1
            way = WAYS[(turn + number) % len(WAYS)]
            try:
                # What is counted comes again, or the cache would grow to what it may take.
                each = turn % 50 if way == "counted" else turn
                outcome = self._ask(way, f"offline: pings 3\n{number} {each} ")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                outcome = repr(error)
            with self._lock:
                self.outcomes[outcome] += 1

    def _ask(self, way: str, prompt: str) -> str:
        text = prompt.ljust(self.body_bytes, "x")
        if way == "left":
            with Stream(self._port, self._session, text) as answer:
                answer.read_to(b"message_start")
            return way
        path = "/v1/messages/count_tokens" if way == "counted" else "/v1/messages"
        body = asking(text, stream=way == "stream")
        answered = call(self._port, "POST", f"/s/{self._session}{path}", body=body)
        return way if answered.status == 200 else f"status {answered.status}"


def main() -> int:
    """Run what the arguments say."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves nothing behind either
    with daemon_of_processes() as served:
        served.start()
        print(
            f"{asked.minutes} min, {asked.rate}/s, bodies of {asked.body_bytes} bytes", flush=True
        )
        with Load(served, asked.rate, asked.body_bytes) as load:
            samples = _watch(served, 60 * asked.minutes)
        print(f"  {dict(sorted(load.outcomes.items()))}")
        is_good = set(load.outcomes) <= set(WAYS)
        for name, bound in (
            ("rss_mb", MAX_RSS_MB_AN_HOUR),
            ("threads", MAX_COUNT_AN_HOUR),
            ("files", MAX_COUNT_AN_HOUR),
        ):
            is_within = _show(name, samples, bound)
            is_good &= is_within or asked.minutes < JUDGED_MIN
        if asked.minutes < JUDGED_MIN:
            print(f"  too short to judge growth by: {JUDGED_MIN} min at least")
    if asked.kills:
        with daemon_of_processes() as served:
            served.start()
            traffic = kill_again_and_again(served, asked.kills)
            check_ledger(served, traffic)
            print(f"{asked.kills} kills: {len(traffic.answered)} answered, no row lost or doubled")
            is_good &= not traffic.wrong
    return 0 if is_good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=float, default=20.0, help="requests in a second (20)")
    parser.add_argument("--body-bytes", type=int, default=500_000, help="size of each (500000)")
    parser.add_argument("--kills", type=int, default=100, help="of the worker, at the end (100)")
    return parser.parse_args()


def _watch(served: Daemon, seconds: float) -> list[Sample]:
    """Return samples of all the time but its first quarter."""
    began = time.monotonic()
    found = []
    while (at_s := time.monotonic() - began) < seconds:
        with contextlib.suppress(OSError):
            told = served.client.call("GET", "/api/machine/stats?fields=daemon")["daemon"]
            sample = Sample(at_s, told["rssBytes"] / 1e6, told["threads"], told["openFiles"])
            if at_s >= seconds / 4:
                found.append(sample)
        time.sleep(max(seconds / SAMPLES, 0.05))
    return found


def _show(name: str, samples: list[Sample], bound: float) -> bool:
    """Print one figure and its growth; say whether that is within bounds."""
    values = [float(getattr(sample, name)) for sample in samples]
    slope, error = growth([sample.at_s / 3600 for sample in samples], values)
    print(
        f"  {name:<8} {min(values):8.1f} to {max(values):8.1f}, last {values[-1]:8.1f},"
        f" slope {slope:+9.2f} an hour, standard error {error:.2f}",
        flush=True,
    )
    return slope - 2 * error <= bound


def growth(hours: list[float], values: list[float]) -> tuple[float, float]:
    """Return the slope of the line through values, and its standard error."""
    slope, begin = statistics.linear_regression(hours, values)
    middle = statistics.fmean(hours)
    left = sum(
        (value - begin - slope * hour) ** 2 for hour, value in zip(hours, values, strict=True)
    )
    spread = sum((hour - middle) ** 2 for hour in hours)
    return slope, math.sqrt(left / max(1, len(hours) - 2) / spread)


if __name__ == "__main__":
    sys.exit(main())
