# SPDX-License-Identifier: Apache-2.0
"""What is no request, or a strange one, is answered as everything else is."""

import json
import socket

import pytest

from tests.daemon import Daemon, exchange
from tests.recomputed import rows_of

LONG = b"x" * 70_000


def sent(cco: Daemon, data: bytes, *, is_half_closed: bool = False) -> tuple[int, bytes, bytes]:
    """Return status, head and body of the answer to some bytes."""
    with socket.create_connection(("127.0.0.1", cco.port)) as sock:
        if is_half_closed:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            data = b""
        head, _, body = exchange(sock, data).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, body


@pytest.mark.parametrize("path", [b"/api/agents", b"/v1/messages"])
@pytest.mark.parametrize(
    ("target", "lines", "status", "code"),
    [
        (b"?" + LONG, b"", 414, "target-too-large"),
        (b"", b"x: " + LONG, 431, "head-too-large"),
        (b"", b"\r\n".join([b"x: y"] * 1001), 431, "head-too-large"),
        (b"", b"x-api-key sk-ant-test-none", 400, "head-invalid"),
    ],
    ids=["long target", "long header", "many headers", "no header"],
)
def test_request_that_cannot_be_read_hears_why(
    served: Daemon, path: bytes, target: bytes, lines: bytes, status: int, code: str
) -> None:
    host = b"Host: 127.0.0.1:%d\r\n" % served.port
    data = b"POST %b%b HTTP/1.1\r\n%b%b\r\n\r\n" % (path, target, host, lines)
    found, head, body = sent(served, data)

    assert found == status
    assert f"x-cco-error: {code}".encode() in head
    told = json.loads(body)
    assert (told.get("type") == "error") is path.startswith(b"/v1/")
    assert b"sk-ant" not in body
    assert "sk-ant" not in served.log()


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\r\n\r\n", b"hello\r\n\r\n", b"GET  / FTP/9\r\n\r\n"]
)
def test_what_is_no_http_is_told_so(served: Daemon, data: bytes) -> None:
    found, _, body = sent(served, data)

    assert (found, json.loads(body)["error"]["code"]) == (400, "head-invalid")


@pytest.mark.parametrize(
    "lines",
    [
        b"SCRIPT_NAME: /other",
        b"PATH_INFO: /other",
        b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off",
        b"X-Forwarded-For: 192.0.2.1",
    ],
)
def test_headers_of_proxies_change_nothing(served: Daemon, lines: bytes) -> None:
    data = b"GET /api/agents/test-engineer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % served.port
    found, _, body = sent(served, data + lines + b"\r\nConnection: close\r\n\r\n")

    assert found == 200
    assert b'"slug"' in body


def test_client_that_has_said_all_it_has_to_say_is_answered(served: Daemon) -> None:
    # As `nc -N` does; it used to be taken for somebody else's.
    data = b"GET /api/agents/test-engineer HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % served.port
    for _ in range(20):
        assert sent(served, data, is_half_closed=True)[0] == 200


def test_request_that_breaks_off_is_in_the_ledger(served: Daemon) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 9\r\n\r\n"
    found, _, body = sent(served, head % served.port + b"{", is_half_closed=True)

    assert found == 400
    told = json.loads(body)
    assert "ended before the request's body was whole" in told["error"]["message"]
    (row,) = [row for row in rows_of(served) if row["error"] == "body-cut"]
    assert (row["status"], row["request_bytes"], row["cost_nano"]) == (400, 0, 0)
