# SPDX-License-Identifier: Apache-2.0
"""Gunicorn as CCO runs it: one worker of many threads, readiness and watchdog that are true.

The worker is ready when it has built the application, and says so through a pipe; only then does
the arbiter tell the service manager. The same pipe carries the worker's heartbeat, so the watchdog
starves as soon as the accept loop stands still, however busy the threads are with long streams.

Works with Gunicorn 20.1 (Debian 12) to 27.
"""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http import wsgi

from cco.api.wire import current
from cco.daemon.ending import give_up
from cco.daemon.reception import KEEPALIVE_S
from cco.daemon.worker import BEAT, READY, Heart, Hosted, Worker
from cco.errors import CcoError
from cco.systemd import Notifier

log = logging.getLogger(__name__)

THREAD_STACK_BYTES: Final = 512 * 1024
GRACE_S: Final = 10
"""Seconds that running answers may take to end at a stop; systemd's limit is above it."""
SPARE_THREADS: Final = 32
"""Threads beyond those that long requests can take: for all that is answered at once."""
MAX_CONNECTIONS: Final = 1000
"""Connections beyond one for each thread."""
BOOT_STATUS: Final = {
    Arbiter.WORKER_BOOT_ERROR: os.EX_UNAVAILABLE,
    Arbiter.APP_LOAD_ERROR: os.EX_CONFIG,
}
"""Exit statuses by which a worker that cannot begin ends its arbiter too, and their meaning."""


class GunicornLog(Logger):  # type: ignore[misc]  # Gunicorn has no types
    """Sends Gunicorn's own messages, warnings and worse, the way of all others."""

    def setup(self, cfg: Any) -> None:
        """Attach to the root logger instead of to files."""
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)
        self.access_log.disabled = True


class Answer(wsgi.Response):  # type: ignore[misc]  # Gunicorn has no types
    """Writes the head as the application gave it: ours is a gateway, not an origin."""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers; its ``Connection: close`` ends the connection."""
        for name, value in headers:
            if name.lower() in ("date", "server"):  # Gunicorn would drop the upstream's own
                self.headers.append((name, value))
            else:
                super().process_headers([(name, value)])
        if any(name.lower() == "connection" and value == "close" for name, value in headers):
            self.force_close()

    def default_headers(self) -> list[str]:
        """Return status line and connection headers; no Server, no Date beside a given one."""
        has_date = any(name.lower() == "date" for name, _ in self.headers)
        unwanted = ("Server:", "Date:") if has_date else ("Server:",)
        return [line for line in super().default_headers() if not line.startswith(unwanted)]


wsgi.Response = Answer


class CcoArbiter(Arbiter):  # type: ignore[misc]  # Gunicorn has no types
    """The master: supervises the worker and speaks to the service manager."""

    def __init__(self, app: "Application") -> None:
        self._heart = app.heart
        self._notifier = app.notifier
        self._has_watchdog = app.has_watchdog
        self._is_ready = False
        super().__init__(app)

    def murder_workers(self) -> None:
        """Run at least once a second by Gunicorn's loop: pass on what the worker says."""
        super().murder_workers()
        heard = self._heart.heard()
        if READY in heard and not self._is_ready:
            self._is_ready = True
            self._notifier.send("READY=1\nSTATUS=Serving")
        if BEAT in heard and self._has_watchdog:
            self._notifier.send("WATCHDOG=1")

    def handle_hup(self) -> None:
        """Reload inside the worker, so that no stream is cut."""
        for pid in list(self.WORKERS):
            self.kill_worker(pid, signal.SIGHUP)

    def handle_usr2(self) -> None:
        """Make no second master: sockets and watchdog are the service manager's."""

    def handle_ttin(self) -> None:
        """Keep the one worker: sealed files and sessions are one worker's."""

    handle_ttou = handle_ttin

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - Gunicorn's signature
        """Tell the service manager, then stop."""
        self._notifier.send("STOPPING=1\nSTATUS=Stopping")
        super().stop(graceful)


class Application(BaseApplication):  # type: ignore[misc]  # Gunicorn has no types
    """What Gunicorn is to run.

    Args:
        build: makes what is served, in the worker.
        threads: for requests that may take long.
        notifier: reaches the service manager.
        has_watchdog: whether it expects signs of life.
    """

    def __init__(
        self,
        build: Callable[[], Hosted],
        *,
        threads: int,
        notifier: Notifier,
        has_watchdog: bool,
    ) -> None:
        self.heart = Heart()
        self.notifier = notifier
        self.has_watchdog = has_watchdog
        self.hosted: Hosted | None = None
        self._is_reload_due = False
        self._build = build
        self._threads = threads
        super().__init__()

    def load_config(self) -> None:
        """Give Gunicorn its settings; those that this version does not know are left out."""
        wanted = {
            "worker_class": "cco.daemon.worker.Worker",
            "logger_class": "cco.daemon.server.GunicornLog",
            "workers": 1,
            "threads": self._threads + SPARE_THREADS,
            "worker_connections": self._threads + SPARE_THREADS + MAX_CONNECTIONS,
            "keepalive": int(KEEPALIVE_S),
            "timeout": 30,
            "graceful_timeout": GRACE_S,
            "limit_request_line": 8190,
            "limit_request_fields": 1000,
            "limit_request_field_size": 65536,
            "header_map": "dangerous",  # names with _ go upstream too; nothing here trusts them
            "secure_scheme_headers": {},  # no proxy is before us
            "control_socket_disable": True,
            "pre_request": _keep_headers,
            "post_worker_init": self._worker_started,
            "worker_exit": self._worker_exits,
        }
        for name, value in wanted.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the application; Gunicorn calls this in the worker."""
        try:
            self.hosted = self._build()
        except CcoError as error:
            status = give_up(error)
            sys.exit(next(code for code, meant in BOOT_STATUS.items() if meant == status))
        return self.hosted.app

    def run(self) -> None:
        """Serve until told to stop."""
        threading.stack_size(THREAD_STACK_BYTES)
        gc.freeze()  # what a collection never looks at stays shared with the worker
        CcoArbiter(self).run()

    def take_hangup(self, _signal: int, _frame: object) -> None:
        """Reload, at once or when there is something to reload."""
        if self.hosted is None:
            self._is_reload_due = True
        else:
            threading.Thread(target=self.hosted.reload, name="reload", daemon=True).start()

    def _worker_started(self, worker: Worker) -> None:
        if self._is_reload_due:
            self.take_hangup(signal.SIGHUP, None)
        self.heart.say(READY)
        # A signal wakes the arbiter, which would notice only a second later otherwise.
        os.kill(worker.ppid, signal.SIGCHLD)

    def _worker_exits(self, _arbiter: CcoArbiter, _worker: Worker) -> None:
        if self.hosted:
            self.hosted.close()


def _keep_headers(_worker: Worker, request: Any) -> None:
    # Gunicorn has put the names into capitals; nothing can tell what they were.
    current.headers = tuple((name.lower(), value) for name, value in request.headers)
    # This one it would take for the beginning of our paths.
    request.headers = [field for field in request.headers if field[0] != "SCRIPT_NAME"]
