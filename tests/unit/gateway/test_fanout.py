# SPDX-License-Identifier: Apache-2.0
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cco.errors import Unavailable
from cco.gateway import fanout as module
from cco.gateway.entry import Entry
from cco.gateway.errors import AnswerCut
from cco.gateway.fanout import Fanout, Reader
from cco.gateway.headers import Fields
from cco.gateway.recording import Recording, Room
from tests.forwarding import ANSWER, ANSWER_COST_NANO, STREAM, STREAM_COST_NANO
from tests.rawserver import DEADLINE_S, chunk, reply
from tests.unit.gateway.answering import EVENTS, Answering

PARTS = [STREAM[:300], STREAM[300:600], STREAM[600:]]
END = chunk(b"")


class Sharing:
    """An answer with several readers; it is the `Keep` that puts the bytes into the copy."""

    is_shared = True
    wants_more = True

    def __init__(
        self,
        data: bytes,
        *,
        readers: int = 2,
        stream: bool = True,
        max_bytes: int = 10_000,
        silence_s: float = 10.0,
        client_fds: dict[int, int] | None = None,
    ) -> None:
        self.answering = Answering()
        self.saved: list[int] = []
        self.told: list[str] = []
        self.room = Room(100_000)
        self.recording = Recording(self.room, max_bytes=max_bytes)
        source = self.answering.relay(data, stream=stream, keep=self, silence_s=silence_s)
        self.readers: list[Reader] = []
        for number in range(readers):
            entry = self.answering.entry() if number else source.entry
            entry.is_stream = stream
            self.readers.append(self.make_reader(entry, (client_fds or {}).get(number)))
        self.fanout = Fanout(source, self.recording, self.readers)

    def make_reader(self, entry: Entry, client_fd: int | None = None) -> Reader:
        entry.cache = "coalesced"
        return Reader(entry, client_fd=client_fd, note_saved=self.saved.append)

    def join(self) -> Reader:
        entry = self.answering.entry()
        entry.is_stream = True
        reader = self.make_reader(entry)
        assert self.fanout.admit(reader)
        return reader

    def send(self, data: bytes) -> None:
        self.answering.far.ends[0].sendall(data)

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        raise AssertionError("that is for whoever makes the relay")

    def add(self, data: bytes) -> None:
        self.fanout.add(data)

    def over(self, *, is_whole: bool) -> None:
        self.told.append("whole" if is_whole else "not whole")

    def close(self, *, is_lost: bool) -> None:
        self.told.append("lost" if is_lost or self.fanout.is_lost else "closed")
        self.recording.close()

    def rows(self) -> list[tuple[str, bool, int, int]]:
        """Return what the rows say: cache, partial, cost, saved."""
        return [
            (row.cache, row.partial, row.cost_nano, row.saved_nano) for row in self.answering.rows
        ]

    def end(self) -> None:
        for reader in self.readers:
            reader.close()
        self.answering.close()


