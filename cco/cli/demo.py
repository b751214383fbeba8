# SPDX-License-Identifier: Apache-2.0
"""`cco demo`: the main job on real parts, with no account and no network.

A daemon, a mount and a ledger of its own in a temporary directory, beside whatever else runs here,
and the built-in offline upstream in place of a model provider. Everything that is printed was read
from those parts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from cco import paths
from cco.cli import claude
from cco.cli.service import Service
from cco.client import Client
from cco.errors import LaunchError
from cco.offline.server import OfflineUpstream, Recorded

AGENT: Final = "chief-architect"
TASK: Final = "Design authentication flow"
PROMPT: Final = f"offline: agent cco:{AGENT} {TASK}"
"""What Claude Code is asked; the offline upstream reads it as an order to start this agent."""
MODEL: Final = "claude-sonnet-4-6"
TEST_KEY: Final = "sk-ant-test-cco-demo"
CLAUDE_S: Final = 120
CCO: Final = (sys.executable, "-I", "-m", "cco")

SETTINGS: Final = """\
budget = []
[server]
port = 0
[vfs]
mount = ""
[ledger]
database = ""
prices = ""
[[upstream]]
name = "offline"
base_url = "{url}"
[models]
opus = "claude-opus-4-8"
sonnet = "claude-sonnet-4-6"
haiku = "claude-haiku-4-5-20251001"
"""
"""Nothing of the machine's own settings counts; the models are some whose prices Claude Code's own
table and ours agree on."""

CLAUDE_STATE: Final = {"hasCompletedOnboarding": True, "theme": "dark"}


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show everything at work; return 0 if all of it did."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="cco-demo-")))
        upstream = undo.enter_context(OfflineUpstream())
        _say("upstream", f"{upstream.url} (offline: no model is asked)")
        given = _environment(environ, home, upstream.url)
        service = undo.enter_context(_daemon(given))
        client = Client(service.paths.socket)
        health = service.wait_until_ok()
        _say("daemon", f"{health['version']} at {health['http']['url']}")
        _show_mount(Path(health["vfs"]["path"]))
        _show_invocation(client)
        is_good = _show_claude(given, home, client, upstream, arguments.prompt or PROMPT)
        _show_bill(client)
    _say("stopped", "daemon, mount and upstream are gone")
    return os.EX_OK if is_good else 1


def _environment(environ: Mapping[str, str], home: Path, url: str) -> dict[str, str]:
    """Return the environment of a demo that touches nothing of the user's."""
    ours = ("CCO_", "ANTHROPIC_", "CLAUDE", "ORCHESTRATOR_", "XDG_", "STATE_DIRECTORY")
    kept = {name: value for name, value in environ.items() if not name.startswith(ours)}
    settings = home / "cco.toml"
    settings.write_text(SETTINGS.format(url=url), encoding="utf-8")
    (home / ".claude.json").write_text(json.dumps(CLAUDE_STATE), encoding="utf-8")
    (home / "project").mkdir()
    kept |= {
        "HOME": str(home),
        "CCO_RUNTIME_DIR": str(home / "run"),
        "XDG_STATE_HOME": str(home / "state"),
        "CCO_CONFIG": str(settings),
        "ANTHROPIC_API_KEY": TEST_KEY,
        # A demo without a network must not look for one.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    if "CCO_CLAUDE" in environ:
        kept["CCO_CLAUDE"] = environ["CCO_CLAUDE"]
    return kept


@contextmanager
def _daemon(environ: Mapping[str, str]) -> Iterator[Service]:
    uid = os.getuid()
    service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def _show_mount(mount: Path) -> None:
    manifest = json.loads((mount / ".manifest").read_text(encoding="utf-8"))
    names = ", ".join(sorted(path.name for path in mount.iterdir()))
    _say("mount", f"{mount}: {names}")
    health = (mount / "health").read_text(encoding="utf-8").strip()
    _say("health", f"{health}, {manifest['agentCount']} agents")


def _show_invocation(client: Client) -> None:
    asked = {"agent": AGENT, "task": TASK}
    answer = client.call("POST", "/api/agent/invoke", asked, headers={"x-api-key": TEST_KEY})
    _say("invoke", f"{answer['agent']} on {answer['model']}, {_usd(answer['costUsd'])}")
    print(f"             {answer['response'][:160]}")


def _show_claude(
    environ: Mapping[str, str],
    home: Path,
    client: Client,
    upstream: OfflineUpstream,
    prompt: str,
) -> bool:
    """Launch the real Claude Code, if it is here; return whether all was as it should be."""
    try:
        path = claude.find(environ)
    except LaunchError as error:
        _say("claude", f"{error.message}; {error.hint}")
        return True
    before = len(upstream.requests)
    _say("claude", f"{path} -p '{prompt}'")
    done = subprocess.run(
        [*CCO, "run", "--", "-p", prompt, "--model", MODEL, "--output-format", "json"],
        env=dict(environ),
        cwd=home / "project",
        capture_output=True,
        text=True,
        timeout=CLAUDE_S,
        check=False,
    )
    if done.returncode != 0:
        _say("claude", f"exit status {done.returncode}: {done.stderr.strip()[:400]}")
        return False
    told = json.loads(done.stdout)
    print(f"             {str(told['result'])[:160]}")
    requests = upstream.requests[before:]
    return all(
        [
            _judge_agents(client, requests),
            _judge_cost(client, session=told["session_id"], told_usd=told["total_cost_usd"]),
        ]
    )


def _judge_agents(client: Client, requests: list[Recorded]) -> bool:
    """Compare what Claude Code sent upstream with the sealed catalogue."""
    sealed = client.call("GET", "/api/unseal/agents")
    agents = {one["slug"]: one for category in sealed.values() for one in category}
    bodies = [json.loads(one.body) for one in requests if one.target.startswith("/v1/messages")]
    sent = [json.dumps(body, ensure_ascii=False) for body in bodies]
    listed = [slug for slug in agents if any(f"cco:{slug}" in text for text in sent)]
    instructions = agents[AGENT]["instructions"].strip()
    ran = any(instructions in _system(body) for body in bodies)
    _say("agents", f"{len(listed)} of {len(agents)} told to the upstream")
    _say("subagent", f"{AGENT} ran with its sealed instructions: {'yes' if ran else 'NO'}")
    return ran and len(listed) == len(agents)


def _judge_cost(client: Client, *, session: str, told_usd: float) -> bool:
    told = client.call("GET", "/api/project/stats?project=")
    ours = next((one for one in told["bySession"] if one["session"] == session), None)
    cost = ours["costUsd"] if ours else None
    is_equal = cost is not None and round(cost * 1e9) == round(told_usd * 1e9)
    _say(
        "cost",
        f"Claude Code says {_usd(told_usd)}, the ledger {_usd(cost)}"
        f" ({'equal' if is_equal else 'NOT EQUAL'})",
    )
    return is_equal


def _show_bill(client: Client) -> None:
    told = client.call("GET", "/api/project/stats?project=")
    for one in told["byAgent"]:
        _say("bill", f"{one['agent']}: {one['requests']} requests, {_usd(one['costUsd'])}")


def _system(body: Mapping[str, Any]) -> str:
    system = body.get("system", "")
    if isinstance(system, str):
        return system
    return "\n".join(str(block.get("text", "")) for block in system)


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:.9f}".rstrip("0").rstrip(".")


def _say(what: str, text: str) -> None:
    print(f"{what:>11}  {text}", flush=True)
