# SPDX-License-Identifier: Apache-2.0
"""The commands that ask and print; the daemon is a table of answers here."""

import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cco.cli import commands
from cco.cli.commands import flatten
from cco.cli.parser import build_parser
from cco.config import MODELS, Budget, Settings
from cco.errors import ConfigError, NotFound
from tests.unit.catalog.samples import make_definition
from tests.unit.cli.fakes import StandIn

Capture = pytest.CaptureFixture[str]

AGENT = {
    "name": "Chief Architect",
    "slug": "chief-architect",
    "category": "leadership",
    "type": "system-architect",
    "model": "opus",
    "modelId": "claude-opus-x",
    "capabilities": ["architecture", "design"],
    "tools": ["Read"],
    "description": "Use for design",
    "origin": "builtin",
    "source": "chief-architect.md",
}


def do(environ: dict[str, str], *argv: str) -> int:
    return commands.run(build_parser().parse_args(argv), environ)


# Agents.


def test_agents_are_listed(environ: dict[str, str], served: StandIn, capsys: Capture) -> None:
    served.answers["GET /api/agents"] = {"agents": [AGENT], "groups": {"Core": ["Tech Lead"]}}
    for argv in (["agents"], ["agents", "list"]):
        assert do(environ, *argv) == 0
        assert capsys.readouterr().out.splitlines() == [
            "agent            model  category    when to use it",
            "chief-architect  opus   leadership  Use for design",
            "",
            "Groups, beside the categories, for: cco run --agents GROUP,…",
            "",
            "group  agents  who",
            "Core        1  Tech Lead",
        ]
    assert do(environ, "agents", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [AGENT]


@pytest.mark.parametrize("name", ["chief-architect", "Chief Architect", "a/b?c"])
def test_one_agent_is_shown(
    name: str, environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    quoted = name.replace(" ", "%20").replace("/", "%2F").replace("?", "%3F")
    served.answers[f"GET /api/agents/{quoted}"] = {**AGENT, "instructions": "You design."}
    assert do(environ, "agents", "show", name) == 0

    shown = capsys.readouterr().out
    # the tier, which Claude Code resolves, and what it is for invoke: they may differ
    assert "model         opus, as Claude Code resolves it\n" in shown
    assert "for invoke    claude-opus-x\n" in shown
    assert shown.endswith("You design.\n")


def test_unknown_agent_is_the_daemons_refusal(environ: dict[str, str], served: StandIn) -> None:
    error = {"code": "unknown-agent", "message": "no", "hint": "Did you mean X?"}
    served.answers["GET /api/agents/x"] = (404, {"error": error})
    with pytest.raises(NotFound) as caught:
        do(environ, "agents", "show", "x")

    assert caught.value.hint == "Did you mean X?"


def test_good_definitions_are_good(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "good-agent.md").write_text(make_definition())

    assert do(environ, "agents", "check", str(tmp_path / "good-agent.md")) == 0
    assert capsys.readouterr().out == "no problem found\n"
    assert do(environ, "agents", "check", str(tmp_path), "--json") == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("how", ["file", "directory", "own"])
def test_problems_are_told_with_file_and_line(
    how: str, environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    directory = tmp_path / ".config/cco/agents"
    directory.mkdir(parents=True)
    path = directory / "bad-agent.md"
    path.write_text(make_definition(model="gpt"))
    argv = {"file": [str(path)], "directory": [str(directory)], "own": []}[how]

    assert do(environ, "agents", "check", *argv) == 1
    first, *_, remedy = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{path}:4: unknown model 'gpt'")
    right = remedy.removeprefix("  See one that is right: ")
    assert do(environ, "agents", "check", right) == 0
    assert capsys.readouterr().out == "no problem found\n"
    assert do(environ, "agents", "check", *argv, "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)
    assert (problem["file"], problem["line"]) == (str(path), 4)


def test_path_that_is_not_there_is_a_problem(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    assert do(environ, "agents", "check", str(tmp_path / "none.md")) == 1
    assert "none.md:1: cannot be read" in capsys.readouterr().out


# Settings.


def test_settings_are_shown_with_their_origins(
    environ: dict[str, str],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "cco.toml"
    file.write_text('[server]\nport = 4000\n[models]\nopus = "x"\n[[budget]]\nproject = \'"/a\'\n')
    environ["CCO_CONFIG"] = str(file)
    assert do(environ, "config") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["server.port"].split() == ["server.port", "4000", f"{file}:2"]
    assert rows["server.host"].split() == ["server.host", '"127.0.0.1"', "default"]
    assert rows["agents.groups"].split() == ["agents.groups", '["*"]', "default"]
    assert rows["cache.enabled"].split() == ["cache.enabled", "true", "default"]
    assert rows["budget[0].project"].split() == ["budget[0].project", '"\\"/a"', f"{file}:6"]

    assert do(environ, "config", "show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["server.port"] == {"value": 4000, "origin": f"{file}:2"}
    assert shown["models.opus"] == {"value": "x", "origin": f"{file}:4"}
    assert shown["models.haiku"] == {"value": MODELS["haiku"], "origin": "default"}


def test_every_setting_is_shown_once() -> None:
    settings = replace(Settings(), budget=(Budget(), Budget(usd=1.0)))
    found = flatten(settings)

    assert found["upstream[0].base_url"] == "https://api.anthropic.com"
    assert found["budget[1].usd"] == 1.0
    assert found["agents.groups"] == ["*"]
    assert {key.partition(".")[0].partition("[")[0] for key in found} == {
        *("server", "vfs", "upstream", "cache", "agents", "models"),
        *("ledger", "budget", "knowledge", "tui"),
    }


def test_settings_of_the_project_count(
    environ: dict[str, str],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "sub").mkdir()
    (project / ".cco.toml").write_text('[agents]\ngroups = ["leadership"]')
    monkeypatch.chdir(project / "sub")
    do(environ, "config", "show", "--json")

    shown = json.loads(capsys.readouterr().out)["agents.groups"]
    assert shown == {"value": ["leadership"], "origin": f"{project}/.cco.toml:2"}


def test_broken_settings_are_found(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    environ["CCO_CONFIG"] = str(tmp_path / "cco.toml")
    (tmp_path / "cco.toml").write_text("[server]\nprot = 1")
    assert do(environ, "config", "check") == 1
    assert capsys.readouterr().out == (
        f"{tmp_path}/cco.toml:2: unknown key 'prot' in [server]\n  Did you mean 'port'?\n"
    )
    with pytest.raises(ConfigError):
        do(environ, "config", "show")


def test_good_settings_are_good(environ: dict[str, str], capsys: Capture) -> None:
    assert do(environ, "config", "check") == 0
    assert capsys.readouterr().out == "no problem found\n"


def test_files_of_settings_are_told(
    environ: dict[str, str], tmp_path: Path, capsys: Capture
) -> None:
    user = tmp_path / ".config/cco"
    (user / "cco.toml.d").mkdir(parents=True)
    (user / "cco.toml.d/1.toml").touch()
    assert do(environ, "config", "path") == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [f"{user}/cco.toml (not there)", f"{user}/cco.toml.d/1.toml"]


# The response cache.

CACHE: dict[str, Any] = {
    "enabled": True,
    "entries": 3,
    "sizeBytes": 4321,
    "maxBytes": 67108864,
    "hits": 2,
    "misses": 4,
    "coalesced": 5,
    "evictions": 0,
    "hitRate": 1 / 3,
    "savedUsd": 0.0123,
}


def test_the_cache_tells_what_it_did(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/cache/stats"] = CACHE
    assert do(environ, "cache", "stats") == 0
    assert capsys.readouterr().out.splitlines() == [
        "kept      3 answers, 4321 of 67108864 bytes",
        "hits      2 (33.3%)",
        "misses    4",
        "joined    5, to a request that was under way already",
        "evicted   0, for want of room",
        "saved     $0.012300",
    ]
    assert do(environ, "cache", "stats", "--json") == 0
    assert json.loads(capsys.readouterr().out) == CACHE


def test_a_cache_that_was_not_asked_has_no_rate(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/cache/stats"] = {**CACHE, "hits": 0, "hitRate": None}
    assert do(environ, "cache", "stats") == 0
    assert "\nhits      0\n" in capsys.readouterr().out


def test_a_cache_that_is_off_says_so(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/cache/stats"] = {**CACHE, "enabled": False}
    assert do(environ, "cache", "stats") == 0
    assert capsys.readouterr().out == "off, by [cache] enabled in the settings\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdin", "words", "status"),
    [
        (io.StringIO(), [], 0),
        (Terminal("y\n"), [], 0),
        (Terminal(" Yes\n"), [], 0),
        (Terminal("n\n"), [], 1),
        (Terminal("\n"), [], 1),
        (Terminal(""), [], 1),
        (Terminal("n\n"), ["--json"], 0),
    ],
    ids=["script", "y", "yes", "no", "enter", "end", "json"],
)
def test_the_cache_is_cleared_but_not_by_a_slip(
    stdin: io.StringIO,
    words: list[str],
    status: int,
    environ: dict[str, str],
    served: StandIn,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    served.answers["GET /api/cache/stats?fields=entries"] = {"entries": 3}
    served.answers["POST /api/cache/clear"] = {"cleared": 3, "freedBytes": 4321}
    assert do(environ, "cache", "clear", *words) == status

    shown = capsys.readouterr().out
    if words:
        assert json.loads(shown) == {"cleared": 3, "freedBytes": 4321}
    elif status:
        assert shown == "Forget 3 answers? [y/N] nothing was forgotten\n"
    else:
        assert shown.endswith("3 answers forgotten, 4321 bytes freed\n")
    assert any("clear" in str(request) for request in served.received) == (status == 0)


def test_one_answer_is_not_told_as_several(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/cache/stats"] = {**CACHE, "entries": 1}
    served.answers["POST /api/cache/clear"] = {"cleared": 1, "freedBytes": 9}
    assert do(environ, "cache", "stats") == 0
    assert capsys.readouterr().out.startswith("kept      1 answer, 4321 of ")
    assert do(environ, "cache", "clear") == 0
    assert capsys.readouterr().out == "1 answer forgotten, 9 bytes freed\n"


def test_no_session_is_not_an_empty_table(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/sessions"] = {"sessions": []}
    assert do(environ, "sessions") == 0
    assert capsys.readouterr().out == "no session is alive\n"


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_sessions_are_listed_with_the_time_on_the_users_clock(
    environ: dict[str, str], served: StandIn, capsys: Capture, tokyo: None
) -> None:
    began = "2026-11-22T10:00:00Z"
    one = {"id": "abc", "pid": 7, "startedAt": began, "costUsd": 1.25, "project": "/p"}
    served.answers["GET /api/sessions"] = {"sessions": [one]}
    assert do(environ, "sessions") == 0
    assert capsys.readouterr().out.splitlines() == [
        "session  pid  since                  cost  project",
        "abc        7  2026-11-22 19:00  $1.250000  /p",
    ]
    assert do(environ, "sessions", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [one]


def test_sealed_file_is_shown_in_the_clear(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/unseal/hooks"] = {"hooks": ["ü"]}
    assert do(environ, "unseal", "hooks") == 0
    assert capsys.readouterr().out == '{\n  "hooks": [\n    "ü"\n  ]\n}\n'
