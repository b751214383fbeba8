# SPDX-License-Identifier: Apache-2.0
"""Where the master key lies in memory, and what keeps others from reading it there.

Only here: the system calls that guard memory. `SecretBytes` is the page, `protect_process` is for
the process as a whole. What the platform refuses is never an exception but a `Shortfall`, so that
the daemon serves and can say what is missing.

Copies: the kernel writes the random bytes straight into the page, and a reader is lent a view of
it, so a secret is never a Python object, which could be neither wiped nor kept in one place.
What is computed *from* the view is an ordinary object again; `cco.sealing.vault` says which.

Threads and forks: no lock is held, and any thread may read while another closes (see `lend`).
A forked child has a page of its own, which it locks anew (the kernel hands on the protection from
core dumps, but no lock) and whose wiping leaves the parent's alone.
"""

import contextlib
import ctypes
import dataclasses
import mmap
import os
import resource
import weakref
from collections.abc import Iterator
from typing import Final, NoReturn

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
"""linux/prctl.h"""

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.getrandom.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
_libc.getrandom.restype = ctypes.c_ssize_t
_libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.prctl.argtypes = [ctypes.c_int, *4 * [ctypes.c_ulong]]


_ALLOW: Final = "Allow its container or service to {}"
"""Nothing else forbids it: a filter of system calls, or RLIMIT_MEMLOCK."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shortfall:
    """A protection that could not be had; for `cco doctor` and the warnings of `/health`."""

    code: str
    """Stable, kebab-case."""
    message: str
    """One sentence without a full stop."""
    hint: str
    """What to do next."""


class SecretBytes:
    """Random bytes on a memory page of their own, wiped on close, when collected and at exit.

    The page is locked into memory and left out of core dumps; `shortfalls` says what of this could
    not be had. A secret is neither printed, compared, copied nor pickled. Not covered: an end by
    signal or `os._exit` does not wipe, it gives the page back to the kernel, which clears it.

    Args:
        size_bytes: 1 to 256, which getrandom(2) promises to give in one piece.

    Raises:
        OSError: no page or no random bytes are to be had.
    """

    __slots__ = ("__weakref__", "_page", "_wipe", "shortfalls")

    shortfalls: tuple[Shortfall, ...]

    def __init__(self, size_bytes: int) -> None:
        # Private: mmap's default is shared, and a child would wipe its parent's key.
        self._page = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._wipe = weakref.finalize(self, _fill_with_zeros, self._page)
        self.guard()
        _fill_with_random(self._page)
        _secrets.add(self)

    def guard(self) -> None:
        """Lock the page and leave it out of core dumps; done at the start and after a fork."""
        shortfalls = []
        if _libc.mlock(_address(self._page), len(self._page)) != 0:
            reason = os.strerror(ctypes.get_errno())
            message = f"The page of the sealing key may be swapped out: {reason}"
            shortfalls.append(Shortfall("key-not-locked", message, _ALLOW.format("lock memory")))
        try:
            self._page.madvise(mmap.MADV_DONTDUMP)
        except OSError as error:
            message = f"The page of the sealing key may be in a core dump: {error.strerror}"
            shortfalls.append(
                Shortfall("key-in-core-dumps", message, _ALLOW.format("call madvise"))
            )
        self.shortfalls = tuple(shortfalls)

    @contextlib.contextmanager
    def lend(self) -> Iterator[memoryview]:
        """Lend a read-only view of the secret for the time of a `with` block.

        Raises:
            ValueError: the secret is closed, or was closed within the block: what the block made
                was made of zeros, perhaps, and is not to be used.
        """
        self._refuse_if_wiped()
        with memoryview(self._page) as page, page.toreadonly() as view:
            yield view
        self._refuse_if_wiped()

    def close(self) -> None:
        """Overwrite the secret with zeros; a second time does nothing."""
        self._wipe()

    def _refuse_if_wiped(self) -> None:
        # `alive` turns false before the first byte is overwritten.
        if not self._wipe.alive:
            raise ValueError("the secret is closed")

    def __repr__(self) -> str:
        return f"<SecretBytes of {len(self._page)} bytes>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret stays where it is: it is neither pickled nor copied")


def protect_process() -> tuple[Shortfall, ...]:
    """Keep the memory of this process from core dumps and from other processes of its user.

    To be called once, early, but after any change of uid, which sets the dumpable flag anew.
    Children inherit both; a program that they execute is dumpable again, with core dumps off.
    The flag also stops a core handler (`|` in core(5)), which ignores the limit. Root reads all.

    Returns:
        What could not be had; empty where all is well.
    """
    shortfalls = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        message = f"Core dumps cannot be switched off: {error}"
        shortfalls.append(Shortfall("core-dumps", message, _ALLOW.format("call setrlimit")))
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        message = "Other processes of this user can read the daemon's memory"
        shortfalls.append(Shortfall("process-dumpable", message, _ALLOW.format("call prctl")))
    return tuple(shortfalls)


_secrets: Final[weakref.WeakSet[SecretBytes]] = weakref.WeakSet()


def _guard_again() -> None:
    for secret in list(_secrets):
        secret.guard()


os.register_at_fork(after_in_child=_guard_again)


def _address(page: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


def _fill_with_random(page: mmap.mmap) -> None:
    # Not os.urandom: its bytes object would be a copy that nobody can wipe.
    if _libc.getrandom(_address(page), len(page), 0) != len(page):
        raise OSError(ctypes.get_errno(), "no random bytes for the sealing key")


def _fill_with_zeros(page: mmap.mmap) -> None:
    page[:] = bytes(len(page))
