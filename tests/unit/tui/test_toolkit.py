# SPDX-License-Identifier: Apache-2.0
"""The toolkit comes without what the dashboard would not use, and leaves others what they need."""

import subprocess
import sys

from tests.capabilities import ROOT

LEAN = """
import sys
from cco.tui.toolkit import urwid
assert urwid.MainLoop
print(*sorted({"asyncio", "ssl"} & set(sys.modules)))
import asyncio
print(asyncio.run(asyncio.sleep(0, "whole")))
"""
AFTER = """
import asyncio
from cco.tui.toolkit import urwid
print(asyncio.run(asyncio.sleep(0, "whole")), urwid.AsyncioEventLoop.__name__)
"""


def run(script: str) -> list[str]:
    command = [
        sys.executable,
        "-I",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{script}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_asyncio_and_ssl_are_not_imported_and_can_be_later() -> None:
    assert run(LEAN) == ["", "whole"]


def test_what_somebody_has_imported_stays() -> None:
    assert run(AFTER) == ["whole AsyncioEventLoop"]
