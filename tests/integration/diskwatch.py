# SPDX-License-Identifier: Apache-2.0
"""Sees every file that is written on a file system, at the time it is written.

fanotify(7) gives an open descriptor with each event, so a file is read even if it has no name any
more, and nothing is missed but what is overwritten in place within the same moment. It needs
CAP_SYS_ADMIN. Written through ctypes because the standard library has no fanotify.
"""

import contextlib
import ctypes
import os
import select
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Source: fanotify.h of Linux.
_CLOEXEC: Final = 0x1
_NONBLOCK: Final = 0x2
_UNLIMITED_QUEUE: Final = 0x10
_MARK_ADD: Final = 0x1
_MARK_FILESYSTEM: Final = 0x100
_MODIFY: Final = 0x2
_CLOSE_WRITE: Final = 0x8
_AT_FDCWD: Final = -100
_EVENT: Final = struct.Struct("=IBBHQii")
"""Length, version, reserved, length of this, mask, descriptor, pid."""
_BATCH: Final = 64
"""Events read at once; each comes with a descriptor."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class DiskWatch:
    """What is written; make it with `watching`.

    Args:
        root: everything that is written below it is looked at.
        texts: what to look for, in UTF-8.
        mark: environment entry of processes whose files are looked at wherever they are.
    """

    def __init__(self, root: Path, texts: Collection[str], *, mark: str) -> None:
        self.found: set[tuple[str, str]] = set()
        """Path of a file and a text that was in it."""
        self.files: set[str] = set()
        """Files below `root` that were written."""
        self.elsewhere: set[str] = set()
        """Other files on the same file system that marked processes wrote."""
        self._root = root
        self._texts = {text: text.encode() for text in texts}
        self._mark = mark.encode()
        self._known: dict[int, bool] = {}
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._group = _open_group(root)

    def run(self) -> None:
        """Take note of events until `stop`, and of all that came before it."""
        poller = select.poll()
        for descriptor in (self._group, self._end):
            poller.register(descriptor, select.POLLIN)
        is_over = False
        while not is_over:
            is_over = self._end in dict(poller.poll())
            with contextlib.suppress(BlockingIOError):
                while data := os.read(self._group, _BATCH * _EVENT.size):
                    for event in _EVENT.iter_unpack(data):
                        self._take(descriptor=event[5], pid=event[6])

    def stop(self) -> None:
        """Make `run` return."""
        os.eventfd_write(self._end, 1)

    def close(self) -> None:
        """Let go of everything."""
        os.close(self._group)
        os.close(self._end)

    def _take(self, *, descriptor: int, pid: int) -> None:
        try:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if path.startswith(f"{self._root}/"):
                self.files.add(path)
            elif self._is_marked(pid):
                self.elsewhere.add(path)
            else:
                return
            self._search(descriptor, path)
        finally:
            os.close(descriptor)

    def _is_marked(self, pid: int) -> bool:
        if pid not in self._known:
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:  # gone already
                environ = b""
            self._known[pid] = self._mark in environ.split(b"\0")
        return self._known[pid]

    def _search(self, descriptor: int, path: str) -> None:
        found = os.fstat(descriptor)
        key, state = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
        if self._seen.get(key) != state:
            self._seen[key] = state
            data = os.pread(descriptor, found.st_size, 0)
            self.found |= {(path, text) for text, raw in self._texts.items() if raw in data}


@contextmanager
def watching(root: Path, texts: Collection[str], *, mark: str) -> Iterator[DiskWatch]:
    """Watch while the context lasts; everything is known afterwards."""
    watch = DiskWatch(root, texts, mark=mark)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
        watch.close()


def why_not(root: Path) -> str | None:
    """Return why this host does not let us watch, or None."""
    try:
        os.close(_open_group(root))
    except OSError as error:
        return f"fanotify: {error.strerror}"
    return None


def _open_group(root: Path) -> int:
    """Open a group of events about the file system of `root`.

    Raises:
        OSError: this process may not, or the file system cannot.
    """
    flags = _CLOEXEC | _NONBLOCK | _UNLIMITED_QUEUE
    group: int = _LIBC.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC | os.O_LARGEFILE)
    if group < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mask = ctypes.c_uint64(_MODIFY | _CLOSE_WRITE)
    how = _MARK_ADD | _MARK_FILESYSTEM
    if _LIBC.fanotify_mark(group, how, mask, _AT_FDCWD, os.fsencode(root)) < 0:
        error = ctypes.get_errno()
        os.close(group)
        raise OSError(error, os.strerror(error))
    return group
