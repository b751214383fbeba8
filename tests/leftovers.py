# SPDX-License-Identifier: Apache-2.0
"""Finds what a test left behind: threads, processes, descriptors, FUSE mounts and temporary files.

Other test runs on the same host are none of our business. A process counts as the test's own if it
descends from this one or carries the test's token in its environment, which also finds those that
were put in the background and have another parent now. A mount counts unless it is where
another run has its temporary files.
"""

import contextlib
import gc
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

TOKEN_VARIABLE: Final = "TEST_PROCESS_TOKEN"

_PATIENCE_S: Final = 5.0
"""How long things may take to go by themselves after the test's last fixture."""

# A mountinfo line: ID parent device root MOUNTPOINT options [optional fields] - TYPE source options
_FUSE_MOUNT = re.compile(r"^(\d+) \S+ \S+ \S+ (\S+) .* - fuse(?:blk|\.\S+)? ", re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """What there was before a test."""

    token: str
    places: tuple[Path, ...]
    """Directories for temporary files of this run; the first is the test's own and empty."""
    elsewhere: Path
    """The directory that all runs have such places in."""
    threads: frozenset[threading.Thread]
    processes: frozenset[int]
    descriptors: Mapping[int, str]
    mounts: Mapping[str, str]


def take_snapshot(*places: Path, elsewhere: Path) -> Snapshot:
    """Return what there is now, with a fresh token for the processes that will be started."""
    return Snapshot(
        token=uuid.uuid4().hex,
        places=places,
        elsewhere=elsewhere,
        threads=frozenset(threading.enumerate()),
        processes=frozenset(_all_processes()),
        descriptors=_descriptors(),
        mounts=_fuse_mounts(),
    )


def find(before: Snapshot, *, patience_s: float = _PATIENCE_S) -> list[str]:
    """Return one line for each thing that is still there after a while, at best none."""
    deadline = time.monotonic() + patience_s
    while found := list(_new(before)):
        gc.collect()  # descriptors of objects that nobody holds
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def sweep(before: Snapshot) -> None:
    """Kill and unmount what the test left, so that one bad test does not fail the next ones."""
    for process in _new_processes(before):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    for place in _new_mounts(before):
        subprocess.run(["fusermount", "-u", "-z", place], capture_output=True, check=False)


def _new(before: Snapshot) -> Iterator[str]:
    for thread in threading.enumerate():
        if thread not in before.threads:
            yield f"thread {thread.name!r}"
    for process in _new_processes(before):
        yield f"process {process.pid}: {_command(process)}"
    for number, target in _descriptors().items():
        if before.descriptors.get(number) != target:
            yield f"descriptor {number}: {target}"
    for place in _new_mounts(before):
        yield f"FUSE mount {place}"
    for path in sorted(before.places[0].iterdir()):
        yield f"temporary file {path.name}"


def _new_mounts(before: Snapshot) -> list[str]:
    found = []
    for identity, place in _fuse_mounts().items():
        path = Path(place)
        ours = any(path.is_relative_to(each) for each in before.places)
        if identity not in before.mounts and (ours or not path.is_relative_to(before.elsewhere)):
            found.append(place)
    return found


def _new_processes(before: Snapshot) -> list[psutil.Process]:
    mark = f"{TOKEN_VARIABLE}={before.token}".encode()
    found = []
    for pid in _all_processes() - before.processes:
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue  # ended; whoever started it has merely not asked yet
            if _descends(process) or mark in _environment(pid):
                found.append(process)
        except (psutil.NoSuchProcess, OSError):
            continue  # gone meanwhile, or another user's
    return found


def _descends(process: psutil.Process) -> bool:
    return any(parent.pid == os.getpid() for parent in process.parents())


def _environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def _all_processes() -> set[int]:
    return set(psutil.pids())


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.NoSuchProcess:
        return "(gone meanwhile)"


def _descriptors() -> dict[int, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        if entry.name in {"0", "1", "2"}:
            continue  # pytest's own, which it changes at its end
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # the one that listed the directory
    return found


def _fuse_mounts() -> dict[str, str]:
    return dict(_FUSE_MOUNT.findall(Path("/proc/self/mountinfo").read_text()))
