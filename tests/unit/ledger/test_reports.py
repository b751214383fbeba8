# SPDX-License-Identifier: Apache-2.0
"""Statistics: the pinned shape, and every figure equal to what the rows say."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cco.ledger import reports
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from cco.ledger.usage import Usage

DEADLINE_S = 30
NANO = 1_000_000_000
DAY_NS = 86_400 * NANO
START_NS = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * NANO
PRICES = Prices.load()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as opened:
        yield opened


def record(store: Store, rows: Sequence[RequestRow]) -> None:
    done, _ = wait([store.record(row) for row in rows], DEADLINE_S)
    assert len(done) == len(rows)


def generate_rows(seed: int, count: int) -> list[RequestRow]:
    """Make rows as a few busy days would leave them, priced by the shipped list."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        cache = chance.choice(["miss", "miss", "hit", "coalesced", "bypass"])
        model = chance.choice(["claude-opus-4-8", "claude-haiku-5-5", "claude-sonnet-5-5", "new"])
        usage = Usage(
            input=chance.randrange(200_000),
            output=chance.randrange(10_000),
            cache_read=chance.choice([0, chance.randrange(500_000)]),
            cache_write_5m=chance.choice([0, chance.randrange(5_000)]),
            cache_write_1h=chance.choice([0, chance.randrange(5_000)]),
            web_searches=chance.choice([0, 0, 3]),
            speed=chance.choice(["", "fast"]),
        )
        cost = PRICES.cost(model, usage)
        answered_by_us = cache in ("hit", "coalesced")
        rows.append(
            RequestRow(
                request_id=f"r{number}",
                started_ns=START_NS + chance.randrange(9 * DAY_NS),
                client_session=chance.choice(["", "s1", "s2", "s3"]),
                project=chance.choice(["", "/home/me/a", "/home/me/b"]),
                agent=chance.choice(["main", "unattributed", "Go Specialist"]),
                model=model,
                status=chance.choice([200, 200, 200, 429, 0]),
                error=chance.choice(["", "", "", "api_error"]),
                cache=cache,
                partial=chance.random() < 0.1,
                priced=cost is not None,
                usage=Usage() if answered_by_us else usage,
                cost_nano=0 if answered_by_us else cost or 0,
                saved_nano=cost or 0 if answered_by_us else 0,
                prompt_saved_nano=0 if answered_by_us else PRICES.prompt_saving(model, usage),
                latency_ms=chance.random() * 1000,
                ttft_ms=chance.choice([None, 12.25]),
            )
        )
    return rows


def usd(nano: int) -> float:
    return float(Decimal(nano) / NANO)


def count_tokens(rows: Sequence[RequestRow]) -> dict[str, int]:
    return {
        "input": sum(row.usage.input for row in rows),
        "output": sum(row.usage.output for row in rows),
        "cacheRead": sum(row.usage.cache_read for row in rows),
        "cacheWrite5m": sum(row.usage.cache_write_5m for row in rows),
        "cacheWrite1h": sum(row.usage.cache_write_1h for row in rows),
        "total": sum(row.usage.total for row in rows),
    }


def is_error(row: RequestRow) -> bool:
    return row.status == 0 or row.status >= 400 or row.error != ""


def group(
    rows: Sequence[RequestRow], name: str, key: Callable[[RequestRow], str]
) -> dict[str, dict[str, Any]]:
    """Work out what a report by ``key`` must say, from the rows alone."""
    found = {}
    for value in {key(row) for row in rows}:
        own = [row for row in rows if key(row) == value]
        found[value] = {
            name: value,
            "costUsd": usd(sum(row.cost_nano for row in own)),
            "savedUsd": usd(sum(row.saved_nano for row in own)),
            "requests": len(own),
            "errors": sum(map(is_error, own)),
            "tokens": count_tokens(own),
        }
    return found


