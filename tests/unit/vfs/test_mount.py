# SPDX-License-Identifier: Apache-2.0
"""The adapter over a fake source: what the kernel is told, above all the errno."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import llfuse
import pytest

from cco import errors
from cco.errors import CcoError, Denied, NotFound, Unavailable
from cco.vfs.inodes import ROOT_INODE
from cco.vfs.mount import ERRNO, MAX_HELD, Files, errno_of
from cco.vfs.source import Content, Source
from cco.vfs.tree import Snapshot, parse

UID, GID = 1234, 5678


class Caller(NamedTuple):
    """As much of llfuse's RequestContext as the adapter uses."""

    pid: int = 0
    uid: int = UID


CALLER = Caller()


def digest_of(data: bytes | CcoError) -> str:
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else ""


class FakeSource(Source):
    """Answers from memory; a file that is an error is refused with it."""

    def __init__(self, **files: bytes | CcoError) -> None:
        self.files = dict(files)
        self.session: set[str] = set()
        self.dynamic: set[str] = set()
        self.fetches: list[str] = []
        self.before_answer: Callable[[], None] | None = None
        self.publish()

    def publish(self, health: str = "OK") -> None:
        entries = [
            {
                "path": path,
                "size": len(data) if isinstance(data, bytes) else 1,
                "digest": digest_of(data),
                "access": "session" if path in self.session else "public",
                "dynamic": path in self.dynamic,
                "mtimeNs": 5_000_000_001,
            }
            for path, data in self.files.items()
        ]
        told = {"generation": "1", "health": health, "entries": entries}
        self.told = parse(json.dumps(told).encode(), now_ns=7)

    def snapshot(self) -> Snapshot:
        return self.told

    def fetch(self, path: str, *, uid: int, token: str | None) -> Content:
        self.fetches.append(path)
        if self.before_answer is not None:
            self.before_answer()
        data = self.files[path]
        if isinstance(data, CcoError):
            raise data
        return Content(data, digest_of(data))


@pytest.fixture(autouse=True)
def with_lock() -> Iterator[None]:
    """Hold the lock that llfuse holds when it calls a handler."""
    with llfuse.lock:
        yield


def make_files(source: FakeSource) -> Files:
    return Files(source, uid=UID, gid=GID)


def look_up(files: Files, path: str) -> Any:
    inode = ROOT_INODE
    for name in path.split("/"):
        found = files.lookup(inode, name.encode(), CALLER)
        inode = found.st_ino
    return found


def open_(files: Files, path: str) -> int:
    return files.open(look_up(files, path).st_ino, os.O_RDONLY, CALLER)


def read_all(files: Files, path: str) -> bytes:
    handle = open_(files, path)
    try:
        return files.read(handle, 0, 1 << 30)
    finally:
        files.release(handle)


def refused(number: int) -> Any:
    return pytest.raises(llfuse.FUSEError, match=f"^{os.strerror(number)}$")


EVERY_ERROR = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CcoError)
]


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_error_has_an_errno(kind: type[CcoError]) -> None:
    expected = {Denied: errno.EACCES, NotFound: errno.ENOENT}.get(kind, errno.EIO)
    assert errno_of(kind("code", "message")) == expected


def test_most_particular_errno_comes_first() -> None:
    kinds = [kind for kind, _ in ERRNO]
    assert not any(
        issubclass(later, kind) for i, kind in enumerate(kinds) for later in kinds[i + 1 :]
    )


def test_attributes_of_a_file() -> None:
    found = look_up(make_files(FakeSource(a=b"x" * 513)), "a")
    assert (found.st_mode, found.st_nlink, found.st_uid, found.st_gid) == (0o100444, 1, UID, GID)
    assert (found.st_size, found.st_blocks, found.st_blksize) == (513, 2, 4096)
    assert found.st_mtime_ns == found.st_ctime_ns == found.st_atime_ns == 5_000_000_001
    assert found.entry_timeout == found.attr_timeout >= 1


def test_attributes_of_the_root() -> None:
    found = make_files(FakeSource()).getattr(ROOT_INODE, CALLER)
    assert (found.st_ino, found.st_mode, found.st_nlink) == (ROOT_INODE, 0o40700, 2)


def test_health_is_never_trusted_for_long() -> None:
    found = look_up(make_files(FakeSource()), "health")
    assert found.entry_timeout == found.attr_timeout == 0


@pytest.mark.parametrize("name", [b"b", b"a\xff", b"A", b"..."])
def test_unknown_name_is_enoent(name: bytes) -> None:
    with refused(errno.ENOENT):
        make_files(FakeSource(a=b"")).lookup(ROOT_INODE, name, CALLER)


