# SPDX-License-Identifier: Apache-2.0
"""The client against servers whose every byte is decided here, over real Unix sockets."""

import contextlib
import io
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

import pytest

from cco.client import BodyReader, Client, Reply, error_from
from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    NotFound,
    RequestError,
    Unavailable,
    UpstreamError,
)
from tests.ordinary import ask_as_ordinary_user, open_directory

DEADLINE_S: Final = 30.0

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
TEXT: Final = b"first line\nsecond line\n\nlast, without end"
IN_CHUNKS: Final = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (TEXT[:3], TEXT[3:])) + (
    b"0\r\n\r\n"
)


@contextmanager
def answering(path: Path, *pieces: bytes, reads_body: bool = True) -> Iterator[list[bytes]]:
    """Serve one connection: read the request, send the pieces, hang up. Yields the requests."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(DEADLINE_S)

        def serve() -> None:
            sock, _ = listener.accept()
            with sock, contextlib.suppress(OSError):
                sock.settimeout(DEADLINE_S)
                received.append(_read_request(sock) if reads_body else sock.recv(16))
                for piece in pieces:
                    sock.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield received
        finally:
            thread.join()


def _read_request(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"Content-Length", b"0"))
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cco.sock"


def in_chunks(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"


# What a request is on the wire.


def test_request_is_written_as_the_daemon_reads_it(path: Path) -> None:
    with answering(path, OK + b"Content-Length: 2\r\n\r\n{}") as received:
        told = Client(path, token="secret").call(
            "POST", "/api/x?y=1", {"ü": 1}, headers={"x-api-key": "k"}
        )

    body = b'{"\\u00fc": 1}'
    assert told == {}
    assert received == [
        b"POST /api/x?y=1 HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Connection: close\r\n"
        b"Content-Length: %d\r\n"
        b"Content-Type: application/json\r\n"
        b"x-cco-session: secret\r\n"
        b"x-api-key: k\r\n"
        b"\r\n" % len(body) + body
    ]


def test_request_without_body_has_no_length(path: Path) -> None:
    with answering(path, OK + b"\r\n") as received:
        Client(path).request("GET", "/health")

    assert received == [b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]


@pytest.mark.parametrize(
    "value",
    [
        "key\n",  # an environment variable read from a file keeps its line break
        "key\r\nx-cco-session: other",  # smuggled header
        "“key”",  # quotes of a word processor
        "key\0",
    ],
)
def test_header_that_cannot_be_sent_is_refused_without_showing_it(path: Path, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        Client(path).request("GET", "/", headers={"x-api-key": value})

    assert caught.value.code == "bad-header"
    assert "'x-api-key'" in caught.value.message
    assert "key”" not in caught.value.message


# Bodies, in every form and cut of the stream.

BODIES: Final = {
    "fixed length": OK + b"Content-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
    "chunks": OK + CHUNKED + in_chunks(TEXT[:3], TEXT[3:]),
    "chunks with extension and upper-case size": (
        OK + CHUNKED + b"%X;name=value\r\n" % len(TEXT) + TEXT + b"\r\n0\r\n\r\n"
    ),
    "to the end of the connection": OK + b"\r\n" + TEXT,
    "bare line feeds in the head": b"HTTP/1.1 200 OK\nX: y\n\n" + TEXT,
}


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES.keys())
def test_body_is_read_whole(path: Path, data: bytes) -> None:
    with answering(path, data):
        reply = Client(path).request("GET", "/")

    assert (reply.status, reply.body) == (200, TEXT)


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES.keys())
def test_body_is_read_whole_byte_by_byte(path: Path, data: bytes) -> None:
    with answering(path, *(data[at : at + 1] for at in range(len(data)))):
        reply = Client(path).request("GET", "/")

    assert (reply.status, reply.body) == (200, TEXT)


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3_000_000])
def test_large_bodies_are_read_whole(path: Path, size: int) -> None:
    body = os.urandom(size)
    pieces = [body[at : at + 99_999] for at in range(0, size, 99_999)]
    with answering(path, OK + CHUNKED, in_chunks(*pieces)):
        assert Client(path).request("GET", "/").body == body


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", OK + b"Content-Length: 10\r\n\r\n"),  # the length that a GET would have
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
def test_answer_without_body_has_none(path: Path, method: str, head: bytes) -> None:
    with answering(path, head):
        assert Client(path).request(method, "/").body == b""


class Pieces(io.RawIOBase):
    """A stream that arrives in exactly these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._pieces:
            return 0
        piece = self._pieces[0][: len(buffer)]
        self._pieces[0] = self._pieces[0][len(piece) :]
        if not self._pieces[0]:
            del self._pieces[0]
        buffer[: len(piece)] = piece
        return len(piece)


