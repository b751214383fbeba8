# SPDX-License-Identifier: Apache-2.0
"""The response cache over HTTP: figures, clearing, and what a reload leaves of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rawserver import RawServer, always, reply, serving
from tests.unit.api.house import House, error_of, open_house

COUNT = reply("200 OK", "Content-Type: application/json", body=b'{"input_tokens":12}')
EMPTY = {
    "enabled": True,
    "entries": 0,
    "sizeBytes": 0,
    "maxBytes": 67108864,
    "hits": 0,
    "misses": 0,
    "coalesced": 0,
    "evictions": 0,
    "hitRate": None,
    "savedUsd": 0.0,
}


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    with serving(always(COUNT)) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: RawServer) -> Iterator[House]:
    settings = f'[[upstream]]\nbase_url = "{upstream.url}"\n'
    with open_house(tmp_path, monkeypatch, settings=settings) as found:
        yield found


def count(house: House, text: str = "hi") -> str:
    """Count tokens; return what is said of the cache."""
    answer = house.ask(
        "POST", "/v1/messages/count_tokens", {"model": "m", "text": text}, by_tcp=True
    )
    assert answer.get_json() == {"input_tokens": 12}
    return answer.headers["x-cco-cache"]


def stats(house: House) -> dict[str, object]:
    told: dict[str, object] = house.ask("GET", "/api/cache/stats").get_json()
    return told


def test_tells_its_figures(house: House, upstream: RawServer) -> None:
    assert stats(house) == EMPTY
    assert [count(house) for _ in range(3)] == ["miss", "hit", "hit"]
    assert len(upstream.received) == 1
    told = stats(house)
    assert list(told) == list(EMPTY)
    assert (told["hits"], told["misses"], told["entries"]) == (2, 1, 1)
    assert told["hitRate"] == pytest.approx(2 / 3)


def test_figures_are_chosen_and_tagged(house: House) -> None:
    answer = house.ask("GET", "/api/cache/stats?fields=hits,entries")
    assert answer.get_json() == {"entries": 0, "hits": 0}
    tag = answer.headers["ETag"]
    same = house.ask("GET", "/api/cache/stats?fields=hits,entries", headers={"If-None-Match": tag})
    assert (same.status_code, same.data) == (304, b"")
    for query, code in (("fields=mood", "unknown-field"), ("x=1", "unknown-parameter")):
        assert error_of(house.ask("GET", f"/api/cache/stats?{query}")) == (400, code)


def test_is_cleared(house: House) -> None:
    count(house)
    size = stats(house)["sizeBytes"]
    answer = house.ask("POST", "/api/cache/clear")
    assert answer.get_json() == {"cleared": 1, "freedBytes": size}
    assert (stats(house)["entries"], stats(house)["misses"]) == (0, 1)
    assert count(house) == "miss"
    assert house.ask("GET", "/api/cache/clear").status_code == 405


def test_outlives_a_reload_unless_its_settings_change(house: House) -> None:
    settings = Path(house.services.environ["CCO_CONFIG"])
    text = settings.read_text()
    count(house)
    settings.write_text(text + "[agents]\nmax_concurrent = 3\n")
    house.services.reload()
    assert house.services.settings.agents.max_concurrent == 3
    assert count(house) == "hit"

    settings.write_text(text + "[cache]\nmax_bytes = 100000\n")
    house.services.reload()
    assert (stats(house)["hits"], stats(house)["maxBytes"]) == (0, 100000)
    assert count(house) == "miss"

    settings.write_text(text + "[cache]\nenabled = false\n")
    house.services.reload()
    assert [count(house) for _ in range(2)] == ["bypass", "bypass"]
    assert json.loads(json.dumps(stats(house)))["enabled"] is False


def test_what_other_upstreams_said_does_not_outlive_a_reload(house: House) -> None:
    count(house)
    settings = Path(house.services.environ["CCO_CONFIG"])
    with serving(always(COUNT)) as other:
        settings.write_text(f'[[upstream]]\nbase_url = "{other.url}"\n')
        house.services.reload()
        assert count(house) == "miss"
        assert len(other.received) == 1


def test_an_agent_that_was_asked_answers_from_here_unless_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {
        "type": "message",
        "model": "claude-opus-4-8",
        "content": [{"type": "text", "text": "Do it so."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }
    body = json.dumps(message).encode()
    with serving(always(reply("200 OK", "Content-Type: application/json", body=body))) as server:
        settings = f'[[upstream]]\nbase_url = "{server.url}"\n[models]\nopus = "claude-opus-4-8"\n'
        with open_house(tmp_path, monkeypatch, settings=settings) as house:
            told = [
                house.ask(
                    "POST",
                    "/api/agent/invoke",
                    {"agent": "chief-architect", "task": "Design it"},
                    headers={"x-api-key": "k", **headers},
                ).get_json()
                for headers in ({}, {}, {"cache-control": "no-cache"}, {})
            ]
            assert [one["cached"] for one in told] == [False, True, False, True]
            assert [one["costUsd"] for one in told] == [0.0075, 0, 0.0075, 0]
            assert [one["usage"]["total"] for one in told] == [1100, 0, 1100, 0]
            assert len(server.received) == 2
            assert stats(house)["savedUsd"] == 0.015
