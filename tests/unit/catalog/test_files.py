# SPDX-License-Identifier: Apache-2.0
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from cco.catalog import files
from cco.catalog.problem import Problem
from tests.unit.catalog.samples import write_tree


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _count_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "line", "reason"),
    [
        (lambda path: path.mkdir(), 1, "is a directory"),
        (_make_pipe, 1, "is not a regular file"),  # and does not wait for a writer
        (_make_loop, 1, "cannot be read (Too many levels of symbolic links)"),
        (lambda path: path.symlink_to("gone"), 1, "cannot be read (No such file or directory)"),
        (lambda path: path.write_bytes(b"x" * (files.MAX_BYTES + 1)), 1, "is larger than 256 KiB"),
        (lambda path: path.write_bytes(b"a\nb\n\xff"), 3, "is not UTF-8 text"),
        (lambda path: path.write_bytes(b"\x7fELF\x02\xff\n"), 1, "is not UTF-8 text"),  # a program
    ],
)
def test_what_is_no_text_file_is_a_problem(
    tmp_path: Path, make: Callable[[Path], object], line: int, reason: str
) -> None:
    path = tmp_path / "a.md"
    make(path)

    assert files.read_text(path) == Problem(str(path), line, reason)


def test_largest_file_is_read_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x" * files.MAX_BYTES)
    (tmp_path / "b.md").symlink_to("a.md")

    assert files.read_text(tmp_path / "b.md") == "x" * files.MAX_BYTES


def test_reading_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "dir.md").mkdir()
    write_tree(tmp_path, {"a.md": "x"})
    before = _count_open()
    for name in ("dir.md", "a.md", "gone.md"):
        files.read_text(tmp_path / name)

    assert _count_open() == before


def test_unreadable_file_and_folder_are_problems() -> None:
    """Root may read everything, so where the tests run as root a child gives that up."""
    if os.geteuid() != 0:
        _check_unreadable()
        return
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            _check_unreadable()
            status = 0
        except BaseException:  # noqa: BLE001 - the child must never return into the test run
            traceback.print_exc()
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _check_unreadable() -> None:
    refused = "cannot be read (Permission denied)"
    with tempfile.TemporaryDirectory() as name:
        root = write_tree(Path(name), {"a.md": "x", "closed/b.md": "x", "listed/x/c.md": "x"})
        for path, mode in (("a.md", 0), ("closed", 0), ("listed", 0o400)):
            (root / path).chmod(mode)
        paths, problems = files.find_definitions(root)
        text = files.read_text(root / "a.md")
        for path in ("closed", "listed"):
            (root / path).chmod(0o700)

        assert paths == [root / "a.md"]
        assert Problem(str(root / "closed"), 1, refused) in problems
        assert text == Problem(str(root / "a.md"), 1, refused)


def test_definitions_are_found_in_a_stable_order(tmp_path: Path) -> None:
    names = ["b.md", "x/y/z.md", "a.md", "x/c.md", "x/notes.txt", ".hidden.md", ".git/d.md"]
    write_tree(tmp_path, dict.fromkeys(names, ""))
    (tmp_path / "folder.md").mkdir()  # named like a definition: reading it says what it is

    paths, problems = files.find_definitions(tmp_path)

    assert problems == []
    found = [str(path.relative_to(tmp_path)) for path in paths]
    assert found == ["a.md", "b.md", "folder.md", "x/c.md", "x/y/z.md"]


def test_linked_folder_is_followed_and_a_loop_told(tmp_path: Path) -> None:
    write_tree(tmp_path, {"elsewhere/a.md": "", "agents/b.md": ""})
    (tmp_path / "agents/linked").symlink_to("../elsewhere")
    (tmp_path / "agents/loop").symlink_to(".")

    paths, problems = files.find_definitions(tmp_path / "agents")

    assert [path.name for path in paths] == ["b.md", "a.md"]
    assert problems == [
        Problem(str(tmp_path / "agents/loop"), 1, "leads to a folder that was read already")
    ]


def test_missing_root_holds_nothing_and_a_file_is_a_problem(tmp_path: Path) -> None:
    write_tree(tmp_path, {"file": ""})

    assert files.find_definitions(tmp_path / "gone") == ([], [])
    assert files.find_definitions(tmp_path / "file") == (
        [],
        [Problem(str(tmp_path / "file"), 1, "cannot be read (Not a directory)")],
    )


def test_search_ends_where_there_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 3)
    write_tree(tmp_path, dict.fromkeys(["a.md", "b.md", "c.md", "d.md"], ""))

    _, problems = files.find_definitions(tmp_path)

    assert [problem.message for problem in problems] == ["holds more than 3 entries"]


def test_file_name_that_is_no_text_can_be_shown() -> None:
    assert files.shown(Path(os.fsdecode(b"/a/\xff\n.md"))) == "/a/�?.md"


def test_missing_file_has_neither_text_nor_problem(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": "x"})
    (tmp_path / "dir").mkdir()

    assert files.read_findings(tmp_path / "a")[0] == "x"
    text, findings = files.read_findings(tmp_path / "gone")
    assert (text, findings.problems) == (None, [])
    text, findings = files.read_findings(tmp_path / "dir")
    assert (text, len(findings.problems)) == (None, 1)
