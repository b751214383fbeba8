# SPDX-License-Identifier: Apache-2.0
"""``cco tui`` before there is a dashboard; the rest is driven in a terminal, elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cco.cli import tui
from cco.cli.main import main
from cco.cli.parser import build_parser, command_names


def test_command_is_known() -> None:
    assert "tui" in command_names()
    assert build_parser().parse_args(["tui"]).project is None
    assert build_parser().parse_args(["tui", "--project", "/p"]).project == "/p"


def test_without_a_terminal_it_says_what_to_do_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tui"], {"HOME": str(tmp_path)}) == os.EX_DATAERR
    assert "needs a terminal" in capsys.readouterr().err


def test_nothing_else_of_the_command_line_pays_for_it() -> None:
    script = "import sys, cco.cli.main, cco.cli.tui; print('urwid' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "False\n"
    assert tui.TIMEOUT_S > 0
