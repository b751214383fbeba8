# SPDX-License-Identifier: Apache-2.0
"""Who listens on a TCP port of this machine, as far as this user may know."""

from pathlib import Path
from typing import Final

LISTEN: Final = "0A"
"""State of a listening socket in ``/proc/net/tcp``."""


def owner(port: int, *, proc: Path = Path("/proc")) -> str:
    """Say who listens on a TCP port: ``'name' (pid N)``, or the uid where that cannot be seen."""
    return listener(port, proc=proc) or "another program"


def listener(port: int, *, proc: Path = Path("/proc")) -> str | None:
    """Return the owner of a TCP port, None where nobody is seen to listen."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:  # there is no tcp6 where IPv6 is off
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                return _process_with(f"socket:[{columns[9]}]", proc) or f"uid {columns[7]}"
    return None


def _process_with(link: str, proc: Path) -> str | None:
    for directory in proc.glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) == link for fd in (directory / "fd").iterdir()):
                name = (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"'{name}' (pid {directory.name})"
        except OSError:
            continue
    return None
