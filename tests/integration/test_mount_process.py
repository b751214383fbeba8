# SPDX-License-Identifier: Apache-2.0
"""The life of the mount process: start, readiness, the daemon's absences, death and end."""

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cco.vfs.source import AWAY
from tests.mounting import (
    DEADLINE_S,
    Served,
    Stage,
    is_mounted,
    stage,
    sweep_leftovers,
    wait_until,
)

pytestmark = pytest.mark.needs("fuse")

FILES = {
    ".manifest": Served(b"{}"),
    "agents.sealed": Served(b"old" * 100_000),
    "plugin/agents/a.md": Served(b"instructions", access="session"),
}


@pytest.fixture(scope="module", autouse=True)
def clean_host() -> None:
    sweep_leftovers()


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage(FILES) as found:
        yield found


def health(scene: Stage) -> str:
    return (scene.mount / "health").read_text()


def test_readiness_comes_after_a_read_through_the_kernel(scene: Stage) -> None:
    gate = scene.daemon.gates[".manifest"] = threading.Event()
    process = scene.start()
    wait_until(lambda: is_mounted(scene.mount), "it is mounted")
    wait_until(lambda: scene.daemon.fetches, "it reads the manifest")
    assert scene.daemon.reports == []
    gate.set()
    process.wait_ready()
    wait_until(lambda: scene.daemon.reports, "it has reported")
    report = scene.daemon.reports[0]
    assert (report["pid"], report["path"]) == (process.process.pid, str(scene.mount))
    assert report["status"] == "ok"
    assert 0 < report["pssBytes"] <= report["rssBytes"]
    assert "cpuPercent" not in report  # of a moment it would say nothing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_it_cleanly(scene: Stage, number: signal.Signals) -> None:
    process = scene.start().wait_ready()
    process.process.send_signal(number)
    process.wait_for_notice("STOPPING=1")
    assert process.wait() == 0
    assert not scene.mount.exists()
    assert not is_mounted(scene.mount)


def test_stop_with_an_open_file_and_somebody_inside(scene: Stage) -> None:
    process = scene.start().wait_ready()
    with (scene.mount / "agents.sealed").open("rb") as file:
        inside = subprocess.Popen(["cat"], cwd=scene.mount / "plugin", stdin=subprocess.PIPE)
        assert file.read(3) == b"old"
        assert process.stop() == 0
        assert not scene.mount.exists()
        inside.communicate()
    scene.start().wait_ready()
    assert health(scene) == "OK\n"


def test_signal_while_it_waits_for_the_daemon(scene: Stage) -> None:
    scene.daemon.stop()
    process = scene.start()
    tasks = Path(f"/proc/{process.process.pid}/task")
    wait_until(lambda: len(list(tasks.iterdir())) > 1, "it minds signals")
    assert process.stop() == 0
    assert not scene.mount.exists()


def test_no_daemon_is_exit_69(scene: Stage) -> None:
    scene.daemon.stop()
    process = scene.start("--patience", "0.2")
    assert process.wait() == os.EX_UNAVAILABLE
    assert f"no CCO daemon serves {scene.daemon.path}. Start it with:" in process.errors
    assert not scene.mount.exists()


def test_daemon_may_come_later(scene: Stage) -> None:
    scene.daemon.stop()
    process = scene.start()
    assert not is_mounted(scene.mount)
    scene.daemon.start()
    process.wait_ready()


def test_files_that_cannot_be_read_are_exit_69(scene: Stage) -> None:
    del scene.daemon.files[".manifest"]
    process = scene.start()
    assert process.wait() == os.EX_UNAVAILABLE
    assert f"the files on {scene.mount} cannot be read" in process.errors
    assert not scene.mount.exists()


def test_full_directory_is_exit_69_and_left_alone(scene: Stage) -> None:
    scene.mount.mkdir()
    (scene.mount / "mine").write_text("mine")
    process = scene.start()
    assert process.wait() == os.EX_UNAVAILABLE
    assert f"the directory {scene.mount} is not empty" in process.errors
    assert (scene.mount / "mine").read_text() == "mine"


