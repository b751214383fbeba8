# SPDX-License-Identifier: Apache-2.0
"""A terminal's screen as SVG: what `tmux capture-pane -e` prints, in its colours and columns.

Of the escape sequences those of colours are understood (``CSI … m``), which is all that tmux
prints. Each run of one style is put at its column, so that no font can shift it; braille is drawn
as its dots, for few fonts have it in the width of their letters.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from xml.sax.saxutils import escape

from cco.tui.palette import rgb

WIDTH: Final = 8.4
HEIGHT: Final = 18
SIZE: Final = 14
MARGIN: Final = 14
PAPER: Final = "#14171c"
INK: Final = "#d4d7dd"
BASIC: Final = (
    *("#000000", "#cc4444", "#3fa34d", "#b58900", "#4477cc", "#aa55aa", "#2aa1b3", "#c8c8c8"),
    *("#767676", "#ff6b6b", "#5fd75f", "#ffd75f", "#6fa8ff", "#d787d7", "#5fd7e7", "#ffffff"),
)
XMLNS: Final = "http://www.w3.org/2000/svg"
FONTS: Final = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"

_LEFT: Final = 0x47
_RIGHT: Final = 0xB8
"""Dots of a braille character in its left and right column; ours stand on the line's ground."""
_PIECE: Final = re.compile("[\u2800-\u28ff]+|[^\u2800-\u28ff]+")
_SEQUENCE: Final = re.compile(r"\x1b\[([0-9;]*)m")


@dataclass(frozen=True)
class Style:
    """How a run of characters looks."""

    ink: str = ""
    paper: str = ""
    bold: bool = False
    underline: bool = False
    reverse: bool = False

    @property
    def colours(self) -> tuple[str, str]:
        """Fore- and background; an empty background is that of the screen."""
        ink, paper = self.ink or INK, self.paper
        return (paper or PAPER, ink) if self.reverse else (ink, paper)


def draw(lines: Sequence[str], *, title: str) -> str:
    """Return a picture of a screen."""
    columns = max(sum(_columns(text) for _, text in _runs(line, Style())) for line in lines)
    width, height = columns * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="{XMLNS}" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
        f'<g font-family="{FONTS}" font-size="{SIZE}" xml:space="preserve">',
    ]
    style = Style()
    for row, line in enumerate(lines):
        at = 0
        for now, text in _runs(line, style):
            parts += _run(now, text, at, row)
            at += _columns(text)
            style = now  # it goes on in the next line
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _run(style: Style, text: str, at: int, row: int) -> Iterator[str]:
    ink, paper = style.colours
    taken = _columns(text) * WIDTH
    x, y = MARGIN + at * WIDTH, MARGIN + row * HEIGHT
    if paper and text:
        yield f'<rect x="{x:.1f}" y="{y}" width="{taken:.1f}" height="{HEIGHT}" fill="{paper}"/>'
    for piece in _PIECE.findall(text):
        if "\u2800" <= piece[0] <= "\u28ff":
            yield from _dots(piece, ink, x=x, bottom=y + HEIGHT)
        elif piece.strip():
            yield _text(style, piece, ink, x=x, y=y)
        x += _columns(piece) * WIDTH


def _dots(text: str, ink: str, *, x: float, bottom: float) -> Iterator[str]:
    """Draw characters of braille, each column of dots as a dashed line from the ground up."""
    step = HEIGHT / 4
    lines = []
    for at, char in enumerate(text):
        for side, mask in ((0.28, _LEFT), (0.78, _RIGHT)):
            if count := (ord(char) & mask).bit_count():
                lines.append(f"M{x + (at + side) * WIDTH:.1f} {bottom - 1}v{-count * step:g}")
    if lines:
        dashes = f'stroke-width="2.4" stroke-dasharray="2.4 {step - 2.4:g}"'
        yield f'<path d="{"".join(lines)}" stroke="{ink}" {dashes}/>'


def _text(style: Style, text: str, ink: str, *, x: float, y: float) -> str:
    more = ' font-weight="bold"' if style.bold else ""
    more += ' text-decoration="underline"' if style.underline else ""
    taken = _columns(text) * WIDTH
    return (
        f'<text x="{x:.1f}" y="{y + SIZE}" textLength="{taken:.1f}" fill="{ink}"{more}>'
        f"{escape(text)}</text>"
    )


def _runs(line: str, style: Style) -> Iterator[tuple[Style, str]]:
    """Yield styles and texts; a line begins as the one before has ended."""
    at = 0
    for found in _SEQUENCE.finditer(line):
        yield style, line[at : found.start()]
        style = _changed(style, found[1])
        at = found.end()
    yield style, line[at:]


def _changed(style: Style, codes: str) -> Style:
    numbers = [int(code or 0) for code in codes.split(";")]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style = Style()
        elif code in (1, 4, 7):
            change: dict[str, Any] = {{1: "bold", 4: "underline", 7: "reverse"}[code]: True}
            style = replace(style, **change)
        elif code in (38, 48):
            change = {"ink" if code == 38 else "paper": _extended(numbers)}
            style = replace(style, **change)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, ink=BASIC[code - 30 if code < 90 else code - 82])
        elif code in (39, 49):
            change = {"ink" if code == 39 else "paper": ""}
            style = replace(style, **change)
    return style


def _extended(numbers: list[int]) -> str:
    if numbers.pop(0) == 5:
        number = numbers.pop(0)
        if number < len(BASIC):
            return BASIC[number]
        red, green, blue = rgb(number)
    else:
        red, green, blue = numbers.pop(0), numbers.pop(0), numbers.pop(0)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
