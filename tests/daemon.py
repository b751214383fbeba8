# SPDX-License-Identifier: Apache-2.0
"""A daemon of the test's own: runtime directory, state, settings, home and upstream.

It is driven as a user drives it, by the command line and over its sockets, and looked at from
outside: its processes, its mount, its files. Nothing runs before `Daemon.start`; whatever then runs
is gone after `Daemon.close`, by pid.
"""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from cco.client import Client
from cco.offline.server import OfflineUpstream
from tests import leftovers
from tests.capabilities import ROOT
from tests.mounting import DEADLINE_S, is_mounted, sweep, wait_until
from tests.rawserver import RawServer, Received, reply, serving

CCO: Final = (sys.executable, "-I", "-m", "cco")
API: Final = (sys.executable, "-I", "-m", "cco.daemon")
KEY: Final = "sk-ant-test-of-the-daemon"
MODEL: Final = "claude-sonnet-4-6"
PREFIX: Final = "cco-d-"
VERSION: Final = "2.1.197"
PLAIN_FILES: Final = ("agents.sealed", "orchestrator.sealed", "hooks.sealed", ".manifest")

CLAUDE: Final = """\
#!/bin/sh
if [ "$1" = --version ]; then
    echo "{version} (Claude Code)"
    exit 0
fi
{script}
"""
"""Stands for Claude Code where only the launch is looked at."""


