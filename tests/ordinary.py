# SPDX-License-Identifier: Apache-2.0
"""Asks a question as a user whom the modes of files stop, which they do not root."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NOBODY: Final = 65534


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="cco-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def ask_as_ordinary_user(ask: Callable[[], str]) -> str:
    """Return what `ask` returns in a process of an ordinary user; no thread may run meanwhile."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write_end, ask().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as told:
        answer = told.read().decode()
    os.waitpid(pid, 0)
    return answer
