# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.tools import is_mcp


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mcp__server__tool", True),
        ("mcp__plugin_cco_orchestrator", True),  # all tools of a server
        ("mcp__server__*", True),  # the same with a star
        ("mcp__", False),  # no server
        ("mcp__*", False),  # every server there is
        ("mcp__a__b c", False),
        ("mcp__a__b\n", False),
        ("Read", False),
    ],
)
def test_names_of_mcp_tools_are_told(name: str, *, expected: bool) -> None:
    assert is_mcp(name) is expected
