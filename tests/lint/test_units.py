# SPDX-License-Identifier: Apache-2.0
"""Unit files as systemd sees them."""

import re
import shutil
from pathlib import Path

import pytest

from tests.capabilities import ROOT
from tests.lint.tree import check, files

SUFFIXES = {".path", ".service", ".slice", ".socket", ".target", ".timer"}
EXEC = re.compile(r"^(Exec\w+=[-@:+!]*)(/usr/(?:bin|lib|libexec)/cco\S*)", re.MULTILINE)


def unit_folders() -> list[Path]:
    """Return the folders with units that are to be verified together."""
    return sorted({path.parent for path in files() if _is_unit(path)})


def _is_unit(path: Path) -> bool:
    return path.parts[0] == "systemd" and path.suffix in SUFFIXES


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("folder", unit_folders(), ids=str)
def test_systemd_accepts_the_units(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = []
    for path in sorted((ROOT / folder).iterdir()):
        if path.is_dir():  # drop-ins
            shutil.copytree(path, tmp_path / path.name)
        elif path.suffix in SUFFIXES:
            # The package is not installed here, and verify wants to see the programs.
            (tmp_path / path.name).write_text(EXEC.sub(r"\1/bin/true", path.read_text()))
            units.append(tmp_path / path.name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # systemd-analyze --user wants one
    manager = "--user" if "user" in folder.parts else "--system"
    output = check(
        "systemd-analyze", manager, "verify", "--man=no", "--recursive-errors=one", *units
    )
    # What systemd merely ignores, it mentions without an exit status.
    assert [line for line in output.splitlines() if str(tmp_path) in line] == []
