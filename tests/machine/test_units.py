# SPDX-License-Identifier: Apache-2.0
"""The units in a booted machine: the state of each after every step, and after every death."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from cco import units
from tests.machine.installed import Login, Session

PORT: Final = 3000
RUNNING: Final = ("active", "active", "active", "active")
LISTENING: Final = ("inactive", "inactive", "active", "active")
OFF: Final = ("inactive", "inactive", "inactive", "inactive")
"""States of service, mount, socket and HTTP socket."""

KILLED: Final = r"code=killed, status=9|Failed with result 'signal'|with signal SIGKILL"
GAVE_UP: Final = r"code=exited, status=|Failed with result 'exit-code'|Failed to start cco"
"""What systemd says of a unit whose process was killed, or ended by itself."""
WORKER_KILLED: Final = r"Worker .*pid.*(was sent SIGKILL|due to signal 9)"
"""What Gunicorn says in Debian 12, and in 13."""
SLOW: Final = r"[Service]\nExecStart=\nExecStart=/bin/sleep 600\n"
"""A drop-in for a daemon that takes its time to start, as printf(1) has it."""


def traffic(login: Login, command: str, *, readers: int = 2) -> dict[str, dict[str, int]]:
    """Return what came of calls on both sockets and of reads while a command ran."""
    script = str(__file__).replace("test_units.py", "traffic.py")
    words = ["/usr/bin/python3", "-I", script, str(login.socket), str(PORT), str(login.mount)]
    words.append(str(readers))
    done = login.run([*words, "bash", "-ec", command], check=True)
    counts: dict[str, dict[str, int]] = json.loads(done.stdout)
    return counts


def checksums(login: Login) -> dict[str, str]:
    """Return what the manifest says, which must be what the files are."""
    told, found = read_checksums(login)
    assert told == found
    return told


def read_checksums(login: Login) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the manifest says and, read after it, what the files are."""
    manifest: dict[str, Any] = json.loads(login.read(".manifest").stdout or '{"checksums": {}}')
    told: dict[str, str] = manifest["checksums"]
    files = login.run(f"cd {login.mount} && sha256sum *.sealed").stdout.splitlines()
    return told, {line.split()[1]: f"sha256:{line.split()[0]}" for line in files}


# Installed


def test_units_are_valid(alice: Login) -> None:
    done = alice.run("systemd-analyze --user verify /usr/lib/systemd/user/cco*", check=True)
    assert done.stderr == ""


def test_daemon_is_confined_and_the_mount_as_far_as_it_can_be(alice: Login) -> None:
    done = alice.run("systemd-analyze --user security --no-pager cco.service cco-vfs.service")
    scores = re.findall(r"exposure level for (\S+): ([\d.]+)", done.stdout)
    assert scores == [("cco.service", "4.6"), ("cco-vfs.service", "9.6")]


# From one state to the next


def test_start_returns_when_api_and_mount_serve(alice: Login) -> None:
    assert alice.states() == OFF
    done = alice.run("systemctl --user start cco && ls -A $XDG_RUNTIME_DIR/cco", check=True)
    assert "agents.sealed" in done.stdout.split()
    assert alice.states() == RUNNING
    assert alice.fetch("/api/agents")[0] == 200
    assert alice.fetch(f"http://localhost:{PORT}/api/agents")[0] == 200


@pytest.mark.parametrize("url", ["/api/agents", f"http://localhost:{PORT}/api/agents"])
def test_first_connection_starts_it(alice: Login, url: str) -> None:
    alice.systemctl(f"start {' '.join(units.SOCKETS)}")
    assert alice.states() == LISTENING
    assert alice.fetch(url)[0] == 200
    alice.machine.wait(lambda: alice.states() == RUNNING, "all of it")
    assert alice.read("health").stdout == "OK\n"


def test_stop_takes_mount_and_directory_and_leaves_the_sockets(running: Login) -> None:
    running.launch()  # somebody who still uses the mount
    done = running.run("systemctl --user stop cco; ls $XDG_RUNTIME_DIR/cco")
    assert "No such file or directory" in done.stderr
    assert running.states() == LISTENING
    assert running.cco("daemon status").returncode == 3
    assert running.states() == LISTENING  # asking did not start it


def test_stop_while_it_starts_is_not_undone(alice: Login) -> None:
    drop_in = "~/.config/systemd/user/cco.service.d"
    alice.run(f"mkdir -p {drop_in}; printf '{SLOW}' >{drop_in}/slow.conf", check=True)
    alice.systemctl("daemon-reload")
    alice.systemctl("start --no-block cco")
    alice.machine.wait(lambda: mount_waits(alice), "the mount at the socket")
    alice.systemctl("stop cco")
    alice.machine.wait(lambda: alice.states() == OFF, "rest")
    alice.run(f"rm -r {drop_in}")
    assert alice.cco("daemon start").returncode == 0
    assert alice.states() == RUNNING


