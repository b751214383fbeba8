# SPDX-License-Identifier: Apache-2.0
"""Records of the ledger."""

from dataclasses import FrozenInstanceError

import pytest

from cco.ledger.rows import AgentRun, RequestRow
from cco.ledger.usage import Usage


def test_request_that_says_nothing_has_the_sentinels() -> None:
    row = RequestRow(request_id="r", started_ns=1)

    assert (row.agent, row.status, row.cache, row.priced) == ("main", 0, "bypass", True)
    assert row.usage == Usage()
    assert row.ttft_ms is None


def test_records_cannot_be_changed() -> None:
    run = AgentRun(client_session="s", agent_id="a", agent="python-specialist", started_ns=1)

    with pytest.raises(FrozenInstanceError):
        run.ended_ns = 2  # type: ignore[misc]
