# SPDX-License-Identifier: Apache-2.0
"""The log, read on from where the last reading ended."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from cco.errors import Unavailable
from cco.tui.logs import FIRST_LINES, MAX_BYTES, Journal, LogFile

LINE = "2026-11-22T12:00:0{}.123Z {} cco.gateway.relay: {}\n"


def test_file_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cco.log"
    reader = LogFile(path)
    assert reader.read() == []  # not there yet
    path.write_text(LINE.format(1, "INFO", "serving"))
    (first,) = reader.read()
    assert first[1:] == ("2026-11-22T12:00:01.123Z", "INFO", "cco.gateway.relay", "serving")
    assert reader.read() == []
    with path.open("a") as file:
        file.write(LINE.format(2, "WARNING", "an answer was cut: the client left"))
        file.write("half a li")
    (second,) = reader.read()
    assert (second.level, second.message) == ("WARNING", "an answer was cut: the client left")
    with path.open("a") as file:
        file.write("ne\n")
    (third,) = reader.read()
    # What goes on has the level of what it goes on with.
    assert (third.time, third.level, third.message) == ("", "WARNING", "half a line")
    assert [first.number, second.number, third.number] == [1, 2, 3]


def test_file_that_was_changed_for_a_new_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "cco.log"
    path.write_text(LINE.format(1, "INFO", "old"))
    reader = LogFile(path)
    reader.read()
    path.rename(tmp_path / "cco.log.1")
    path.write_text(LINE.format(2, "INFO", "new"))
    assert [line.message for line in reader.read()] == ["new"]
    path.write_text("")  # emptied in place
    assert reader.read() == []
    path.write_text(LINE.format(3, "INFO", "newer"))
    assert [line.message for line in reader.read()] == ["newer"]


def test_of_a_long_file_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cco.log"
    line = LINE.format(1, "INFO", "x" * 100)
    path.write_text(line * (3 * MAX_BYTES // len(line)) + LINE.format(2, "ERROR", "last"))
    reader = LogFile(path)
    lines = reader.read()
    assert len(lines) == FIRST_LINES
    assert lines[-1].message == "last"
    assert {each.message for each in lines[:-1]} == {"x" * 100}
    assert reader.read() == []


def test_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        LogFile(tmp_path).read()


def journalctl(tmp_path: Path, *entries: object, status: int = 0) -> list[str]:
    """Return the command of a program that prints such entries, and notes how it was called."""
    lines = "\n".join(json.dumps(entry) for entry in entries)
    script = tmp_path / "journalctl"
    script.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"open({str(tmp_path / 'called')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"print({lines!r})\nsys.exit({status})\n"
        if entries
        else f"#!/bin/sh\necho 'No journal files were opened' >&2\nexit {status}\n"
    )
    script.chmod(0o755)
    return shlex.split(str(script))


def test_journal_is_read_on_from_its_cursor(tmp_path: Path) -> None:
    entry = {
        "__CURSOR": "s=1;i=2",
        "__REALTIME_TIMESTAMP": "1795867200123456",
        "PRIORITY": "4",
        "LOGGER": "cco.gateway.relay",
        "MESSAGE": "an answer was cut",
    }
    odd = {"__CURSOR": "s=1;i=3", "MESSAGE": [104, 228, 105], "SYSLOG_IDENTIFIER": "cco"}
    reader = Journal(journalctl(tmp_path, entry, odd), {"PATH": "/usr/bin"})
    first, second = reader.read()
    assert first[1:] == (
        "2026-11-28T12:00:00.123Z",
        "WARNING",
        "cco.gateway.relay",
        "an answer was cut",
    )
    assert (second.level, second.logger) == ("INFO", "cco")
    assert second.message == "h\N{REPLACEMENT CHARACTER}i"
    reader.read()
    before, after = (tmp_path / "called").read_text().splitlines()
    assert "cursor" not in before
    assert "--after-cursor=s=1;i=3" in after
    assert "--output=json" in after


def test_journal_that_may_not_be_read_says_why(tmp_path: Path) -> None:
    reader = Journal(journalctl(tmp_path, status=1), {})
    with pytest.raises(Unavailable, match="No journal files were opened"):
        reader.read()
    with pytest.raises(Unavailable, match="does not run"):
        Journal([str(tmp_path / "none")], {}).read()
