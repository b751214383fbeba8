# SPDX-License-Identifier: Apache-2.0
"""``cco knowledge``: facts of a project, stored, searched and forgotten by its user."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cco.cli.commands import serving
from cco.cli.output import agrees, count, read_text, show_json, show_table
from cco.cli.run import project_of
from cco.client import Client
from cco.errors import RequestError

ROUTE: Final = "/api/knowledge"
_QUERY_CHARS: Final = 500
"""More than the daemon looks for; a request's first line may have 8 KB."""
_SHOWN_CHARS: Final = 100
"""Of one fact, where several are listed in columns."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run one verb of the command."""
    table: dict[str, Callable[[argparse.Namespace, Client, str], int]] = {
        "store": _store,
        "search": _list,
        "list": _list,
        "stats": _stats,
        "forget": _forget,
    }
    project = str(project_of(Path(arguments.project or ".")))
    return table[arguments.verb](arguments, serving(environ), project)


def _store(arguments: argparse.Namespace, client: Client, project: str) -> int:
    text = arguments.text
    if text == "-":
        try:
            text = read_text()
        except UnicodeError as exc:
            raise RequestError(
                "not-text",
                "what came by standard input is no text",
                hint="Give text in UTF-8",
            ) from exc
    fact = client.call(
        "POST", ROUTE, {"project": project, "type": arguments.type, "text": text.strip()}
    )
    if arguments.json:
        show_json(fact)
    else:
        article = "an" if fact["type"][0] in "ai" else "a"
        print(f"stored as {fact['id']}, {article} {fact['type']} of {fact['project']}")
    return os.EX_OK


def _list(arguments: argparse.Namespace, client: Client, project: str) -> int:
    query = {"project": project, "limit": arguments.limit}
    if arguments.type:
        query["type"] = arguments.type
    if arguments.verb == "search":
        query["q"] = arguments.query[:_QUERY_CHARS]
    facts = client.call("GET", f"{ROUTE}?{urlencode(query)}")["facts"]
    if arguments.json:
        show_json(facts)
    elif facts:
        _show(facts)
    else:
        print("nothing was found" if arguments.verb == "search" else "nothing is known yet")
    return os.EX_OK


def _show(facts: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for fact in facts:
        text = " ".join(fact["text"].split())
        if len(text) > _SHOWN_CHARS:
            text = f"{text[: _SHOWN_CHARS - 1]}…"
        rows.append((fact["id"], fact["type"], fact["time"][:10], fact["source"], text))
    show_table(("id", "type", "since", "from", "what is known"), rows)


def _stats(arguments: argparse.Namespace, client: Client, project: str) -> int:
    told = client.call("GET", f"{ROUTE}/stats?{urlencode({'project': project})}")
    if arguments.json:
        show_json(told)
        return os.EX_OK
    limits = told["limits"]
    print(f"project   {told['project']}{'' if told['enabled'] else ' (switched off)'}")
    print(f"facts     {told['facts']} of {limits['factsPerProject']}")
    print(f"text      {told['textBytes']} of {limits['bytesPerProject']} bytes")
    print(f"sessions  {told['memories']} remembered over a compaction")
    print(f"told      {told['injectTokens']} tokens to a session at most")
    print()
    show_table(("type", "facts"), list(told["byType"].items()))
    return os.EX_OK


def _forget(arguments: argparse.Namespace, client: Client, project: str) -> int:
    ids: list[int] = list(dict.fromkeys(arguments.id))
    if arguments.all == bool(ids):
        raise RequestError(
            "bad-arguments",
            "name the facts to forget, or --all",
            hint="List them: cco knowledge list",
        )
    query = urlencode({"project": project})
    number = client.call("GET", f"{ROUTE}/stats?{query}")["facts"] if arguments.all else len(ids)
    if (number > 1 or arguments.all) and not arguments.yes:
        whose = f" of {project}" if arguments.all else ""
        if not sys.stdin.isatty():
            raise RequestError(
                "not-agreed",
                f"nobody is there to say whether {count(number, 'fact')}{whose} may be forgotten",
                hint="Add --yes to agree",
            )
        if not agrees(f"Forget {count(number, 'fact')}{whose}?"):
            print("nothing was forgotten")
            return 1
    if arguments.all:
        number = client.call("DELETE", f"{ROUTE}?{query}")["forgotten"]
    for one in ids:
        client.call("DELETE", f"{ROUTE}/{one}")
    if arguments.json:
        show_json({"forgotten": number})
    else:
        print(f"{count(number, 'fact')} forgotten")
    return os.EX_OK
