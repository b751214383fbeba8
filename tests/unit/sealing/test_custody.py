# SPDX-License-Identifier: Apache-2.0
"""The master key's page, as the kernel sees it; what cannot be undone happens in a child."""

import contextlib
import copy
import errno
import json
import os
import pickle
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from cco.sealing import custody
from cco.sealing.custody import SecretBytes

ROOT = Path(custody.__file__).parents[2]

MASK = 0xA5
"""How a child tells its key without a second copy of it in its memory."""


class Region(NamedTuple):
    """One mapping of a process, from /proc/PID/smaps."""

    start: int
    end: int
    readable: bool
    flags: frozenset[str]


def read_regions(pid: int) -> list[Region]:
    regions = []
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line):
            start, end, mode = int(found[1], 16), int(found[2], 16), found[3]
        elif line.startswith("VmFlags:"):
            regions.append(Region(start, end, mode[0] == "r", frozenset(line.split()[1:])))
    return regions


def find_in_memory(pid: int, secret: bytes) -> list[Region]:
    """Return the mappings of a process in which a secret lies, once for each place."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for region in read_regions(pid):
            if not region.readable:
                continue
            data = b""
            with contextlib.suppress(OSError, OverflowError):  # [vvar] and [vsyscall]
                memory.seek(region.start)
                while part := memory.read(region.end - region.start - len(data)):
                    data += part
            found += [region] * data.count(secret)
    return found


class Child:
    """A Python process that says lines and goes on with the next `pause()` when told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self.pid = process.pid
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout

    def hear(self) -> str:
        return self._stdout.readline().rstrip("\n")

    def go_on(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()


PRELUDE = f"""
import atexit, os, sys
last = []
atexit.register(lambda: [act() for act in last])  # before any other, so it runs after all others
from cco.sealing.custody import SecretBytes, protect_process
from cco.sealing.vault import Vault

def say(text):
    print(text, flush=True)

def pause():
    sys.stdin.readline()

def masked(secret):
    with secret.lend() as view:
        return bytes(value ^ {MASK} for value in view).hex()
"""


@contextlib.contextmanager
def running(script: str) -> Iterator[Child]:
    """Run a script in a child that must end by itself, with status 0 and nothing on stderr."""
    command = [sys.executable, "-c", PRELUDE + script]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        yield Child(process)
        _, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")


def unmask(text: str) -> bytes:
    return bytes(value ^ MASK for value in bytes.fromhex(text))


def test_secret_is_random_and_of_the_size_asked_for() -> None:
    secrets = [SecretBytes(32) for _ in range(20)]
    values = set()
    for secret in secrets:
        with secret.lend() as view:
            values.add(bytes(view))
        secret.close()

    assert len(values) == 20
    assert {len(value) for value in values} == {32}


def test_view_is_read_only_and_ends_with_its_block() -> None:
    with contextlib.closing(SecretBytes(32)) as secret:
        with secret.lend() as view, pytest.raises(TypeError):
            view[0] = 0
        with pytest.raises(ValueError, match="released"):
            view[0]


def test_closed_secret_is_not_lent() -> None:
    secret = SecretBytes(32)
    secret.close()
    secret.close()

    with pytest.raises(ValueError, match="closed"), secret.lend():
        pytest.fail("lent")


def test_secret_closed_while_lent_is_zero_and_spoils_what_was_made_of_it() -> None:
    secret = SecretBytes(32)
    found = []

    def close_and_look() -> None:
        with secret.lend() as view:
            secret.close()
            found.append(bytes(view))

    with pytest.raises(ValueError, match="closed"):
        close_and_look()
    assert found == [bytes(32)]


def test_secret_is_wiped_when_it_is_collected() -> None:
    secret = SecretBytes(32)
    page = secret._page

    del secret

    assert page[:] == bytes(32)


def test_repr_does_not_show_the_secret() -> None:
    with contextlib.closing(SecretBytes(32)) as secret:
        assert repr(secret) == "<SecretBytes of 32 bytes>"
        assert str(secret) == "<SecretBytes of 32 bytes>"


def test_secret_is_neither_pickled_nor_copied() -> None:
    with contextlib.closing(SecretBytes(32)) as secret:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="neither pickled nor copied"):
                attempt(secret)


def test_page_is_locked_and_not_dumped() -> None:
    with contextlib.closing(SecretBytes(32)) as secret:
        address = custody._address(secret._page)
        [region] = [r for r in read_regions(os.getpid()) if r.start <= address < r.end]

        assert secret.shortfalls == ()
        assert region.flags >= {"lo", "dd"}


