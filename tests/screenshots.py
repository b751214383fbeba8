# SPDX-License-Identifier: Apache-2.0
"""Pictures of the dashboard for the documentation, taken of the real program.

``python -m tests.screenshots DIRECTORY`` runs a daemon of its own with the offline upstream, sends
requests through it, opens the dashboard in a terminal, and writes each view as SVG and as text::

    tui-overview.svg  tui-overview.txt  tui-requests.svg  …  tui-help.svg

Without a directory it makes ``man/dashboard.svg``, which the README shows. The ledger begins with a
working day of no account, at the prices of the list; the figures on the pictures are its sums.
"""

import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.usage import Usage
from tests import svg
from tests.capabilities import ROOT
from tests.daemon import Daemon, daemon
from tests.integration.dashboard import NANO, dashboard, fill
from tests.integration.traffic import post
from tests.mounting import wait_until

SHOWN: Final = ROOT / "man" / "dashboard.svg"
COLUMNS: Final = 100
ROWS: Final = 30
SETTINGS: Final = """\
[[budget]]
usd = 80.0
[[upstream]]
name = "spare"
base_url = "http://127.0.0.1:9"
priority = 1
"""
SHOTS: Final = (
    ("overview", "1", "prompt cache"),
    ("requests", "2", "known"),
    ("agents", "3", "in all"),
    ("sessions", "4", "alive"),
    ("upstreams", "5", "closed"),
    ("log", "6", "serving"),
    ("machine", "7", "dashboard"),
    ("help", "?", "the view of that number"),
)
"""Name, key and a text that is there when the view is whole."""

HOUR: Final = 16
"""Of the day, when pictures are taken, wherever and whenever that is."""
RATES: Final = (
    *(0.4, 0.3, 0.2, 0.2, 0.2, 0.3, 0.5, 0.9, 1.8, 2.9, 3.3, 2.6),
    *(1.1, 1.9, 3.1, 3.6, 3.2, 2.3, 1.4, 1.0, 1.3, 1.1, 0.8, 0.6),
)
"""Requests a minute, by the hour of the day."""
AGENTS: Final = {
    "main": (38, "claude-sonnet-4-6"),
    "Go Specialist": (16, "claude-sonnet-4-6"),
    "Test Engineer": (15, "claude-sonnet-4-6"),
    "Code Reviewer": (10, "claude-sonnet-4-6"),
    "Chief Architect": (9, "claude-opus-4-8"),
    "Security Auditor": (7, "claude-opus-4-8"),
    "Technical Writer": (5, "claude-haiku-4-5"),
}
"""How often each is asked, and which model it has."""
PROJECTS: Final = ("/home/alice/shop", "/home/alice/shop", "/home/alice/ledger-import")


