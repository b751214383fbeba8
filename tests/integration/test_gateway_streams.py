# SPDX-License-Identifier: Apache-2.0
"""Streams: split anywhere, slow, silent, cut, abandoned, many at once."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cco.gateway.call import Answer
from cco.gateway.errors import AnswerCut
from tests.forwarding import (
    CHUNKED,
    SSE,
    STREAM,
    STREAM_COST_NANO,
    Forwarding,
    forwarding,
    make_call,
    read,
    streamed,
)
from tests.rawserver import DEADLINE_S, Received, always, chunk, reply

HEAD = reply("200 OK", SSE, CHUNKED, length=False)


def wait_until(condition: Callable[[], object], told: str) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, told
        time.sleep(0.002)


def read_until_cut(answer: Answer) -> bytes:
    """Return what came before the cut."""
    got = b""
    try:
        for piece in answer.body:
            got += piece
    except AnswerCut:
        return got
    finally:
        answer.close()
    pytest.fail("the answer ended as if it were whole")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_streams_cross_in_pieces_of_any_size(tmp_path: Path, size: int) -> None:
    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD)
        for position in range(0, len(STREAM), size):
            sock.sendall(chunk(STREAM[position : position + size]))
        sock.sendall(chunk(b""))

    with forwarding(script, tmp_path) as through:
        _, got = through.get()
        row = through.row()
    assert got == STREAM
    assert (row["partial"], row["cost_nano"]) == (0, STREAM_COST_NANO)


def test_streams_cross_wherever_the_network_splits_them(tmp_path: Path) -> None:
    data = streamed(STREAM)
    positions = iter(range(1, len(data)))

    def script(_: Received, sock: socket.socket) -> None:
        position = next(positions)
        sock.sendall(data[:position])
        sock.sendall(data[position:])

    with forwarding(script, tmp_path) as through:
        for _ in range(1, len(data)):
            assert through.get()[1] == STREAM
        rows = through.rows()
        assert {(row["partial"], row["cost_nano"]) for row in rows} == {(0, STREAM_COST_NANO)}
        assert through.server.opened == 1


def test_a_piece_is_handed_on_before_the_next_one_comes(tmp_path: Path) -> None:
    go_on = threading.Semaphore(0)
    events = [event + b"\n\n" for event in STREAM.split(b"\n\n")[:-1]]

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD)
        for event in events:
            go_on.acquire(timeout=DEADLINE_S)
            sock.sendall(chunk(event))
        sock.sendall(chunk(b""))

    with forwarding(script, tmp_path) as through:
        answer = through.gateway.forward(make_call())  # the head alone is enough for this
        assert next(answer.body) == b""
        for event in events:
            go_on.release()
            assert next(answer.body) == event
        assert list(answer.body) == []
        answer.close()


def test_the_row_is_there_before_the_client_has_the_last_bytes(tmp_path: Path) -> None:
    last_event = STREAM.rindex(b"event: message_stop")

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(HEAD + chunk(STREAM[:last_event]))
        sock.sendall(chunk(STREAM[last_event:]))
        through.server.wait_for_hang_up(sock)  # and the stream is not ended
        return False

    with forwarding(script, tmp_path) as through:
        answer = through.gateway.forward(make_call())
        got = b""
        while got != STREAM:
            assert not through.rows()
            got += next(answer.body)
        assert through.row()["cost_nano"] == STREAM_COST_NANO
        answer.close()
        assert through.row()["partial"] == 0


@pytest.mark.parametrize("position", range(0, len(STREAM), 23))
def test_a_cut_stream_is_cut_for_the_client(
    tmp_path: Path, position: int, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(HEAD + (chunk(STREAM[:position]) if position else b""))
        return False

    with forwarding(script, tmp_path) as through:
        got = read_until_cut(through.gateway.forward(make_call()))
        row = through.row()
    assert got == STREAM[:position]
    assert (row["status"], row["partial"], row["error"]) == (200, 1, "upstream-broken")
    has_start = position > STREAM.index(b"content_block_start")
    assert row["priced"] == has_start
    assert row["cost_nano"] >= 25 * 5000 * has_start


@pytest.mark.parametrize("field", ["Content-Encoding: gzip", f"Content-Length: {len(STREAM)}"])
def test_a_silent_stream_that_nothing_can_be_put_behind_is_cut(
    tmp_path: Path, field: str, expect_log: Callable[[str], None]
) -> None:
    expect_log("said nothing for 0.1 s")

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", SSE, field, length=False) + STREAM[:100])
        through.server.wait_for_hang_up(sock)
        return False

    with forwarding(script, tmp_path, read_timeout_s=0.1) as through:
        with pytest.raises(AnswerCut):
            through.get()
        assert through.row()["partial"] == 1


def test_an_error_event_of_the_upstream_is_passed_on_and_noted(tmp_path: Path) -> None:
    start = STREAM.index(b"event: content_block_stop")
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    with forwarding(always(streamed(STREAM[:start] + error)), tmp_path) as through:
        assert through.get()[1] == STREAM[:start] + error
        row = through.row()
        assert (row["status"], row["error"], row["partial"]) == (200, "overloaded_error", 1)
        assert (row["priced"], row["input_tokens"]) == (1, 25)


def silent_after(
    data: bytes, through: list[Forwarding]
) -> Callable[[Received, socket.socket], bool]:
    """Return a script that says nothing more after `data`, until the client hangs up."""

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        through[0].server.wait_for_hang_up(sock)
        return False

    return script


@pytest.mark.parametrize("data", [HEAD, HEAD + chunk(STREAM[:400])])
def test_a_silent_stream_is_ended_by_us(
    tmp_path: Path, data: bytes, expect_log: Callable[[str], None]
) -> None:
    expect_log("said nothing for 0.1 s")
    given: list[Forwarding] = []
    with forwarding(silent_after(data, given), tmp_path, read_timeout_s=0.1) as through:
        given.append(through)
        _, got = through.get()
        assert got.endswith(b'"}\n\n')
        assert b"timeout_error" in got
        assert through.server.hung_up.wait(DEADLINE_S)
        row = through.row()
        assert (row["status"], row["error"], row["partial"]) == (200, "upstream-timeout", 1)


def test_pings_count_as_signs_of_life(tmp_path: Path) -> None:
    ping = b"event: ping\ndata: {}\n\n"

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD)
        for _number in range(8):
            time.sleep(0.1)  # the silence is what is tested: eight are longer than the limit
            sock.sendall(chunk(ping))
        sock.sendall(chunk(STREAM) + chunk(b""))

    with forwarding(script, tmp_path, read_timeout_s=0.6) as through:
        assert through.get()[1] == ping * 8 + STREAM


def test_a_client_that_closes_its_answer_closes_the_upstream(tmp_path: Path) -> None:
    given: list[Forwarding] = []
    with forwarding(silent_after(HEAD + chunk(STREAM[:400]), given), tmp_path) as through:
        given.append(through)
        answer = through.gateway.forward(make_call())
        next(answer.body)
        answer.close()
        assert through.server.hung_up.wait(DEADLINE_S)
        row = through.row()
        assert (row["status"], row["error"], row["partial"]) == (200, "", 1)
        assert (row["input_tokens"], row["priced"]) == (25, 1)


@pytest.mark.parametrize("data", [b"", HEAD, HEAD + chunk(STREAM[:400])])
def test_a_client_that_hangs_up_while_nothing_happens_closes_the_upstream(
    tmp_path: Path, data: bytes
) -> None:
    given: list[Forwarding] = []
    browser, client = socket.socketpair()
    with client, forwarding(silent_after(data, given), tmp_path) as through:
        given.append(through)
        statuses: list[int] = []

        def ask() -> None:
            answer = through.gateway.forward(make_call(client_fd=client.fileno()))
            statuses.append(answer.status)
            if answer.status == 200:
                with pytest.raises(AnswerCut):
                    read(answer)

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: statuses if data else through.server.received, "nothing happened")
        browser.close()
        assert through.server.hung_up.wait(DEADLINE_S)
        thread.join()

        assert statuses == [200 if data else 499]
        row = through.row()
        assert (row["status"], row["error"], row["partial"]) == (200 if data else 0, "", 1)
        assert row["priced"] == (b"message_start" in data)
        assert through.gateway.running == 0


@pytest.mark.parametrize("data", [b"", HEAD + chunk(STREAM[:400])])
def test_stopping_ends_what_is_under_way(
    tmp_path: Path, data: bytes, expect_log: Callable[[str], None]
) -> None:
    expect_log("The daemon is stopping")
    given: list[Forwarding] = []
    with forwarding(silent_after(data, given), tmp_path) as through:
        given.append(through)
        got: list[tuple[int, bytes]] = []

        def ask() -> None:
            answer, body = through.get()
            got.append((answer.status, body))

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: through.server.received, "the request did not arrive")
        if data:
            wait_until(lambda: through.gateway.running, "no answer is under way")
        through.gateway.stop()
        thread.join()

        assert through.server.hung_up.wait(DEADLINE_S)
        assert b"The daemon is stopping" in got[0][1]
        assert through.rows()[0]["error"] == "daemon-stopping"
        answer, _ = through.get()
        assert answer.status == 503
        assert len(through.server.received) == 1


def test_many_streams_do_not_mix(tmp_path: Path) -> None:
    count = 24

    def script(received: Received, sock: socket.socket) -> None:
        own = STREAM.replace(b"msg_01", received.body)
        sock.sendall(HEAD)
        for position in range(0, len(own), 40):
            sock.sendall(chunk(own[position : position + 40]))
        sock.sendall(chunk(b""))

    with forwarding(script, tmp_path) as through:
        wrong: list[str] = []

        def ask(number: int) -> None:
            for turn in range(5):
                body = f"msg_{number}_{turn}".encode()
                if through.get(make_call(body=body))[1] != STREAM.replace(b"msg_01", body):
                    wrong.append(body.decode())

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []
        rows = through.rows()
        assert len(rows) == count * 5
        assert sum(row["cost_nano"] for row in rows) == count * 5 * STREAM_COST_NANO
        assert through.server.opened <= count
        assert through.gateway.running == 0
