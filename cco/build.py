# SPDX-License-Identifier: Apache-2.0
"""Which build of CCO this is.

A package writes ``cco/_build.json`` (``{"commit", "date"}``) while it is built; a source tree asks
its own ``.git``, reading files only.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent


class Build(NamedTuple):
    """Commit (or ``unknown``) and RFC 3339 UTC time of a build."""

    commit: str
    date: str


def read(root: Path = ROOT) -> Build:
    """Return the build whose package lies at `root`."""
    try:
        told = json.loads((root / "_build.json").read_text(encoding="utf-8"))
        return Build(str(told["commit"]), str(told["date"]))
    except (OSError, ValueError, KeyError, TypeError):
        return _from_git(root.parent / ".git") or Build("unknown", _date(root.stat().st_mtime))


def _from_git(git: Path) -> Build | None:
    try:
        if git.is_file():  # a linked worktree: "gitdir: DIRECTORY"
            git = git.parent / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return Build(head, _date((git / "HEAD").stat().st_mtime))
        if (git / "commondir").exists():
            git = git / (git / "commondir").read_text(encoding="utf-8").strip()
        if (git / name).exists():
            commit = (git / name).read_text(encoding="utf-8").strip()
            return Build(commit, _date((git / name).stat().st_mtime))
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
        commit = next(line.split()[0] for line in packed if line.endswith(f" {name}"))
        return Build(commit, _date((git / "packed-refs").stat().st_mtime))
    except (OSError, UnicodeDecodeError, StopIteration):
        return None


def _date(timestamp: float) -> str:
    return datetime.fromtimestamp(int(timestamp), UTC).isoformat().replace("+00:00", "Z")
