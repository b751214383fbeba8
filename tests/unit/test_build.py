# SPDX-License-Identifier: Apache-2.0
"""Which build it is: of a package, of a checkout in every state that git leaves one in."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cco import build
from cco.build import Build, read

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
WHEN = 1_790_000_000
DATE = "2026-09-21T14:13:20Z"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "cco"
    root.mkdir()
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (WHEN, WHEN))


def test_package_says_which_build_it_is(package: Path) -> None:
    (package / "_build.json").write_text(json.dumps({"commit": COMMIT, "date": DATE}))
    write(package.parent / ".git/HEAD", OTHER)

    assert read(package) == Build(COMMIT, DATE)


def test_branch_with_a_file_of_its_own(package: Path) -> None:
    write(package.parent / ".git/HEAD", "ref: refs/heads/main\n")
    write(package.parent / ".git/refs/heads/main", f"{COMMIT}\n")

    assert read(package) == Build(COMMIT, DATE)


def test_branch_among_packed_ones(package: Path) -> None:
    write(package.parent / ".git/HEAD", "ref: refs/heads/main\n")
    write(
        package.parent / ".git/packed-refs",
        f"# pack-refs with: peeled\n{OTHER} refs/heads/not-main\n{COMMIT} refs/heads/main\n",
    )

    assert read(package) == Build(COMMIT, DATE)


def test_commit_without_a_branch(package: Path) -> None:
    write(package.parent / ".git/HEAD", f"{COMMIT}\n")

    assert read(package) == Build(COMMIT, DATE)


@pytest.mark.parametrize(
    "files",
    [
        {},  # neither package nor checkout
        {"HEAD": "ref: refs/heads/main\n"},  # nothing is committed yet
        {"HEAD": "ref: refs/heads/main\n", "packed-refs": f"{OTHER} refs/heads/other\n"},
    ],
)
def test_what_cannot_be_told_is_unknown(package: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        write(package.parent / ".git" / name, text)
    os.utime(package, (WHEN, WHEN))

    assert read(package) == Build("unknown", DATE)


@pytest.mark.needs("git")
def test_linked_worktree_is_read_too(tmp_path: Path) -> None:
    # Its .git is a file that names a directory, whose branches are in the common one.
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(tmp_path / "a")]
    subprocess.run(["git", "init", "-q", str(tmp_path / "a")], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "b"), "-b", "b"], check=True)
    head = subprocess.run([*git, "rev-parse", "b"], check=True, capture_output=True, text=True)
    (tmp_path / "b" / "cco").mkdir()

    assert read(tmp_path / "b" / "cco").commit == head.stdout.strip()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"commit": "x"}'])
def test_broken_note_of_the_package_keeps_nothing_from_starting(package: Path, text: str) -> None:
    (package / "_build.json").write_text(text)
    os.utime(package, (WHEN, WHEN))

    assert read(package) == Build("unknown", DATE)


def test_this_build_has_a_commit_and_a_time() -> None:
    found = read()

    assert re.fullmatch(r"[0-9a-f]{40}|unknown", found.commit)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.date)
    assert build.ROOT.name == "cco"