def by(report: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    keyed = {row[name]: row for row in report}
    assert len(keyed) == len(report)
    return keyed


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=9))])
@pytest.mark.parametrize(
    ("project", "client_session", "bounded"),
    [
        (None, None, False),
        ("/home/me/a", None, False),
        ("/home/me/b", "s1", True),
        ("", None, True),
    ],
)
def test_every_figure_is_what_the_rows_say(
    store: Store,
    seed: int,
    zone: timezone,
    project: str | None,
    client_session: str | None,
    bounded: bool,
) -> None:
    everything = generate_rows(seed, 400)
    record(store, everything)
    since, until = (START_NS + DAY_NS, START_NS + 5 * DAY_NS) if bounded else (None, None)
    rows = [
        row
        for row in everything
        if project in (None, row.project)
        and client_session in (None, row.client_session)
        and (since is None or row.started_ns >= since)
        and (until is None or row.started_ns < until)
    ]
    stats = reports.project_stats(
        store,
        project=project,
        client_session=client_session,
        since_ns=since,
        until_ns=until,
        zone=zone,
    )

    def day(row: RequestRow) -> str:
        return datetime.fromtimestamp(row.started_ns // NANO, zone).date().isoformat()

    tokens = count_tokens(rows)
    hits = sum(row.cache == "hit" for row in rows)
    misses = sum(row.cache == "miss" for row in rows)
    given = tokens["total"] - tokens["output"]
    assert stats["project"] == project
    assert stats["cost"] == {
        "totalUsd": usd(sum(row.cost_nano for row in rows)),
        "savedUsd": usd(sum(row.saved_nano for row in rows)),
    }
    assert stats["tokens"] == tokens
    assert stats["requests"] == {
        "total": len(rows),
        "errors": sum(map(is_error, rows)),
        "partial": sum(row.partial for row in rows),
        "unpriced": sum(not row.priced for row in rows),
    }
    assert stats["cache"] == {"hits": hits, "misses": misses, "hitRate": hits / (hits + misses)}
    assert stats["promptCache"] == {
        "hitRate": tokens["cacheRead"] / given,
        "savedUsd": usd(sum(row.prompt_saved_nano for row in rows)),
    }
    assert by(stats["byModel"], "model") == group(rows, "model", lambda row: row.model)
    assert by(stats["byAgent"], "agent") == group(rows, "agent", lambda row: row.agent)
    assert by(stats["bySession"], "session") == group(rows, "session", lambda r: r.client_session)
    assert by(stats["byDay"], "day") == group(rows, "day", day)


@pytest.mark.parametrize("dimension", ["byModel", "byAgent", "bySession", "byDay"])
def test_groups_add_up_to_the_totals_to_the_nano_dollar(store: Store, dimension: str) -> None:
    rows = generate_rows(4, 500)
    record(store, rows)
    stats = reports.project_stats(store)

    nano = sum(round(Decimal(str(row["costUsd"])) * NANO) for row in stats[dimension])
    assert nano == sum(row.cost_nano for row in rows)
    assert sum(row["requests"] for row in stats[dimension]) == len(rows)


def test_groups_are_ordered(store: Store) -> None:
    record(store, generate_rows(5, 300))
    stats = reports.project_stats(store)

    for dimension in ("byModel", "byAgent", "bySession"):
        costs = [row["costUsd"] for row in stats[dimension]]
        assert costs == sorted(costs, reverse=True)
    days = [row["day"] for row in stats["byDay"]]
    assert days == sorted(days)
    assert len(days) >= 9


def test_empty_ledger_has_the_whole_shape_and_no_rates(store: Store) -> None:
    assert reports.project_stats(store, project="/p", since_ns=0, until_ns=1_500_000) == {
        "project": "/p",
        "since": "1970-01-01T00:00:00.000Z",
        "until": "1970-01-01T00:00:00.001Z",
        "cost": {"totalUsd": 0, "savedUsd": 0},
        "tokens": {
            "input": 0,
            "output": 0,
            "cacheRead": 0,
            "cacheWrite5m": 0,
            "cacheWrite1h": 0,
            "total": 0,
        },
        "requests": {"total": 0, "errors": 0, "partial": 0, "unpriced": 0},
        "cache": {"hits": 0, "misses": 0, "hitRate": None},
        "promptCache": {"hitRate": None, "savedUsd": 0},
        "byModel": [],
        "byAgent": [],
        "bySession": [],
        "byDay": [],
        "recent": [],
    }


@pytest.mark.parametrize("members", [{"cost", "byDay", "project"}, {"recent"}, set()])
def test_only_wanted_members_are_given(store: Store, members: set[str]) -> None:
    assert set(reports.project_stats(store, members=members)) == members


def test_recent_shows_the_last_fifty_the_newest_first(store: Store) -> None:
    rows = generate_rows(6, 120)
    record(store, rows)
    recent = reports.project_stats(store)["recent"]

    newest = sorted(rows, key=lambda row: row.started_ns, reverse=True)[:50]
    assert [(row["model"], row["latencyMs"]) for row in recent] == [
        (row.model, row.latency_ms) for row in newest
    ]


def test_recent_row_has_the_pinned_members(store: Store) -> None:
    row = RequestRow(
        request_id="r",
        started_ns=START_NS + 1_234_567_890,
        agent="Go Specialist",
        model="claude-opus-4-8",
        status=200,
        cache="miss",
        usage=Usage(input=3, output=4, cache_read=5),
        cost_nano=117_500,
        latency_ms=20.5,
        ttft_ms=1.5,
    )
    record(store, [row])

    assert reports.project_stats(store)["recent"] == [
        {
            "id": 1,
            "requestId": "r",
            "time": "2026-11-01T00:00:01.234Z",
            "session": "",
            "launch": "",
            "project": "",
            "agent": "Go Specialist",
            "model": "claude-opus-4-8",
            "upstream": "",
            "status": 200,
            "error": "",
            "partial": False,
            "cache": "miss",
            "inputTokens": 3,
            "outputTokens": 4,
            "cacheReadTokens": 5,
            "cacheWriteTokens": 0,
            "costUsd": 0.0001175,
            "latencyMs": 20.5,
            "ttftMs": 1.5,
        }
    ]


def test_recent_may_be_only_what_was_recorded_later(store: Store) -> None:
    # The second began before the first, and was recorded later.
    for row_id, began in ((1, 50), (2, 10), (3, 20)):
        record(store, [RequestRow(request_id=f"r{row_id}", started_ns=began)])

    def ids(after: int, *, limit: int = 9) -> list[int]:
        told = reports.project_stats(store, members={"recent"}, recorded_after=after, limit=limit)
        return [row["id"] for row in told["recent"]]

    assert ids(0) == [1, 3, 2]
    assert ids(1) == [3, 2]
    assert ids(3) == []
    assert ids(0, limit=2) == [1, 3]


def test_unpriced_request_costs_null_not_zero(store: Store) -> None:
    row = RequestRow(request_id="r", started_ns=1, model="new", priced=False, usage=Usage(input=9))
    record(store, [row])
    stats = reports.project_stats(store)

    assert stats["recent"][0]["costUsd"] is None
    assert stats["requests"]["unpriced"] == 1


@pytest.mark.parametrize("nano", [1, 999_999_999, 1_234_567_890_123, 999_999_999_999_999])
def test_money_keeps_nine_decimals_through_json(store: Store, nano: int) -> None:
    record(store, [RequestRow(request_id="r", started_ns=1, cost_nano=nano)])
    text = json.dumps(reports.project_stats(store))

    shown = json.loads(text, parse_float=Decimal)["cost"]["totalUsd"]
    assert shown * NANO == nano


def test_hour_across_local_midnight_belongs_to_the_day_it_begins_in(store: Store) -> None:
    """In a zone half an hour off, 18:30 UTC is midnight; its hour began the day before."""
    half = timezone(timedelta(hours=5, minutes=30))
    late = START_NS + (18 * 60 + 45) * 60 * NANO
    record(store, [RequestRow(request_id="r", started_ns=late)])

    [row] = reports.project_stats(store, zone=half)["byDay"]
    assert row["day"] == "2026-11-01"


@pytest.mark.parametrize(
    "zone",
    [
        ZoneInfo("Europe/Berlin"),  # on this 25 October has 25 hours
        ZoneInfo("America/Sao_Paulo"),  # had midnights that did not exist
        ZoneInfo("Pacific/Apia"),  # left out a whole day
        ZoneInfo("Asia/Kathmandu"),  # three quarters of an hour off
    ],
    ids=str,
)
@pytest.mark.parametrize("start", ["2026-10-23", "2018-11-02", "2011-12-28", "1970-01-01"])
def test_every_hour_belongs_to_its_local_day(store: Store, zone: ZoneInfo, start: str) -> None:
    first = int(datetime.fromisoformat(f"{start}T00:00Z").timestamp())
    hours = [*range(96), 24 * 100]  # and a day long after
    seconds = [first + hour * 3600 for hour in hours]
    record(
        store,
        [RequestRow(request_id=f"r{at}", started_ns=at * NANO + 59 * 60 * NANO) for at in seconds],
    )
    wanted = Counter(datetime.fromtimestamp(at, zone).date().isoformat() for at in seconds)
    told = reports.project_stats(store, zone=zone, members={"byDay"})["byDay"]
    assert {row["day"]: row["requests"] for row in told} == wanted
    assert [row["day"] for row in told] == sorted(wanted)


@pytest.mark.parametrize(("zone", "day"), [("UTC0", "2026-11-01"), ("XXX8", "2026-10-31")])
def test_days_are_the_machines_unless_said_otherwise(
    store: Store, monkeypatch: pytest.MonkeyPatch, zone: str, day: str
) -> None:
    record(store, [RequestRow(request_id="r", started_ns=START_NS)])
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        [row] = reports.project_stats(store)["byDay"]
    finally:
        monkeypatch.undo()
        assert os.environ.get("TZ") == before
        time.tzset()

    assert row["day"] == day


def test_machine_totals_list_projects_and_sum_them_up(store: Store) -> None:
    rows = generate_rows(7, 300)
    record(store, rows)
    machine = reports.machine_totals(store, zone=UTC)

    assert machine["totals"] == reports.project_stats(store, zone=UTC)
    expected = group(rows, "project", lambda row: row.project)
    assert by(machine["projects"], "project") == {
        project: {name: sums[name] for name in ("project", "costUsd", "requests")}
        for project, sums in expected.items()
    }


def test_machine_totals_can_be_bounded(store: Store) -> None:
    record(store, [RequestRow(request_id=f"r{n}", started_ns=n) for n in range(10)])
    machine = reports.machine_totals(store, since_ns=3, until_ns=5, members={"requests"})

    assert machine["projects"] == [{"project": "", "costUsd": 0, "requests": 2}]
    assert set(machine["totals"]) == {"requests"}


def test_session_cost_is_the_sum_of_its_rows(store: Store) -> None:
    rows = generate_rows(8, 300)
    record(store, rows)

    expected = sum(row.cost_nano for row in rows if row.client_session == "s2")
    assert reports.session_cost_nano(store, "s2") == expected
    assert reports.session_cost_nano(store, "unheard-of") == 0


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_are_all_requests_in_the_order_of_recording(store: Store, limit: int) -> None:
    record(store, generate_rows(1, 40))
    found: list[dict[str, Any]] = []
    totals: list[int | None] = []
    after: int | None = 0
    while after is not None:
        page = reports.requests_page(store, after=after, limit=limit)
        assert len(page["requests"]) <= limit
        found += page["requests"]
        totals.append(page["total"])
        after = page["next"]

    assert [row["requestId"] for row in found] == [f"r{number}" for number in range(40)]
    assert totals == [40, *[None] * (len(totals) - 1)]
    assert found[::-1] == sorted(found, key=lambda row: -row["id"])


def test_pages_may_be_of_one_project_and_time(store: Store) -> None:
    rows = generate_rows(2, 40)
    record(store, rows)
    until_ns = START_NS + 4 * DAY_NS
    page = reports.requests_page(
        store, project="/home/me/a", since_ns=START_NS, until_ns=until_ns, limit=1000
    )
    wanted = [
        row.request_id for row in rows if row.project == "/home/me/a" and row.started_ns < until_ns
    ]
    assert [row["requestId"] for row in page["requests"]] == wanted != []
    assert (page["total"], page["next"]) == (len(wanted), None)
