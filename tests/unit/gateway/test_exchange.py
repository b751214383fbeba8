# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from cco.errors import UpstreamError, UpstreamTimeout
from cco.gateway.exchange import Exchange
from cco.gateway.transport import AbandonedError
from tests.unit.gateway.far import Far

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def read_all(exchange: Exchange) -> bytes:
    pieces = []
    while piece := exchange.read():
        pieces.append(piece)
    return b"".join(pieces)


def test_sends_head_and_body_once(far: Far) -> None:
    far.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").release()
    assert far.ends[0].recv(100) == b"HEADBODY"


@pytest.mark.parametrize(
    ("data", "length", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 2, b"hi"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", None, b"hi"),
        # 100 Continue and others come before the answer, however many
        (
            INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            2,
            b"hi",
        ),
    ],
)
def test_reads_an_answer_and_gives_the_connection_back(
    far: Far, data: bytes, length: int | None, body: bytes
) -> None:
    exchange = far.answered(data)
    assert exchange.length == length
    assert read_all(exchange) == body
    assert exchange.ended
    exchange.release()
    exchange.release()
    far.begin().release()
    assert len(far.ends) == 1


def test_knows_the_end_with_the_last_byte_of_a_known_length(far: Far) -> None:
    exchange = far.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
    assert (exchange.has_bytes, exchange.read(), exchange.ended) == (True, b"h", False)
    assert not exchange.has_bytes
    far.ends[0].sendall(b"i")
    assert (exchange.read(), exchange.ended) == (b"i", True)
    exchange.release()


def test_an_answer_without_length_ends_with_the_connection(far: Far) -> None:
    exchange = far.answered(b"HTTP/1.0 200 OK\r\n\r\nhi")
    far.ends[0].shutdown(socket.SHUT_WR)
    assert (exchange.length, read_all(exchange)) == (None, b"hi")
    exchange.release()


@pytest.mark.parametrize(
    ("data", "method"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "POST"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET"),
    ],
)
def test_an_answer_without_body_ends_with_its_head(far: Far, data: bytes, method: str) -> None:
    exchange = far.answered(data, method=method)
    assert (exchange.ended, exchange.read()) == (True, b"")
    exchange.release()
    far.begin().release()
    assert len(far.ends) == 1


@pytest.mark.parametrize(
    "data",
    [
        # says that it closes
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=1\r\nContent-Length: 2\r\n\r\nhi",
        # longer than it says
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi, there",
        b"HTTP/1.1 204 No Content\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nH",
    ],
)
def test_a_connection_that_is_not_to_be_used_again_is_closed(far: Far, data: bytes) -> None:
    exchange = far.answered(data)
    assert read_all(exchange) in (b"hi", b"")
    exchange.release()
    far.begin().release()
    assert len(far.ends) == 2


def test_keeps_a_connection_as_long_as_the_upstream_says(far: Far) -> None:
    data = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"
    far.answered(data).release()
    far.now = 3.9
    far.answered(data).release()
    assert len(far.ends) == 1
    far.now += 4.1
    far.answered(data).release()
    assert len(far.ends) == 2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "before an answer came"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "before an answer came"),
        (b"SSH-2.0-x\r\n\r\n", "status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "interim"),
        (b"HTTP/1.1 100 Continue\r\nx: 0123456789\r\n\r\n" * 3000, "interim"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"),
    ],
)
def test_says_that_there_is_no_answer(far: Far, data: bytes, told: str) -> None:
    exchange = far.begin()
    exchange.send(b"HEAD", b"")

    def answer() -> None:
        with contextlib.suppress(OSError):  # the other side may have had enough
            far.ends[0].sendall(data)
            far.ends[0].shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(UpstreamError, match=told) as caught:
        exchange.read_head("POST")
    assert caught.value.code == "upstream-broken"
    exchange.release()
    far.ends[0].close()
    thread.join()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nnonsense\r\n",
    ],
)
def test_says_that_an_answer_was_cut(far: Far, data: bytes) -> None:
    exchange = far.answered(data)
    far.hang_up()
    assert exchange.read() == b"hi"
    with pytest.raises(UpstreamError) as caught:
        read_all(exchange)
    assert caught.value.code == "upstream-broken"
    exchange.release()


