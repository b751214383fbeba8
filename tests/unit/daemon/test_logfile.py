# SPDX-License-Identifier: Apache-2.0
"""The log file: a new one each day and each five megabytes, fifty in all."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from cco.daemon import logfile
from cco.daemon.logfile import KEPT, MAX_BYTES, LogFile

TODAY = date(2026, 11, 22)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "cco.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    with closing(LogFile(path)) as opened:
        opened._day = TODAY
        yield opened


def texts(path: Path) -> list[str]:
    """Return the text of the current file and of the older ones, the newest first."""
    names = [path, *(Path(f"{path}.{nth}") for nth in range(1, KEPT + 2))]
    return [name.read_text() for name in names if name.exists()]


def test_file_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(LogFile(path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_lines_are_appended_and_at_once_there(log: LogFile, path: Path) -> None:
    log.write(b"one\n", today=TODAY)
    log.write(b"two\n", today=TODAY)

    assert texts(path) == ["one\ntwo\n"]


def test_file_of_the_same_day_is_gone_on_with(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("before\n")
    with closing(LogFile(path)) as log:
        log.write(b"after\n", today=log._day)

    assert texts(path) == ["before\nafter\n"]


def test_every_day_has_a_file(log: LogFile, path: Path) -> None:
    for day in range(3):
        log.write(b"%d\n" % day, today=TODAY + timedelta(days=day))

    assert texts(path) == ["2\n", "1\n", "0\n"]


def test_file_of_an_earlier_day_is_put_aside_at_the_start(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("old\n")
    os.utime(path, (1_790_000_000, 1_790_000_000))
    with closing(LogFile(path)) as log:
        log.write(b"new\n", today=date(2030, 1, 1))

    assert texts(path) == ["new\n", "old\n"]


def test_full_file_is_put_aside(log: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "MAX_BYTES", 10)
    for text in (b"12345\n", b"1234", b"5\n"):
        log.write(text, today=TODAY)

    assert texts(path) == ["5\n", "12345\n1234"]


def test_oldest_files_go(log: LogFile, path: Path) -> None:
    for day in range(KEPT + 5):
        log.write(b"%d\n" % day, today=TODAY + timedelta(days=day))

    assert texts(path) == [f"{KEPT + 4 - nth}\n" for nth in range(KEPT)]
    assert len(list(path.parent.iterdir())) == KEPT


def test_all_files_are_fifty_megabytes() -> None:
    assert KEPT * MAX_BYTES == 50 * 1024 * 1024


def test_files_stay_within_the_limit(
    log: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "MAX_BYTES", 1000)
    for number in range(3000):
        log.write(b"%09d\n" % number, today=TODAY)

    sizes = [one.stat().st_size for one in path.parent.iterdir()]
    assert max(sizes) <= 1000
    assert sum(sizes) <= KEPT * 1000
    assert path.read_text().endswith("000002999\n")


def test_full_disk_loses_the_line_and_nothing_else(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with closing(LogFile(path)) as log:
        log._day = TODAY
        log.write(b"lost\n", today=TODAY)
        log.write(b"lost\n", today=TODAY)


def test_files_that_cannot_be_moved_are_gone_on_with(log: LogFile, path: Path) -> None:
    # A directory in the way: the next day's lines go to the same file.
    Path(f"{path}.1").mkdir()
    (Path(f"{path}.1") / "x").touch()
    for nth in range(2, KEPT):
        Path(f"{path}.{nth}").mkdir()
        (Path(f"{path}.{nth}") / "x").touch()
    log.write(b"one\n", today=TODAY)
    log.write(b"two\n", today=TODAY + timedelta(days=1))

    assert path.read_text() == "one\ntwo\n"