def test_place_can_be_chosen(scene: Stage) -> None:
    place = scene.runtime / "else where"
    process = scene.start("--mount", str(place))
    process.wait_for_notice(f"Mounted on {place}")
    assert (place / "health").read_text() == "OK\n"
    assert process.stop() == 0
    assert not place.exists()


def test_second_process_leaves_the_first_alone(scene: Stage) -> None:
    first = scene.start().wait_ready()
    second = scene.start()
    assert second.wait() == os.EX_UNAVAILABLE
    assert f"a running CCO has its files mounted on {scene.mount}" in second.errors
    assert health(scene) == "OK\n"
    assert first.process.poll() is None


def test_of_many_started_at_once_one_mounts(scene: Stage) -> None:
    processes = [scene.start() for _ in range(6)]
    wait_until(
        lambda: sum(process.process.poll() is None for process in processes) == 1, "one is left"
    )
    (winner,) = [process for process in processes if process.process.poll() is None]
    winner.wait_ready()
    assert {process.wait() for process in processes if process is not winner} == {69}
    assert health(scene) == "OK\n"


class Readers:
    """Threads that open and read a file again and again, and count what goes wrong."""

    def __init__(self, path: Path, *, count: int) -> None:
        self.reads = 0
        self.wrong: list[bytes] = []
        self._path = path
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _read(self) -> None:
        while not self._is_over.is_set():
            try:
                data = self._path.read_bytes()
            except OSError:
                self._is_over.wait(0.001)
                continue
            self.reads += 1
            if data != b"old" * 100_000:
                self.wrong.append(data)


def test_killed_under_load_it_recovers_by_itself(scene: Stage) -> None:
    with Readers(scene.mount / "agents.sealed", count=50) as readers:
        for _ in range(3):
            process = scene.start().wait_ready()
            before = readers.reads
            wait_until(lambda: readers.reads > before + 100, "readers read")  # noqa: B023
            process.stop(signal.SIGKILL)
            with pytest.raises(OSError, match="not connected"):
                os.statvfs(scene.mount)
        scene.start().wait_ready()
        before = readers.reads
        wait_until(lambda: readers.reads > before + 100, "readers read again")
    assert readers.wrong == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert mounts.count(str(scene.mount)) == 1


def test_killed_while_it_proves_itself(scene: Stage) -> None:
    """It must not wait for a file of its own: nothing could end it then."""
    process = scene.start().wait_ready()
    wait_until(lambda: scene.daemon.reports, "it has reported")
    scene.daemon.gates[".manifest"] = threading.Event()
    before = len(scene.daemon.fetches)
    scene.daemon.publish()
    wait_until(lambda: len(scene.daemon.fetches) > before, "it reads the manifest again")
    process.stop(signal.SIGKILL)
    scene.daemon.gates.pop(".manifest").set()
    scene.start().wait_ready()


def test_health_tells_the_truth_both_ways(scene: Stage) -> None:
    scene.start().wait_ready()
    wait_until(lambda: scene.daemon.reports, "it has reported")
    for _ in range(2):
        scene.daemon.reports.clear()
        scene.daemon.stop()
        wait_until(lambda: health(scene) == f"{AWAY}\n", "health says that the daemon is away")
        assert (scene.mount / "health").stat().st_size == len(AWAY) + 1
        with pytest.raises(OSError, match=r".") as caught:
            (scene.mount / "agents.sealed").read_bytes()
        assert caught.value.errno == errno.EIO
        assert scene.mount / "agents.sealed" in scene.mount.iterdir()
        scene.daemon.start()
        wait_until(lambda: health(scene) == "OK\n", "health says that the daemon is back")
        assert (scene.mount / "agents.sealed").read_bytes() == b"old" * 100_000
        wait_until(lambda: scene.daemon.reports, "the new daemon is told how the mount is")


def test_ailing_daemon_is_heard(scene: Stage) -> None:
    scene.start().wait_ready()
    scene.daemon.health = "ERROR: no agents. Run: cco doctor"
    scene.daemon.publish()
    wait_until(lambda: health(scene).startswith("ERROR: no agents"), "health says so")


