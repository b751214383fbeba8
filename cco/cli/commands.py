# SPDX-License-Identifier: Apache-2.0
"""The commands that ask the daemon one thing and print the answer."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from cco import config, configfile, paths
from cco.cli.output import agrees, count, show_json, show_table, usd
from cco.cli.run import located, project_of
from cco.cli.service import Service
from cco.client import Client
from cco.errors import ConfigError

RIGHT: Final = "agents/leadership/chief-architect.md"
"""A definition that is as it should be, for those who write one."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run one command of this module."""
    table: dict[str, Callable[[argparse.Namespace, Mapping[str, str]], int]] = {
        "agents": _agents,
        "cache": _cache,
        "config": _config,
        "sessions": _sessions,
        "unseal": _unseal,
    }
    return table[arguments.command](arguments, environ)


def serving(environ: Mapping[str, str], *, timeout_s: float = 10.0) -> Client:
    """Return a client of a daemon that serves, started if need be."""
    uid = os.getuid()
    where = paths.locate(environ, uid=uid)
    Service(where, environ=environ, uid=uid).ensure()
    return Client(where.socket, timeout_s=timeout_s, token=environ.get("CCO_SESSION"))


def _agents(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.verb == "check":
        return _check(arguments, environ)
    client = serving(environ)
    if arguments.verb == "show":
        agent = client.call("GET", f"/api/agents/{quote(arguments.name, safe='')}")
        if arguments.json:
            show_json(agent)
        else:
            _show_agent(agent)
        return os.EX_OK
    told = client.call("GET", "/api/agents")
    agents = told["agents"]
    if arguments.json:
        show_json(agents)
        return os.EX_OK
    rows = [(one["slug"], one["model"], one["category"], one["description"]) for one in agents]
    show_table(("agent", "model", "category", "when to use it"), rows)
    print("\nGroups, beside the categories, for: cco run --agents GROUP,…\n")
    groups = [(name, len(names), ", ".join(names)) for name, names in told["groups"].items()]
    show_table(("group", "agents", "who"), groups)
    return os.EX_OK


def _show_agent(agent: Mapping[str, Any]) -> None:
    print(f"{agent['name']} (cco:{agent['slug']}, {agent['category']})")
    print(f"  {agent['description']}")
    print(f"  model         {agent['model']}, as Claude Code resolves it")
    print(f"  for invoke    {agent['modelId']}")
    print(f"  capabilities  {', '.join(agent['capabilities'])}")
    print(f"  tools         {', '.join(agent['tools'])}")
    print(f"  from          {agent['source']}\n")
    print(agent["instructions"])


def _check(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    from cco.catalog import loader

    if arguments.path:
        problems = loader.check(Path(arguments.path))
    else:
        directory = paths.locate(environ, uid=os.getuid()).config
        problems = loader.load(loader.BUILTIN, user=directory).problems
    if arguments.json:
        show_json([dataclasses.asdict(problem) for problem in problems])
    for problem in problems if not arguments.json else []:
        print(f"{problem.file}:{problem.line}: {problem.message}")
    if not arguments.json and any(str(problem.file).endswith(".md") for problem in problems):
        print(f"  See one that is right: {loader.BUILTIN / RIGHT}")
    if not problems and not arguments.json:
        print("no problem found")
    return 1 if problems else os.EX_OK


def _cache(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    client = serving(environ)
    if arguments.verb == "stats":
        told = client.call("GET", "/api/cache/stats")
        if arguments.json:
            show_json(told)
        else:
            _show_cache(told)
        return os.EX_OK
    if not arguments.json and sys.stdin.isatty():
        entries = client.call("GET", "/api/cache/stats?fields=entries")["entries"]
        if not agrees(f"Forget {count(entries, 'answer')}?"):
            print("nothing was forgotten")
            return 1
    cleared = client.call("POST", "/api/cache/clear")
    if arguments.json:
        show_json(cleared)
    else:
        print(
            f"{count(cleared['cleared'], 'answer')} forgotten, {cleared['freedBytes']} bytes freed"
        )
    return os.EX_OK


def _show_cache(told: Mapping[str, Any]) -> None:
    if not told["enabled"]:
        print("off, by [cache] enabled in the settings")
        return
    rate = "" if told["hitRate"] is None else f" ({told['hitRate']:.1%})"
    room = f"{told['sizeBytes']} of {told['maxBytes']} bytes"
    print(f"kept      {count(told['entries'], 'answer')}, {room}")
    print(f"hits      {told['hits']}{rate}")
    print(f"misses    {told['misses']}")
    print(f"joined    {told['coalesced']}, to a request that was under way already")
    print(f"evicted   {told['evictions']}, for want of room")
    print(f"saved     {usd(told['savedUsd'])}")


def _config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    directory = paths.locate(environ, uid=os.getuid()).config
    if arguments.action == "path":
        for path in configfile.files(environ, config=directory):
            print(path if path.exists() else f"{path} (not there)")
        return os.EX_OK
    try:
        loaded = configfile.load(environ, config=directory, project=project_of(Path()))
        if arguments.action == "check":
            _check_groups(loaded, directory)
    except ConfigError as error:
        if arguments.action == "show":
            raise
        print(f"{error.message}\n  {error.hint}" if error.hint else error.message)
        return 1
    if arguments.action == "check":
        print("no problem found")
        return os.EX_OK
    values = flatten(loaded.settings)
    if arguments.json:
        show_json(
            {
                key: {"value": value, "origin": loaded.origins.get(key, "default")}
                for key, value in values.items()
            }
        )
    else:
        rows = [
            (key, _toml(value), loaded.origins.get(key, "default")) for key, value in values.items()
        ]
        show_table(("setting", "value", "from"), rows)
    return os.EX_OK


def _check_groups(loaded: configfile.Loaded, directory: Path) -> None:
    """See that there are such groups, which the settings alone cannot know.

    Raises:
        ConfigError: there is none of a name.
    """
    from cco.catalog import loader

    try:
        loader.load(loader.BUILTIN, user=directory).in_groups(loaded.settings.agents.groups)
    except ConfigError as error:
        raise located(error, loaded) from error


def flatten(settings: config.Settings) -> dict[str, Any]:
    """Return all settings under the dotted keys that `Loaded.origins` uses."""
    found: dict[str, Any] = {}
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        if isinstance(value, Mapping):
            found |= {f"{section.name}.{key}": one for key, one in value.items()}
            continue
        tables = (
            [(f"{section.name}[{nth}]", one) for nth, one in enumerate(value)]
            if isinstance(value, tuple)
            else [(section.name, value)]
        )
        for name, table in tables:
            for key, one in dataclasses.asdict(table).items():
                found[f"{name}.{key}"] = list(one) if isinstance(one, tuple) else one
    return found


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # equal for all that our settings hold


def _sessions(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    sessions = serving(environ).call("GET", "/api/sessions")["sessions"]
    if arguments.json:
        show_json(sessions)
        return os.EX_OK
    if not sessions:
        print("no session is alive")
        return os.EX_OK
    rows = [
        (one["id"], one["pid"], _local(one["startedAt"]), usd(one["costUsd"]), one["project"])
        for one in sessions
    ]
    show_table(("session", "pid", "since", "cost", "project"), rows)
    return os.EX_OK


def _local(time: str) -> str:
    """Return a time of the API as it is on the user's clock."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"


def _unseal(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    show_json(serving(environ).call("GET", f"/api/unseal/{arguments.name}"))
    return os.EX_OK
