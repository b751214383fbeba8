# SPDX-License-Identifier: Apache-2.0
"""What this host can do for tests, and if it cannot, why.

A test asks with ``@pytest.mark.needs("fuse")``, a fixture with ``require("fuse")``. Where an
ability is missing the test is skipped with the reason; with ``CI=true`` it fails, so that a skip
never hides there. The header of pytest's report lists all of them.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
"""The source tree."""

DEBIAN: Final = Path("/usr/lib/python3/dist-packages")
"""Where Debian has its Python modules."""

IN_CI: Final = os.environ.get("CI") == "true"

_CAP_SYS_ADMIN: Final = 21
_CAP_MKNOD: Final = 27


def claude() -> Path:
    """Return the Claude Code client of the tests; a test that uses it needs ``claude``."""
    where = _claude()
    if where is None:
        raise FileNotFoundError("packaging/install-claude has not run")
    return where


@functools.cache
def why_not(name: str) -> str | None:
    """Return why the host lacks the ability, or None where it has it."""
    return _PROBES[name]()


def require(*names: str) -> None:
    """Skip the running test, or fail it in CI, unless the host has all these abilities."""
    for name in names:
        reason = why_not(name)
        if reason is None:
            continue
        if IN_CI:
            pytest.fail(f"needs {name}: {reason}", pytrace=False)
        pytest.skip(f"needs {name}: {reason}")


def report() -> list[str]:
    """Return one line for all that is there, and one for each that is not."""
    there = [name for name in _PROBES if why_not(name) is None]
    lines = [f"host can: {', '.join(there)}"]
    lines += [f"host cannot: {name}: {why_not(name)}" for name in _PROBES if name not in there]
    return lines


def _root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _fuse() -> str | None:
    if shutil.which("fusermount") is None:
        return "no fusermount in PATH"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/fuse: {error.strerror}"
    return None


@functools.cache
def _claude() -> Path | None:
    script = ROOT / "packaging" / "install-claude"
    found = subprocess.run([script, "--where"], capture_output=True, text=True, check=True).stdout
    return Path(found.strip()) if found else None


def _claude_missing() -> str | None:
    return None if _claude() else "packaging/install-claude has not run"


def _machine() -> str | None:
    if reason := _root() or _program("systemd-nspawn") or _program("mmdebstrap"):
        return reason
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    if not effective >> _CAP_SYS_ADMIN & effective >> _CAP_MKNOD & 1:
        return "root without CAP_SYS_ADMIN and CAP_MKNOD"
    return None


def _program(name: str) -> str | None:
    return None if shutil.which(name) else f"no {name} in PATH"


def _module(name: str) -> str | None:
    where = DEBIAN / name / "__init__.py"
    return None if where.exists() else f"no {where}"


_PROBES: Final[dict[str, Callable[[], str | None]]] = {
    "root": _root,
    "fuse": _fuse,
    "claude": _claude_missing,
    "machine": _machine,
    "socket-activate": lambda: _program("systemd-socket-activate"),
    "systemd-analyze": lambda: _program("systemd-analyze"),
    "shellcheck": lambda: _program("shellcheck"),
    "man": lambda: _program("man") or _program("lexgrog"),
    "tmux": lambda: _program("tmux"),
    "debian-urwid": lambda: _module("urwid"),
    "dbus": lambda: _program("dbus-daemon"),
    "git": lambda: _program("git"),
}
