# SPDX-License-Identifier: Apache-2.0
"""Pictures of the dashboard for the documentation, taken of the real program.

``python -m tests.screenshots DIRECTORY`` runs a daemon of its own with the offline upstream, sends
requests through it, opens the dashboard in a terminal, and writes each view as SVG and as text::

    tui-overview.svg  tui-overview.txt  tui-requests.svg  …  tui-help.svg

The ledger begins with requests of no account; the figures on the pictures are sums of those.
"""

import sys
from pathlib import Path
from typing import Final

from tests import svg
from tests.daemon import Daemon, asking, daemon
from tests.integration.dashboard import dashboard, fill, rows
from tests.integration.traffic import post
from tests.mounting import wait_until

COLUMNS: Final = 100
ROWS: Final = 30
SETTINGS: Final = """\
[[budget]]
usd = 20.0
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


def main(directory: Path) -> None:
    """Take all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with daemon() as cco:
        cco.configure(SETTINGS)
        fill(cco, rows(900, spread_s=6 * 3600))
        cco.start()
        _work(cco)
        take(cco, directory)


def _work(cco: Daemon) -> None:
    """Have two sessions, with agents that run, and requests by them."""
    for nth in range(2):
        session = cco.launch()
        client = {"x-claude-code-session-id": f"{nth}e5c0a11-session"}
        agent = {"session_id": client["x-claude-code-session-id"], "agent_id": f"run-{nth}"}
        cco.client.call(
            "POST", "/api/hooks/SubagentStart", {**agent, "agent_type": "cco:chief-architect"}
        )
        headers = {**client, "x-claude-code-agent-id": agent["agent_id"]}
        for fields in (client, headers):
            post(cco, f"/s/{session.id}/v1/messages", asking("offline: text 900"), fields)


def take(cco: Daemon, directory: Path) -> None:
    """Take a picture of each view of a daemon that runs."""
    with dashboard(cco, columns=COLUMNS, rows=ROWS) as shown:
        shown.wait_for("up ")
        for name, key, text in SHOTS:
            shown.press(key)
            shown.wait_for(text)
            wait_until(lambda: "asking" not in shown.screen(), "the daemon has answered")
            lines = shown.visible(styled=True)
            picture = svg.draw(lines, title=f"cco tui: {name}")
            (directory / f"tui-{name}.svg").write_text(picture, encoding="utf-8")
            text_of = "\n".join(line.rstrip() for line in shown.visible())
            (directory / f"tui-{name}.txt").write_text(text_of + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
