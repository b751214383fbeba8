# SPDX-License-Identifier: Apache-2.0
"""The colours, by meaning, for every kind of terminal.

Pure. The terminal's own colours stay what text is written in and on; ours are few, of a set that
people with any colour vision tell apart (blue, ochre, crimson, purple), and each has a contrast
of 2.8 at least on black and on white, so that nobody needs to say which of them it is. What a
colour says is said by a word or a sign too.
"""

from typing import Final, NamedTuple

MONO: Final = 1
BASIC: Final = 16
MANY: Final = 256
TRUE: Final = 2**24


class Colour(NamedTuple):
    """How one meaning looks."""

    mono: str
    """Without colours."""
    basic: str
    """Of the sixteen that a terminal names, as it likes them."""
    many: int | None
    """Of the 256 of xterm, whose values are fixed; None = the terminal's own."""
    also: str = ""
    """Beside the colour: bold, underline, standout."""


COLOURS: Final = {
    "dim": Colour("", "dark gray", 244),
    "stale": Colour("", "dark gray", 244),
    "good": Colour("", "dark cyan", 32),
    "warn": Colour("bold", "brown", 136, "bold"),
    "bad": Colour("bold", "light red", 161, "bold"),
    "graph": Colour("", "dark cyan", 32),
    "graph2": Colour("", "dark magenta", 133),
    "title": Colour("bold", "default", None, "bold"),
    "head": Colour("underline", "default", None, "bold"),
    "key": Colour("bold", "dark cyan", 32, "bold"),
    "select": Colour("standout", "default", None, "standout"),
    "tab": Colour("standout", "default", None, "standout"),
}

_CUBE: Final = (0x00, 0x5F, 0x87, 0xAF, 0xD7, 0xFF)


def rgb(number: int) -> tuple[int, int, int]:
    """Return red, green and blue of one of xterm's colours from 16 on."""
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return grey, grey, grey
    number -= 16
    return _CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6]


Entry = tuple[str, str, str, str, str, str]


def entries(colours: int) -> list[Entry]:
    """Return urwid's palette: name, basic fore- and background, mono, fore- and background."""
    return [
        (name, _with(one.basic, one.also), "default", one.mono, _high(one, colours), "default")
        for name, one in COLOURS.items()
    ]


def _high(colour: Colour, colours: int) -> str:
    if colour.many is None:
        return _with("default", colour.also)
    if colours == TRUE:
        red, green, blue = rgb(colour.many)
        return _with(f"#{red:02x}{green:02x}{blue:02x}", colour.also)
    return _with(f"h{colour.many}", colour.also)


def _with(colour: str, also: str) -> str:
    return f"{colour},{also}" if also else colour
