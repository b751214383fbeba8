# SPDX-License-Identifier: Apache-2.0
"""Finds the session of the process that calls the mount, in the environment it was started with.

The daemon judges the token; it cannot read it itself, because from inside its own user namespace
the kernel refuses that read.
"""

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = b"CCO_SESSION"

MAX_ENVIRONMENT: Final = 6 << 20
"""Bytes of arguments and environment that the kernel allows at most, `execve(2)`."""

MAX_TOKEN: Final = 256
"""Bytes; ours have 43."""

_CHUNK: Final = 1 << 16


def read_token(pid: int, *, uid: int, proc: Path = Path("/proc")) -> str | None:
    """Return the session token of a process, or None if it has none that we may see.

    Args:
        pid: of the process or of any of its threads; 0 for one outside our pid namespace.
        uid: whose process it must be; another's means that the number was given anew.
        proc: where procfs is.
    """
    try:
        directory = os.open(proc / str(pid), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(directory).st_uid != uid:
            return None
        return find_token(_read_environment(directory))
    except OSError:
        return None
    finally:
        os.close(directory)


def find_token(environment: bytes) -> str | None:
    """Return the value of ``CCO_SESSION`` in an environment block, if it can be a token."""
    for item in environment.split(b"\0"):
        name, _, value = item.partition(b"=")
        if name == VARIABLE:
            is_token = 0 < len(value) <= MAX_TOKEN and all(0x20 < byte < 0x7F for byte in value)
            return value.decode("ascii") if is_token else None
    return None


def _read_environment(directory: int) -> bytes:
    """Read `environ` through the directory, which stays with its process if the pid is reused."""
    file = os.open("environ", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    data = bytearray()
    try:
        while len(data) < MAX_ENVIRONMENT and (chunk := os.read(file, _CHUNK)):
            data += chunk
    finally:
        os.close(file)
    return bytes(data)
