# SPDX-License-Identifier: Apache-2.0
"""``cco tui`` before it becomes the dashboard, which is driven in a terminal, elsewhere."""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from cco.cli import tui
from cco.cli.main import main

XTERM = {"TERM": "xterm"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Return the commands that the process would have become, with a terminal to do so."""
    commands: list[Sequence[str]] = []

    def execve(path: str, argv: Sequence[str], environ: dict[str, str]) -> None:
        assert path == argv[0]
        assert environ
        commands.append(argv)
        raise KeyboardInterrupt  # the end of this process

    monkeypatch.setattr(os, "execve", execve)
    at_a_terminal = SimpleNamespace(stdin=Terminal(), stdout=Terminal(), executable=sys.executable)
    monkeypatch.setattr(tui, "sys", at_a_terminal)
    return commands


def test_without_a_terminal_it_says_what_to_do_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tui"], {"HOME": str(tmp_path)}) == os.EX_DATAERR
    assert "needs a terminal" in capsys.readouterr().err


@pytest.mark.parametrize("environ", [{}, {"TERM": ""}, {"TERM": "dumb"}])
def test_terminal_without_a_cursor_is_not_filled_with_its_codes(
    became: list[Sequence[str]], environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tui"], {"HOME": "/nowhere", **environ}) == os.EX_DATAERR
    assert became == []
    assert f"TERM is '{environ.get('TERM', '')}'" in capsys.readouterr().err


def test_it_becomes_the_dashboard_of_all_projects(
    became: list[Sequence[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cco.toml").write_text("[tui]\nrefresh_s = 2\n")
    environ = {**XTERM, "HOME": str(tmp_path), "CCO_CONFIG": str(tmp_path / "cco.toml")}
    main(["tui"], environ)
    assert became == [[sys.executable, "-I", "-m", "cco.tui", "2.0", "", str(tmp_path)]]


def test_it_becomes_the_dashboard_of_one_project(
    became: list[Sequence[str]], tmp_path: Path
) -> None:
    main(["tui", "--project", str(tmp_path)], {**XTERM, "HOME": str(tmp_path)})
    assert list(became[0][-3:]) == ["5.0", str(tmp_path), ""]


def test_settings_that_cannot_be_used_are_told_before_anything_is_shown(
    became: list[Sequence[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cco.toml").write_text("[tui]\nrefresh_s = 0\n")
    environ = {**XTERM, "HOME": str(tmp_path), "CCO_CONFIG": str(tmp_path / "cco.toml")}
    assert main(["tui"], environ) == os.EX_CONFIG
    assert became == []
    assert "refresh_s" in capsys.readouterr().err
