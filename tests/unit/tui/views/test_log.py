# SPDX-License-Identifier: Apache-2.0
"""The log, by level."""

import pytest

from cco.tui.logs import LogLine
from cco.tui.model import LEVELS, Model
from cco.tui.views import log
from tests.unit.tui.samples import LOOK, model, screen


def filled() -> Model:
    made = model("Log")
    for number, level in enumerate(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")):
        at = f"2026-11-22T12:00:0{number}.000Z"
        made.log.append(LogLine(number, at, level, "cco.daemon.server", f"line {number}"))
    made.log.append(LogLine(5, "", "CRITICAL", "", "  goes on"))
    return made


@pytest.mark.parametrize(("level", "numbers"), [(0, "543210"), (1, "5432"), (2, "543")])
def test_level_chooses_the_lines_the_newest_first(level: int, numbers: str) -> None:
    made = filled()
    made.level = level
    assert [str(row["number"]) for row in log.VIEW.rows(made)] == list(numbers)
    assert f"{LEVELS[level]} shown" in screen(made)[3]


def test_line_has_time_level_message_and_where_it_is_from() -> None:
    lines = screen(filled(), 120, 40)
    assert lines[5].split() == [">", "critical", "goes", "on"]
    assert lines[6].split() == ["12:00:04", "critical", "line", "4", "daemon.server"]


def test_daemon_is_not_asked() -> None:
    assert log.VIEW.queries(model(), LOOK) == ()