def reader_of(*pieces: bytes, length: int | None = None) -> BodyReader:
    raw = cast("BinaryIO", io.BufferedReader(Pieces(pieces)))
    if length is None:
        return BodyReader(raw, {"transfer-encoding": "chunked"}, has_body=True)
    return BodyReader(raw, {"content-length": str(length)}, has_body=True)


def test_chunks_split_anywhere_are_the_same_body() -> None:
    for at in range(len(IN_CHUNKS) + 1):
        reader = reader_of(IN_CHUNKS[:at], IN_CHUNKS[at:])
        assert b"".join(iter(partial(reader.read, 65536), b"")) == TEXT, at


def test_lines_are_the_same_however_the_stream_is_split() -> None:
    for at in range(len(IN_CHUNKS) + 1):
        reader = reader_of(IN_CHUNKS[:at], IN_CHUNKS[at:])
        lines = [reader.readline() for _ in range(5)]
        assert lines == [b"first line\n", b"second line\n", b"\n", b"last, without end", b""], at


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"one\ntwo\n",), [b"one\n", b"two\n", b""]),  # two in one chunk
        ((b"on", b"e\n"), [b"one\n", b""]),  # one in two chunks
        ((b"one", b"\n"), [b"one\n", b""]),  # its end alone
        ((b"\n", b"\n"), [b"\n", b"\n", b""]),  # keep-alives
        ((b"a" * 70_000, b"\n"), [b"a" * 70_000 + b"\n", b""]),  # longer than any buffer
    ],
)
def test_lines_cross_the_borders_of_chunks(chunks: tuple[bytes, ...], lines: list[bytes]) -> None:
    reader = reader_of(in_chunks(*chunks))

    assert [reader.readline() for _ in lines] == lines


def test_small_reads_take_what_readline_left() -> None:
    reader = reader_of(in_chunks(b"one\ntwo"))

    assert reader.readline() == b"one\n"
    assert [reader.read(2), reader.read(2), reader.read(2)] == [b"tw", b"o", b""]


def test_line_is_there_before_the_stream_goes_on(path: Path) -> None:
    # The watch of the mount: a line now, the next one perhaps in an hour.
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as raw:
        reader = BodyReader(raw, {"transfer-encoding": "chunked"}, has_body=True)
        ours.settimeout(DEADLINE_S)
        theirs.sendall(b"4\r\nnow\n")  # not even the end of the chunk has come
        assert reader.readline() == b"now\n"


# What is no answer.

