# SPDX-License-Identifier: Apache-2.0
"""`cco doctor` where the conditions are real: each is made, found, and its remedy named."""

import json
import re
import shlex
import subprocess
from typing import Any, Final

import pytest

from cco import units
from tests.machine.installed import Chosen, Login, login
from tests.machine.machine import Machine
from tests.machine.test_units import GAVE_UP, LISTENING, RUNNING

Findings = dict[str, dict[str, Any]]

PLAIN_FUSERMOUNT: Final = (
    "mount -t tmpfs t /mnt && install -m 755 /usr/bin/fusermount3 /mnt/"
    " && mount --bind /mnt/fusermount3 /usr/bin/fusermount3"
)
"""Mounts a copy without the setuid bit over the program."""


def doctor(login: Login, *, wrap: str = "", user: str = "") -> Findings:
    """Return what it finds, by code; `wrap` is a command to run it by."""
    done = login.machine.run(f"{wrap} cco doctor --json", user=user or login.name)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["status"] == "ok" else 1)
    return {one["code"]: one for one in told["findings"]}


def with_mounts(login: Login, prepare: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where some mounts are others than usual, for this command alone."""
    become = "setpriv --reuid=alice --regid=alice --init-groups env HOME=/home/alice"
    become += f" XDG_RUNTIME_DIR={login.runtime} {command}"
    script = f"unshare --mount sh -c {shlex.quote(f'{prepare} && exec {become}')}"
    return login.machine.run(script, user="root")


def doctor_with_mounts(login: Login, prepare: str) -> Findings:
    """Return what it finds there."""
    told = json.loads(with_mounts(login, prepare, "cco doctor --json").stdout)
    return {one["code"]: one for one in told["findings"]}


def bad(found: Findings) -> set[str]:
    return {code for code, one in found.items() if one["level"] != "ok"}


def test_nothing_is_wrong_with_a_daemon_that_runs(alice: Login) -> None:
    alice.start()
    found = doctor(alice)
    assert bad(found) == set()
    assert {"systemd", "user-manager", "units", "fuse", "mount", "version", "claude"} <= set(found)
    assert re.fullmatch(r"systemd 25\d", found["systemd"]["message"])


def test_it_starts_nothing(alice: Login) -> None:
    alice.systemctl(f"start {' '.join(units.SOCKETS)}")
    found = doctor(alice)
    assert bad(found) == set()
    assert "does not run" in found["daemon"]["message"]
    assert alice.states() == LISTENING


# FUSE


def test_device_that_may_not_be_opened(alice: Login) -> None:
    try:
        alice.machine.run("chmod 600 /dev/fuse", user="root", check=True)
        found = doctor(alice)
    finally:
        alice.machine.run("chmod 666 /dev/fuse", user="root", check=True)
    assert bad(found) == {"fuse-denied"}
    assert found["fuse-denied"]["remedy"].startswith("As root: chmod 666 /dev/fuse")


@pytest.mark.parametrize(
    ("prepare", "code", "remedy"),
    [
        (
            "mount --bind /dev/null /usr/bin/fusermount3",
            "fusermount-missing",
            "Install it, on Debian with: apt install fuse3",
        ),
        (
            PLAIN_FUSERMOUNT,
            "fusermount-powerless",
            "sudo chmod u+s /usr/bin/fusermount3",
        ),
        (
            "mount -t tmpfs -o size=5m,uid=1000,mode=700 t /home/alice/.local",
            "disk-full",
            "df -h /home/alice/.local, and make room there",
        ),
    ],
    ids=["missing", "not setuid", "disk"],
)
def test_what_a_host_lacks(alice: Login, prepare: str, code: str, remedy: str) -> None:
    alice.run("mkdir -p ~/.local")
    found = doctor_with_mounts(alice, prepare)
    assert bad(found) == {code}
    assert found[code]["remedy"] == remedy


# Who starts CCO


def test_host_without_systemd_is_told_and_no_fault(alice: Login) -> None:
    found = doctor_with_mounts(alice, "mount -t tmpfs t /run/systemd")
    assert bad(found) == set()
    assert "systemd is not init here, so CCO supervises itself" in found["init"]["message"]


def test_user_without_manager_hears_how_to_get_one(alice: Login) -> None:
    found = doctor(alice, user="bob")
    assert bad(found) == {"no-user-manager"}
    assert found["no-user-manager"]["remedy"] == "sudo loginctl enable-linger bob"


def test_daemon_of_a_time_without_manager_is_found_beside_that_of_the_manager(
    machine: Machine, equipment: None
) -> None:
    stop = "CCO_RUNTIME_DIR=/tmp/cco-1001 cco daemon stop"
    with login(machine, "bob") as bob:
        machine.run("cco daemon start", user="bob", properties=["KillMode=process"], check=True)
        machine.run("systemctl start user@1001.service", user="root", check=True)
        try:
            found = doctor(bob)
            stopped = bob.run(stop).stdout
            after = doctor(bob)
        finally:
            machine.run(
                "systemctl stop user@1001.service user-runtime-dir@1001.service", user="root"
            )
    assert bad(found) == {"second-daemon", "port-taken"}
    assert "of yours runs in /tmp/cco-1001" in found["second-daemon"]["message"]
    assert found["second-daemon"]["remedy"] == stop
    assert found["port-taken"]["remedy"].startswith(f"{stop}, or take another one: ")
    assert (stopped, bad(after)) == ("stopped\n", set())


def test_login_by_su_is_found_its_manager(alice: Login) -> None:
    found = doctor(alice, wrap="env -u XDG_RUNTIME_DIR")
    assert bad(found) == set()
    assert "XDG_RUNTIME_DIR is not set" in found["user-manager"]["message"]
    assert "/run/user/1000 is used" in found["user-manager"]["message"]


def test_login_by_ssh_hears_of_lingering(alice: Login) -> None:
    flag = "/var/lib/systemd/linger/alice"
    by_ssh = "env SSH_CONNECTION='192.0.2.1 50000 192.0.2.2 22'"
    assert bad(doctor(alice, wrap=by_ssh)) == set()  # she lingers
    try:
        alice.machine.run(f"mv {flag} /root/", user="root", check=True)
        found = doctor(alice, wrap=by_ssh)
    finally:
        alice.machine.run(f"mv /root/alice {flag}", user="root", check=True)
    assert bad(found) == {"no-linger"}
    assert found["no-linger"]["remedy"] == "sudo loginctl enable-linger alice"


def test_units_that_failed(alice: Login) -> None:
    alice.expected += ["unknown key 'colour'", GAVE_UP]
    alice.write_settings('colour = "red"')
    assert alice.run("systemctl --user start cco").returncode == 1
    alice.machine.wait(lambda: alice.states()[0] == "failed", "rest")
    found = doctor(alice)
    assert bad(found) == {"unit-failed", "config-unknown-key"}
    assert "systemctl --user restart cco.service" in found["unit-failed"]["remedy"]


def test_daemon_that_hangs_is_not_taken_for_one_that_is_stopped(running: Login) -> None:
    worker = running.worker_pid()
    look = f"kill -STOP {worker}; cco daemon status & cco doctor --json >doctor; wait $!; echo $?"
    done = running.run(f"{look}; cat doctor; rm doctor; kill -CONT {worker}", check=True)
    status, _, told = done.stdout.partition("\n1\n")
    assert status.startswith("CCO is ailing\n")
    assert status.endswith(
        "the daemon does not answer; see: cco daemon logs, or: cco daemon restart"
    )
    found = {one["code"]: one for one in json.loads(told)["findings"]}
    assert bad(found) == {"daemon-silent"}
    assert found["daemon-silent"]["remedy"] == "cco daemon restart"


# Who else is there


def test_port_of_somebody_else(alice: Login) -> None:
    serve = "systemd-run --quiet --uid=bob --unit=taker python3 -m http.server -b 127.0.0.1 3000"
    alice.machine.run(serve, user="root", check=True)
    try:
        alice.machine.wait(lambda: alice.fetch("http://localhost:3000/")[0] == 200, "the taker")
        found = doctor(alice)
    finally:
        alice.machine.run("systemctl stop taker", user="root")
    assert bad(found) == {"port-taken"}
    assert found["port-taken"]["message"] == "port 3000 is taken by uid 1001"
    assert "systemctl --user edit cco-http.socket" in found["port-taken"]["remedy"]


def test_systems_daemon_of_a_login(served: Chosen) -> None:
    mine = doctor(served)
    assert bad(mine) == set()
    assert mine["mount"]["message"] == "the files are at /run/cco"
    roots = doctor(served, user="root")
    assert bad(roots) == set()
    assert "serves another login" in roots["daemon"]["message"]


def test_second_daemon_of_one_login(served: Chosen) -> None:
    served.run("systemctl --user start cco.socket", check=True)
    found = doctor(served)
    served.run("systemctl --user stop cco.socket", check=True)
    assert bad(found) == {"second-daemon", "port-taken"}
    assert "a second daemon serves you at /run/cco.sock" in found["second-daemon"]["message"]
    assert found["port-taken"]["message"] == "CCO's socket of the system manager has port 3000"
    assert found["port-taken"]["remedy"].startswith("sudo systemctl stop cco.socket cco-http.soc")
    assert served.states() == RUNNING
