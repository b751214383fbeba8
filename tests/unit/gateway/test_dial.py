# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cco.errors import RequestError, UpstreamRefused
from cco.gateway.dial import Dialer, Origin, make_tls_context
from cco.gateway.proxies import Proxy
from tests.authority import make_authority


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                sock, _ = listener.accept()
                with sock:
                    sock.settimeout(10)
                    serve(sock)

        thread = threading.Thread(target=accept)
        thread.start()
        yield int(listener.getsockname()[1])
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def dialer(
    port: int,
    *,
    host: str = "127.0.0.1",
    proxy: Proxy | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5.0,
) -> Dialer:
    origin = Origin("https" if tls else "http", host, port, "")
    return Dialer("up", origin, proxy, timeout_s, tls, time.monotonic)


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://api.anthropic.com", ("https", "api.anthropic.com", 443, ""), "api.anthropic.com"),
        ("https://API.anthropic.com:443/", ("https", "api.anthropic.com", 443, ""), None),
        ("http://h:8080/a/b/", ("http", "h", 8080, "/a/b"), "h:8080"),
        ("http://[::1]:80", ("http", "::1", 80, ""), "[::1]"),
        ("https://[::1]:8443/x", ("https", "::1", 8443, "/x"), "[::1]:8443"),
        ("https://user:secret@h", ("https", "h", 443, ""), "h"),
    ],
)
def test_reads_a_base_url(
    url: str, origin: tuple[str, str, int, str], authority: str | None
) -> None:
    assert Origin.parse(url) == Origin(*origin)
    if authority is not None:
        assert Origin.parse(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:99999",
        "http://h?q=1",
        "http://\u20ac",
    ],
)
def test_refuses_what_is_no_base_url(url: str) -> None:
    with pytest.raises(RequestError) as caught:
        Origin.parse(url)
    assert caught.value.code == "upstream-invalid"


def test_connects_without_delay_of_small_packets() -> None:
    with listening(lambda sock: sock.sendall(b"hi")) as port, dialer(port).dial() as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.recv(2) == b"hi"


def test_says_that_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(UpstreamRefused) as caught:
            dialer(taken.getsockname()[1]).dial()
    assert caught.value.code == "upstream-refused"
    assert "connection refused" in caught.value.message


def test_says_that_nobody_accepts_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with contextlib.ExitStack() as waiting:
            for _ in range(4):  # more than the queue holds
                sock = waiting.enter_context(socket.socket())
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", port))
            with pytest.raises(UpstreamRefused) as caught:
                dialer(port, timeout_s=0.2).dial()
    assert caught.value.code == "upstream-refused"
    assert "in time" in caught.value.message


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
def test_says_that_a_name_has_no_address(host: str) -> None:
    with pytest.raises(UpstreamRefused) as caught:
        dialer(80, host=host).dial()
    assert caught.value.code == "upstream-unresolved"


def test_asks_a_proxy_for_a_tunnel(tmp_path: Path) -> None:
    ca_file, server = make_authority(tmp_path)
    asked = []

    def serve(sock: socket.socket) -> None:
        asked.append(sock.recv(4096))
        sock.sendall(b"HTTP/1.1 200 Established\r\n")
        sock.sendall(b"Via: p\r\n\r\n")
        with server.wrap_socket(sock, server_side=True) as inner:
            inner.sendall(b"hi")

    with listening(serve) as port:
        proxy = Proxy("127.0.0.1", port, "Basic eA==")
        tls = make_tls_context("up", str(ca_file))
        with dialer(8443, proxy=proxy, tls=tls).dial() as sock:
            assert sock.recv(2) == b"hi"
    assert asked == [
        b"\r\n".join(
            [
                b"CONNECT 127.0.0.1:8443 HTTP/1.1",
                b"Host: 127.0.0.1:8443",
                b"Proxy-Authorization: Basic eA==",
                b"\r\n",
            ]
        )
    ]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", "answered 407"),
        (b"", "gave no tunnel"),
        (b"nonsense\r\n\r\n", "gave no tunnel"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, "gave no tunnel"),
    ],
)
def test_says_that_a_proxy_gives_no_tunnel(answer: bytes, told: str) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)

    tls = make_tls_context("up", "")
    with listening(serve) as port, pytest.raises(UpstreamRefused) as caught:
        dialer(8443, proxy=Proxy("127.0.0.1", port), tls=tls).dial()
    assert caught.value.code == "upstream-refused"
    assert told in caught.value.message


def test_refuses_a_server_that_nobody_vouches_for(tmp_path: Path) -> None:
    _, server = make_authority(tmp_path)

    def serve(sock: socket.socket) -> None:
        with server.wrap_socket(sock, server_side=True):
            pass

    with listening(serve) as port, pytest.raises(UpstreamRefused) as caught:
        dialer(port, tls=make_tls_context("up", "")).dial()
    assert caught.value.code == "upstream-tls"
    assert "certificate" in caught.value.message or "issuer" in caught.value.message


def test_refuses_a_certificate_for_another_name(tmp_path: Path) -> None:
    ca_file, server = make_authority(tmp_path, host="other.example")

    def serve(sock: socket.socket) -> None:
        with server.wrap_socket(sock, server_side=True):
            pass

    with listening(serve) as port, pytest.raises(UpstreamRefused) as caught:
        dialer(port, tls=make_tls_context("up", str(ca_file))).dial()
    assert caught.value.code == "upstream-tls"


def test_says_that_the_other_side_speaks_no_tls() -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")

    with listening(serve) as port, pytest.raises(UpstreamRefused) as caught:
        dialer(port, tls=make_tls_context("up", "")).dial()
    assert caught.value.code == "upstream-tls"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_says_that_a_file_of_authorities_cannot_be_used(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UpstreamRefused) as caught:
        make_tls_context("up", str(path))
    assert caught.value.code == "upstream-tls"
    assert "ca_file" in caught.value.message
