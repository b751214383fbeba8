# SPDX-License-Identifier: Apache-2.0
"""The description of the interface, held against what a live daemon answers.

schemathesis makes requests of every operation, good ones and bad ones, and looks at each answer:
its status is described, its headers and its content are as described, what is good is accepted,
what is bad is refused, and nothing is a failure of the server's.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.daemon import KEY, Daemon
from tests.describing import DEADLINE_S, examine

EXAMPLES: Final = 10
"""Requests of chance for each operation, beside those that cover its schema."""
SEED: Final = 1


@pytest.mark.timeout(DEADLINE_S)
def test_the_interface_is_as_described(served: Daemon, tmp_path: Path) -> None:
    status, told = examine(served, tmp_path, examples=EXAMPLES, seed=SEED)
    assert status == 0, told[-20_000:]
    assert "No issues found" in told or " passed" in told

    log = served.log()
    assert "Traceback" not in log
    assert KEY not in log
    assert served.health()["status"] == "ok"
