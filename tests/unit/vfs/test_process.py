# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.vfs.process import main


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["--mount"], ["--patience", "long"], ["--patience=", ""]]
)
def test_wrong_options_are_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("cco-vfs: ")
    assert "Usage: cco-vfs [--mount PATH]" in told
