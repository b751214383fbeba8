# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a terminal, and a ledger with rows of a test's making."""

import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

import psutil

from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from cco.ledger.usage import Usage
from tests.daemon import CCO, Daemon
from tests.integration.terminal import Terminal, terminal
from tests.mounting import wait_until

NANO: Final = 10**9
AGENTS: Final = ("main", "Chief Architect", "Go Specialist", "Test Engineer", "unattributed")
MODELS: Final = ("claude-sonnet-4-6", "claude-opus-4-8", "claude-haiku-4-5")


def rows(
    count: int, *, project: str = "/home/alice/shop", spread_s: int = 3000
) -> list[RequestRow]:
    """Return requests of today's last `spread_s` seconds at most, the same ones each time."""
    chance = random.Random(count)
    now = datetime.now().astimezone()
    spread_s = min(spread_s, now.hour * 3600 + now.minute * 60 + now.second)
    now_ns = time.time_ns()
    made = []
    for n in range(count):
        failed, hit = chance.random() < 0.05, chance.random() < 0.1
        usage = Usage(
            input=chance.randrange(2000),
            output=chance.randrange(900),
            cache_read=chance.randrange(20_000),
            cache_write_5m=chance.randrange(900),
        )
        made.append(
            RequestRow(
                request_id=f"cco_{n:024x}",
                started_ns=now_ns - int(spread_s * NANO * (1 - _wave(n / count))),
                session_id=f"{n % 3:016x}",
                client_session=f"{n % 4:08x}-session",
                project=project,
                agent=chance.choice(AGENTS),
                model=chance.choice(MODELS),
                method="POST",
                path="/v1/messages",
                upstream="" if hit else "offline",
                attempts=0 if hit else 1,
                status=529 if failed else 200,
                error="overloaded_error" if failed else "",
                cache="hit" if hit else "miss",
                usage=Usage() if hit or failed else usage,
                cost_nano=0 if hit or failed else chance.randrange(90_000_000),
                saved_nano=chance.randrange(9_000_000) if hit else 0,
                latency_ms=chance.randrange(1, 90_000) / 10,
                ttft_ms=None if failed else chance.randrange(1, 9_000) / 10,
            )
        )
    return made


def _wave(share: float) -> float:
    """Return a moment from 0 to 1 that grows with the share, now quicker and now slower."""
    return share + 0.016 * math.sin(18 * math.pi * share)


def fill(cco: Daemon, made: Sequence[RequestRow]) -> None:
    """Write requests into the ledger of a daemon that does not run."""
    cco.state.mkdir(parents=True, exist_ok=True)
    with Store.open(cco.state / "cco.db") as store:
        done, _ = wait([store.record(row) for row in made], 60)
        assert len(done) == len(made)


@contextmanager
def dashboard(
    cco: Daemon,
    *words: str,
    columns: int = 80,
    rows: int = 24,
    environ: Mapping[str, str] | None = None,
    program: Sequence[str] = (*CCO, "tui"),
) -> Iterator[Terminal]:
    """Run ``cco tui`` in a terminal of a size."""
    more = dict(environ or {})
    given = {
        **cco.environ(),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        **more,
    }
    # What tmux itself says of its terminal would win over ours.
    settings = [f"{name}={value}" for name, value in more.items()]
    command = ["env", f"TERM={given['TERM']}", *settings, *program, *words]
    with terminal(
        command,
        socket=cco.base / "tmux",
        environ=given,
        directory=cco.home,
        columns=columns,
        rows=rows,
    ) as shown:
        yield shown


def dashboard_of(cco: Daemon) -> psutil.Process:
    """Return the process of the dashboard that is open."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            home = process.environ().get("HOME")
            if "cco.tui" in process.cmdline() and home == str(cco.home):
                return process
    raise LookupError("no dashboard is open")


def settled(shown: Terminal, view: int, name: str, text: str) -> list[str]:
    """Go to a view; return what it shows once a text is there."""
    shown.press(str(view))
    shown.wait_for(f"[{view} {name}]")
    shown.wait_for(text)
    wait_until(lambda: "asking" not in "\n".join(shown.visible()), "the daemon has answered")
    return shown.visible()


def line_with(lines: Sequence[str], text: str) -> str:
    """Return the first line that has a text in it."""
    return next(line for line in lines if text in line)


def told(cco: Daemon, target: str) -> Any:
    """Return what the API says."""
    return cco.client.call("GET", target)
