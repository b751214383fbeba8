# SPDX-License-Identifier: Apache-2.0
import json
import stat

import pytest

from cco.vfs.inodes import ROOT_INODE, STATIC_TIMEOUT_S, InodeTable, Node
from cco.vfs.tree import Snapshot, parse


def make_snapshot(health: str = "OK", dynamic: str = "", **digests: str) -> Snapshot:
    """Return a tree of files by name, ``__`` standing for a slash, with their digests."""
    paths = {name.replace("__", "/"): digest for name, digest in digests.items()}
    entries = [
        {
            "path": path,
            "size": len(digest),
            "digest": digest,
            "access": "public",
            "dynamic": path == dynamic,
            "mtimeNs": 10 + number,
        }
        for number, (path, digest) in enumerate(paths.items())
    ]
    told = {"generation": "1", "health": health, "entries": entries}
    return parse(json.dumps(told).encode(), now_ns=99)


def make_table(snapshot: Snapshot) -> InodeTable:
    table = InodeTable()
    table.adopt(snapshot)
    return table


def find(table: InodeTable, path: str) -> Node:
    node = table.get(ROOT_INODE)
    for part in path.split("/") if path else ():
        node = table.child(node, part)
    return node


def test_root_has_the_number_that_fuse_gives_it() -> None:
    assert InodeTable().get(ROOT_INODE).path == ""
    assert find(make_table(make_snapshot(a="1")), "").inode == ROOT_INODE


def test_unchanged_content_keeps_its_inode() -> None:
    table = make_table(make_snapshot(a="1", b__c="2"))
    before = find(table, "a").inode, find(table, "b").inode, find(table, "b/c").inode
    table.adopt(make_snapshot(a="1", b__c="2", d="3"))
    assert (find(table, "a").inode, find(table, "b").inode, find(table, "b/c").inode) == before


def test_changed_content_is_another_inode() -> None:
    table = make_table(make_snapshot(a="1"))
    before = find(table, "a").inode
    table.adopt(make_snapshot(a="2"))
    assert find(table, "a").inode != before


def test_no_number_is_given_twice() -> None:
    table = make_table(make_snapshot(a="1"))
    seen = set()
    for round_number in range(100):
        table.adopt(make_snapshot(a=str(round_number % 2), b=str(round_number)))
        for path in ("a", "b"):
            node = find(table, path)
            seen.add((node.inode, node.path, node.digest))
    assert len({inode for inode, _, _ in seen}) == len(seen)


def test_same_digest_in_two_places_is_two_inodes() -> None:
    table = make_table(make_snapshot(a="1", b="1"))
    assert find(table, "a").inode != find(table, "b").inode


def test_health_has_an_inode_for_each_text() -> None:
    table = make_table(make_snapshot("OK"))
    well = find(table, "health")
    table.adopt(make_snapshot("ERROR: away"))
    assert find(table, "health").inode != well.inode


def test_kernel_keeps_an_old_inode_alive() -> None:
    table = make_table(make_snapshot(a="1"))
    old = find(table, "a")
    old.lookups += 2
    table.adopt(make_snapshot(a="2"))
    assert table.get(old.inode) is old
    assert not table.is_newest(old)
    table.forget(old.inode, 1)
    assert table.get(old.inode) is old
    table.forget(old.inode, 1)
    with pytest.raises(KeyError):
        table.get(old.inode)


def test_newest_inode_outlives_the_kernels_interest() -> None:
    table = make_table(make_snapshot(a="1"))
    node = find(table, "a")
    node.lookups += 1
    table.forget(node.inode, 1)
    assert find(table, "a") is node
    table.forget(12345, 1)  # one that is not ours is no reason to fall


def test_table_does_not_grow_with_generations() -> None:
    table = make_table(make_snapshot(a="0", b__c="0"))
    size = len(table)
    for number in range(50):
        table.adopt(make_snapshot(a=str(number), b__c=str(number)))
        node = find(table, "a")
        node.lookups += 1
        table.forget(node.inode, 1)
    assert len(table) == size


