# SPDX-License-Identifier: Apache-2.0
"""Requests to a daemon whose answers do not matter, but for what is recorded of them."""

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.daemon import MODEL, Daemon, call


def message(prompt: str, *, model: str = MODEL, max_tokens: int = 500) -> bytes:
    mark = {"type": "ephemeral"}
    asked = {
        "model": model,
        "max_tokens": max_tokens,
        "system": [{"type": "text", "text": "You are terse. " * 40, "cache_control": mark}],
        "messages": [{"role": "user", "content": prompt}],
    }
    return json.dumps(asked).encode()


def post(served: Daemon, target: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post; the answer may be cut."""
    with contextlib.suppress(ConnectionError, http.client.HTTPException):
        call(served.port, "POST", target, body=body, headers=headers)


def ask(served: Daemon, **query: str) -> dict[str, Any]:
    told = served.client.call("GET", f"/api/project/stats?{urlencode(query)}")
    assert isinstance(told, dict)
    return told
