# SPDX-License-Identifier: Apache-2.0
"""Shows the figures of the catalogue and the router after the tests."""

from collections.abc import Callable
from typing import Final

import pytest

FIGURE: Final = "figure of the catalogue"


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that keeps a figure for the end of the run."""
    return lambda figure: record_property(FIGURE, figure)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    figures = [
        value
        for report in sorted(reports, key=lambda report: report.location[:2])  # as in the files
        for name, value in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("catalogue")
    for figure in figures:
        terminalreporter.write_line(str(figure))
