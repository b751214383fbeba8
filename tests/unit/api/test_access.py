# SPDX-License-Identifier: Apache-2.0
"""Who may call, judged on real connections and on tables as the kernel prints them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from cco.api import sockdiag
from cco.api.access import Guard, encode_address, find_uid, is_our_name, tcp_uid, unix_uid, views
from cco.errors import Denied, RequestError
from tests.ordinary import NOBODY

US = os.getuid()

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
    "  timeout inode\n"
)
TAIL = "1 0000000000000000 20 4 30 10 -1\n"


def line(local: str, remote: str, state: str, uid: int, inode: int) -> str:
    return (
        f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000"
        f"  {uid:4}        0 {inode} {TAIL}"
    )


# 127.0.0.1:54178 to 127.0.0.1:3000
CLIENT, SERVER = "0100007F:D3A2", "0100007F:0BB8"
LOCAL, REMOTE = ("127.0.0.1", 54178), ("127.0.0.1", 3000)
OURS = line(CLIENT, SERVER, "01", 1000, 12345)


@pytest.mark.parametrize(
    ("lines", "uid"),
    [
        ([OURS], 1000),
        ([], None),
        # several, among them the other direction and the listener
        (
            [
                line(SERVER, "00000000:0000", "0A", 7, 1),
                line(SERVER, CLIENT, "01", 7, 2),
                line("0100007F:D3A3", SERVER, "01", 8, 3),
                OURS,
            ],
            1000,
        ),
        # closed by its owner: uid 0, no inode
        ([line(CLIENT, SERVER, "01", 0, 0)], None),
        ([line(CLIENT, SERVER, "06", 0, 0)], None),  # TIME_WAIT
        ([line(CLIENT, SERVER, "05", 0, 0)], None),  # FIN_WAIT2
        # shut down for writing, by the client and by us, and still its owner's
        ([line(CLIENT, SERVER, "05", 1000, 12345)], 1000),
        ([line(CLIENT, SERVER, "08", 1000, 12345)], 1000),
        ([line(CLIENT, SERVER, "0A", 1000, 12345)], None),  # LISTEN
        # an old connection of the same ports in TIME_WAIT, then the living one
        ([line(CLIENT, SERVER, "06", 0, 0), OURS], 1000),
        ([line(CLIENT, SERVER, "01", 0, 12345)], 0),  # root, alive: another uid as well
        ([line(SERVER, CLIENT, "01", 7, 2)], None),  # our own end is not the peer
        ([line(CLIENT, "0200007F:0BB8", "01", 7, 2)], None),  # another address of loopback
        ([line("0100007F:D3A2"[1:], SERVER, "01", 7, 2)], None),
        ([line(CLIENT, SERVER, "01", 4294967294, 5)], 4294967294),  # the largest uid
    ],
)
def test_uid_stands_in_the_table(lines: list[str], uid: int | None) -> None:
    found = find_uid([HEAD, *lines], local=LOCAL, remote=REMOTE, family=socket.AF_INET)

    assert found == uid


ONE6 = "00000000000000000000000001000000"
MAPPED = "0000000000000000FFFF00000100007F"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("::1", ONE6), ("::ffff:127.0.0.1", MAPPED)],
)
def test_uid_stands_in_the_table_of_version_six(host: str, shown: str) -> None:
    table = [HEAD, line(f"{shown}:D3A2", f"{shown}:0BB8", "01", 1000, 5)]
    found = find_uid(
        table, local=(host, 54178, 0, 0), remote=(host, 3000, 0, 0), family=socket.AF_INET6
    )
    assert found == 1000


def test_address_looks_as_the_kernel_prints_it() -> None:
    assert encode_address(("127.0.0.1", 3000), family=socket.AF_INET) == SERVER
    assert encode_address(("::1", 1), family=socket.AF_INET6) == f"{ONE6}:0001"


def test_connection_may_stand_in_either_table() -> None:
    four = (socket.AF_INET, ("127.0.0.1", 1), ("127.0.0.1", 2))
    six = (socket.AF_INET6, ("::ffff:127.0.0.1", 1), ("::ffff:127.0.0.1", 2))

    assert views(*four) == [four, six]
    assert views(socket.AF_INET6, ("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 2, 0, 0)) == [
        (socket.AF_INET6, ("::ffff:127.0.0.1", 1, 0, 0), ("::ffff:127.0.0.1", 2, 0, 0)),
        four,
    ]
    assert len(views(socket.AF_INET6, ("::1", 1, 0, 0), ("::1", 2, 0, 0))) == 1


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@contextmanager
def connection(
    *, server: int = socket.AF_INET, client: int = socket.AF_INET
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the server's and the client's end of a real connection."""
    with socket.create_server(
        ("127.0.0.1" if server == socket.AF_INET else "::1", 0), family=server
    ) as listener:
        host, port = listener.getsockname()[:2]
        with socket.socket(client) as theirs:
            theirs.connect((f"::ffff:{host}" if client != server else host, port))
            ours, _ = listener.accept()
            with ours:
                yield ours, theirs


