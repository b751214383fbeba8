# SPDX-License-Identifier: Apache-2.0
"""Makes the directory to mount on fit for it, and leaves nothing of it behind.

The process that mounts holds a lock on the directory beneath the mount for as long as it lives, so
that of any number of starters one mounts, and what a killed one left is known to be nobody's.
"""

import errno
import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cco import fuse
from cco.errors import Unavailable

log = logging.getLogger(__name__)

KIND: Final = "fuse.cco"
"""Type of our mounts in mountinfo: FUSE and the option ``subtype``."""

_DEAD: Final = (errno.ENOTCONN, errno.ECONNABORTED)
_ESCAPE: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of mountinfo, `proc_pid_mountinfo(5)`."""

    path: Path
    kind: str


def parse_mountinfo(data: bytes) -> Iterator[Mount]:
    r"""Yield all mounts, the ones on top last; ``\040`` and the like are undone in paths."""
    for line in data.splitlines():
        fields = line.split(b" ")
        path = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
        yield Mount(Path(os.fsdecode(path)), os.fsdecode(fields[fields.index(b"-", 6) + 1]))


def find_mount(path: Path) -> Mount | None:
    """Return the topmost mount exactly at `path`, without touching it: it may be dead."""
    found = None
    for mount in parse_mountinfo(Path("/proc/self/mountinfo").read_bytes()):
        if mount.path == path:
            found = mount
    return found


class MountPoint:
    """A directory that this process alone may mount on, until it is released."""

    def __init__(self, path: Path, *, lock: int, fusermount: Path) -> None:
        self.path = path
        self._lock = lock
        self._fusermount = fusermount

    def release(self) -> None:
        """Unmount what is left of our mount and remove the directory; the second time, nothing."""
        if self._lock < 0:
            return
        mount = find_mount(self.path)
        if mount is not None and mount.kind == KIND:
            _unmount(self.path, self._fusermount)
            log.info("unmounted from %s", self.path)
        try:
            self.path.rmdir()
        except OSError as exc:  # as where root has made it for us
            log.debug("%s stays: %s", self.path, exc.strerror)
        os.close(self._lock)
        self._lock = -1


def prepare(
    path: Path, *, uid: int, programs: Sequence[Path], device: Path = fuse.DEVICE
) -> MountPoint:
    """Return a directory to mount on, made or cleared of a dead mount of ours if need be.

    Args:
        path: the directory; its parent must be there.
        uid: who it must belong to.
        programs: where `fusermount` may be.
        device: the FUSE device.

    Raises:
        Unavailable: with a code for each reason and the remedy.
    """
    fuse.check_device(device)
    fusermount = fuse.find_fusermount(programs)
    path = Path(os.path.realpath(path.parent)) / path.name
    _clear(path, fusermount)
    try:
        _make(path)
        _check_directory(path, uid=uid)
        return MountPoint(path, lock=_lock(path), fusermount=fusermount)
    except OSError as exc:
        raise Unavailable(
            "mount-denied",
            f"{path} cannot be made fit for mounting ({exc.strerror})",
            hint=f"Make {path.parent} writable for you, or choose another place: vfs.mount",
        ) from exc


def _clear(path: Path, fusermount: Path) -> None:
    """Take away what killed processes left mounted at `path`."""
    while (mount := find_mount(path)) is not None:
        if mount.kind != KIND:
            raise Unavailable(
                "mount-foreign",
                f"a file system that is not CCO's ({mount.kind}) is mounted on {path}",
                hint=f"Unmount it (umount {path}), or choose another place: vfs.mount",
            )
        if _is_alive(path):
            raise _live(path)
        log.info("removing the mount that a killed process left on %s", path)
        if _unmount(path, fusermount) != 0:
            raise Unavailable(
                "mount-stale",
                f"the dead mount on {path} cannot be removed",
                hint=f"As root: umount -l {path}",
            )


def _is_alive(path: Path) -> bool:
    try:
        os.statvfs(path)  # which the kernel never answers from memory, as it does stat(2)
    except OSError as exc:
        return exc.errno not in _DEAD
    return True


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise Unavailable(
            "mount-parent-missing",
            f"the directory {path.parent} is missing, so {path} cannot be made",
            hint="Log in through a session manager, or choose another place: vfs.mount",
        ) from exc


def _check_directory(path: Path, *, uid: int) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a file"
        raise Unavailable(
            "mount-no-directory",
            f"{path} is {kind}, not a directory to mount on",
            hint="Move it away, or choose another place: vfs.mount",
        )
    if found.st_uid != uid:
        raise Unavailable(
            "mount-foreign",
            f"the directory {path} belongs to another user (uid {found.st_uid})",
            hint="Remove it as that user, or choose another place: vfs.mount",
        )
    path.chmod(0o700)
    if any(path.iterdir()):
        raise Unavailable(
            "mount-not-empty",
            f"the directory {path} is not empty, and mounting would hide what is in it",
            hint="Move its files away, or choose another place: vfs.mount",
        )


def _lock(path: Path) -> int:
    """Lock the directory, unless another process does or has mounted in the meantime."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.fstat(lock).st_nlink > 0 and find_mount(path) is None
    except BlockingIOError:
        is_ours = False
    if not is_ours:
        os.close(lock)
        raise _live(path)
    return lock


def _live(path: Path) -> Unavailable:
    return Unavailable(
        "mount-live",
        f"a running CCO has its files mounted on {path}",
        hint="Use that one, or stop it first: cco daemon stop",
    )


def _unmount(path: Path, fusermount: Path) -> int:
    """Run `fusermount`; lazily, so that whoever is still inside does not keep the mount."""
    argv = [str(fusermount), "-u", "-z", "-q", "--", str(path)]
    return os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(fusermount, argv, {}), 0)[1])
