# SPDX-License-Identifier: Apache-2.0
"""What the dashboard needs of its surroundings; itself it is driven in a terminal, elsewhere."""

import sys
from pathlib import Path

import pytest

from cco.errors import Unavailable
from cco.paths import locate
from cco.tui.logs import LogFile
from cco.tui.process import START, open_log, start


def command(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_daemon_that_comes_up_is_no_error() -> None:
    start(command("print('started: http://127.0.0.1:3000')"), {})
    assert START[-2:] == ("daemon", "start")


def test_daemon_that_does_not_come_up_says_why() -> None:
    script = "import sys; sys.exit('cco: the port 3000 is taken\\n     Free it')"
    with pytest.raises(Unavailable) as caught:
        start(command(script), {})
    assert (caught.value.message, caught.value.hint) == ("the port 3000 is taken", "Free it")
    # A code of the client's own would pass for a daemon that is away.
    assert not caught.value.code.startswith("daemon-")


def test_command_that_fails_without_a_word_is_told_by_its_status() -> None:
    with pytest.raises(Unavailable, match="status 69"):
        start(command("import sys; sys.exit(69)"), {})


def test_log_without_units_is_the_file(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CCO_RUNTIME_DIR": str(tmp_path / "r")}
    paths = locate(environ, uid=1000)
    paths.state.mkdir(parents=True)
    paths.log_file.write_text("2026-11-22T12:00:00.000Z INFO cco.x: serving\n")
    reader = open_log(paths, environ)
    assert isinstance(reader, LogFile)
    assert [line.message for line in reader.read()] == ["serving"]
