# SPDX-License-Identifier: Apache-2.0
"""Reading what a caller sent, whatever it is."""

import io
import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader

from cco.api import given
from cco.errors import RequestError


class Endless(io.RawIOBase):
    """A body that never ends, counted."""

    def __init__(self) -> None:
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.taken += size
        return b" " * size


def in_request(read: Callable[[], Any], body: Any) -> Any:
    """Return what `read` returns inside of a request with this body."""
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    ours, theirs = socket.socketpair()
    environ = {"wsgi.input": stream, "gunicorn.socket": ours}
    with ours, theirs, Flask("test").test_request_context("/", environ_overrides=environ):
        return read()


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000])
def test_body_is_read_whole(size: int) -> None:
    body = b"x" * size

    assert in_request(given.body, body) == body


def test_body_may_be_as_large_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "MAX_BODY_BYTES", 10)

    assert in_request(given.body, b"0123456789") == b"0123456789"
    with pytest.raises(RequestError) as caught:
        in_request(given.body, b"0123456789A")
    assert caught.value.code == "body-too-large"


def test_body_that_does_not_come_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(given, "SILENCE_S", 0.01)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(b"half")
        environ = {"wsgi.input": stream, "gunicorn.socket": ours}
        with Flask("test").test_request_context("/", environ_overrides=environ):
            with pytest.raises(RequestError) as caught:
                given.body()
            assert caught.value.code == "body-late"
            assert ours.gettimeout() is None  # an answer may take its time


def test_body_of_chunks_that_are_none_is_the_callers_mistake() -> None:
    reader = Body(ChunkedReader(None, IterUnreader(iter([b"zz\r\n"]))))
    with pytest.raises(RequestError) as caught:
        in_request(given.body, reader)
    assert caught.value.code == "body-invalid"


@pytest.mark.parametrize(
    ("sent", "length"), [(b'{"task":"x"}', "13"), (b"", "1"), (b"5\r\nab", None)]
)
def test_body_whose_sender_went_away_is_not_taken_for_whole(
    sent: bytes, length: str | None
) -> None:
    stream = io.BytesIO(sent) if length else Body(ChunkedReader(None, IterUnreader(iter([sent]))))
    ours, theirs = socket.socketpair()
    environ = {"wsgi.input": stream, "gunicorn.socket": ours, "CONTENT_LENGTH": length or ""}
    request = Flask("test").test_request_context("/", environ_overrides=environ)
    with ours, theirs, request, pytest.raises(RequestError) as caught:
        given.body()
    assert caught.value.code == "body-cut"


def test_body_without_end_is_not_read_on() -> None:
    stream = Endless()
    with pytest.raises(RequestError):
        in_request(given.body, stream)

    assert stream.taken == given.MAX_BODY_BYTES + 1


@pytest.mark.parametrize(
    ("body", "payload"),
    [(b"", {}), (b"{}", {}), (b' {"a": [1]}\n', {"a": [1]}), (b'{"a": 1, "a": 2}', {"a": 2})],
)
def test_payload_is_an_object(body: bytes, payload: Mapping[str, Any]) -> None:
    assert in_request(given.payload, body) == payload


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b'"x"', b"1", b"\xff", b"not JSON", b"[" * 100_000, b'{"a": ' * 100_000],
)
def test_payload_of_another_kind_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        in_request(given.payload, body)

    assert caught.value.code == "bad-json"


@pytest.mark.parametrize(
    ("told", "default", "text"),
    [({"a": "x"}, None, "x"), ({"a": ""}, None, ""), ({}, "d", "d"), ({"a": "ü\0"}, None, "ü\0")],
)
def test_texts(told: dict[str, Any], default: str | None, text: str) -> None:
    assert given.text(told, "a", default) == text


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, "missing-member"),
        ({"a": None}, "missing-member"),
        ({"a": 1}, "bad-member"),
        ({"a": ["x"]}, "bad-member"),
        ({"a": True}, "bad-member"),
        ({"a": "half \ud83d"}, "bad-member"),  # JSON may hold half a character
    ],
)
def test_what_is_no_text_is_refused_by_name(told: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        given.text(told, "a")

    assert caught.value.code == code
    assert "'a'" in caught.value.message


def test_lists_of_texts() -> None:
    assert given.texts({"a": ["x", ""]}, "a") == ("x", "")
    assert given.texts({"a": []}, "a") == given.texts({}, "a") == ()


@pytest.mark.parametrize("value", ["x", 1, {}, [1], ["x", None], ["half \ud83d"]])
def test_what_is_no_list_of_texts_is_refused_by_name(value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        given.texts({"a": value}, "a")

    assert caught.value.code == "bad-member"
    assert "'a'" in caught.value.message


@pytest.mark.parametrize(
    ("told", "default", "number"),
    [({"a": 1}, None, 1), ({}, 7, 7), ({"a": -(2**70)}, 0, -(2**70)), ({"a": 8.0}, None, 8)],
)
def test_numbers(told: dict[str, Any], default: int | None, number: int) -> None:
    assert given.number(told, "a", default) == number


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({}, "missing-member"),
        ({"a": "1"}, "bad-member"),
        ({"a": 1.5}, "bad-member"),
        ({"a": 1e99}, "bad-member"),  # which of them would it be?
        ({"a": float("inf")}, "bad-member"),
        ({"a": True}, "bad-member"),  # a number in Python, but not in JSON
        ({"a": []}, "bad-member"),
    ],
)
def test_what_is_no_number_is_refused_by_name(told: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        given.number(told, "a")

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("", {""}),
        ("no-cache", {"no-cache"}),
        ("Max-Age=0,  NO-CACHE", {"max-age=0", "no-cache"}),
        ("x-no-cache", {"x-no-cache"}),
    ],
)
def test_directives_are_read(told: str, found: set[str]) -> None:
    with Flask("test").test_request_context("/", headers={"Cache-Control": told}):
        assert given.directives() == found


@pytest.mark.parametrize("value", [1, 5, 9])
def test_numbers_within_bounds(value: int) -> None:
    assert given.number({"a": value}, "a", low=1, high=9) == value


@pytest.mark.parametrize("value", [0, -1, 10])
def test_numbers_out_of_bounds_are_refused(value: int) -> None:
    with pytest.raises(RequestError, match="'a' must be between 1 and 9") as caught:
        given.number({"a": value}, "a", low=1, high=9)
    assert caught.value.code == "bad-member"


def test_only_known_parameters_are_taken() -> None:
    app = Flask("test")
    with app.test_request_context("/?since=x&since=y"):
        given.only_parameters("since", "until")
    with app.test_request_context("/?sinc=x"), pytest.raises(RequestError) as caught:
        given.only_parameters("until", "since")

    assert caught.value.code == "unknown-parameter"
    assert caught.value.hint == "Known: since, until"


@pytest.mark.parametrize(
    ("told", "flag"), [({}, False), ({"a": False}, False), ({"a": True}, True)]
)
def test_flags(told: dict[str, Any], flag: bool) -> None:
    assert given.flag(told, "a") is flag


@pytest.mark.parametrize("value", ["true", 0, 1, [], {}])
def test_flag_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(RequestError) as caught:
        given.flag({"a": value}, "a")
    assert caught.value.message == "'a' must be true or false"
