# SPDX-License-Identifier: Apache-2.0
"""Small graphs of text: columns over time, and bars of a share.

Pure. Three sets of characters: braille (two values and four levels a character), blocks (one value,
eight levels), ASCII (one value, three levels); `cco.tui.terminal` chooses.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class Charset(StrEnum):
    """What the terminal can show."""

    BRAILLE = "braille"
    BLOCK = "block"
    ASCII = "ascii"


_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII: Final = " .:#"
_LEFT: Final = (0x00, 0x40, 0x44, 0x46, 0x47)
"""Dots of a braille character from the bottom up, its left column."""
_RIGHT: Final = (0x00, 0x80, 0xA0, 0xB0, 0xB8)


def columns(values: Sequence[float], *, width: int, height: int, charset: Charset) -> list[str]:
    """Return a graph of values over its whole width, as lines from the top.

    Args:
        values: zero or more, the oldest first; of too many the latest.
        width: of the graph, in characters.
        height: likewise.
        charset: to draw with.
    """
    slots = width * (2 if charset is Charset.BRAILLE else 1)
    latest = values[-slots:]
    spread = (
        [latest[slot * len(latest) // slots] for slot in range(slots)] if latest else [0.0] * slots
    )
    levels = {Charset.BRAILLE: 4, Charset.BLOCK: 8, Charset.ASCII: 3}[charset]
    heights = _heights(spread, full=levels * height)
    lines = []
    for row in range(height - 1, -1, -1):
        parts = [max(0, min(levels, value - row * levels)) for value in heights]
        lines.append(_draw(parts, charset))
    return lines


def _heights(values: Sequence[float], *, full: int) -> list[int]:
    """Return each value in levels; what is more than nothing can be seen."""
    top = max(values, default=0.0)
    if top <= 0:
        return [0] * len(values)
    return [max(1, round(full * min(value / top, 1))) if value > 0 else 0 for value in values]


def _draw(parts: Sequence[int], charset: Charset) -> str:
    if charset is Charset.BRAILLE:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return "".join(chr(0x2800 | _LEFT[left] | _RIGHT[right]) for left, right in pairs)
    return "".join((_BLOCKS if charset is Charset.BLOCK else _ASCII)[part] for part in parts)


def bar(share: float | None, width: int, charset: Charset) -> tuple[str, str]:
    """Return the full and the empty part of a bar; a share that is unknown is all empty."""
    known = 0.0 if share is None else min(max(share, 0.0), 1.0)
    full = round(known * width)
    if known > 0:
        full = max(1, full)
    if known < 1:
        full = min(full, width - 1)
    full_char, empty_char = ("#", ".") if charset is Charset.ASCII else ("█", "░")
    return full_char * full, empty_char * (width - full)