def test_name_beyond_the_stated_length_is_enametoolong() -> None:
    with refused(errno.ENAMETOOLONG):
        make_files(FakeSource()).lookup(ROOT_INODE, b"x" * 256, CALLER)


def test_unknown_inode_is_estale() -> None:
    files = make_files(FakeSource())
    for ask in (files.getattr, lambda inode, ctx: files.lookup(inode, b"a", ctx)):
        with refused(errno.ESTALE):
            ask(4711, CALLER)
    with refused(errno.ESTALE):
        files.open(4711, os.O_RDONLY, CALLER)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC])
def test_open_for_writing_is_erofs(flags: int) -> None:
    source = FakeSource(a=b"x")
    files = make_files(source)
    with refused(errno.EROFS):
        files.open(look_up(files, "a").st_ino, flags, CALLER)
    assert source.fetches == []


@pytest.mark.parametrize(
    ("operation", "count"),
    [
        ("create", 5),
        ("mknod", 5),
        ("mkdir", 4),
        ("symlink", 4),
        ("link", 4),
        ("rename", 5),
        ("unlink", 3),
        ("rmdir", 3),
        ("setattr", 5),
        ("write", 3),
        ("setxattr", 4),
        ("removexattr", 3),
    ],
)
def test_every_way_to_write_is_erofs(operation: str, count: int) -> None:
    with refused(errno.EROFS):
        getattr(make_files(FakeSource()), operation)(*[None] * count)


@pytest.mark.parametrize("operation", ["getxattr", "listxattr", "flush", "fsync", "fsyncdir"])
def test_kernel_is_told_not_to_ask_again(operation: str) -> None:
    arguments = {"getxattr": 3, "listxattr": 2, "flush": 1, "fsync": 2, "fsyncdir": 2}
    with refused(errno.ENOSYS):
        getattr(make_files(FakeSource()), operation)(*[None] * arguments[operation])


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_refusal_of_the_daemon_becomes_its_errno(kind: type[CcoError]) -> None:
    files = make_files(FakeSource(a=kind("code", "message")))
    with refused(errno_of(kind("code", "message"))):
        open_(files, "a")


def test_opening_a_directory_is_eisdir() -> None:
    with refused(errno.EISDIR):
        make_files(FakeSource()).open(ROOT_INODE, os.O_RDONLY, CALLER)


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [
        (0, 6, b"abcdef"),
        (0, 0, b""),
        (2, 2, b"cd"),
        (5, 100, b"f"),
        (6, 1, b""),
        (1 << 40, 1 << 20, b""),
    ],
)
def test_read_at_any_place(offset: int, size: int, expected: bytes) -> None:
    files = make_files(FakeSource(a=b"abcdef"))
    assert files.read(open_(files, "a"), offset, size) == expected


def test_content_is_fetched_once_for_all_who_have_it_open() -> None:
    source = FakeSource(a=b"abc")
    files = make_files(source)
    first, second = open_(files, "a"), open_(files, "a")
    assert first != second
    assert source.fetches == ["a"]
    files.release(first)
    assert files.read(second, 0, 9) == b"abc"
    files.release(second)
    assert read_all(files, "a") == b"abc"
    assert source.fetches == ["a", "a"]


def test_daemon_decides_each_opening_of_a_sessions_file() -> None:
    source = FakeSource(a=b"abc")
    source.session = {"a"}
    source.publish()
    files = make_files(source)
    handle = open_(files, "a")
    source.files["a"] = Denied("no-session", "not yours")
    with refused(errno.EACCES):
        open_(files, "a")
    assert files.read(handle, 0, 9) == b"abc"


def test_health_needs_no_daemon() -> None:
    source = FakeSource()
    source.publish("ERROR: no agents")
    assert read_all(make_files(source), "health") == b"ERROR: no agents\n"
    assert source.fetches == []


def test_old_handle_reads_old_content_and_a_new_one_new() -> None:
    source = FakeSource(a=b"old")
    files = make_files(source)
    before = look_up(files, "a").st_ino
    handle = files.open(before, os.O_RDONLY, CALLER)
    source.files["a"] = b"newer"
    source.publish()
    with refused(errno.ESTALE):  # whereupon the kernel looks the name up again
        files.open(before, os.O_RDONLY, CALLER)
    assert read_all(files, "a") == b"newer"
    assert files.read(handle, 0, 9) == b"old"
    assert files.getattr(before, CALLER).st_size == 3


def test_content_ahead_of_its_announcement_takes_a_second_try() -> None:
    source = FakeSource(a=b"old")
    files = make_files(source)
    source.files["a"] = b"newer"
    with refused(errno.ESTALE):
        open_(files, "a")
    assert look_up(files, "a").st_size == 5
    assert read_all(files, "a") == b"newer"


