# SPDX-License-Identifier: Apache-2.0
"""`cco daemon …`: start, stop, look at and read the log of the background service."""

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cco import paths, units
from cco.cli import enable
from cco.cli.background import SUPERVISE
from cco.cli.output import show_json
from cco.cli.service import Service
from cco.cli.stats import parse_since
from cco.errors import Denied, NotFound, Unavailable

JOURNALS: Final = (Path("/var/log/journal"), Path("/run/log/journal"))
"""Have a directory for each machine."""

RUNNING: Final = 0
AILING: Final = 1
STOPPED: Final = 3


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run one `cco daemon` command."""
    uid = os.getuid()
    service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    verbs: dict[str, Callable[[], int]] = {
        "start": lambda: _start(service),
        "stop": lambda: _stop(service),
        "restart": lambda: _restart(service),
        "reload": lambda: _reload(service),
        "status": lambda: _status(service, as_json=arguments.json),
        "logs": lambda: _logs(service, arguments),
        "run": lambda: _run(environ),
        "enable": lambda: enable.run(service, arguments, uid=uid),
        "disable": lambda: enable.run(service, arguments, uid=uid),
    }
    return verbs[arguments.verb]()


def _start(service: Service) -> int:
    word = "started" if service.start() else "already running"
    if other := service.other():
        print(f"{word}: it serves {other}")
        return os.EX_OK
    health = service.wait_until_ok()
    print(f"{word}: {health['http']['url'] or 'no HTTP listener'}")
    _show_warnings(health)
    return os.EX_OK


def _stop(service: Service) -> int:
    print("stopped" if service.stop() else "not running")
    return os.EX_OK


def _restart(service: Service) -> int:
    service.restart()
    print("restarted")
    if not service.other():
        _show_warnings(service.wait_until_ok())
    return os.EX_OK


def _reload(service: Service) -> int:
    service.reload()
    print("reloading; see: cco daemon status")
    return os.EX_OK


def _run(environ: Mapping[str, str]) -> int:
    """Become the supervisor, so that signals and exit status are its own."""
    os.execve(sys.executable, [sys.executable, *SUPERVISE], dict(environ))


def _status(service: Service, *, as_json: bool) -> int:
    status, told = judge(service)
    if as_json:
        show_json(told)
        return status
    word = {RUNNING: "running", AILING: "ailing", STOPPED: "stopped"}[status]
    print(f"CCO is {word}")
    if told["serves"]:
        print(f"  serves   {told['serves']}, so only systemd can tell how it is")
    for name, state in told["units"].items():
        print(f"  {name}: {state}")
    if is_silent(told):
        print("  the daemon does not answer; see: cco daemon logs, or: cco daemon restart")
    if health := told["health"]:
        print(f"  version  {health['version']}, up {health['uptimeSeconds']:.0f} s")
        print(f"  gateway  {health['http']['url'] or 'no HTTP listener'}")
        print(f"  mount    {health['vfs']['path']}: {health['vfs']['status']}")
        _show_warnings(health)
    return status


def _show_warnings(health: dict[str, Any]) -> None:
    for warning in health["warnings"]:
        print(f"  warning  {warning['message']}")
        if warning["hint"]:
            print(f"           {warning['hint']}")


def judge(service: Service) -> tuple[int, dict[str, Any]]:
    """Return exit status and facts; systemd's word counts where it runs the daemon."""
    manager = service.manager()
    states = manager.states() if manager else {}
    is_down = manager is not None and states.get("cco.service") in ("inactive", "failed")
    supervisor, other = service.supervisor(), service.other()
    health = None if other or (is_down and supervisor is None) else service.health()
    has_failed = "failed" in states.values()
    if other and not has_failed:
        status = STOPPED if is_down else RUNNING
    elif health is None:
        is_up = supervisor is not None or (manager is not None and not is_down)
        status = AILING if has_failed or is_up else STOPPED
    else:
        status = AILING if has_failed or health["status"] != "ok" else RUNNING
    return status, {
        "status": {RUNNING: "running", AILING: "ailing", STOPPED: "stopped"}[status],
        "units": states,
        "serves": other or None,
        "supervisorPid": supervisor,
        "socket": str(service.paths.socket),
        "health": health,
    }


def is_silent(told: Mapping[str, Any]) -> bool:
    """Say whether a daemon is there and does not answer, by what `judge` has told."""
    is_there = told["supervisorPid"] is not None or told["units"].get(units.SERVICE) == "active"
    return is_there and not told["serves"] and told["health"] is None


def _logs(service: Service, arguments: argparse.Namespace) -> int:
    """Show the journal by becoming `journalctl`, or the log file where there is no journal."""
    manager = service.manager()
    since = _moment(arguments.since) if arguments.since else ""
    if manager is not None:
        _check_journal()
        words = ["--lines", str(arguments.lines)]
        words += ["--follow"] if arguments.follow else []
        words += ["--since", f"{since.replace('T', ' ')} UTC"] if since else []
        command = manager.journal_command(*words)
        try:
            os.execvp(command[0], command)
        except OSError as exc:
            raise Unavailable(
                "no-journal", "journalctl is not installed", hint="Install systemd's journal"
            ) from exc
    file = service.paths.log_file
    if not file.exists():
        raise NotFound("no-log", f"there is no log at {file}", hint="Start it: cco daemon start")
    with file.open(encoding="utf-8", errors="replace") as lines:
        shown = deque(_from(lines, since), maxlen=arguments.lines)
    if arguments.follow:
        command = ["tail", "-F", "-n", str(len(shown)), str(file)]
        os.execvp(command[0], command)
    for line in shown:
        print(line, end="")
    return os.EX_OK


def _check_journal() -> None:
    """Check that this login may read the journal: of one that it may not, `journalctl` is silent.

    Raises:
        Denied: it lies in memory only, where no user has a part of their own.
    """
    found = [one for place in JOURNALS for one in place.glob("*")]
    if found and not any(os.access(one, os.R_OK | os.X_OK) for one in found):
        raise Denied(
            "journal-closed",
            "the journal is in memory only, and so for root and the group systemd-journal",
            hint="Run: sudo journalctl -t cco; to keep it: sudo mkdir /var/log/journal,"
            " sudo systemctl restart systemd-journald",
        )


def _from(lines: Iterable[str], since: str) -> Iterator[str]:
    """Yield the lines from a time on; one without a time belongs to the one before it."""
    is_late = not since
    for line in lines:
        if line[:4].isdigit():
            is_late = line >= since
        if is_late:
            yield line


def _moment(given: str) -> str:
    """Return a time as our log lines begin with it, so that texts compare as times."""
    return parse_since(given, datetime.now().astimezone())[: len("2026-11-22T10:00:00")]
