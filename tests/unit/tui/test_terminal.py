# SPDX-License-Identifier: Apache-2.0
"""What is judged of a terminal from its environment."""

import pytest

from cco.tui import palette
from cco.tui.graph import Charset
from cco.tui.terminal import Terminal, judge

UTF8 = {"LANG": "en_US.UTF-8"}


@pytest.mark.parametrize(
    ("environ", "colours"),
    [
        ({"TERM": "xterm-256color"}, palette.MANY),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, palette.TRUE),
        ({"TERM": "tmux-256color", "COLORTERM": "24bit"}, palette.TRUE),
        ({"TERM": "xterm-direct"}, palette.TRUE),
        ({"TERM": "xterm"}, palette.BASIC),
        ({"TERM": "linux"}, palette.BASIC),
        ({"TERM": "vt100"}, palette.MONO),
        ({"TERM": "dumb"}, palette.MONO),
        ({}, palette.MONO),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, palette.MONO),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, palette.MANY),  # empty does not count
    ],
)
def test_colours(environ: dict[str, str], colours: int) -> None:
    assert judge(environ).colours == colours


@pytest.mark.parametrize(
    ("environ", "charset"),
    [
        ({"TERM": "xterm", **UTF8}, Charset.BRAILLE),
        ({"TERM": "linux", **UTF8}, Charset.BLOCK),
        ({"TERM": "xterm", "LANG": "C"}, Charset.ASCII),
        ({"TERM": "xterm"}, Charset.ASCII),
        ({"TERM": "xterm", "LC_ALL": "C", **UTF8}, Charset.ASCII),  # it overrides
        ({"TERM": "xterm", "LC_ALL": "", "LC_CTYPE": "C.utf8"}, Charset.BRAILLE),
    ],
)
def test_charset(environ: dict[str, str], charset: Charset) -> None:
    assert judge(environ).charset is charset
    assert judge(environ).is_utf8 is (charset is not Charset.ASCII)


def test_terminal_is_plain_data() -> None:
    assert Terminal(16, Charset.BLOCK) == (16, "block")
