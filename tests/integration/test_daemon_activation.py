# SPDX-License-Identifier: Apache-2.0
"""The API daemon as a service manager starts it: readiness, watchdog, sockets that are handed over.

It is ``python -I -m cco.daemon`` itself, as in the unit, without the supervisor.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.daemon import API, Daemon, Stream, call, fake_claude, free_port, is_true, readable_files
from tests.mounting import DEADLINE_S, is_mounted, wait_until

MOUNT: Final = (sys.executable, "-I", "-m", "cco.vfs")
QUIET_S: Final = 3.0
"""Without a sign of life for so long, there is none: they come every second."""


class Notices:
    """The service manager's end of ``NOTIFY_SOCKET``.

    Args:
        address: a path, or a name that begins with ``@``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard: list[str] = []
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def wait_for(self, text: str) -> None:
        """Return when a message with this line has come."""
        self._sock.settimeout(DEADLINE_S)
        while not any(text in one.split("\n") for one in self.heard):
            self.heard.append(self._sock.recv(4096).decode())

    def has_waiting(self) -> bool:
        """Say whether a message has come that was not taken yet."""
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.heard.append(self._sock.recv(4096).decode())
            return True
        return False

    def wait_for_silence(self) -> None:
        """Return when nothing has come for a while."""
        deadline = time.monotonic() + DEADLINE_S
        self._sock.settimeout(QUIET_S)
        with contextlib.suppress(TimeoutError):
            while self._sock.recv(4096):
                assert time.monotonic() < deadline, "it does not fall silent"

    def close(self) -> None:
        self._sock.close()


