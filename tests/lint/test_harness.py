# SPDX-License-Identifier: Apache-2.0
"""The tests' own guards do notice."""

import logging
import os
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests import capabilities, leftovers
from tests.logwatch import LogWatch


@pytest.fixture
def before(tmp_path: Path) -> leftovers.Snapshot:
    return leftovers.take_snapshot(tmp_path, elsewhere=tmp_path.parent)


def test_thread_is_noticed(before: leftovers.Snapshot) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="lingering")
    thread.start()
    assert leftovers.find(before, patience_s=0) == ["thread 'lingering'"]
    done.set()
    thread.join()
    assert leftovers.find(before) == []


def test_descriptor_is_noticed(before: leftovers.Snapshot) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = leftovers.find(before, patience_s=0)
        assert [line.startswith("descriptor ") for line in found] == [True, True]
    assert leftovers.find(before) == []


def test_process_in_the_background_is_noticed_and_swept(before: leftovers.Snapshot) -> None:
    # The shell ends at once, so the sleeper has another parent now; its token tells.
    subprocess.run(
        ["sh", "-c", "exec >/dev/null; sleep 1000 &"],
        env={**os.environ, leftovers.TOKEN_VARIABLE: before.token},
        check=True,
    )
    deadline = time.monotonic() + 10
    found: list[str] = []
    while not any(line.endswith(": sleep 1000") for line in found):  # it is a shell at first
        assert time.monotonic() < deadline, found
        found = leftovers.find(before, patience_s=0)
    assert len(found) == 1
    leftovers.sweep(before)
    assert leftovers.find(before) == []


def test_temporary_file_is_noticed(before: leftovers.Snapshot, tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=tmp_path) as file:
        name = Path(file.name).name
        assert f"temporary file {name}" in leftovers.find(before, patience_s=0)
    assert leftovers.find(before) == []


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("/tmp/ours/mount", True),
        ("/tmp/theirs/mount", False),  # of another run on this host
        ("/run/user/0/cco", True),
    ],
)
def test_mount_is_noticed(monkeypatch: pytest.MonkeyPatch, place: str, counts: bool) -> None:
    ours, elsewhere = Path("/tmp/ours"), Path("/tmp")
    before = leftovers.take_snapshot(ours, elsewhere=elsewhere)
    line = f"911 24 0:42 / {place} ro,nosuid - fuse.cco cco ro,user_id=0\n"
    (mount,) = leftovers._FUSE_MOUNT.findall(line)
    monkeypatch.setattr(leftovers, "_fuse_mounts", lambda: dict([mount]))
    assert leftovers._new_mounts(before) == [place] * counts


def test_unannounced_warning_is_noticed() -> None:
    watch = LogWatch()
    log = logging.getLogger("harness")  # of no other test: it stays as it is made here
    log.propagate = False  # not for the guard of this very test
    log.addHandler(watch)
    watch.expect("^disk")
    log.warning("disk is %d %% full", 99)
    log.info("nothing to see")
    assert watch.complaints() == []
    log.warning("memory is short")
    watch.expect("never")
    assert watch.complaints() == [
        "logged WARNING by harness: memory is short",
        "expected a warning like 'never', which was not logged",
    ]


def test_missing_ability_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(capabilities._PROBES, "wings", lambda: "grew none")
    monkeypatch.setattr(capabilities, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="needs wings: grew none"):
        capabilities.require("wings")
    monkeypatch.setattr(capabilities, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="needs wings: grew none"):
        capabilities.require("wings")


def test_environment_of_a_test_is_its_own() -> None:
    assert [name for name in os.environ if name.startswith(("CCO_", "XDG_", "ANTHROPIC_"))] == []
    assert "test" in os.environ["HOME"]
