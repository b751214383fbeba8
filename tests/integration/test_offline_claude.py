# SPDX-License-Identifier: Apache-2.0
"""The real Claude Code against the offline upstream, without daemon or gateway between them."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from cco.offline.answer import NOTICE
from cco.offline.count import Usage
from cco.offline.server import OfflineUpstream, Recorded
from tests import capabilities

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TIMEOUT_S = 120.0
CLAUDE = os.environ.get("CCO_TEST_CLAUDE", "")
"""To test with instead of the installed one; read before the environment is cleaned."""

API_KEY = "sk-ant-test-offline"

PRICES: Final[Mapping[str, tuple[int, int, int, int, int]]] = {
    # nano-dollars per token: input, output, cache read, cache write 5m, cache write 1h
    "claude-sonnet-4-6": (3000, 15000, 300, 3750, 6000),
    "claude-haiku-4-5-20251001": (1000, 5000, 100, 1250, 2000),
    "claude-opus-4-8": (5000, 25000, 500, 6250, 10000),
}
"""Source: the client's own table, measured with 2.1.197 from its total_cost_usd."""

SEARCH_NANO_USD: Final = 10_000_000

AGENTS: Final = {
    "toy": "claude-haiku-4-5-20251001",
    "lead": "claude-opus-4-8",
}
"""Name and model of the agents of the test's plugin."""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def upstream() -> Iterator[OfflineUpstream]:
    with OfflineUpstream() as running:
        yield running


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    directory = tmp_path / "plugin"
    (directory / "agents").mkdir(parents=True)
    (directory / ".claude-plugin").mkdir()
    manifest = {"name": "cco", "version": "1.0.0", "description": "d", "author": {"name": "a"}}
    (directory / ".claude-plugin" / "plugin.json").write_text(json.dumps(manifest))
    for name, model in AGENTS.items():
        text = f'---\nname: {name}\ndescription: "A {name}"\nmodel: {model}\n---\nYou are {name}.\n'
        (directory / "agents" / f"{name}.md").write_text(text)
    return directory


@pytest.fixture
def run(tmp_path: Path, upstream: OfflineUpstream, plugin: Path) -> Run:
    """Return what runs `claude -p PROMPT` in a home of its own and gives its JSON."""
    if not CLAUDE:
        capabilities.require("claude")
    program = CLAUDE or str(capabilities.claude())
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    settled = {"hasCompletedOnboarding": True, "theme": "dark"}
    settled["customApiKeyResponses"] = {"approved": [API_KEY[-20:]], "rejected": []}
    (home / ".claude.json").write_text(json.dumps(settled))
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "ANTHROPIC_API_KEY": API_KEY,
        "ANTHROPIC_BASE_URL": upstream.url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    }

    def claude(
        prompt: str, *options: str, model: str = "claude-sonnet-4-6", status: int = 0
    ) -> dict[str, Any]:
        fixed = ["--output-format", "json", "--plugin-dir", str(plugin), "--model", model]
        done = subprocess.run(
            [program, "-p", prompt, *fixed, *options],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (status, "")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return claude


def cost_nano(usage: Mapping[str, Usage]) -> int:
    """Price usage by model with the client's own table."""
    total = 0
    for model, used in usage.items():
        parts = (used.input, used.output, used.cache_read, used.cache_write_5m, used.cache_write_1h)
        total += sum(n * price for n, price in zip(parts, PRICES[model], strict=True))
        total += used.web_searches * SEARCH_NANO_USD
    return total


def nano(usd: float) -> int:
    return round(usd * 1e9)


def answered(upstream: OfflineUpstream, agent: str = "") -> list[dict[str, Any]]:
    """Return the bodies of the messages that an agent sent, the main conversation's by default."""
    found = []
    for request in upstream.requests:
        if request.target.startswith("/v1/messages?"):
            body = json.loads(request.body)
            if agent in json.dumps(body["system"]) and bool(agent) == is_agent(request):
                found.append(body)
    return found


def is_agent(request: Recorded) -> bool:
    return request.header("x-claude-code-agent-id") is not None


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-opus-4-8"])
def test_a_prompt_costs_what_the_upstream_counted(
    run: Run, upstream: OfflineUpstream, model: str
) -> None:
    result = run("hello", model=model)

    assert result["is_error"] is False
    assert result["result"].startswith(NOTICE)
    assert set(upstream.usage_by_model) == {model}
    assert nano(result["total_cost_usd"]) == cost_nano(upstream.usage_by_model) > 0


def test_an_agent_is_started_and_quoted(run: Run, upstream: OfflineUpstream) -> None:
    result = run("Please:\noffline: agent cco:toy Design a login flow")

    (asked,) = answered(upstream, agent="You are toy.")
    assert "Design a login flow" in json.dumps(asked["messages"])
    assert f"Agent cco:toy answered:\n> {NOTICE}" in result["result"]
    assert set(upstream.usage_by_model) == {"claude-sonnet-4-6", AGENTS["toy"]}
    assert nano(result["total_cost_usd"]) == cost_nano(upstream.usage_by_model)


def test_agents_run_side_by_side_and_within_each_other(run: Run, upstream: OfflineUpstream) -> None:
    result = run("offline: agent cco:toy One\noffline: agent cco:lead Two >> agent cco:toy Three")

    text = result["result"]
    assert f"Agent cco:toy answered:\n> {NOTICE}" in text
    assert f"Agent cco:lead answered:\n> {NOTICE}" in text
    assert f"> Agent cco:toy answered:\n> > {NOTICE}" in text
    parents = [r.header("x-claude-code-parent-agent-id") for r in upstream.requests]
    assert len([parent for parent in parents if parent]) == 1
    assert nano(result["total_cost_usd"]) == cost_nano(upstream.usage_by_model)


def test_tools_are_called(run: Run, upstream: OfflineUpstream) -> None:
    result = run(
        'offline: bash echo $((6 * 7)) apples\noffline: tool WebSearch {"query": "weather"}',
        "--allowedTools",
        "Bash,WebSearch",
    )

    assert "Bash answered:\n> 42 apples" in result["result"]
    assert "https://offline.invalid/" in result["result"]
    assert upstream.usage_total.web_searches == 1
    assert nano(result["total_cost_usd"]) == cost_nano(upstream.usage_by_model)


def test_a_status_reaches_the_user(run: Run) -> None:
    result = run("offline: status 402", status=1)

    assert (result["is_error"], result["api_error_status"]) == (True, 402)
    assert NOTICE in result["result"]
    assert result["total_cost_usd"] == 0


@pytest.mark.parametrize(
    "directive", ["status 529 times=1", "cut message_start", "cut length times=1", "slow 0.01"]
)
def test_the_client_gets_over_what_passes(run: Run, directive: str) -> None:
    result = run(f"offline: {directive}")

    assert result["is_error"] is False
    assert result["result"].startswith(NOTICE)


def test_a_compaction_is_accepted_and_the_failed_prompt_before_it_stays_dead(
    run: Run, upstream: OfflineUpstream
) -> None:
    session = run("offline: status 402", status=1)["session_id"]

    assert run("again", "--resume", session)["result"].startswith(NOTICE)
    assert run("/compact", "--resume", session)["is_error"] is False
    assert run("after", "--resume", session)["result"].startswith(NOTICE)
    last = json.dumps(answered(upstream)[-1]["messages"])
    assert f"{NOTICE} Nothing was summarised." in last
