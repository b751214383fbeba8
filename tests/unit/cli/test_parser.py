# SPDX-License-Identifier: Apache-2.0
"""The description of the command line."""

import argparse
import ast
import inspect
import re
import shlex

import pytest

from cco.cli import parser
from cco.cli.parser import CLAUDE_WORDS, COMMANDS, build_parser, help_text, next_words


def test_it_imports_argparse_and_nothing_else() -> None:
    # The manual pages are built from it, where CCO itself cannot be imported.
    imported = {
        name
        for node in ast.walk(ast.parse(inspect.getsource(parser)))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"argparse", "typing"}


def subparsers(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def walk(of: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [of, *(one for child in subparsers(of).values() for one in walk(child))]


def test_commands_are_those_of_the_parser() -> None:
    assert tuple(subparsers(build_parser())) == COMMANDS


def test_help_lists_every_command() -> None:
    text = build_parser().format_help()

    for name in COMMANDS:
        assert re.search(rf"\n    {name}\s", text), name


def test_help_names_the_words_that_claude_code_knows_too() -> None:
    text = build_parser().format_help()

    assert f"Words that both know are CCO's: {', '.join(CLAUDE_WORDS)}." in text
    assert set(CLAUDE_WORDS) <= set(COMMANDS)
    assert "cco -- agents" in text


@pytest.mark.parametrize("one", walk(build_parser()), ids=lambda one: one.prog)
def test_every_parser_says_what_it_is_for(one: argparse.ArgumentParser) -> None:
    # Without a description the NAME line of a manual page is empty.
    assert one.description
    assert one.description[0].isupper()
    assert one.description.endswith(".")
    assert one.format_help()


@pytest.mark.parametrize("one", walk(build_parser()), ids=lambda one: one.prog)
def test_every_option_says_what_it_does(one: argparse.ArgumentParser) -> None:
    silent = [
        "/".join(action.option_strings)
        for action in one._actions
        if action.option_strings and not action.help
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("run", {"dry_run": False, "direct": False, "project": None, "arguments": []}),
        ("run --dry-run -- -p x", {"dry_run": True, "arguments": ["-p", "x"]}),
        ("run --project /p --direct -- a", {"project": "/p", "direct": True, "arguments": ["a"]}),
        ("run --project=/p", {"project": "/p"}),
        ("daemon logs", {"verb": "logs", "follow": False, "lines": 50, "since": None}),
        ("daemon logs -f -n 5 --since 10:00", {"follow": True, "lines": 5, "since": "10:00"}),
        ("daemon status --json", {"verb": "status", "json": True}),
        ("agents", {"verb": None, "json": False}),
        ("agents --json", {"json": True}),
        ("agents list --json", {"verb": "list", "json": True}),
        ("agents show x", {"verb": "show", "name": "x"}),
        ("agents check", {"verb": "check", "path": None}),
        ("agents check p --json", {"verb": "check", "path": "p", "json": True}),
        ("invoke a t --context -", {"agent": "a", "task": "t", "context": "-"}),
        ("stats", {"by": "model", "project": None, "since": None}),
        ("stats --by day --project . --since 2026-01-01", {"by": "day", "project": "."}),
        ("sessions --json", {"json": True}),
        ("unseal hooks", {"name": "hooks"}),
        ("config", {"action": "show"}),
        ("config check", {"action": "check"}),
        ("version --json", {"json": True}),
        ("demo --prompt x", {"prompt": "x"}),
        ("help", {"command": "help"}),
    ],
)
def test_commands_are_understood(argv: str, wanted: dict[str, object]) -> None:
    found = vars(build_parser().parse_args(argv.split()))

    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "argv",
    [
        "daemon",  # of what?
        "daemon begin",
        "unseal",
        "unseal secrets",
        "stats --by weather",
        "invoke agent",
        "agents show",
        "config edit",
        "daemon logs -n many",
        "run --project",
        "version --jason",
    ],
)
def test_bad_usage_is_exit_status_2(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(argv.split())

    assert caught.value.code == 2
    said, remedy = capsys.readouterr().err.splitlines()
    assert said.startswith("cco: ")
    help_words = remedy.removeprefix("     See: cco help").split()
    assert help_words == argv.split()[: len(help_words)] != []
    assert help_text(*help_words)


def test_no_command_is_no_error() -> None:
    assert build_parser().parse_args([]).command is None


def test_examples_of_the_help_are_understood() -> None:
    for one in walk(build_parser()):
        for line in (one.epilog or "").splitlines()[1:]:
            if not one.prog.startswith("cco ") or not line.startswith("  cco "):
                continue
            words = shlex.split(line[2:].partition("   ")[0])
            if words[1] != "run":  # its words are Claude Code's
                ends = [words.index(sign) for sign in ("|", ">", "<") if sign in words]
                build_parser().parse_args(words[1 : min(ends, default=None)])


@pytest.mark.parametrize("one", walk(build_parser())[1:], ids=lambda one: one.prog)
def test_help_text_is_that_of_the_parser(one: argparse.ArgumentParser) -> None:
    assert help_text(*one.prog.split()[1:]) == one.format_help()


def test_there_is_no_help_of_what_is_not_there() -> None:
    assert help_text("weather") is None
    assert help_text("daemon", "dance") is None


def test_what_may_follow_a_command_is_known() -> None:
    assert "status" in next_words("daemon")
    assert next_words("unseal") == ("agents", "orchestrator", "hooks")
    assert next_words("run") == ()  # anything
    assert next_words("version") == ()  # nothing
