# SPDX-License-Identifier: Apache-2.0
"""The process that serves: takes connections in, and answers each request in a thread.

Of Gunicorn's threaded worker the half that speaks HTTP is used. The other half, which takes
connections in, is `reception`: it differs from version to version, lets a silent client have a
thread (20.1 for ever, 27 for some seconds) or a place for ever (23), and drops at a stop what was
accepted and not yet read (before 24).
"""

import contextlib
import io
import logging
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from cco.daemon import lifeline
from cco.daemon.reception import HEAD_BYTES, Guest, Reception

log = logging.getLogger(__name__)

MAX_FILES: Final = 65536
BEAT_S: Final = 0.5
REST_S: Final = 0.5
"""Longest silence of a client that owes the rest of a body that nobody wants."""
_REST_BYTES: Final = 65536
_STATUS: Final = {
    "ExpectationFailed": HTTPStatus.EXPECTATION_FAILED,
    "LimitRequestHeaders": HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "LimitRequestLine": HTTPStatus.REQUEST_URI_TOO_LONG,
}
READY: Final = b"R"
BEAT: Final = b"W"


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the worker serves, and what becomes of it."""

    app: Callable[..., Iterable[bytes]]
    """The WSGI application."""
    is_ours: Callable[[socket.socket], bool]
    """Says whether a new connection is from a process of our own user."""
    refuse: Callable[[int, bytes], bytes]
    """Makes the answer to what is no request, from its status and what came of its head."""
    reload: Callable[[], None]
    """Called on SIGHUP, in a thread of its own."""
    stop: Callable[[], None]
    """Called when the worker begins to stop: ends answers that would never end."""
    close: Callable[[], None]
    """Called last: makes durable what is not yet."""


class Heart:
    """The pipe between worker and arbiter."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def say(self, what: bytes) -> None:
        """Write one mark; a full pipe already says enough."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, what)

    def heard(self) -> bytes:
        """Return the marks since the last call."""
        try:
            return os.read(self._read, 4096)
        except BlockingIOError:
            return b""


class _Now(threading.local):
    """What this thread serves."""

    head = b""


class Worker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """The one worker: beats its heart, reloads on SIGHUP, ends what waits at a stop.

    It is killed with its arbiter: the next one makes a worker of its own, with another key.
    """

    _beat_at = 0.0
    _now = _Now()

    def init_process(self) -> None:
        """Become the worker, and serve."""
        lifeline.end_with_parent(signal.SIGKILL, parent=self.ppid)
        _allow_files()
        super().init_process()

    def init_signals(self) -> None:
        """Take SIGHUP from the start: it would end a worker that is still loading."""
        super().init_signals()
        signal.signal(signal.SIGHUP, self.app.take_hangup)

    def notify(self) -> None:
        """Tell arbiter and service manager that the accept loop turns, now and then."""
        now = time.monotonic()
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            super().notify()
            self.app.heart.say(BEAT)

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop: first end the connections that would wait for ever."""
        if hosted := self.app.hosted:
            threading.Thread(target=hosted.stop, name="stopping", daemon=True).start()
        self.alive = False  # what is answered from now on ends its connection

    def run(self) -> None:
        """Take connections in until told to stop, then serve what is there."""
        self.reception = Reception(
            self.sockets,
            wake_fd=self.PIPE[0],  # any signal is written there
            is_ours=self.app.hosted.is_ours,
            serve=lambda guest: self.tpool.submit(self._serve, guest),
            refuse=self.app.hosted.refuse,
            limit=self.cfg.worker_connections,
        )
        while self.alive:
            self.notify()
            self.reception.turn(BEAT_S)
        self.reception.stop()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while not self.reception.is_empty and time.monotonic() < ends_at:
            self.notify()
            self.reception.turn(0.05)
        self.reception.close()
        self.tpool.shutdown(wait=False)

    def handle_error(
        self, _req: object, client: socket.socket, _addr: object, exc: Exception
    ) -> None:
        """Answer what could not be read: Gunicorn's own answer is a page, and repeats it."""
        if not isinstance(exc, ParseException):
            log.error("a request failed", exc_info=exc)
        log.debug("a request could not be read: %s", type(exc).__name__)
        answer = self.app.hosted.refuse(_status_of(exc), self._now.head)
        with contextlib.suppress(OSError):
            client.send(answer, socket.MSG_DONTWAIT)

    def _serve(self, guest: Guest) -> None:
        """Answer one request, in a thread of the pool."""
        may_rest, ahead = False, b""
        try:
            if guest.kept is None:
                guest.kept = TConn(self.cfg, guest.sock, guest.address, guest.server)
            conn = guest.kept
            conn.init()
            conn.sock.settimeout(None)
            head = guest.take()
            self._now.head = head[:HEAD_BYTES]
            conn.parser.unreader.unread(head)
            result = self.handle(conn)
            has_answered = result[0] if isinstance(result, tuple) else result
            if has_answered and guest.is_ours and _is_read(conn):
                may_rest, ahead = True, _take_ahead(conn)
        finally:
            if may_rest:
                self.reception.rest(guest, ahead)
            else:
                self.reception.leave(guest)


def _status_of(exc: Exception) -> int:
    """Return the status for what Gunicorn could not read; its versions differ in the classes."""
    if not isinstance(exc, ParseException):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return _STATUS.get(type(exc).__name__, HTTPStatus.BAD_REQUEST)


def _allow_files() -> None:
    """Let this process open as many files as it may: two for each stream, one for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_read(conn: Any) -> bool:
    """Say whether the request's body has been read to its end; read a small rest."""
    body = conn.parser.mesg.body
    if getattr(body.reader, "length", None) == 0:
        return True
    conn.sock.settimeout(REST_S)
    try:
        return not (body.read(_REST_BYTES) and body.read(1))
    except OSError:
        return False
    finally:
        conn.sock.settimeout(None)


def _take_ahead(conn: Any) -> bytes:
    """Return what has arrived of the next request together with this one."""
    unreader = conn.parser.unreader
    ahead, unreader.buf = unreader.buf.getvalue(), io.BytesIO()
    return bytes(ahead)
