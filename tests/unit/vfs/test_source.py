# SPDX-License-Identifier: Apache-2.0
"""The source against the daemon's side of the protocol, spoken over a real socket."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cco.errors import Denied, NotFound, Unavailable
from cco.vfs.source import AWAY, Source
from tests.mounting import TOKEN, Served, Stage, stage, wait_until

FILES = {
    "agents.sealed": Served(b"ciphertext"),
    "plugin/a b/ü?&=#%.md": Served(b"awkward name", access="session"),
    "plugin/context/startup.md": Served(lambda token: f"for {token}".encode(), access="session"),
}


@pytest.fixture
def scene() -> Iterator[Stage]:
    with stage(FILES) as found:
        yield found


def make_source(scene: Stage) -> Source:
    return Source(scene.daemon.path, identity={"pid": 42, "path": "/somewhere"})


@pytest.fixture
def source(scene: Stage) -> Iterator[Source]:
    found = make_source(scene)
    found.start()
    found.wait(timeout_s=30)
    yield found
    found.stop()
    scene.daemon.stop()


def test_tree_is_there_after_waiting(source: Source) -> None:
    snapshot = source.snapshot()
    assert set(snapshot.files) == {*FILES, "health"}
    assert snapshot.health == "OK"


def test_watch_says_who_watches(scene: Stage, source: Source) -> None:
    assert scene.daemon.watchers == [{"pid": 42, "path": "/somewhere"}]


def test_change_is_told(scene: Stage, source: Source) -> None:
    scene.daemon.files["new"] = Served(b"")
    scene.daemon.health = "ERROR: no agents"
    scene.daemon.publish()
    wait_until(lambda: "new" in source.snapshot().files, "the new file is in the tree")
    assert source.snapshot().health == "ERROR: no agents"


def test_daemon_away_and_back(scene: Stage, source: Source) -> None:
    for _ in range(3):
        scene.daemon.stop()
        wait_until(lambda: source.snapshot().health == AWAY, "health says that it is away")
        assert "agents.sealed" in source.snapshot().files
        scene.daemon.start()
        wait_until(lambda: source.snapshot().health == "OK", "health says that it is back")


def test_a_line_that_is_no_tree_is_like_no_daemon(
    scene: Stage, source: Source, expect_log: Callable[[str], None]
) -> None:
    expect_log("announced no tree: two files are called health")
    scene.daemon.files["health"] = Served(b"")
    scene.daemon.publish()
    wait_until(lambda: source.snapshot().health == AWAY, "health says so")
    del scene.daemon.files["health"]
    scene.daemon.publish()
    wait_until(lambda: source.snapshot().health == "OK", "health is well again")


def test_waiting_for_nobody_ends(scene: Stage) -> None:
    scene.daemon.stop()
    source = make_source(scene)
    source.start()
    with pytest.raises(Unavailable, match=r"no CCO daemon serves .*/cco\.sock"):
        source.wait(timeout_s=0.2)
    source.stop()


def test_file_of_a_session(source: Source) -> None:
    path = "plugin/a b/ü?&=#%.md"
    content = source.fetch(path, uid=os.getuid(), token=TOKEN)
    assert content.data == b"awkward name"
    assert content.digest == source.snapshot().files[path].digest


def test_caller_is_named(scene: Stage, source: Source) -> None:
    source.fetch("agents.sealed", uid=7, token=None)
    source.fetch("plugin/context/startup.md", uid=8, token=TOKEN)
    assert scene.daemon.fetches == [
        ("agents.sealed", "", 7),
        ("plugin/context/startup.md", TOKEN, 8),
    ]


@pytest.mark.parametrize("token", [None, "of-nobody"])
def test_no_live_session_is_denied(source: Source, token: str | None) -> None:
    with pytest.raises(Denied):
        source.fetch("plugin/context/startup.md", uid=os.getuid(), token=token)


def test_unknown_file_is_not_found(source: Source) -> None:
    with pytest.raises(NotFound):
        source.fetch("no such file", uid=os.getuid(), token=None)


def test_no_daemon_is_unavailable(scene: Stage, source: Source) -> None:
    scene.daemon.stop()
    with pytest.raises(Unavailable):
        source.fetch("agents.sealed", uid=os.getuid(), token=None)


def test_report_carries_who_and_what(scene: Stage, source: Source) -> None:
    source.report({"status": "ok", "pssBytes": 5})
    assert scene.daemon.reports == [
        {"pid": 42, "path": "/somewhere", "status": "ok", "pssBytes": 5}
    ]


def test_socket_that_is_none_of_ours(tmp_path: Path) -> None:
    source = Source(tmp_path, identity={})
    with pytest.raises(Unavailable):
        source.fetch("agents.sealed", uid=os.getuid(), token=None)
