# SPDX-License-Identifier: Apache-2.0
"""Finds and reads the files of the catalogue, whatever lies in their place."""

import os
import stat
from pathlib import Path
from typing import Final

from cco.catalog.problem import Findings, Problem

MAX_BYTES: Final = 256 * 1024
MAX_ENTRIES: Final = 10_000
"""Directory entries looked at: a link could lead into a whole disk."""


def find_definitions(root: Path) -> tuple[list[Path], list[Problem]]:
    """Return every ``*.md`` below `root` in a stable order, and what was in the way.

    Links to directories are followed, each directory once. Hidden names are left out; a missing
    `root` holds nothing.
    """
    found: list[Path] = []
    problems: list[Problem] = []
    waiting, seen, entries = [root], set[str](), 0
    while waiting:
        directory = waiting.pop()
        real = os.path.realpath(directory)
        if real in seen:
            problems.append(Problem(shown(directory), 1, "leads to a folder that was read already"))
            continue
        seen.add(real)
        try:
            paths = sorted(directory.iterdir())
        except OSError as exc:
            if not (directory == root and isinstance(exc, FileNotFoundError)):
                problems.append(_unreadable(directory, exc))
            continue
        entries += len(paths)
        if entries > MAX_ENTRIES:
            problems.append(Problem(shown(root), 1, f"holds more than {MAX_ENTRIES} entries"))
            break
        visible = [path for path in paths if not path.name.startswith(".")]
        found += [path for path in visible if path.suffix == ".md"]
        waiting += [path for path in visible if path.suffix != ".md" and _is_directory(path)]
    return sorted(found), problems


def read_text(path: Path) -> str | Problem:
    """Return the text of a regular file of at most `MAX_BYTES`, or why there is none."""
    try:
        # Without O_NONBLOCK a named pipe would hold up the start until someone writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                what = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
                return Problem(shown(path), 1, f"is {what}")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as exc:
        return _unreadable(path, exc)
    if len(data) > MAX_BYTES:
        return Problem(shown(path), 1, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        return Problem(shown(path), line, "is not UTF-8 text")


def read_findings(path: Path) -> tuple[str | None, Findings]:
    """Return the text of a file, or None and the problem; a missing file has neither."""
    findings = Findings(shown(path))
    if not os.path.lexists(path):
        return None, findings
    text = read_text(path)
    if isinstance(text, Problem):
        findings.problems.append(text)
        return None, findings
    return text, findings


def shown(path: Path) -> str:
    """Return the path as text that any message can hold: no file name is trusted to be one."""
    text = os.fsencode(path).decode(errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the folder above may be listed but not entered
        return False


def _unreadable(path: Path, exc: OSError) -> Problem:
    return Problem(shown(path), 1, f"cannot be read ({exc.strerror})")
