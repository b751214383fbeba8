# SPDX-License-Identifier: Apache-2.0
"""The store: what is put in comes out, from any thread."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pytest

from cco.errors import StoreError
from cco.ledger.rows import AgentRun, RequestRow, SessionRow
from cco.ledger.store import Store
from cco.ledger.usage import Usage

DEADLINE_S = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "ledger.db") as opened:
        yield opened


FULL_ROW = RequestRow(
    request_id="r1",
    started_ns=1_790_000_000_000_000_001,
    session_id="launch",
    client_session="client",
    project="/home/me/é",
    agent_id="a1",
    agent="Python Specialist",
    parent_agent_id="a0",
    parent_agent="Chief Architect",
    model="claude-opus-4-8[1m]",
    method="POST",
    path="/v1/messages",
    upstream="anthropic",
    attempts=2,
    status=529,
    error="overloaded_error",
    cache="miss",
    stream=True,
    partial=True,
    priced=False,
    usage=Usage(
        input=1,
        output=2,
        cache_read=3,
        cache_write_5m=4,
        cache_write_1h=5,
        web_searches=6,
        service_tier="standard",
        speed="fast",
        flawed=True,
    ),
    cost_nano=7,
    saved_nano=8,
    prompt_saved_nano=9,
    latency_ms=10.5,
    ttft_ms=11.5,
    request_bytes=12,
    response_bytes=13,
    upstream_request_id="req_1",
)


def column_values(store: Store) -> dict[str, object]:
    with store.reading() as connection:
        cursor = connection.execute("SELECT * FROM requests")
        [row] = cursor.fetchall()
        return dict(zip((column[0] for column in cursor.description), row, strict=True))


def test_every_field_of_a_row_is_stored_in_its_column(store: Store) -> None:
    store.record(FULL_ROW).result(DEADLINE_S)

    assert column_values(store) == {
        "id": 1,
        "request_id": "r1",
        "started_ns": 1_790_000_000_000_000_001,
        "session_id": "launch",
        "client_session": "client",
        "project": "/home/me/é",
        "agent_id": "a1",
        "agent": "Python Specialist",
        "parent_agent_id": "a0",
        "parent_agent": "Chief Architect",
        "model": "claude-opus-4-8[1m]",
        "method": "POST",
        "path": "/v1/messages",
        "upstream": "anthropic",
        "attempts": 2,
        "status": 529,
        "error": "overloaded_error",
        "cache": "miss",
        "stream": 1,
        "partial": 1,
        "priced": 0,
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_tokens": 3,
        "cache_write_5m_tokens": 4,
        "cache_write_1h_tokens": 5,
        "web_searches": 6,
        "service_tier": "standard",
        "speed": "fast",
        "usage_flawed": 1,
        "cost_nano": 7,
        "saved_nano": 8,
        "prompt_saved_nano": 9,
        "latency_ms": 10.5,
        "ttft_ms": 11.5,
        "request_bytes": 12,
        "response_bytes": 13,
        "upstream_request_id": "req_1",
    }


def test_row_recorded_twice_stands_once_as_it_was_first(store: Store) -> None:
    futures = [store.record(FULL_ROW), store.record(replace(FULL_ROW, cost_nano=999))]
    wait(futures, DEADLINE_S)

    assert [future.exception() for future in futures] == [None, None]
    assert column_values(store)["cost_nano"] == 7


def test_text_that_sqlite_cannot_hold_is_mended_not_lost(store: Store) -> None:
    awkward = replace(FULL_ROW, model="claude-\ud800", path="/" + "x" * 10_000)
    store.record(awkward).result(DEADLINE_S)

    values = column_values(store)
    assert values["model"] == "claude-?"
    assert values["path"] == "/" + "x" * 4095


SESSION = SessionRow(
    id="s1",
    token_hash="00" * 32,
    pid=4711,
    start_ticks=123_456,
    project="/p",
    cwd="/p/src",
    upstream="",
    created_ns=10,
)


def test_live_sessions_are_loaded_the_oldest_first(store: Store) -> None:
    younger = replace(SESSION, id="s0", created_ns=20)
    ended = replace(SESSION, id="s2", ended_ns=30)
    wait([store.save_session(session) for session in (younger, ended, SESSION)], DEADLINE_S)

    assert store.load_sessions() == (SESSION, younger)


def test_saved_session_can_change(store: Store) -> None:
    store.save_session(SESSION)
    changed = replace(SESSION, pid=5000, upstream="http://127.0.0.1:9")
    store.save_session(changed).result(DEADLINE_S)

    assert store.load_sessions() == (changed,)


def test_ended_session_is_not_loaded_and_its_first_end_stands(store: Store) -> None:
    store.save_session(SESSION)
    store.end_session("s1", 50)
    store.end_session("s1", 60)
    store.end_session("unheard-of", 70).result(DEADLINE_S)

    assert store.load_sessions() == ()
    with store.reading() as connection:
        assert connection.execute("SELECT id, ended_ns FROM sessions").fetchall() == [("s1", 50)]


RUN = AgentRun(client_session="c", agent_id="a", agent="go-specialist", started_ns=10)


def test_unknown_agent_run_is_none(store: Store) -> None:
    assert store.find_agent_run("c", "a") is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0, 1)])
def test_start_and_end_of_a_run_come_to_the_same_in_any_order(
    store: Store, order: tuple[int, ...]
) -> None:
    told = [replace(RUN, parent_agent_id="p"), replace(RUN, started_ns=90, ended_ns=90)]
    wait([store.save_agent_run(told[number]) for number in order], DEADLINE_S)

    assert store.find_agent_run("c", "a") == replace(RUN, parent_agent_id="p", ended_ns=90)


def test_reading_sees_one_moment(store: Store) -> None:
    count = "SELECT count(*) FROM requests"
    with store.reading() as connection:
        assert connection.execute(count).fetchone() == (0,)
        store.record(FULL_ROW).result(DEADLINE_S)
        assert connection.execute(count).fetchone() == (0,)
    with store.reading() as connection:
        assert connection.execute(count).fetchone() == (1,)


def test_readers_beside_a_writer_each_see_one_moment(store: Store) -> None:
    stop = threading.Event()
    seen: list[set[int]] = []

    def read() -> None:
        while not stop.is_set():
            with store.reading() as connection:
                count = "SELECT count(*) FROM requests"
                seen.append({connection.execute(count).fetchone()[0] for _ in range(3)})

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    rows = (replace(FULL_ROW, request_id=f"r{n}") for n in range(300))
    wait([store.record(row) for row in rows], DEADLINE_S)
    stop.set()
    for thread in threads:
        thread.join()

    assert seen
    assert all(len(counts) == 1 for counts in seen)


def test_unreadable_database_is_a_store_error(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("cannot be written, requests go on")
    (tmp_path / "ledger.db").mkdir()
    with Store.open(tmp_path / "ledger.db") as store:
        with pytest.raises(StoreError) as caught:
            store.load_sessions()
        assert store.health()["status"] == "degraded"

    assert caught.value.code == "ledger-unreadable"
    assert caught.value.hint


def test_error_of_the_borrower_is_passed_on_and_leaves_no_transaction(store: Store) -> None:
    with pytest.raises(KeyError), store.reading():
        raise KeyError
    with store.reading() as connection:
        assert connection.in_transaction


def test_closed_store_leaves_one_file(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    store.record(FULL_ROW)
    threads = [threading.Thread(target=store.load_sessions) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    store.close()  # twice is no harm

    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]
    assert store.health()["status"] == "closed"


def test_reader_lent_at_close_is_closed_when_it_comes_back(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    with store.reading() as connection:
        store.close()
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (0,)

    assert store._idle == []
