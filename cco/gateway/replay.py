# SPDX-License-Identifier: Apache-2.0
"""A kept answer on its way to another client: fields and body.

Left out of the fields is what was true for the first client, or in that moment, only
(`NOT_REPLAYED`). ``request-id`` becomes our id of this request, for the upstream never had it.

Threading: one thread reads and closes a `Replay`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from cco.gateway.entry import Entry
from cco.gateway.headers import Fields

NOT_REPLAYED: Final = frozenset({"retry-after", "set-cookie", "x-should-retry"})
NOT_REPLAYED_PREFIXES: Final = ("anthropic-fast-", "anthropic-priority-", "anthropic-ratelimit-")
"""Limits as they were: the client would warn its user by them, or not warn."""


def kept_fields(fields: Fields) -> Fields:
    """Return the fields that are kept with an answer."""
    return [
        field
        for field in fields
        if (name := field[0].lower()) not in NOT_REPLAYED
        and not name.startswith(NOT_REPLAYED_PREFIXES)
    ]


def message_fields(fields: Fields) -> Fields:
    """Return the fields of a stream as those of the message that was rebuilt from it."""
    dropped = ("cache-control", "content-encoding", "content-length", "content-type")
    kept = [field for field in fields if field[0].lower() not in dropped]
    return [("Content-Type", "application/json"), ("Content-Length", ""), *kept]


def replayed_fields(fields: Fields, *, length: int, request_id: str) -> Fields:
    """Return the fields that go out with a kept answer.

    Args:
        fields: that it was kept with; a ``Content-Length`` stays where there was one.
        length: bytes of the body.
        request_id: our id of the request that it answers.
    """
    ours = {"content-length": str(length), "request-id": request_id}
    return [(name, ours.get(name.lower(), value)) for name, value in fields]


class Replay:
    """The body of a kept answer.

    Args:
        data: all of it.
        entry: the request's row; written before the bytes go out.
        on_lost: called in the end if the client did not get them.
    """

    def __init__(self, data: bytes, entry: Entry, *, on_lost: Callable[[], None]) -> None:
        self._data = data
        self._entry = entry
        self._on_lost: Callable[[], None] | None = on_lost

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the bytes, once."""
        data, self._data = self._data, b""
        if not data:
            self._on_lost = None  # who asks for more has got what came before
            raise StopIteration
        self._entry.add(data)
        self._entry.settle()
        return data

    def close(self) -> None:
        """Tell whether the client got it."""
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()
        self._entry.settle(partial=True)
