# SPDX-License-Identifier: Apache-2.0
"""The lock that says that a daemon lives, and the end that follows a parent's."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cco.daemon.lifeline import LOCK_FD, hold, is_supervisor
from cco.errors import Unavailable
from tests.capabilities import ROOT
from tests.mounting import wait_until

ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cco.pid"


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_lock_is_held_and_gone_with_its_file(path: Path) -> None:
    with hold(path) as fd:
        assert fd >= LOCK_FD  # in nobody's way
        assert not os.get_inheritable(fd)
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o600
        assert is_locked(path)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "123456789012\n", "garbage\n"])
def test_file_that_nobody_holds_is_taken_over(text: str, path: Path) -> None:
    path.write_text(text)
    with hold(path, patience_s=0):
        assert path.read_text() == f"{os.getpid()}\n"


def test_second_daemon_is_refused(path: Path) -> None:
    # `hold` in a process whose command line is a supervisor's.
    script = (
        "import sys; from pathlib import Path; from cco.daemon.lifeline import hold\n"
        "with hold(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path, "cco.daemon.supervise"],
        env=ENVIRON,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Unavailable) as caught, hold(path):  # at once, without patience
            pass
        assert path.read_text() == f"{other.pid}\n"

    assert caught.value.code == "already-running"
    assert caught.value.message == f"another CCO daemon (pid {other.pid}) lives in {path.parent}"
    assert caught.value.hint == "See: cco daemon status"
    assert not path.exists()


def test_what_a_killed_daemon_left_is_waited_for(path: Path) -> None:
    path.write_text("1\n")
    remains = path.open()
    fcntl.flock(remains, fcntl.LOCK_EX)
    end = threading.Timer(0.2, remains.close)
    end.start()
    with hold(path, patience_s=30):
        assert path.read_text() == f"{os.getpid()}\n"
    end.join()


def test_what_a_killed_daemon_left_for_good_is_told(path: Path) -> None:
    path.write_text("1\n")
    with path.open() as remains:
        fcntl.flock(remains, fcntl.LOCK_EX)
        with pytest.raises(Unavailable) as caught, hold(path, patience_s=0):
            pass
    assert caught.value.code == "already-running"
    assert path.exists()


def test_lock_on_a_removed_file_is_worth_nothing(path: Path) -> None:
    with hold(path) as first:
        path.unlink()
        with hold(path, patience_s=0) as second:  # another file by now
            assert first != second
            assert path.exists()


def test_children_keep_the_lock(path: Path) -> None:
    with hold(path) as fd:
        os.set_inheritable(fd, True)
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    assert not path.exists()
    with child:
        assert is_locked(Path(f"/proc/{child.pid}/fd/{fd}"))  # the removed file, still


def test_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught, hold(tmp_path / "none" / "cco.pid"):
        pass

    assert caught.value.code == "runtime-unusable"
    assert "No such file or directory" in caught.value.message


@pytest.mark.parametrize(
    ("pid", "command", "is_one"),
    [
        (b"7", b"python3\0-I\0-m\0cco.daemon.supervise\0--background\0", True),
        (b"7", b"python3\0-I\0-m\0cco.daemon\0", False),
        (b"7", b"", False),  # a zombie
        (b"8", b"cco.daemon.supervise", False),  # gone
        (b"", b"cco.daemon.supervise", False),
        (b"../7", b"cco.daemon.supervise", False),
    ],
)
def test_supervisor_is_known_by_its_command_line(
    pid: bytes, command: bytes, is_one: bool, tmp_path: Path
) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_bytes(command)

    assert is_supervisor(pid, proc=tmp_path) is is_one


FAMILY = """\
import os, signal, sys, time
from cco.daemon.lifeline import end_with_parent
us = os.getpid()
pid = os.fork()
if pid == 0:
    end_with_parent(signal.SIGKILL, parent=us)
    print(os.getpid(), flush=True)
    while True:
        time.sleep(1000)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_parent(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], env=ENVIRON, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.stdout.read() == ""  # it ends when the child, too, has let go of it
    wait_until(lambda: not is_alive(child), "the child has ended")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_child_whose_parent_has_gone_already_ends_at_once() -> None:
    script = (
        "import os, signal\nfrom cco.daemon.lifeline import end_with_parent\n"
        "end_with_parent(signal.SIGKILL, parent=os.getppid() + 1)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRON, check=False)

    assert done.returncode == -signal.SIGKILL
