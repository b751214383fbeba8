# SPDX-License-Identifier: Apache-2.0
"""A ledger whose file is damaged, of another version, or not a ledger at all."""

import re
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path

import pytest

from cco.errors import StoreError
from cco.ledger import reports
from cco.ledger.rows import AgentRun, RequestRow, SessionRow
from cco.ledger.schema import LEDGER
from cco.ledger.store import Store

DEADLINE_S = 30
PAGE = 4096

ExpectLog = Callable[[str], None]

SESSION = SessionRow(
    id="s1",
    token_hash="00" * 32,
    pid=1,
    start_ticks=2,
    project="/p",
    cwd="/p",
    upstream="",
    created_ns=3,
)
RUN = AgentRun(client_session="c", agent_id="a", agent="go-specialist", started_ns=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a sound ledger of some hundred pages, with a session and an agent running."""
    path = tmp_path / "state" / "ledger.db"
    with Store.open(path) as store:
        wait([store.save_session(SESSION), store.save_agent_run(RUN)], DEADLINE_S)
        rows = (
            RequestRow(request_id=f"r{n}", started_ns=n, project="/p" * 40) for n in range(2000)
        )
        wait([store.record(row) for row in rows], DEADLINE_S)
    assert path.stat().st_size > 100 * PAGE
    return path


def garble(path: Path, *, start: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * size)


def cut(path: Path, *, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def root_page(path: Path, name: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [page] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchone()
    return int(page)


def found_aside(path: Path) -> list[Path]:
    found = path.parent.glob("ledger.db.damaged-*")
    return [part for part in found if not part.name.endswith(("-wal", "-shm"))]


def check_begun_afresh(path: Path) -> Path:
    """Check that the ledger works and return the file that was set aside."""
    with Store.open(path) as store:
        assert store.health()["status"] == "ok"
        assert reports.project_stats(store)["requests"]["total"] == 0
        store.record(RequestRow(request_id="new", started_ns=1)).result(DEADLINE_S)
        assert reports.project_stats(store)["requests"]["total"] == 1
    [aside] = found_aside(path)
    assert re.fullmatch(r"ledger\.db\.damaged-\d{8}T\d{6}Z", aside.name)
    assert path.stat().st_mode & 0o777 == 0o600
    return aside


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: garble(path, start=0, size=100),  # the header
        lambda path: garble(path, start=20 * PAGE, size=30 * PAGE),  # somewhere inside
        lambda path: cut(path, size=50 * PAGE),
        lambda path: cut(path, size=777),
        lambda path: path.write_bytes(b"this is no database " * 500),
    ],
    ids=["header", "middle", "cut", "cut in the first page", "text"],
)
def test_damaged_ledger_is_set_aside_with_its_name_in_the_log(
    path: Path,
    damage: Callable[[Path], object],
    expect_log: ExpectLog,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expect_log(r"The ledger was damaged \(.*\); set aside as .*ledger\.db\.damaged-")
    damage(path)
    content = path.read_bytes()
    aside = check_begun_afresh(path)
    if any("carried over" in record.getMessage() for record in caplog.records):
        expect_log("Nothing could be carried over")

    assert aside.read_bytes() == content
    [record] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert str(aside) in record.getMessage()


def test_what_runs_survives_damage_elsewhere(path: Path, expect_log: ExpectLog) -> None:
    """Old figures are broken; the running session must not notice."""
    expect_log("The ledger was damaged")
    garble(path, start=(root_page(path, "requests") - 1) * PAGE, size=PAGE)

    with Store.open(path) as store:
        assert store.load_sessions() == (SESSION,)
        assert store.find_agent_run("c", "a") == RUN
        assert reports.project_stats(store)["requests"]["total"] == 0


def test_log_of_a_damaged_ledger_is_not_played_into_the_fresh_one(
    path: Path, expect_log: ExpectLog
) -> None:
    """Another process that still has it open keeps SQLite from clearing the log away."""
    expect_log("The ledger was damaged")
    expect_log("Nothing could be carried over")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE agent_runs SET ended_ns = 5")
        connection.commit()
        log = path.with_name("ledger.db-wal").read_bytes()
        garble(path, start=0, size=100)
        aside = check_begun_afresh(path)

        assert log
        assert aside.with_name(aside.name + "-wal").read_bytes() == log


def test_damage_met_while_running_is_set_aside_and_rows_go_on(
    path: Path, expect_log: ExpectLog
) -> None:
    expect_log("The ledger was damaged")
    expect_log("Nothing could be carried over")
    with Store.open(path) as store:
        garble(path, start=0, size=path.stat().st_size)
        with pytest.raises(StoreError) as caught:
            reports.project_stats(store)
        assert caught.value.code == "ledger-damaged"

        deadline = time.monotonic() + DEADLINE_S
        while not found_aside(path):
            assert time.monotonic() < deadline
        rows = [RequestRow(request_id=f"new{n}", started_ns=n) for n in range(100)]
        wait([store.record(row) for row in rows], DEADLINE_S)
        assert store.health() == {"status": "ok", "pending": 0, "lost": 0, "reason": None}
        assert reports.project_stats(store)["requests"]["total"] == 100


def test_two_damages_in_one_second_keep_both_files(path: Path, expect_log: ExpectLog) -> None:
    expect_log("The ledger was damaged")
    expect_log("Nothing could be carried over")
    for _ in range(3):
        path.write_bytes(b"this is no database " * 500)
        Store.open(path).close()

    assert len(found_aside(path)) == 3


def test_ledger_of_a_newer_version_is_refused_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {LEDGER.version + 1}")
    content = path.read_bytes()

    with pytest.raises(StoreError) as caught:
        Store.open(path)

    assert caught.value.code == "ledger-newer"
    assert caught.value.hint
    assert path.read_bytes() == content
    assert [part.name for part in path.parent.iterdir()] == [path.name]


def test_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    content = path.read_bytes()

    with pytest.raises(StoreError) as caught:
        Store.open(path)

    assert caught.value.code == "ledger-foreign"
    assert path.read_bytes() == content
