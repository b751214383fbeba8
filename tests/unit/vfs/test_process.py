# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from cco.vfs.process import main, try_reading


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["--mount"], ["--patience", "long"], ["--patience=", ""]]
)
def test_wrong_options_are_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("cco-vfs: ")
    assert "Usage: cco-vfs [--mount PATH]" in told


def test_reading_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "health").write_text("OK\n")
    (tmp_path / ".manifest").write_text("{}")
    assert try_reading(tmp_path) == ""


def test_reading_says_what_is_missing(tmp_path: Path) -> None:
    assert try_reading(tmp_path) == f"{tmp_path}/health: No such file or directory"
    assert "none: No such file" in try_reading(tmp_path / "none")