def main(directory: Path, shots: Sequence[tuple[str, str, str]] = SHOTS) -> None:
    """Take pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    zone = zone_of(datetime.now(UTC))
    with daemon() as cco:
        cco.configure(SETTINGS)
        fill(cco, list(working_day(time.time_ns())))
        done = cco.run("daemon", "start", TZ=zone)
        assert done.returncode == 0, done.stderr
        _work(cco)
        take(cco, directory, shots, zone)


def zone_of(now: datetime) -> str:
    """Return a time zone in which it is `HOUR`, in the form of POSIX, which counts westwards."""
    west = (now.hour - HOUR + 11) % 24 - 11
    return f"DAY{west:+d}"


def working_day(now_ns: int) -> Iterator[RequestRow]:
    """Yield the requests of the last 24 hours; those that failed are hours ago."""
    chance, prices = random.Random(24), Prices.load()
    names, weights = list(AGENTS), [weight for weight, _ in AGENTS.values()]
    sessions = [f"{chance.getrandbits(32):08x}-c0de-4cc0" for _ in PROJECTS]
    for ago in range(24 * 60, 0, -1):
        rate = RATES[(HOUR - ago // 60) % 24] * (1.1 + 0.6 * math.sin(ago / 5) * math.cos(ago / 11))
        for _ in range(int(rate + chance.random())):
            agent = chance.choices(names, weights)[0]
            place = chance.randrange(len(PROJECTS))
            row = RequestRow(
                request_id=f"cco_{chance.getrandbits(96):024x}",
                started_ns=now_ns - int((ago - chance.random() * 0.9) * 60 * NANO),
                session_id=f"{place:016x}",
                client_session=sessions[place],
                project=PROJECTS[place],
                agent=agent,
                model=AGENTS[agent][1],
                method="POST",
                path="/v1/messages",
                **_outcome(chance, prices, AGENTS[agent][1], may_fail=ago > 120),
            )
            yield row


def _outcome(
    chance: random.Random, prices: Prices, model: str, *, may_fail: bool
) -> Mapping[str, Any]:
    """Return the members of a row that say what became of a request."""
    usage = Usage(
        input=chance.randrange(20, 900),
        output=chance.randrange(60, 1400),
        cache_read=chance.randrange(6_000, 48_000),
        cache_write_5m=chance.randrange(200, 3_200),
    )
    cost_nano = prices.cost(model, usage)
    if chance.random() < 0.11:  # asked before
        took = chance.uniform(0.4, 2.0)
        return {"status": 200, "cache": "hit", "saved_nano": cost_nano} | _took(took, took)
    asked = {"upstream": "offline", "attempts": 1, "cache": "miss"}
    if may_fail and chance.random() < 0.006:
        return {**asked, "status": 529, "error": "overloaded_error", "latency_ms": 310.0}
    first_ms = chance.uniform(420, 1300)
    return {
        **asked,
        **_took(first_ms + usage.output * chance.uniform(11, 16), first_ms),
        "status": 200,
        "stream": True,
        "usage": usage,
        "cost_nano": cost_nano,
        "prompt_saved_nano": prices.prompt_saving(model, usage),
    }


def _took(latency_ms: float, ttft_ms: float) -> dict[str, Any]:
    return {"latency_ms": latency_ms, "ttft_ms": ttft_ms}


def _work(cco: Daemon) -> None:
    """Have two sessions, with agents that run, and requests by them."""
    chance = random.Random(2)
    for project, agent in zip(PROJECTS[1:], ("go-specialist", "code-reviewer"), strict=True):
        session = cco.launch(project=project)
        client = {"x-claude-code-session-id": f"{chance.getrandbits(32):08x}-c0de-4cc0"}
        run = {"session_id": client["x-claude-code-session-id"], "agent_id": f"run-{agent}"}
        event = {**run, "agent_type": f"cco:{agent}"}
        cco.client.call("POST", "/api/hooks/SubagentStart", event)
        headers = {**client, "x-claude-code-agent-id": run["agent_id"]}
        for fields in (client, client, headers):
            post(cco, f"/s/{session.id}/v1/messages", _asking(chance), fields)


def _asking(chance: random.Random) -> bytes:
    """Return a question, with a context that the provider keeps, whose answer takes a while."""
    words = "Context. " * chance.randrange(4000, 9000)
    kept = {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}
    manner = f"silent {chance.uniform(0.4, 0.9):.2f}\noffline: slow 0.02"
    prompt = f"offline: text {chance.randrange(900, 3000)}\noffline: {manner}"
    asked = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 2000,
        "stream": True,
        "system": [kept],
        "messages": [{"role": "user", "content": prompt}],
    }
    return json.dumps(asked).encode()


def take(cco: Daemon, directory: Path, shots: Sequence[tuple[str, str, str]], zone: str) -> None:
    """Take a picture of each view of a daemon that runs."""
    with dashboard(cco, columns=COLUMNS, rows=ROWS, environ={"TZ": zone}) as shown:
        shown.wait_for("up ")
        for name, key, text in shots:
            shown.press(key)
            shown.wait_for(text)
            wait_until(lambda: "asking" not in shown.screen(), "the daemon has answered")
            lines = shown.visible(styled=True)
            picture = svg.draw(lines, title=f"cco tui: {name}")
            (directory / f"tui-{name}.svg").write_text(picture, encoding="utf-8")
            text_of = "\n".join(line.rstrip() for line in shown.visible())
            (directory / f"tui-{name}.txt").write_text(text_of + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            main(Path(place), SHOTS[:1])
            shutil.copy(Path(place) / "tui-overview.svg", SHOWN)
