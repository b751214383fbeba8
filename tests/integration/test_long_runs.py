# SPDX-License-Identifier: Apache-2.0
"""``make soak`` and ``make fuzz`` in small, so that both can be run when they are needed."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.capabilities import ROOT
from tests.daemon import Daemon
from tests.fuzz import parsers
from tests.fuzz.hooks import post_anything
from tests.leftovers import TOKEN_VARIABLE
from tests.soak.__main__ import growth

INPUTS = 400
EACH = 15


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_parsers_stand_what_comes(name: str) -> None:
    for number in range(INPUTS):
        parsers.run(name, number)


def test_inputs_of_chance_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    monkeypatch.setattr(parsers, "TARGETS", {"x": lambda chance: seen.append(chance.random())})
    for number in (1, 2, 1):
        parsers.run("x", number)
    assert seen[0] == seen[2] != seen[1]


def test_hooks_stand_what_comes(served: Daemon) -> None:
    assert post_anything(served, EACH, seed=1) == []
    assert "Traceback" not in served.log()


def test_growth_is_the_slope_of_what_was_told() -> None:
    chance = random.Random(1)
    hours = [number / 100 for number in range(100)]
    slope, error = growth(hours, [50 + 3 * hour + chance.gauss(0, 0.1) for hour in hours])
    assert abs(slope - 3) < 2.5 * error < 0.25
    assert growth(hours, [7.0] * 100) == (0, 0)


@pytest.mark.timeout(300)
@pytest.mark.needs("fuse")
@pytest.mark.parametrize(
    ("module", "options", "says"),
    [
        ("soak", "--minutes 0.15 --rate 40 --kills 2", "2 kills:"),
        ("fuzz", "--minutes 0.02 --only sse --from 7", "inputs each"),
    ],
)
def test_a_long_run_can_be_a_short_one(
    module: str, options: str, says: str, tmp_path: Path
) -> None:
    environ = {name: os.environ[name] for name in ("PATH", TOKEN_VARIABLE) if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.{module}", *options.split()],
        cwd=ROOT,
        env={**environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert says in done.stdout
