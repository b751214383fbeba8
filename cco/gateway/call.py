# SPDX-License-Identifier: Apache-2.0
"""What the gateway takes and what it gives: plain values, free of any web framework."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from cco.gateway.headers import Fields


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Whose a request is: of a launch of `cco`, or of a project alone."""

    id: str
    """Of the launch; empty: of none."""
    project: str
    """Canonical path."""
    upstream: str = ""
    """Base URL that this session brought along; empty takes the settings'."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who asked, as the client's headers and hooks told it."""

    client_session: str = ""
    """``x-claude-code-session-id``; empty if none was sent."""
    agent_id: str = ""
    agent: str = "main"
    parent_agent_id: str = ""
    parent_agent: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a client.

    Nothing in it is changed on its way to the upstream but what `headers` lists.
    """

    method: str
    target: str
    """Path and query behind the session's prefix, byte for byte as received (latin-1)."""
    headers: Fields
    """As received: order and repetitions count."""
    body: bytes = field(repr=False)
    request_id: str
    started_ns: int
    """When it had been read: Unix time in nanoseconds."""
    session: SessionRef | None = None
    agent: Attribution = field(default_factory=Attribution)
    client_fd: int | None = None
    """The client's socket, open until the answer is closed. It is watched, never read: when the
    client hangs up while the upstream is silent, the upstream's connection is closed at once.
    None: that is noticed only when something is to be written."""
    reuse: bool = False
    """An answer to the same request may serve: nobody's conversation, CCO itself is asking."""
    same_as: bytes = field(default=b"", repr=False)
    """Stands for the body where requests are compared; empty takes the body itself."""
    deadline: float | None = None
    """When the client waits no longer, by the gateway's clock; None: it goes by the upstream."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Body(Protocol):
    """The bytes of an answer, as they arrive.

    Whoever iterates must call `close` in the end, whether it was read to its end or not; `close`
    may be called by another thread as well, and then ends an iteration that waits.

    An item may be empty: a server that sends the header with the first item (Gunicorn does) tells
    the client about the answer although the upstream has begun no event yet.
    """

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""

    def __next__(self) -> bytes:
        """Return the next bytes.

        Raises:
            StopIteration: the answer is whole.
            AnswerCut: it ended before that; see there for what the caller must do.
        """

    def close(self) -> None:
        """Give up what is not read yet, and close the upstream's connection if there is any."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets."""

    status: int
    reason: str
    headers: Fields
    body: Body

    def close(self) -> None:
        """Close the body."""
        self.body.close()


class FixedBody:
    """A body that is all there."""

    def __init__(self, data: bytes = b"") -> None:
        self._items = iter((data,) if data else ())

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the bytes, once."""
        return next(self._items)

    def close(self) -> None:
        """Do nothing: nothing is held."""