def mount_waits(login: Login) -> bool:
    """Say whether a connection waits at the socket, which is a line beside that of the socket."""
    return login.run(f"grep -c {login.socket} /proc/net/unix").stdout.strip() not in ("0", "1")


def test_daemon_stop_takes_the_sockets_too(running: Login) -> None:
    session = running.launch()
    assert running.cco("daemon stop").stdout == "stopped\n"
    assert running.states() == OFF
    assert running.fetch("/health")[0] == running.fetch(f"{session.base_url}/v1/models")[0] == 0
    left = running.run("ls $XDG_RUNTIME_DIR; grep -c fuse.cco /proc/self/mountinfo").stdout
    assert "cco" not in left
    assert left.endswith("\n0\n")
    assert running.states() == OFF
    again = running.cco("daemon stop")
    assert (again.stdout, again.returncode) == ("not running\n", 0)


def test_daemon_commands_go_through_systemd(alice: Login) -> None:
    status = alice.cco("daemon status")
    assert (status.stdout.splitlines()[0], status.returncode) == ("CCO is stopped", 3)
    assert alice.cco("daemon reload").returncode == 69
    assert alice.cco("daemon start").stdout == f"started: http://127.0.0.1:{PORT}\n"
    first = alice.main_pid(units.SERVICE)
    assert alice.cco("daemon start").stdout == f"already running: http://127.0.0.1:{PORT}\n"
    assert alice.main_pid(units.SERVICE) == first
    assert alice.cco("daemon restart").stdout == "restarted\n"
    assert alice.states() == RUNNING
    assert alice.main_pid(units.SERVICE) != first
    told = json.loads(alice.cco("daemon status --json").stdout)
    assert (told["status"], set(told["units"].values())) == ("running", {"active"})
    logs = alice.cco("daemon logs -n 5")
    assert "Started cco.service" in logs.stdout
    assert (logs.stderr, len(logs.stdout.splitlines())) == ("", 5)


def test_reload_seals_anew_and_cuts_nothing(running: Login) -> None:
    session = running.launch()
    before, mount, main = checksums(running), running.main_pid(units.MOUNT), running.worker_pid()
    running.systemctl("reload cco")

    def is_new() -> bool:
        # A reload between the two reads makes them differ once, and only once.
        told, found = read_checksums(running)
        return told == found != before

    running.machine.wait(is_new, "new checksums")
    assert (running.main_pid(units.MOUNT), running.worker_pid()) == (mount, main)
    assert running.read("CLAUDE.md", token=session.token).returncode == 0


def test_restart_under_traffic_refuses_nobody_and_keeps_the_mount(running: Login) -> None:
    mount = running.main_pid(units.MOUNT)
    counts = traffic(running, "systemctl --user restart cco; systemctl --user restart cco")
    assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
    # One who looks a file up before and opens it after may have to do so again: the key is new.
    assert counts["mount"].keys() <= {"ok", "ESTALE"}, counts
    assert running.main_pid(units.MOUNT) == mount


# Deaths


def arbiter(login: Login) -> int:
    return login.main_pid(units.SERVICE)


def worker(login: Login) -> int:
    return login.worker_pid()


def mount(login: Login) -> int:
    return login.main_pid(units.MOUNT)


@pytest.mark.parametrize(
    ("victim", "expected"),
    [
        (arbiter, KILLED),
        (worker, WORKER_KILLED),
        (mount, KILLED),
    ],
    ids=["arbiter", "worker", "mount"],
)
def test_killed_process_comes_back_and_the_session_goes_on(
    running: Login, victim: Callable[[Login], int], expected: str
) -> None:
    running.expected.append(expected)
    session = running.launch()
    dead = victim(running)
    counts = traffic(running, f"kill -9 {dead}; sleep 0.5")
    assert all("ok" in counts[kind] for kind in ("unix", "tcp", "mount")), counts
    assert "ECONNREFUSED" not in counts["unix"] | counts["tcp"], counts
    running.wait_until_ok()
    assert victim(running) != dead
    assert running.states() == RUNNING
    mounts = running.run(f"grep -c ' {running.mount} .* fuse.cco ' /proc/self/mountinfo").stdout
    assert mounts == "1\n"
    check_session(running, session)


def test_everything_killed_at_once_comes_back(running: Login) -> None:
    running.expected.append(KILLED)
    session = running.launch()
    running.systemctl("kill --signal=KILL cco.service cco-vfs.service")
    running.wait_until_ok()
    assert running.states() == RUNNING
    check_session(running, session)