GARBAGE: Final = {
    "nothing at all": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a status that is no number": b"HTTP/1.1 OK 200\r\n\r\n",
    "cut inside the status line": b"HTTP/1.1 2",
    "cut inside the headers": OK + b"Content-Le",
    "cut behind the headers": OK + b"Content-Type: x\r\n",
    "a header without end": OK + b"x: " + b"a" * 70_000,
    "shorter than its length": OK + b"Content-Length: 10\r\n\r\nshort",
    "a length that is no number": OK + b"Content-Length: ten\r\n\r\n0123456789",
    "a negative length": OK + b"Content-Length: -1\r\n\r\nx",
    "cut before the first chunk": OK + CHUNKED,
    "cut inside a chunk": OK + CHUNKED + b"a\r\nshort",
    "cut behind a chunk": OK + CHUNKED + b"5\r\nshort",
    "cut before the last chunk": OK + CHUNKED + b"5\r\nshort\r\n",
    "cut inside a size": OK + CHUNKED + b"5",
    "a size that is no number": OK + CHUNKED + b"five\r\nshort\r\n0\r\n\r\n",
    "a negative size": OK + CHUNKED + b"-5\r\nshort\r\n0\r\n\r\n",
    "a size in words": OK + CHUNKED + b"0x5\r\nshort\r\n0\r\n\r\n",
    "a chunk longer than its size": OK + CHUNKED + b"3\r\nshort\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_and_cuts_are_a_broken_answer(path: Path, data: bytes) -> None:
    with answering(path, data), pytest.raises(Unavailable) as caught:
        Client(path).request("GET", "/")

    assert caught.value.code == "daemon-unavailable"
    assert caught.value.message == "the daemon's answer broke off"
    assert caught.value.hint == "See: cco daemon logs"


def test_stream_that_is_cut_says_so_where_it_is_read(path: Path) -> None:
    with (
        answering(path, OK + CHUNKED + b"4\r\none\n\r\n"),
        Client(path).stream("GET", "/") as (status, headers, reader),
    ):
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert reader.readline() == b"one\n"
        with pytest.raises(Unavailable, match="broke off"):
            reader.readline()


@pytest.mark.parametrize("mine", [BrokenPipeError("mine"), ValueError("mine"), TimeoutError("me")])
def test_what_goes_wrong_in_the_callers_block_is_the_callers(path: Path, mine: Exception) -> None:
    # A full disk while a stream is saved is no fault of the daemon's.
    with (
        answering(path, OK + b"\r\n"),
        pytest.raises(type(mine), match="m"),
        Client(path).stream("GET", "/"),
    ):
        raise mine


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff\xfe", b"{"])
def test_answer_that_is_no_json_is_not_the_daemons(body: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        Reply(200, {}, body).json()

    assert caught.value.code == "daemon-garbled"
    assert caught.value.hint is not None


def test_empty_answer_is_none(path: Path) -> None:
    with answering(path, b"HTTP/1.1 204 No Content\r\n\r\n"):
        assert Client(path).call("DELETE", "/api/sessions/x") is None


def test_headers_are_in_lower_case_and_the_last_one_wins(path: Path) -> None:
    with answering(path, OK + b"X-Two: a\r\nx-TWO:  b \r\nEmpty:\r\n\r\n"):
        assert Client(path).request("GET", "/").headers == {"x-two": "b", "empty": ""}


# Refusals.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (402, BudgetExceeded),
        (403, Denied),
        (404, NotFound),
        (409, RequestError),
        (413, RequestError),
        (421, RequestError),
        (429, RequestError),
        (500, Unavailable),
        (502, UpstreamError),
        (503, Unavailable),
        (504, UpstreamError),
    ],
)
def test_refusal_becomes_the_error_that_the_daemon_meant(
    path: Path, status: int, kind: type[CcoError]
) -> None:
    told = {"error": {"code": "some-code", "message": "it is so", "hint": "do that"}}
    body = json.dumps(told).encode()
    with (
        answering(path, b"HTTP/1.1 %d X\r\n\r\n" % status + body),
        pytest.raises(kind) as caught,
    ):
        Client(path).call("GET", "/")

    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "some-code",
        "it is so",
        "do that",
    )


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        (b'{"error": {"code": "x", "message": "y", "hint": null}}', "x", None),
        (b'{"error": {"code": "x", "message": "y", "hint": ["z"]}}', "x", None),  # not a text
        (b'{"error": {}}', "error", None),
        (b'{"error": "text"}', "daemon-garbled", "See: cco daemon logs"),
        (b"[]", "daemon-garbled", "See: cco daemon logs"),
        (b"null", "daemon-garbled", "See: cco daemon logs"),
        (b"not JSON", "daemon-garbled", "See: cco daemon logs"),
    ],
)
def test_refusal_in_any_shape_is_an_error(body: bytes, code: str, hint: str | None) -> None:
    error = error_from(Reply(404, {}, body))

    assert (error.code, error.hint) == (code, hint)


