# SPDX-License-Identifier: Apache-2.0
"""The demo's own judgement; the demo itself is an integration test."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cco import configfile, paths
from cco.cli import demo
from cco.client import Client
from cco.offline.server import Recorded
from tests.unit.cli.fakes import standing_in

Capture = pytest.CaptureFixture[str]


def test_nothing_of_the_users_is_touched(tmp_path: Path) -> None:
    theirs = {
        "PATH": "/bin",
        "HOME": "/home/ada",
        "HTTPS_PROXY": "http://proxy.example",
        "ANTHROPIC_API_KEY": "sk-ant-real",
        "ANTHROPIC_BASE_URL": "https://real.example",
        "CLAUDE_CODE_OAUTH_TOKEN": "real",
        "CLAUDECODE": "1",  # the demo may run inside a session
        "CCO_SESSION": "real",
        "CCO_RUNTIME_DIR": "/real",
        "CCO_CONFIG": "/real.toml",
        "ORCHESTRATOR_AGENTS": "/real",
        "XDG_CONFIG_HOME": "/real",
        "XDG_RUNTIME_DIR": "/real",
        "STATE_DIRECTORY": "/real",
    }
    found = demo._environment(theirs, tmp_path, "http://127.0.0.1:1")

    assert not [name for name, value in found.items() if "real" in value]
    assert "CLAUDECODE" not in found
    assert (found["PATH"], found["HTTPS_PROXY"]) == ("/bin", "http://proxy.example")
    where = paths.locate(found, uid=os.getuid())
    for place in (where.runtime, where.state, where.config):
        assert place.is_relative_to(tmp_path)


def test_named_claude_code_is_the_one(tmp_path: Path) -> None:
    found = demo._environment({"CCO_CLAUDE": "/mine"}, tmp_path, "http://127.0.0.1:1")

    assert found["CCO_CLAUDE"] == "/mine"


def test_settings_of_the_machine_do_not_count(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "cco.toml").write_text(
        '[vfs]\nmount = "/real"\n[ledger]\ndatabase = "/real"\nprices = "/real"\n'
        '[[budget]]\nusd = 0\n[[upstream]]\nbase_url = "https://real.example"\n'
        '[[upstream]]\nname = "second"\n'
    )
    environ = demo._environment({}, tmp_path, "http://127.0.0.1:1")
    settings = configfile.load(environ, config=tmp_path / "none", etc=etc).settings

    assert "real" not in str(settings)
    assert [one.base_url for one in settings.upstream] == ["http://127.0.0.1:1"]
    assert settings.budget == ()
    assert settings.server.port == 0  # beside whatever else serves
    assert demo.MODEL in settings.models.values()


def test_settings_are_toml() -> None:
    assert tomllib.loads(demo.SETTINGS.format(url="http://x"))


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (0.001234567, "$0.001234567"),
        (1.5, "$1.5"),
        (20.0, "$20"),
    ],
)
def test_money_is_shown_to_the_nano_dollar(amount: float | None, shown: str) -> None:
    assert demo._usd(amount) == shown


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, ""),
        ({"system": "a"}, "a"),
        ({"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"system": [{}]}, ""),
    ],
)
def test_system_prompt_is_found_in_both_forms(body: Mapping[str, Any], text: str) -> None:
    assert demo._system(body) == text


SEALED = {
    "leadership": [{"slug": demo.AGENT, "instructions": "You design.\n"}],
    "codingAgents": [{"slug": "other", "instructions": "You code."}],
}


def request(target: str = "/v1/messages?beta=true", **body: Any) -> Recorded:
    return Recorded("POST", target, (), json.dumps(body).encode())


LISTED = request(system="You are", tools=[f"cco:{demo.AGENT}: x", "cco:other: y"])
RAN = request(system=[{"type": "text", "text": "You design.\nAnd more"}])


@pytest.mark.parametrize(
    ("requests", "is_good", "told"),
    [
        ([LISTED, RAN], True, ("2 of 2 told", "instructions: yes")),
        ([LISTED], False, ("2 of 2 told", "instructions: NO")),
        ([RAN], False, ("0 of 2 told", "instructions: yes")),
        (
            [request(tools=["cco:other"]), RAN],
            False,
            ("1 of 2 told", "instructions: yes"),
        ),
        ([], False, ("0 of 2 told", "instructions: NO")),
        # of other requests nothing is looked at
        ([Recorded("HEAD", "/", (), b""), LISTED, RAN], True, ("2 of 2", "yes")),
    ],
)
def test_agents_are_judged_by_what_reached_the_upstream(
    requests: list[Recorded],
    is_good: bool,
    told: tuple[str, str],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    with standing_in(tmp_path / "s", {"GET /api/unseal/agents": SEALED}) as daemon:
        assert demo._judge_agents(Client(daemon.path), requests) is is_good

    agents, subagent = capsys.readouterr().out.splitlines()
    assert told[0] in agents
    assert told[1] in subagent


@pytest.mark.parametrize(
    ("ledger", "told_usd", "is_equal"),
    [
        (0.123456789, 0.123456789, True),
        (0.1 + 0.2, 0.3, True),  # to the nano-dollar, not to the last bit
        (0.123456788, 0.123456789, False),
        (None, 0.0, False),  # unpriced is not nothing
    ],
)
def test_costs_are_compared_to_the_nano_dollar(
    ledger: float | None, told_usd: float, is_equal: bool, tmp_path: Path, capsys: Capture
) -> None:
    stats = {"bySession": [{"session": "s", "costUsd": ledger}, {"session": "t", "costUsd": 1}]}
    with standing_in(tmp_path / "s", {"GET /api/project/stats?project=": stats}) as daemon:
        client = Client(daemon.path)
        assert demo._judge_cost(client, session="s", told_usd=told_usd) is is_equal
        assert demo._judge_cost(client, session="none", told_usd=told_usd) is False

    assert ("NOT EQUAL" in capsys.readouterr().out.splitlines()[0]) is not is_equal