@dataclass(frozen=True)
class Answer:
    """One answer over TCP, or what was left of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Launched:
    """A session with the process that it lives as long as."""

    id: str
    token: str
    process: "subprocess.Popen[bytes]"


class Daemon:
    """A daemon below one short directory.

    Args:
        base: an empty directory.
        upstream_url: where the gateway sends requests.
    """

    def __init__(self, base: Path, upstream_url: str) -> None:
        self.base = base
        self.runtime = base / "run"
        self.mount = self.runtime / "cco"
        self.socket = self.runtime / "cco.sock"
        self.state = base / "state" / "cco"
        self.home = base / "home"
        self.agents = self.home / ".config" / "cco" / "agents"
        self.settings = base / "cco.toml"
        self.agents.mkdir(parents=True)
        self.client = Client(self.socket, timeout_s=DEADLINE_S)
        self.upstream_url = upstream_url
        self._sessions: list[subprocess.Popen[bytes]] = []
        self.configure()

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of its commands: nothing of the developer's but PATH."""
        token = os.environ.get(leftovers.TOKEN_VARIABLE)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "CCO_RUNTIME_DIR": str(self.runtime),
            "XDG_STATE_HOME": str(self.state.parent),
            "CCO_CONFIG": str(self.settings),
            **({leftovers.TOKEN_VARIABLE: token} if token else {}),
            **more,
        }

    def configure(self, more: str = "", *, port: int = 0, threads: int = 64) -> None:
        """Write the settings."""
        self.settings.write_text(
            f"[server]\nport = {port}\nthreads = {threads}\n"
            f'[[upstream]]\nname = "offline"\nbase_url = "{self.upstream_url}"\n{more}'
        )

    # Commands

    def run(
        self, *words: str, cwd: Path | str | None = None, **environ: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of CCO's to its end, with `environ` on top of ours."""
        with self.spawn(*words, cwd=cwd, **environ) as process:
            out, err = process.communicate(timeout=2 * DEADLINE_S)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    @contextmanager
    def spawn(
        self, *words: str, cwd: Path | str | None = None, **environ: str
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start a command of CCO's; it is killed if it has not ended by itself."""
        with subprocess.Popen(
            [*CCO, *words],
            cwd=cwd or self.home,
            env=self.environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def start(self) -> None:
        """Start it; it serves afterwards."""
        done = self.run("daemon", "start")
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Stop it."""
        done = self.run("daemon", "stop")
        assert done.returncode == 0, done.stderr

    # What it says

    def health(self) -> dict[str, Any]:
        """Return what ``GET /health`` says."""
        told: dict[str, Any] = self.client.request("GET", "/health").json()
        return told

    def is_serving(self) -> bool:
        """Say whether it has everything that it needs."""
        with contextlib.suppress(Exception):
            return bool(self.health()["status"] == "ok")
        return False

    def wait_until_serving(self) -> None:
        wait_until(self.is_serving, "daemon and mount serve")

    @property
    def port(self) -> int:
        """The port of its HTTP listener."""
        return int(str(self.health()["http"]["url"]).rpartition(":")[2])

    def log(self) -> str:
        """Return its log so far."""
        file = self.state / "cco.log"
        return file.read_text() if file.exists() else ""

    # Its processes

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.runtime / "cco.pid").read_text()))

    @property
    def arbiter(self) -> psutil.Process:
        return self._child("cco.daemon")

    @property
    def worker(self) -> psutil.Process:
        (worker,) = self.arbiter.children()
        return worker

    @property
    def mounter(self) -> psutil.Process:
        return self._child("cco.vfs")

    def _child(self, module: str) -> psutil.Process:
        (found,) = [one for one in self.supervisor.children() if module in one.cmdline()]
        return found

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs with its runtime directory, sessions not counted."""
        mark = f"CCO_RUNTIME_DIR={self.runtime}".encode()
        sessions = {process.pid for process in self._sessions}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid in sessions or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                    found.append(process)
        return found

    def is_gone(self) -> bool:
        """Say whether nothing of it is left: process, mount, socket, lock."""
        return not (self.processes() or is_mounted(self.mount) or self.left_over())

    def left_over(self) -> list[str]:
        """Return the names of what lies in the runtime directory."""
        return sorted(path.name for path in self.runtime.iterdir()) if self.runtime.exists() else []

    # Sessions

    def launch(self, *, upstream: str = "", project: str = "") -> Launched:
        """Register a session, as the launcher does, for a process that does nothing."""
        process = subprocess.Popen(["sleep", "infinity"], env=self.environ())
        self._sessions.append(process)
        told = self.client.call(
            "POST",
            "/api/sessions",
            {
                "pid": process.pid,
                "cwd": str(self.home),
                "project": project or str(self.home),
                "upstream": upstream,
            },
        )
        return Launched(told["id"], told["token"], process)

    def end_sessions(self) -> None:
        """End the processes of all sessions that were launched here."""
        while self._sessions:
            session = self._sessions.pop()
            session.kill()
            session.wait()

    def read_inside(self, name: str, token: str) -> "subprocess.CompletedProcess[bytes]":
        """Read a file of the mount in a process that has a session's token."""
        return subprocess.run(
            ["cat", self.mount / name],
            env={**self.environ(), "CCO_SESSION": token},
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )

    # Its ends

    def close(self) -> None:
        """Leave nothing behind, whatever has happened."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            supervisor = self.supervisor
            if supervisor in self.processes():
                supervisor.send_signal(signal.SIGTERM)
                wait_until(lambda: supervisor not in self.processes(), "the supervisor ends")
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.end_sessions()
        sys.stdout.write(self.log())  # shown of a test that failed
        sweep(self.base)
        shutil.rmtree(self.base)


@contextmanager
def daemon() -> Iterator[Daemon]:
    """Make a daemon, with the offline upstream; nothing of it is left at the end."""
    with OfflineUpstream() as upstream, _made(upstream.url) as made:
        yield made


@contextmanager
def daemon_of_processes() -> Iterator[Daemon]:
    """The same with the upstream in a process of its own, for a life longer than one test's."""
    command = [sys.executable, "-I", "-m", "cco.offline"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as upstream:
        try:
            assert upstream.stdout is not None
            with _made(upstream.stdout.readline().strip()) as made:
                yield made
        finally:
            upstream.terminate()


@contextmanager
def _made(upstream_url: str) -> Iterator[Daemon]:
    made = Daemon(short_directory(), upstream_url)
    try:
        yield made
    finally:
        made.close()


def short_directory() -> Path:
    """Return a new directory; below it there is room for a socket's path, `unix(7)`."""
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))


def fake_claude(base: Path, script: str = "exit 0", *, version: str = VERSION) -> Path:
    """Write a program that passes for Claude Code and does what `script` says."""
    path = base / "claude"
    path.write_text(CLAUDE.format(version=version, script=script))
    path.chmod(0o755)
    return path


def free_port() -> int:
    """Return a port that nobody has, below those that the kernel gives to clients."""
    for port in range(21000 + os.getpid() % 5000, 32000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def asking(prompt: str, *, stream: bool = False) -> bytes:
    """Return the body of a request for a message."""
    asked = {
        "model": MODEL,
        "max_tokens": 64,
        "stream": stream,
        "messages": [{"role": "user", "content": prompt}],
    }
    return json.dumps(asked).encode()


def call(
    port: int,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request over TCP, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request(method, target, body, {"x-api-key": KEY, **(headers or {})})
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, response.read())


class Stream:
    """An answer as it arrives, read line by line; a context that closes the connection.

    Args:
        port: of the daemon.
        session_id: whose prefix the request goes through.
        prompt: for the offline upstream, which finds its directives in it.
    """

    def __init__(self, port: int, session_id: str, prompt: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
        target, body = f"/s/{session_id}/v1/messages", asking(prompt, stream=True)
        self._connection.request("POST", target, body, {"x-api-key": KEY})
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.data = b""

    def read_to(self, text: bytes) -> None:
        """Read until a line with this text has arrived."""
        while text not in self.data:
            line = self._response.readline()
            assert line, f"ended before {text!r}: {self.data!r}"
            self.data += line

    def rest(self) -> bytes:
        """Return everything from the beginning to a proper end."""
        self.data += self._response.read()
        return self.data

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()


class Gate:
    """An upstream that sends one half of a stream at once, the other when it is opened."""

    FIRST: Final = b"event: message_start"
    LAST: Final = b"event: message_stop"

    def __init__(self, server: RawServer, is_open: threading.Event) -> None:
        self.url = server.url
        self._is_open = is_open

    def open(self) -> None:
        self._is_open.set()


@contextmanager
def gated() -> Iterator[Gate]:
    """Serve a `Gate`; it is opened at the end at the latest."""
    data = (ROOT / "tests/data/sse/001.sse").read_bytes()
    half = data.index(b"\n\n", len(data) // 2) + 2
    is_open = threading.Event()

    def script(_: Received, sock: socket.socket) -> bool:
        head = reply("200 OK", "Content-Type: text/event-stream", length=False)
        sock.sendall(head + data[:half])
        is_open.wait(DEADLINE_S)
        sock.sendall(data[half:])
        return False

    with serving(script) as server:
        try:
            yield Gate(server, is_open)
        finally:
            is_open.set()


def exchange(sock: socket.socket, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the other side closes."""
    sock.settimeout(DEADLINE_S)
    if data:
        sock.sendall(data)
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


class Load:
    """Requests from several threads, one after the other in each, until the context ends.

    Half of the threads post messages through a session's prefix, the others read ``/health`` on the
    Unix socket; each request is a connection of its own. `outcomes` counts how they ended: ``cut``
    was under way when the daemon died, ``refused`` found nobody who listens.
    """

    def __init__(self, served: Daemon, session: Launched, *, threads: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = served.port
        self._daemon = served
        self._session = session
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    @property
    def good(self) -> int:
        with self._lock:
            return sum(self.outcomes[name] for name in ("message", "health"))

    @property
    def bad(self) -> Counter[str]:
        """What did not go well, but for requests that were cut off under way."""
        with self._lock:
            good = ("message", "health", "cut")
            return Counter({name: n for name, n in self.outcomes.items() if name not in good})

    def wait_for_more(self, count: int = 12) -> None:
        """Return when so many more requests have gone well."""
        wanted = self.good + count
        wait_until(lambda: self.good >= wanted, "requests go well")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._is_over.is_set():
            try:
                outcome = self._health() if number % 2 else self._message()
            except ConnectionRefusedError:
                outcome = "refused"
            except (ConnectionError, http.client.HTTPException):
                outcome = "cut"
            except Exception as exc:  # noqa: BLE001 - told by the test
                outcome = repr(exc)
            with self._lock:
                self.outcomes[outcome] += 1

    def _message(self) -> str:
        target = f"/s/{self._session.id}/v1/messages"
        answer = call(self._port, "POST", target, body=asking("hello"))
        return "message" if answer.status == 200 else f"status {answer.status}"

    def _health(self) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(str(self._daemon.socket))
            got = exchange(sock, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        if not got:
            raise ConnectionResetError("no answer")
        return "health"


class Readers:
    """Threads that read the plain files of a mount over and over until the context ends.

    Args:
        mount: where it is.
        threads: how many.
    """

    def __init__(self, mount: Path, *, threads: int = 8) -> None:
        self.reads = 0
        self.wrong: list[str] = []
        """What was read and cannot be true."""
        self._mount = mount
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 20) -> None:
        """Return when so many more rounds have gone well."""
        wanted = self.reads + count
        wait_until(lambda: self.reads >= wanted, "the mount is read")

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                before = (self._mount / ".manifest").read_bytes()
                files = readable_files(self._mount)
            except OSError:
                continue
            if files[".manifest"] == before and not is_true(files):
                self.wrong.append(repr({name: len(data) for name, data in files.items()}))
            self.reads += 1


def is_true(files: Mapping[str, bytes]) -> bool:
    """Say whether the manifest among the plain files tells the truth about the others."""
    told = json.loads(files[".manifest"])["checksums"]
    return all(
        digest == f"sha256:{hashlib.sha256(files[name]).hexdigest()}"
        for name, digest in told.items()
    )


def readable_files(mount: Path) -> dict[str, bytes]:
    """Return the plain files of a mount."""
    return {name: (mount / name).read_bytes() for name in PLAIN_FILES}


def cat(path: Path, **environ: str) -> "subprocess.CompletedProcess[bytes]":
    """Read a file in another process."""
    return subprocess.run(["cat", path], env=environ, capture_output=True, check=False)


def run_as_nobody(
    words: Sequence[str | Path], **environ: str
) -> "subprocess.CompletedProcess[str]":
    """Run a program as an ordinary user who owns nothing."""
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    return subprocess.run(
        [*prefix, *words],
        env={"PATH": os.environ.get("PATH", os.defpath), **environ},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
