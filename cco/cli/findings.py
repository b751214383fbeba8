# SPDX-License-Identifier: Apache-2.0
"""What `cco doctor` thinks of what it saw: values in, findings out.

A finding that is not ``ok`` has a remedy, which is a command wherever one command mends it.
"""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from cco.errors import CcoError

OLDEST_SYSTEMD: Final = 252
"""Of Debian 12; what is older was not tried."""
USER_CREDS_SYSTEMD: Final = 256
"""The first whose `systemd-creds` decrypts for a user."""
LITTLE_ROOM: Final = 100 << 20
NO_ROOM: Final = 10 << 20
SKEW_S: Final = 120.0
"""So far may a request lie in the future before the clock is doubted."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    code: str
    """Stable, kebab-case; of an error its own."""
    level: Level
    message: str
    """One sentence without a full stop; never a secret."""
    remedy: str | None = None


def good(code: str, message: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(code, Level.OK, message)


def of_error(error: CcoError, *, level: Level = Level.FAIL) -> Finding:
    """Return what an error of ours says as a finding."""
    return Finding(error.code, level, error.message, error.hint)


def init(*, is_systemd: bool, kernel: str) -> Finding:
    """Judge the init system; `kernel` is its release, which WSL puts its name into."""
    if is_systemd:
        return good("init", "systemd is init")
    alone = "systemd is not init here, so CCO supervises itself"
    if "microsoft" in kernel.lower():
        return Finding(
            "wsl-without-systemd",
            Level.WARN,
            f"{alone}, and ends with the last window of WSL",
            r"printf '[boot]\nsystemd=true\n' | sudo tee -a /etc/wsl.conf; wsl.exe --shutdown",
        )
    return good("init", f"{alone} (a container, or another init)")


def systemd_version(told: str) -> Finding:
    """Judge the version; `told` is what ``systemctl --version`` begins with."""
    number = version_of(told)
    if number < OLDEST_SYSTEMD:
        return Finding(
            "systemd-old",
            Level.WARN,
            f"systemd {number} is older than {OLDEST_SYSTEMD}, the oldest that CCO is tested with",
            "Update the distribution, or supervise CCO yourself: cco daemon run",
        )
    return good("systemd", f"systemd {number}")


def version_of(told: str) -> int:
    """Return the number in the first line of ``systemctl --version``, 0 for none."""
    found = re.match(r"systemd (\d+)", told)
    return int(found[1]) if found else 0


def user_manager(
    *, name: str, runs: bool, is_ssh: bool, lingers: bool, has_variable: bool, runtime: Path
) -> Finding:
    """Judge the user's own service manager, where systemd is init.

    Args:
        name: of the user.
        runs: whether the manager runs.
        is_ssh: whether this is a login from elsewhere.
        lingers: whether the manager stays without a login.
        has_variable: whether ``XDG_RUNTIME_DIR`` is set.
        runtime: the directory that CCO uses.
    """
    linger = f"sudo loginctl enable-linger {name}"
    if not runs:
        return Finding(
            "no-user-manager",
            Level.WARN,
            f"no service manager runs for {name} (a login by su or sudo, or SSH without PAM),"
            f" so CCO supervises itself in {runtime}",
            linger,
        )
    if is_ssh and not lingers:
        return Finding(
            "no-linger",
            Level.WARN,
            f"the manager of {name}, and CCO with it, ends with the last SSH connection",
            linger,
        )
    if not has_variable:
        return good("user-manager", f"XDG_RUNTIME_DIR is not set (su or sudo); {runtime} is used")
    return good("user-manager", f"the service manager of {name} runs")


def units(states: Mapping[str, str], *, scope: str) -> Finding:
    """Judge the states of our units."""
    failed = [name for name, state in states.items() if state == "failed"]
    if failed:
        return Finding(
            "unit-failed",
            Level.FAIL,
            f"{' and '.join(failed)} failed",
            f"cco daemon logs, then: systemctl {scope} restart {' '.join(failed)}",
        )
    told = ", ".join(f"{name} {state}" for name, state in states.items())
    return good("units", f"the units of {scope.removeprefix('--')} manager: {told}")


def versions(*, ours: str, daemons: str) -> Finding:
    """Judge whether daemon and command line are of one version."""
    if ours != daemons:
        return Finding(
            "version-differs",
            Level.WARN,
            f"the daemon is CCO {daemons}, this command is {ours}",
            "cco daemon restart",
        )
    return good("version", f"CCO {ours}, daemon and command line")


def health(told: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge what a running daemon says of itself, agents excepted."""
    vfs = told["vfs"]
    if vfs["mounted"] and vfs["status"] == "OK":
        yield good("mount", f"the files are at {vfs['path']}")
    else:
        yield Finding("mount", Level.FAIL, f"the mount: {vfs['status']}", "cco daemon restart")
    for one in told["upstreams"]:
        yield _upstream(one["name"], one["state"])
    for warning in told["warnings"]:
        if warning["code"] not in ("agent-refused", "no-credential"):
            remedy = warning["hint"] or "cco daemon status"
            yield Finding(warning["code"], Level.WARN, warning["message"], remedy)