@pytest.fixture(params=["asked", "table"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look owners up in both ways: a kernel need not be there to be asked."""
    if request.param == "table":

        def refuse(*_: object, **__: object) -> NoReturn:
            raise PermissionError

        monkeypatch.setattr(sockdiag, "ask", refuse)


def test_real_connection_stands_in_the_kernels_table() -> None:
    with connection() as (ours, theirs):
        wanted = [
            encode_address(theirs.getsockname(), family=socket.AF_INET),
            encode_address(ours.getsockname(), family=socket.AF_INET),
        ]
        table = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()]
        assert wanted in table
        assert tcp_uid(ours) == US


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_real_connection_of_version_six_has_an_owner() -> None:
    with connection(server=socket.AF_INET6, client=socket.AF_INET6) as (ours, _):
        assert tcp_uid(ours) == US


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_client_that_speaks_version_six_to_a_version_four_address_has_an_owner() -> None:
    with connection(client=socket.AF_INET6) as (ours, _):
        assert tcp_uid(ours) == US


def test_client_that_has_gone_has_no_owner() -> None:
    with connection() as (ours, theirs):
        theirs.close()
        assert tcp_uid(ours) is None


def test_connection_that_is_none_has_no_owner() -> None:
    with socket.socket() as sock:
        assert tcp_uid(sock) is None


def test_owner_of_a_local_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert unix_uid(ours) == US


# The guard.


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def check(guard: Guard, sock: socket.socket, *, has_origin: bool = False) -> None:
    guard.check(sock, host=f"127.0.0.1:{port_of(sock)}", has_origin=has_origin)


def test_owner_may_call() -> None:
    with connection() as (ours, _):
        check(Guard(uid=US), ours)


def test_another_user_may_not() -> None:
    # Seen from a daemon of another user, we are the stranger; root is one as well.
    with connection() as (ours, _), pytest.raises(Denied) as caught:
        check(Guard(uid=US + 1), ours)

    assert caught.value.code == "foreign-user"


def test_another_user_may_not_call_locally() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Guard(uid=US).check(ours, host="whatever", has_origin=False)
        with pytest.raises(Denied, match="only the user"):
            Guard(uid=US + 1).check(ours, host="", has_origin=False)


@pytest.mark.needs("root")
def test_connection_of_another_user_is_seen_as_theirs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pid = os.fork()
        if pid == 0:
            try:
                os.setresuid(NOBODY, NOBODY, NOBODY)
                with socket.create_connection(listener.getsockname()) as sock:
                    sock.recv(1)  # until the other side has looked
            finally:
                os._exit(0)
        ours, _ = listener.accept()
        with ours:
            assert tcp_uid(ours) == NOBODY
            with pytest.raises(Denied):
                check(Guard(uid=US), ours)
        os.waitpid(pid, 0)


def test_caller_that_can_no_longer_be_told_is_refused() -> None:
    with connection() as (ours, theirs):
        theirs.close()
        with pytest.raises(Denied) as caught:
            check(Guard(uid=US), ours)

    assert caught.value.code == "foreign-user"


def test_connection_is_looked_up_once() -> None:
    guard = Guard(uid=US)
    with connection() as (ours, theirs):
        check(guard, ours)
        theirs.shutdown(socket.SHUT_WR)  # its last request is served still
        check(guard, ours)


def test_connection_with_the_number_of_an_old_one_is_looked_up_anew() -> None:
    guard = Guard(uid=US)
    with connection() as (ours, _):
        check(guard, ours)
        number = ours.fileno()
    with connection() as (ours, theirs):
        assert number in (ours.fileno(), theirs.fileno(), number)
        theirs.close()
        with pytest.raises(Denied):
            check(guard, ours)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:3000", True),
        ("localhost:3000", True),
        ("[::1]:3000", True),
        ("LocalHost:3000", True),  # names have no case
        ("127.0.0.2:3000", True),  # all of 127/8 is loopback
        ("127.255.255.254:3000", True),
        ("127.0.0.1:3001", False),  # another port
        ("127.0.0.1:03000", False),
        ("127.0.0.1:", False),
        ("127.0.0.1", False),  # no port
        ("localhost", False),
        (":3000", False),
        ("", False),
        ("3000", False),
        ("::1:3000", False),  # not how it is written
        ("[::1]", False),
        ("evil.example:3000", False),  # a name that resolves to us
        ("localhost.evil.example:3000", False),
        ("127.0.0.1.evil.example:3000", False),
        ("evil.example#127.0.0.1:3000", False),
        ("user@localhost:3000", False),
        ("127.1:3000", False),
        ("127.0.0.01:3000", False),
        ("0.0.0.0:3000", False),
        ("localhost:3000,evil.example:3000", False),  # sent twice
        ("localhost:3000:3000", False),
        ("127.0.0.1 :3000", False),
        ("127.0.0.1\n:3000", False),
        ("\uff1127.0.0.1:3000", False),  # a digit of another script
    ],
)
def test_host_must_be_ours(host: str, is_ours: bool) -> None:
    assert is_our_name(host, port=3000) is is_ours


@pytest.mark.parametrize("host", ["", "evil.example", "evil.example:PORT", "localhost:1"])
def test_other_hosts_are_refused_whoever_calls(host: str) -> None:
    with connection() as (ours, _):
        given = host.replace("PORT", str(port_of(ours)))
        for uid in (US, US + 1):
            with pytest.raises(RequestError) as caught:
                Guard(uid=uid).check(ours, host=given, has_origin=True)
            assert caught.value.code == "foreign-host"


def test_web_pages_are_refused_on_both_sockets() -> None:
    guard = Guard(uid=US)
    with connection() as (ours, _):
        check(guard, ours)  # although it was admitted before
        with pytest.raises(Denied) as caught:
            check(guard, ours, has_origin=True)
    assert caught.value.code == "foreign-origin"
    local, theirs = socket.socketpair()
    with local, theirs, pytest.raises(Denied, match="web pages"):
        guard.check(local, host="localhost", has_origin=True)