@contextmanager
def notices(address: str) -> Iterator[Notices]:
    made = Notices(address)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def running(
    cco: Daemon, *command: str | Path, **environ: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process of the daemon's; it is killed if it has not ended by itself."""
    cco.state.mkdir(parents=True, exist_ok=True)
    with (
        (cco.state / "cco.log").open("ab") as log,
        subprocess.Popen(command, env=cco.environ(**environ), stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def connect(path: Path) -> socket.socket:
    """Return a connection as soon as somebody listens."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_S)

    def is_open() -> bool:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            sock.connect(str(path))
            return True
        return False

    wait_until(is_open, "somebody listens")
    return sock


# Readiness and watchdog


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_it_is_ready_when_it_answers_and_not_before(cco: Daemon, is_abstract: bool) -> None:
    # What it needs to begin comes through a pipe, when the test wants it to.
    prices = cco.base / "prices.json"
    os.mkfifo(prices)
    cco.configure(f'[ledger]\nprices = "{prices}"\n')
    address = f"@{cco.base.name}" if is_abstract else str(cco.base / "notify")
    with notices(address) as told, running(cco, *API, NOTIFY_SOCKET=address) as process:
        with connect(cco.socket) as early:
            early.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            with prices.open("w") as pipe:  # opens when the worker reads it
                assert not told.has_waiting()
                pipe.write('{"models": {}}')
            told.wait_for("READY=1")
            assert cco.health()["status"] == "degraded"  # there is no mount
            assert early.recv(12) == b"HTTP/1.1 503"
        process.terminate()
        told.wait_for("STOPPING=1")
        assert process.wait(DEADLINE_S) == 0
    assert [one for one in told.heard if "WATCHDOG" in one] == []
    assert cco.left_over() == []


def test_the_watchdog_hears_of_a_worker_that_works_and_of_no_other(cco: Daemon) -> None:
    settings = cco.settings.read_text().replace("threads = 64", "threads = 4")
    cco.settings.write_text(settings)
    address = str(cco.base / "notify")
    with (
        notices(address) as told,
        running(cco, *API, NOTIFY_SOCKET=address, WATCHDOG_USEC="30000000") as process,
    ):
        told.wait_for("READY=1")
        session, port = cco.launch(), cco.port
        # All threads are busy, which is not to be stuck.
        with contextlib.ExitStack() as streams:
            for _ in range(4):
                stream = streams.enter_context(Stream(port, session.id, "offline: stall"))
                stream.read_to(b"message_start")
            for _ in range(3):
                told.heard.clear()
                told.wait_for("WATCHDOG=1")
        (worker,) = psutil.Process(process.pid).children()
        worker.suspend()
        try:
            told.wait_for_silence()
        finally:
            worker.resume()
        told.heard.clear()
        told.wait_for("WATCHDOG=1")

        worker.kill()
        wait_until(lambda: psutil.Process(process.pid).children() not in ([], [worker]), "another")
        told.heard.clear()
        told.wait_for("WATCHDOG=1")
        assert call(port, "GET", "/health").status == 503
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


def test_the_watchdog_of_another_process_is_not_fed(cco: Daemon) -> None:
    address = str(cco.base / "notify")
    of_another = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    with (
        notices(address) as told,
        running(cco, *API, NOTIFY_SOCKET=address, **of_another) as process,
    ):
        told.wait_for("READY=1")
        told.wait_for_silence()
        process.terminate()
        told.wait_for("STOPPING=1")
        assert process.wait(DEADLINE_S) == 0
    assert not any("WATCHDOG" in one for one in told.heard)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_master(cco: Daemon, ending: signal.Signals) -> None:
    with running(cco, *API) as process:
        connect(cco.socket).close()
        cco.health()
        process.send_signal(ending)
        status = process.wait(DEADLINE_S)
        wait_until(lambda: not cco.processes(), "none is left")
    assert status == (-9 if ending is signal.SIGKILL else 0)
    assert cco.left_over() == (["cco.sock"] if ending is signal.SIGKILL else [])


# Sockets


def activate(cco: Daemon, *addresses: str | Path) -> list[str]:
    """Return the command that starts the daemon at the first connection."""
    passed = [f"--setenv={name}={value}" for name, value in cco.environ().items()]
    return ["systemd-socket-activate", *passed, *(f"--listen={one}" for one in addresses), *API]


def is_listening(port: int) -> bool:
    """Look without connecting, which would start the daemon."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(one[1].endswith(f":{port:04X}") and one[3] == "0A" for one in lines)


@pytest.mark.needs("socket-activate")
def test_the_first_connection_starts_it_and_both_sockets_are_served(cco: Daemon) -> None:
    cco.runtime.mkdir(mode=0o700)
    port = free_port()
    with (
        running(cco, *activate(cco, cco.socket, f"127.0.0.1:{port}")) as process,
        running(cco, *MOUNT) as mount,
    ):
        # The mount's was the first.
        cco.wait_until_serving()
        assert process.pid in [one.pid for one in cco.processes()]
        assert cco.health()["http"]["url"] == f"http://127.0.0.1:{port}"
        assert call(port, "GET", "/health").status == 200
        assert is_true(readable_files(cco.mount))
        assert cco.run("daemon", "status").returncode == 0
        assert cco.run("daemon", "start").stdout == f"already running: http://127.0.0.1:{port}\n"

        # A launch needs no more than these.
        program = fake_claude(cco.base, 'echo "$ANTHROPIC_BASE_URL"')
        launched = cco.run("run", "--", CCO_CLAUDE=str(program))
        assert launched.stdout.startswith(f"http://127.0.0.1:{port}/s/")

        manifest = (cco.mount / ".manifest").read_bytes()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: (cco.mount / ".manifest").read_bytes() != manifest, "it is reloaded")
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        assert cco.socket.is_socket()  # it is the service manager's
        wait_until(lambda: (cco.mount / "health").read_text() != "OK\n", "the mount tells")
        mount.terminate()
        assert mount.wait(DEADLINE_S) == 0
    assert not is_mounted(cco.mount)
    assert cco.left_over() == ["cco.sock"]


@pytest.mark.needs("socket-activate")
def test_nothing_runs_before_the_first_connection(cco: Daemon) -> None:
    cco.runtime.mkdir(mode=0o700)
    port = free_port()
    with running(cco, *activate(cco, cco.socket, f"127.0.0.1:{port}")) as process:
        wait_until(lambda: is_listening(port), "it listens")
        assert psutil.Process(process.pid).name() == "systemd-socket-activate"
        assert call(port, "GET", "/health").status == 503  # without a mount
        assert cco.health()["status"] == "degraded"
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


@pytest.mark.needs("socket-activate")
def test_without_an_http_listener_it_serves_and_says_what_is_missing(cco: Daemon) -> None:
    cco.runtime.mkdir(mode=0o700)
    with (
        running(cco, *activate(cco, cco.socket)) as process,
        running(cco, *MOUNT) as mount,
    ):
        cco.wait_until_serving()
        health = cco.health()
        assert health["http"] == {"url": None}
        assert [one["code"] for one in health["warnings"]] == ["no-http"]
        program = fake_claude(cco.base)
        done = cco.run("run", "--", CCO_CLAUDE=str(program))
        assert done.returncode == os.EX_UNAVAILABLE
        assert "no HTTP listener" in done.stderr
        assert cco.client.call("GET", "/api/sessions")["sessions"] == []
        for one in (mount, process):
            one.terminate()
            assert one.wait(DEADLINE_S) == 0
