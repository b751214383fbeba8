# SPDX-License-Identifier: Apache-2.0
"""Figures for Prometheus: what the ledger and the daemon say, under few and stable names."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cco.api import metrics
from cco.api.metrics import number_of
from cco.gateway.headers import index
from cco.ledger.rows import RequestRow
from cco.ledger.usage import Usage
from tests.unit.api.house import House, open_house

ExpectLog = Callable[[str], None]
Samples = dict[tuple[str, ...], float]
"""Name of the sample, then the values of its labels in the order of their names, to the value."""

DEADLINE_S = 30
MODEL = "claude-sonnet-4-6"

NAMES = {
    *("cco_build_info", "cco_uptime_seconds", "cco_sessions", "cco_requests_running"),
    *("cco_vfs_mounted", "cco_memory_pss_bytes", "cco_memory_rss_bytes"),
    *("cco_ledger_up", "cco_ledger_pending_writes", "cco_ledger_lost_writes_total"),
    *("cco_cache_enabled", "cco_cache_entries", "cco_cache_size_bytes", "cco_cache_max_bytes"),
    *("cco_cache_hits_total", "cco_cache_misses_total", "cco_cache_coalesced_total"),
    *("cco_cache_evictions_total", "cco_cache_saved_usd_total"),
    *("cco_upstream_state", "cco_upstream_consecutive_failures"),
    *(
        f"cco_{prefix}{name}_total"
        for prefix in ("", "agent_")
        for name in (
            *("requests", "requests_errors", "requests_partial", "requests_unpriced"),
            *("requests_cache_hits", "requests_cache_misses"),
            *("cost_usd", "saved_usd", "prompt_cache_saved_usd", "tokens"),
        )
    ),
}
"""Dashboards and alerts of users rely on these."""


def scrape(house: House) -> Samples:
    """Return all samples, read by the library's own parser."""
    answer = house.ask("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def record(house: House, name: str, **changes: Any) -> None:
    row = RequestRow(request_id=name, started_ns=10**18, model=MODEL, status=200)
    house.services.store.record(replace(row, **changes)).result(DEADLINE_S)


@pytest.fixture
def filled(house: House) -> House:
    """Give the ledger three requests of a kind, one foreign one, and a refusal."""
    usage = Usage(input=1, output=2, cache_read=3, cache_write_5m=4, cache_write_1h=5)
    for number in range(3):
        record(house, f"a{number}", usage=usage, cost_nano=1_000_000_001, prompt_saved_nano=7)
    record(house, "hit", cache="hit", saved_nano=500_000_000, agent="Chief Architect")
    record(house, "x", model="gpt-x", agent="no agent of ours", priced=False, status=0)
    record(house, "y", model="", agent="unattributed", partial=True, error="upstream-broken")
    return house


def test_names_are_stable(filled: House) -> None:
    found = {name for name, *_ in scrape(filled)}

    assert found - NAMES == set()
    assert NAMES - found == set()


def test_ledger_is_summed_up(filled: House) -> None:
    found = scrape(filled)

    assert found["cco_requests_total", MODEL] == 4
    assert found["cco_requests_total", "other"] == 2
    assert found["cco_requests_errors_total", "other"] == 2
    assert found["cco_requests_errors_total", MODEL] == 0
    assert found["cco_requests_partial_total", "other"] == 1
    assert found["cco_requests_unpriced_total", "other"] == 1
    assert found["cco_requests_cache_hits_total", MODEL] == 1
    assert found["cco_cost_usd_total", MODEL] == 3.000000003
    assert found["cco_saved_usd_total", MODEL] == 0.5
    assert found["cco_prompt_cache_saved_usd_total", MODEL] == 21e-9
    kinds = {"input": 3, "output": 6, "cache_read": 9, "cache_write_5m": 12, "cache_write_1h": 15}
    for kind, count in kinds.items():
        assert found["cco_tokens_total", kind, MODEL] == count
    assert found["cco_agent_requests_total", "main"] == 3
    assert found["cco_agent_requests_total", "Chief Architect"] == 1
    assert found["cco_agent_requests_total", "unattributed"] == 1
    assert found["cco_agent_requests_total", "other"] == 1
    assert found["cco_agent_cost_usd_total", "main"] == 3.000000003


def test_labels_stay_few_whatever_clients_send(house: House) -> None:
    for number in range(50):
        record(house, str(number), model=f"model-{number}", agent=f"agent-{number}")
    record(house, "dated", model=f"{MODEL}-20260101[1m]")
    found = scrape(house)

    requests = {key[1:]: value for key, value in found.items() if key[0] == "cco_requests_total"}
    assert requests == {("other",): 50, (MODEL,): 1}
    agents = {key[1:] for key in found if key[0] == "cco_agent_requests_total"}
    assert agents == {("other",), ("main",)}


def test_daemon_is_looked_at(house: House) -> None:
    house.register()
    before = scrape(house)

    assert before["cco_sessions",] == 1
    assert before["cco_requests_running",] == 0
    assert before["cco_vfs_mounted",] == 0
    assert before["cco_ledger_up",] == 1
    assert before["cco_upstream_state", "up", "anthropic"] == 1
    assert before["cco_upstream_state", "open", "anthropic"] == 0
    assert before["cco_memory_pss_bytes", "worker"] > 2**20
    assert ("cco_memory_pss_bytes", "mount") not in before

    lines = house.mount()
    house.services.mounts.note(
        house.services.mounts.report.pid,  # type: ignore[union-attr]  # it has just connected
        is_serving=True,
        message="",
        figures={"pssBytes": 7, "rssBytes": 9},
    )
    after = scrape(house)
    lines.close()
    assert after["cco_vfs_mounted",] == 1
    assert after["cco_memory_pss_bytes", "mount"] == 7
    assert after["cco_uptime_seconds",] >= before["cco_uptime_seconds",] > 0


def test_plan_limits_are_those_that_were_told(house: House) -> None:
    assert not [key for key in scrape(house) if "plan" in key[0]]

    told = [
        ("anthropic-ratelimit-unified-5h-utilization", "0.42"),
        ("anthropic-ratelimit-unified-5h-reset", "1763800000"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-22T12:00:00Z"),
        ("anthropic-ratelimit-unified-status", "allowed_warning"),
        ("anthropic-ratelimit-unified-fallback", "available"),
        ("anthropic-ratelimit-odd_name", "1"),
        ("anthropic-ratelimit-odd-value", 'a "text" with anything in it'),
    ]
    house.services.limits.note([("x-api-key", "k")], index(told), upstream="anthropic")
    house.services.limits.note([("x-api-key", "l")], index(told[:1]), upstream="127.0.0.1:99")
    found = scrape(house)
    first, second = (limits.credential for limits in reversed(house.services.limits.told()))

    values = {key[1:]: value for key, value in found.items() if key[0] == "cco_plan_limit"}
    assert values == {
        (first, "unified-5h-utilization", "anthropic"): 0.42,
        (first, "unified-5h-reset", "anthropic"): 1763800000,
        (first, "tokens-reset", "anthropic"): 1795348800,
        (second, "unified-5h-utilization", "other"): 0.42,
    }
    states = [key[1:] for key in found if key[0] == "cco_plan_limit_state"]
    assert sorted(states) == [
        (first, "unified-fallback", "available", "anthropic"),
        (first, "unified-status", "allowed_warning", "anthropic"),
    ]
    assert 0 <= found["cco_plan_limit_age_seconds", first, "anthropic"] < DEADLINE_S


@pytest.fixture
def thrifty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    settings = """
[[budget]]
usd = 2.5
[[budget]]
scope = "session"
usd = 1.0
action = "warn"
"""
    with open_house(tmp_path, monkeypatch, settings=settings) as found:
        yield found


def test_budgets_are_told_with_their_limits(thrifty: House, expect_log: ExpectLog) -> None:
    expect_log("the session budget of")
    labels = ("block", "0", "", "day")
    found = scrape(thrifty)
    assert found["cco_budget_limit_usd", *labels] == 2.5
    assert found["cco_budget_spent_usd", *labels] == 0
    assert ("cco_budget_limit_usd", "warn", "1", "", "session") not in found  # none was used

    def spend(session: str, nano: int) -> None:
        thrifty.services.budgets.admit(
            project="", session=session, model=MODEL, body_bytes=3000, max_tokens=1000
        ).settle(nano)

    spend("s1", 250_000_000)
    spend("s2", 1_500_000_000)
    spend("s3", 100_000_000)
    found = scrape(thrifty)
    assert found["cco_budget_spent_usd", *labels] == 1.85
    assert found["cco_budget_reserved_usd", *labels] == 0
    # of the sessions the one that spent most, so that there are not ever more of them
    assert found["cco_budget_spent_usd", "warn", "1", "", "session"] == 1.5


def test_ledger_that_cannot_be_read_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("The ledger cannot be written")
    expect_log("earlier sessions cannot be restored")
    (tmp_path / "file").touch()
    settings = f'[ledger]\ndatabase = "{tmp_path}/file/cco.db"'
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        found = scrape(house)

    assert found["cco_ledger_up",] == 0
    assert found["cco_uptime_seconds",] > 0
    assert not [key for key in found if key[0] == "cco_requests_total"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.42", 0.42),
        ("-1", -1.0),
        ("1e3", 1000.0),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:01:00", None),  # of which zone?
        ("allowed", None),
        ("", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_numbers_and_times_are_read(text: str, number: float | None) -> None:
    assert number_of(text) == number
    assert number is None or math.isfinite(number)
