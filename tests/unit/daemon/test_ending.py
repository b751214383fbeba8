# SPDX-License-Identifier: Apache-2.0
"""How a process of the daemon says why it ends."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cco.daemon.ending import give_up
from cco.errors import CcoError, ConfigError, StoreError, Unavailable


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("x", "f.toml:1: no", hint="do that"), os.EX_CONFIG, "f.toml:1: no\ndo that"),
        (Unavailable("x", "no port", hint="do that"), os.EX_UNAVAILABLE, "no port\ndo that"),
        (Unavailable("x", "no port"), os.EX_UNAVAILABLE, "no port"),
        (StoreError("x", "newer"), os.EX_UNAVAILABLE, "newer"),
    ],
)
def test_sentence_remedy_and_status(
    error: CcoError, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give_up(error) == status
    assert capsys.readouterr() == ("", f"cco: {said}\n")


def test_journal_is_told_that_it_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    expect_log: Callable[[str], None],
) -> None:
    expect_log("no port")
    with (tmp_path / "stderr").open("w+") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        monkeypatch.setattr("sys.stderr", stream)
        give_up(Unavailable("no-port", "no port", hint="do that"))
        stream.seek(0)
        assert stream.read() == ""
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "no port. do that")
    assert record.__dict__["CODE"] == "no-port"
