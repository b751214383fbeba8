# SPDX-License-Identifier: Apache-2.0
"""What tests of the mount share: the daemon's side of the protocol, and the process under test.

`StandIn` serves the mount protocol over a real socket, with content, refusals, delays and deaths
that a test asks for. `MountProcess` is the real process on a real mount.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cco.vfs.mountpoint import find_mount, parse_mountinfo

DEADLINE_S: Final = 30.0
"""How long anything may take; a machine under load is no failure."""

TOKEN: Final = "token-of-a-live-session"

PREFIX: Final = "cco-mount-"


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Return as soon as a condition holds; fail when it does not come to."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.005)


@dataclass
class Served:
    """One file of the stand-in."""

    data: bytes | Callable[[str], bytes]
    """Content, or what renders it for a session token."""
    access: str = "public"
    mtime_ns: int = 1_763_800_000_000_000_000

    def render(self, token: str) -> bytes:
        return self.data if isinstance(self.data, bytes) else self.data(token)

    def entry(self, path: str) -> dict[str, object]:
        data = self.render("")
        return {
            "path": path,
            "size": len(data),
            "digest": hashlib.sha256(data).hexdigest(),
            "access": self.access,
            "dynamic": not isinstance(self.data, bytes),
            "mtimeNs": self.mtime_ns,
        }


class StandIn:
    """The daemon's side of the mount protocol.

    Args:
        path: of the socket.
        files: what is served; call `publish` after changing it.
    """

    def __init__(self, path: Path, files: Mapping[str, Served]) -> None:
        self.path = path
        self.files = dict(files)
        self.health = "OK"
        self.tokens = {TOKEN}
        self.watchers: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.fetches: list[tuple[str, str, int]] = []
        """Path, token and uid of each request for a file."""
        self.mount_setting = ""
        self.gates: dict[str, threading.Event] = {}
        """Paths that are answered only once their event is set."""
        self.changed = threading.Condition()
        self.generation = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_up(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Go away as a killed daemon does: all connections end at once."""
        if self._server is None or self._thread is None:
            return
        with self.changed:
            server, self._server = self._server, None
            self.changed.notify_all()
        for gate in self.gates.values():
            gate.set()
        server.shutdown()
        server.cut()
        server.server_close()
        self._thread.join()

    def publish(self) -> None:
        """Announce what is served now."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def line(self) -> bytes:
        told = {
            "generation": str(self.generation),
            "health": self.health,
            "entries": [file.entry(path) for path, file in self.files.items()],
        }
        return json.dumps(told).encode() + b"\n"

    def __enter__(self) -> "StandIn":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 128
    daemon_threads = False
    block_on_close = True

    def __init__(self, owner: StandIn) -> None:
        self.owner = owner
        self._sockets: set[socket.socket] = set()
        super().__init__(str(owner.path), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._sockets.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._sockets.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A mount that is gone is what half of the tests are about."""

    def cut(self) -> None:
        for request in list(self._sockets):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/vfs/watch":
            self.server.owner.watchers.append(told)
            self._watch()
        elif self.path == "/api/vfs/report":
            self.server.owner.reports.append(told)
            self._answer(200, b"{}")
        else:
            self._refuse(404)

    def do_GET(self) -> None:
        owner = self.server.owner
        url = urlsplit(self.path)
        if url.path == "/api/vfs/settings":
            self._answer(200, json.dumps({"mount": owner.mount_setting}).encode())
            return
        path = parse_qs(url.query)["path"][0]
        token = self.headers.get("x-cco-session", "")
        owner.fetches.append((path, token, int(self.headers["x-cco-caller-uid"])))
        if path in owner.gates:
            owner.gates[path].wait()
        file = owner.files.get(path)
        if url.path != "/api/vfs/file" or file is None:
            self._refuse(404)
        elif file.access == "session" and token not in owner.tokens:
            self._refuse(403)
        else:
            data = file.render(token)
            self._answer(200, data, {"x-cco-digest": hashlib.sha256(data).hexdigest()})

    def _watch(self) -> None:
        owner = self.server.owner
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        told = -1
        while True:
            with owner.changed:
                while owner.is_up and owner.generation == told:
                    owner.changed.wait()
                told = owner.generation
                if not owner.is_up:
                    return
            self._chunk(b"\n")
            self._chunk(owner.line())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _refuse(self, status: int) -> None:
        error = {"code": "refused", "message": "no", "hint": None}
        self._answer(status, json.dumps({"error": error}).encode())

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


class MountProcess:
    """The process under test, on a runtime directory of its own.

    Args:
        runtime: becomes ``CCO_RUNTIME_DIR``.
    """

    def __init__(self, runtime: Path, *options: str) -> None:
        self.mount = runtime / "cco"
        self.errors = ""
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = runtime / f"notify-{time.monotonic_ns()}"
        self._notices.bind(str(self._address))
        self._notices.settimeout(DEADLINE_S)
        environ = {**os.environ, "CCO_RUNTIME_DIR": str(runtime)}
        environ["NOTIFY_SOCKET"] = str(self._address)
        environ.pop("CCO_SESSION", None)
        argv = [sys.executable, "-I", "-m", "cco.vfs", *options]
        self.process = subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True)

    def wait_ready(self) -> "MountProcess":
        told = self.wait_for_notice("READY=1")
        assert f"STATUS=Mounted on {self.mount}" in told
        return self

    def wait_for_notice(self, text: str) -> str:
        while True:
            told = self._notices.recv(4096).decode()
            if text in told:
                return told

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Return the exit status; `errors` holds then what was written to standard error."""
        self.errors = self.process.communicate(timeout=DEADLINE_S)[1]
        self._notices.close()
        self._address.unlink(missing_ok=True)
        return self.process.returncode


class Stage:
    """A runtime directory with a stand-in in it, and any number of mount processes."""

    def __init__(self, files: Mapping[str, Served]) -> None:
        self.runtime = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.daemon = StandIn(self.runtime / "cco.sock", files)
        self.daemon.start()
        self.processes: list[MountProcess] = []

    @property
    def mount(self) -> Path:
        return self.runtime / "cco"

    def start(self, *options: str) -> MountProcess:
        self.processes.append(MountProcess(self.runtime, *options))
        return self.processes[-1]

    def close(self) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.stop(signal.SIGKILL)
            else:
                process.wait()
        self.daemon.stop()
        sweep(self.runtime)
        shutil.rmtree(self.runtime)


@contextmanager
def stage(files: Mapping[str, Served]) -> Iterator[Stage]:
    """Set up, and leave nothing behind."""
    found = Stage(files)
    try:
        yield found
    finally:
        found.close()


def is_mounted(path: Path) -> bool:
    return find_mount(path) is not None


def sweep(under: Path) -> None:
    """Take away the mounts that a test has left under a directory."""
    for mount in list(parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())):
        if mount.path.is_relative_to(under):
            subprocess.run(["fusermount", "-u", "-z", "-q", str(mount.path)], check=False)


def sweep_leftovers() -> None:
    """Take away dead mounts of test runs that were aborted."""
    for mount in list(parse_mountinfo(Path("/proc/self/mountinfo").read_bytes())):
        if mount.path.parent.name.startswith(PREFIX):
            try:
                os.statvfs(mount.path)
            except OSError:
                sweep(mount.path)
                shutil.rmtree(mount.path.parent, ignore_errors=True)
