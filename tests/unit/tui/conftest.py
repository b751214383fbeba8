# SPDX-License-Identifier: Apache-2.0
"""Closes what urwid leaves open; a dashboard has one screen, and ends with it."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from cco.tui.toolkit import raw_screen


@pytest.fixture(autouse=True)
def closed_screens(nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the pipes that urwid 2.1 makes for each screen and never closes."""
    screens = []

    def noted() -> Any:
        screens.append(raw_screen())
        return screens[-1]

    for module in ("app", "toolkit"):
        monkeypatch.setattr(f"cco.tui.{module}.raw_screen", noted)
    yield
    for screen in screens:
        for name in ("_resize_pipe_rd", "_resize_pipe_wr"):
            if isinstance(end := getattr(screen, name, None), int):
                os.close(end)
