# SPDX-License-Identifier: Apache-2.0
"""Text in columns of a terminal: what may be shown of it, how wide it is, what fits.

Pure. Names come from users and may hold anything; what could move the cursor, turn the direction of
writing or be as wide as each terminal likes never reaches the screen.
"""

import re
import unicodedata
from typing import Final, TypeAlias

from cco.tui.toolkit import urwid

Piece: TypeAlias = tuple[str, str]
"""Name of a colour in `cco.tui.palette`, empty for the plain one, and a text without line ends."""
Line: TypeAlias = list[Piece]

MAX_CHARS: Final = 4096
"""Longer texts are cut before anything is computed of them; no terminal is as wide."""

_PLAIN: Final = re.compile(r"[\x20-\x7e]*")
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SPACES: Final = frozenset("\t\n\r\v\f\x85\u2028\u2029")
_UNSURE: Final = re.compile("[\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")
"""Variations of the character before them, which terminals count differently."""
_MAX_MARKS: Final = 2
"""Combining marks on one character; more of them reach into the lines around."""


def clean(text: str, *, ascii_only: bool = False) -> str:
    """Return a text with nothing in it but characters of a known width."""
    text = text[:MAX_CHARS]
    if _PLAIN.fullmatch(text):
        return text
    if ascii_only:
        return "".join(
            char if " " <= char <= "~" else " " if char in _SPACES else "?" for char in text
        )
    shown: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", _UNSURE.sub("", text)):
        if char in _SPACES:
            shown.append(" ")
        elif (kind := unicodedata.category(char)) in _UNSHOWN:
            shown += [] if kind == "Cf" else ["\N{REPLACEMENT CHARACTER}"]
        elif kind in ("Mn", "Me"):
            marks += 1
            # One at the very beginning would go onto what stands before the text.
            shown += [char] if marks <= _MAX_MARKS and shown else []
            continue
        else:
            shown.append(char)
        marks = 0
    return "".join(shown)


def width(text: str) -> int:
    """Return how many columns a clean text takes."""
    return len(text) if text.isascii() else int(urwid.calc_width(text, 0, len(text)))


def cut(text: str, columns: int, *, dots: str = "…", keep_end: bool = False) -> str:
    """Return as much of a clean text as fits, with dots where something is missing.

    Args:
        text: what `clean` returned.
        columns: room that there is.
        dots: stand for what is missing.
        keep_end: leave the beginning out instead of the end, as is best for paths.
    """
    if columns <= 0:
        return ""
    if width(text) <= columns:
        return text
    if columns <= len(dots):
        return dots[:columns]
    room = columns - len(dots)
    if keep_end:
        at = max(0, len(text) - room)
        while width(text[at:]) > room:
            at += 1
        while at and width(text[at - 1 :]) <= room:
            at -= 1
        while at < len(text) and unicodedata.combining(text[at]):
            at += 1
        return dots + text[at:]
    at = min(len(text), room)
    while width(text[:at]) > room:
        at -= 1
    while at < len(text) and width(text[: at + 1]) <= room:  # marks, and what is narrow
        at += 1
    return text[:at] + dots


def fit(text: str, columns: int, *, right: bool = False, dots: str = "…") -> str:
    """Return a clean text in exactly so many columns, cut or filled with spaces."""
    shown = cut(text, columns, dots=dots)
    space = " " * max(0, columns - width(shown))
    return space + shown if right else shown + space


def line_width(line: Line) -> int:
    """Return how many columns a line takes."""
    return sum(width(text) for _, text in line)


def fit_line(line: Line, columns: int, *, dots: str = "…") -> Line:
    """Return a line in exactly so many columns, cut or filled with spaces."""
    shown: Line = []
    left = columns
    for style, text in line:
        taken = width(text)
        if taken > left:
            shown.append((style, fit(text, left, dots=dots)))
            return shown
        shown.append((style, text))
        left -= taken
    return [*shown, ("", " " * left)] if left else shown


def beside(left: Line, right: Line, columns: int, *, dots: str = "…") -> Line:
    """Return one line with two ends; what stands right gives way."""
    room = columns - line_width(left)
    if line_width(right) + 1 > room:
        return fit_line(left, columns, dots=dots)
    return [*fit_line(left, columns - line_width(right)), *right]


def plain(line: Line) -> str:
    """Return a line as text alone."""
    return "".join(text for _, text in line)
