# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from cco.errors import RequestError
from cco.gateway import wire
from cco.gateway.headers import Fields
from cco.gateway.wire import (
    ChunkedFraming,
    CloseFraming,
    Framing,
    Head,
    LengthFraming,
    MalformedError,
    declared_length,
    encode_head,
    framing_of,
    is_reusable,
    parse_head,
    split_head,
)


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> Head:
    return parse_head("\r\n".join([status, *lines]))


def test_encodes_a_request_as_given() -> None:
    fields = [("Host", "h"), ("X-a", "1"), ("x-A", ""), ("y", "caf\xe9")]
    assert encode_head("POST", "/v1/m%2F?b=\xff&c", fields, length=0) == (
        b"POST /v1/m%2F?b=\xff&c HTTP/1.1\r\nHost: h\r\nX-a: 1\r\nx-A: \r\ny: caf\xe9\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert encode_head("GET", "/", [], length=None) == b"GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET /x", "/", []),
        ("", "/", []),
        ("GET", "", []),
        ("GET", "/a b", []),
        ("GET", "/a\r\nX: y", []),
        ("GET", "/\u20ac", []),
        ("GET", "/", [("a b", "")]),
        ("GET", "/", [("", "v")]),
        ("GET", "/", [("a:", "v")]),
        ("GET", "/", [("a", "v\r\nb: c")]),
        ("GET", "/", [("a", "v\n")]),
        ("GET", "/", [("a", "\x00")]),
        ("GET", "/", [("a", "\u20ac")]),
    ],
)
def test_refuses_to_write_what_would_be_read_as_something_else(
    method: str, target: str, fields: Fields
) -> None:
    with pytest.raises(RequestError):
        encode_head(method, target, fields, length=None)


def test_reads_a_head_with_order_and_repetitions() -> None:
    data = (
        b"HTTP/1.1 529 Overloaded, \xe9\r\nSet-Cookie: a=1\r\nset-cookie:b=2 \t\r\n"
        b"Folded: one\r\n  two\r\n\tthree\r\nEmpty:\r\n\r\nbody"
    )
    found = split_head(data)

    assert found is not None
    assert (found[0].status, found[0].reason) == (529, "Overloaded, \xe9")
    assert found[0].fields == [
        ("Set-Cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("Folded", "one two three"),
        ("Empty", ""),
    ]
    assert found[1] == b"body"


@pytest.mark.parametrize("status", ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK"])
def test_tolerates_a_status_line(status: str) -> None:
    assert head(status=status).status == 200


def test_tolerates_bare_line_feeds() -> None:
    found = split_head(b"HTTP/1.1 200 OK\na: 1\n\nrest")
    assert found is not None
    assert (found[0].fields, found[1]) == ([("a", "1")], b"rest")


def test_waits_for_the_rest_of_a_head() -> None:
    data = b"HTTP/1.1 200 OK\r\na: 1\r\n\r\n"
    assert all(split_head(data[:i]) is None for i in range(len(data)))
    assert split_head(data) is not None


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/2 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "ICY 200 OK",
        "<html>",
        "",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 200 OK\r\n: no name",
        "HTTP/1.1 200 OK\r\nspace : before",
        "HTTP/1.1 200 OK\r\n folded: first",
        "HTTP/1.1 200 OK\r\na: \x00",
        "HTTP/1.1 200 OK\r\na: one\rb: two",
        "HTTP/1.1 200 \x7f",
    ],
)
def test_refuses_what_is_no_response(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_head(text)


def test_refuses_a_head_without_end() -> None:
    with pytest.raises(MalformedError):
        split_head(b"HTTP/1.1 200 OK\r\na: " + b"x" * wire.MAX_HEAD_BYTES)


@pytest.mark.parametrize(
    ("method", "lines", "status", "kind", "length"),
    [
        ("GET", ["Content-Length: 5"], 200, LengthFraming, 5),
        ("GET", ["Content-Length: 5", "content-length: 5"], 200, LengthFraming, 5),
        ("GET", ["Content-Length: 5, 5"], 200, LengthFraming, 5),
        ("GET", ["Transfer-Encoding: Chunked"], 200, ChunkedFraming, None),
        # RFC 9112 6.3: the coding wins
        ("GET", ["Transfer-Encoding: chunked", "Content-Length: 5"], 200, ChunkedFraming, 5),
        ("GET", [], 200, CloseFraming, None),
        ("HEAD", ["Content-Length: 5"], 200, LengthFraming, 5),
        ("HEAD", ["Transfer-Encoding: chunked"], 200, LengthFraming, None),
        ("GET", ["Content-Length: 5"], 304, LengthFraming, 5),
        ("GET", [], 204, LengthFraming, None),
    ],
)
def test_finds_the_end_of_a_body(
    method: str, lines: list[str], status: int, kind: type[Framing], length: int | None
) -> None:
    found = head(*lines, status=f"HTTP/1.1 {status} X")
    framing = framing_of(method, found)
    assert isinstance(framing, kind)
    assert declared_length(found) == length
    assert framing.done is (method == "HEAD" or status != 200)


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -1"],
        ["Content-Length: +1"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5.0"],
        ["Content-Length: " + "9" * 19],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: identity"],
    ],
)
def test_refuses_a_body_whose_end_is_not_sure(lines: list[str]) -> None:
    with pytest.raises(MalformedError):
        framing_of("GET", head(*lines))


