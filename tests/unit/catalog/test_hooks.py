# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.hooks import Hook, parse
from cco.catalog.problem import Findings
from tests.unit.catalog.samples import HOOKS


def parse_hooks(text: str) -> tuple[tuple[Hook, ...], list[tuple[int, str]]]:
    findings = Findings("hooks.toml")
    hooks = parse(text, findings)
    return hooks, [(problem.line, problem.message) for problem in findings.problems]


def test_hooks_are_read_in_order() -> None:
    hooks, problems = parse_hooks(HOOKS)

    assert problems == []
    assert hooks == (
        Hook(
            "SessionStart",
            "cat",
            5,
            "Tells a new session",
            matcher="startup|clear",
            file="context/startup.md",
        ),
        Hook("PreCompact", "http", 5, "Marks a compaction", compaction="pre"),
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        # one name that Claude Code does not know would cost every hook
        ('"PreCompact"', '"PreCompakt"', 10, "'event' cannot be 'PreCompakt', did you mean 'PreCo"),
        ('"http"', '"tcp"', 11, "'transport' cannot be 'tcp'"),
        ('"pre"', '"during"', 13, "'compaction' cannot be 'during'"),
        ("timeout_s = 5\ncompaction", "timeout_s = 0\ncompaction", 12, "'timeout_s' cannot be 0"),
        ("timeout_s = 5\ncompaction", 'timeout_s = "5"\ncompaction', 12, "'timeout_s' cannot be"),
        ('"startup|clear"', '"start\\"up"', 3, "'matcher' cannot be"),
        ('"context/startup.md"', '"../x"', 5, "'file' cannot be '../x'"),  # it goes into a shell
        ("compaction", "compacton", 13, "unknown key 'compacton', did you mean 'compaction'?"),
        ('purpose = "Marks a compaction"\n', "", 9, "the key 'purpose' is missing"),
        # Claude Code refuses SessionStart over HTTP, and for the others a file has no use
        ('"PreCompact"', '"SessionStart"', 11, "cat is for SessionStart, http and ask for"),
        ('file = "context/startup.md"\n', "", 4, "'file' goes with the transport cat"),
        ('[[hook]]\nevent = "PreCompact"', "[x]\nevent = 1", 9, "unknown table 'x'"),
    ],
)
def test_wrong_hook_is_a_problem(old: str, new: str, line: int, reason: str) -> None:
    hooks, problems = parse_hooks(HOOKS.replace(old, new))

    assert [at for at, _ in problems] == [line]
    assert problems[0][1].startswith(reason)
    assert len(hooks) == 1


def test_hooks_must_be_a_list_of_tables() -> None:
    assert parse_hooks('[hook]\nevent = "x"') == ((), [(1, "must be written [[hook]]")])
