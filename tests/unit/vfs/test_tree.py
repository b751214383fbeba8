# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from cco.vfs.tree import Access, Entry, Snapshot, health_data, join, parse

NOW_NS = 1_763_800_000_123_456_789


def make_item(path: str, **overrides: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "path": path,
        "size": 3,
        "digest": f"digest of {path}",
        "access": "public",
        "dynamic": False,
        "mtimeNs": 1,
    }
    return usual | overrides


def make_line(*items: object, **overrides: Any) -> bytes:
    told = {"generation": "7", "health": "OK", "entries": list(items)}
    return json.dumps(told | overrides).encode() + b"\n"


def make_snapshot(*items: object, **overrides: Any) -> Snapshot:
    return parse(make_line(*items, **overrides), now_ns=NOW_NS)


def test_entries_become_files() -> None:
    snapshot = make_snapshot(
        make_item("agents.sealed", size=9, digest="d", mtimeNs=5),
        make_item("plugin/context/startup.md", access="session", dynamic=True),
    )
    assert snapshot.generation == "7"
    assert snapshot.files["agents.sealed"] == Entry(
        "agents.sealed", 9, "d", Access.PUBLIC, is_dynamic=False, mtime_ns=5
    )
    assert snapshot.files["plugin/context/startup.md"].access is Access.SESSION
    assert snapshot.files["plugin/context/startup.md"].is_dynamic


def test_directories_follow_from_paths() -> None:
    snapshot = make_snapshot(make_item("b/x/1"), make_item("b/2"), make_item("a"))
    assert snapshot.directories == {
        "": ("a", "b", "health"),
        "b": ("2", "x"),
        "b/x": ("1",),
    }


def test_no_entries_leave_health() -> None:
    assert make_snapshot().directories == {"": ("health",)}


def test_health_is_made_of_its_text() -> None:
    snapshot = make_snapshot(health="ERROR: no agents")
    entry = snapshot.files["health"]
    assert snapshot.health == "ERROR: no agents"
    assert entry.digest == "ERROR: no agents"
    assert entry.size == len(health_data("ERROR: no agents")) == 17
    assert entry.mtime_ns == NOW_NS
    assert entry.is_for_all


def test_health_changes_alone() -> None:
    before = make_snapshot(make_item("a"))
    after = before.with_health("ERROR: away", now_ns=NOW_NS + 1)
    assert after.health == "ERROR: away"
    assert after.files["health"].mtime_ns == NOW_NS + 1
    assert after.files["a"] is before.files["a"]
    assert after.directories is before.directories
    assert before.health == "OK"


def test_same_health_is_the_same_snapshot() -> None:
    snapshot = make_snapshot()
    assert snapshot.with_health("OK", now_ns=NOW_NS + 1) is snapshot


@pytest.mark.parametrize(
    ("access", "is_dynamic", "is_for_all"),
    [
        ("public", False, True),
        ("public", True, False),  # each caller gets another
        ("session", False, False),
        ("session", True, False),
    ],
)
def test_files_for_all_are_public_and_static(
    access: str, is_dynamic: bool, is_for_all: bool
) -> None:
    snapshot = make_snapshot(make_item("a", access=access, dynamic=is_dynamic))
    assert snapshot.files["a"].is_for_all is is_for_all


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff", "decode"),
        (b"[]", "health is no str"),
        (make_line(health=None), "health is no str"),
        (make_line(entries={}), "entries is no list"),
        (make_line(generation=7), "generation is no str"),
        (make_line("a"), "path is no str"),
        (make_line(make_item("a", size="3")), "size is no int"),
        (make_line(make_item("a", size=True)), "size is no int"),
        (make_line(make_item("a", size=-1)), "a number of a is negative"),
        (make_line(make_item("a", mtimeNs=-1)), "a number of a is negative"),
        (make_line(make_item("a", mtimeNs=1.5)), "mtimeNs is no int"),
        (make_line(make_item("a", dynamic=0)), "dynamic is no bool"),
        (make_line(make_item("a", access="owner")), "'owner' is not a valid Access"),
        (make_line(make_item("a"), make_item("a")), "two files are called a"),
        (make_line(make_item("health")), "two files are called health"),
        (make_line(make_item("a"), make_item("a/b")), "a is a file and a directory"),
        (make_line(make_item("a/b"), make_item("a")), "a is a file and a directory"),
        (make_line(make_item("health/x")), "health is a file and a directory"),
        (make_line(make_item("")), "'' is no path"),
        (make_line(make_item("/a")), "'/a' is no path"),
        (make_line(make_item("a/")), "'a/' is no path"),
        (make_line(make_item("a//b")), "'a//b' is no path"),
        (make_line(make_item("../a")), "'../a' is no path"),
        (make_line(make_item("a/./b")), r"'a/\./b' is no path"),
        (make_line(make_item("a\0")), "is no path"),
        (make_line(make_item("é" * 128)), "is no path"),  # 256 bytes
        (make_line(make_item("\ud800")), "surrogates not allowed"),
    ],
)
def test_a_line_that_describes_no_tree_is_refused(line: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(line, now_ns=NOW_NS)


def test_the_longest_name_is_taken() -> None:
    assert "é" * 127 in make_snapshot(make_item("é" * 127)).files


def test_join() -> None:
    assert join("", "a") == "a"
    assert join("a/b", "c") == "a/b/c"
