# SPDX-License-Identifier: Apache-2.0
"""Whose command it is, and with which status it ends."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cco import errors
from cco.cli import commands, main, run
from cco.cli.parser import COMMANDS
from cco.errors import CcoError
from tests.capabilities import ROOT
from tests.unit.cli.fakes import CCO, make_noting_claude, run_cco

Called = list[tuple[str, Any]]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """Note which part of the command line was reached, and with what."""
    noted: Called = []

    def note(name: str) -> Callable[..., int]:
        def reached(arguments: Any, environ: Mapping[str, str]) -> int:
            noted.append((name, arguments))
            return 0

        return reached

    monkeypatch.setattr(run, "launch", note("launch"))
    for name in ("commands", *main.MODULES, *main.VERBS.values()):
        module = importlib.import_module(f"cco.cli.{name}")
        monkeypatch.setattr(module, "run", note(name))
    return noted


@pytest.mark.parametrize(
    ("argv", "passed"),
    [
        ([], []),
        (["-p", "explain"], ["-p", "explain"]),
        (["--resume"], ["--resume"]),
        (["--version"], ["--version"]),  # Claude Code's own; ours is `cco version`
        (["fix the bug"], ["fix the bug"]),  # a prompt
        (["stats of this project"], ["stats of this project"]),  # that begins with our word
        (["mcp", "list"], ["mcp", "list"]),
        # commands of Claude Code's that are near none of ours
        (["mcp"], ["mcp"]),
        (["update"], ["update"]),
        (["install"], ["install"]),
        (["plugin"], ["plugin"]),
        (["setup-token"], ["setup-token"]),
        (["auth"], ["auth"]),
        # two words are no slip
        (["statss", "--json"], ["statss", "--json"]),
        (["daemno", "start"], ["daemno", "start"]),
        # too short, or no word
        (["hi"], ["hi"]),
        (["run!"], ["run!"]),
        (["./demo"], ["./demo"]),
        (["123"], ["123"]),
        ([""], [""]),
        # `--` passes everything on
        (["--"], []),
        (["--", "agents"], ["agents"]),
        (["--", "-h"], ["-h"]),
        (["--", "--", "x"], ["--", "x"]),
        (["--", "statss"], ["statss"]),
        (["-p", "x", "--", "y"], ["-p", "x", "--", "y"]),  # a later one is Claude Code's
    ],
)
def test_what_is_not_ours_goes_to_claude_code_unchanged(
    called: Called, argv: list[str], passed: list[str]
) -> None:
    assert main.main(argv, {}) == 0
    assert called == [("launch", passed)]


@pytest.mark.parametrize(
    ("argv", "module"),
    [
        (["run"], "run"),
        (["daemon", "start"], "daemon"),
        (["demo"], "demo"),
        (["agents"], "commands"),
        (["cache", "clear"], "commands"),
        (["completion", "bash"], "completion"),
        (["config"], "commands"),
        (["invoke", "a", "t"], "invoke"),
        (["knowledge", "list"], "knowledge"),
        (["route", "t"], "route"),
        (["sessions"], "commands"),
        (["stats"], "stats"),
        (["unseal", "agents"], "commands"),
        (["version"], "version"),
    ],
)
def test_our_words_are_ours(called: Called, argv: list[str], module: str) -> None:
    assert main.main(argv, {}) == 0
    assert [name for name, _ in called] == [module]
    assert called[0][1].command == argv[0]


def test_every_command_has_somebody_who_runs_it(called: Called) -> None:
    needs = {
        "cache": ["stats"],
        "completion": ["bash"],
        "daemon": ["start"],
        "export": ["stats", "--format", "csv"],
        "invoke": ["a", "t"],
        "knowledge": ["stats"],
        "route": ["t"],
        "unseal": ["agents"],
    }
    for name in COMMANDS:
        assert main.main([name, *needs.get(name, [])], {}) == 0
    assert len(called) == len(COMMANDS) - 1  # help is answered at once


def test_verb_with_a_module_of_its_own_is_run_by_it(called: Called) -> None:
    assert main.main(["agents", "eval", "go-specialist"], {}) == 0
    assert main.main(["agents", "list"], {}) == 0

    assert [name for name, _ in called] == ["evaluation", "commands"]


@pytest.mark.parametrize("argv", [["-h"], ["--help"]])
def test_help_is_ours(called: Called, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(argv, {})

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: cco ")
    assert called == []


def test_help_is_a_command_too(called: Called, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["help"], {}) == 0
    assert capsys.readouterr().out.startswith("usage: cco ")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([], "usage: cco [-h] COMMAND"),
        (["stats"], "usage: cco stats "),
        (["daemon", "logs"], "usage: cco daemon logs "),
        (["help"], "usage: cco help "),
    ],
)
def test_help_of_a_command_is_shown(
    called: Called, words: list[str], first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["help", *words], {}) == 0

    assert capsys.readouterr().out.startswith(first)
    assert called == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stat"], "there is no command 'stat'; did you mean 'stats'?"),
        (["weather"], "there is no command 'weather'"),
        (["daemon", "lgs"], "there is no command 'daemon lgs'"),
        (["stats", "stats"], "there is no command 'stats stats'"),
    ],
)
def test_help_of_what_is_not_there_is_usage(
    called: Called, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["help", *words], {}) == 2

    assert capsys.readouterr().err == f"cco: {sentence}\n     See them all: cco help\n"
    assert called == []


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["daemon", "stats"], "status"),
        (["daemon", "statr"], "start"),
        (["agents", "lst"], "list"),
        (["cache", "clearr", "--json"], "clear"),
        (["unseal", "agent"], "agents"),
        (["config", "cheek"], "check"),
    ],
)
def test_slip_of_a_verb_is_answered_with_what_was_meant(
    called: Called, argv: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(argv, {}) == 2

    assert called == []
    assert capsys.readouterr().err == (
        f"cco: '{argv[0]}' has no '{argv[1]}'; did you mean '{meant}'?\n"
        f"     Run: cco {argv[0]} {meant}\n"
    )


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("statss", "stats"),  # added
        ("stat", "stats"),  # dropped
        ("stars", "stats"),  # changed
        ("satts", "stats"),  # swapped
        ("agnets", "agents"),
        ("agent", "agents"),
        ("deamon", "daemon"),
        ("daemn", "daemon"),
        ("invok", "invoke"),
        ("session", "sessions"),
        ("vresion", "version"),
        ("cofnig", "config"),
        ("Stats", "stats"),
        ("hlep", "help"),
        ("dem", "demo"),
    ],
)
def test_slip_is_answered_with_what_was_meant(
    called: Called, word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([word], {}) == 2

    assert called == []
    assert capsys.readouterr().err == (
        f"cco: unknown command '{word}'; did you mean '{meant}'?\n"
        f"     To give it to Claude Code: cco -- {word}\n"
    )


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("stats", "stats", 0),
        ("stats", "tsats", 1),
        ("stats", "tats", 1),
        ("stats", "stat", 1),
        ("stats", "stuts", 1),
        ("ca", "abc", 3),  # a swapped pair is not edited again
        ("kitten", "sitting", 3),
    ],
)
def test_edits_are_counted(one: str, other: str, distance: int) -> None:
    assert main.edits(one, other) == distance
    assert main.edits(other, one) == distance


@pytest.mark.parametrize(
    ("argv", "guarded"),
    [
        (["run"], ["run"]),
        (["run", "-p", "x"], ["run", "--", "-p", "x"]),
        (["run", "--dry-run", "-p", "x"], ["run", "--dry-run", "--", "-p", "x"]),
        (["run", "--project", "d", "x"], ["run", "--project", "d", "--", "x"]),
        (["run", "--project=d", "x"], ["run", "--project=d", "--", "x"]),
        (["run", "--agents", "a,b", "x"], ["run", "--agents", "a,b", "--", "x"]),
        (["run", "--agents=a", "x"], ["run", "--agents=a", "--", "x"]),
        (["run", "--direct", "--", "--direct"], ["run", "--direct", "--", "--direct"]),
        (["run", "x", "--dry-run"], ["run", "--", "x", "--dry-run"]),  # Claude Code's by now
        (["run", "--dry"], ["run", "--", "--dry"]),  # no abbreviations of ours
        (["run", "-h"], ["run", "-h"]),
        (["run", "--project"], ["run", "--project"]),  # its value is missing: usage
        (["run", "--", "-p"], ["run", "--", "-p"]),
    ],
)
def test_run_keeps_its_own_options_from_claude_codes(argv: list[str], guarded: list[str]) -> None:
    assert main._guard_run(argv) == guarded


@pytest.mark.parametrize(
    ("argv", "passed"),
    [
        (["run", "-p", "x"], ["-p", "x"]),
        (["run", "--dry-run", "--resume"], ["--resume"]),
        (["run", "--", "--dry-run"], ["--dry-run"]),
        (["run", "--", "a", "--", "b"], ["a", "--", "b"]),
        (["run", "a", "--", "b"], ["a", "--", "b"]),
    ],
)
def test_arguments_of_run_reach_claude_code_unchanged(
    called: Called, argv: list[str], passed: list[str]
) -> None:
    main.main(argv, {})

    assert called[0][1].arguments == passed


# Exit statuses.

STATUSES: Sequence[tuple[type[CcoError], str, int]] = [
    (errors.ConfigError, "config-invalid", 78),
    (errors.RequestError, "bad-member", 65),
    (errors.NotFound, "unknown-agent", 66),
    (errors.Denied, "foreign-user", 77),
    (errors.BudgetExceeded, "budget-spent", 75),
    (errors.UpstreamError, "upstream-broken", 69),
    (errors.UpstreamRefused, "upstream-refused", 69),
    (errors.UpstreamTimeout, "upstream-timeout", 75),
    (errors.StoreError, "ledger-damaged", 74),
    (errors.SealError, "seal-altered", 65),
    (errors.Unavailable, "daemon-unavailable", 69),
    (errors.LaunchError, "claude-not-executable", 126),
    (errors.LaunchError, "claude-missing", 127),
    (errors.LaunchError, "claude-too-old", 69),
    (errors.LaunchError, "no-such-directory", 66),
]


@pytest.mark.parametrize(("kind", "code", "status"), STATUSES)
def test_error_is_one_sentence_the_remedy_and_a_status(
    kind: type[CcoError],
    code: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> NoReturn:
        raise kind(code, "it is so", hint="do that")

    monkeypatch.setattr(commands, "run", fail)

    assert main.main(["sessions"], {}) == status
    assert capsys.readouterr().err == "cco: it is so\n     do that\n"


def test_interrupt_ends_as_a_shell_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupt)

    assert main.main(["sessions"], {}) == 130


def test_paths_of_ours_are_the_same_in_every_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    # `cco run --project` enters another directory, and the daemon lives in the root.
    seen: list[Mapping[str, str]] = []

    def look(_: object, environ: Mapping[str, str]) -> int:
        seen.append(environ)
        return 0

    monkeypatch.setattr(run, "launch", look)
    given = {
        "CCO_CONFIG": "a/b.toml",
        "CCO_RUNTIME_DIR": "/r",
        "CCO_CLAUDE": "./claude",
        "CCO_SESSION": "t",
        "OTHER": "x",
    }
    main.main([], given)

    here = Path.cwd()
    assert seen == [
        {
            "CCO_CONFIG": f"{here}/a/b.toml",
            "CCO_RUNTIME_DIR": "/r",
            "CCO_CLAUDE": f"{here}/claude",
            "CCO_SESSION": "t",
            "OTHER": "x",
        }
    ]


@pytest.mark.parametrize("argv", [["version"], ["--help"], ["help"], ["config", "path"]])
def test_reader_that_has_gone_is_no_error(argv: list[str], tmp_path: Path) -> None:
    # As in `cco agents | head -1`.
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "cco", *argv],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CCO_RUNTIME_DIR": str(tmp_path)},
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_output_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m cco version >&-'],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_status_of_the_process_is_that_of_the_error(tmp_path: Path) -> None:
    done = run_cco("run", "--direct", environ={"CCO_CLAUDE": str(tmp_path / "no")}, cwd=tmp_path)

    assert done.returncode == 127
    assert done.stderr.splitlines()[0].startswith("cco: CCO_CLAUDE names ")


def test_status_of_claude_code_is_ours(tmp_path: Path) -> None:
    claude = make_noting_claude(tmp_path / "claude", status=42)
    done = run_cco("run", "--direct", environ={"CCO_CLAUDE": str(claude)}, cwd=tmp_path)

    assert done.returncode == 42


def test_launch_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    where = str(Path(errors.__file__).parents[1])
    script = (
        "import sys; from cco.cli import main, run; from cco import configfile;"
        "from pathlib import Path; configfile.load({}, config=Path('/none'), etc=Path('/none'));"
        "print([name for name in ('difflib', 'tomllib', 'shutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({where!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_launch_path_loads_no_library_of_the_daemons(tmp_path: Path) -> None:
    script = (
        "import sys; from cco.cli import main, run, commands, daemon; main.build_parser();"
        "print([name for name in ('flask', 'gunicorn', 'cryptography', 'llfuse', 'urwid',"
        " 'requests', 'http.client', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["help"], ["completion", "bash"]])
def test_full_disk_behind_the_output_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CCO, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stderr.splitlines() == [
        "cco: what is to be shown cannot be written (No space left on device)",
        "     Make room on the disk, or write it elsewhere",
    ]
    assert done.returncode == os.EX_IOERR


def test_locale_without_our_characters_gets_the_rest(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_cco("help", "run", environ={**ascii_only, "HOME": str(tmp_path)}, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "--agents GROUP,?" in done.stdout
