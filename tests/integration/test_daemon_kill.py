# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` of each process of the daemon while it works: it comes back by itself."""

import signal
import subprocess
from collections.abc import Callable
from typing import Final

import psutil
import pytest

from tests.daemon import (
    CCO,
    Daemon,
    Launched,
    Load,
    Readers,
    asking,
    call,
    fake_claude,
    free_port,
    is_true,
    readable_files,
)
from tests.mounting import is_mounted, wait_until

THREADS: Final = 4

VICTIMS: Final[dict[str, Callable[[Daemon], list[psutil.Process]]]] = {
    "arbiter": lambda cco: [cco.arbiter],
    "worker": lambda cco: [cco.worker],
    "mount": lambda cco: [cco.mounter],
    "all three": lambda cco: [cco.arbiter, cco.worker, cco.mounter],
}


def kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        victim.suspend()  # so that none sees the others die before it does
    for victim in victims:
        victim.kill()


def assert_goes_on(cco: Daemon, session: Launched) -> None:
    """Everything that a running Claude Code uses is there."""
    port = cco.port
    answer = call(port, "POST", f"/s/{session.id}/v1/messages", body=asking("hello"))
    assert answer.status == 200
    headers = {"x-cco-session": session.token}
    hook = call(
        port, "POST", "/api/hooks/SubagentStart", body=b'{"session_id":"x"}', headers=headers
    )
    assert hook.status == 204
    inside = cco.read_inside("plugin/.claude-plugin/plugin.json", session.token)
    assert (inside.returncode, inside.stderr) == (0, b"")
    assert cco.read_inside("CLAUDE.md", "no-such-token").returncode == 1
    assert (cco.mount / "health").read_text() == "OK\n"
    assert is_true(readable_files(cco.mount))
    assert [one["id"] for one in cco.client.call("GET", "/api/sessions")["sessions"]] == [
        session.id
    ]


@pytest.mark.parametrize("victim", VICTIMS)
def test_what_is_killed_comes_back_and_a_session_goes_on(cco: Daemon, victim: str) -> None:
    cco.start()
    session = cco.launch()
    with Load(cco, session, threads=THREADS) as load, Readers(cco.mount) as readers:
        for _ in range(2):
            load.wait_for_more()
            readers.wait_for_more()
            victims = VICTIMS[victim](cco)
            kill(victims)
            wait_until(lambda: are_replaced(cco, victim, victims), "all is there again")  # noqa: B023
            cco.wait_until_serving()
        load.wait_for_more()
        readers.wait_for_more()

    assert load.bad == {}
    assert load.outcomes["cut"] <= 2 * THREADS  # what was under way
    assert readers.wrong == []
    assert_goes_on(cco, session)
    pids = {one.pid for one in cco.processes()}
    assert pids == {one.pid for one in (cco.supervisor, cco.arbiter, cco.worker, cco.mounter)}


def are_replaced(cco: Daemon, victim: str, victims: list[psutil.Process]) -> bool:
    try:
        return not set(VICTIMS[victim](cco)) & set(victims)
    except (ValueError, psutil.Error):
        return False


def test_a_mount_that_somebody_takes_away_comes_back(cco: Daemon) -> None:
    cco.start()
    before = cco.mounter
    subprocess.run(["fusermount", "-u", "-z", cco.mount], check=True)
    wait_until(lambda: are_replaced(cco, "mount", [before]), "another one")
    cco.wait_until_serving()
    assert is_true(readable_files(cco.mount))


def test_a_killed_supervisor_takes_the_others_along(cco: Daemon) -> None:
    cco.configure(port=free_port())
    cco.start()
    session = cco.launch()
    with Load(cco, session, threads=THREADS) as load, Readers(cco.mount) as readers:
        load.wait_for_more()
        readers.wait_for_more()
        cco.supervisor.kill()
        wait_until(lambda: not cco.processes(), "nothing of it runs")
        assert cco.run("daemon", "status").returncode == 3
        wait_until(lambda: not is_mounted(cco.mount), "nothing is mounted")

        cco.start()
        load.wait_for_more()
        readers.wait_for_more()
    assert load.bad.keys() <= {"refused"}  # there was nobody
    assert load.outcomes["cut"] <= 2 * THREADS  # under way, or in the queue of one that died later
    assert readers.wrong == []
    assert_goes_on(cco, session)
    cco.stop()
    assert cco.is_gone(), cco.left_over()


def test_a_start_right_after_the_kill_of_the_supervisor_gives_a_whole_daemon(cco: Daemon) -> None:
    cco.start()
    for _ in range(3):
        before = cco.supervisor.pid
        cco.supervisor.kill()
        cco.start()
        assert cco.supervisor.pid != before
        pids = {one.pid for one in (cco.supervisor, cco.arbiter, cco.worker, cco.mounter)}
        assert {one.pid for one in cco.processes()} == pids
        assert is_true(readable_files(cco.mount))


def test_after_a_kill_of_everything_the_next_launch_finds_nothing_in_its_way(cco: Daemon) -> None:
    cco.start()
    kill([cco.supervisor, cco.arbiter, cco.worker, cco.mounter])
    wait_until(lambda: not cco.processes(), "nothing of it runs")
    # What a loss of power would not leave, but a kill does.
    assert is_mounted(cco.mount)
    assert cco.socket.exists()
    with pytest.raises(OSError, match=r"Transport endpoint|connection abort"):
        list(cco.mount.iterdir())
    assert cco.run("daemon", "status").returncode == 3
    assert cco.run("daemon", "stop").stdout == "not running\n"

    program = fake_claude(cco.base, 'cat "$ORCHESTRATOR_VFS_MOUNT/health"')
    done = cco.run("run", "--", CCO_CLAUDE=str(program))
    assert (done.returncode, done.stdout, done.stderr) == (0, "OK\n", "")
    cco.stop()
    assert cco.is_gone(), cco.left_over()


def test_a_pid_that_now_is_another_programs_is_left_alone(cco: Daemon) -> None:
    cco.runtime.mkdir(mode=0o700)
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            (cco.runtime / "cco.pid").write_text(f"{other.pid}\n")
            assert cco.run("daemon", "status").returncode == 3
            assert cco.run("daemon", "stop").stdout == "not running\n"
            cco.start()
            cco.stop()
            assert other.poll() is None
        finally:
            other.kill()
    assert cco.is_gone(), cco.left_over()


@pytest.mark.parametrize("moment", ["lock", "supervisor", "sockets", "children"])
def test_a_starter_that_is_killed_leaves_nothing_in_the_way(cco: Daemon, moment: str) -> None:
    signs = {
        "lock": lambda: (cco.runtime / "cco.lock").exists(),
        "supervisor": lambda: (cco.runtime / "cco.pid").exists(),
        "sockets": cco.socket.exists,
        "children": lambda: len(cco.processes()) > 3,
    }
    process = subprocess.Popen(
        [*CCO, "daemon", "start"],
        env=cco.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(signs[moment], moment)
    process.send_signal(signal.SIGKILL)
    process.wait()

    cco.start()
    pids = {one.pid for one in (cco.supervisor, cco.arbiter, cco.worker, cco.mounter)}
    assert {one.pid for one in cco.processes()} == pids
    cco.stop()
    assert cco.is_gone(), cco.left_over()
