# SPDX-License-Identifier: Apache-2.0
"""`cco statusline`: Claude Code's status line, its JSON on standard input, one line out.

Claude Code runs it after every answer and shows nothing where it fails, so whatever comes in, a
line goes out. It starts no daemon, and loads little: `main` knows it before anything else.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from cco import paths
from cco.client import Client
from cco.errors import CcoError

WAIT_S: Final = 1.0
"""Longest silence of the daemon: the next line is due soon."""
MAX_BYTES: Final = 2**20
"""Of the input; Claude Code sends two thousand."""
AWAY: Final = "cco: the daemon is away"
OTHER: Final = "cco: the daemon is another version; run: cco daemon restart"
NEARLY: Final = 0.8
"""Share of a budget, or of the context, that is worth a colour."""

_YELLOW, _RED = "33", "31"


def run(_arguments: object, environ: Mapping[str, str]) -> int:
    """Print the line."""
    is_told = sys.stdin is not None and not sys.stdin.isatty()
    print(line(parse(sys.stdin.buffer.read(MAX_BYTES) if is_told else b""), environ))
    return os.EX_OK


def parse(data: bytes) -> Mapping[str, Any]:
    """Return what Claude Code tells; empty where it is nothing of the kind."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def line(given: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the line for what Claude Code tells."""
    session = str(given.get("session_id") or "")
    target = f"/api/statusline?session={quote(session, safe='', errors='replace')}"
    try:
        where = paths.locate(environ, uid=os.getuid())
        client = Client(where.socket, timeout_s=WAIT_S, token=environ.get("CCO_SESSION"))
        told = client.call("GET", target)
    except CcoError:
        return AWAY
    try:
        return show(given, told, is_plain=bool(environ.get("NO_COLOR")))
    except (LookupError, TypeError):
        return OTHER


def show(given: Mapping[str, Any], told: Mapping[str, Any], *, is_plain: bool) -> str:
    """Return the line.

    Args:
        given: what Claude Code told.
        told: what the daemon did.
        is_plain: whether it must be without colours.
    """
    session, today, budget = told["session"], told["today"], told["budget"]
    parts = [f"cco {_usd(session['costUsd'])} session"] if session else ["cco"]
    parts.append(f"{_usd(today['costUsd'])} today")
    if budget:
        share = budget["spentUsd"] / budget["limitUsd"] if budget["limitUsd"] else 1.0
        words = f"{share:.0%} of {budget['scope']} budget"
        parts.append(_marked(words, share, is_plain=is_plain))
    rate = (session or today)["promptCacheHitRate"]
    if rate is not None:
        parts.append(f"cache {rate:.0%}")
    used = context_share(given)
    if used is not None:
        parts.append(_marked(f"context {used:.0%}", used, is_plain=is_plain))
    return " | ".join(parts)


def context_share(given: Mapping[str, Any]) -> float | None:
    """Return how full the context is, from 0 to 1; None where it is not told."""
    window = given.get("context_window")
    if not isinstance(window, dict):
        return None
    if (percent := _number(window.get("used_percentage"))) is not None:
        return percent / 100
    usage, size = window.get("current_usage"), _number(window.get("context_window_size"))
    if not isinstance(usage, dict) or not size:
        return None
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(_number(usage.get(name)) or 0.0 for name in names) / size


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e12 else None  # type: ignore[operator,arg-type]


def _usd(amount: float) -> str:
    return f"${amount:.2f}"


def _marked(words: str, share: float, *, is_plain: bool) -> str:
    """Return words that stand out the more, the larger the share; not by their colour alone."""
    if share < NEARLY:
        return words
    words += "!" if share < 1 else "!!"
    return words if is_plain else f"\x1b[{_YELLOW if share < 1 else _RED}m{words}\x1b[0m"
