# SPDX-License-Identifier: Apache-2.0
"""The llfuse adapter: the kernel's requests become questions to tree and source, errors an errno.

A protocol adapter only, and the only module that names llfuse; works with 1.4.1 and later.

Threading: llfuse calls a handler in one of its workers with its global lock held, and that lock
guards all state here. It is let go while the daemon is asked, so that a slow caller keeps one
worker and nobody else. Content is in memory as long as somebody has it open, once an inode.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import llfuse

from cco.errors import CcoError, Denied, NotFound, Unavailable
from cco.vfs.caller import read_token
from cco.vfs.inodes import InodeTable, Node
from cco.vfs.source import Content, Source
from cco.vfs.tree import HEALTH, MAX_NAME, Entry, health_data

WORKERS: Final = 16
"""Requests served at once; more wait in the kernel."""

MAX_HELD: Final = 64 << 20
"""Bytes of content that all open files together may hold."""

BLOCK: Final = 4096
"""Bytes of a block, `statvfs(3)`."""

ERRNO: Final[tuple[tuple[type[CcoError], int], ...]] = (
    (Denied, errno.EACCES),
    (NotFound, errno.ENOENT),
    (CcoError, errno.EIO),
)
"""What a caller of the mount sees of our errors; the first that fits counts."""


def errno_of(error: CcoError) -> int:
    """Return the errno that stands for `error`."""
    return next(number for kind, number in ERRNO if isinstance(error, kind))


class _Held:
    """Content of one inode, and how many open files share it."""

    __slots__ = ("data", "opens")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opens = 0


class Files(llfuse.Operations):  # type: ignore[misc]  # llfuse has no types
    """The operations of the mount.

    What is missing here answers ENOSYS, which the kernel takes to heart: it never again asks for
    flush, fsync and extended attributes, and tells callers that the latter are not supported.

    Args:
        source: gives the tree at once and content when the daemon does.
        uid: owner of everything.
        gid: group of everything.
    """

    def __init__(self, source: Source, *, uid: int, gid: int) -> None:
        super().__init__()
        self._source = source
        self._uid = uid
        self._gid = gid
        self._inodes = InodeTable()
        self._handles: dict[int, int] = {}
        self._last_handle = 0
        self._held: dict[int, _Held] = {}
        self._listings: dict[int, list[tuple[str, Node]]] = {}

    def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> Any:
        """Return the attributes of a name; of a dynamic file, as this caller sees it."""
        if len(name) > MAX_NAME:
            raise llfuse.FUSEError(errno.ENAMETOOLONG)
        parent = self._node(parent_inode)
        try:
            node = self._inodes.child(parent, name.decode(errors="surrogateescape"))
        except KeyError:
            raise llfuse.FUSEError(errno.ENOENT) from None
        if node.entry is not None and node.entry.is_dynamic:
            node = self._render(node, node.entry, ctx)
        node.lookups += 1
        return self._attributes(node)

    def forget(self, inode_list: list[tuple[int, int]]) -> None:
        """Let go of inodes that the kernel no longer knows."""
        for inode, lookups in inode_list:
            self._inodes.forget(inode, lookups)

    def getattr(self, inode: int, ctx: Any) -> Any:
        """Return the attributes of an inode."""
        return self._attributes(self._node(inode))

    def opendir(self, inode: int, ctx: Any) -> int:
        """Open a directory."""
        return self._new_handle(inode)

    def readdir(self, fh: int, off: int) -> Iterator[tuple[bytes, Any, int]]:
        """Yield what a directory held when it was read from the start."""
        if off == 0 or fh not in self._listings:
            self._listings[fh] = list(self._inodes.children(self._node(self._handles[fh])))
        for number, (name, node) in enumerate(self._listings[fh][off:], start=off + 1):
            yield name.encode(), self._attributes(node), number

    def releasedir(self, fh: int) -> None:
        """Close a directory."""
        del self._handles[fh]
        self._listings.pop(fh, None)

    def statfs(self, ctx: Any) -> Any:
        """Return the size of everything; nothing is free."""
        snapshot = self._source.snapshot()
        stats = llfuse.StatvfsData()
        stats.f_bsize = stats.f_frsize = BLOCK
        stats.f_blocks = sum(-(-entry.size // BLOCK) for entry in snapshot.files.values())
        stats.f_files = len(snapshot.files) + len(snapshot.directories)
        stats.f_namemax = MAX_NAME
        return stats

    def open(self, inode: int, flags: int, ctx: Any) -> int:
        """Open a file for reading, once the daemon has agreed and its content is here."""
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            raise llfuse.FUSEError(errno.EROFS)
        node = self._node(inode)
        if node.entry is None:
            raise llfuse.FUSEError(errno.EISDIR)
        if not self._inodes.is_newest(node):
            # The kernel looks the name up again and comes back with the newest inode.
            raise llfuse.FUSEError(errno.ESTALE)
        if inode not in self._held or not node.entry.is_for_all:
            data = self._load(node, node.entry, ctx)
            self._held.setdefault(inode, _Held(data))
        self._held[inode].opens += 1
        return self._new_handle(inode)

    def read(self, fh: int, off: int, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        return self._held[self._handles[fh]].data[off : off + size]

    def release(self, fh: int) -> None:
        """Close a file; the last one to close lets its content go."""
        inode = self._handles.pop(fh)
        held = self._held[inode]
        held.opens -= 1
        if held.opens == 0:
            del self._held[inode]

    # The kernel refuses most of this before us, because the mount is read-only.

    def _refuse(self, *_args: Any) -> NoReturn:
        raise llfuse.FUSEError(errno.EROFS)

    create = mkdir = mknod = symlink = link = rename = unlink = rmdir = _refuse
    setattr = write = setxattr = removexattr = _refuse

    def _node(self, inode: int) -> Node:
        self._inodes.adopt(self._source.snapshot())
        try:
            return self._inodes.get(inode)
        except KeyError:
            raise llfuse.FUSEError(errno.ESTALE) from None

    def _new_handle(self, inode: int) -> int:
        self._last_handle += 1
        self._handles[self._last_handle] = inode
        return self._last_handle

    def _attributes(self, node: Node) -> Any:
        attributes = llfuse.EntryAttributes()
        attributes.st_ino = node.inode
        attributes.st_mode = node.mode
        attributes.st_nlink = node.nlink
        attributes.st_uid = self._uid
        attributes.st_gid = self._gid
        attributes.st_size = node.size
        attributes.st_blksize = BLOCK
        attributes.st_blocks = -(-node.size // 512)
        attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = node.mtime_ns
        attributes.entry_timeout = attributes.attr_timeout = node.timeout_s
        return attributes

    def _render(self, node: Node, entry: Entry, ctx: Any) -> Node:
        """Return the node of a dynamic file for this caller, or `node` where it gets nothing."""
        try:
            content = self._ask(entry, ctx)
        except NotFound:
            raise llfuse.FUSEError(errno.ENOENT) from None
        except CcoError:
            return node
        return self._inodes.rendered(entry, digest=content.digest, size=len(content.data))

    def _load(self, node: Node, entry: Entry, ctx: Any) -> bytes:
        """Return the content of an inode for this caller."""
        if entry.path == HEALTH:
            return health_data(node.digest)
        try:
            content = self._ask(entry, ctx)
        except CcoError as exc:
            raise llfuse.FUSEError(errno_of(exc)) from exc
        if content.digest != node.digest:
            # The daemon has changed the file and its announcement is on the way.
            self._inodes.amend(entry, digest=content.digest, size=len(content.data))
            raise llfuse.FUSEError(errno.ESTALE)
        if len(content.data) != node.size:
            raise llfuse.FUSEError(errno.EIO)
        if sum(len(held.data) for held in self._held.values()) + node.size > MAX_HELD:
            raise llfuse.FUSEError(errno.ENFILE)
        return content.data

    def _ask(self, entry: Entry, ctx: Any) -> Content:
        with llfuse.lock_released:
            token = None if entry.is_for_all else read_token(ctx.pid, uid=ctx.uid)
            return self._source.fetch(entry.path, uid=ctx.uid, token=token)


def attach(files: Files, path: Path) -> None:
    """Mount `files` on an empty directory.

    Raises:
        Unavailable: FUSE refuses; the reason is on standard error, written by its library.
    """
    # llfuse 1.4.1 allows a directory that is not empty unless told otherwise.
    options = {*llfuse.default_options, "fsname=cco", "subtype=cco", "ro"} - {"nonempty"}
    try:
        llfuse.init(files, str(path), options)
    except RuntimeError as exc:
        raise Unavailable(
            "mount-failed",
            f"FUSE cannot mount on {path}",
            hint="See: cco daemon logs",
        ) from exc
    _keep_from_children()


def _keep_from_children() -> None:
    """Close our end of the mount in processes to come, for the mount lives while any has it."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.readlink() == Path("/dev/fuse"):
                fcntl.fcntl(int(entry.name), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        except FileNotFoundError:
            continue  # the descriptor that listed the directory


def serve() -> None:
    """Answer the kernel until the mount is taken away; the caller minds the signals."""
    llfuse.main(workers=WORKERS, handle_signals=False)
