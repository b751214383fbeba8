# SPDX-License-Identifier: Apache-2.0
"""The rpm: in a booted machine, and in a file system that nobody has booted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from cco import units
from cco.cli.enable import drop_ins
from tests.machine.installed import Login
from tests.machine.machine import Machine
from tests.machine.package import NEXT, Packages
from tests.machine.test_package import files, settle, upgrade
from tests.machine.test_units import OFF

RPM: Final = "rpm --nodeps"
"""Its dependencies are Debian's packages here, which rpm knows nothing of."""

IMAGE: Final = Path("/run/image/root")
MAKE_IMAGE: Final = """
mkdir -p /run/image/upper /run/image/work /run/image/root
mount -t overlay -o lowerdir=/var/lib/base,upperdir=/run/image/upper,workdir=/run/image/work \
    overlay /run/image/root
"""
"""A Debian that is not booted, in memory."""


@dataclass(frozen=True, slots=True)
class Image:
    """A file system in the machine that another one lies beneath."""

    machine: Machine

    def enabled(self) -> set[str]:
        """Return how systemd sees our units there, for the system and for all users."""
        names = " ".join((units.SERVICE, *units.SOCKETS))
        ask = f"systemctl --root={IMAGE} is-enabled {names}"
        return set(run(self.machine, f"{ask}; {ask} --global; :").split())

    def left(self) -> list[str]:
        """Return what is there beside what was, and the database of rpm.

        A device marks what has gone, such as an empty directory of the shells.
        """
        changed = r"\( ! -type d -o -name '*cco*' \) ! -type c ! -path '*rpm*'"
        return run(self.machine, f"find /run/image/upper {changed}").splitlines()


@pytest.fixture
def image(machine: Machine, packages: Packages) -> Iterator[Image]:
    bring(machine, packages)
    run(machine, MAKE_IMAGE)
    yield Image(machine)
    run(machine, "umount /run/image/root; rm -r /run/image")


def bring(machine: Machine, packages: Packages) -> None:
    for package in (packages.rpm, packages.next_rpm):
        (machine.root / "var/tmp" / package.name).write_bytes(package.read_bytes())


def run(machine: Machine, command: str) -> str:
    """Run a command as root, beside the packages; return what it prints."""
    done = machine.run(command, user="root", cwd=Path("/var/tmp"), check=True)
    assert "scriptlet failed" not in done.stderr, done.stderr
    return done.stdout


def test_rpm_lives_in_a_machine(newcomer: Login, packages: Packages) -> None:
    alice, fresh = newcomer, newcomer.machine
    before = files(fresh)
    bring(fresh, packages)
    run(fresh, f"{RPM} -i {packages.rpm.name}")
    assert run(fresh, f"{RPM} -V cco") == ""  # what lies there is what was packed
    alice.systemctl("daemon-reload")
    assert alice.states() == OFF
    alice.systemctl("start cco")
    settle(alice)
    counts = upgrade(alice, packages.next_rpm, f"{RPM} -U")
    assert counts["unix"].keys() == counts["tcp"].keys() == {"ok"}, counts
    settle(alice)
    assert alice.health()["version"] == NEXT
    run(fresh, f"{RPM} -e cco")
    assert fresh.run(f"ls -d {alice.mount}; pgrep --full '[m] cco.(daemon|vfs)'").stdout == ""
    left = {path for path in files(fresh) - before if not path.startswith("/var/lib/rpm")}
    assert left == {"/usr/share/licenses"}  # a directory of the system's, which Debian has not


def test_rpm_goes_into_an_image_and_out_again(image: Image, packages: Packages) -> None:
    machine = image.machine
    inside = f"{RPM} --root {IMAGE}"
    run(machine, f"{inside} -i {packages.rpm.name}")
    assert run(machine, f"{inside} -V cco") == ""
    assert image.enabled() == {"disabled"}
    for scope in ("", "--global"):
        run(machine, f"systemctl --root={IMAGE} {scope} enable {units.SERVICE}")
    for path in drop_ins(IMAGE / "etc/systemd/system"):  # as `cco daemon enable --system` does
        run(machine, f"mkdir -p {path.parent}; echo '# alice' >{path}")
    run(machine, f"{inside} -U {packages.next_rpm.name}")
    assert run(machine, f"rpm --root {IMAGE} -q cco").startswith(f"cco-{NEXT}-")
    assert image.enabled() == {"enabled"}
    run(machine, f"{inside} -e cco")
    assert image.left() == []
