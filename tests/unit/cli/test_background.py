# SPDX-License-Identifier: Apache-2.0
"""The supervisor in the background: who holds the lock, and why one did not come up."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cco import paths
from cco.cli.background import Background, reason
from cco.errors import CcoError, ConfigError, Unavailable
from tests.unit.cli.test_service import make_service, supervising


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    (tmp_path / "r").mkdir(mode=0o700)
    return paths.locate({"CCO_RUNTIME_DIR": str(tmp_path / "r")}, uid=os.getuid())


@pytest.mark.parametrize("text", [None, "", "123\n", "not a pid"])
def test_file_that_nobody_locks_means_nobody(text: str | None, where: paths.Paths) -> None:
    if text is not None:
        where.pid_file.write_text(text)

    assert Background(where, {}).holder() is None


def test_supervisor_is_told_by_its_pid(where: paths.Paths) -> None:
    with supervising(make_service(where.runtime)) as process:
        assert Background(where, {}).holder() == process.pid


@pytest.mark.parametrize("text", ["", "garbage", "99999999", "1"])
def test_what_a_killed_supervisor_left_is_told_apart(text: str, where: paths.Paths) -> None:
    # Its children hold the lock still; the pid is nobody's, or another program's by now.
    where.pid_file.write_text(text)
    with where.pid_file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert Background(where, {}).holder() == 0


def test_one_starter_at_a_time(where: paths.Paths) -> None:
    inside: list[int] = []
    most: list[int] = []

    def start() -> None:
        for _ in range(20):
            with Background(where, {}).start_lock():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(most) == 160
    assert max(most) == 1
    assert not where.start_lock.exists()  # its file is there only meanwhile


def test_starter_that_dies_holds_nobody_up(where: paths.Paths) -> None:
    script = (
        "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600);"
        "fcntl.flock(fd, fcntl.LOCK_EX); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", script, where.start_lock], check=False)
    assert where.start_lock.exists()

    with Background(where, {}).start_lock():
        pass
    assert not where.start_lock.exists()


@pytest.mark.parametrize(
    ("status", "said", "kind", "message", "hint"),
    [
        # its own words
        (69, b"cco: no\ndo that\n", Unavailable, "no", "do that"),
        (69, b"cco: no\n", Unavailable, "no", None),
        (78, b"cco: f.toml:1: no\nhint\n", ConfigError, "f.toml:1: no", "hint"),
        (69, b"something else\n\ncco: no\n  do that\n", Unavailable, "no", "do that"),
        # failing that, those of the log
        (
            69,
            b"2026-11-22T10:00:00.000Z ERROR cco.vfs.process: No /dev/fuse. Load it: modprobe\n",
            Unavailable,
            "No /dev/fuse",
            "Load it: modprobe",
        ),
        (69, b"2026 ERROR cco.x: only a sentence\n", Unavailable, "only a sentence", None),
        (1, b"2026 WARNING cco.x: never mind\n", Unavailable, "the daemon did not start", "logs"),
        (-9, b"", Unavailable, "the daemon did not start", "logs"),
        (1, b"\xff\xfe\n", Unavailable, "the daemon did not start", "logs"),
    ],
)
def test_reason_is_the_supervisors_own(
    status: int, said: bytes, kind: type[CcoError], message: str, hint: str | None
) -> None:
    error = reason(status, said)

    assert type(error) is kind
    assert (error.code, error.message) == ("daemon-failed", message)
    assert error.hint == ("See: cco daemon logs" if hint == "logs" else hint)


def test_supervisor_that_cannot_start_tells_why(where: paths.Paths, tmp_path: Path) -> None:
    settings = tmp_path / "cco.toml"
    settings.write_text("[server]\nprot = 1\n")
    environ = {
        **os.environ,
        "CCO_RUNTIME_DIR": str(where.runtime),
        "CCO_CONFIG": str(settings),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    with pytest.raises(ConfigError) as caught:
        Background(where, environ).spawn()

    assert caught.value.message == f"{settings}:2: unknown key 'prot' in [server]"
    assert caught.value.hint == "Did you mean 'port'?"
    assert list(where.runtime.iterdir()) == []
