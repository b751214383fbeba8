# SPDX-License-Identifier: Apache-2.0
"""Completion, by the shells themselves where they are there."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from cco.cli import completion
from cco.cli.completion import SHELLS, Command, render, walk
from cco.cli.parser import COMMANDS, build_parser

COMPLETE = """\
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_cco
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(typed: str, script: Path) -> list[str]:
    """Return what bash offers for what is typed; a space at the end begins a new word."""
    script.write_text(render("bash"))
    words = " ".join(f"'{word}'" for word in typed.split(" "))
    code = COMPLETE.format(script=script, words=words)
    done = subprocess.run(
        ["bash", "--norc", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("cco da", ["daemon"]),
        ("cco daemon sto", ["stop"]),
        ("cco daemon logs --fo", ["--follow"]),
        ("cco stats --by s", ["session"]),
        ("cco stats --json --by s", ["session"]),
        ("cco unseal ", ["agents", "orchestrator", "hooks", "-h", "--help"]),
        ("cco invoke chief-architect --con", ["--context"]),
        ("cco invoke --context fi", []),  # bash falls back to the names of files
        ("cco -p hel", ["help"]),
        ("cco -- ag", []),  # Claude Code's own
        ("cco agents show ag", []),
    ],
)
def test_bash_offers_what_may_follow(typed: str, wanted: list[str], tmp_path: Path) -> None:
    assert offered(typed, tmp_path / "cco.bash") == wanted


def test_bash_offers_every_command(tmp_path: Path) -> None:
    assert set(COMMANDS) <= set(offered("cco ", tmp_path / "cco.bash"))


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_well_formed(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(render(shell))
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], timeout=60, check=True)
    assert len(script.read_text().splitlines()) > 40
    for name in COMMANDS:
        assert name in script.read_text()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cco", add_help=False)
    commands = parser.add_subparsers()
    one = commands.add_parser("one", help="it's 100%% so: done", add_help=False)
    one.add_argument("-o", "--output", metavar="FILE", help="where it's put")
    one.add_argument("--many", action="store_true")
    one.add_argument("--by", choices=("a", "b"))
    one.add_argument("what", choices=("x", "y"))
    return parser


def test_commands_are_those_of_the_parser() -> None:
    top, one = walk(make_parser(), "cco")

    assert top == Command("cco", (("one", "it's 100% so: done"),), ())
    assert (one.place, one.words) == ("cco/one", (("x", ""), ("y", "")))
    assert [(each.flags, each.takes_value, each.values, each.is_path) for each in one.options] == [
        (("-o", "--output"), True, (), True),
        (("--many",), False, (), False),
        (("--by",), True, ("a", "b"), False),
    ]


def test_words_of_the_help_are_quoted() -> None:
    (line,) = (line for line in render("fish").splitlines() if "-a 'unseal'" in line)
    assert line.endswith("-d 'print a sealed file'\\''s plaintext JSON'")
    assert r"'unseal:print a sealed file'\''s plaintext JSON'" in render("zsh")


def test_every_place_is_reached() -> None:
    places = [one.place for one in walk(build_parser(), "cco")]
    assert len(set(places)) == len(places)
    assert {"cco", "cco/daemon/logs", "cco/cache/clear"} <= set(places)


def test_script_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.run(argparse.Namespace(shell="fish"), {}) == 0
    assert capsys.readouterr().out == render("fish")
