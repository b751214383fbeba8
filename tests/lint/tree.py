# SPDX-License-Identifier: Apache-2.0
"""Lists the files of the repository, and runs tools on them."""

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.capabilities import ROOT

SCRIPTS: Final = Path(sys.executable).parent
"""Where the environment's programs are; ``sys.executable`` is not resolved, on purpose."""


@functools.cache
def files() -> tuple[Path, ...]:
    """Return every file that is in the repository or would be by ``git add``, relative to ROOT."""
    listing = subprocess.run(
        # The tree may be another user's, whom git does not trust unless told to.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


@functools.cache
def texts() -> dict[Path, str]:
    """Return the text of every file of the repository that is text."""
    found = {}
    for path in files():
        data = (ROOT / path).read_bytes()
        if b"\0" not in data:
            found[path] = data.decode(errors="replace")
    return found


def shell_scripts() -> list[Path]:
    """Return the files that say in their first line that a shell runs them."""
    shells = ("sh", "bash", "dash")
    return [
        path
        for path, text in texts().items()
        if text.startswith("#!") and text.partition("\n")[0].split("/")[-1].split()[-1] in shells
    ]


def check(*command: str | Path, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a tool and return its output; fail the test with that output if the tool complains."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shown = " ".join(str(word) for word in command)
        pytest.fail(f"{shown}: exit {done.returncode}\n{done.stdout}", pytrace=False)
    return done.stdout
