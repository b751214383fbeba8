# SPDX-License-Identifier: Apache-2.0
"""Asks and commands the service manager, where there is one that knows our units."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cco.errors import Denied, Unavailable

SERVICE: Final = "cco.service"
MOUNT: Final = "cco-vfs.service"
SOCKETS: Final = ("cco.socket", "cco-http.socket")
ALL: Final = (*SOCKETS, SERVICE, MOUNT)

_REFUSED: Final = re.compile(r"Access denied|[Aa]uthentication|Permission denied")
"""What `systemctl` says where this user may not do that, with and without polkit."""


@dataclass(frozen=True, slots=True)
class Manager:
    """A running service manager that has our units: the user's, or the system's."""

    scope: str
    """``--user`` or ``--system``."""
    environ: Mapping[str, str] = field(repr=False)
    """Environment in which `systemctl` finds this manager."""

    def run(self, verb: str, *args: str, check: bool = True) -> str:
        """Run one `systemctl` command and return what it prints.

        Raises:
            Unavailable: it failed, with its own words.
            Denied: it takes root's rights.
        """
        command = ["systemctl", self.scope, "--no-pager", "--no-ask-password", verb, *args]
        try:
            done = subprocess.run(
                command, env=dict(self.environ), capture_output=True, text=True, check=False
            )
        except OSError as exc:
            raise Unavailable(
                "systemd-failed",
                f"systemctl cannot be run ({exc.strerror})",
                hint="Install systemd",
            ) from exc
        if check and done.returncode != 0:
            told = done.stderr.strip().splitlines() or [str(done.returncode)]
            if self.scope == "--system" and _REFUSED.search(done.stderr):
                raise Denied(
                    "system-daemon",
                    f"your daemon is the system's, and only root may {verb} that",
                    hint=f"Run: sudo systemctl {' '.join([verb, *args])}",
                )
            raise Unavailable(
                "systemd-failed",
                f"'systemctl {self.scope} {' '.join([verb, *args])}' failed: {told[0].rstrip('.')}",
                hint=f"See: systemctl {self.scope} status {args[0] if args else SERVICE}",
            )
        return done.stdout

    def states(self, units: Sequence[str] = ALL) -> dict[str, str]:
        """Return the ActiveState of each unit."""
        told = self.run("show", "--property=Id,ActiveState", *units, check=False)
        found: dict[str, str] = {}
        for block in told.strip().split("\n\n"):
            pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if "Id" in pairs:
                found[pairs["Id"]] = pairs.get("ActiveState", "unknown")
        return found

    def property(self, unit: str, name: str) -> str:
        """Return one property of a unit, empty where it has none."""
        return self.run("show", f"--property={name}", "--value", unit, check=False).strip()

    def trouble(self, unit: str) -> str:
        """Return why a service that gave up by itself says that it did, else an empty text."""
        wanted = "--property=Result,StatusText"
        lines = self.run("show", wanted, unit, check=False).splitlines()
        told = dict(line.split("=", 1) for line in lines if "=" in line)
        if told.get("Result") != "exit-code":
            return ""
        return told.get("StatusText") or f"{unit} fails"

    def journal_command(self, *args: str) -> list[str]:
        """Return the command that shows the log of our units."""
        wanted = [word for unit in (SERVICE, MOUNT) for word in (f"{self.scope}-unit", unit)]
        if self.scope == "--system":
            wanted = [word for unit in (SERVICE, MOUNT) for word in ("--unit", unit)]
        return ["journalctl", "--quiet", *wanted, *args]


def edit_command(unit: str, *, is_system: bool) -> str:
    """Return the command by which a user changes one of our units."""
    return f"{'sudo systemctl' if is_system else 'systemctl --user'} edit {unit}"


def find(
    environ: Mapping[str, str], *, uid: int, is_system: bool, run: Path = Path("/run")
) -> Manager | None:
    """Return the manager that has our units for `uid`, or None where CCO must do it itself.

    A daemon with a runtime directory of its own (``CCO_RUNTIME_DIR``) is no unit.

    Args:
        environ: of the caller.
        uid: of the user.
        is_system: whether it is the system's manager that is wanted.
        run: where systemd has its sockets.
    """
    if environ.get("CCO_RUNTIME_DIR") or not (run / "systemd/system").is_dir():
        return None
    if is_system:
        manager = Manager("--system", environ)
    else:
        # A login by `su` has no XDG_RUNTIME_DIR, and the same manager.
        runtime = environ.get("XDG_RUNTIME_DIR") or f"{run}/user/{uid}"
        if not os.access(f"{runtime}/systemd/private", os.F_OK):
            return None
        manager = Manager("--user", {**environ, "XDG_RUNTIME_DIR": runtime})
    try:
        return manager if manager.property(SERVICE, "LoadState") == "loaded" else None
    except Unavailable:
        return None
