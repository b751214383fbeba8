# SPDX-License-Identifier: Apache-2.0
"""What CCO does when Claude Code reports an event.

A hook never blocks, never decides and never calls a model; an event that CCO does not know, or
input that is not as expected, is answered with nothing. Of a caller that names no session nothing
is kept but which agents run.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cco.catalog.catalog import PREFIX
from cco.orchestration.attribution import AgentRuns
from cco.orchestration.recall import Recall
from cco.orchestration.router import Choice
from cco.orchestration.sessions import Session

SUGGESTION: Final = (
    "CCO: `{slug}` ({name}) is the specialist for this; if it takes more than a few steps, give it"
    " the task with the Agent tool."
)


class Hooks:
    """Handles the events of all sessions.

    Args:
        runs: learns which subagents run.
        recall: keeps what must survive.
        suggest: names the agent of a session that a prompt clearly calls for.
    """

    def __init__(
        self,
        runs: AgentRuns,
        recall: Recall,
        *,
        suggest: Callable[[Session | None, str], Choice | None],
    ) -> None:
        self._runs = runs
        self._recall = recall
        self._suggest = suggest

    def handle(
        self, event: str, given: Mapping[str, Any], *, session: Session | None = None
    ) -> dict[str, Any] | None:
        """Take one event in; return the hook's output, None for no decision.

        Args:
            event: name as Claude Code spells it, such as ``SubagentStart``.
            given: the hook's input; any member may be missing or of any type.
            session: the launch of cco that it belongs to.
        """
        texts = {name: value for name, value in given.items() if isinstance(value, str) and value}
        if session is not None and {"session_id", "transcript_path"} <= texts.keys():
            self._recall.note_place(
                session, client_session=texts["session_id"], path=texts["transcript_path"]
            )
        # A compaction ends with a SubagentStop of the type "": no agent of ours.
        if (
            event.startswith("Subagent")
            and {"session_id", "agent_id", "agent_type"} <= texts.keys()
        ):
            self._subagent(event, texts, session)
        elif event == "PreCompact" and session is not None:
            # Whatever is answered to it is put into the prompt: nothing ever is.
            self._recall.before_compaction(session)
        elif event == "UserPromptSubmit":
            return self._prompt(texts.get("prompt", ""), session)
        return None

    def _prompt(self, prompt: str, session: Session | None) -> dict[str, Any] | None:
        """Return a suggestion where a prompt calls for a specialist, in one line."""
        choice = self._suggest(session, prompt)
        if choice is None:
            return None
        told = SUGGESTION.format(slug=f"{PREFIX}{choice.agent.slug}", name=choice.agent.name)
        return {
            "hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": told}
        }

    def _subagent(self, event: str, texts: Mapping[str, str], session: Session | None) -> None:
        run = texts["session_id"], texts["agent_id"], texts["agent_type"]
        if event == "SubagentStart":
            self._runs.started(*run)
        elif event == "SubagentStop":
            agent = self._runs.ended(*run)
            if session is not None:
                self._recall.learned(
                    session.row.project,
                    agent,
                    "",
                    texts.get("last_assistant_message", ""),
                    session=session.id,
                )
