# SPDX-License-Identifier: Apache-2.0
"""Linters as tests, the same that ``make lint`` runs."""

import sys

import pytest

from tests.lint.tree import SCRIPTS, check, shell_scripts


def test_ruff_finds_nothing() -> None:
    check(sys.executable, "-m", "ruff", "check", ".")


def test_ruff_format_changes_nothing() -> None:
    check(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_types_agree() -> None:
    check(sys.executable, "-m", "mypy")


def test_imports_keep_the_contracts() -> None:
    check(SCRIPTS / "lint-imports", "--no-logo")


def test_spelling() -> None:
    check(sys.executable, "-m", "codespell_lib")


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("script", shell_scripts(), ids=str)
def test_shellcheck_finds_nothing(script: str) -> None:
    check("shellcheck", script)
