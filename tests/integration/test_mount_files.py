# SPDX-License-Identifier: Apache-2.0
"""What a user sees of a real mount: every kind of read, and the refusal of everything else."""

import errno
import hashlib
import json
import mmap
import os
import random
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mounting import DEADLINE_S, TOKEN, Served, Stage, stage, wait_until

pytestmark = pytest.mark.needs("fuse")

BLOB = random.Random(1).randbytes(3 * (1 << 20) + 17)

SEALED = BLOB[:200_000]

FILES = {
    "agents.sealed": Served(SEALED),
    ".manifest": Served(
        json.dumps({"checksums": {"agents.sealed": hashlib.sha256(SEALED).hexdigest()}}).encode()
    ),
    "README.txt": Served(b"What this is.\n", mtime_ns=1_763_800_000_123_456_789),
    "odd/empty": Served(b""),
    "odd/byte": Served(b"x"),
    "odd/page": Served(BLOB[:4096]),
    "odd/page and one": Served(BLOB[:4097]),
    "odd/big": Served(BLOB),
    "odd/\u00fc \\ \u00ab\u00bb": Served(b"awkward name"),
    "plugin/agents/a.md": Served(b"instructions of a", access="session"),
    "plugin/agents/b.md": Served(b"instructions of b", access="session"),
    "plugin/context/startup.md": Served(
        lambda token: f"context of {token}".encode(), access="session"
    ),
}

OPEN = {path: file.data for path, file in FILES.items() if file.access == "public"}


@pytest.fixture(scope="module")
def scene() -> Iterator[Stage]:
    """One mount for all tests that leave it as it was."""
    with stage(FILES) as found:
        found.start().wait_ready()
        yield found


@pytest.fixture(scope="module")
def root(scene: Stage) -> Path:
    return scene.mount


def run(*argv: object, token: str = "") -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, **({"CCO_SESSION": token} if token else {})}
    return subprocess.run(
        [str(word) for word in argv], env=environ, capture_output=True, check=False
    )


def test_tree_is_whole(root: Path) -> None:
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {*FILES, "health"}


