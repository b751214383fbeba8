# SPDX-License-Identifier: Apache-2.0
"""Makes the file system that machines begin with, once for each Debian suite and list of packages.

It lies in ``${CCO_CACHE:-/var/cache/cco-ci}`` and is never written again: machines lay their own
changes over it. One that nobody uses any more may be deleted at any time.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "ca-certificates",
    "curl",
    "dbus",
    "dbus-user-session",
    "fuse3",
    "libfuse2",
    "libpam-systemd",
    "libsystemd0",
    "procps",
    "python3",
    "systemd",
    "systemd-sysv",
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
    recipe = "\n".join((suite, *PACKAGES, *_CUSTOMIZE))
    base = cache() / f"{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it, the others wait
        if not base.is_dir():
            unfinished = base.with_suffix(".tmp")
            shutil.rmtree(unfinished, ignore_errors=True)
            _bootstrap(suite, unfinished)
            unfinished.rename(base)
    return base


def _bootstrap(suite: str, target: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"]
    command += [f"--customize-hook={line}" for line in _CUSTOMIZE]
    command += [suite, str(target), *_mirrors(suite)]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o022,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"mmdebstrap {suite}: exit {done.returncode}\n{done.stderr}")


def _mirrors(suite: str) -> list[str]:
    """Return the mirror that this host itself uses, or none: mmdebstrap then knows a default."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for uri in done.stdout.split():
        if uri.rstrip("/").endswith("/debian"):
            return [f"deb {uri} {suite} main"]
    return []
