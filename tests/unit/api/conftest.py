# SPDX-License-Identifier: Apache-2.0
"""A daemon without its server for each test of the API, or one for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.house import House, open_house


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with open_house(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For tests that change nothing in it."""
    top = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as monkeypatch, open_house(top, monkeypatch) as found:
        yield found