@pytest.fixture
def share() -> Iterator[Callable[..., Sharing]]:
    made: list[Sharing] = []

    def make(*args: object, **more: object) -> Sharing:
        made.append(Sharing(*args, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.end()


Share = Callable[..., Sharing]


def rest(reader: Reader) -> bytes:
    try:
        return b"".join(reader)
    finally:
        reader.close()


def first_bytes(reader: Reader) -> bytes:
    """Return the first bytes, passing over the item that only tells the head."""
    return next(reader) or next(reader)


def read_until_cut(reader: Reader) -> bytes:
    got = b""
    try:
        for piece in reader:
            got += piece
    except AnswerCut:
        return got
    finally:
        reader.close()
    pytest.fail("the answer ended as if it were whole")


def test_all_get_the_whole_answer_and_one_pays(share: Share) -> None:
    sharing = share(EVENTS + chunk(STREAM) + END, readers=3)
    first, second, third = sharing.readers
    assert rest(second) == rest(first) == rest(third) == STREAM
    assert sorted(sharing.rows()) == [
        ("coalesced", False, 0, STREAM_COST_NANO),
        ("coalesced", False, 0, STREAM_COST_NANO),
        ("coalesced", False, STREAM_COST_NANO, 0),
    ]
    assert sharing.saved == [STREAM_COST_NANO] * 2
    assert sharing.told == ["whole", "closed"]
    assert sharing.room.take(100_000)


def test_whoever_needs_more_fetches_it_for_all(share: Share) -> None:
    sharing = share(EVENTS)
    first, second = sharing.readers
    assert next(first) == next(second) == b""  # the head is told
    for part in PARTS:
        sharing.send(chunk(part))
        assert next(second) == part
    late = sharing.join()
    assert next(late) == STREAM
    sharing.send(END)
    assert list(second) == []
    assert next(first) == STREAM  # it waited for nobody, and nobody for it
    for reader in (first, second, late):
        assert list(reader) == []
        reader.close()
    assert len(sharing.rows()) == 3


def test_rows_are_written_before_the_last_bytes_go_out(share: Share) -> None:
    sharing = share(EVENTS + chunk(STREAM) + END)
    first, second = sharing.readers
    assert sharing.rows() == []
    assert first_bytes(second) == STREAM
    assert len(sharing.rows()) == 2  # of who sent the request, and its own
    assert next(first) == STREAM
    assert len(sharing.rows()) == 2


def test_a_json_answer_is_shared_too(share: Share) -> None:
    sharing = share(reply(body=ANSWER), stream=False)
    assert [rest(reader) for reader in sharing.readers] == [ANSWER, ANSWER]
    assert [row[2:] for row in sharing.rows()] == [(ANSWER_COST_NANO, 0), (0, ANSWER_COST_NANO)]


@pytest.mark.parametrize("leaves", [0, 1])
def test_who_leaves_is_missed_by_nobody(share: Share, leaves: int) -> None:
    sharing = share(EVENTS + chunk(PARTS[0]))
    stays = sharing.readers[1 - leaves]
    for reader in sharing.readers:
        assert first_bytes(reader) == PARTS[0]
    sharing.readers[leaves].close()
    sharing.send(chunk(PARTS[1]) + chunk(PARTS[2]) + END)
    assert rest(stays) == PARTS[1] + PARTS[2]
    # Who sent the request pays for all of it, whether its client stays or not.
    assert sorted(sharing.rows(), key=lambda row: row[2])[1][:3] == (
        "coalesced",
        False,
        STREAM_COST_NANO,
    )
    assert sharing.saved == ([STREAM_COST_NANO] if leaves == 0 else [])
    assert sharing.told == ["whole", "closed"]


def test_the_last_one_to_leave_closes_the_upstream(share: Share) -> None:
    sharing = share(EVENTS + chunk(PARTS[0]))
    first, second = sharing.readers
    assert first_bytes(first) == PARTS[0]
    sharing.answering.far.ends[0].recv(100)
    first.close()
    assert sharing.told == []
    second.close()
    assert sharing.answering.far.ends[0].recv(1) == b""
    assert sharing.told == ["not whole", "closed"]
    assert [row[1] for row in sharing.rows()] == [True, True]
    assert not sharing.fanout.admit(sharing.make_reader(sharing.answering.entry()))
    with pytest.raises(AnswerCut):
        next(second)


def test_what_had_arrived_when_the_last_one_left_is_lost_and_known(share: Share) -> None:
    sharing = share(EVENTS + chunk(PARTS[0]))
    first, second = sharing.readers
    first.close()
    next(second)
    sharing.send(chunk(PARTS[1]) + chunk(PARTS[2]) + END)
    next(second)
    second.close()
    assert sharing.told == ["whole", "lost"]
    assert sharing.recording.size == len(STREAM)


def test_an_answer_of_which_one_reader_did_not_get_the_end_is_lost(share: Share) -> None:
    sharing = share(EVENTS + chunk(STREAM) + END)
    first, second = sharing.readers
    next(first)
    assert next(second) == b""
    assert next(second) == STREAM
    second.close()  # and never asked for more
    assert rest(first) == STREAM
    assert sharing.told == ["whole", "lost"]


def test_a_client_that_had_hung_up_has_not_got_it(share: Share) -> None:
    browser, client = socket.socketpair()
    with client:
        sharing = share(EVENTS + chunk(STREAM) + END, client_fds={1: client.fileno()})
        browser.close()
        first, second = sharing.readers
        assert rest(first) == rest(second) == STREAM
        assert sharing.told == ["whole", "lost"]


def test_a_cut_is_a_cut_for_all(share: Share, expect_log: Callable[[str], None]) -> None:
    expect_log("an answer was cut")
    sharing = share(EVENTS + chunk(PARTS[0]))
    sharing.answering.far.hang_up()
    for reader in [*sharing.readers, sharing.join()]:
        assert read_until_cut(reader) == PARTS[0]
    assert [row[1:] for row in sharing.rows()] == [(True, sharing.rows()[0][2], 0)] + [
        (True, 0, 0)
    ] * 2
    assert {row.error for row in sharing.answering.rows} == {"upstream-broken"}
    assert sharing.saved == []


def test_an_error_event_of_ours_reaches_all(
    share: Share, expect_log: Callable[[str], None]
) -> None:
    expect_log("The daemon is stopping")
    sharing = share(EVENTS + chunk(PARTS[0]))
    sharing.answering.stop_error = Unavailable("daemon-stopping", "The daemon is stopping")
    assert first_bytes(sharing.readers[0]) == PARTS[0]
    sharing.answering.ended.clear()
    sharing.fanout._source._exchange.abort()
    ends = [rest(reader) for reader in sharing.readers]
    assert all(b"The daemon is stopping" in end for end in ends)
    assert ends[1] == PARTS[0] + ends[0]
    assert [row[1] for row in sharing.rows()] == [True, True]
    assert sharing.told == ["not whole", "closed"]


def test_an_error_of_the_upstream_is_one_for_all(share: Share) -> None:
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    sharing = share(EVENTS + chunk(PARTS[0] + b"\n\n" + error) + END)
    for reader in sharing.readers:
        assert rest(reader).endswith(error)
    assert [row.error for row in sharing.answering.rows] == ["overloaded_error"] * 2
    assert [row.partial for row in sharing.answering.rows] == [True, True]
    assert sharing.saved == []


@pytest.mark.parametrize("fetcher", [0, 1])
def test_a_client_that_hangs_up_while_it_waits_leaves_the_rest_to_others(
    share: Share, fetcher: int
) -> None:
    browser, client = socket.socketpair()
    with client:
        sharing = share(EVENTS + chunk(PARTS[0]), client_fds={fetcher: client.fileno()})
        gone, other = sharing.readers[fetcher], sharing.readers[1 - fetcher]
        assert first_bytes(gone) == PARTS[0]
        thread = threading.Thread(target=cut_off, args=(gone,))
        thread.start()
        browser.close()
        thread.join(DEADLINE_S)
        assert sharing.told == []
        sharing.send(chunk(PARTS[1]) + chunk(PARTS[2]) + END)
        assert rest(other) == STREAM
    assert sharing.told == ["whole", "closed"]


def cut_off(reader: Reader) -> None:
    with pytest.raises(AnswerCut):
        next(reader)
    reader.close()


def test_who_waits_for_another_ones_fetching_is_watched_too(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    browser, client = socket.socketpair()
    with client:
        sharing = share(EVENTS + chunk(PARTS[0]), client_fds={1: client.fileno()})
        first, second = sharing.readers
        for reader in (first, second):
            assert first_bytes(reader) == PARTS[0]
        fetching = threading.Thread(target=lambda: rest(first))
        fetching.start()
        while not sharing.fanout._is_fetching:
            time.sleep(0.001)
        waiting = threading.Thread(target=cut_off, args=(second,))
        waiting.start()
        browser.close()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
        sharing.send(chunk(PARTS[1]) + chunk(PARTS[2]) + END)
        fetching.join(DEADLINE_S)
    assert sharing.told == ["whole", "closed"]
    assert [row.partial for row in sharing.answering.rows] == [True, False]


def test_closing_a_reader_from_outside_wakes_it(share: Share) -> None:
    sharing = share(EVENTS + chunk(PARTS[0]), readers=1)
    (reader,) = sharing.readers
    assert first_bytes(reader) == PARTS[0]
    timer = threading.Timer(0.05, reader.close)
    timer.start()
    with pytest.raises(AnswerCut):
        next(reader)
    timer.join()
    assert sharing.told == ["not whole", "closed"]


def test_a_large_answer_takes_nobody_in_and_is_kept_as_far_as_needed(share: Share) -> None:
    sharing = share(EVENTS, max_bytes=1000)
    first, second = sharing.readers
    big = b": %s\n\n" % (b"x" * 5000)
    assert next(first) == next(second) == b""
    sharing.send(chunk(big))
    assert next(first) == big
    assert not sharing.fanout.admit(sharing.make_reader(sharing.answering.entry()))
    assert sharing.room.take(100_000)
    sharing.room.give(100_000)
    sharing.send(chunk(big))
    got = next(first)
    assert len(sharing.recording._data) == 2 * len(big)  # the second one has had nothing
    assert next(second) == big + got
    assert len(sharing.recording._data) == 0
    sharing.send(chunk(STREAM) + END)
    assert rest(first) == rest(second) == STREAM
    assert sharing.saved == [STREAM_COST_NANO]


def test_who_falls_behind_where_no_copy_is_kept_is_cut_off(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LAG_BYTES", 6000)
    sharing = share(EVENTS, max_bytes=1000)
    first, second = sharing.readers
    big = b": %s\n\n" % (b"x" * 5000)
    assert next(first) == b""
    for _ in range(2):
        sharing.send(chunk(big))
        next(first)
    assert len(sharing.recording._data) <= len(big)
    with pytest.raises(AnswerCut):
        next(second)
    second.close()
    sharing.send(chunk(STREAM) + END)
    assert rest(first) == STREAM
    assert [row[1] for row in sharing.rows()] == [True, False]


def read_some(reader: Reader, pieces: int, wrong: list[str]) -> None:
    """Read so many pieces, or all of them for -1."""
    got = b""
    try:
        for number, piece in enumerate(reader):
            got += piece
            if number == pieces:
                break
        else:
            if got != STREAM:
                wrong.append("not whole")
    except AnswerCut:
        wrong.append("cut")
    finally:
        reader.close()
    if not STREAM.startswith(got):
        wrong.append("mixed up")


@pytest.mark.parametrize("seed", range(6))
def test_many_readers_come_and_go(share: Share, seed: int) -> None:
    rng = random.Random(seed)
    sharing = share(EVENTS, readers=1)
    wrong: list[str] = []
    threads: list[threading.Thread] = []

    def begin(reader: Reader, pieces: int) -> None:
        threads.append(threading.Thread(target=read_some, args=(reader, pieces, wrong)))
        threads[-1].start()

    begin(sharing.readers[0], -1)
    for position in range(0, len(STREAM), 40):
        sharing.send(chunk(STREAM[position : position + 40]))
        if rng.random() < 0.7:
            begin(sharing.join(), rng.choice([-1, -1, 1, 3]))
    sharing.send(END)
    for thread in threads:
        thread.join(DEADLINE_S)

    assert wrong == []
    assert len(sharing.rows()) == len(threads)
    assert sum(row[2] for row in sharing.rows()) == STREAM_COST_NANO
    assert sharing.told[0] == "whole"
    assert sharing.room.take(100_000)
