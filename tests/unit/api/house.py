# SPDX-License-Identifier: Apache-2.0
"""The daemon's object graph on real parts, asked as Gunicorn would ask it, without a server."""

import json
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cco import paths
from cco.api import services as services_module
from cco.api import wire
from cco.api.app import create_app
from cco.api.services import Services

PID: Final = os.getpid()


@dataclass
class House:
    """A daemon without its server."""

    services: Services
    app: Flask
    local: socket.socket
    """Our end of a connection by the Unix socket."""
    tcp: socket.socket
    """Our end of one by the HTTP port."""
    far_ends: tuple[socket.socket, socket.socket]

    def ask(
        self,
        method: str,
        target: str,
        payload: object | None = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        by_tcp: bool = False,
    ) -> TestResponse:
        """Send one request; its target goes as it is written."""
        sock = self.tcp if by_tcp else self.local
        fields = {"Host": self.host if by_tcp else "localhost", **(headers or {})}
        body = json.dumps(payload).encode() if payload is not None else data
        wire.current.headers = tuple((name.lower(), value) for name, value in fields.items())
        parts = urlsplit(target)
        return self.app.test_client().open(
            parts.path,
            method=method,
            query_string=parts.query,
            data=body,
            headers=fields,
            environ_overrides={"gunicorn.socket": sock, "RAW_URI": target},
        )

    @property
    def host(self) -> str:
        """What a client of the HTTP port puts into ``Host``."""
        return f"127.0.0.1:{self.tcp.getsockname()[1]}"

    def register(self, *, project: str = "/p", upstream: str = "") -> tuple[str, str]:
        """Begin a session of this very process; return its id and token."""
        asked = {"pid": PID, "cwd": "/p/sub", "project": project, "upstream": upstream}
        answer = self.ask("POST", "/api/sessions", asked)
        assert answer.status_code == 201, answer.text
        told = answer.get_json()
        return told["id"], told["token"]

    def mount(self, *, message: str = "", is_serving: bool = True) -> Generator[bytes, None, None]:
        """Let a mount connect and report; return its lines."""
        lines = self.services.mounts.watch(self.local, pid=PID, path="/m")
        next(lines)
        self.services.mounts.note(PID, is_serving=is_serving, message=message, figures={})
        return lines


def error_of(answer: TestResponse) -> tuple[int, str]:
    """Return status and code of an error, having looked at its shape."""
    told = answer.get_json()
    assert set(told) == {"error"}, answer.text
    assert set(told["error"]) == {"code", "message", "hint"}
    assert answer.headers["x-cco-error"] == told["error"]["code"]
    return answer.status_code, told["error"]["code"]


def provider_error_of(answer: TestResponse) -> tuple[int, str, str]:
    """Return status, code and type of an error in the provider's shape."""
    told = answer.get_json()
    assert set(told) == {"type", "error", "request_id"}, answer.text
    assert told["type"] == "error"
    assert set(told["error"]) == {"type", "message"}
    assert told["error"]["message"].startswith("CCO: ")
    assert told["request_id"].startswith("cco_")
    return answer.status_code, answer.headers["x-cco-error"], told["error"]["type"]


@contextmanager
def open_house(
    top: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: str = "",
    environ: Mapping[str, str] | None = None,
    http_url: str | None = "http://127.0.0.1:3000",
) -> Iterator[House]:
    """Build everything in a directory, and let go of it at the end."""
    # It would forbid core dumps to the process of the tests, for good.
    monkeypatch.setattr(services_module, "protect_process", tuple)
    # A third of a second for each session; who needs it makes it when it is needed.
    monkeypatch.setattr(Services, "prepare", lambda *_: None)
    given = {
        "HOME": str(top),
        "CCO_RUNTIME_DIR": str(top / "r"),
        "CCO_CONFIG": str(top / "cco.toml"),
        **(environ or {}),
    }
    (top / "cco.toml").write_text(settings, encoding="utf-8")
    uid = os.getuid()
    with ExitStack() as undo:
        services = Services(given, paths=paths.locate(given, uid=uid), http_url=http_url, uid=uid)
        undo.callback(services.close)
        local, far = socket.socketpair()
        undo.enter_context(local)
        undo.enter_context(far)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            caller = undo.enter_context(socket.create_connection(listener.getsockname()))
            tcp = undo.enter_context(listener.accept()[0])
        yield House(services, create_app(services), local, tcp, (far, caller))
