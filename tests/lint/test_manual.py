# SPDX-License-Identifier: Apache-2.0
"""The manual pages: built as a package builds them, complete, accepted by man."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from cco import config, errors
from cco.cli.parser import COMMANDS
from tests.capabilities import ROOT
from tests.lint.tree import check

CLASSES = {"Shortfall", "Warned", "kind", "refusal"} | {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.CcoError)
}
"""What is called with a code."""
CODE = re.compile(r"[a-z]+(-[a-z]+)+|internal")

MADE = {
    "cco/api/errors.py": {"bad-request", "unknown-route", "wrong-method"},
    "cco/catalog/loader.py": {"hooks-invalid", "rules-invalid"},
    "cco/cli/claude.py": {"claude-missing", "claude-not-executable"},
    "cco/gateway/dial.py": {"upstream-refused", "upstream-tls", "upstream-unresolved"},
    "cco/ledger/versions.py": {
        *("knowledge-foreign", "knowledge-newer"),
        *("ledger-foreign", "ledger-newer"),
    },
    "cco/offline/body.py": {"offline-too-large"},
    # they hand on the code of another error, in another class or with more words
    **dict.fromkeys(
        (
            *("cco/api/routes/invoke.py", "cco/api/routes/sessions.py", "cco/api/warned.py"),
            *("cco/catalog/problem.py", "cco/cli/invoke.py", "cco/cli/run.py", "cco/client.py"),
            *("cco/orchestration/invoke.py", "cco/orchestration/reply.py"),
        ),
        frozenset[str](),
    ),
}
"""Codes that are put together, or chosen, where they are raised."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build all pages in a copy of what that takes, with none of what CCO runs on."""
    directory = tmp_path_factory.mktemp("man")
    build = str(ROOT / "packaging/build-manpages")
    check(sys.executable, "-P", build, directory, env={"SOURCE_DATE_EPOCH": "0"})
    return directory


def test_parser_loads_alone() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import parser;"
        " found = sorted(name for name in sys.modules if name.split('.')[0] == 'cco');"
        " sys.exit(', '.join(found) or 0)"
    )
    check(sys.executable, "-I", "-c", code, ROOT / "cco" / "cli")


def test_every_command_has_a_page(pages: Path) -> None:
    wanted = {"cco.1", *(f"cco-{name}.1" for name in COMMANDS)}
    assert wanted - {page.name for page in pages.iterdir()} == {"cco-help.1", "cco-version.1"}


def test_every_setting_is_in_the_manual(pages: Path) -> None:
    text = plain((pages / "cco.toml.5").read_text())
    for section in vars(config).values():
        if is_dataclass(section) and section is not config.Settings:
            for setting in fields(section):
                assert f'\n.BR {setting.name} " = "' in text


def test_every_error_has_a_remedy() -> None:
    told = tomllib.loads((ROOT / "man/errors.toml").read_text())
    raised, made = set[str]().union(*MADE.values()), set[str]()
    for path in (ROOT / "cco").rglob("*.py"):
        for code in codes_of(path):
            if code is None:
                made.add(str(path.relative_to(ROOT)))
            else:
                raised.add(code)
    assert told.keys() == raised
    assert made == MADE.keys()  # what is put together is looked at by people
    assert all(words.endswith(".") for words in told.values())


SENTENCES = (
    *("cco/gateway/", "cco/ledger/budgets.py"),  # told in the provider's form: one sentence
    *("cco/offline/", "cco/ledger/writer.py", "cco/vfs/source.py"),  # told to programs and the log
    "cco/api/published.py",  # an errno of the mount's
)
"""Where errors have no hint."""


def test_every_error_that_people_see_says_what_to_do() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "cco").rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(SENTENCES)
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "")
        not in ("Shortfall", "Warned", "refusal")  # they demand one
        and is_error(call.func)
        and not any(given.arg == "hint" for given in call.keywords)
    ]
    assert silent == []


def test_all_errors_speak_with_one_voice() -> None:
    for path in sorted((ROOT / "cco").rglob("*.py")):
        if str(path.relative_to(ROOT)).startswith(SENTENCES):
            continue
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not is_error(call.func):
                continue
            hints = [given.value for given in call.keywords if given.arg == "hint"]
            for text in (*call.args[1:2], *hints):
                begin, end = ends_of(text)
                assert not end.endswith("."), f"{path}: {end}"
                is_right = begin[:1].isupper() if text in hints else VOICE.match(begin)
                assert is_right or not begin, f"{path}: {begin}"


VOICE = re.compile(r"[^A-Z]|CCO|Claude Code|FUSE|GET |POST ")
"""Begins a message: no capital but a name's."""


def ends_of(text: ast.expr) -> tuple[str, str]:
    """Return what is known of the beginning and of the end of a text."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    known = [str(part.value) if isinstance(part, ast.Constant) else "" for part in parts]
    return (known[0], known[-1]) if known else ("", "")


def codes_of(path: Path) -> Iterator[str | None]:
    """Yield the codes that a module's errors have; None for one that is no text there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args or not is_error(node.func):
            continue
        code = node.args[0]
        if not isinstance(code, ast.Constant):
            yield None
        elif isinstance(code.value, str):  # a refusal of the provider's begins with its status
            assert CODE.fullmatch(code.value), f"{path}: {code.value}"
            yield code.value


def is_error(called: ast.expr) -> bool:
    """Say whether an error is made: by its class, with or without its module, or one of two."""
    if isinstance(called, ast.IfExp):
        return is_error(called.body) or is_error(called.orelse)
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in CLASSES


def plain(roff: str) -> str:
    return roff.replace("\\-", "-").replace("\\(dq", '"')


@pytest.mark.needs("man")
def test_pages_have_a_name_and_a_description(pages: Path) -> None:
    found = check("lexgrog", *sorted(pages.iterdir())).splitlines()
    assert len(found) == len(list(pages.iterdir()))
    assert f'{pages}/cco.1: "cco - Claude Code with a team of agents, an honest gateway and a' in (
        "\n".join(found)
    )


@pytest.mark.needs("man")
def test_man_accepts_the_pages(pages: Path) -> None:
    for page in sorted(pages.iterdir()):
        # lintian's way: warnings go to stderr, the page itself is of no interest.
        output = check(
            "sh", "-c", 'man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >/dev/null', "sh", page,
            env={"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"},
        )  # fmt: skip
        assert output == ""
