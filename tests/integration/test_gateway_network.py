# SPDX-License-Identifier: Apache-2.0
"""Connections: kept, lost, refused, encrypted, through a proxy."""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cco.gateway.errors import AnswerCut
from tests.authority import make_authority
from tests.forwarding import ANSWER, STREAM, Forwarding, forwarding, make_call, read, streamed
from tests.rawserver import DEADLINE_S, Received, always, reply


def told(through: Forwarding, code: str, status: int) -> dict[str, object]:
    """Ask, check that the answer is this error of ours, and return the ledger's row."""
    answer, body = through.get()
    fields = dict(answer.headers)
    assert (answer.status, fields["x-cco-error"]) == (status, code)
    assert fields["x-cco-upstream"] == "up"
    assert json.loads(body)["request_id"] == fields["x-cco-request-id"] == fields["request-id"]
    row = through.rows()[-1]
    assert (row["status"], row["error"], row["upstream"]) == (status, code, "up")
    return row


def test_connections_are_used_again(tmp_path: Path) -> None:
    with forwarding(always(streamed(STREAM)), tmp_path) as through:
        for _ in range(5):
            through.get()
        assert through.server.opened == 1


def test_a_connection_that_the_upstream_closed_is_not_used_again(tmp_path: Path) -> None:
    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(reply(body=ANSWER))
        return False  # though it did not say so

    with forwarding(script, tmp_path) as through:
        for number in range(5):
            assert through.get()[0].status == 200
            # Its end must have arrived, or the request would meet it under way.
            pool = through.gateway._upstreams.choose().pool
            for connection in pool._resting:
                poller = select.poll()
                poller.register(connection._sock, select.POLLIN)
                assert poller.poll(DEADLINE_S * 1000)
            assert through.server.opened == number + 1