def test_modes_owner_and_links(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
        if path == root:
            assert stat.filemode(found.st_mode) == "drwx------"
            assert found.st_nlink == 4
        elif path.is_dir():
            assert stat.filemode(found.st_mode) == "dr-xr-xr-x"
            assert found.st_nlink == 2 + sum(inner.is_dir() for inner in path.iterdir())
        else:
            assert stat.filemode(found.st_mode) == "-r--r--r--"
            assert found.st_nlink == 1


def test_sizes_and_times(root: Path) -> None:
    for path, data in OPEN.items():
        assert (root / path).stat().st_size == len(data), path  # type: ignore[arg-type]
    assert (root / "README.txt").stat().st_mtime_ns == 1_763_800_000_123_456_789
    assert (root / "odd").stat().st_mtime_ns == 1_763_800_000_123_456_789
    assert (root / "odd/page and one").stat().st_blocks == 9


def test_health_is_ok(root: Path) -> None:
    assert (root / "health").read_bytes() == b"OK\n"


def test_sums_are_those_of_the_manifest(root: Path) -> None:
    sums = json.loads((root / ".manifest").read_bytes())["checksums"]
    told = run("sha256sum", root / "agents.sealed").stdout.decode()
    assert told.split()[0] == sums["agents.sealed"]


@pytest.mark.parametrize("path", sorted(OPEN))
def test_content_is_what_the_daemon_serves(root: Path, path: str) -> None:
    assert (root / path).read_bytes() == OPEN[path]


@pytest.mark.parametrize(
    "path", ["odd/empty", "odd/byte", "odd/page", "odd/page and one", "odd/big"]
)
def test_reads_at_odd_places(root: Path, path: str) -> None:
    data = OPEN[path]
    assert isinstance(data, bytes)
    end = len(data)
    file = os.open(root / path, os.O_RDONLY)
    try:
        for offset in (0, 1, end // 2, max(end - 1, 0), end, end + 1, end + (1 << 40)):
            for size in (0, 1, 4095, 4096, 4097, 1 << 20, 1 << 30):
                # One pread(2) may give less than asked for, but never at the start of a range.
                got = os.pread(file, size, offset)
                assert got == data[offset : offset + len(got)]
                assert (len(got) == 0) == (size == 0 or offset >= end)
        assert os.lseek(file, -1, os.SEEK_END) == end - 1 if end else True
    finally:
        os.close(file)


def test_mapped_memory_is_the_content(root: Path) -> None:
    with (root / "odd/big").open("rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == BLOB
        with mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ, offset=1 << 20) as mapped:
            assert mapped[:] == BLOB[1 << 20 : (1 << 20) + 4096]


def test_fifty_readers_at_once(root: Path) -> None:
    start = threading.Barrier(50)

    def read(number: int) -> None:
        start.wait(DEADLINE_S)
        for path, data in sorted(OPEN.items(), key=lambda item: hash((number, item[0]))):
            assert (root / path).read_bytes() == data

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(read, range(50)))


def test_usual_programs_are_content(root: Path, tmp_path: Path) -> None:
    for argv in (
        ["ls", "-laR", root],
        ["find", root, "-type", "f"],
        ["df", root],
        ["du", "-s", root],
        ["cp", "-a", root, tmp_path / "copy"],
        ["grep", "-r", "instructions", root],
    ):
        told = run(*argv, token=TOKEN)
        assert (told.returncode, told.stderr) == (0, b""), argv
    assert (tmp_path / "copy/odd/big").read_bytes() == BLOB
    subprocess.run(["chmod", "-R", "u+w", tmp_path], check=True)


def test_file_system_is_full(root: Path) -> None:
    found = os.statvfs(root)
    assert found.f_blocks * found.f_frsize >= len(BLOB) + len(SEALED)
    assert (found.f_bfree, found.f_bavail, found.f_ffree, found.f_namemax) == (0, 0, 0, 255)
    assert found.f_flag & os.ST_RDONLY
    assert found.f_flag & os.ST_NOSUID


WRITES: dict[str, Callable[[Path], object]] = {
    "open for writing": lambda root: os.open(root / "README.txt", os.O_WRONLY),
    "open for both": lambda root: os.open(root / "README.txt", os.O_RDWR),
    "open for appending": lambda root: os.open(root / "README.txt", os.O_WRONLY | os.O_APPEND),
    "open health": lambda root: os.open(root / "health", os.O_WRONLY),
    "truncate on opening": lambda root: os.open(root / "README.txt", os.O_WRONLY | os.O_TRUNC),
    "truncate": lambda root: os.truncate(root / "README.txt", 0),
    "create": lambda root: os.open(root / "new", os.O_CREAT | os.O_WRONLY),
    "create inside": lambda root: os.open(root / "plugin/new", os.O_CREAT | os.O_WRONLY),
    "create a fifo": lambda root: os.mkfifo(root / "new"),
    "make a directory": lambda root: (root / "new").mkdir(),
    "make a link": lambda root: os.link(root / "README.txt", root / "new"),
    "make a symbolic link": lambda root: (root / "new").symlink_to("README.txt"),
    "rename": lambda root: (root / "README.txt").rename(root / "new"),
    "rename over": lambda root: (root / "README.txt").rename(root / "health"),
    "remove": lambda root: (root / "README.txt").unlink(),
    "remove a directory": lambda root: (root / "odd").rmdir(),
    "change the mode": lambda root: (root / "README.txt").chmod(0o644),
    "change the owner": lambda root: os.chown(root / "README.txt", os.getuid(), os.getgid()),
    "change times": lambda root: os.utime(root / "README.txt"),
    "set an attribute": lambda root: os.setxattr(root / "README.txt", "user.a", b"1"),
    "remove an attribute": lambda root: os.removexattr(root / "README.txt", "user.a"),
}


@pytest.mark.parametrize("what", WRITES)
def test_writing_is_refused_as_read_only(root: Path, what: str) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        WRITES[what](root)
    assert caught.value.errno == errno.EROFS
    assert (root / "README.txt").read_bytes() == OPEN["README.txt"]


def test_extended_attributes_are_not_supported(root: Path) -> None:
    for ask in (lambda path: os.getxattr(path, "user.a"), os.listxattr):
        for path in (root, root / "README.txt"):
            with pytest.raises(OSError, match=r".") as caught:
                ask(path)
            assert caught.value.errno == errno.ENOTSUP


def test_unknown_names_are_not_found(root: Path) -> None:
    for name in ("none", "odd/none", "plugin/.mcp.json", "x" * 255):
        assert not (root / name).exists()
    with pytest.raises(NotADirectoryError):
        (root / "README.txt/none").stat()
    with pytest.raises(OSError, match="File name too long"):
        (root / ("x" * 256)).stat()


@pytest.mark.parametrize("token", ["", "of-nobody"])
def test_plugin_is_closed_outside_of_a_session(root: Path, token: str) -> None:
    told = run("cat", root / "plugin/agents/a.md", token=token)
    assert told.returncode == 1
    assert b"Permission denied" in told.stderr
    assert told.stdout == b""


def test_plugin_is_open_inside_of_a_session(root: Path) -> None:
    told = run("cat", root / "plugin/agents/a.md", root / "plugin/agents/b.md", token=TOKEN)
    assert told.stdout == b"instructions of ainstructions of b"


def test_descendants_are_inside_too(root: Path) -> None:
    told = run("sh", "-c", f"(sh -c 'cat {root}/plugin/agents/a.md')", token=TOKEN)
    assert told.stdout == b"instructions of a"


def test_pages_of_one_reader_are_not_for_the_next(root: Path) -> None:
    """The kernel has the content by then; who may open is decided all the same."""
    for _ in range(3):
        assert run("cat", root / "plugin/agents/a.md", token=TOKEN).returncode == 0
        with pytest.raises(PermissionError):
            (root / "plugin/agents/a.md").read_bytes()


def test_end_of_a_session_closes_the_plugin(scene: Stage) -> None:
    path = scene.mount / "plugin/agents/a.md"
    scene.daemon.tokens.add("short-lived")
    assert run("cat", path, token="short-lived").returncode == 0
    scene.daemon.tokens.remove("short-lived")
    assert run("cat", path, token="short-lived").returncode == 1


def test_each_session_gets_its_own_context(scene: Stage) -> None:
    path = scene.mount / "plugin/context/startup.md"
    scene.daemon.tokens.add("other")
    for token in (TOKEN, "other", TOKEN):
        assert run("cat", path, token=token).stdout == f"context of {token}".encode()
        size = run("stat", "-c", "%s", path, token=token).stdout
        assert int(size) == len(f"context of {token}")
    scene.daemon.tokens.remove("other")
    assert path.exists()
    with pytest.raises(PermissionError):
        path.read_bytes()


def test_sessions_at_once_never_get_each_others_context(scene: Stage) -> None:
    path = scene.mount / "plugin/context/startup.md"
    tokens = [f"session-{'x' * number}" for number in range(6)]
    scene.daemon.tokens |= set(tokens)

    def read(token: str) -> None:
        told = run("sh", "-c", f'for i in 1 2 3 4 5 6 7 8; do cat "{path}"; done', token=token)
        assert (told.stdout, told.stderr) == (8 * f"context of {token}".encode(), b"")

    with ThreadPoolExecutor(len(tokens)) as pool:
        list(pool.map(read, tokens))
    scene.daemon.tokens -= set(tokens)


@pytest.mark.needs("root")
def test_other_users_see_nothing(scene: Stage) -> None:
    scene.runtime.chmod(0o755)
    try:
        for argv in (["ls", str(scene.mount)], ["cat", str(scene.mount / "health")]):
            told = subprocess.run(argv, user=65534, capture_output=True, check=False)
            assert told.returncode != 0
            assert b"Permission denied" in told.stderr
    finally:
        scene.runtime.chmod(0o700)


def test_slow_file_keeps_nobody_else(scene: Stage) -> None:
    gate = scene.daemon.gates["odd/page"] = threading.Event()
    before = len(scene.daemon.fetches)
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit((scene.mount / "odd/page").read_bytes) for _ in range(4)]
        wait_until(lambda: len(scene.daemon.fetches) >= before + 4, "the daemon was asked")
        assert (scene.mount / "health").read_bytes() == b"OK\n"
        assert (scene.mount / "odd/byte").read_bytes() == b"x"
        assert not any(future.done() for future in slow)
        gate.set()
        assert {future.result() for future in slow} == {OPEN["odd/page"]}
    del scene.daemon.gates["odd/page"]
