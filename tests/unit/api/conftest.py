# SPDX-License-Identifier: Apache-2.0
"""One daemon without its server for each test of the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.api.house import House, open_house


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with open_house(tmp_path, monkeypatch) as found:
        yield found
