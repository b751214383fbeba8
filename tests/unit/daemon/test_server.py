# SPDX-License-Identifier: Apache-2.0
"""Gunicorn as CCO runs it: its own classes, without a running server."""

import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi

from cco.api.wire import current
from cco.daemon import server
from cco.daemon import worker as worker_module
from cco.daemon.server import Answer, Application, CcoArbiter, GunicornLog
from cco.daemon.worker import Heart, Hosted, Worker
from cco.errors import CcoError, ConfigError, Unavailable
from cco.systemd import Notifier
from tests.mounting import wait_until

# Answers.


class Request:
    """Of a request only what an answer looks at."""

    def __init__(self, method: str = "GET", *, closes: bool = False) -> None:
        self.method = method
        self.version = (1, 1)
        self._closes = closes

    def should_close(self) -> bool:
        return self._closes


def answered(
    *headers: tuple[str, str],
    status: str = "200 OK",
    body: bytes = b"x",
    request: Request | None = None,
) -> tuple[list[str], bytes, Any]:
    """Return the lines of the head and the body as they go out, and the answer."""
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            answer = Answer(request or Request(), ours, Config())
            write = answer.start_response(status, list(headers))
            write(body)
            answer.close()
        data = b"".join(iter(lambda: theirs.recv(65536), b""))
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), rest, answer


def names(lines: list[str]) -> list[str]:
    return [line.partition(":")[0].lower() for line in lines[1:]]


def test_gunicorn_uses_our_answer() -> None:
    assert wsgi.Response is Answer


def test_answer_names_no_server_of_ours() -> None:
    lines, body, _ = answered(("Content-Length", "1"))

    assert lines[0] == "HTTP/1.1 200 OK"
    assert sorted(names(lines)) == ["connection", "content-length", "date"]
    assert body == b"x"


@pytest.mark.parametrize("name", ["Date", "date", "DATE"])
def test_upstreams_date_stands_alone(name: str) -> None:
    when = "Sun, 22 Nov 2026 00:00:00 GMT"
    lines, _, _ = answered((name, when), ("Content-Length", "1"))

    assert names(lines).count("date") == 1
    assert f"{name}: {when}" in lines


def test_upstreams_server_is_passed_on() -> None:
    lines, _, _ = answered(("Server", "theirs"), ("Content-Length", "1"))

    assert [line for line in lines if line.lower().startswith("server")] == ["Server: theirs"]


def test_headers_keep_order_spelling_and_number() -> None:
    given = [("X-One", "1"), ("x-two", "2"), ("X-One", "3"), ("request-id", "req_1")]
    lines, _, _ = answered(*given, ("Content-Length", "1"))

    assert [line for line in lines if line.lower().startswith(("x-", "request"))] == [
        "X-One: 1",
        "x-two: 2",
        "X-One: 3",
        "request-id: req_1",
    ]


def test_answer_without_length_comes_in_chunks() -> None:
    lines, body, _ = answered(("Content-Type", "text/event-stream"))

    assert "Transfer-Encoding: chunked" in lines
    assert body == b"1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "closes"),
    [
        ([], False),
        ([("Connection", "close")], True),  # the body of the request was not read
        ([("connection", "close")], True),
        ([("Connection", "keep-alive")], False),
        ([("X-Connection", "close")], False),
    ],
)
def test_answer_may_end_the_connection(headers: list[tuple[str, str]], closes: bool) -> None:
    lines, _, answer = answered(*headers, ("Content-Length", "1"))

    assert answer.should_close() is closes
    assert f"Connection: {'close' if closes else 'keep-alive'}" in lines
    assert names(lines).count("connection") == 1


def test_reason_of_the_upstream_is_kept() -> None:
    lines, _, _ = answered(("Content-Length", "1"), status="529 Overloaded Just Now")

    assert lines[0] == "HTTP/1.1 529 Overloaded Just Now"


# Headers of a request.


def test_headers_of_the_request_are_kept_as_they_came() -> None:
    class Came:
        headers = (("X-ONE", "1"), ("X_TWO", "a,b"), ("X-ONE", "3"))

    nobody: Any = None
    server._keep_headers(nobody, Came())

    assert current.headers == (("x-one", "1"), ("x_two", "a,b"), ("x-one", "3"))
    current.headers = ()


# The application.


def close(heart: Heart) -> None:
    os.close(heart._read)
    os.close(heart._write)


def hosted(noted: list[str]) -> Hosted:
    def note(what: str) -> Any:
        return lambda: noted.append(what)

    def is_ours(_: object) -> bool:
        return True

    def refuse(*_: object) -> bytes:
        return b""

    return Hosted(lambda *_: [b""], is_ours, refuse, note("reload"), note("stop"), note("close"))


@contextmanager
def application(
    build: Any = None, *, address: str | None = None, has_watchdog: bool = False
) -> Iterator[Application]:
    with closing(Notifier(address)) as notifier:
        app = Application(
            build or (lambda: hosted([])),
            threads=17,
            notifier=notifier,
            has_watchdog=has_watchdog,
        )
        try:
            yield app
        finally:
            close(app.heart)