def test_refusal_that_comes_before_the_body_was_read_is_heard(path: Path) -> None:
    told = b'{"error": {"code": "foreign-user", "message": "no"}}'
    refusal = b"HTTP/1.1 403 X\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told)
    with (
        answering(path, refusal, reads_body=False),
        pytest.raises(Denied) as caught,
    ):
        Client(path).call("POST", "/", {"x": "y" * 8_000_000})

    assert caught.value.code == "foreign-user"


# Nobody there.


def test_no_socket_is_no_daemon(path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Client(path).call("GET", "/health")

    assert caught.value.code == "daemon-unavailable"
    assert str(path) in caught.value.message
    assert caught.value.hint == "Start it with: cco daemon start"


def test_socket_of_a_dead_daemon_is_no_daemon(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))

    with pytest.raises(Unavailable, match="no CCO daemon serves"):
        Client(path).call("GET", "/health")


def test_file_instead_of_the_directory_is_no_daemon(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match="no CCO daemon serves"):
        Client(tmp_path / "file" / "cco.sock").call("GET", "/health")


def test_path_that_no_socket_can_have_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Client(tmp_path / ("d" * 107) / "cco.sock").call("GET", "/health")

    assert caught.value.code == "socket-path-too-long"
    assert "CCO_RUNTIME_DIR" in (caught.value.hint or "")


def test_silence_is_no_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(Unavailable) as caught:
            Client(path, timeout_s=0.05).call("GET", "/health")

    assert caught.value.message == "the daemon does not answer"
    assert caught.value.hint == "See: cco daemon status"


def test_silence_inside_a_body_is_no_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with contextlib.ExitStack() as undo:

            def answer_half() -> None:
                sock, _ = listener.accept()
                undo.enter_context(sock)
                sock.sendall(OK + b"Content-Length: 10\r\n\r\nhalf")

            thread = threading.Thread(target=answer_half)
            thread.start()
            with pytest.raises(Unavailable, match="does not answer"):
                Client(path, timeout_s=0.5).request("GET", "/")
            thread.join()


def test_full_queue_is_waited_for(path: Path) -> None:
    # A hundred launches at once must not be told that the daemon broke off.
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as undo:
        listener.bind(str(path))
        listener.listen(0)
        waiting = undo.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))

        def accept_both() -> None:
            for _ in range(2):
                sock, _ = listener.accept()
                undo.enter_context(sock)
                with contextlib.suppress(OSError):
                    sock.sendall(OK + b"Content-Length: 0\r\n\r\n")

        probe = undo.enter_context(socket.socket(socket.AF_UNIX))
        probe.setblocking(False)
        with pytest.raises(BlockingIOError):
            probe.connect(str(path))  # so the queue is full
        thread = threading.Thread(target=accept_both)
        timer = threading.Timer(0.05, thread.start)
        timer.start()
        try:
            assert Client(path, timeout_s=DEADLINE_S).request("GET", "/").status == 200
        finally:
            timer.join()
            thread.join()


def test_full_queue_that_stays_full_is_no_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        with pytest.raises(Unavailable, match="does not answer"):
            Client(path, timeout_s=0.05).request("GET", "/")


def test_socket_of_another_user_is_denied() -> None:
    with open_directory() as directory:
        path = directory / "cco.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            path.chmod(0)
            assert stat.S_IMODE(path.stat().st_mode) == 0
            said = ask_as_ordinary_user(lambda: _code_of_refusal(path))

    assert said == "Unavailable daemon-denied"


def _code_of_refusal(path: Path) -> str:
    try:
        Client(path).call("GET", "/health")
    except CcoError as error:
        return f"{type(error).__name__} {error.code}"
    return "served"
