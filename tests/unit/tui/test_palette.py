# SPDX-License-Identifier: Apache-2.0
"""Colours that can be read on black and on white, and that urwid takes."""

from itertools import combinations

import pytest

from cco.tui import palette, toolkit

MODES = (palette.MONO, palette.BASIC, palette.MANY, palette.TRUE)


def luminance(rgb: tuple[int, int, int]) -> float:
    """Return relative luminance as WCAG 2 has it."""
    parts = [value / 255 for value in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_colours_are_read_on_dark_and_light_backgrounds() -> None:
    for name, colour in palette.COLOURS.items():
        if colour.many is not None:
            found = luminance(palette.rgb(colour.many))
            assert contrast(found, luminance((0, 0, 0))) > 2.8, name
            assert contrast(found, luminance((255, 255, 255))) > 2.8, name


def test_states_differ_for_every_colour_vision() -> None:
    # Without the difference of red and green, blue and yellow and brightness are left.
    def seen(name: str) -> tuple[float, float]:
        number = palette.COLOURS[name].many
        assert number is not None
        red, green, blue = palette.rgb(number)
        yellow = (red + green) / 2
        return yellow - blue, luminance((red, green, blue)) * 255

    for one, other in combinations(("good", "warn", "bad"), 2):
        (a, b), (c, d) = seen(one), seen(other)
        assert abs(a - c) + abs(b - d) > 60, (one, other)


def test_states_look_different_without_colours() -> None:
    assert palette.COLOURS["bad"].mono != palette.COLOURS["good"].mono
    for name in ("select", "tab"):
        assert "standout" in palette.COLOURS[name].mono


@pytest.mark.parametrize("colours", MODES)
def test_urwid_takes_the_palette(colours: int) -> None:
    screen = toolkit.raw_screen()
    screen.set_terminal_properties(colors=colours)
    screen.register_palette(palette.entries(colours))
    assert {entry[0] for entry in palette.entries(colours)} == set(palette.COLOURS)


def test_true_colour_is_that_of_the_256() -> None:
    many = {entry[0]: entry[4] for entry in palette.entries(palette.MANY)}
    true = {entry[0]: entry[4] for entry in palette.entries(palette.TRUE)}
    assert (many["good"], true["good"]) == ("h32", "#0087d7")
    assert many["title"] == true["title"] == "default,bold"
    assert palette.rgb(244) == (128, 128, 128)
