# SPDX-License-Identifier: Apache-2.0
"""Which upstream a session goes to: spread by weight, and then always the same one.

Pure: the clock is passed in. A provider keeps a conversation's prompt cache for the key that it
came by, so a turn that goes elsewhere is paid in full. Therefore:

* A new session goes to an upstream of the best (lowest) priority, by rendezvous hashing: each
  upstream has a score made of session and name, and the highest wins. That needs no memory, holds
  over restarts, gives each its share by weight, and when an upstream goes only its sessions move.
* Who answered a session with success is bound to it. A session that had to move stays where it
  moved to, also when its former upstream is back, for its prompt cache is there now.
* A binding ends when its upstream fails the session and another one answers it, or after
  `BINDING_S` without success, when no prompt cache is left that could be lost. The session is then
  a new one.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from cachetools import TTLCache

BINDING_S: Final = 3600.0
"""The longest life of a prompt cache entry after its last use."""
MAX_BINDINGS: Final = 4096
"""The least recently used one makes room."""

_NOBODY: Final = "nobody"
"""The session of requests that say neither which session they belong to nor who sends them."""


class Choice(Protocol):
    """What is chosen from."""

    @property
    def name(self) -> str:
        """Unique among the choices."""

    @property
    def weight(self) -> int:
        """Share of the sessions among choices of one priority, from 1."""

    @property
    def priority(self) -> int:
        """Lower is preferred."""


AnyChoice = TypeVar("AnyChoice", bound=Choice)


def session_key(*, client_session: str, session_id: str, digest: str) -> str:
    """Return what stands for the session of a request.

    Args:
        client_session: ``x-claude-code-session-id``; its subagents send the same one.
        session_id: of the launch of `cco`.
        digest: of the credential.
    """
    return client_session or session_id or digest or _NOBODY


def ranked(key: str, choices: Iterable[AnyChoice]) -> list[AnyChoice]:
    """Return choices in the order in which a session prefers them."""
    return sorted(choices, key=lambda each: (each.priority, -score(key, each.name, each.weight)))


def score(key: str, name: str, weight: int) -> float:
    """Return how much a session is drawn to an upstream: a positive number.

    Weighted rendezvous hashing: with a hash of session and name, uniform in (0, 1), the score is
    -weight / ln(hash), and each upstream is the highest with the probability of its weight.
    """
    data = f"{key}\0{name}".encode("utf-8", "surrogateescape")
    found = int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big")
    return -weight / math.log((found + 0.5) / 2**48)


class Bindings:
    """Which upstream a session is bound to, by name; at most `MAX_BINDINGS` of them.

    Any thread may call.

    Args:
        monotonic: the clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._names: TTLCache[bytes, str] = TTLCache(MAX_BINDINGS, BINDING_S, timer=monotonic)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many sessions are bound."""
        with self._lock:
            return len(self._names)

    def find(self, key: str, digest: str) -> str:
        """Return the upstream of a session, or the empty string.

        Args:
            key: of the session.
            digest: of the credential: another user's session of the same name is another one.
        """
        with self._lock:
            return self._names.get(_slot(key, digest), "")

    def confirm(self, key: str, digest: str, *, name: str) -> None:
        """Bind a session to the upstream that has answered it with success."""
        with self._lock:
            self._names[_slot(key, digest)] = name


def _slot(key: str, digest: str) -> bytes:
    """Return a key of fixed size: what clients send may be long."""
    data = f"{digest}\0{key}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=16).digest()
