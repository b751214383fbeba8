# SPDX-License-Identifier: Apache-2.0
"""``cco version``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cco import __version__
from cco.cli.main import main
from tests.capabilities import ROOT


def test_version_is_told_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"HOME": str(tmp_path), "CCO_RUNTIME_DIR": str(tmp_path / "r")}
    assert main(["version"], environ) == os.EX_OK
    assert capsys.readouterr().out.startswith(f"cco {__version__} (")
    assert main(["version", "--json"], environ) == os.EX_OK
    shown = json.loads(capsys.readouterr().out)
    assert sorted(shown) == ["buildCommit", "buildDate", "version"]
    assert list(tmp_path.iterdir()) == []


def test_little_is_loaded() -> None:
    script = (
        "import sys; from cco.cli.main import main; main(['version'], {});"
        "print([name for name in sys.modules if name.startswith('cco.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("cco.client", "cco.config", "cco.cli.service", "cco.cli.commands"):
        assert name not in done.stdout
