# SPDX-License-Identifier: Apache-2.0
"""Start, stop, restart, reload, status and logs, where systemd is not init."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import (
    CCO,
    Daemon,
    Stream,
    asking,
    call,
    daemon,
    fake_claude,
    free_port,
    gated,
    readable_files,
)
from tests.mounting import DEADLINE_S, wait_until

AGENT = """\
---
name: Test Helper
description: Does what the tests want
type: helper
model: haiku
capabilities: [testing]
tools: [Read]
---
You are {whose} helper.
"""


def pids(cco: Daemon) -> list[int]:
    return [one.pid for one in (cco.supervisor, cco.arbiter, cco.worker, cco.mounter)]


def rows(cco: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cco.client.call("GET", "/api/project/stats?project=")["recent"]
    return found


# Start and stop


def test_its_life_from_start_to_stop(cco: Daemon) -> None:
    assert (cco.run("daemon", "status").returncode, cco.left_over()) == (3, [])

    started = cco.run("daemon", "start")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout == f"started: http://127.0.0.1:{cco.port}\n"
    assert (cco.mount / "health").read_text() == "OK\n"
    assert len(set(before := pids(cco))) == 4
    assert cco.socket.stat().st_mode & 0o777 == 0o600

    again = cco.run("daemon", "start")
    assert again.returncode == 0
    assert again.stdout == f"already running: http://127.0.0.1:{cco.port}\n"
    assert pids(cco) == before

    stopped = cco.run("daemon", "stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "stopped\n", "")
    assert cco.is_gone(), cco.left_over()

    again = cco.run("daemon", "stop")
    assert (again.returncode, again.stdout, again.stderr) == (0, "not running\n", "")
    assert cco.run("daemon", "status").returncode == 3


def test_status_says_running_ailing_or_stopped(cco: Daemon) -> None:
    stopped = cco.run("daemon", "status", "--json")
    assert stopped.returncode == 3
    assert json.loads(stopped.stdout) == {
        "status": "stopped",
        "units": {},
        "serves": None,
        "supervisorPid": None,
        "socket": str(cco.socket),
        "health": None,
    }
    cco.start()
    running = cco.run("daemon", "status", "--json")
    told = json.loads(running.stdout)
    assert (running.returncode, told["status"]) == (0, "running")
    assert told["supervisorPid"] == cco.supervisor.pid
    assert told["health"]["vfs"] == {"mounted": True, "path": str(cco.mount), "status": "OK"}
    assert told["health"]["http"]["url"] == f"http://127.0.0.1:{cco.port}"

    # A mount that nobody starts again, for as long as the supervisor cannot.
    supervisor = cco.supervisor
    supervisor.suspend()
    try:
        cco.mounter.kill()
        wait_until(lambda: not cco.is_serving(), "the mount is missed")
        ailing = cco.run("daemon", "status", "--json")
        told = json.loads(ailing.stdout)
        assert (ailing.returncode, told["status"]) == (1, "ailing")
        assert told["health"]["status"] == "degraded"
        assert told["health"]["vfs"]["mounted"] is False
        assert cco.run("daemon", "status").stdout.startswith("CCO is ailing\n")
    finally:
        supervisor.resume()
    cco.wait_until_serving()
    assert cco.run("daemon", "status").returncode == 0


def test_a_restart_keeps_sessions_and_address(cco: Daemon) -> None:
    cco.configure(port=free_port())
    cco.start()
    before, session = pids(cco), cco.launch()

    done = cco.run("daemon", "restart")
    assert (done.returncode, done.stdout, done.stderr) == (0, "restarted\n", "")
    assert not set(before) & set(pids(cco))
    answer = call(cco.port, "POST", f"/s/{session.id}/v1/messages", body=asking("hello"))
    assert answer.status == 200
    assert cco.read_inside("CLAUDE.md", session.token).returncode == 0

    cco.stop()
    done = cco.run("daemon", "restart")
    assert (done.returncode, cco.is_serving()) == (0, True)


@pytest.mark.timeout(180)
def test_a_hundred_cold_starts_at_once_give_one_daemon(cco: Daemon) -> None:
    program = fake_claude(
        cco.base, 'echo "$ANTHROPIC_BASE_URL"; cat "$ORCHESTRATOR_VFS_MOUNT/CLAUDE.md" >/dev/null'
    )
    launch = ("run", "--", "hello")

    def one(number: int) -> "subprocess.CompletedProcess[str]":
        words = launch if number % 2 else ("daemon", "start")
        return cco.run(*words, CCO_CLAUDE=str(program))

    with ThreadPoolExecutor(100) as pool:
        done = list(pool.map(one, range(100)))

    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 100
    base = f"http://127.0.0.1:{cco.port}"
    started = [one.stdout for one in done[0::2]]
    assert set(started) <= {f"started: {base}\n", f"already running: {base}\n"}
    launched = {one.stdout for one in done[1::2]}
    assert len(launched) == 50
    assert all(url.startswith(f"{base}/s/") for url in launched)
    alive = sorted(one.pid for one in cco.processes())
    assert alive == sorted(pids(cco))
    assert cco.left_over() == ["cco", "cco-api.notify", "cco-mount.notify", "cco.pid", "cco.sock"]


def test_a_graceful_stop_lets_a_stream_end_and_a_start_meanwhile_waits(cco: Daemon) -> None:
    cco.start()
    with gated() as gate, ThreadPoolExecutor(2) as pool:
        session = cco.launch(upstream=gate.url)
        with Stream(cco.port, session.id, "hello") as stream:
            stream.read_to(gate.FIRST)
            stopping = pool.submit(cco.run, "daemon", "stop")
            wait_until(lambda: is_refused(cco.socket), "nobody is let in any more")
            starting = pool.submit(cco.run, "daemon", "start")
            gate.open()
            assert gate.LAST in stream.rest()
        assert stopping.result().returncode == 0
        started = starting.result()
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.startswith("started: ")
    (row,) = rows(cco)
    assert (row["status"], cco.is_serving()) == (200, True)


def is_refused(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        return False


def test_a_graceful_stop_ends_a_stream_that_does_not_end_with_an_error(cco: Daemon) -> None:
    cco.start()
    session = cco.launch()
    with (
        ThreadPoolExecutor(1) as pool,
        # The second began before a reload, and is the old gateway's.
        Stream(cco.port, session.id, "offline: stall") as new,
        Stream(cco.port, session.id, "offline: stall") as old,
    ):
        for stream in (old, new):
            stream.read_to(b"message_start")
        manifest = (cco.mount / ".manifest").read_bytes()
        assert cco.run("daemon", "reload").returncode == 0
        wait_until(lambda: (cco.mount / ".manifest").read_bytes() != manifest, "it is reloaded")
        with Stream(cco.port, session.id, "offline: stall") as newest:
            newest.read_to(b"message_start")
            stopping = pool.submit(cco.run, "daemon", "stop")
            for stream in (old, new, newest):
                assert b"event: error\ndata: " in stream.rest()
                assert b"stopping" in stream.data
        assert stopping.result().returncode == 0
    assert cco.is_gone(), cco.left_over()


# In the foreground


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_ends_with_a_signal(cco: Daemon, ending: signal.Signals) -> None:
    with cco.spawn("daemon", "run") as process:
        cco.wait_until_serving()
        assert cco.supervisor.pid == process.pid
        process.send_signal(ending)
        out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (0, "")
    assert "ERROR" not in err
    assert "WARNING" not in err
    assert cco.is_gone(), cco.left_over()


def test_an_interrupt_at_the_terminal_lets_a_stream_end(cco: Daemon) -> None:
    # ^C goes to every process of the terminal's foreground at once.
    controller, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *CCO, "daemon", "run"],
            env=cco.environ(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        cco.wait_until_serving()
        with gated() as gate:
            session = cco.launch(upstream=gate.url)
            with Stream(cco.port, session.id, "hello") as stream:
                stream.read_to(gate.FIRST)
                os.write(controller, b"\x03")
                wait_until(lambda: is_refused(cco.socket), "it stops")
                gate.open()
                assert gate.LAST in stream.rest()
        said = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while data := os.read(controller, 4096):
                said += data
        process.wait(DEADLINE_S)
    finally:
        os.close(controller)
    assert cco.is_gone(), cco.left_over()
    assert b"ERROR" not in said
    assert b"Traceback" not in said


def test_only_one_daemon_lives_in_a_directory(cco: Daemon) -> None:
    cco.start()
    before = pids(cco)
    second = cco.run("daemon", "run")
    assert second.returncode == os.EX_UNAVAILABLE
    assert f"another CCO daemon (pid {cco.supervisor.pid}) lives in {cco.runtime}" in second.stderr
    assert "cco daemon status" in second.stderr
    assert (pids(cco), cco.is_serving()) == (before, True)


def test_a_second_daemon_does_not_touch_the_mount_of_the_first(cco: Daemon, tmp_path: Path) -> None:
    place = cco.base / "files"
    cco.configure(f'[vfs]\nmount = "{place}"\n')
    cco.start()
    assert cco.health()["vfs"]["path"] == str(place)
    assert (place / "health").read_text() == "OK\n"
    assert not cco.mount.exists()

    with daemon() as second:
        second.configure(f'[vfs]\nmount = "{place}"\n')
        done = second.run("daemon", "start")
        assert done.returncode == os.EX_UNAVAILABLE
        assert f"a running CCO has its files mounted on {place}" in done.stderr
        assert second.is_gone(), second.left_over()
    assert (place / "health").read_text() == "OK\n"
    cco.stop()
    assert not place.exists()


# Reload


@pytest.mark.parametrize("how", ["command", "signal"])
def test_a_reload_seals_anew_and_cuts_no_stream(cco: Daemon, how: str) -> None:
    agent = cco.agents / "test-helper.md"
    agent.write_text(AGENT.format(whose="Alice's"))
    cco.start()
    before, files = pids(cco), readable_files(cco.mount)
    with gated() as gate:
        session = cco.launch(upstream=gate.url)
        with Stream(cco.port, session.id, "hello") as stream:
            stream.read_to(gate.FIRST)
            agent.write_text(AGENT.format(whose="Bob's"))
            cco.configure('[models]\nhaiku = "claude-haiku-of-the-test"\n')
            if how == "command":
                done = cco.run("daemon", "reload")
                assert (done.returncode, done.stderr) == (0, "")
            else:
                cco.supervisor.send_signal(signal.SIGHUP)
            wait_until(lambda: agent_now(cco)["instructions"] == "You are Bob's helper.", "reload")
            gate.open()
            assert gate.LAST in stream.rest()

    assert agent_now(cco)["modelId"] == "claude-haiku-of-the-test"
    wait_until(lambda: readable_files(cco.mount)[".manifest"] != files[".manifest"], "new files")
    after = readable_files(cco.mount)
    assert all(after[name] != files[name] for name in files)
    assert json.loads(after[".manifest"])["agentCount"] > 1
    text = cco.read_inside("plugin/agents/userAgents/test-helper.md", session.token).stdout
    assert b"You are Bob's helper." in text
    assert pids(cco) == before
    assert cco.health()["warnings"] == []


def agent_now(cco: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = cco.client.call("GET", "/api/agents/test-helper")
    return {**found, "instructions": found["instructions"].strip()}


def test_settings_that_are_wrong_at_a_reload_change_nothing(cco: Daemon) -> None:
    cco.start()
    good, manifest = cco.settings.read_text(), (cco.mount / ".manifest").read_bytes()

    def warnings() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = cco.health()["warnings"]
        return found

    cco.settings.write_text("[server]\nprot = 1\n")
    assert cco.run("daemon", "reload").returncode == 0
    wait_until(warnings, "a warning")
    (warning,) = warnings()
    assert warning["code"] == "reload-failed"
    assert f"{cco.settings}:2" in warning["message"]
    assert "port" in warning["hint"]
    assert (cco.mount / ".manifest").read_bytes() == manifest
    assert "prot" in cco.run("daemon", "status").stdout
    assert cco.run("daemon", "status").returncode == 0

    # Nor does a restart stop what could not be started again.
    before = pids(cco)
    done = cco.run("daemon", "restart")
    assert (done.returncode, pids(cco)) == (os.EX_CONFIG, before)

    cco.settings.write_text(good)
    assert cco.run("daemon", "reload").returncode == 0
    wait_until(lambda: not warnings(), "the warning is gone")
    assert (cco.mount / ".manifest").read_bytes() != manifest


def test_settings_that_a_reload_cannot_change_are_told(cco: Daemon) -> None:
    cco.start()
    port = cco.port
    cco.configure(port=free_port())
    assert cco.run("daemon", "reload").returncode == 0
    wait_until(lambda: cco.health()["warnings"], "a warning")
    (warning,) = cco.health()["warnings"]
    assert (warning["code"], warning["hint"]) == ("restart-needed", "Run: cco daemon restart")
    assert cco.port == port
    cco.configure()
    assert cco.run("daemon", "reload").returncode == 0
    wait_until(lambda: not cco.health()["warnings"], "the warning is gone")


def test_a_reload_while_the_worker_begins_is_not_its_end(cco: Daemon) -> None:
    agent = cco.agents / "test-helper.md"
    agent.write_text(AGENT.format(whose="Alice's"))
    cco.start()
    before = cco.worker.pid
    cco.arbiter.suspend()
    try:
        cco.worker.kill()
        cco.supervisor.send_signal(signal.SIGHUP)
    finally:
        cco.arbiter.resume()
    for _ in range(20):
        cco.supervisor.send_signal(signal.SIGHUP)
    agent.write_text(AGENT.format(whose="Bob's"))
    cco.supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: agent_now(cco)["instructions"] == "You are Bob's helper.", "reload")
    assert cco.worker.pid != before
    assert cco.log().count("Worker (pid:") <= 1  # the one that was killed


def test_signals_of_gunicorn_make_no_second_worker(cco: Daemon) -> None:
    cco.start()
    before = pids(cco)
    for number in (signal.SIGTTIN, signal.SIGUSR2, signal.SIGTTOU, signal.SIGWINCH):
        cco.arbiter.send_signal(number)
    # Handled in order, so they have been when this has.
    manifest = (cco.mount / ".manifest").read_bytes()
    cco.supervisor.send_signal(signal.SIGHUP)
    wait_until(lambda: (cco.mount / ".manifest").read_bytes() != manifest, "it is reloaded")
    assert sorted(one.pid for one in cco.processes()) == sorted(before)


# Log, and commands without a daemon


def test_the_log_is_shown_in_part_and_as_it_grows(cco: Daemon) -> None:
    done = cco.run("daemon", "logs")
    assert (done.returncode, done.stdout) == (os.EX_NOINPUT, "")
    assert "cco daemon start" in done.stderr

    cco.start()
    everything = cco.run("daemon", "logs").stdout.splitlines()
    assert any("serving" in line for line in everything)
    assert cco.run("daemon", "logs", "-n", "1").stdout.splitlines() == everything[-1:]
    assert cco.run("daemon", "logs", "--since", "2000-01-01").stdout.splitlines() == everything
    assert cco.run("daemon", "logs", "--since", "2999-01-01").stdout == ""
    wrong = cco.run("daemon", "logs", "--since", "yesteryear")
    assert (wrong.returncode, wrong.stdout) == (os.EX_DATAERR, "")

    with cco.spawn("daemon", "logs", "-f", "-n", "0") as following:
        assert following.stdout is not None
        # It says nothing of its own when it has begun to look.
        wait_until(lambda: following.pid in inotified(cco), "it follows")
        cco.supervisor.send_signal(signal.SIGHUP)
        assert "reloaded" in following.stdout.readline()
    assert (cco.state / "cco.log").stat().st_mode & 0o777 == 0o600


def inotified(cco: Daemon) -> list[int]:
    """Return the processes that wait for changes of a file."""
    found = []
    for process in cco.processes():
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if fd.readlink() == Path("anon_inode:inotify"):
                    found.append(process.pid)
    return found


def test_without_a_daemon_a_reload_says_so(cco: Daemon) -> None:
    done = cco.run("daemon", "reload")
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr == "cco: no CCO daemon runs\n     Start it: cco daemon start\n"
