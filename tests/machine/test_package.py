# SPDX-License-Identifier: Apache-2.0
"""The life of the package in a booted machine: from its installation to its purge."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

import cco
from cco import units
from tests import capabilities
from tests.capabilities import ROOT
from tests.machine.installed import Chosen, Login, equipped, journal_read
from tests.machine.machine import Machine
from tests.machine.package import NEXT, Packages, install
from tests.machine.test_units import (
    KILLED,
    LISTENING,
    OFF,
    RUNNING,
    WORKER_KILLED,
    arbiter,
    mount,
    traffic,
    worker,
)

KEEPS: Final = (
    "/proc /sys /run /tmp /var/tmp /var/log /var/cache /var/lib/dpkg /var/lib/apt /home /root"
)
"""Places of the machine that a package may leave traces in: logs, caches, homes."""

ALLOWED: Final = {
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
}
"""What else may be there after a purge: directories of the helper that all packages share."""

UPGRADE: Final = """
until [ -e /home/alice/go ]; do sleep 0.1; done
{command} >/var/tmp/upgrade.log 2>&1
echo $? >/var/tmp/upgraded.new
mv /var/tmp/upgraded.new /var/tmp/upgraded
"""
"""Run by root, while alice's traffic waits for its end."""


def files(machine: Machine) -> set[str]:
    """Return the paths of everything that is on the machine, but for `KEEPS`."""
    skipped = " -o ".join(f"-path {place}" for place in KEEPS.split())
    command = rf"find / -xdev \( {skipped} -o -path {ROOT} \) -prune -o -print"
    return set(machine.run(command, user="root", check=True).stdout.splitlines())


def settle(alice: Login) -> None:
    alice.machine.wait(lambda: alice.states() == RUNNING, "all of it")
    alice.wait_until_ok()


@pytest.mark.timeout(300)
def test_package_lives_from_installation_to_purge(newcomer: Login, packages: Packages) -> None:
    alice, fresh = newcomer, newcomer.machine
    alice.expected += [KILLED, WORKER_KILLED]
    before = files(fresh)
    install(fresh, packages.deb)
    with equipped(fresh):
        alice.use_upstream()
        assert alice.states() == OFF  # installing starts nothing
        assert alice.cco("version").stdout.split()[1] == cco.__version__

        alice.systemctl(f"start {' '.join(units.SOCKETS)}")
        assert alice.states() == LISTENING
        assert alice.fetch("/api/agents")[0] == 200
        settle(alice)
        for victim in (arbiter, worker, mount):
            dead = victim(alice)
            alice.run(f"kill -9 {dead}", check=True)
            alice.machine.wait(lambda: victim(alice) not in (0, dead), "another one")  # noqa: B023
            settle(alice)
        alice.systemctl("reload cco")
        settle(alice)
        restarted = traffic(alice, "systemctl --user restart cco")
        assert restarted["unix"].keys() == restarted["tcp"].keys() == {"ok"}, restarted
        settle(alice)

        counts = upgrade(alice, packages.next_deb, "apt-get -q -y install")
        assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
        settle(alice)
        assert alice.cco("version").stdout.split()[1] == NEXT
        assert alice.health()["version"] == NEXT  # the daemon is the new one

        assert alice.cco("daemon stop").stdout == "stopped\n"
        assert alice.states() == OFF
        assert alice.run("ls -d $XDG_RUNTIME_DIR/cco").stdout == ""

        assert alice.cco("daemon enable").returncode == 0
        fresh.reboot()
        settle(alice)

    remove = "DEBIAN_FRONTEND=noninteractive apt-get -q -y {} cco"
    fresh.run(remove.format("remove"), user="root", check=True)  # while it runs
    left = "pgrep --full '[m] cco.(daemon|vfs)'; ls -d {0}/cco {0}/cco.sock"
    assert fresh.run(left.format(alice.runtime)).stdout == ""
    assert fresh.run("grep fuse.cco /proc/self/mountinfo").stdout == ""
    fresh.run(remove.format("purge"), user="root", check=True)
    assert files(fresh) - before - ALLOWED == set()
    # What is alice's stays hers.
    assert fresh.run("find ~ -name cco.db -o -name cco.toml").stdout.count("\n") == 2


