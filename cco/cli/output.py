# SPDX-License-Identifier: Apache-2.0
"""Writes for people and for programs: aligned columns, JSON, one-line errors."""

import json
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, TextIO

from cco.errors import CcoError

BAR_COLUMNS: Final = 20
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_MONEY: Final = re.compile(r"\$[\d.]+|unknown")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_LINES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def read_text() -> str:
    """Return what comes by standard input.

    Raises:
        UnicodeError: it is no text; in some locales Python itself takes any bytes for some.
    """
    text = sys.stdin.read()
    text.encode()
    return text


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=is_plain()))


def is_plain() -> bool:
    """Say whether standard output takes less than all characters, by the locale."""
    return "utf" not in (sys.stdout.encoding or "").lower()


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; texts to the left, numbers and money to the right.

    On a terminal a line ends at its edge, where what is missing shows as "…"; others get it all.
    """
    cells = [[harmless(str(cell)) for cell in row] for row in rows]
    widths = [max(columns(line[n]) for line in [list(head), *cells]) for n in range(len(head))]
    is_number = [bool(rows) and all(_is_figure(row[n]) for row in rows) for n in range(len(head))]
    for line in [list(head), *cells]:
        padded = []
        for cell, width, right in zip(line, widths, is_number, strict=True):
            space = " " * (width - columns(cell))
            padded.append(space + cell if right else cell + space)
        print(_fit("  ".join(padded).rstrip()))


def _is_figure(cell: object) -> bool:
    return isinstance(cell, int | float) or bool(_MONEY.fullmatch(str(cell)))


def harmless(text: str, *, lines: bool = False) -> str:
    """Return a text without what moves the cursor, or fills the clipboard, of a terminal.

    Args:
        text: of anybody's.
        lines: leave tabs and the ends of lines as they are.
    """
    return (_CONTROL_IN_LINES if lines else _CONTROL).sub("", text)


def _fit(line: str) -> str:
    """Return a line cut to the width of the terminal, if standard output is one."""
    if not sys.stdout.isatty():
        return line
    import shutil  # only here: it would cost every launch 2 ms

    room = shutil.get_terminal_size().columns
    if columns(line) <= room:
        return line
    while columns(line) >= room:
        line = line[: -max(1, (columns(line) - room) // 2)]
    return line.rstrip() + "…"


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide characters two, combining none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in ("W", "F"))
        for one in text
    )


def bars(amounts: Sequence[float]) -> list[str]:
    """Return a bar for each amount, `BAR_COLUMNS` for the largest; nothing for what is not shown.

    Programs and files get none: a chart is for a person at a terminal.
    """
    most = max(amounts, default=0)
    if not sys.stdout.isatty() or most <= 0:
        return [""] * len(amounts)
    return [_bar(max(amount, 0) / most) for amount in amounts]


def _bar(share: float) -> str:
    if is_plain():
        return "#" * round(share * BAR_COLUMNS)
    whole, eighths = divmod(round(share * BAR_COLUMNS * 8), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def count(number: int, what: str) -> str:
    """Return how many there are of something, such as ``1 answer``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


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


def agrees(question: str, *, out: TextIO | None = None) -> bool:
    """Ask a person at the terminal, by standard output if not told otherwise; no yes is a no."""
    print(f"{question} [y/N] ", end="", file=out, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
