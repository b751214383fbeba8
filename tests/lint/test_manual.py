# SPDX-License-Identifier: Apache-2.0
"""The manual page: built from the command line's own parser, accepted by man."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.capabilities import ROOT
from tests.lint.tree import check

BUILD = """
from build_manpages import build_manpages
from setuptools import setup

setup(cmdclass={"build_manpages": build_manpages})
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Build the manual page as setup.cfg says, in a copy of what that takes."""
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "README.md").touch()
    shutil.copytree(ROOT / "cco" / "cli", tmp_path / "cco" / "cli")
    shutil.copy(ROOT / "cco" / "__init__.py", tmp_path / "cco")
    # -P: without the current directory in sys.path, as when a package is built. The parser has to
    # load without the rest of CCO.
    check(
        sys.executable, "-P", "-c", BUILD, "build_manpages",
        cwd=tmp_path, env={"SOURCE_DATE_EPOCH": "0"},
    )  # fmt: skip
    return tmp_path / "man" / "cco.1"


def test_parser_loads_alone() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import parser;"
        " found = sorted(name for name in sys.modules if name.split('.')[0] == 'cco');"
        " sys.exit(', '.join(found) or 0)"
    )
    check(sys.executable, "-I", "-c", code, ROOT / "cco" / "cli")


@pytest.mark.needs("man")
def test_manual_has_a_name_and_a_description(page: Path) -> None:
    assert check("lexgrog", page).strip() == (
        f'{page}: "cco - Claude Code with a team of agents, an honest gateway and a ledger"'
    )


@pytest.mark.needs("man")
def test_man_accepts_the_page(page: Path) -> None:
    # lintian's way: warnings go to stderr, the page itself is of no interest.
    output = check(
        "sh", "-c", 'man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >/dev/null', "sh", page,
        env={"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"},
    )  # fmt: skip
    assert output == ""