@pytest.mark.timeout(300)
def test_package_of_the_systems_daemon_is_upgraded_under_traffic_and_purged(
    fresh: Machine, packages: Packages
) -> None:
    alice = Chosen(fresh, "alice")
    before = files(fresh)
    install(fresh, packages.deb)
    with equipped(fresh), journal_read(alice):
        alice.use_upstream()
        alice.root("cco daemon enable --system --user alice && systemctl start cco")
        settle(alice)
        mounted = alice.main_pid(units.MOUNT)
        counts = upgrade(alice, packages.next_deb, "apt-get -q -y install")
        assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
        settle(alice)
        assert alice.health()["version"] == NEXT
        assert alice.main_pid(units.MOUNT) != mounted  # the mount is the new one too

        # from one step to the next while it runs
        alice.root("DEBIAN_FRONTEND=noninteractive apt-get -q -y purge cco")
    left = "pgrep --full '[m] cco.(daemon|vfs)'; ls -d /run/cco /run/cco.sock"
    assert fresh.run(f"{left}; grep fuse.cco /proc/self/mountinfo").stdout == ""
    assert files(fresh) - before - ALLOWED == set()


def upgrade(alice: Login, package: Path, command: str) -> dict[str, dict[str, int]]:
    """Upgrade while alice's programs call; return what came of the calls.

    Args:
        alice: whose CCO runs.
        package: the next one.
        command: of root's, that takes a package.
    """
    machine = alice.machine
    next_one = Path("/var/tmp", package.name)
    (machine.root / next_one.relative_to("/")).write_bytes(package.read_bytes())
    script = UPGRADE.format(command=f"{command} {next_one}")
    start = ["systemd-run", "--quiet", "--unit=upgrade", "--setenv=DEBIAN_FRONTEND=noninteractive"]
    machine.run([*start, "sh", "-c", script.replace("$", "$$")], user="root", check=True)
    counts = traffic(alice, "touch ~/go; until [ -e /var/tmp/upgraded ]; do sleep 0.1; done")
    done = machine.run("cat /var/tmp/upgraded /var/tmp/upgrade.log", user="root").stdout
    assert done.startswith("0\n"), done
    return counts


def test_manual_is_installed(machine: Machine) -> None:
    shown = machine.run("man cco.toml | head -5; man -w cco cco-daemon cco-vfs cco-http")
    assert "settings of CCO" in shown.stdout
    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.needs("claude")
def test_claude_code_runs_through_it(alice: Login) -> None:
    alice.use_upstream()
    assert ask_claude(alice)["is_error"] is False


def ask_claude(alice: Login) -> dict[str, Any]:
    """Ask the real Claude Code by `cco`; return what it tells, when the ledger tells it too."""
    given = {
        "CCO_CLAUDE": str(capabilities.claude()),
        "ANTHROPIC_API_KEY": "sk-ant-test-of-a-machine",
    }
    done = alice.cco("-p 'say hello' --output-format json", environment=given)
    assert done.returncode == 0, done.stderr
    assert json.loads(alice.cco("stats --json").stdout)["requests"]["total"] >= 1
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_documents_lead_to_each_other_where_they_are_installed(machine: Machine) -> None:
    place = Path("/usr/share/doc/cco")
    names = {Path(name) for name in machine.run(f"find {place} -type f").stdout.split()}
    there = {name.with_suffix("") if name.suffix == ".gz" else name for name in names}
    for page in (page for page in there if page.suffix == ".md"):
        text = machine.run(f"zcat --force {page}*", check=True).stdout
        # what is about the sources is read there
        links = re.findall(r"\]\((?!(?:cco|tests|systemd|packaging)/)([\w./]+)\)", text)
        assert {page.parent / link for link in links} <= there
    assert place / "man/tutorial.md" in there
