# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the installed package, on the Python and the libraries of each Debian.

Elsewhere they run on the newest of everything.
"""

import re
import sys
import sysconfig
from pathlib import Path
from typing import Final

from cco import units
from tests.capabilities import DEBIAN, ROOT
from tests.machine.installed import Login

SITE: Final = Path(sysconfig.get_path("purelib"))
RUNNER: Final = (
    *("_pytest", "iniconfig", "packaging", "pluggy", "py.py", "pygments", "pytest"),
    "pytest_timeout.py",
)
"""What runs tests: of any Python, and of nothing else."""
FOLDERS: Final = ("api", "daemon", "gateway", "ledger", "sealing", "tui", "vfs")
"""Those that are about libraries; where Python is another one than here, all are run."""
OURS: Final = f"Python {sys.version_info[0]}.{sys.version_info[1]}."

RUN: Final = f"""
import sys
sys.path.append({str(ROOT)!r})  # the tests are the tree's, what they test is not
import cco
assert cco.__file__.startswith({str(DEBIAN)!r}), cco.__file__
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_unit_tests_pass_on_the_libraries_of_debian_beside_a_daemon_that_is_silent(
    running: Login,
) -> None:
    machine, since = running.machine, running.machine.cursor()
    place = machine.root / "var/tmp/runner"
    place.mkdir(mode=0o755)
    for name in RUNNER:
        (place / name).symlink_to(SITE / name)
    is_our_python = machine.run("python3 --version").stdout.startswith(OURS)
    done = machine.run(
        [
            *("python3", "-c", RUN),
            *("-c", ROOT / "pyproject.toml", "-p", "pytest_timeout", "-p", "no:cacheprovider"),
            *("--quiet", "--tb=short", "--durations=15"),
            *(ROOT / "tests/unit" / folder for folder in (FOLDERS if is_our_python else ("",))),
        ],
        environment={"PYTHONPATH": "/var/tmp/runner", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=Path("/var/tmp"),
        # also for the processes that tests start; they know of no Claude Code
        properties=[f"InaccessiblePaths={ROOT}/cco /usr/local/bin/claude"],
        timeout_s=600,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert re.search(r"^\d{4} passed", done.stdout, re.MULTILINE)
    # meanwhile nobody has asked CCO for anything, and it kept house
    entries = machine.journal(since=since, **running.journal_fields)
    assert [one["MESSAGE"] for one in entries if one.get("_SYSTEMD_USER_UNIT") in units.ALL] == []