def test_a_request_is_never_sent_twice(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("ended before an answer came")

    def script(received: Received, sock: socket.socket) -> bool | None:
        if len(through.server.received) == 2:
            return False  # a used connection, closed when the request is already there
        sock.sendall(reply(body=ANSWER))
        return None

    with forwarding(script, tmp_path) as through:
        through.get()
        row = told(through, "upstream-broken", 502)
        assert (row["partial"], row["priced"], row["attempts"]) == (1, 0, 1)
        assert len(through.server.received) == 2
        assert through.get()[0].status == 200


def test_nobody_listens(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("cannot be reached")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with forwarding(always(b""), tmp_path, base_url=url) as through:
            row = told(through, "upstream-refused", 502)
            assert (row["partial"], row["priced"], row["attempts"]) == (0, 1, 1)
            assert row["model"] == "claude-opus-4-8"


def test_the_name_is_unknown(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("has no address")
    with forwarding(always(b""), tmp_path, base_url="http://no-such.invalid") as through:
        told(through, "upstream-unresolved", 502)


def test_an_error_of_ours_has_no_body_for_head(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("has no address")
    with forwarding(always(b""), tmp_path, base_url="http://no-such.invalid") as through:
        answer, body = through.get(make_call(method="HEAD", target="/", body=b""))
        assert (answer.status, body) == (502, b"")


def test_the_upstream_is_silent_before_it_answers(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("said nothing for 0.1 s")

    def script(_: Received, sock: socket.socket) -> bool:
        through.server.wait_for_hang_up(sock)
        return False

    with forwarding(script, tmp_path, read_timeout_s=0.1) as through:
        row = told(through, "upstream-timeout", 504)
        assert (row["partial"], row["priced"]) == (1, 0)
        assert through.server.hung_up.wait(DEADLINE_S)


def test_an_upstream_that_takes_nothing_more_is_silent_too(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("said nothing for 0.1 s")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with forwarding(always(b""), tmp_path, base_url=url, read_timeout_s=0.1) as through:
            answer, _ = through.get(make_call(body=bytes(20_000_000)))
            assert answer.status == 504


def test_a_large_body_that_is_refused_unread(tmp_path: Path) -> None:
    # As servers do that know from the length alone: answer, close, read nothing.
    refusal = reply("413 Too Large", "Connection: close", body=b'{"type":"error"}')

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(refusal)
                sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(OSError):
                    while sock.recv(1 << 20):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with forwarding(always(b""), tmp_path, base_url=url) as through:
            answer, body = through.get(make_call(body=bytes(8_000_000)))
        thread.join()
    assert (answer.status, body) == (413, b'{"type":"error"}')


def test_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path)
    body = b'{"model":"m","x":"' + bytes(range(32, 127)).replace(b'"', b"") * 30_000 + b'"}'
    with forwarding(always(streamed(STREAM)), tmp_path, tls=tls, ca_file=str(ca_file)) as through:
        for _ in range(3):
            assert through.get(make_call(body=body))[1] == STREAM
        assert [received.body == body for received in through.server.received] == [True] * 3
        assert through.server.opened == 1


def test_tls_that_nobody_vouches_for(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("TLS failed")
    _, tls = make_authority(tmp_path)
    with forwarding(always(reply()), tmp_path, tls=tls) as through:
        row = told(through, "upstream-tls", 502)
        assert (row["partial"], row["priced"]) == (0, 1)
        assert through.server.received == []


def test_an_answer_over_tls_that_is_cut_is_not_taken_for_whole(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("an answer was cut")
    ca_file, tls = make_authority(tmp_path)

    def script(_: Received, sock: socket.socket) -> bool:
        # No length: only TLS can tell its end from a cut, and here it does not say goodbye.
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + STREAM[:400])
        return False

    with forwarding(script, tmp_path, tls=tls, ca_file=str(ca_file)) as through:
        with pytest.raises(AnswerCut):
            through.get()
        assert through.row()["partial"] == 1


def test_abandoning_an_answer_over_tls(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path)

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(streamed(STREAM)[:-40])
        through.server.wait_for_hang_up(sock)
        return False

    with forwarding(script, tmp_path, tls=tls, ca_file=str(ca_file)) as through:
        answer = through.gateway.forward(make_call())
        got = [next(answer.body)]
        timer = threading.Timer(0.05, answer.close)
        timer.start()
        with contextlib.suppress(ConnectionResetError):
            got.extend(answer.body)
        timer.join()
        assert STREAM.startswith(b"".join(got))
        assert through.server.hung_up.wait(DEADLINE_S)


@contextmanager
def proxying() -> Iterator[tuple[int, list[bytes]]]:
    """Run a proxy that opens tunnels and takes absolute URLs; give its port and what was asked."""
    asked: list[bytes] = []
    threads: list[threading.Thread] = []

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            asked.append(head)
            place = head.split(b" ")[1].removeprefix(b"http://").split(b"/")[0].decode()
            name, _, port = place.partition(":")
            with socket.create_connection(
                (name.replace("upstream.test", "127.0.0.1"), int(port))
            ) as up:
                if head.startswith(b"CONNECT"):
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    up.sendall(head)
                other = {client: up, up: client}
                while True:
                    for sock in select.select([client, up], [], [], DEADLINE_S)[0]:
                        data = sock.recv(65536)
                        if not data:
                            return
                        other[sock].sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(sock,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_http_goes_through_the_proxy_of_the_environment(tmp_path: Path, name: str) -> None:
    with proxying() as (port, asked):
        environ = {name: f"http://user:word@127.0.0.1:{port}"}
        with forwarding(always(reply(body=ANSWER)), tmp_path, environ=environ) as direct:
            url = f"http://upstream.test:{direct.server.port}"
            (tmp_path / "other").mkdir()
            with forwarding(
                always(b""), tmp_path / "other", environ=environ, base_url=url
            ) as through:
                assert through.get()[1] == ANSWER
        received = direct.server.received
    assert asked[0].startswith(f"POST {url}/v1/messages?beta=true HTTP/1.1\r\n".encode())
    assert b"\r\nProxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in asked[0]
    assert received[0].values("host") == [url.removeprefix("http://")]


def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    ca_file, tls = make_authority(tmp_path, host="upstream.test")
    (tmp_path / "other").mkdir()
    with (
        proxying() as (port, asked),
        forwarding(always(streamed(STREAM)), tmp_path, tls=tls) as server,
        forwarding(
            always(b""),
            tmp_path / "other",
            environ={"HTTPS_PROXY": f"127.0.0.1:{port}"},
            base_url=f"https://upstream.test:{server.server.port}",
            ca_file=str(ca_file),
        ) as through,
    ):
        got = [read(through.gateway.forward(make_call())) for _ in range(2)]
    assert got == [STREAM] * 2
    assert [head.split(b" ")[0] for head in asked] == [b"CONNECT"]


@pytest.mark.parametrize("environ", [{"NO_PROXY": "upstream.test"}, {"no_proxy": "*"}])
def test_no_proxy_is_honoured(
    tmp_path: Path, environ: dict[str, str], expect_log: Callable[[str], None]
) -> None:
    expect_log("has no address")  # for it was looked up here, not by the proxy
    with proxying() as (port, asked):
        environ = {**environ, "HTTP_PROXY": f"http://127.0.0.1:{port}"}
        url = "http://upstream.test:9"
        with forwarding(always(b""), tmp_path, environ=environ, base_url=url) as through:
            told(through, "upstream-unresolved", 502)
    assert asked == []


def test_this_machine_is_never_reached_through_a_proxy(tmp_path: Path) -> None:
    environ = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
    with forwarding(always(reply(body=ANSWER)), tmp_path, environ=environ) as through:
        assert through.get()[1] == ANSWER


def test_a_proxy_that_cannot_be_used_is_told_once(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("the proxy in HTTP_PROXY cannot be used")
    environ = {"HTTP_PROXY": "socks5://127.0.0.1:1"}
    with forwarding(always(b""), tmp_path, environ=environ, base_url="http://up.test") as through:
        told(through, "upstream-proxy", 502)
        answer, _ = through.get()
        assert dict(answer.headers)["x-should-retry"] == "false"
