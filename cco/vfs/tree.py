# SPDX-License-Identifier: Apache-2.0
"""What the mount holds at one time: the daemon's entries as a tree.

Pure and immutable. A `Snapshot` is made from one line of the daemon's watch stream::

    {"generation": "7", "health": "OK", "entries": [
        {"path": "plugin/agents/leadership/chief-architect.md", "size": 4711, "digest": "9f86...",
         "access": "session", "dynamic": false, "mtimeNs": 1763800000000000000}, ...]}

Directories follow from the paths. ``health`` is the one file that the mount makes itself.
"""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

HEALTH: Final = "health"
"""Path of the file that tells how the daemon is."""

ROOT: Final = ""
"""Path of the root."""

MAX_NAME: Final = 255
"""Bytes of one name, `statvfs(3)`."""


class Access(StrEnum):
    """Who may open a file."""

    PUBLIC = "public"
    SESSION = "session"


class Entry(NamedTuple):
    """One file as the daemon describes it."""

    path: str
    """Relative to the root, parts joined by a slash."""
    size: int
    """Bytes."""
    digest: str
    """Equal digests mean equal content: SHA-256, or the text itself for `health`."""
    access: Access
    is_dynamic: bool
    """Rendered for each caller; size and digest here are nobody's."""
    mtime_ns: int

    @property
    def is_for_all(self) -> bool:
        """Whether everybody who may see the mount gets the same content without being asked."""
        return self.access is Access.PUBLIC and not self.is_dynamic


class Snapshot(NamedTuple):
    """Everything that the mount shows at one time."""

    generation: str
    health: str
    """Text of the file `health`, without the newline that ends it."""
    files: Mapping[str, Entry]
    """By path, `health` included."""
    directories: Mapping[str, tuple[str, ...]]
    """Sorted names by path of the directory."""

    def with_health(self, text: str, *, now_ns: int) -> "Snapshot":
        """Return the same tree with another `health`."""
        if text == self.health:
            return self
        files = {**self.files, HEALTH: _health_entry(text, now_ns=now_ns)}
        return self._replace(health=text, files=files)


def parse(line: bytes, *, now_ns: int) -> Snapshot:
    """Return the tree that one line of the watch stream describes.

    Args:
        line: one JSON object.
        now_ns: time of arrival, which becomes the time of `health`.

    Raises:
        ValueError: it describes no tree; the message says why.
    """
    told = json.loads(line)
    health = _member(told, "health", str)
    files = {HEALTH: _health_entry(health, now_ns=now_ns)}
    for item in _member(told, "entries", list):
        entry = _parse_entry(item)
        if entry.path in files:
            raise ValueError(f"two files are called {entry.path}")
        files[entry.path] = entry
    return Snapshot(_member(told, "generation", str), health, files, _directories(files))


def join(directory: str, name: str) -> str:
    """Return the path of `name` in `directory`."""
    return f"{directory}/{name}" if directory else name


def health_data(text: str) -> bytes:
    """Return the content of the file `health`."""
    return f"{text}\n".encode()


def _health_entry(text: str, *, now_ns: int) -> Entry:
    size = len(health_data(text))
    return Entry(HEALTH, size, text, Access.PUBLIC, is_dynamic=False, mtime_ns=now_ns)


def _parse_entry(item: object) -> Entry:
    path = _member(item, "path", str)
    if not all(_is_name(part) for part in path.split("/")):
        raise ValueError(f"{path!r} is no path")
    entry = Entry(
        path=path,
        size=_member(item, "size", int),
        digest=_member(item, "digest", str),
        access=Access(_member(item, "access", str)),
        is_dynamic=_member(item, "dynamic", bool),
        mtime_ns=_member(item, "mtimeNs", int),
    )
    if entry.size < 0 or entry.mtime_ns < 0:
        raise ValueError(f"a number of {path} is negative")
    return entry


_T = TypeVar("_T")


def _member(told: Any, key: str, kind: type[_T]) -> _T:
    """Return a member of a JSON object if it is exactly of its kind; True is no number."""
    value = told.get(key) if isinstance(told, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{key} is no {kind.__name__}")
    return value


def _is_name(part: str) -> bool:
    is_free = part not in ("", ".", "..") and "\0" not in part
    return is_free and len(part.encode()) <= MAX_NAME


def _directories(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the names in each directory that `paths` imply."""
    names: dict[str, set[str]] = {ROOT: set()}
    for path in paths:
        directory = ROOT
        *parents, name = path.split("/")
        for part in parents:
            names[directory].add(part)
            directory = join(directory, part)
            names.setdefault(directory, set())
        names[directory].add(name)
    if both := names.keys() & set(paths):
        raise ValueError(f"{min(both)} is a file and a directory")
    return {directory: tuple(sorted(found)) for directory, found in names.items()}
