# SPDX-License-Identifier: Apache-2.0
"""The service manager's protocols, against real sockets of both kinds."""

import os
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from cco.systemd import Notifier, inherited_fds, watchdog_s


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    return f"@cco-test-{os.getpid()}-{tmp_path.name}"  # systemd's way to write a zero byte


def listen(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
    sock.settimeout(30)
    return sock


def test_messages_arrive(address: str) -> None:
    with listen(address) as listener, closing(Notifier(address)) as notifier:
        assert notifier
        notifier.send("READY=1\nSTATUS=Serving")
        notifier.send("WATCHDOG=1")

        assert [listener.recv(100), listener.recv(100)] == [
            b"READY=1\nSTATUS=Serving",
            b"WATCHDOG=1",
        ]


def test_listener_that_died_is_no_error(address: str) -> None:
    with listen(address):
        notifier = Notifier(address)
    notifier.send("WATCHDOG=1")
    notifier.close()
    notifier.send("WATCHDOG=1")

    assert not notifier


# The library leaves the socket to the collector that it could not connect.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_listener_that_never_was_is_no_error(address: str) -> None:
    notifier = Notifier(address)
    notifier.send("READY=1")
    notifier.close()


def test_nobody_listens_without_address() -> None:
    for address in (None, ""):
        notifier = Notifier(address)
        assert not notifier
        notifier.send("READY=1")


@pytest.mark.parametrize("before", [None, "/somewhere/else"])
def test_environment_stays_as_it_was(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Gunicorn must not find the address there: it would say that it is ready too early.
    if before is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", before)
    address = str(tmp_path / "notify")
    with listen(address), closing(Notifier(address)):
        pass

    assert os.environ.get("NOTIFY_SOCKET") == before


@pytest.mark.parametrize(
    ("environ", "fds"),
    [
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, (3, 4)),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1"}, (3,)),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, ()),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, ()),  # meant for our parent
        ({"LISTEN_FDS": "2"}, ()),
        ({"LISTEN_PID": "7"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "-1"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "two"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "²"}, ()),  # a digit, but no number
        ({}, ()),
    ],
)
def test_inherited_descriptors(environ: Mapping[str, str], fds: tuple[int, ...]) -> None:
    assert inherited_fds(environ, pid=7) == fds


@pytest.mark.parametrize(
    ("environ", "limit_s"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),  # meant for our parent
        ({"WATCHDOG_USEC": ""}, 0.0),
        ({"WATCHDOG_USEC": "infinity"}, 0.0),
        ({"WATCHDOG_USEC": "²"}, 0.0),
        ({}, 0.0),
    ],
)
def test_watchdog(environ: Mapping[str, str], limit_s: float) -> None:
    assert watchdog_s(environ, pid=7) == limit_s