def test_open_file_outlives_the_daemon_and_its_own_content(scene: Stage) -> None:
    scene.start().wait_ready()
    path = scene.mount / "agents.sealed"
    with path.open("rb") as old:
        assert old.read(3) == b"old"
        scene.daemon.files["agents.sealed"] = Served(b"newer" * 70_000)
        scene.daemon.publish()
        wait_until(lambda: path.stat().st_size == 350_000, "the new size is seen")
        assert path.read_bytes() == b"newer" * 70_000
        scene.daemon.stop()
        assert old.read() == (b"old" * 100_000)[3:]
        assert os.fstat(old.fileno()).st_size == 300_000


def test_new_content_is_read_before_its_announcement(scene: Stage) -> None:
    scene.start().wait_ready()
    path = scene.mount / "agents.sealed"
    assert path.read_bytes() == b"old" * 100_000
    for number in range(5):
        data = b"%d" % number * (1000 + number)
        scene.daemon.files["agents.sealed"] = Served(data)
        assert path.read_bytes() == data


def test_file_can_come_and_go(scene: Stage) -> None:
    scene.start().wait_ready()
    path = scene.mount / "plugin/agents/more/b.md"
    assert not path.exists()
    scene.daemon.files["plugin/agents/more/b.md"] = Served(b"b")
    scene.daemon.publish()
    wait_until(path.exists, "the new file is there")
    assert path.read_bytes() == b"b"
    del scene.daemon.files["plugin/agents/more/b.md"]
    scene.daemon.publish()
    wait_until(lambda: not path.exists(), "it is gone")
    assert not path.parent.exists()


def test_silent_daemon_is_an_error_after_its_time(scene: Stage) -> None:
    scene.start().wait_ready()
    scene.daemon.gates["agents.sealed"] = threading.Event()
    with pytest.raises(OSError, match=r".") as caught:
        (scene.mount / "agents.sealed").read_bytes()
    assert caught.value.errno == errno.EIO
    assert health(scene) == "OK\n"


def test_stop_does_not_wait_for_a_silent_daemon(scene: Stage) -> None:
    process = scene.start().wait_ready()
    scene.daemon.gates["agents.sealed"] = threading.Event()
    before = len(scene.daemon.fetches)
    with subprocess.Popen(["cat", scene.mount / "agents.sealed"], stderr=subprocess.PIPE) as reader:
        wait_until(lambda: len(scene.daemon.fetches) > before, "the daemon is asked")
        assert process.stop() == 0
        assert not scene.mount.exists()
        assert reader.wait(DEADLINE_S) == 1


def test_unmounted_behind_its_back_it_asks_to_be_started_again(scene: Stage) -> None:
    process = scene.start().wait_ready()
    wait_until(lambda: scene.daemon.reports, "it has reported")
    subprocess.run(["fusermount", "-u", scene.mount], check=True)
    assert process.wait() == os.EX_UNAVAILABLE
    assert f"somebody has unmounted {scene.mount}" in process.errors
    assert not scene.mount.exists()


def test_detached_behind_its_back_while_in_use(scene: Stage) -> None:
    process = scene.start().wait_ready()
    with (scene.mount / "agents.sealed").open("rb") as file:
        wait_until(lambda: scene.daemon.reports, "it has reported")
        subprocess.run(["fusermount", "-u", "-z", scene.mount], check=True)
        assert file.read(3) == b"old"
        scene.daemon.publish()  # or within a minute
        assert process.wait() == os.EX_UNAVAILABLE
    assert f"somebody has unmounted {scene.mount}" in process.errors


def test_place_that_the_settings_name_is_taken(scene: Stage) -> None:
    """A user set [vfs] mount, and the mount came up in the usual place all the same."""
    elsewhere = scene.runtime / "elsewhere"
    scene.daemon.mount_setting = str(elsewhere)
    process = scene.start()
    process.wait_for_notice("READY=1")

    assert (elsewhere / "health").read_text() == "OK\n"
    process.stop()
    assert not elsewhere.exists()


def test_daemon_hears_why_there_is_no_mount(scene: Stage) -> None:
    """`cco` said only that the mount was not there."""
    scene.daemon.mount_setting = str(scene.runtime / "taken")
    (scene.runtime / "taken").write_text("mine")
    assert scene.start().wait() == os.EX_UNAVAILABLE

    [report] = scene.daemon.reports
    assert report["status"] == "error"
    assert "taken is a file" in report["message"]