def test_daemon_that_hangs_is_ended_by_the_watchdog_and_comes_back(running: Login) -> None:
    running.expected += ["Watchdog timeout", "result 'watchdog'", KILLED, "status=6/ABRT"]
    drop_in = "~/.config/systemd/user/cco.service.d"
    soon = f"mkdir -p {drop_in}; printf '[Service]\nWatchdogSec=3\n' >{drop_in}/soon.conf"
    running.run(soon, check=True)
    running.systemctl("daemon-reload")
    running.systemctl("restart cco")
    running.wait_until_ok()
    main = arbiter(running)
    running.run(f"kill -STOP {worker(running)}", check=True)  # it beats no more
    running.machine.wait(lambda: arbiter(running) not in (0, main), "another daemon")
    running.wait_until_ok()
    assert running.states() == RUNNING


KILL_MOUNTS: Final = """
for n in 1 2 3 4 5 6; do
    kill -9 "$(systemctl --user show --property=MainPID --value cco-vfs)"
    for command in "df" "ls {place}" "ls {place}/cco"; do
        timeout 10 $command >/dev/null 2>&1 || [ $? != 124 ]
    done
    until [ "$(timeout 10 cat {place}/cco/health 2>/dev/null)" = OK ]; do sleep 0.05; done
done
"""
"""Kills the mount more often than systemd starts a unit again that sets no limit, 5 times in 10 s;
who looks at it in between may fail, and may not hang.
"""


def test_nobody_hangs_on_a_mount_that_is_killed_under_fifty_readers(running: Login) -> None:
    running.expected += [KILLED, "Failed to start cco-vfs"]  # some are killed while they start
    place = running.mount.parent
    counts = traffic(running, KILL_MOUNTS.format(place=place), readers=50)
    assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
    assert counts["mount"]["ok"] > 50
    running.wait_until_ok()
    assert running.states() == RUNNING
    mounts = running.run(f"grep -c ' {running.mount} .* fuse.cco ' /proc/self/mountinfo").stdout
    assert mounts == "1\n"
    assert checksums(running)


def check_session(login: Login, session: Session) -> None:
    """Check that prefix, token and hooks of a session work."""
    status, body = login.fetch(f"{session.base_url}/v1/models")
    assert status == 200, body
    assert login.read("plugin/.claude-plugin/plugin.json", token=session.token).returncode == 0
    hook = f"{session.base_url.partition('/s/')[0]}/api/hooks/SessionStart"
    token = f"x-cco-session: {session.token}"
    assert login.fetch(hook, method="POST", headers=[token])[0] in (200, 204)
    listed = json.loads(login.fetch("/api/sessions")[1])["sessions"]
    assert [one["id"] for one in listed] == [session.id]


def test_mount_taken_away_comes_back(running: Login) -> None:
    running.expected += ["somebody has unmounted", GAVE_UP]
    running.run(f"fusermount -u {running.mount}", check=True)
    running.machine.wait(lambda: running.read("health").stdout == "OK\n", "the mount")


def test_mount_may_be_where_the_settings_say(alice: Login) -> None:
    alice.write_settings(f'[vfs]\nmount = "{alice.home}/files"')
    alice.systemctl("start cco")
    assert alice.run("cat ~/files/health").stdout == "OK\n"
    assert alice.states() == RUNNING
    alice.systemctl("stop cco")
    assert alice.run("ls ~/files").stdout == ""


# What cannot work


def test_settings_that_cannot_be_used_leave_nothing_running(alice: Login) -> None:
    alice.expected += ["unknown key 'colour'", "Known here", GAVE_UP]
    alice.write_settings('colour = "red"')
    started = alice.cco("daemon start")
    assert (started.returncode, started.stderr.splitlines()[0]) == (
        78,
        f"cco: {alice.home}/.config/cco/cco.toml:1: unknown key 'colour'",
    )
    assert alice.states() == OFF
    assert alice.run("systemctl --user start cco").returncode == 1
    alice.machine.wait(lambda: alice.states() == ("failed", *OFF[1:]), "rest")
    assert alice.cco("daemon status").returncode == 1
    assert "unknown key 'colour'" in alice.cco("daemon logs").stdout
    alice.write_settings("")
    assert alice.cco("daemon start").returncode == 0
    alice.write_settings('colour = "red"')
    assert alice.cco("daemon restart").returncode == 78
    assert alice.states() == RUNNING


def test_machine_without_fuse_says_so(alice: Login) -> None:
    alice.expected += ["/dev/fuse may not be opened", GAVE_UP]
    try:
        alice.machine.run("chmod 600 /dev/fuse", user="root", check=True)
        done = alice.cco("daemon start")
        assert done.returncode == 69
        assert "/dev/fuse may not be opened" in done.stderr
        status = alice.cco("daemon status")
        assert (status.stdout.splitlines()[0], status.returncode) == ("CCO is ailing", 1)
    finally:
        alice.machine.run("chmod 666 /dev/fuse", user="root", check=True)
    alice.wait_until_ok()
