# SPDX-License-Identifier: Apache-2.0
"""The copy of an answer that passes, and whether it is good for anybody else.

Good is an answer with status 200 that is whole by its own account, tells of no error, and ended
because the model was done (`GOOD_REASONS`): what was cut short by a limit, or refused, may come out
otherwise the next time. A count of tokens is good if it is one.

Threading: whoever owns it makes one call at a time.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from cco.gateway.cache import Kept
from cco.gateway.entry import Entry
from cco.gateway.fold import is_event_stream
from cco.gateway.headers import Fields, first, index
from cco.gateway.recording import Recording
from cco.gateway.replay import kept_fields
from cco.gateway.unpack import PackedError, unpacker

GOOD_REASONS: Final = frozenset({"end_turn", "tool_use"})
"""Values of ``stop_reason``."""
MAX_COUNT_BYTES: Final = 65536
"""A larger answer, unpacked, is no count of tokens."""


class Copy:
    """The copy of one answer; it is the `Keep` of a `Relay`.

    Args:
        entry: the row of its request.
        recording: where the bytes go.
        keep: called with the answer once it is whole.
        keep_lost: called with it if its client did not get all of it.
    """

    is_shared = False
    """One client reads the answer."""

    def __init__(
        self,
        entry: Entry,
        recording: Recording,
        *,
        keep: Callable[[Kept], None] | None = None,
        keep_lost: Callable[[Kept], None] | None = None,
    ) -> None:
        self.recording: Final = recording
        self._entry = entry
        self._keep = keep
        self._keep_lost = keep_lost
        self._is_possible = True
        """Nothing speaks against it so far."""
        self._reason = ""
        self._headers: Fields = []
        self._coding = ""

    @property
    def wants_more(self) -> bool:
        """Say whether a copy of the whole answer can still come about."""
        return self._is_possible and self.recording.is_whole

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        """Take note of the head, as it goes to the client but for fields of our own."""
        named = index(headers)
        kind = first(named, "content-type")
        is_json = kind.partition(";")[0].strip().lower() == "application/json"
        self._is_possible = status == 200 and (is_json or is_event_stream(kind))
        self._reason = reason
        self._headers = kept_fields(headers)
        self._coding = ", ".join(named.get("content-encoding", ()))

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        if self.wants_more:
            self.recording.add(data)
            self.recording.forget(self.recording.size)  # which it does where it is not whole

    def over(self, *, is_whole: bool) -> None:
        """Keep the answer if it is good."""
        if is_whole and self._keep is not None and (kept := self._good()) is not None:
            self._keep(kept)

    def close(self, *, is_lost: bool) -> None:
        """Keep the answer if it is good and was lost; drop the copy."""
        if is_lost and self._keep_lost is not None and (kept := self._good()) is not None:
            self._keep_lost(kept)
        self.recording.close()

    def _good(self) -> Kept | None:
        """Return the answer if it may serve again."""
        row = self._entry.row
        if not self.wants_more or row is None or row.partial or row.error:
            return None
        body = self.recording.read(0, self.recording.size)
        if not (self._is_good_message() if self._entry.is_metered else self._is_count(body)):
            return None
        return Kept(
            reason=self._reason,
            headers=self._headers,
            body=body,
            is_stream=self._entry.is_stream,
            coding=self._coding,
            upstream=row.upstream,
            cost_nano=row.cost_nano if row.priced else 0,
        )

    def _is_good_message(self) -> bool:
        fold = self._entry.fold
        return (
            fold is not None
            and fold.known
            and fold.complete
            and not fold.error
            and fold.stop_reason in GOOD_REASONS
        )

    def _is_count(self, body: bytes) -> bool:
        told = _parse(body, self._coding)
        count = told.get("input_tokens") if isinstance(told, dict) else None
        return type(count) is int and count >= 0


def _parse(body: bytes, coding: str) -> Any:
    """Return the JSON of a small body, None if it is none."""
    unpack = unpacker(coding)
    if unpack is None:
        return None
    text = b""
    try:
        for plain in unpack(body):
            text += plain
            if len(text) > MAX_COUNT_BYTES:
                return None
        return json.loads(text)
    except (PackedError, ValueError, RecursionError):
        return None
