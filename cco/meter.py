# SPDX-License-Identifier: Apache-2.0
"""What this process costs: memory and processor time, read by itself about itself.

Nobody else may read the memory map of the daemon, so every process of CCO tells its own.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROLLUP: Final = Path("/proc/self/smaps_rollup")
MIN_SPAN_S: Final = 1.0
"""Of less time the share of the processor is not told: it would be that of starting up."""


def parse_rollup(text: str) -> dict[str, int]:
    """Return the sizes in a memory map's summary, in bytes by name, `proc_pid_smaps(5)`."""
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value[:-3]) * 1024
    return sizes


class Meter:
    """Measures this process; each reading covers the time since the one before."""

    def __init__(self) -> None:
        self._clock_s, self._used_s = time.monotonic(), time.process_time()

    def read(self) -> Mapping[str, object]:
        """Return the figures as the daemon wants them; ``cpuPercent`` where it says something."""
        sizes = parse_rollup(ROLLUP.read_text())
        figures = {"pssBytes": sizes["Pss"], "rssBytes": sizes["Rss"]}
        clock_s, used_s = time.monotonic(), time.process_time()
        elapsed_s = clock_s - self._clock_s
        if elapsed_s < MIN_SPAN_S:
            return figures
        percent = 100 * (used_s - self._used_s) / elapsed_s
        self._clock_s, self._used_s = clock_s, used_s
        return {**figures, "cpuPercent": round(percent, 3)}
