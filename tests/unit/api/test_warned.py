# SPDX-License-Identifier: Apache-2.0
"""What is told of a ledger that could not be written."""

from pathlib import Path

import pytest

from cco.api.warned import of_ledger
from cco.ledger.writer import Health

FILE = Path("/state/cco.db")


@pytest.mark.parametrize(
    ("health", "codes"),
    [
        (Health(status="ok", pending=0, lost=0, reason=None), []),
        (Health(status="degraded", pending=3, lost=0, reason="disk full"), ["ledger-degraded"]),
        # What was lost stays lost when it can be written again.
        (Health(status="ok", pending=0, lost=2, reason=None), ["ledger-lost"]),
        (
            Health(status="degraded", pending=9, lost=1, reason="disk full"),
            ["ledger-degraded", "ledger-lost"],
        ),
    ],
)
def test_a_loss_is_told_as_long_as_the_daemon_lives(health: Health, codes: list[str]) -> None:
    assert [one.code for one in of_ledger(health, FILE)] == codes


def test_sentences_name_reason_place_and_number() -> None:
    degraded, lost = of_ledger(
        Health(status="degraded", pending=0, lost=7, reason="no space left"), FILE
    )
    assert "(no space left)" in degraded.message
    assert "/state writable" in str(degraded.hint)
    assert lost.message.startswith("7 records ")
