# SPDX-License-Identifier: Apache-2.0
"""Debian's own judges of an installed package: autopkgtest and piuparts, on each Debian."""

import re
import shutil
from collections.abc import Mapping
from typing import Any, Final

from cco import units
from cco.api.services import HOUSEKEEPING_S
from tests.capabilities import ROOT
from tests.machine.installed import Chosen, Login
from tests.machine.machine import Machine
from tests.machine.package import Packages

AUTOPKGTEST: Final = f"""
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"; systemctl stop user@0.service' EXIT
mkdir source
cp -r {ROOT}/debian source/
autopkgtest --no-built-binaries --ignore-restrictions=isolation-container source/ -- null 2>&1
"""
"""The machine is a container; the runner that is there for any machine does not know it. What is
tested is the installed package; to log in for that, it has a manager of root's started.
"""

SOURCES: Final = """#!/bin/sh
set -eu
rm -f /etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:/var/tmp/piuparts/earlier ./" >/etc/apt/sources.list
"""
"""Lets apt of the root under test know the earlier package, and no network."""

PIUPARTS: Final = """
cd /var/tmp/piuparts
trap 'rm -rf /var/tmp/piuparts' EXIT
chmod a+x scripts/*
(cd earlier && apt-ftparchive packages . >Packages)
piuparts --tmpdir=/var/tmp/piuparts --existing-chroot=/var/lib/base --keep-sources-list \\
    --ignore-regex='/var/cache/debconf/tmp.ci.*' --no-eatmydata --skip-minimize \\
    --bindmount=/var/tmp/piuparts/earlier \\
    --scriptsdir=/var/tmp/piuparts/scripts --log-level=info *.deb
"""
"""In copies of what the machine was made from, where all that CCO depends on is installed; the
directory that is ignored is debconf's of Debian 12, made by any package with questions.
"""


def test_autopkgtest_passes(machine: Machine) -> None:
    done = machine.run(["bash", "-c", AUTOPKGTEST], user="root", timeout_s=120)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^smoke +PASS$", done.stdout, re.MULTILINE)


def test_piuparts_installs_upgrades_and_purges_beside_a_systems_daemon_that_is_silent(
    served: Chosen, packages: Packages
) -> None:
    machine, since = served.machine, served.machine.cursor()
    place = machine.root / "var/tmp/piuparts"
    for directory in (place, place / "earlier", place / "scripts"):
        directory.mkdir(mode=0o755)
    shutil.copy(packages.deb, place / "earlier")
    shutil.copy(packages.next_deb, place)
    (place / "scripts/post_chroot_unpack_sources").write_text(SOURCES)
    done = machine.run(PIUPARTS, user="root", timeout_s=300)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "PASS: Installation and purging test." in told
    assert "PASS: Installation, upgrade and purging tests." in told
    # meanwhile nobody has asked CCO for anything, and it kept house
    machine.wait(lambda: uptime_s(served) > HOUSEKEEPING_S, "housekeeping", timeout_s=60)
    entries = machine.journal(since=since)
    assert [one["MESSAGE"] for one in entries if is_ours(one)] == []


def uptime_s(login: Login) -> float:
    return float(login.health()["uptimeSeconds"])


def is_ours(entry: Mapping[str, Any]) -> bool:
    """Say whether an entry of the journal is from our units, or about them."""
    return not {entry.get("_SYSTEMD_UNIT"), entry.get("UNIT")}.isdisjoint(units.ALL)
