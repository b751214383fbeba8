# SPDX-License-Identifier: Apache-2.0
"""The machine itself: what all other tests of this folder build on."""

import subprocess

import pytest

from tests.capabilities import ROOT
from tests.machine import base
from tests.machine.machine import Machine


def test_machine_runs_and_nothing_failed(machine: Machine) -> None:
    assert machine.failed_units() == []
    assert machine.failed_units(user="alice") == []
    running = machine.run(["systemctl", "--user", "is-system-running"])
    assert (running.stdout, running.returncode) == ("running\n", 0)


@pytest.mark.parametrize("user", base.USERS)
def test_users_are_who_they_are(machine: Machine, user: str) -> None:
    assert machine.run('echo "$(id -un) $HOME"', user=user).stdout == f"{user} /home/{user}\n"


def test_tree_cannot_be_written(machine: Machine) -> None:
    done = machine.run(["touch", ROOT / "pyproject.toml"], user="root")
    assert "Read-only file system" in done.stderr


def test_loopback_is_the_machines_own(machine: Machine) -> None:
    serve = ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", "3000"]
    machine.run(["systemd-run", "--user", "--quiet", "--unit=http", *serve], check=True)
    fetch = "curl --silent --fail localhost:3000/"
    machine.wait(lambda: machine.run(fetch).returncode == 0, "an answer")
    assert machine.state("http.service", user="alice") == "active"
    machine.run(["systemctl", "--user", "stop", "http"], check=True)
    assert machine.run(fetch).returncode == 7  # refused


def test_ordinary_user_may_open_fuse(machine: Machine) -> None:
    done = machine.run(": <>/dev/fuse && fusermount --version", user="bob")
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_status_input_and_environment_pass_through(machine: Machine) -> None:
    script = 'cat; WORD="${WORD}$$"; echo "${WORD%$$}" >&2; exit 7'
    done = machine.run(script, stdin="text", environment={"WORD": "w d"})
    assert (done.stdout, done.stderr, done.returncode) == ("text", "w d\n", 7)


def test_command_that_takes_too_long_is_killed(machine: Machine) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        machine.run("exec -a long-sleeper sleep 1000", timeout_s=1)
    gone = machine.run(["pgrep", "--full", "^long-sleeper"], user="root")
    assert gone.returncode == 1


def test_journal_is_read_from_where_the_test_began(machine: Machine) -> None:
    before = machine.cursor()
    machine.run(["logger", "--tag=probe", "was here"], check=True)
    found = machine.journal(since=before, SYSLOG_IDENTIFIER="probe")
    assert [entry["MESSAGE"] for entry in found] == ["was here"]
    assert machine.journal(since=machine.cursor(), SYSLOG_IDENTIFIER="probe") == []