def test_content_of_the_wrong_size_is_eio() -> None:
    source = FakeSource(a=b"abc")
    files = make_files(source)
    told = source.told
    source.told = told._replace(files={**told.files, "a": told.files["a"]._replace(size=2)})
    with refused(errno.EIO):
        open_(files, "a")


def test_open_content_has_a_bound() -> None:
    half = MAX_HELD // 2
    source = FakeSource(a=bytes(half), b=bytes(half), c=b"x")
    files = make_files(source)
    first = open_(files, "a")
    open_(files, "b")
    with refused(errno.ENFILE):
        open_(files, "c")
    files.release(first)
    open_(files, "c")


def test_dynamic_file_has_size_and_inode_of_what_the_caller_gets() -> None:
    source = FakeSource(d=b"for me")
    source.dynamic = {"d"}
    source.publish()
    files = make_files(source)
    mine = look_up(files, "d")
    assert (mine.st_size, mine.entry_timeout, mine.attr_timeout) == (6, 0, 0)
    assert read_all(files, "d") == b"for me"
    source.files["d"] = b"for you, too"
    yours = look_up(files, "d")
    assert yours.st_size == 12
    assert yours.st_ino != mine.st_ino


@pytest.mark.parametrize(
    ("error", "number"),
    [(Denied("no-session", "no"), errno.EACCES), (Unavailable("away", "no"), errno.EIO)],
)
def test_dynamic_file_that_is_not_for_the_caller_can_be_seen(error: CcoError, number: int) -> None:
    source = FakeSource(d=error)
    source.dynamic = source.session = {"d"}
    source.publish()
    files = make_files(source)
    assert look_up(files, "d").st_size == 1
    with refused(number):
        open_(files, "d")


def test_dynamic_file_that_is_gone_is_enoent() -> None:
    source = FakeSource(d=NotFound("gone", "no"))
    source.dynamic = {"d"}
    source.publish()
    with refused(errno.ENOENT):
        look_up(make_files(source), "d")


def test_others_are_served_while_the_daemon_is_asked() -> None:
    source = FakeSource(a=b"abc")

    def look_around() -> None:
        with llfuse.lock:  # deadlocks, and times out, if the adapter kept it
            assert look_up(files, "health").st_size == 3

    source.before_answer = look_around
    files = make_files(source)
    assert read_all(files, "a") == b"abc"


def list_names(files: Files, handle: int, *, after: int = 0, count: int = 99) -> list[bytes]:
    entries = [entry for entry, _ in zip(files.readdir(handle, after), range(count), strict=False)]
    return [name for name, _, _ in entries]


def test_readdir_goes_on_where_it_stopped() -> None:
    files = make_files(FakeSource(a=b"", b=b"", c=b""))
    handle = files.opendir(ROOT_INODE, CALLER)
    entries = list(files.readdir(handle, 0))
    assert [name for name, _, _ in entries] == [b".", b"..", b"a", b"b", b"c", b"health"]
    for number, (_, _, following) in enumerate(entries, start=1):
        assert list_names(files, handle, after=following) == [e[0] for e in entries[number:]]
    files.releasedir(handle)


def test_readdir_keeps_to_one_listing_until_it_starts_anew() -> None:
    source = FakeSource(b=b"", c=b"")
    files = make_files(source)
    handle = files.opendir(ROOT_INODE, CALLER)
    assert list_names(files, handle, count=3) == [b".", b"..", b"b"]
    source.files = {"a": b"", "d": b""}
    source.publish()
    assert list_names(files, handle, after=3) == [b"c", b"health"]
    assert list_names(files, handle) == [b".", b"..", b"a", b"d", b"health"]


def test_readdir_in_the_middle_of_a_fresh_handle() -> None:
    files = make_files(FakeSource(a=b""))
    handle = files.opendir(ROOT_INODE, CALLER)
    assert list_names(files, handle, after=2) == [b"a", b"health"]


def test_forgotten_inodes_go() -> None:
    source = FakeSource(a=b"1")
    files = make_files(source)
    old = look_up(files, "a").st_ino
    source.files["a"] = b"2"
    source.publish()
    assert look_up(files, "a").st_ino != old
    files.forget([(old, 1)])
    with refused(errno.ESTALE):
        files.getattr(old, CALLER)


def test_statfs_has_nothing_free() -> None:
    stats = make_files(FakeSource(a=b"x" * 4097, b=b"")).statfs(CALLER)
    assert (stats.f_bsize, stats.f_frsize, stats.f_blocks) == (4096, 4096, 3)
    assert (stats.f_bfree, stats.f_bavail, stats.f_ffree, stats.f_favail) == (0, 0, 0, 0)
    assert (stats.f_files, stats.f_namemax) == (4, 255)  # a, b, health and the root