def test_key_lies_in_one_place_and_nowhere_after_close() -> None:
    script = """
vault = Vault.create()
assert vault.unseal("a", vault.seal("a", b"{}")) == b"{}"
say(masked(vault._master)); pause()
vault.close()
say("closed"); pause()
"""
    with running(script) as child:
        key = unmask(child.hear())
        [region] = find_in_memory(child.pid, key)
        assert region.flags >= {"lo", "dd"}
        child.go_on()
        assert child.hear() == "closed"
        assert find_in_memory(child.pid, key) == []


def test_key_is_wiped_at_exit() -> None:
    script = """
vault = Vault.create()
say(masked(vault._master))
last += [lambda: say("after the wiping"), pause]
"""
    with running(script) as child:
        key = unmask(child.hear())
        assert child.hear() == "after the wiping"
        assert find_in_memory(child.pid, key) == []


def test_forked_child_locks_its_own_page_and_wipes_only_that() -> None:
    script = """
vault = Vault.create()
sealed = vault.seal("a", b"{}")
say(masked(vault._master))
if child := os.fork():
    os.waitpid(child, 0)
else:
    say(os.getpid()); pause()
    assert vault.unseal("a", sealed) == b"{}"
    sys.exit()  # wipes, as a worker's end does
assert vault.unseal("a", sealed) == b"{}"
say("still open")
"""
    with running(script) as child:
        key = unmask(child.hear())
        [region] = find_in_memory(int(child.hear()), key)
        assert region.flags >= {"lo", "dd"}
        child.go_on()
        assert child.hear() == "still open"


def test_process_is_neither_dumped_nor_read() -> None:
    script = """
import resource
from cco.sealing import custody
say(custody._libc.prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
say(protect_process())
say(custody._libc.prctl(3, 0, 0, 0, 0))
say(resource.getrlimit(resource.RLIMIT_CORE))
child = os.fork()
if not child:
    say(custody._libc.prctl(3, 0, 0, 0, 0))
    os._exit(0)
os.waitpid(child, 0)
pause()
"""
    with running(script) as child:
        assert [child.hear() for _ in range(5)] == ["1", "()", "0", "(0, 0)", "0"]
        # The kernel gives the files of such a process to root, whoever runs it.
        assert Path(f"/proc/{child.pid}/environ").stat().st_uid == 0
        if os.getuid() != 0:
            with pytest.raises(PermissionError):
                read_regions(child.pid)


SYSCALLS = {
    "x86_64": {"mlock": 149, "madvise": 28, "prctl": 157, "prlimit64": 302},
    "aarch64": {"mlock": 228, "madvise": 233, "prctl": 167, "prlimit64": 261},
}


def test_refused_protections_are_shortfalls_and_the_secret_still_works() -> None:
    """A service manager may forbid any of the calls; the filter here is seccomp itself."""
    numbers = SYSCALLS.get(platform.machine())
    if numbers is None:
        pytest.skip(f"no system call numbers written down for {platform.machine()}")
    script = f"""
import ctypes, json, struct
numbers = {sorted(numbers.values())}
refuse = 0x00050000 | {errno.EPERM}  # SECCOMP_RET_ERRNO
code = struct.pack("=HBBI", 0x20, 0, 0, 0)  # load seccomp_data.nr
for number in numbers:
    code += struct.pack("=HBBI", 0x15, 0, 1, number) + struct.pack("=HBBI", 0x06, 0, 0, refuse)
code += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # SECCOMP_RET_ALLOW
buffer = ctypes.create_string_buffer(code, len(code))
program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
program = ctypes.create_string_buffer(program, len(program))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0  # PR_SET_SECCOMP

vault = Vault.create()
assert vault.unseal("a", vault.seal("a", b"{{}}")) == b"{{}}"
shortfalls = vault.shortfalls + protect_process()
say(json.dumps([[each.code, [each.message, each.hint]] for each in shortfalls]))
vault.close()
"""
    with running(script) as child:
        shortfalls = dict(json.loads(child.hear()))

    assert list(shortfalls) == [
        "key-not-locked",
        "key-in-core-dumps",
        "core-dumps",
        "process-dumpable",
    ]
    assert all(re.fullmatch(r"[A-Z].*[^.]", text) for told in shortfalls.values() for text in told)
