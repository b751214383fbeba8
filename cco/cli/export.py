# SPDX-License-Identifier: Apache-2.0
"""`cco export`: figures, requests or knowledge for another program, as CSV or JSON.

A file is there when all of it is, or not at all.
"""

import argparse
import csv
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import urlencode

from cco.cli.commands import serving
from cco.cli.output import agrees
from cco.cli.progress import Progress
from cco.cli.run import project_of
from cco.cli.stats import parse_since
from cco.client import Client
from cco.errors import RequestError

PAGE: Final = 1000
"""Requests that are asked for at once, and facts that a project has at most."""
GROUPS: Final = ("day", "model", "agent", "session")
_FORMULA: Final = re.compile(r"[=+\-@\t\r\n]")
"""Beginnings of a text that a spreadsheet would calculate."""

Row = dict[str, Any]


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Write what is asked for."""
    where = Path(arguments.output) if arguments.output != "-" else None
    if where is not None:
        _ask_first(where)
    client = serving(environ)
    with _written(where) as out:
        if arguments.what == "stats":
            _write_stats(client, arguments, out)
        else:
            rows = _requests if arguments.what == "requests" else _knowledge
            _write_rows(rows(client, arguments), out, as_csv=arguments.format == "csv")
    return os.EX_OK


def _ask_first(where: Path) -> None:
    """Let nothing be lost that is there.

    Raises:
        RequestError: there is something, and nobody who says that it may go.
    """
    if not where.is_file() and not where.is_dir():
        return
    is_asked = where.is_file() and sys.stdin.isatty() and sys.stdout.isatty()
    if not (is_asked and agrees(f"Write over {where}?")):
        raise RequestError(
            "file-exists", f"{where} is there already", hint="Name another file, or remove it first"
        )


@contextmanager
def _written(where: Path | None) -> Iterator[TextIO]:
    """Yield what to write to; a file takes its name when all is written.

    Raises:
        RequestError: it cannot be written.
    """
    if where is None:
        yield sys.stdout
        return
    try:
        if where.exists() and not where.is_file():  # a pipe, a device
            with where.open("w", encoding="utf-8", newline="") as out:
                yield out
            return
        number, name = tempfile.mkstemp(prefix=f".{where.name[:64]}.", dir=where.parent)
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="") as out:
                yield out
                out.flush()
                os.fsync(number)
            Path(name).replace(where)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as exc:
        raise RequestError(
            "file-unwritable",
            f"{where} cannot be written ({exc.strerror or exc})",
            hint="Look at the directory's permissions and at the room on its disk",
        ) from exc


def _query(arguments: argparse.Namespace, **more: Any) -> str:
    if arguments.project:
        more["project"] = str(project_of(Path(arguments.project)))
    if arguments.since:
        more["since"] = parse_since(arguments.since, datetime.now().astimezone())
    return urlencode(more)


def _requests(client: Client, arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield all requests, page by page."""
    is_shown = arguments.output == "-" and sys.stdout.isatty()  # then the rows are to be seen
    after: int | None = 0
    with closing(Progress("requests", is_watched=sys.stderr.isatty() and not is_shown)) as progress:
        while after is not None:
            query = _query(arguments, after=after, limit=PAGE)
            page = client.call("GET", f"/api/requests?{query}")
            if after == 0:
                progress.total = page["total"]
            yield from page["requests"]
            progress.step(len(page["requests"]))
            after = page["next"]


def _knowledge(client: Client, arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield what is known of a project."""
    query = {"project": str(project_of(Path(arguments.project or "."))), "limit": PAGE}
    yield from client.call("GET", f"/api/knowledge?{urlencode(query)}")["facts"]


def _write_stats(client: Client, arguments: argparse.Namespace, out: TextIO) -> None:
    members = ["project", "since", "until", "cost", "tokens", "requests", "cache", "promptCache"]
    fields = ",".join([*members, *(f"by{one.capitalize()}" for one in GROUPS)])
    query = _query(arguments, project="", fields=fields)
    told = client.call("GET", f"/api/project/stats?{query}")
    if arguments.format == "csv":
        _write_csv(_flat(told), out)
    else:
        out.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _flat(told: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the groups of statistics as rows of one table."""
    for one in GROUPS:
        for group in told[f"by{one.capitalize()}"]:
            tokens = {f"{name}Tokens": count for name, count in group["tokens"].items()}
            figures = {k: v for k, v in group.items() if k not in (one, "tokens")}
            yield {"by": one, "name": group[one], **figures, **tokens}


def _write_rows(rows: Iterator[Row], out: TextIO, *, as_csv: bool) -> None:
    if as_csv:
        _write_csv(rows, out)
        return
    separator = "["
    for row in rows:
        out.write(f"{separator}\n  {json.dumps(row, ensure_ascii=False)}")
        separator = ","
    out.write("[]\n" if separator == "[" else "\n]\n")


def _write_csv(rows: Iterator[Row], out: TextIO) -> None:
    """Write a table, RFC 4180; of no rows nothing is known, so nothing is written."""
    first = next(rows, None)
    if first is None:
        return
    table = csv.writer(out)
    table.writerow(first)
    table.writerows(_cells(row.values()) for row in chain([first], rows))


def _cells(values: Iterable[object]) -> list[object]:
    return [_cell(value) for value in values]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()  # as in JSON
    return _harmless(value) if isinstance(value, str) else value


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe says that it is one."""
    return f"'{text}" if _FORMULA.match(text) else text
