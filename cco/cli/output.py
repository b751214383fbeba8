# SPDX-License-Identifier: Apache-2.0
"""Writes for people and for programs: aligned columns, JSON, one-line errors."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from cco.errors import CcoError


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; texts to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(head), *cells]) for n in range(len(head))]
    is_number = [bool(rows) and isinstance(rows[0][n], int | float) for n in range(len(head))]
    for line in [list(head), *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        print("  ".join(padded).rstrip())


def usd(amount: float | None) -> str:
    """Return money as it is shown; None is unknown."""
    return "unknown" if amount is None else f"${amount:.6f}"


def show_error(error: CcoError) -> None:
    """Print an error: the sentence, and the remedy on the next line."""
    print(f"cco: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"     {error.hint}", file=sys.stderr)


def tell(text: str) -> None:
    """Print one step of what is going on, if a person watches."""
    if sys.stderr.isatty():
        print(f"cco: {text}", file=sys.stderr)
