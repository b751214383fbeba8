# SPDX-License-Identifier: Apache-2.0
"""The line that says how far a work is."""

import pytest

from cco.cli.progress import Progress

Capture = pytest.CaptureFixture[str]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, *, is_watched: bool = True, total: int | None = 1000) -> Progress:
    progress = Progress("rows", is_watched=is_watched, monotonic=clock)
    progress.total = total
    return progress


def test_what_is_done_soon_is_not_told(capsys: Capture) -> None:
    clock = Clock()
    progress = make(clock)
    clock.now = 0.9
    progress.step(900)
    progress.close()

    assert capsys.readouterr() == ("", "")


def test_time_left_is_told_and_the_line_is_gone_in_the_end(capsys: Capture) -> None:
    clock = Clock()
    progress = make(clock)
    for now, told in (
        (2.0, "\r\rcco: 100 of 1000 rows, 18 s left"),
        (2.1, ""),  # not that often
        (400.0, "\r                                \rcco: 300 of 1000 rows, 16 min left"),
    ):
        clock.now = now
        progress.step(100)
        assert capsys.readouterr().err == told
    progress.close()
    assert capsys.readouterr().err == "\r" + " " * len("cco: 300 of 1000 rows, 16 min left") + "\r"


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_total_only_what_is_done_is_told(total: int | None, capsys: Capture) -> None:
    clock = Clock()
    progress = make(clock, total=total)
    clock.now = 2.0
    progress.step(7)

    assert capsys.readouterr().err == "\r\rcco: 7 rows"


def test_nothing_is_told_where_nobody_watches(capsys: Capture) -> None:
    clock = Clock()
    progress = make(clock, is_watched=False)
    clock.now = 5.0
    progress.step(7)
    progress.close()

    assert capsys.readouterr() == ("", "")
