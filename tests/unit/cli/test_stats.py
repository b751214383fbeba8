# SPDX-License-Identifier: Apache-2.0
"""`cco stats`: what is asked of the daemon, and what people get to read."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cco.cli import stats
from cco.cli.parser import build_parser
from cco.cli.stats import parse_since
from cco.errors import RequestError
from tests.unit.cli.fakes import StandIn

Capture = pytest.CaptureFixture[str]

ROUTE = "GET /api/project/stats"
NOW = datetime(2026, 11, 22, 12, 30, tzinfo=timezone(timedelta(hours=1)))
GROUP = {"requests": 3, "errors": 1, "tokens": {"total": 1234}, "costUsd": 1.25}
STATS: dict[str, Any] = {
    "cost": {"totalUsd": 1.25, "savedUsd": 0.5},
    "promptCache": {"savedUsd": 0.25},
    "tokens": {
        "total": 1234,
        "input": 4,
        "output": 30,
        "cacheRead": 1000,
        "cacheWrite5m": 150,
        "cacheWrite1h": 50,
    },
    "requests": {"total": 3, "errors": 1, "unpriced": 0},
    "byModel": [{"model": "m", **GROUP}],
    "byAgent": [{"agent": "Chief Architect", **GROUP}],
    "bySession": [{"session": "s-1", **GROUP}],
    "byDay": [{"day": "2026-11-22", **GROUP}],
}


@pytest.fixture
def served(served: StandIn) -> StandIn:
    served.answers[ROUTE] = STATS
    return served


def do(environ: dict[str, str], *argv: str) -> int:
    return stats.run(build_parser().parse_args(["stats", *argv]), environ)


def queries(served: StandIn) -> list[dict[str, str]]:
    """Return the parameters of each question about statistics."""
    targets = [asked.partition(" ")[2] for asked, *_ in served.received if asked.startswith(ROUTE)]
    parsed = [parse_qs(urlsplit(target).query, keep_blank_values=True) for target in targets]
    return [{name: values[0] for name, values in one.items()} for one in parsed]


def test_statistics_are_shown(environ: dict[str, str], served: StandIn, capsys: Capture) -> None:
    assert do(environ) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("burn      $1.250000/h over the last hour, $")
    assert lines[2].endswith("/h today")
    assert [*lines[:2], *lines[3:]] == [
        "cost      $1.250000",
        "saved     $0.500000 by CCO's cache, $0.250000 by the provider's",
        "tokens    1234: 4 in, 30 out, 1200 by the provider's cache",
        "requests  3, 1 failed",
        "",
        "model  requests  failed  tokens       cost",
        "m             3       1    1234  $1.250000",
    ]


@pytest.mark.parametrize(
    ("by", "name"),
    [("model", "m"), ("agent", "Chief Architect"), ("session", "s-1"), ("day", "2026-11-22")],
)
def test_a_row_is_what_was_asked_for(
    by: str, name: str, environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "--by", by) == 0
    head, row = capsys.readouterr().out.splitlines()[-2:]
    assert head.startswith(f"{by} ")
    assert row.startswith(f"{name} ")


def test_json_is_the_answer_of_the_api(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "--json", "--since", "7d") == 0
    assert json.loads(capsys.readouterr().out) == STATS
    assert [sorted(query) for query in queries(served)] == [["project", "since"]]


def test_what_has_no_price_is_said(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers[ROUTE] = {**STATS, "requests": {"total": 3, "errors": 0, "unpriced": 2}}
    do(environ)

    assert "$1.250000 (2 requests of unknown price not included)" in capsys.readouterr().out


def test_rate_is_that_of_the_hour_and_of_the_day(environ: dict[str, str], served: StandIn) -> None:
    do(environ, "--since", "30d")

    whole, hour, day = queries(served)
    assert "fields" not in whole
    assert (hour["fields"], day["fields"]) == ("cost", "cost")
    now = datetime.now(UTC)
    assert timedelta(minutes=55) < now - datetime.fromisoformat(hour["since"]) < timedelta(hours=2)
    midnight = datetime.fromisoformat(day["since"]).astimezone()
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
    assert now - midnight < timedelta(hours=26)


def test_project_is_named_as_the_ledger_knows_it(
    environ: dict[str, str], served: StandIn, tmp_path: Path
) -> None:
    (tmp_path / "re po/.git").mkdir(parents=True)
    (tmp_path / "re po/sub").mkdir()
    assert do(environ, "--project", str(tmp_path / "re po/sub")) == 0

    assert {query["project"] for query in queries(served)} == {str(tmp_path / "re po")}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("7d", "2026-11-15T11:30:00Z"),
        ("24h", "2026-11-21T11:30:00Z"),
        ("30m", "2026-11-22T11:00:00Z"),
        ("0m", "2026-11-22T11:30:00Z"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00+01:00", "2026-11-22T09:00:00Z"),
        ("2026-11-22 10:00:00-05:30", "2026-11-22T15:30:00Z"),
    ],
)
def test_times_and_spans_are_understood(text: str, told: str) -> None:
    assert parse_since(text, NOW) == told


@pytest.mark.parametrize("text", ["2026-11-22", "2026-11-22T10:00:00"])
def test_what_has_no_zone_is_local(text: str) -> None:
    local = datetime.fromisoformat(text).astimezone()
    assert datetime.fromisoformat(parse_since(text, NOW)) == local


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "7w", "-7d", "1.5h", "999999d", "d7"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_since(text, NOW)

    assert caught.value.code == "bad-time"
    assert "30m" in str(caught.value.hint)


def test_cost_outside_of_sessions_has_a_name_in_the_table(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers[ROUTE] = {**STATS, "bySession": [{"session": "", **GROUP}]}
    assert do(environ, "--by", "session") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("-  ")
