# SPDX-License-Identifier: Apache-2.0
"""The inode numbers that stand for the tree, as the kernel knows them.

One inode for each (path, digest), and no number is ever given twice: the kernel keeps pages by
inode, so changed content under a new inode never mixes with old pages, and unchanged content keeps
its pages over any number of generations.

Pure. Not thread-safe: the adapter calls it under llfuse's lock.
"""

import stat
from collections.abc import Iterator
from typing import Final

from cco.vfs.tree import HEALTH, ROOT, Entry, Snapshot, join

ROOT_INODE: Final = 1
"""The inode of the root, `fuse_lowlevel.h`."""

STATIC_TIMEOUT_S: Final = 1.0
"""How long the kernel may trust a name and its attributes without asking.

Claude Code asks 3600 times a launch without, once a file with (measured). What is opened is
exact all the same: the adapter refuses an inode that its path has outgrown.
"""

_DIRECTORY: Final = "/"
_NOBODY: Final = "?"


class Node:
    """What one inode stands for."""

    __slots__ = ("digest", "entry", "inode", "lookups", "mtime_ns", "nlink", "path", "size")

    def __init__(self, inode: int, path: str, digest: str) -> None:
        self.inode = inode
        self.path = path
        self.digest = digest
        """Of the content; a reserved word for directories and for the content of no caller."""
        self.entry: Entry | None = None
        """None for a directory."""
        self.lookups = 0
        """References that the kernel holds, `fuse_lowlevel.h`."""
        self.size = 0
        self.nlink = 1
        self.mtime_ns = 0

    @property
    def mode(self) -> int:
        """Type and permissions."""
        if self.entry is not None:
            return stat.S_IFREG | 0o444
        return stat.S_IFDIR | (0o700 if self.path == ROOT else 0o555)

    @property
    def timeout_s(self) -> float:
        """How long the kernel may trust what it was told."""
        is_fickle = self.entry is not None and (self.path == HEALTH or self.entry.is_dynamic)
        return 0.0 if is_fickle else STATIC_TIMEOUT_S


class InodeTable:
    """All inodes that the kernel or the newest snapshot know."""

    def __init__(self) -> None:
        self._next = ROOT_INODE
        self._by_inode: dict[int, Node] = {}
        self._by_content: dict[tuple[str, str], Node] = {}
        self._newest: dict[str, Node] = {}
        self._snapshot: Snapshot | None = None
        self._at(ROOT, _DIRECTORY)

    def __len__(self) -> int:
        return len(self._by_inode)

    def adopt(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the newest one; costs nothing if it is already."""
        if snapshot is self._snapshot:
            return
        self._snapshot = snapshot
        self._newest = {}
        entries = snapshot.files.values()
        newest_ns = max((entry.mtime_ns for entry in entries if entry.path != HEALTH), default=0)
        for path, names in snapshot.directories.items():
            node = self._newest[path] = self._at(path, _DIRECTORY)
            inner = sum(join(path, name) in snapshot.directories for name in names)
            node.nlink, node.mtime_ns = 2 + inner, newest_ns
        for path, entry in snapshot.files.items():
            digest = _NOBODY if entry.is_dynamic else entry.digest
            self._newest[path] = self._describe(self._at(path, digest), entry, entry.size)
        for node in list(self._by_inode.values()):
            self._drop_if_unknown(node)

    def get(self, inode: int) -> Node:
        """Return the node of an inode.

        Raises:
            KeyError: there is none.
        """
        return self._by_inode[inode]

    def child(self, directory: Node, name: str) -> Node:
        """Return what the newest snapshot calls `name` in `directory`.

        Raises:
            KeyError: there is nothing.
        """
        if name == ".":
            return directory
        if name == "..":
            return self._newest[directory.path.rpartition("/")[0]]
        return self._newest[join(directory.path, name)]

    def children(self, directory: Node) -> Iterator[tuple[str, Node]]:
        """Return names and nodes in a directory, none if the newest snapshot lacks it."""
        names = self._snapshot.directories.get(directory.path) if self._snapshot else None
        for name in (".", "..", *names) if names is not None else ():
            yield name, self.child(directory, name)

    def rendered(self, entry: Entry, *, digest: str, size: int) -> Node:
        """Return the node of the content that one caller gets of a file."""
        return self._describe(self._at(entry.path, digest), entry, size)

    def amend(self, entry: Entry, *, digest: str, size: int) -> None:
        """Give a file the content that the daemon handed out ahead of the next snapshot."""
        if not entry.is_dynamic:
            self._newest[entry.path] = self.rendered(entry, digest=digest, size=size)

    def is_newest(self, node: Node) -> bool:
        """Say whether the newest snapshot still has the node's content at its path."""
        newest = self._newest.get(node.path)
        if newest is node:
            return True
        return newest is not None and newest.entry is not None and newest.entry.is_dynamic

    def forget(self, inode: int, lookups: int) -> None:
        """Let go of references that the kernel held."""
        node = self._by_inode.get(inode)
        if node is not None:
            node.lookups -= lookups
            self._drop_if_unknown(node)

    def _at(self, path: str, digest: str) -> Node:
        node = self._by_content.get((path, digest))
        if node is None:
            node = Node(self._next, path, digest)
            self._next += 1
            self._by_inode[node.inode] = self._by_content[path, digest] = node
        return node

    @staticmethod
    def _describe(node: Node, entry: Entry, size: int) -> Node:
        node.entry, node.size, node.mtime_ns = entry, size, entry.mtime_ns
        return node

    def _drop_if_unknown(self, node: Node) -> None:
        if node.lookups <= 0 and self._newest.get(node.path) is not node:
            self._by_inode.pop(node.inode, None)
            self._by_content.pop((node.path, node.digest), None)
