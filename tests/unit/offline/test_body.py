# SPDX-License-Identifier: Apache-2.0
"""Reading bodies: lengths, chunks, limits and broken framing."""

import io
from http.client import HTTPMessage

import pytest

from cco.errors import RequestError
from cco.offline.body import MAX_BODY_BYTES, TOO_LARGE, read_body

CHUNKED = ("transfer-encoding", "chunked")


def read(data: bytes, *headers: tuple[str, str]) -> tuple[bytes, bytes]:
    """Return the body, and what is left on the connection."""
    message = HTTPMessage()
    for name, value in headers:
        message.add_header(name, value)
    stream = io.BytesIO(data)
    return read_body(stream, message), stream.read()


@pytest.mark.parametrize(
    ("data", "headers", "expected"),
    [
        (b"GET /", [], (b"", b"GET /")),
        (b"GET /", [("content-length", "0")], (b"", b"GET /")),
        (b"abcGET /", [("Content-Length", "3")], (b"abc", b"GET /")),
        (b"abcGET", [("content-length", "3"), ("content-length", "3")], (b"abc", b"GET")),
        (b"0\r\n\r\nGET /", [CHUNKED], (b"", b"GET /")),
        (b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET", [CHUNKED], (b"abc0123456789", b"GET")),
        # An extension of a chunk, and trailers.
        (b"3;x=y\r\nabc\r\n00\r\na: b\r\nc: d\r\n\r\nGET", [CHUNKED], (b"abc", b"GET")),
        (b"3\nabc\n0\n\nGET", [("Transfer-Encoding", "Chunked")], (b"abc", b"GET")),
    ],
)
def test_a_body_is_read_to_its_end_and_not_beyond(
    data: bytes, headers: list[tuple[str, str]], expected: tuple[bytes, bytes]
) -> None:
    assert expected == read(data, *headers)


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b"abc", [("content-length", "-1")]),
        (b"abc", [("content-length", "3a")]),
        (b"abc", [("content-length", "\u00b3")]),
        (b"abc", [("content-length", "1" * 5000)]),
        (b"abc", [("content-length", "3"), ("content-length", "2")]),
        (b"0\r\n\r\n", [CHUNKED, ("content-length", "5")]),
        (b"abc", [("transfer-encoding", "gzip")]),
        (b"", [CHUNKED]),
        (b"x\r\n", [CHUNKED]),
        (b"-1\r\n", [CHUNKED]),
        (b"3\r\nabcd\r\n0\r\n\r\n", [CHUNKED]),
        (b"0\r\n" + b"a: b\r\n" * 200 + b"\r\n", [CHUNKED]),
        (b"3" + b";" * 9000 + b"\r\nabc\r\n0\r\n\r\n", [CHUNKED]),
    ],
)
def test_broken_framing_is_refused(data: bytes, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestError) as caught:
        read(data, *headers)

    assert caught.value.code == "offline-framing"


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (b"", ("content-length", str(MAX_BODY_BYTES + 1))),
        (b"%x\r\n" % (MAX_BODY_BYTES + 1), CHUNKED),
        (b"3\r\nabc\r\n%x\r\n" % (MAX_BODY_BYTES - 2), CHUNKED),
    ],
)
def test_a_body_over_the_limit_is_refused_before_it_is_read(
    data: bytes, header: tuple[str, str]
) -> None:
    with pytest.raises(RequestError) as caught:
        read(data, header)

    assert caught.value.code == TOO_LARGE


@pytest.mark.parametrize(
    ("data", "header"), [(b"ab", ("content-length", "3")), (b"3\r\nab", CHUNKED)]
)
def test_a_client_that_leaves_is_no_bad_request(data: bytes, header: tuple[str, str]) -> None:
    with pytest.raises(ConnectionError):
        read(data, header)
