# SPDX-License-Identifier: Apache-2.0
"""Screens that a person has looked at, kept as text in ``tests/data/tui``.

``UPDATE_SCREENS=1`` writes them anew; the difference is then looked at as any other change is.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.capabilities import ROOT

SCREENS: Final = ROOT / "tests" / "data" / "tui"

_VOLATILE: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "YYYY-MM-DD"),
    (re.compile(r"/?tmp/cco-d-[a-z0-9_]{8}"), "/tmp/cco-d-XXXXXXXX"),
    (re.compile(r"\bup +(?:\d+[smhd])+"), "up SPAN"),
    (re.compile(r"\((?:\d+[smhd])+ ago\)"), "(SPAN ago)"),
    (re.compile(r"\S+ (now|so far), \S+ max"), r"N \1, N max"),
)
"""What is another one each time."""
_SAME_WIDTH: Final = (
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "HH:MM:SS"),
    (re.compile("[\u2800-\u28ff]"), "\u2591"),
)
"""Likewise, but everything around it stays in its place."""


def compare(name: str, lines: Sequence[str]) -> None:
    """Fail where a screen is not as it was when somebody looked at it."""
    path: Path = SCREENS / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("UPDATE_SCREENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no screen {name}; look at it and keep it: UPDATE_SCREENS=1"
    assert text == path.read_text(encoding="utf-8")


def normalised(screen: str) -> list[str]:
    """Return a screen without what is another one each time."""
    lines = []
    for line in screen.splitlines():
        for pattern, word in _SAME_WIDTH:
            line = pattern.sub(word, line)
        plain = line
        for pattern, word in _VOLATILE:
            line = pattern.sub(word, line)
        if line != plain:  # what stands behind has another place each time
            line = re.sub(" {2,}", "  ", line)
        lines.append(line.rstrip())
    return lines
