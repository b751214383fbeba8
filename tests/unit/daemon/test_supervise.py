# SPDX-License-Identifier: Apache-2.0
"""The supervisor's standard error in the background, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cco.daemon.supervise import READY
from tests.capabilities import ROOT

ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}

SINK = """\
import os, sys
from pathlib import Path
from cco.daemon.logfile import LogFile
from cco.daemon.supervise import Sink
file = LogFile(Path(sys.argv[1])) if sys.argv[1] else None
sink = Sink(file)
sink.write("logged\\n")
sink.take(b"of a child\\n")
if sys.argv[2] == "release":
    sink.release()
    print("to nobody", file=sys.stderr, flush=True)
    os.write(2, b"to nobody")
    assert all(os.path.samestat(os.fstat(fd), os.stat(os.devnull)) for fd in (0, 1, 2))
sink.take(b"afterwards\\n")
sink.release()
"""


def run(log: Path | str, when: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", SINK, str(log), when],
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_starter_hears_until_all_is_ready(tmp_path: Path) -> None:
    done = run(tmp_path / "cco.log", "release")

    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"logged\nof a child\n" + READY
    assert (tmp_path / "cco.log").read_bytes() == b"logged\nof a child\nafterwards\n"


def test_starter_hears_all_where_nothing_gets_ready(tmp_path: Path) -> None:
    done = run(tmp_path / "cco.log", "go on")

    assert done.stderr == b"logged\nof a child\nafterwards\n" + READY


def test_log_that_cannot_be_had_keeps_nothing_from_running() -> None:
    done = run("", "release")

    assert done.returncode == 0
    assert done.stderr == b"logged\nof a child\n" + READY


def test_starter_that_has_gone_is_no_error(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-c", SINK, tmp_path / "cco.log", "go on"],
        env=ENVIRON,
        stderr=write_end,
        timeout=60,
        check=False,
    )
    os.close(write_end)

    assert done.returncode == 0
    assert (tmp_path / "cco.log").read_bytes() == b"logged\nof a child\nafterwards\n"


def test_starter_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    script = SINK.replace('sink.write("logged\\n")', 'sink.write("x" * 1_000_000)')
    read_end, write_end = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "cco.log", "go on"],
        env=ENVIRON,
        stderr=write_end,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    os.close(read_end)

    assert done.returncode == 0
    assert (tmp_path / "cco.log").stat().st_size > 1_000_000


@pytest.mark.parametrize("argv", [[], ["--background"]])
def test_what_cannot_be_used_is_told_before_anything_is_made(
    argv: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cco.toml").write_text("[server]\nprot = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "cco.daemon.supervise", *argv],
        env={
            **ENVIRON,
            "CCO_CONFIG": str(tmp_path / "cco.toml"),
            "CCO_RUNTIME_DIR": str(tmp_path / "r"),
            "XDG_STATE_HOME": str(tmp_path / "s"),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_CONFIG
    assert done.stderr == (
        f"cco: {tmp_path}/cco.toml:2: unknown key 'prot' in [server]\nDid you mean 'port'?\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cco.toml"]
