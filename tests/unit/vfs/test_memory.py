# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

_SCRIPT = """
import gc
from cco.vfs import memory
memory.limit_heap()
memory.settle()
print(gc.get_freeze_count() > 0)
"""

_IMPORTED = """
import sys
import cco.vfs.process
print(" ".join(sys.modules))
"""


def run(script: str) -> str:
    """Run in a process of its own, for the settings are those of the whole process."""
    return subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    ).stdout


def test_heap_is_limited_and_settled() -> None:
    assert run(_SCRIPT) == "True\n"


def test_mount_process_imports_nothing_heavy() -> None:
    imported = set(run(_IMPORTED).split())
    heavy = {"argparse", "asyncio", "flask", "hashlib", "http.client", "requests", "sqlite3", "ssl"}
    assert imported & heavy == set()