def test_says_that_the_upstream_is_silent(far: Far) -> None:
    exchange = far.begin(silence_s=0.01)
    exchange.send(b"HEAD", b"")
    with pytest.raises(UpstreamTimeout) as caught:
        exchange.read_head("POST")
    assert caught.value.code == "upstream-timeout"
    exchange.release()


def test_a_request_that_was_not_taken_is_not_sent_again(far: Far) -> None:
    exchange = far.begin()
    far.ends[0].close()
    exchange.send(b"HEAD", bytes(1_000_000))
    with pytest.raises(UpstreamError):
        exchange.read_head("POST")
    exchange.release()
    assert len(far.ends) == 1


def test_an_answer_to_half_a_request_is_read(far: Far) -> None:
    # A server may refuse a large body without reading it.
    exchange = far.begin()
    far.ends[0].sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    far.ends[0].shutdown(socket.SHUT_RD)
    far.ends[0].shutdown(socket.SHUT_WR)
    exchange.send(b"HEAD", bytes(1_000_000))
    assert exchange.read_head("POST").status == 413
    assert read_all(exchange) == b"big"
    exchange.release()
    far.begin().release()
    assert len(far.ends) == 2


def test_abort_ends_what_waits(far: Far) -> None:
    exchange = far.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    timer = threading.Timer(0.05, exchange.abort)
    timer.start()
    with pytest.raises(AbandonedError):
        exchange.read()
    timer.join()
    exchange.release()


def test_abort_does_not_touch_a_connection_that_was_given_back(far: Far) -> None:
    exchange = far.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    exchange.release()
    other = far.begin()
    exchange.abort()
    other.send(b"HEAD", b"")
    far.ends[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert other.read_head("GET").status == 200
    other.release()
    assert len(far.ends) == 1


@pytest.mark.parametrize(
    ("data", "is_kept"),
    [
        (b"HTTP/1.1 529 X\r\nContent-Length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 529 X\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 529 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", True),
        # not all of it is here, and it is not waited for
        (b"HTTP/1.1 529 X\r\nContent-Length: 3\r\n\r\nhi", False),
        (b"HTTP/1.1 529 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", False),
        (b"HTTP/1.1 529 X\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", False),
        (b"HTTP/1.1 529 X\r\n\r\nhi", False),
        # the upstream closes it, or said more
        (b"HTTP/1.1 529 X\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.1 529 X\r\nContent-Length: 2\r\n\r\nhi there", False),
    ],
)
def test_an_answer_that_nobody_wants_is_not_waited_for(
    far: Far, data: bytes, is_kept: bool
) -> None:
    far.answered(data).discard()
    far.begin().release()
    assert len(far.ends) == (1 if is_kept else 2)


def test_reads_what_is_there_already_and_no_more(far: Far) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    exchange = far.answered(head + b"2\r\nhi\r\n5")
    assert exchange.read_ready() == b"hi"
    assert exchange.read_ready() == b""  # a size, and nothing of its bytes
    far.ends[0].sendall(b"\r\nho")
    assert exchange.read_ready() == b"ho"
    far.ends[0].sendall(b"la!\r\n0\r\n\r\n")
    assert exchange.read_ready() == b"la!"
    assert exchange.ended
    assert exchange.read_ready() == b""
    exchange.release()
    far.begin().release()
    assert len(far.ends) == 1  # it is as whole as if it had been waited for


@pytest.mark.parametrize("rest", [b"x\r\n", b""])
def test_what_is_ready_may_be_nothing(far: Far, rest: bytes) -> None:
    exchange = far.answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    far.hang_up()
    assert exchange.read_ready() == b""
    assert exchange.read_ready() == b""
    assert not exchange.ended
    exchange.release()