def test_a_removed_directory_is_empty_and_then_forgotten() -> None:
    table = make_table(make_snapshot(a="1", b__c="2"))
    directory = find(table, "b")
    directory.lookups += 1
    table.adopt(make_snapshot(a="1"))
    assert list(table.children(directory)) == []
    with pytest.raises(KeyError):
        table.child(directory, "c")
    table.forget(directory.inode, 1)
    with pytest.raises(KeyError):
        table.get(directory.inode)


def test_a_path_may_turn_from_file_to_directory() -> None:
    table = make_table(make_snapshot(a="1"))
    file = find(table, "a")
    table.adopt(make_snapshot(a__b="1"))
    assert find(table, "a").inode != file.inode
    assert stat.S_ISDIR(find(table, "a").mode)


def test_children_are_all_there_with_dots() -> None:
    table = make_table(make_snapshot(b__c="1", a="2"))
    root, inner = find(table, ""), find(table, "b")
    assert [name for name, _ in table.children(root)] == [".", "..", "a", "b", "health"]
    assert dict(table.children(inner)) == {".": inner, "..": root, "c": find(table, "b/c")}
    assert table.child(root, "..") is root


def test_what_is_not_there_is_not_found() -> None:
    table = make_table(make_snapshot(a="1"))
    with pytest.raises(KeyError):
        find(table, "b")
    with pytest.raises(KeyError):
        find(table, "a/b")


@pytest.mark.parametrize(
    ("path", "mode", "nlink", "timeout_s"),
    [
        ("", stat.S_IFDIR | 0o700, 3, STATIC_TIMEOUT_S),  # itself, its dot, and b
        ("b", stat.S_IFDIR | 0o555, 3, STATIC_TIMEOUT_S),
        ("b/d", stat.S_IFDIR | 0o555, 2, STATIC_TIMEOUT_S),
        ("a", stat.S_IFREG | 0o444, 1, STATIC_TIMEOUT_S),
        ("health", stat.S_IFREG | 0o444, 1, 0.0),
        ("b/d/f", stat.S_IFREG | 0o444, 1, 0.0),  # dynamic
    ],
)
def test_attributes(path: str, mode: int, nlink: int, timeout_s: float) -> None:
    table = make_table(make_snapshot(dynamic="b/d/f", a="1", b__c="2", b__d__f="3"))
    node = find(table, path)
    assert (node.mode, node.nlink, node.timeout_s) == (mode, nlink, timeout_s)


def test_times_and_sizes_come_from_the_entries() -> None:
    table = make_table(make_snapshot(a="1", b__c="four"))
    assert (find(table, "a").size, find(table, "a").mtime_ns) == (1, 10)
    assert (find(table, "b/c").size, find(table, "b/c").mtime_ns) == (4, 11)
    assert find(table, "health").mtime_ns == 99
    # A directory is as old as the newest of the daemon's files, whatever its health.
    assert {find(table, path).mtime_ns for path in ("", "b")} == {11}


def test_new_time_of_the_same_content_is_seen() -> None:
    table = make_table(make_snapshot(z="0", a="1"))
    assert find(table, "a").mtime_ns == 11
    table.adopt(make_snapshot(a="1"))
    assert find(table, "a").mtime_ns == 10


def test_dynamic_content_has_an_inode_for_each_digest() -> None:
    table = make_table(make_snapshot(dynamic="d", d="nobody's"))
    nobodys = find(table, "d")
    assert nobodys.entry is not None
    mine = table.rendered(nobodys.entry, digest="mine", size=4)
    yours = table.rendered(nobodys.entry, digest="yours", size=5)
    assert len({nobodys.inode, mine.inode, yours.inode}) == 3
    assert table.rendered(nobodys.entry, digest="mine", size=4) is mine
    assert (mine.size, yours.size) == (4, 5)
    assert table.is_newest(mine)
    assert table.is_newest(yours)
    mine.lookups += 1
    table.forget(mine.inode, 1)
    with pytest.raises(KeyError):
        table.get(mine.inode)


def test_content_ahead_of_its_announcement_is_the_newest() -> None:
    table = make_table(make_snapshot(a="1"))
    old = find(table, "a")
    assert old.entry is not None
    table.amend(old.entry, digest="22", size=2)
    new = find(table, "a")
    assert (new.inode != old.inode, new.size) == (True, 2)
    assert not table.is_newest(old)
    table.adopt(make_snapshot(a="22"))
    assert find(table, "a") is new
