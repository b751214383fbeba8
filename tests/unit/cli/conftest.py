# SPDX-License-Identifier: Apache-2.0
"""A place of its own for each command, and a daemon that answers by a table."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cco import paths
from tests.unit.cli.fakes import StandIn, health, standing_in


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a command."""
    (tmp_path / "r").mkdir(mode=0o700)
    return {"CCO_RUNTIME_DIR": str(tmp_path / "r"), "HOME": str(tmp_path)}


@pytest.fixture
def served(environ: dict[str, str]) -> Iterator[StandIn]:
    """Return the daemon that a command finds; it is well, and a test says what else it answers."""
    socket = paths.locate(environ, uid=os.getuid()).socket
    with standing_in(socket, {"GET /health": health()}) as found:
        yield found