CHUNKS = [
    # plain
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    # extensions, leading zeros, upper case, bare LF, trailers
    (b"0005;a=b\r\nhello\r\nA ; x\n0123456789\n0\r\nT: 1\r\nU: 2\r\n\r\n", b"hello0123456789"),
    # data that looks like framing
    (b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
    # nothing
    (b"0\r\n\r\n", b""),
]


@pytest.mark.parametrize(("data", "body"), CHUNKS)
def test_takes_chunks_apart_wherever_they_are_split(data: bytes, body: bytes) -> None:
    def fed(*pieces: bytes) -> tuple[bytes, bool, bool]:
        framing = ChunkedFraming()
        return b"".join(framing.feed(p) for p in pieces), framing.done, framing.excess

    assert fed(data) == (body, True, False)
    assert fed(*(data[i : i + 1] for i in range(len(data)))) == (body, True, False)
    for position in range(len(data)):
        assert fed(data[:position], data[position:]) == (body, True, False)
        assert not fed(data[:position])[1]
    assert fed(data + b"H") == (body, True, True)


def test_takes_generated_chunks_apart() -> None:
    chance = random.Random(11)
    for _ in range(100):
        pieces = [chance.randbytes(chance.randint(1, 3000)) for _ in range(chance.randint(0, 8))]
        data = b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"
        framing, got, position = ChunkedFraming(), b"", 0
        while position < len(data):
            step = chance.choice([1, 2, 7, 500, 100_000])
            got += framing.feed(data[position : position + step])
            position += step
        assert (got, framing.done) == (b"".join(pieces), True)


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n",
        b"\r\n",
        b"-5\r\n",
        b"5 5\r\n",
        b"11111111111111111\r\n",
        b"2\r\nabc\r\n",
        b"1" * (wire.MAX_LINE_BYTES + 1),
        b"0\r\n" + b"t: xxxxxxxxxxxxxxxxxxxx\r\n" * 5000,
    ],
)
def test_refuses_chunks_that_are_none(data: bytes) -> None:
    framing = ChunkedFraming()
    framing.feed(data)
    assert framing.malformed
    assert not framing.done


def test_what_came_before_malformed_chunks_is_not_lost() -> None:
    framing = ChunkedFraming()
    assert framing.feed(b"2\r\nab\r\n2\r\ncd\r\nnonsense\r\n2\r\nef\r\n") == b"abcd"
    assert framing.malformed == "a chunk has no valid size"


def test_a_length_ends_the_body() -> None:
    framing = LengthFraming(5)
    assert framing.feed(b"hel") == b"hel"
    assert not framing.done
    assert framing.feed(b"lo, you") == b"lo"
    assert (framing.done, framing.excess) == (True, True)
    assert not framing.ends_with_connection()


def test_without_length_the_connection_ends_the_body() -> None:
    framing = CloseFraming()
    assert framing.feed(b"x") == b"x"
    assert not framing.done
    assert framing.ends_with_connection()


@pytest.mark.parametrize(
    ("lines", "status", "reusable"),
    [
        ([], "HTTP/1.1 200 OK", True),
        (["Connection: Close"], "HTTP/1.1 200 OK", False),
        (["Connection: x", "connection: y, close"], "HTTP/1.1 200 OK", False),
        ([], "HTTP/1.0 200 OK", False),
        (["Connection: keep-alive"], "HTTP/1.0 200 OK", True),
    ],
)
def test_tells_whether_a_connection_can_be_used_again(
    lines: list[str], status: str, reusable: bool
) -> None:
    assert is_reusable(head(*lines, status=status), LengthFraming(0)) is reusable


def test_a_connection_with_an_unsure_state_is_not_used_again() -> None:
    more = LengthFraming(1)
    assert not is_reusable(head(), more)
    more.feed(b"ab")
    assert not is_reusable(head(), more)
    both = ChunkedFraming()
    both.feed(b"0\r\n\r\n")
    assert is_reusable(head("Transfer-Encoding: chunked"), both)
    assert not is_reusable(head("Transfer-Encoding: chunked", "Content-Length: 1"), both)


def test_never_raises_anything_else() -> None:
    chance = random.Random(5)
    seed = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
    for _ in range(2000):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            found = split_head(bytes(data))
            if found is not None:
                framing_of("GET", found[0]).feed(found[1])
        except MalformedError:
            pass
