# SPDX-License-Identifier: Apache-2.0
"""Where things are, for everybody; and that nobody else could have put the directory there."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cco.errors import ConfigError, RequestError, Unavailable
from cco.paths import Paths, check_state, locate, make_runtime

HOME = {"HOME": "/home/ada"}
STATE = "/home/ada/.local/state/cco"
USER = 4242
"""An ordinary user, who has no login here."""


def paths_in(runtime: Path) -> Paths:
    return locate({"CCO_RUNTIME_DIR": str(runtime)}, uid=os.getuid())


@pytest.mark.parametrize(
    ("environ", "uid", "runtime", "state"),
    [
        # uid 0, and the system units
        ({"HOME": "/root"}, 0, "/run", "/var/lib/cco"),
        ({"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run", "/var/lib/cco"),
        ({"STATE_DIRECTORY": "/var/lib/cco"}, 0, "/run", "/var/lib/cco"),
        # a user with XDG_RUNTIME_DIR
        ({**HOME, "XDG_RUNTIME_DIR": "/run/user/1"}, USER, "/run/user/1", STATE),
        ({**HOME, "XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s"}, USER, "/r", "/s/cco"),
        (
            {**HOME, "XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s", "STATE_DIRECTORY": "/d"},
            USER,
            "/r",
            "/d",
        ),
        ({**HOME, "XDG_RUNTIME_DIR": "/r", "STATE_DIRECTORY": "/d:/e"}, USER, "/r", "/d"),
        # a user without
        (HOME, USER, "/tmp/cco-4242", STATE),
        ({**HOME, "TMPDIR": "/scratch"}, USER, "/scratch/cco-4242", STATE),
        ({**HOME, "TMPDIR": ""}, USER, "/tmp/cco-4242", STATE),
        ({**HOME, "TMPDIR": "scratch"}, USER, "/tmp/cco-4242", STATE),
        # XDG: relative paths do not count
        ({**HOME, "XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "s"}, USER, "/tmp/cco-4242", STATE),
        ({**HOME, "XDG_RUNTIME_DIR": "", "XDG_STATE_HOME": ""}, USER, "/tmp/cco-4242", STATE),
        # a second daemon, of anybody
        ({**HOME, "CCO_RUNTIME_DIR": "/c", "XDG_RUNTIME_DIR": "/r"}, USER, "/c", STATE),
        ({**HOME, "CCO_RUNTIME_DIR": "/c"}, 0, "/c", STATE),
        ({**HOME, "CCO_RUNTIME_DIR": "/c", "XDG_STATE_HOME": "/s"}, 0, "/c", "/s/cco"),
        # no home
        ({"XDG_RUNTIME_DIR": "/r"}, USER, "/r", "/.local/state/cco"),
    ],
)
def test_everything_has_its_place(
    environ: Mapping[str, str], uid: int, runtime: str, state: str, tmp_path: Path
) -> None:
    paths = locate(environ, uid=uid, logins=tmp_path / "none")

    assert paths.runtime == Path(runtime)
    assert paths.mount == Path(runtime, "cco")
    assert paths.socket == Path(runtime, "cco.sock")
    assert paths.state == Path(state)
    assert paths.log_file == Path(state, "cco.log")
    assert {paths.pid_file.parent, paths.start_lock.parent} == {Path(runtime)}


@contextlib.contextmanager
def socket_at(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        yield


def test_login_that_the_systems_daemon_serves_finds_it(tmp_path: Path) -> None:
    own, system = tmp_path / "own", tmp_path / "system"
    own.mkdir()
    system.mkdir()
    environ = {**HOME, "XDG_RUNTIME_DIR": str(own)}
    with socket_at(system / "cco.sock"):
        if os.getuid() == 0:  # whose one place is the system's anyway
            os.chown(system / "cco.sock", USER, -1)
        uid = (system / "cco.sock").stat().st_uid
        found = locate(environ, uid=uid, system=system)
        assert (found.socket, found.mount) == (system / "cco.sock", system / "cco")
        assert (found.state, found.is_system) == (Path("/var/lib/cco"), True)
        assert found.start_lock.parent == own  # the launcher's own files stay where it may write

        other = locate(environ, uid=uid + 1, system=system)
        assert (other.socket, other.is_system) == (own / "cco.sock", False)

        with socket_at(own / "cco.sock"):  # one's own comes first
            assert locate(environ, uid=uid, system=system).socket == own / "cco.sock"

        second = locate({**environ, "CCO_RUNTIME_DIR": "/c"}, uid=uid, system=system)
        assert (second.socket, second.is_system) == (Path("/c/cco.sock"), False)


def test_file_in_the_place_of_the_systems_socket_is_no_daemon(tmp_path: Path) -> None:
    (tmp_path / "cco.sock").touch()
    environ = {**HOME, "XDG_RUNTIME_DIR": str(tmp_path / "none")}
    found = locate(environ, uid=(tmp_path / "cco.sock").stat().st_uid or USER, system=tmp_path)
    assert not found.is_system


def test_systems_daemon_knows_that_it_is_one() -> None:
    environ = {**HOME, "CCO_RUNTIME_DIR": "/run", "STATE_DIRECTORY": "/var/lib/cco"}
    found = locate(environ, uid=USER)
    assert (found.socket, found.is_system) == (Path("/run/cco.sock"), True)
    assert locate({"HOME": "/root"}, uid=0).is_system


@pytest.mark.parametrize(
    ("environ", "config"),
    [
        (HOME, "/home/ada/.config/cco"),
        ({**HOME, "XDG_CONFIG_HOME": "/c"}, "/c/cco"),
        ({**HOME, "XDG_CONFIG_HOME": "c"}, "/home/ada/.config/cco"),
        ({}, "/.config/cco"),
    ],
)
def test_settings_are_the_users(environ: Mapping[str, str], config: str) -> None:
    assert locate(environ, uid=USER).config == Path(config)


def test_directory_of_a_login_is_used_where_it_is_the_users(tmp_path: Path) -> None:
    uid = os.getuid() or USER
    ours = tmp_path / str(uid)
    ours.mkdir()
    os.chown(ours, uid, -1)

    assert locate(HOME, uid=uid, logins=tmp_path).runtime == ours


@pytest.mark.needs("root")
def test_directory_of_a_login_is_not_used_where_it_is_anothers(tmp_path: Path) -> None:
    (tmp_path / str(USER)).mkdir()

    assert locate(HOME, uid=USER, logins=tmp_path).runtime == Path("/tmp/cco-4242")


def test_relative_runtime_directory_is_refused() -> None:
    # The daemon lives in another directory and would make another one.
    with pytest.raises(ConfigError) as caught:
        locate({"CCO_RUNTIME_DIR": "here"}, uid=USER)

    assert caught.value.code == "runtime-relative"
    assert caught.value.hint == f"Set it to: {Path.cwd() / 'here'}"


def test_runtime_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    runtime = tmp_path / "r"
    before = os.umask(0)
    try:
        make_runtime(paths_in(runtime), uid=os.getuid())
    finally:
        os.umask(before)

    assert runtime.stat().st_mode & 0o7777 == 0o700
    make_runtime(paths_in(runtime), uid=os.getuid())  # a second time is as well


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o500, 0o2755])
def test_directory_that_only_we_may_write_to_is_good(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)

    make_runtime(paths_in(tmp_path), uid=os.getuid())
    tmp_path.chmod(0o700)


def make_writable(mode: int) -> Callable[[Path], None]:
    def make(runtime: Path) -> None:
        runtime.mkdir()
        runtime.chmod(mode)

    return make


def make_link(runtime: Path) -> None:
    # Somebody else could have made it, and could turn it elsewhere after our check.
    target = runtime.with_name("target")
    target.mkdir(mode=0o700)
    runtime.symlink_to(target)


def make_foreign(runtime: Path) -> None:
    runtime.mkdir(mode=0o700)
    os.chown(runtime, USER, -1)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (make_writable(0o770), "others may write to"),
        (make_writable(0o707), "others may write to"),
        (make_writable(0o1777), "others may write to"),  # like /tmp itself
        (make_link, "is a symbolic link"),
        pytest.param(make_foreign, "another user", marks=pytest.mark.needs("root")),
    ],
)
def test_directory_that_is_not_ours_alone_is_refused(
    tmp_path: Path, make: Callable[[Path], None], told: str
) -> None:
    runtime = tmp_path / "r"
    make(runtime)
    with pytest.raises(Unavailable) as caught:
        make_runtime(paths_in(runtime), uid=os.getuid())

    assert caught.value.code == "runtime-unsafe"
    assert told in caught.value.message
    assert str(runtime) in caught.value.message
    assert caught.value.hint


def test_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Unavailable):
        make_runtime(paths_in(tmp_path / "r"), uid=os.getuid())

    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing/r", "No such file or directory"),  # nobody has made the parent
        ("file", "File exists"),
        ("file/r", "Not a directory"),
    ],
)
def test_directory_that_cannot_be_made_is_told(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable) as caught:
        make_runtime(paths_in(tmp_path / name), uid=os.getuid())

    assert caught.value.code == "runtime-missing"
    assert told in caught.value.message
    assert "XDG_RUNTIME_DIR" in (caught.value.hint or "")


def test_directory_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * (100 - len(str(tmp_path))))
    with pytest.raises(Unavailable) as caught:
        make_runtime(paths_in(deep), uid=os.getuid())

    assert caught.value.code == "runtime-too-long"
    assert not deep.exists()


@pytest.mark.needs("root")
def test_state_of_another_login_is_not_taken_over(tmp_path: Path) -> None:
    check_state(tmp_path / "none", uid=0, name="root")
    os.chown(tmp_path, USER, USER)
    check_state(tmp_path, uid=0, name="root")  # empty, so there is nothing to take
    (tmp_path / "cco.db").touch()
    check_state(tmp_path, uid=USER, name="ada")
    with pytest.raises(RequestError, match="which root would take over") as caught:
        check_state(tmp_path, uid=0, name="root")
    assert caught.value.code == "foreign-state"
