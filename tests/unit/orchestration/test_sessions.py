# SPDX-License-Identifier: Apache-2.0
"""Sessions of real processes, over restarts of the registry."""

import hashlib
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from cco.errors import NotFound, RequestError
from cco.ledger.rows import SessionRow
from cco.ledger.store import Store
from cco.orchestration.sessions import Session, Sessions, start_ticks
from tests.mounting import wait_until

DEADLINE_S: Final = 30
ExpectLog = Callable[[str], None]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "cco.db"


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    with Store.open(database) as opened:
        yield opened


@contextmanager
def registry(store: Store) -> Iterator[Sessions]:
    clock = itertools.count(1_790_000_000_000_000_000)
    found = Sessions(store, now_ns=lambda: next(clock))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def sessions(store: Store) -> Iterator[Sessions]:
    with registry(store) as found:
        yield found


@pytest.fixture
def child() -> "Iterator[subprocess.Popen[bytes]]":
    """Start a process that lives until its input ends."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


Child = subprocess.Popen[bytes]


def begin(sessions: Sessions, child: Child, upstream: str = "") -> tuple[Session, str]:
    return sessions.register(pid=child.pid, cwd="/p/sub", project="/p", upstream=upstream)


def end(child: Child) -> None:
    child.kill()
    child.wait()


def ended(store: Store, session_id: str) -> bool:
    """Say whether the store, too, has the session as ended."""
    return session_id not in {row.id for row in store.load_sessions()}


def test_session_is_found_by_id_and_token(sessions: Sessions, child: Child) -> None:
    session, token = begin(sessions, child, upstream="https://x.example")

    assert sessions.by_id(session.id) is session
    assert sessions.by_token(token) is session
    assert sessions.live() == [session]
    row = session.row
    assert (row.pid, row.cwd, row.project, row.upstream) == (
        child.pid,
        "/p/sub",
        "/p",
        "https://x.example",
    )
    assert row.start_ticks == start_ticks(child.pid)


@pytest.mark.parametrize("token", ["", "x", "ü", "é" * 50])
def test_other_tokens_open_nothing(token: str, sessions: Sessions, child: Child) -> None:
    session, _ = begin(sessions, child)

    assert sessions.by_token(token) is None
    assert sessions.by_token(session.id) is None  # the id is no secret
    assert sessions.by_token(session.row.token_hash) is None
    assert sessions.by_id(token) is None


def test_every_session_has_its_own_id_and_token(sessions: Sessions, child: Child) -> None:
    made = [begin(sessions, child) for _ in range(5)]

    assert len({session.id for session, _ in made}) == 5
    assert len({token for _, token in made}) == 5
    assert sessions.live() == [session for session, _ in made]  # oldest first


def test_token_is_kept_as_its_hash_only(
    sessions: Sessions, store: Store, child: Child, database: Path
) -> None:
    session, token = begin(sessions, child)

    (row,) = store.load_sessions()
    assert row == session.row
    assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert token not in repr(session)
    store.close()
    for file in database.parent.iterdir():
        assert token.encode() not in file.read_bytes()


def test_session_ends_with_its_process(sessions: Sessions, store: Store, child: Child) -> None:
    session, token = begin(sessions, child)
    end(child)

    assert sessions.by_id(session.id) is None
    assert sessions.by_token(token) is None
    assert sessions.live() == []
    wait_until(lambda: ended(store, session.id), "the store has it as ended")


def test_process_that_nobody_has_waited_for_is_dead(sessions: Sessions, child: Child) -> None:
    session, _ = begin(sessions, child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie still

    assert sessions.by_id(session.id) is None


def test_session_may_be_ended_early(sessions: Sessions, store: Store, child: Child) -> None:
    session, token = begin(sessions, child)
    sessions.end(session.id)

    assert sessions.by_token(token) is None
    assert sessions.live() == []
    wait_until(lambda: ended(store, session.id), "the store has it as ended")
    with pytest.raises(NotFound) as caught:
        sessions.end(session.id)
    assert caught.value.code == "unknown-session"


def test_session_of_a_dead_process_is_refused(sessions: Sessions, child: Child) -> None:
    end(child)
    for pid in (child.pid, 0, -1, 2**22 + 1, 2**40, -(2**40)):
        with pytest.raises(RequestError) as caught:
            sessions.register(pid=pid, cwd="", project="", upstream="")
        assert caught.value.code == "no-such-process"
    assert sessions.live() == []


# Over a restart.


def test_living_session_outlives_the_daemon(store: Store, child: Child) -> None:
    with registry(store) as before:
        session, token = begin(before, child, upstream="https://x.example")
    with registry(store) as after:
        found = after.by_token(token)
        assert found is not None
        assert found.row == session.row
        assert after.by_id(session.id) is found
        end(child)
        assert after.by_id(session.id) is None


def test_session_whose_process_died_meanwhile_is_gone(store: Store, child: Child) -> None:
    with registry(store) as before:
        session, token = begin(before, child)
    end(child)
    with registry(store) as after:
        assert after.by_token(token) is None
        assert after.live() == []
        wait_until(lambda: ended(store, session.id), "the store has it as ended")


def test_reused_pid_is_another_process(store: Store, child: Child) -> None:
    with registry(store) as before:
        session, token = begin(before, child)
    # The same pid, but a process that began at another time.
    row = replace(session.row, start_ticks=session.row.start_ticks - 1)
    store.save_session(row).result(DEADLINE_S)
    with registry(store) as after:
        assert after.by_token(token) is None
        assert after.by_id(session.id) is None
        wait_until(lambda: ended(store, session.id), "the store has it as ended")


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_row_that_makes_no_sense_is_ended(pid: int, store: Store) -> None:
    row = SessionRow(
        id="odd",
        token_hash="x",
        pid=pid,
        start_ticks=0,
        project="",
        cwd="",
        upstream="",
        created_ns=1,
    )
    store.save_session(row).result(DEADLINE_S)
    with registry(store) as sessions:
        assert sessions.live() == []
        wait_until(lambda: ended(store, "odd"), "the store has it as ended")


def test_session_that_was_ended_stays_so(store: Store, child: Child) -> None:
    with registry(store) as before:
        session, token = begin(before, child)
        before.end(session.id)
    wait_until(lambda: ended(store, session.id), "the store has it as ended")
    with registry(store) as after:
        assert after.by_token(token) is None


def test_registry_starts_without_a_readable_database(
    tmp_path: Path, child: Child, expect_log: ExpectLog
) -> None:
    expect_log("The ledger cannot be written")
    expect_log("earlier sessions cannot be restored")
    expect_log("The ledger closed before")
    (tmp_path / "file").touch()
    with Store.open(tmp_path / "file" / "cco.db") as store, registry(store) as sessions:
        session, token = begin(sessions, child)
        assert sessions.by_token(token) is session


def test_many_threads_may_ask_while_a_session_ends(sessions: Sessions, child: Child) -> None:
    session, token = begin(sessions, child)
    failures: list[BaseException] = []
    barrier = threading.Barrier(9)

    def ask() -> None:
        barrier.wait()
        try:
            while sessions.by_token(token) and sessions.by_id(session.id):
                sessions.live()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait()
    end(child)
    for thread in threads:
        thread.join()

    assert failures == []
    assert sessions.live() == []


def test_start_of_a_process_is_its_own() -> None:
    first, second = (subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2))
    with first, second:
        ticks = [start_ticks(process.pid) for process in (first, second)]
        assert all(isinstance(one, int) and one > 0 for one in ticks)
        assert start_ticks(first.pid) == ticks[0]
    assert start_ticks(first.pid) is None


def test_name_of_a_process_may_hold_anything(tmp_path: Path) -> None:
    # In /proc/PID/stat it stands before the start time, unescaped.
    program = tmp_path / ") S 1 ("
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        plain = start_ticks(os.getpid())
        found = start_ticks(process.pid)
        assert found is not None
        assert plain is not None
        assert found >= plain
