# SPDX-License-Identifier: Apache-2.0
"""Makes the file system that machines begin with, once for each Debian suite and list of packages.

It lies in ``${CCO_CACHE:-/var/cache/cco-ci}`` and is never written again: machines lay their own
changes over it.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.capabilities import ROOT

PACKAGES: Final = (
    # a machine that people log in to
    "ca-certificates",
    "curl",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "man-db",
    "procps",
    "rpm",  # to test the other package
    # shells that complete our commands
    "bash-completion",
    "fish",
    "zsh",
    # Debian's tests of a package
    "autopkgtest",
    "dpkg-dev",
    "piuparts",
    "systemd",
    "systemd-sysv",
    "tzdata",
    # what the package of CCO depends on; machines have no network to fetch it from
    "fuse3",
    "python3-brotli",
    "python3-cachetools",
    "python3-cryptography",
    "python3-flask",
    "python3-gunicorn",
    "python3-llfuse",
    "python3-prometheus-client",
    "python3-psutil",
    "python3-requests",
    "python3-sdnotify",
    "python3-systemd",
    "python3-urwid",
    "python3-zstandard",
)

USERS: Final = {"alice": 1000, "bob": 1001}
"""Ordinary users, of whom alice has a user manager from boot on."""

_CUSTOMIZE: Final = (
    # Roots of mmdebstrap have no /etc/hosts, without which localhost is not found.
    r'printf "127.0.0.1 localhost\n::1 localhost\n" >"$1/etc/hosts"',
    ': >"$1/etc/machine-id"',
    *(f'chroot "$1" useradd -m -s /bin/bash -u {uid} {name}' for name, uid in USERS.items()),
    # What `loginctl enable-linger` does; inside a container that has no controller it fails.
    'mkdir -p "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/alice"',
    'mkdir -p "$1/var/log/journal"',
    # Nothing is to be fetched or cleaned up while tests measure and look.
    'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer',
    'chroot "$1" systemctl mask e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer',
)


def cache() -> Path:
    """Return the directory of bases and running machines."""
    return Path(os.environ.get("CCO_CACHE") or "/var/cache/cco-ci")


def make(suite: str) -> Path:
    """Return the base of a Debian suite, such as ``bookworm``; make it if it is not there yet."""
    script = ROOT / "packaging/debian-root"
    done = subprocess.run(
        [script, "machine", suite, " ".join(PACKAGES), *_CUSTOMIZE],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} {suite}: exit {done.returncode}\n{done.stderr}")
    return Path(done.stdout.strip())
