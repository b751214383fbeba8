# SPDX-License-Identifier: Apache-2.0
"""Daemons for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.capabilities import require
from tests.daemon import Daemon, daemon, daemon_of_processes


@pytest.fixture
def cco() -> Iterator[Daemon]:
    """Return a daemon of the test's own that has not been started."""
    require("fuse")
    with daemon() as made:
        yield made


@pytest.fixture(scope="module")
def _serving() -> Iterator[Daemon]:
    require("fuse")
    with daemon_of_processes() as made:
        made.start()
        yield made


@pytest.fixture
def served(_serving: Daemon) -> Iterator[Daemon]:
    """Return a daemon that serves a whole module, for tests that change nothing in it."""
    yield _serving
    _serving.end_sessions()
