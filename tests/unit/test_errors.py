# SPDX-License-Identifier: Apache-2.0
"""Errors: the tables that translate them are whole, and the source raises them as agreed."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from cco import errors
from cco.api import errors as api_errors
from cco.cli import main as cli_main
from cco.errors import CcoError
from cco.gateway import errors as gateway_errors
from cco.tui.feed import Answer, Query
from tests.unit.tui import samples

PACKAGE: Final = Path(errors.__file__).parent

KEBAB: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

NOT_LITERAL: Final = {
    ("cco/api/errors.py", "known.get(status, 'bad-request')"): "a table of literal codes",
    ("cco/api/routes/invoke.py", "error.code"): "of an error that is told with more words",
    ("cco/api/routes/sessions.py", "error.code"): "likewise",
    ("cco/catalog/problem.py", "code"): "given by the callers, as literals",
    ("cco/cli/invoke.py", "told['code']"): "the daemon's own",
    ("cco/cli/run.py", "error.code"): "of an error that is told with its place",
    ("cco/client.py", "str(told.get('code', 'error'))"): "the daemon's own",
    ("cco/gateway/dial.py", "f'upstream-{code}'"): "given by the callers, as literals",
    ("cco/ledger/versions.py", "f'{self.name}-foreign'"): "given by the schemas, as literals",
    ("cco/ledger/versions.py", "f'{self.name}-newer'"): "likewise",
    ("cco/orchestration/reply.py", "code"): "the gateway's, where the answer is its own",
}
"""Codes that no literal gives, each with the reason."""


def classes() -> list[type[CcoError]]:
    found: list[type[CcoError]] = []
    waiting = [CcoError]
    while waiting:
        kind = waiting.pop()
        below = [one for one in kind.__subclasses__() if one.__module__ == "cco.errors"]
        found += below
        waiting += below
    return sorted(found, key=lambda kind: kind.__name__)


class Raised(NamedTuple):
    """One place that makes an error."""

    file: str
    line: int
    code: ast.expr
    message: ast.expr


def raised() -> Iterator[Raised]:
    names = {"CcoError", *(kind.__name__ for kind in classes())}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if (name in names or name == "kind") and len(node.args) >= 2:
                    file = str(path.relative_to(PACKAGE.parent))
                    yield Raised(file, node.lineno, node.args[0], node.args[1])


RAISED: Final = list(raised())


def literals(node: ast.expr, file: str) -> list[str]:
    """Return the literal codes that an expression can give; none if it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*literals(node.body, file), *literals(node.orelse, file)]
    if isinstance(node, ast.BoolOp):  # what is handed on, or else a code of its own
        return literals(node.values[-1], file)
    if isinstance(node, ast.Name) and node.id.isupper():  # a constant of the module
        value = getattr(importlib.import_module(file[:-3].replace("/", ".")), node.id)
        return [value] if isinstance(value, str) else []
    return []


def test_tree_is_drawn_as_it_is() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")

    assert sorted(drawn) == [kind.__name__ for kind in classes()]


@pytest.mark.parametrize("kind", classes())
def test_every_error_has_an_http_status(kind: type[CcoError]) -> None:
    assert 400 <= api_errors.status_of(kind("some-code", "it is so")) <= 599


@pytest.mark.parametrize("kind", classes())
def test_every_error_has_an_exit_status(kind: type[CcoError]) -> None:
    assert 1 < cli_main.status_of(kind("some-code", "it is so")) <= 127


@pytest.mark.parametrize("kind", classes())
def test_every_error_has_a_line_in_the_dashboard(kind: type[CcoError]) -> None:
    made = samples.model("Agents", agents=None)
    del made.documents["agents"]
    error = kind("some-code", "it is so", hint="Do this")
    made.take(Answer(Query("agents", "/api/project/stats"), error=error), samples.NOW)
    assert " it is so. Do this" in "\n".join(samples.screen(made))


GATEWAY_KINDS = list(gateway_errors.STATUS)


@pytest.mark.parametrize("kinds", [GATEWAY_KINDS, list(cli_main.STATUS)])
def test_most_particular_class_comes_first(kinds: list[type[CcoError]]) -> None:
    hidden = [
        later.__name__
        for at, later in enumerate(kinds)
        for earlier in kinds[:at]
        if issubclass(later, earlier)
    ]
    assert hidden == []


def test_the_base_is_never_raised() -> None:
    # It stands in no table.
    for path in sorted(PACKAGE.rglob("*.py")):
        assert "raise CcoError(" not in path.read_text(encoding="utf-8"), path


def test_error_is_its_message() -> None:
    error = errors.Denied("some-code", "it is so", hint="do that")

    assert (str(error), error.code, error.message, error.hint) == (
        "it is so",
        "some-code",
        "it is so",
        "do that",
    )
    assert errors.Denied("some-code", "it is so").hint is None


def test_source_raises_errors_at_all() -> None:
    assert len(RAISED) > 50


def test_every_code_is_a_literal_in_kebab_case() -> None:
    wrong = []
    for one in RAISED:
        written = ast.unparse(one.code)
        codes = literals(one.code, one.file)
        if (one.file, written) not in NOT_LITERAL and not (
            codes and all(KEBAB.fullmatch(code) for code in codes)
        ):
            wrong.append(f"{one.file}:{one.line}: {written}")
    assert not wrong, "\n".join(wrong)


def test_every_excuse_for_a_code_is_in_use() -> None:
    assert {(one.file, ast.unparse(one.code)) for one in RAISED} >= set(NOT_LITERAL)


def test_every_message_is_a_sentence_without_full_stop() -> None:
    wrong = []
    for one in RAISED:
        last = one.message.values[-1] if isinstance(one.message, ast.JoinedStr) else one.message
        if isinstance(last, ast.Constant) and not re.search(r"[^\s.!?:,]$", str(last.value)):
            wrong.append(f"{one.file}:{one.line}: {last.value!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("code", [*api_errors.STATUS_OF_CODE, *cli_main.STATUS_OF_CODE])
def test_every_code_with_a_status_of_its_own_is_written_in_kebab_case(code: str) -> None:
    assert KEBAB.fullmatch(code)