def test_gunicorn_is_told_what_it_is_to_be() -> None:
    with application() as app:
        cfg = app.cfg
        assert (cfg.workers, cfg.threads) == (1, 17 + server.SPARE_THREADS)
        assert cfg.worker_class is Worker
        assert cfg.logger_class is GunicornLog
        assert cfg.worker_connections == cfg.threads + server.MAX_CONNECTIONS
        assert cfg.graceful_timeout == server.GRACE_S
        assert not cfg.preload_app  # threads and database are made in the worker
        assert cfg.reuse_port is False
        if "control_socket_disable" in cfg.settings:  # it would open a socket of its own
            assert cfg.control_socket_disable


def test_setting_that_gunicorn_does_not_know_is_left_out() -> None:
    # Debian 12 has Gunicorn 20.1.
    with application() as app:
        for name in ("header_map", "control_socket_disable"):
            app.cfg.settings.pop(name, None)
        app.load_config()

        assert app.cfg.threads == 17 + server.SPARE_THREADS


def test_worker_builds_what_is_served() -> None:
    made = hosted([])
    with application(lambda: made) as app:
        assert app.load() is made.app
        assert app.hosted is made


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ConfigError("x", "bad settings", hint="mend them"), os.EX_CONFIG),
        (Unavailable("x", "no database"), os.EX_UNAVAILABLE),
    ],
)
def test_worker_that_cannot_begin_ends_the_arbiter_too(
    error: CcoError, meaning: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> NoReturn:
        raise error

    with application(fail) as app, pytest.raises(SystemExit) as caught:
        app.load()

    assert isinstance(caught.value.code, int)
    assert server.BOOT_STATUS[caught.value.code] == meaning
    assert capsys.readouterr().err.startswith(f"cco: {error.message}\n")


def test_hangup_reloads_in_a_thread_of_its_own() -> None:
    threads: list[threading.Thread] = []
    made = replace(hosted([]), reload=lambda: threads.append(threading.current_thread()))
    with application(lambda: made) as app:
        app.load()
        app.take_hangup(signal.SIGHUP, None)
        wait_until(lambda: threads, "it was reloaded")

    assert threads[0] is not threading.current_thread()


def test_hangup_while_the_worker_loads_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))

    class Worker:
        ppid = 4242

    worker: Any = Worker()
    with application(lambda: hosted(noted)) as app:
        app.take_hangup(signal.SIGHUP, None)
        app.load()
        app._worker_started(worker)
        wait_until(lambda: noted, "it was reloaded")
        assert app.heart.heard() == worker_module.READY
    assert noted == ["reload"]
    assert signals == [(4242, signal.SIGCHLD)]  # wakes the arbiter


def test_worker_that_ends_closes_what_it_served() -> None:
    noted: list[str] = []
    nobody: Any = None
    with application(lambda: hosted(noted)) as app:
        app._worker_exits(nobody, nobody)  # it had built nothing yet
        app.load()
        app._worker_exits(nobody, nobody)

    assert noted == ["close"]


# The arbiter.


@contextmanager
def arbiter(tmp_path: Path, *, has_watchdog: bool) -> Iterator[tuple[CcoArbiter, socket.socket]]:
    """Yield an arbiter, which runs nothing, and the service manager's end."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        with application(address=str(path), has_watchdog=has_watchdog) as app:
            yield CcoArbiter(app), manager


def heard(manager: socket.socket) -> list[bytes]:
    found = []
    while select.select([manager], [], [], 0)[0]:
        found.append(manager.recv(1000))
    return found


READY = b"READY=1\nSTATUS=Serving"
BEAT = b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("has_watchdog", "marks", "told"),
    [
        (True, [b""], [[]]),  # a worker that is still loading
        (True, [b"R"], [[READY]]),
        (True, [b"W"], [[BEAT]]),  # it loads, and is alive
        (True, [b"WR"], [[READY, BEAT]]),
        (True, [b"R", b"W", b""], [[READY], [BEAT], []]),  # it hangs: the watchdog starves
        (True, [b"R", b"R"], [[READY], []]),  # a second worker: ready once
        (False, [b"RW", b"W"], [[READY], []]),
    ],
)
def test_service_manager_hears_what_the_worker_says(
    has_watchdog: bool, marks: list[bytes], told: list[list[bytes]], tmp_path: Path
) -> None:
    with arbiter(tmp_path, has_watchdog=has_watchdog) as (one, manager):
        found = []
        for mark in marks:
            one._heart.say(mark)
            one.murder_workers()
            found.append(heard(manager))

    assert found == told


def test_no_signal_makes_a_second_worker_or_master(tmp_path: Path) -> None:
    with arbiter(tmp_path, has_watchdog=False) as (one, manager):
        before = one.num_workers
        one.handle_ttin()
        one.handle_ttou()
        one.handle_usr2()
        assert one.num_workers == before == 1
        assert heard(manager) == []


def test_hangup_goes_to_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with arbiter(tmp_path, has_watchdog=False) as (one, _):
        sent: list[tuple[int, int]] = []
        monkeypatch.setattr(one, "kill_worker", lambda pid, number: sent.append((pid, number)))
        monkeypatch.setattr(one, "WORKERS", {7: object()})
        one.handle_hup()

    assert sent == [(7, signal.SIGHUP)]


# Its log.


def test_gunicorn_logs_as_all_others_do(caplog: pytest.LogCaptureFixture) -> None:
    log = GunicornLog(Config())

    assert log.error_log.handlers == []
    assert log.access_log.disabled
    with caplog.at_level(logging.DEBUG):
        log.info("Starting gunicorn")
    assert caplog.records == []  # a healthy day is silent
    assert log.error_log.propagate