def _upstream(name: str, state: str) -> Finding:
    if state in ("up", "half-open"):
        return good("upstream", f"the upstream {name} is {state}")
    told = {
        "open": ("is out", "cco daemon logs --since 1h"),
        "resting": ("is at its limit, others are asked meanwhile", "Wait, or add an [[upstream]]"),
        "no-credential": ("has no key and is not asked", "See its credential, below"),
    }
    says, remedy = told.get(state, (f"is {state}", "cco daemon logs"))
    return Finding(f"upstream-{state}", Level.WARN, f"the upstream {name} {says}", remedy)


def clock(*, now_s: float, built_s: float, newest_s: float | None) -> Finding:
    """Judge the clock by the time of the build and the newest request; Unix times."""
    remedy = "sudo timedatectl set-ntp true"
    if now_s < built_s:
        message = "the clock shows a time before this CCO was built"
        return Finding("clock-behind", Level.FAIL, message, remedy)
    if newest_s is not None and newest_s > now_s + SKEW_S:
        ahead = newest_s - now_s
        message = f"the newest request in the ledger is {ahead:.0f} s in the future"
        return Finding("clock-skew", Level.WARN, message, remedy)
    compared = "this build" if newest_s is None else "this build and the newest request"
    return good("clock", f"the clock agrees with {compared}")


def packages(required: Sequence[str], installed: Mapping[str, str | None]) -> Iterator[Finding]:
    """Judge the Python packages; `required` has lines such as ``flask>=2.2``."""
    bad = False
    for line in required:
        found = re.match(r"([\w.-]+)(?:>=([\d.]+))?$", line)
        if found is None:  # an extra
            continue
        name, least = found[1], found[2] or "0"
        have = installed.get(name)
        remedy = f"sudo apt install python3-{_debian_name(name)}, or: pip install '{line}'"
        if have is None:
            yield Finding("package-missing", Level.FAIL, f"Python's {name} is missing", remedy)
        elif _numbers(have) < _numbers(least):
            message = f"Python's {name} is {have}, CCO needs {least}"
            yield Finding("package-old", Level.FAIL, message, remedy)
        bad |= have is None or _numbers(have) < _numbers(least)
    if not bad:
        yield good("packages", "all Python packages are there")


def _debian_name(name: str) -> str:
    return {"systemd-python": "systemd"}.get(name, name)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def room(path: Path, *, free_bytes: int) -> Finding:
    """Judge what is free on the disk of `path`."""
    told = f"{free_bytes >> 20} MB are free for {path}"
    if free_bytes < LITTLE_ROOM:
        level = Level.FAIL if free_bytes < NO_ROOM else Level.WARN
        return Finding("disk-full", level, f"only {told}", f"df -h {path}, and make room there")
    return good("disk", told)


def rights(path: Path, *, mode: int, owner: int, uid: int, is_private: bool) -> Finding | None:
    """Judge owner and mode of something of the user's; None where nothing is wrong.

    Args:
        path: of the file or directory.
        mode: as `os.stat` tells it.
        owner: uid.
        uid: of the user.
        is_private: others may not even read it.
    """
    if owner not in (uid, 0):
        message = f"{path} belongs to another user (uid {owner})"
        return Finding("foreign-file", Level.FAIL, message, f"sudo chown -R {uid} {path}")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = f"others may write to {path}"
        return Finding("writable-file", Level.FAIL, message, f"chmod go-w {path}")
    if is_private and mode & 0o077:
        remedy = f"chmod {'700' if stat.S_ISDIR(mode) else '600'} {path}"
        return Finding("exposed-file", Level.WARN, f"others may read {path}", remedy)
    return None
