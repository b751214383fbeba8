# SPDX-License-Identifier: Apache-2.0
"""The machine, and what CCO takes of it."""

from cco.tui.views import machine
from tests.unit.tui.samples import LOOK, model, screen
from tests.unit.tui.samples import machine as told


def test_figures_are_those_of_the_api_and_of_this_process() -> None:
    lines = screen(model("Machine"))
    assert lines[4].split() == ["processors", "██░░░░░░░░░░░░░░░░░░", "12.5%"]
    assert lines[5].split()[2:] == ["25.0%", "4.0", "GiB", "of", "16.0", "GiB", "in", "use"]
    assert lines[6].startswith(" CCO itself   77.0 MiB PSS in all, 3 sessions alive")
    daemon, mount, own = (line.split() for line in lines[10:13])
    assert daemon == [
        *(">daemon", "100", "0.2%", "50.0", "MiB", "70.0", "MiB", "12", "40"),
    ]
    assert mount == ["mount", "101", "0.0%", "9.0", "MiB", "15.0", "MiB", "-", "-"]
    assert own == ["dashboard", "102", "0.3%", "18.0", "MiB", "27.0", "MiB", "2", "9"]


def test_mount_that_is_away_is_not_counted_and_nothing_is_guessed() -> None:
    away = {**told(), "vfs": None, "cpuPercent": None}
    made = model("Machine", machine=away)
    lines = screen(made)
    assert lines[4].split() == ["processors", "░" * 20, "-"]
    assert not any("mount  " in line for line in lines[9:])
    assert machine.total_pss(made) == 68 * 2**20
    made.documents["own"] = {"pid": 1}
    assert machine.total_pss(made) is None


def test_question_is_for_what_is_shown() -> None:
    (query,) = machine.VIEW.queries(model(), LOOK)
    assert query.target.endswith("fields=cpuPercent,memory,daemon,vfs,sessions")
