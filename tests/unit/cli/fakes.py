# SPDX-License-Identifier: Apache-2.0
"""What the command line meets: programs called `claude`, and a daemon that answers by a table."""

import json
import os
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from tests.capabilities import ROOT

VERSION: Final = "2.1.197"
DEADLINE_S: Final = 60
CCO: Final = (sys.executable, "-m", "cco")

DUMP: Final = """\
{{ for word in "$0" "$@"; do printf '%s\\0' "$word"; done; }} > {out}.argv
env -0 > {out}.environ
cat > {out}.stdin
grep -i '^SigIgn' /proc/$$/status > {out}.signals
exit {status}
"""


def make_claude(path: Path, *, version: str = f"{VERSION} (Claude Code)", script: str = "") -> Path:
    """Make a program that tells a version, and otherwise does what `script` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = --version ]; then\n'
        f"    echo >> {path}.asked\n"
        f"    echo {shlex.quote(version)}\n"
        f"    exit\n"
        f"fi\n{script}\n"
    )
    path.chmod(0o755)
    return path


def make_noting_claude(path: Path, *, status: int = 0) -> Path:
    """Make one that notes how it was started; see `Noted`."""
    return make_claude(path, script=DUMP.format(out=path, status=status))


@dataclass(frozen=True)
class Noted:
    """How a program made by `make_noting_claude` was started."""

    argv: list[str]
    environ: dict[str, str]
    stdin: str
    ignored_signals: int
    """A bit for each."""

    @classmethod
    def of(cls, path: Path) -> "Noted":
        def read(kind: str) -> str:
            return Path(f"{path}.{kind}").read_text()

        pairs = (line.split("=", 1) for line in read("environ").split("\0") if line)
        return cls(
            argv=read("argv").split("\0")[:-1],
            environ={name: value for name, value in pairs},  # noqa: C416 - mypy wants the pair
            stdin=read("stdin"),
            ignored_signals=int(read("signals").split()[1], 16),
        )


def health(mount: Path | str = "/nowhere", *, status: str = "ok", **changes: Any) -> dict[str, Any]:
    """Return the answer of ``GET /health``, good unless told otherwise."""
    return {
        "status": status,
        "version": "0.1.0",
        "uptimeSeconds": 1.5,
        "vfs": {"mounted": True, "path": str(mount), "status": "OK"},
        "ledger": {"status": "ok"},
        "upstreams": [{"name": "anthropic", "state": "up"}],
        "http": {"url": "http://127.0.0.1:3000"},
        "warnings": [],
        **changes,
    }


@dataclass
class StandIn:
    """A daemon that answers by a table."""

    path: Path
    answers: dict[str, Any] = field(default_factory=dict)
    """Payload for ``METHOD /path?query``, or for any query where there is none, with a status in
    front as a pair, or what makes one anew each time; bytes go as they are. Others are 404."""
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    """Method and target, headers in lower case, payload."""


@contextmanager
def standing_in(path: Path, answers: Mapping[str, Any]) -> Iterator[StandIn]:
    """Serve a table at a Unix socket."""
    found = StandIn(path, dict(answers))

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            super().setup()
            self.client_address = ("local", 0)

        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            asked = f"{self.command} {self.path}"
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.received.append((asked, headers, json.loads(body) if body else None))
            missing = (404, {"error": {"code": "unknown-route", "message": "no such route"}})
            told = found.answers.get(asked, found.answers.get(asked.partition("?")[0], missing))
            told = told() if callable(told) else told
            status, payload = told if isinstance(told, tuple) else (200, told)
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = False

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def run_cco(
    *argv: str, environ: Mapping[str, str], cwd: Path, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [*CCO, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
