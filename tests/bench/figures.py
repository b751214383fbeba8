# SPDX-License-Identifier: Apache-2.0
"""How figures are taken and shown."""

import statistics
import time
from collections.abc import Callable


def times_ms(count: int, *works: Callable[[], object]) -> list[list[float]]:
    """Return the times of each work, taken in turn."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(count):
        for work, times in zip(works, taken, strict=True):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) * 1000)
    return taken


def show(name: str, times: list[float], beside: list[float] | None = None) -> None:
    """Print times, and how they compare with others that were taken in turn with them."""
    ordered = sorted(times)
    text = f"  {name:<40} p50 {statistics.median(times):9.2f} ms"
    text += f"  p99 {ordered[int(len(ordered) * 0.99)]:9.2f} ms"
    if beside:
        added = statistics.median(times) - statistics.median(beside)
        ratio = statistics.median(a / b for a, b in zip(times, beside, strict=True))
        text += f"  added {added:8.2f} ms  ratio {ratio:5.2f}"
    print(text, flush=True)
