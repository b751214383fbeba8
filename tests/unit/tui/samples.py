# SPDX-License-Identifier: Apache-2.0
"""What the API would tell, with one good default, and a daemon that says what it is told to."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from cco.tui.feed import Answer, Query
from cco.tui.graph import Charset
from cco.tui.model import Model
from cco.tui.screen import VIEWS, Frame, compose
from cco.tui.table import Look
from cco.tui.text import Line, plain, width

NOW: Final = datetime(2026, 11, 22, 12, 30, 40, tzinfo=UTC)
LOOK: Final = Look(Charset.BRAILLE, NOW, UTC)
ASCII: Final = Look(Charset.ASCII, NOW, UTC)
TOKENS: Final = {
    "input": 1200,
    "output": 340,
    "cacheRead": 9000,
    "cacheWrite5m": 500,
    "cacheWrite1h": 60,
    "total": 11100,
}


def request(**changes: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "requestId": "cco_1",
        "time": "2026-11-22T12:30:00.000Z",
        "session": "3f2a9c01-aaaa",
        "launch": "0011223344556677",
        "project": "/home/alice/shop",
        "agent": "main",
        "model": "claude-sonnet-4-6",
        "upstream": "anthropic",
        "status": 200,
        "error": "",
        "partial": False,
        "cache": "miss",
        "inputTokens": 10,
        "outputTokens": 20,
        "cacheReadTokens": 300,
        "cacheWriteTokens": 4,
        "costUsd": 0.0123,
        "latencyMs": 2345.6,
        "ttftMs": 456.7,
        **changes,
    }


def health(**changes: Any) -> dict[str, Any]:
    return {
        "status": "ok",
        "version": "2026.11.22",
        "startedAt": "2026-11-22T09:10:40.000Z",
        "vfs": {"mounted": True, "path": "/run/user/1000/cco", "status": "OK"},
        "ledger": {"status": "ok"},
        "upstreams": [upstream()],
        "warnings": [],
        **changes,
    }


def upstream(**changes: Any) -> dict[str, Any]:
    return {
        "name": "anthropic",
        "state": "up",
        "family": "anthropic",
        "priority": 0,
        "weight": 1,
        "consecutiveFailures": 0,
        "lastError": None,
        "requests": 12,
        "errors": 0,
        "latencyMs": {"p50": 1234.5, "p95": 9876.5},
        "ttftMs": {"p50": 432.1, "p95": None},
        **changes,
    }


def today(**changes: Any) -> dict[str, Any]:
    return {
        "cost": {"totalUsd": 12.345678, "savedUsd": 0.25},
        "tokens": TOKENS,
        "requests": {"total": 1234, "errors": 0, "partial": 0, "unpriced": 0},
        "cache": {"hits": 12, "misses": 88, "hitRate": 0.12},
        "promptCache": {"hitRate": 0.836, "savedUsd": 3.5},
        **changes,
    }


def activity() -> dict[str, Any]:
    return {
        "project": None,
        "minutes": {
            "from": "2026-11-22T11:31:00.000Z",
            "requests": [n % 7 for n in range(60)],
            "costUsd": [0.01] * 60,
        },
        "hours": {
            "from": "2026-11-21T13:00:00.000Z",
            "requests": [3] * 24,
            "costUsd": [float(n % 5) for n in range(24)],
        },
    }


def limits(**changes: Any) -> dict[str, Any]:
    return {
        "plan": [
            {
                "credential": "13bea3d2ab6e",
                "upstream": "anthropic",
                "values": {
                    "unified-5h-utilization": "0.42",
                    "unified-5h-reset": str(int(NOW.timestamp()) + 7800),
                    "unified-7d-utilization": "0.85",
                    "unified-status": "allowed",
                },
                "toldAt": "2026-11-22T12:27:40.000Z",
            }
        ],
        "budgets": [budget()],
        **changes,
    }


def budget(**changes: Any) -> dict[str, Any]:
    return {
        "scope": "day",
        "project": None,
        "key": "2026-11-22",
        "action": "block",
        "limitUsd": 20.0,
        "spentUsd": 12.345678,
        "reservedUsd": 0.0,
        **changes,
    }


def agents() -> dict[str, Any]:
    def one(name: str, cost: float, errors: int = 0) -> dict[str, Any]:
        figures = {"costUsd": cost, "savedUsd": 0.0, "requests": 40, "errors": errors}
        return {"agent": name, **figures, "tokens": TOKENS}

    return {
        "cost": {"totalUsd": 4.0, "savedUsd": 0.0},
        "requests": {"total": 120, "errors": 2, "partial": 0, "unpriced": 0},
        "byAgent": [one("Chief Architect", 3.0), one("main", 1.0, 2), one("Explore", 0.0)],
    }


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "0011223344556677",
        "pid": 4711,
        "project": "/home/alice/shop",
        "cwd": "/home/alice/shop/api",
        "upstream": None,
        "startedAt": "2026-11-22T12:10:40.000Z",
        "costUsd": 1.25,
        "runningAgents": ["Go Specialist", "Go Specialist", "Test Engineer"],
        **changes,
    }


def machine() -> dict[str, Any]:
    return {
        "cpuPercent": 12.5,
        "memory": {"totalBytes": 16 * 2**30, "availableBytes": 12 * 2**30},
        "daemon": {
            "pid": 100,
            "rssBytes": 70 * 2**20,
            "pssBytes": 50 * 2**20,
            "cpuPercent": 0.2,
            "threads": 12,
            "openFiles": 40,
        },
        "vfs": {"pid": 101, "pssBytes": 9 * 2**20, "rssBytes": 15 * 2**20, "cpuPercent": 0.0},
        "sessions": 3,
    }


def own() -> dict[str, Any]:
    sizes = {"pssBytes": 18 * 2**20, "rssBytes": 27 * 2**20}
    return {"pid": 102, **sizes, "cpuPercent": 0.3, "threads": 2, "openFiles": 9}


def model(view: str = "Overview", **documents: Any) -> Model:
    """Return a dashboard that knows one of everything."""
    made = Model(seen=NOW)
    made.view = [one.name for one in VIEWS].index(view)
    made.documents = {
        "health": health(),
        "limits": limits(),
        "today": today(),
        "activity": activity(),
        "agents": agents(),
        "sessions": {"sessions": [session()]},
        "upstreams": {"upstreams": [upstream()]},
        "machine": machine(),
        "own": own(),
        "recent": True,
        "log": True,
        **documents,
    }
    made.requests = {1: request()}
    made.last_id = 1
    return made


def answered(query: Query, document: Any) -> Answer:
    return Answer(query, document)


def screen(made: Model, columns: int = 80, rows: int = 24, look: Look = LOOK) -> list[str]:
    """Return what is to be seen."""
    return text_of(compose(made, look, columns, rows))


def text_of(frame: Frame) -> list[str]:
    return [plain(line) for line in frame.lines]


def shown(line: Line) -> str:
    return plain(line).rstrip()


def find(frame: Frame, label: str) -> tuple[int, int]:
    """Return column and row of a text on the screen.

    Raises:
        LookupError: it is not there.
    """
    for row, line in enumerate(frame.lines):
        text = plain(line)
        if (at := text.find(label)) >= 0:
            return width(text[:at]), row
    raise LookupError(label)


class Oracle:
    """A daemon at a Unix socket that answers as it is told to; it counts who asked for what."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        """Target and tag of each question."""
        oracle = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                tag = self.headers.get("If-None-Match", "")
                oracle.asked.append((self.path, tag))
                status, document = oracle.answers.get(self.path.partition("?")[0], (404, None))
                if document is None:
                    document = {"error": {"code": "no-route", "message": "no", "hint": None}}
                body = json.dumps(document).encode()
                made = f'"{hash(body)}"'
                if status == 200 and tag == made:
                    status, body = 304, b""
                self.send_response(status)
                self.send_header("ETag", made)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if body:
                    self.wfile.write(body)

            do_POST = do_GET

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = False

    @contextmanager
    def serving(self) -> Iterator["Oracle"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def targets(asked: list[tuple[str, str]]) -> list[str]:
    return [target for target, _ in asked]
