# SPDX-License-Identifier: Apache-2.0
"""What a user should mend although everything is served."""

from dataclasses import dataclass
from pathlib import Path

from cco.ledger.writer import Health


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a user should mend although everything is served."""

    code: str
    message: str
    hint: str | None = None


def of_ledger(health: Health, database: Path) -> list[Warned]:
    """Return what is wrong with the ledger, now or since the daemon began.

    Args:
        health: as the ledger says.
        database: its file.
    """
    found = []
    if reason := health["reason"]:
        found.append(
            Warned(
                "ledger-degraded",
                f"the ledger cannot be written, requests go on without it ({reason})",
                f"Make room on the disk and {database.parent} writable for you",
            )
        )
    if lost := health["lost"]:
        found.append(
            Warned(
                "ledger-lost",
                f"{lost} records did not fit in memory while the ledger could not be written;"
                " statistics and budgets are too low by that",
                "See when it was: cco daemon logs",
            )
        )
    return found
