# SPDX-License-Identifier: Apache-2.0
"""`cco doctor` as it is printed; what it sees is tested by what looks."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cco.cli import claude, doctor
from cco.cli.examine import Examination
from cco.cli.findings import Finding, Level, good
from cco.cli.parser import build_parser

Capture = pytest.CaptureFixture[str]
BAD = Finding("port-taken", Level.FAIL, "port 3000 is taken", "Stop it")
ODD = Finding("no-linger", Level.WARN, "it ends with the login", "sudo loginctl enable-linger ada")


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*found: Finding) -> None:
        monkeypatch.setattr(Examination, "run", lambda _self: iter(found))

    return install


def do(tmp_path: Path, *words: str, **environ: str) -> int:
    given = {"CCO_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), **environ}
    return doctor.run(build_parser().parse_args(["doctor", *words]), given)


@pytest.mark.parametrize(
    ("found", "status", "word"),
    [((good("a", "b"),), 0, "ok"), ((good("a", "b"), ODD), 1, "warn"), ((BAD, ODD), 1, "fail")],
)
def test_worst_finding_decides(
    tmp_path: Path,
    find: Callable[..., None],
    capsys: Capture,
    found: tuple[Finding, ...],
    status: int,
    word: str,
) -> None:
    find(*found)
    assert do(tmp_path, "--json") == status
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"status", "version", "findings", "environment"}
    assert told["status"] == word
    assert [set(one) for one in told["findings"]] == [
        {"code", "level", "message", "remedy"} for _ in found
    ]


def test_remedy_stands_below_its_finding(
    tmp_path: Path, find: Callable[..., None], capsys: Capture
) -> None:
    find(good("disk", "there is room"), BAD)
    do(tmp_path, ENABLE_TOOL_SEARCH="false", NO_PROXY="x")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["ok    there is room", "fail  port 3000 is taken", "      Stop it"]
    [search] = [line for line in lines if "ENABLE_TOOL_SEARCH" in line]
    assert search.endswith("(yours is kept)")
    assert len([line for line in lines if line.endswith("(yours is kept)")]) == 1


@pytest.mark.parametrize("is_anthropic", [True, False])
def test_every_variable_that_a_launch_sets_has_its_reason(is_anthropic: bool) -> None:
    given = dict.fromkeys(doctor.REASONS, "mine")

    def added(environ: dict[str, str]) -> set[str]:
        return set(
            claude.plan(
                Path("/claude"),
                [],
                environ,
                mount=Path("/m"),
                api_url="http://127.0.0.1:3000",
                session="s",
                token="t",
                haiku="h",
                known=claude.MINIMUM,
                is_anthropic=is_anthropic,
                file=Path("/f"),
            ).added
        )

    assert added({}) <= set(doctor.REASONS)
    assert not added(given) & doctor.OFFERED


def test_nothing_is_started_and_nothing_written(tmp_path: Path, capsys: Capture) -> None:
    status = do(tmp_path, "--json", PATH=os.defpath)
    told = json.loads(capsys.readouterr().out)
    assert status == 1  # there is no Claude Code in this home
    assert {"claude-missing", "daemon"} <= {one["code"] for one in told["findings"]}
    assert list(tmp_path.iterdir()) == []
