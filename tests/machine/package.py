# SPDX-License-Identifier: Apache-2.0
"""Builds the packages of the tree, and installs them into machines as their owners would."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cco
from tests.capabilities import ROOT
from tests.machine.machine import Machine

NEXT: Final = f"{cco.__version__}.1"
"""Version of a package that an upgrade brings; its code is the same."""


@dataclass(frozen=True, slots=True)
class Packages:
    """What was built."""

    deb: Path
    next_deb: Path
    rpm: Path
    next_rpm: Path


def build(output: Path) -> Packages:
    """Build them into a directory, and have lintian and rpmlint judge them."""
    upgrade = output / "next"
    with ThreadPoolExecutor() as pool:  # each waits for a process
        builds = [
            pool.submit(_build, output=output),
            pool.submit(_build, "--version", NEXT, "deb", "rpm", output=upgrade),
        ]
        for each in builds:
            each.result()
    places = ((output, cco.__version__), (upgrade, NEXT))
    debs = (place / f"cco_{version}_all.deb" for place, version in places)
    rpms = (place / f"cco-{version}-1.noarch.rpm" for place, version in places)
    return Packages(*debs, *rpms)


def _build(*words: str, output: Path) -> None:
    command = [str(ROOT / "packaging/build-packages"), "--output", str(output), *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"build-packages: exit {done.returncode}\n{done.stderr}")


def install(machine: Machine, package: Path) -> str:
    """Install or upgrade a package with apt-get; return what it printed."""
    shutil.copy(package, machine.root / "var/tmp")
    done = machine.run(
        f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install /var/tmp/{package.name}",
        user="root",
        timeout_s=120,
    )
    if done.returncode != 0:
        raise RuntimeError(f"apt-get: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr
