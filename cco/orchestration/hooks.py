# SPDX-License-Identifier: Apache-2.0
"""What CCO does when Claude Code reports an event.

A hook never blocks, never decides and never calls a model; an event that CCO does not know, or
input that is not as expected, is answered with nothing.
"""

from collections.abc import Mapping
from typing import Any

from cco.orchestration.attribution import AgentRuns


class Hooks:
    """Handles the events of all sessions.

    Args:
        runs: learns which subagents run.
    """

    def __init__(self, runs: AgentRuns) -> None:
        self._runs = runs

    def handle(self, event: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take one event in; return the hook's output, None for no decision.

        Args:
            event: name as Claude Code spells it, such as ``SubagentStart``.
            given: the hook's input; any member may be missing or of any type.
        """
        session, agent_id = given.get("session_id"), given.get("agent_id")
        agent_type = given.get("agent_type")
        if not (isinstance(session, str) and isinstance(agent_id, str) and agent_id):
            return None
        # A compaction ends with a SubagentStop of the type "": no agent of ours.
        if isinstance(agent_type, str) and agent_type:
            if event == "SubagentStart":
                self._runs.started(session, agent_id, agent_type)
            elif event == "SubagentStop":
                self._runs.ended(session, agent_id, agent_type)
        return None
