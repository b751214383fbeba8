# SPDX-License-Identifier: Apache-2.0
"""`cco invoke`: one agent, one answer; on a terminal it is shown as it comes."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cco.cli.commands import serving
from cco.cli.output import harmless, read_text, show_json, usd
from cco.cli.run import project_of
from cco.client import BodyReader, Client, Reply, error_from
from cco.errors import CcoError, RequestError, Unavailable, UpstreamError

TARGET: Final = "/api/agent/invoke"
WAIT_S: Final = 3600.0
"""Longest silence of the daemon; its own limit is the one that counts."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask the agent, print what it says."""
    asked = {
        "agent": arguments.agent,
        "task": arguments.task,
        "context": _context(arguments.context) if arguments.context else "",
        "project": str(project_of(Path())),
    }
    headers = {"x-api-key": key} if (key := environ.get("ANTHROPIC_API_KEY")) else {}
    if arguments.no_cache:
        headers["cache-control"] = "no-cache"
    client = serving(environ, timeout_s=WAIT_S)
    if sys.stdout.isatty() and not arguments.json:
        answer = _stream(client, {**asked, "stream": True}, headers)
    else:
        answer = client.call("POST", TARGET, asked, headers=headers)
        if arguments.json:
            show_json(answer)
            return os.EX_OK
        print(answer["response"])
    if sys.stderr.isatty():
        print(f"cco: {_summary(answer)}", file=sys.stderr)
    return os.EX_OK


def _context(name: str) -> str:
    """Return a file's text, standard input's for ``-``.

    Raises:
        RequestError: it cannot be read, or is no text.
    """
    try:
        return read_text() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise RequestError(
            "context-unreadable",
            f"{'standard input' if name == '-' else name} cannot be read as text ({why})",
            hint="Give a text file in UTF-8, or - for standard input",
        ) from exc


def _stream(
    client: Client, asked: Mapping[str, Any], headers: Mapping[str, str]
) -> Mapping[str, Any]:
    """Show an answer as it comes; return all that is told of it in the end.

    Raises:
        CcoError: there is none, or it broke off.
    """
    body = json.dumps(asked).encode()
    shown = "\n"
    with client.stream("POST", TARGET, body=body, headers=headers) as (status, got, reader):
        if status >= 400:
            rest = b"".join(iter(lambda: reader.read(65536), b""))
            raise error_from(Reply(status, got, rest))
        try:
            for name, told in _events(reader):
                if name == "delta":
                    shown = harmless(told["text"], lines=True) or shown
                    print(shown, end="", flush=True)
                elif name == "result":
                    return dict(told)
                elif name == "error":
                    raise _broken(told["error"])
        finally:
            print(end="" if shown.endswith("\n") else "\n")
    raise Unavailable(
        "daemon-unavailable", "the daemon's answer broke off", hint="See: cco daemon logs"
    )


def _events(reader: BodyReader) -> Iterator[tuple[str, Any]]:
    """Yield names and data of the daemon's events, which are two lines and an empty one each."""
    name = ""
    while line := reader.readline().decode():
        field, _, value = line.rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _broken(told: Mapping[str, Any]) -> CcoError:
    """Return the error of an answer that had begun; it is the provider's."""
    return UpstreamError(told["code"], told["message"], hint=told["hint"])


def _summary(answer: Mapping[str, Any]) -> str:
    parts = [
        answer["agent"] + (f" ({answer['reason']})" if answer.get("reason") else ""),
        answer["model"],
        "answered before, at no cost" if answer["cached"] else usd(answer["costUsd"]),
        f"{answer['usage']['total']} tokens",
        f"{answer['latencyMs'] / 1000:.1f} s",
    ]
    if answer["stopReason"] == "max_tokens":
        parts.append("cut short by its limit of length")
    return ", ".join(parts)
