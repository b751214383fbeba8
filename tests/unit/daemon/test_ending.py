# SPDX-License-Identifier: Apache-2.0
"""How a process of the daemon says why it ends."""

import os

import pytest

from cco.daemon.ending import give_up
from cco.errors import CcoError, ConfigError, StoreError, Unavailable


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("x", "f.toml:1: no", hint="do that"), os.EX_CONFIG, "f.toml:1: no\ndo that"),
        (Unavailable("x", "no port", hint="do that"), os.EX_UNAVAILABLE, "no port\ndo that"),
        (Unavailable("x", "no port"), os.EX_UNAVAILABLE, "no port"),
        (StoreError("x", "newer"), os.EX_UNAVAILABLE, "newer"),
    ],
)
def test_sentence_remedy_and_status(
    error: CcoError, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give_up(error) == status
    assert capsys.readouterr() == ("", f"cco: {said}\n")
