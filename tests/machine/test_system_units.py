# SPDX-License-Identifier: Apache-2.0
"""The system's daemon in a booted machine: it serves one chosen login, from boot on."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from cco import units
from tests.machine.installed import Chosen, chosen, equipped
from tests.machine.machine import SUITES, Machine, booted
from tests.machine.package import Packages, install
from tests.machine.test_package import ask_claude
from tests.machine.test_units import (
    KILLED,
    LISTENING,
    OFF,
    PORT,
    RUNNING,
    SLOW,
    WORKER_KILLED,
    arbiter,
    check_session,
    mount,
    mount_waits,
    traffic,
    worker,
)

RIGHTS: Final = "only root may"


@pytest.fixture
def alice(elected: Chosen) -> Chosen:
    return elected


def test_units_are_valid(alice: Chosen) -> None:
    done = alice.root("systemd-analyze verify /usr/lib/systemd/system/cco*.{service,socket}")
    assert done.stderr == ""


def test_daemon_is_confined(running: Chosen) -> None:
    done = running.root("systemd-analyze security --no-pager cco.service cco-vfs.service")
    scores = re.findall(r"exposure level for (\S+): ([\d.]+)", done.stdout)
    assert scores == [("cco.service", "1.7"), ("cco-vfs.service", "6.9")]


def test_start_serves_the_login_at_the_systems_places(running: Chosen) -> None:
    assert running.states() == RUNNING
    assert running.fetch(f"http://localhost:{PORT}/api/agents")[0] == 200
    health = running.health()
    assert (health["vfs"]["path"], health["warnings"]) == ("/run/cco", [])
    owner = "stat -c '%U %a %F' /run/cco.sock /var/lib/cco /var/lib/cco/cco.db"
    assert running.root(owner).stdout.splitlines() == [
        "alice 600 socket",
        "alice 700 directory",
        "alice 600 regular file",
    ]


@pytest.mark.parametrize("url", ["/api/agents", f"http://localhost:{PORT}/api/agents"])
def test_first_connection_starts_it(alice: Chosen, url: str) -> None:
    alice.systemctl(f"start {' '.join(units.SOCKETS)}")
    assert alice.states() == LISTENING
    assert alice.fetch(url)[0] == 200
    alice.wait_until_ok()
    assert alice.states() == RUNNING


def test_stop_takes_mount_and_directory_and_leaves_the_sockets(running: Chosen) -> None:
    running.launch()  # somebody who still uses the mount
    running.systemctl("stop cco")
    assert running.states() == LISTENING
    left = running.root("ls -d /run/cco; grep -c fuse.cco /proc/self/mountinfo", check=False)
    assert left.stdout == "0\n"
    assert running.cco("daemon status").returncode == 3
    assert running.states() == LISTENING  # asking did not start it


def test_stop_while_it_starts_is_not_undone(alice: Chosen) -> None:
    drop_in = "/run/systemd/system/cco.service.d"
    alice.root(f"mkdir -p {drop_in}; printf '{SLOW}' >{drop_in}/slow.conf")
    try:
        alice.root("systemctl daemon-reload; systemctl start --no-block cco")
        alice.machine.wait(lambda: mount_waits(alice), "the mount at the socket")
        alice.systemctl("stop cco")
        alice.machine.wait(lambda: alice.states() == OFF, "rest")
    finally:
        alice.root(f"rm -r {drop_in}; systemctl daemon-reload")


def test_reload_keeps_the_processes(running: Chosen) -> None:
    before = running.main_pid(units.MOUNT), running.worker_pid()
    running.systemctl("reload cco")
    assert running.cco("daemon reload").returncode == 0  # which takes no rights
    assert (running.main_pid(units.MOUNT), running.worker_pid()) == before


def test_restart_under_traffic_refuses_nobody_and_keeps_the_mount(running: Chosen) -> None:
    kept = running.main_pid(units.MOUNT)
    before = running.main_pid(units.SERVICE)
    running.root("systemd-run --quiet --on-active=1 systemctl restart cco")
    counts = traffic(running, "sleep 4")
    assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
    assert counts["mount"].keys() <= {"ok", "ESTALE"}, counts
    assert running.main_pid(units.SERVICE) != before
    assert running.main_pid(units.MOUNT) == kept


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
    running: Chosen, victim: Callable[[Chosen], int], expected: str
) -> None:
    running.expected.append(expected)
    session = running.launch()
    dead = victim(running)
    counts = traffic(running, f"kill -9 {dead}; sleep 0.5")
    assert "ECONNREFUSED" not in counts["unix"] | counts["tcp"], counts
    running.wait_until_ok()
    assert victim(running) != dead
    assert running.states() == RUNNING
    check_session(running, session)


def test_everybody_else_is_refused(running: Chosen) -> None:
    for command in ("cat /run/cco/health", "ls /run/cco"):
        for user in ("bob", "root"):
            done = running.machine.run(command, user=user)
            assert (done.stdout, "Permission denied" in done.stderr) == ("", True), user
    ask = f"curl --silent http://localhost:{PORT}/health"
    by_socket = "curl --silent --unix-socket /run/cco.sock http://localhost/health"
    for user, asked in (("bob", ask), ("root", ask), ("root", by_socket)):
        told = running.machine.run(asked, user=user).stdout
        assert json.loads(told)["error"]["code"] == "foreign-user", user
    assert running.machine.run(by_socket, user="bob").returncode == 7  # refused
    bobs = running.machine.run("cco daemon status", user="bob")
    assert (bobs.stdout.splitlines()[0], bobs.returncode) == ("CCO is stopped", 3)


# `cco daemon …`


def test_login_finds_the_systems_daemon_and_may_not_stop_it(running: Chosen) -> None:
    told = json.loads(running.cco("daemon status --json").stdout)
    assert (told["socket"], told["status"]) == ("/run/cco.sock", "running")
    for verb, remedy in (("stop", "stop cco.socket"), ("restart", "restart cco.service")):
        done = running.cco(f"daemon {verb}")
        assert done.returncode == 77
        assert done.stderr.startswith(f"cco: your daemon is the system's, and {RIGHTS} {verb} that")
        assert f"Run: sudo systemctl {remedy}" in done.stderr
    assert running.states() == RUNNING
    assert "mounted on /run/cco" in running.cco("daemon logs").stdout
    session = running.launch()
    assert session.environment["ORCHESTRATOR_VFS_MOUNT"] == "/run/cco"


@pytest.mark.needs("claude")
def test_claude_code_runs_through_it(running: Chosen) -> None:
    assert ask_claude(running)["is_error"] is False
    told = json.loads(running.cco("daemon status --json").stdout)
    assert told["socket"] == "/run/cco.sock"  # and none was started beside it


def test_root_controls_it_and_sees_nothing_of_it(alice: Chosen) -> None:
    assert alice.root("cco daemon start").stdout == "started: it serves alice\n"
    assert alice.root("cco daemon start").stdout == "already running: it serves alice\n"
    status = alice.root("cco daemon status")
    assert status.stdout.splitlines()[:2] == [
        "CCO is running",
        "  serves   alice, so only systemd can tell how it is",
    ]
    assert "Started cco.service" in alice.root("cco daemon logs").stdout
    before = alice.main_pid(units.SERVICE)
    assert alice.root("cco daemon restart").stdout == "restarted\n"
    assert alice.main_pid(units.SERVICE) != before
    refused = alice.root("cco stats", check=False)
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (
        77,
        "cco: the daemon at /run/cco.sock serves another user",
    )
    assert alice.root("cco daemon stop").stdout == "stopped\n"
    assert alice.states() == OFF
    assert alice.root("cco daemon status", check=False).returncode == 3


def test_disable_leaves_the_ledger_and_nothing_else(running: Chosen) -> None:
    other = running.root("cco daemon disable --system --user bob", check=False)
    assert (other.returncode, running.states()) == (65, RUNNING)
    running.root("cco daemon disable --system --user alice")
    assert running.states() == OFF
    left = running.root("find /etc/systemd /run -name '*cco*'").stdout
    assert left == ""
    refused = running.root("cco daemon enable --system --user bob", check=False)
    assert refused.returncode == 65
    assert "/var/lib/cco holds the ledger of another login" in refused.stderr
    # Nor does root's own take it over, whom systemd would make its owner.
    for verb in ("start", "restart"):
        roots = running.root(f"cco daemon {verb}", check=False)
        assert (roots.returncode, roots.stderr.splitlines()[0]) == (
            65,
            "cco: /var/lib/cco holds the ledger of another login, which root would take over",
        )
    told = json.loads(running.root("cco doctor --json", check=False).stdout)["findings"]
    assert [one["code"] for one in told if one["level"] != "ok"] == ["foreign-state"]
    assert running.root("stat -c %U /var/lib/cco/cco.db").stdout == "alice\n"


def test_enable_says_who_may_and_for_whom(alice: Chosen) -> None:
    done = alice.cco("daemon enable --system --user alice")
    assert (done.returncode, done.stderr.splitlines()[1].strip()) == (
        77,
        "Run: sudo cco daemon enable --system --user alice",
    )
    unknown = alice.root("cco daemon enable --system --user carol", check=False)
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (
        65,
        "cco: there is no login 'carol'",
    )


@pytest.mark.parametrize("suite", SUITES)
def test_enabled_daemon_serves_after_a_reboot(suite: str, packages: Packages) -> None:
    with booted(suite) as machine, chosen_at(machine, packages) as alice:
        enabled = alice.root("cco daemon enable --system --user alice").stdout
        assert "/etc/systemd/system/cco.service.d/50-user.conf:" in enabled
        assert alice.states() == OFF
        machine.reboot()
        alice.wait_until_ok()
        assert alice.states() == RUNNING
        assert served_at(alice) == "/run/cco.sock"

        alice.root("cco daemon disable --system")
        assert alice.cco("daemon enable").stdout.startswith("CCO starts at boot")  # she lingers
        machine.reboot()
        machine.wait(lambda: alice.cco("daemon status").returncode == 0, "CCO runs")
        assert served_at(alice) == "/run/user/1000/cco.sock"
        assert alice.cco("daemon disable").returncode == 0
        assert alice.run("find ~/.config/systemd -name '*cco*'").stdout == ""


@contextlib.contextmanager
def chosen_at(machine: Machine, packages: Packages) -> Iterator[Chosen]:
    install(machine, packages.deb)
    with equipped(machine), chosen(machine, "alice") as alice:
        yield alice


def served_at(login: Chosen) -> str:
    told: str = json.loads(login.cco("daemon status --json").stdout)["socket"]
    return told
