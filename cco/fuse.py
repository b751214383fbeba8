# SPDX-License-Identifier: Apache-2.0
"""What a host must have for mounting without root: the FUSE device and the program fusermount."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cco.errors import Unavailable

DEVICE: Final = Path("/dev/fuse")


def fusermounts(search_path: str) -> list[Path]:
    """Return where libfuse looks for the program that mounts for ordinary users."""
    directories = ["/bin", "/usr/bin", *search_path.split(":")]
    return [Path(directory) / "fusermount" for directory in directories if directory]


def check_device(device: Path) -> None:
    """Open the device as libfuse will: before it asks `fusermount` for help.

    Raises:
        Unavailable: it is missing or forbidden.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except PermissionError as exc:
        raise Unavailable(
            "fuse-denied",
            f"{device} may not be opened ({exc.strerror})",
            hint=f"As root: chmod 666 {device}; for a container, pass --device {device}",
        ) from exc
    except OSError as exc:
        raise Unavailable(
            "fuse-missing",
            f"{device} is missing ({exc.strerror}), so nothing can be mounted",
            hint=f"As root: modprobe fuse; for a container, pass --device {device}",
        ) from exc


def find_fusermount(programs: Sequence[Path]) -> Path:
    """Return the first of these programs that can be run.

    Raises:
        Unavailable: none can.
    """
    for program in programs:
        if os.access(program, os.X_OK):
            return program
    raise Unavailable(
        "fusermount-missing",
        "the program fusermount is missing, so nothing can be mounted",
        hint="Install it, on Debian with: apt install fuse3",
    )
