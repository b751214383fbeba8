# SPDX-License-Identifier: Apache-2.0
"""One answer that is still arriving, read by several clients.

::

    upstream ──▶ Relay ──▶ Fanout: a copy of what has come ──▶ Reader ──▶ a client
                             ▲                             └──▶ Reader ──▶ a client
                             └─ fetched by whichever reader needs more first

Who comes late gets the bytes so far, and then the rest with everybody. No reader waits for the
client of another: nobody leads, and whoever leaves is missed by nobody. The last one to leave
closes the upstream's connection. Where no copy of the whole answer can be had (`Recording`), nobody
is taken in any more; those who read go on, but who falls far behind is cut off.

Threading: everything may be called by any thread; a reader is used by one at a time.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cco.gateway.entry import Entry
from cco.gateway.errors import AnswerCut
from cco.gateway.recording import Recording
from cco.gateway.relay import Relay
from cco.gateway.transport import AbandonedError, has_hung_up

WATCH_S: Final = 1.0
"""How often a reader that waits for another one's fetching looks whether its client is there."""
MAX_LAG_BYTES: Final = 2**22
"""How far a reader may be behind where there is no copy of the whole."""


class Reader:
    """One client's way through the answer.

    Args:
        entry: the row of its request.
        client_fd: its socket.
        deadline: when it waits no longer, by the gateway's clock; None for never.
        note_saved: told what the answer would have cost, had another request not paid for it.
    """

    def __init__(
        self,
        entry: Entry,
        *,
        client_fd: int | None,
        note_saved: Callable[[int], None],
        deadline: float | None = None,
    ) -> None:
        self.entry: Final = entry
        self.client_fd: Final = client_fd
        self.deadline: Final = deadline
        self.fanout: Fanout
        """Set by the one that takes it in."""
        self.position = 0
        """Bytes that it has handed on."""
        self.tells_head = True
        self.has_all = False
        """Its client got the whole answer."""
        self.is_gone = False
        """Its client had hung up before that."""
        self.is_left_behind = False
        self._note_saved = note_saved

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next bytes, an empty item first where none are there with the head.

        Raises:
            StopIteration: the answer is whole.
            AnswerCut: it is not, or not for this client.
        """
        try:
            data = self.fanout.read(self)
        except (StopIteration, AnswerCut):
            self._settle(partial=not self.has_all)
            raise
        if data and self._follows:
            self.entry.add(data)
        if self.fanout.is_complete_at(self.position):
            self._settle(partial=False)
        return data

    def close(self) -> None:
        """Leave."""
        self.fanout.leave(self)
        self._settle(partial=True)

    @property
    def _follows(self) -> bool:
        """Another one's request is under way in the place of its own."""
        return self.fanout.entry is not self.entry

    def _settle(self, *, partial: bool) -> None:
        """Write the row of one who joined; the one who sent the request leaves that to `Relay`."""
        if not self._follows or self.entry.row is not None:
            return
        paid = self.fanout.entry.row
        if paid is None:
            self.entry.settle(partial=partial)
            return
        partial |= paid.partial
        if not partial:
            self.entry.saved_nano = paid.cost_nano
            self._note_saved(paid.cost_nano)
        self.entry.settle(partial=partial, error=paid.error)


class Fanout:
    """An answer and its readers.

    Args:
        source: where it arrives.
        recording: the copy; `source` is made to put into it what it reads, by `add`.
        readers: the first ones.
    """

    def __init__(self, source: Relay, recording: Recording, readers: Sequence[Reader]) -> None:
        self.entry: Final = source.entry
        """The row of the request that was sent."""
        self.is_lost = False
        """A reader left the complete answer before it had all of it."""
        self._source = source
        self._recording = recording
        self._changed = threading.Condition()
        self._readers: list[Reader] = []
        """Those who have not left."""
        self._is_open = True
        """Others may join."""
        self._arrived = 0
        """Bytes that may be handed on."""
        self._complete_at: int | None = None
        """How many of them are the complete answer."""
        self._is_fetching = False
        """A reader waits for more."""
        self._has_ended = False
        self._is_cut = False
        for reader in readers:
            self.admit(reader)

    def admit(self, reader: Reader) -> bool:
        """Take a reader in, if it can still get everything."""
        with self._changed:
            if self._is_open:
                self._readers.append(reader)
                reader.fanout = self
            return self._is_open

    def leave(self, reader: Reader) -> None:
        """Let a reader go; with the last one the answer is given up."""
        with self._changed:
            if reader not in self._readers:
                return
            self._readers.remove(reader)
            self.is_lost |= self._complete_at is not None and not reader.has_all
            is_last = not self._readers
            self._is_open &= not is_last
            self._changed.notify_all()
        if is_last:
            self._source.close()

    def add(self, data: bytes) -> None:
        """Take bytes that the source reads."""
        recording = self._recording
        with self._changed:
            recording.add(data)
            if recording.is_whole:
                return
            self._is_open = False
            for reader in self._readers:
                reader.is_left_behind |= recording.size - reader.position > MAX_LAG_BYTES
            reading = (each.position for each in self._readers if not each.is_left_behind)
            recording.forget(min(reading, default=recording.size))

    def is_complete_at(self, position: int) -> bool:
        """Say whether the complete answer ends at or before a position."""
        return self._complete_at is not None and position >= self._complete_at

    def read(self, reader: Reader) -> bytes:
        """Return what a reader has not handed on yet, fetching more if need be.

        Raises:
            StopIteration: the answer is whole.
            AnswerCut: it is not.
        """
        while True:
            with self._changed:
                while True:
                    if (data := self._next(reader)) is not None:
                        return data
                    if not self._is_fetching:
                        break
                    if not self._changed.wait(WATCH_S) and has_hung_up(reader.client_fd):
                        break
                is_alone = not self._is_fetching
                self._is_fetching = True
            if not (is_alone and self._fetch(reader)):
                self.leave(reader)
                raise AnswerCut

    def _next(self, reader: Reader) -> bytes | None:
        """Return what is there for a reader, None for nothing."""
        if reader.is_left_behind or reader not in self._readers:
            raise AnswerCut
        reader.has_all |= self.is_complete_at(reader.position) and not reader.is_gone
        if reader.position < self._arrived:
            return self._copy(reader)
        if self._has_ended:
            reader.has_all |= not self._is_cut and not reader.is_gone
            raise AnswerCut if self._is_cut else StopIteration
        if reader.tells_head and self.entry.is_stream:
            reader.tells_head = False
            return b""
        return None

    def _copy(self, reader: Reader) -> bytes:
        data = self._recording.read(reader.position, self._arrived)
        reader.position = self._arrived
        reader.tells_head = False
        reader.is_gone = self._complete_at is not None and has_hung_up(reader.client_fd)
        self._recording.forget(min(each.position for each in self._readers))
        return data

    def _fetch(self, reader: Reader) -> bool:
        """Fetch more for everybody; say whether the reader's client is still there."""
        has_ended = is_cut = False
        try:
            self._source.watch(reader.client_fd, reader.deadline)
            next(self._source)
        except StopIteration:
            has_ended = True
        except AnswerCut:
            has_ended = is_cut = True
        except AbandonedError:
            return False
        finally:
            row = self.entry.row
            with self._changed:
                self._is_fetching = False
                self._arrived = self._recording.size
                self._has_ended, self._is_cut = has_ended, is_cut
                if row is not None and not row.partial and self._complete_at is None:
                    self._complete_at = self._arrived
                self._changed.notify_all()
        return True
