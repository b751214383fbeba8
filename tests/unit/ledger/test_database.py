# SPDX-License-Identifier: Apache-2.0
"""Opening the ledger's file."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cco.ledger.database import is_damage, open_reader, open_writer


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def open_umask() -> object:
    previous = os.umask(0)
    yield
    os.umask(previous)


@pytest.mark.usefixtures("open_umask")
def test_file_and_directory_are_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state" / "ledger.db"
    with closing(open_writer(path)) as connection:
        connection.execute("INSERT INTO agent_runs VALUES ('s', 'a', 'x', '', 1, NULL)")

        assert mode(path.parent) == 0o700
        assert {mode(part) for part in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 3  # with -wal and -shm


def test_existing_directory_keeps_its_mode_and_file_loses_its_openness(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "ledger.db"
    path.touch(mode=0o644)
    open_writer(path).close()

    assert mode(tmp_path) == 0o755
    assert mode(path) == 0o600


def test_name_with_awkward_characters_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "led ger?mode=memory#%41é.db"
    open_writer(path).close()

    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    open_reader(path).close()


def test_writer_has_the_settings_that_later_steps_build_on(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "ledger.db")) as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "busy_timeout")
        }

    assert found == {
        "journal_mode": "wal",
        "synchronous": 1,
        "auto_vacuum": 2,
        "busy_timeout": 5000,
    }


def test_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_writer(path).close()

    with closing(open_reader(path)) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM sessions")


def test_reader_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        open_reader(tmp_path / "ledger.db")

    assert list(tmp_path.iterdir()) == []


def test_only_broken_content_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database" * 100)
    with closing(sqlite3.connect(path)) as connection:
        with pytest.raises(sqlite3.DatabaseError) as caught:
            connection.execute("SELECT * FROM sqlite_schema")
        assert is_damage(caught.value)
        with pytest.raises(sqlite3.Error) as other:
            connection.execute("SELEC")
        assert not is_damage(other.value)
    assert not is_damage(sqlite3.ProgrammingError("raised by the module itself"))
