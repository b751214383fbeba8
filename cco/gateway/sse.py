# SPDX-License-Identifier: Apache-2.0
"""Server-sent events, decoded from bytes that arrive split anywhere.

Pure. The algorithm is that of the WHATWG's HTML standard, "Interpreting an event stream": lines
end with LF, CR or CRLF; ``event`` and ``data`` fields make an event that an empty line completes;
an event that the end of the stream leaves incomplete is discarded, so there is nothing to flush.
Fields that only a reconnecting client needs (``id``, ``retry``) are passed over.
"""

from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 2**20
"""A larger event is dropped here; what is forwarded is not touched."""

_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event as a listener would get it."""

    name: str
    """``message`` where the stream names none."""
    data: str


class Decoder:
    """Turns bytes into events; memory is bounded by the largest event that is let through.

    Args:
        max_event_bytes: size of that event.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._beginning: bytes | None = b""
        """First bytes of the stream while they may be a byte order mark; then None."""
        self._after_cr = False
        """The last byte was a CR, so a LF at once belongs to it."""
        self._line: list[bytes] = []
        """Pieces of a line whose end has not arrived; empty if it is too long already."""
        self._line_size = 0
        self._name = b""
        self._data: list[bytes] = []
        self._data_size = 0
        self._is_too_large = False
        """The current event is dropped."""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        if self._beginning is not None:
            data, self._beginning = self._beginning + data, None
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._beginning = data
                return []
            data = data.removeprefix(_BOM)
        if self._after_cr and data.startswith(b"\n"):
            data, self._after_cr = data[1:], False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines()  # of bytes: at LF, CR and CRLF only
        rest = b"" if data.endswith((b"\n", b"\r")) else lines.pop()
        events = []
        if lines and self._line_size:
            lines[0] = self._whole_line(lines[0])
        for line in lines:
            if line:
                self._take(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if rest:
            self._hold(rest)
        return events

    def _hold(self, piece: bytes) -> None:
        self._line_size += len(piece)
        self._line.append(piece)
        if self._line_size > self._max_event_bytes:
            self._line.clear()

    def _whole_line(self, end: bytes) -> bytes:
        self._hold(end)
        line = b"".join(self._line)
        self._is_too_large |= self._line_size > self._max_event_bytes
        self._line.clear()
        self._line_size = 0
        return line or b":"  # it was too long, not empty: a comment in its place

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        self._is_too_large |= len(line) > self._max_event_bytes
        if field == b"data":
            self._data_size += len(value) + 1
            self._data.append(value)
        elif field == b"event":
            self._name = value
        if self._data_size > self._max_event_bytes or self._is_too_large:
            self._is_too_large = True
            self._data.clear()

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._data_size, self._is_too_large = b"", [], 0, False
        if not data:
            return None
        return Event(
            name.decode("utf-8", "replace") or "message",
            b"\n".join(data).decode("utf-8", "replace"),
        )
