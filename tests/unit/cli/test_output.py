# SPDX-License-Identifier: Apache-2.0
"""What people and programs get to read."""

import os
import pty
import sys
from collections.abc import Sequence

import pytest

from cco.cli.output import BAR_COLUMNS, bars, columns, show_error, show_json, show_table, tell, usd
from cco.errors import Denied

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("head", "rows", "lines"),
    [
        # texts to the left, numbers to the right
        (
            ("model", "requests", "cost"),
            [("claude-opus", 7, "$1.0"), ("x", 12345, "$10.25")],
            [
                "model        requests    cost",
                "claude-opus         7    $1.0",
                "x               12345  $10.25",
            ],
        ),
        (
            ("id", "cost"),
            [("a", "unknown"), ("b", "$1.5")],
            ["id     cost", "a   unknown", "b      $1.5"],
        ),
        (("path",), [("$HOME",), ("$1.5",)], ["path", "$HOME", "$1.5"]),
        # a directory's name cannot draw on the terminal, or pass for another row
        (("project", "n"), [("/x\x1b[2J\x9b31m\nroot", 1)], ["project       n", "/x[2J31mroot  1"]),
        (("name", "n"), [("long name", 1.5)], ["name         n", "long name  1.5"]),
        (("name", "n"), [], ["name  n"]),  # nothing to show
        (("a", "b"), [("x", "")], ["a  b", "x"]),  # no spaces at the end
        (("a",), [(None,)], ["a", "None"]),
        # wide and combining characters take the columns that a terminal gives them
        (
            ("project", "n"),
            [("日本", 1), ("cafe\u0301", 2)],
            ["project  n", "日本     1", "cafe\u0301     2"],
        ),
    ],
)
def test_columns_are_aligned(
    head: Sequence[str], rows: Sequence[Sequence[object]], lines: list[str], capsys: Capture
) -> None:
    show_table(head, rows)

    assert capsys.readouterr().out.splitlines() == lines


def test_json_keeps_every_letter(capsys: Capture) -> None:
    show_json({"b": "ü", "a": [1, None]})

    assert capsys.readouterr().out == '{\n  "b": "ü",\n  "a": [\n    1,\n    null\n  ]\n}\n'


def test_error_goes_to_standard_error(capsys: Capture) -> None:
    show_error(Denied("code", "it is so", hint="do that"))
    show_error(Denied("code", "without remedy"))

    out, err = capsys.readouterr()
    assert out == ""
    assert err == "cco: it is so\n     do that\ncco: without remedy\n"


def test_steps_are_told_to_a_terminal_only(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell("nobody watches")
    assert capsys.readouterr() == ("", "")

    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        tell("starting")
        terminal.flush()
        assert screen.read(100) == b"cco: starting\r\n"


@pytest.mark.parametrize(
    ("amount", "text"), [(0.0, "$0.000000"), (1.25, "$1.250000"), (None, "unknown")]
)
def test_money_is_never_made_up(amount: float | None, text: str) -> None:
    assert usd(amount) == text


@pytest.mark.parametrize(
    ("text", "taken"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("é", 1)]
)
def test_columns_are_those_of_a_terminal(text: str, taken: int) -> None:
    assert columns(text) == taken


@pytest.mark.parametrize(
    ("encoding", "amounts", "drawn"),
    [
        ("UTF-8", [2.0, 1.0, 0.0], ["█" * BAR_COLUMNS, "█" * 10, ""]),
        ("UTF-8", [160.0, 1.0], ["█" * BAR_COLUMNS, "▏"]),  # an eighth of a column
        ("UTF-8", [20.0, 10.5], ["█" * BAR_COLUMNS, "█" * 10 + "▌"]),
        ("ascii", [2.0, 1.0], ["#" * BAR_COLUMNS, "#" * 10]),
        ("UTF-8", [0.0, 0.0], ["", ""]),  # nothing to compare
        ("UTF-8", [], []),
    ],
)
def test_bars_compare_amounts(
    encoding: str, amounts: list[float], drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding=encoding) as screen, os.fdopen(ours, "rb", buffering=0):
        monkeypatch.setattr(sys, "stdout", screen)
        assert bars(amounts) == drawn


def test_long_lines_end_at_the_edge_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w", encoding="utf-8") as screen,
        os.fdopen(ours, "rb", buffering=0) as seen,
    ):
        monkeypatch.setattr(sys, "stdout", screen)
        show_table(("a", "b"), [("x", "123456789"), ("y", "日本語日本語"), ("z", "1234567")])
        screen.flush()
        shown = b""
        while shown.count(b"\n") < 4:  # a terminal gives what there is
            shown += seen.read(1000)

    assert shown.decode().splitlines() == ["a  b", "x  123456…", "y  日本語…", "z  1234567"]


def test_files_get_the_whole_line(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    show_table(("a", "b"), [("x", "1" * 100)])

    assert capsys.readouterr().out.splitlines()[1] == f"x  {'1' * 100}"


def test_programs_get_no_chart() -> None:
    assert bars([2.0, 1.0]) == ["", ""]
