# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cco.errors import Unavailable
from cco.vfs.mountpoint import Mount, MountPoint, find_mount, parse_mountinfo, prepare
from tests.ordinary import ask_as_ordinary_user, open_directory

MOUNTINFO = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
30 25 0:27 / /dev/shm rw,relatime shared:3 master:1 - tmpfs tmpfs rw,size=24684084k
42 27 0:39 / /run/user/1000/cco ro,nosuid,nodev shared:133 - fuse.cco cco ro,user_id=1000
43 27 0:40 / /tmp/a\040b\011c\012d\134e\303\251 ro - fuse.cco cco ro
44 43 0:41 / /tmp/-/x rw - ext4 /dev/disk\040one rw
45 27 0:42 / /run/user/1000/cco ro - tmpfs - ro
"""


def test_parse_mountinfo() -> None:
    assert list(parse_mountinfo(MOUNTINFO)) == [
        Mount(Path("/proc"), "proc"),
        Mount(Path("/dev/shm"), "tmpfs"),
        Mount(Path("/run/user/1000/cco"), "fuse.cco"),
        Mount(Path("/tmp/a b\tc\nd\\e\u00e9"), "fuse.cco"),
        Mount(Path("/tmp/-/x"), "ext4"),
        Mount(Path("/run/user/1000/cco"), "tmpfs"),
    ]


def test_find_mount_wants_the_very_path() -> None:
    proc = find_mount(Path("/proc"))
    assert proc is not None
    assert proc.kind == "proc"
    assert find_mount(Path("/proc/self")) is None


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file that can be opened as the device must be."""
    path = tmp_path / "fuse"
    path.touch()
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "fusermount"
    path.symlink_to("/bin/true")
    return path


@contextmanager
def prepared(path: Path, device: Path, program: Path) -> Iterator[MountPoint]:
    point = prepare(path, uid=os.getuid(), programs=[program], device=device)
    try:
        yield point
    finally:
        point.release()


@pytest.fixture
def point(tmp_path: Path, device: Path, program: Path) -> Iterator[MountPoint]:
    with prepared(tmp_path / "cco", device, program) as found:
        yield found


def refusal(path: Path, device: Path, program: Path, *, uid: int | None = None) -> Unavailable:
    wanted = os.getuid() if uid is None else uid
    with pytest.raises(Unavailable) as caught:
        prepare(path, uid=wanted, programs=[program], device=device)
    assert caught.value.hint
    assert not caught.value.message.endswith(".")
    return caught.value


def test_directory_is_made_for_us_alone(point: MountPoint, tmp_path: Path) -> None:
    assert point.path == tmp_path / "cco"
    assert point.path.stat().st_mode & 0o7777 == 0o700


def test_release_removes_it_once(point: MountPoint) -> None:
    point.release()
    assert not point.path.exists()
    point.path.mkdir()
    point.release()
    assert point.path.exists()


def test_release_of_what_is_gone_is_quiet(point: MountPoint) -> None:
    point.path.rmdir()
    point.release()


def test_release_leaves_what_others_put_there(point: MountPoint) -> None:
    (point.path / "theirs").touch()
    point.release()
    assert (point.path / "theirs").exists()


def test_empty_directory_of_ours_is_taken(tmp_path: Path, device: Path, program: Path) -> None:
    path = tmp_path / "cco"
    path.mkdir(mode=0o755)
    with prepared(path, device, program) as point:
        assert path.stat().st_mode & 0o7777 == 0o700
        assert point.path == path
    assert not path.exists()


def test_link_in_the_way_there_is_followed(tmp_path: Path, device: Path, program: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    path = tmp_path / "var" / "cco"
    with prepared(path, device, program) as point:
        assert point.path == tmp_path / "run" / "cco"  # as mountinfo will call it


def test_second_process_is_refused(point: MountPoint, device: Path, program: Path) -> None:
    found = refusal(point.path, device, program)
    assert found.code == "mount-live"
    assert str(point.path) in found.message
    assert point.path.is_dir()


@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        ("file", "mount-no-directory", "is a file"),
        ("link", "mount-no-directory", "is a symbolic link"),
        ("dangling", "mount-no-directory", "is a symbolic link"),
        ("full", "mount-not-empty", "is not empty"),
    ],
)
def test_what_cannot_be_mounted_on_is_left_alone(
    tmp_path: Path, device: Path, program: Path, made: str, code: str, said: str
) -> None:
    path = tmp_path / "cco"
    match made:
        case "file":
            path.write_text("mine")
        case "link":
            (tmp_path / "elsewhere").mkdir()
            path.symlink_to("elsewhere")
        case "dangling":
            path.symlink_to("nowhere")
        case _:
            path.mkdir()
            (path / "mine").touch()
    before = path.lstat()
    found = refusal(path, device, program)
    assert (found.code, said in found.message) == (code, True)
    assert path.lstat().st_ino == before.st_ino


def test_directory_of_another_user_is_refused(tmp_path: Path, device: Path, program: Path) -> None:
    path = tmp_path / "cco"
    path.mkdir()
    found = refusal(path, device, program, uid=os.getuid() + 1)
    assert (found.code, "belongs to another user" in found.message) == ("mount-foreign", True)


def test_foreign_mount_is_refused(device: Path, program: Path) -> None:
    found = refusal(Path("/proc"), device, program)
    assert (found.code, "(proc)" in found.message) == ("mount-foreign", True)


@pytest.mark.parametrize("parent", ["missing", "fuse"])  # no directory, no directory at all
def test_missing_parent_is_named(tmp_path: Path, device: Path, program: Path, parent: str) -> None:
    found = refusal(tmp_path / parent / "cco", device, program)
    assert (found.code, str(tmp_path / parent) in found.message) == ("mount-parent-missing", True)


def test_missing_device(tmp_path: Path, program: Path) -> None:
    found = refusal(tmp_path / "cco", tmp_path / "none", program)
    assert (found.code, "modprobe fuse" in (found.hint or "")) == ("fuse-missing", True)
    assert not (tmp_path / "cco").exists()


def test_missing_fusermount(tmp_path: Path, device: Path) -> None:
    found = refusal(tmp_path / "cco", device, tmp_path / "none")
    assert (found.code, "apt install fuse3" in (found.hint or "")) == ("fusermount-missing", True)
    assert not (tmp_path / "cco").exists()


@pytest.mark.parametrize(
    ("path", "device", "code"),
    [("open/cco", "closed", "fuse-denied"), ("shut/cco", "open/device", "mount-denied")],
)
def test_missing_permission(path: str, device: str, code: str) -> None:
    """Ask as an ordinary user, for whom alone permissions count."""
    with open_directory() as base:
        for directory, mode in (("open", 0o777), ("shut", 0o555)):
            (base / directory).mkdir()
            (base / directory).chmod(mode)
        for file, mode in (("closed", 0o000), ("open/device", 0o666)):
            (base / file).touch()
            (base / file).chmod(mode)
        told = ask_as_ordinary_user(
            lambda: refusal(base / path, base / device, Path("/bin/true")).code
        )
        assert told == code
