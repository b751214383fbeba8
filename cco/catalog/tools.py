# SPDX-License-Identifier: Apache-2.0
"""The tools of Claude Code that an agent may ask for."""

import re
from typing import Final

KNOWN: Final = frozenset(
    {
        "Agent",
        "AskUserQuestion",
        "Bash",
        "CronCreate",
        "CronDelete",
        "CronList",
        "Edit",
        "EnterPlanMode",
        "EnterWorktree",
        "ExitPlanMode",
        "ExitWorktree",
        "Glob",
        "Grep",
        "LSP",
        "ListMcpResourcesTool",
        "Monitor",
        "NotebookEdit",
        "Read",
        "ReadMcpResourceTool",
        "ReportFindings",
        "ScheduleWakeup",
        "SendMessage",
        "Skill",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskStop",
        "TaskUpdate",
        "TodoWrite",
        "ToolSearch",
        "WebFetch",
        "WebSearch",
        "Workflow",
        "Write",
    }
)
"""Names of built-in tools.

Claude Code drops a name that it does not know without a word, and an agent with no tool left can
do nothing. An agent that has Bash is not offered Glob and Grep beside it; one without Bash is
(measured: Linux build of 2.1.197, an agent given with ``--agents``, with and without Bash).

Source: Claude Code 2.1.197, the tools of a first request and the names in the program.
"""

_MCP: Final = re.compile(r"mcp__[A-Za-z0-9_-]+\*?")


def is_mcp(name: str) -> bool:
    """Tell whether this names a tool of an MCP server, or with ``__*`` all of its tools."""
    return _MCP.fullmatch(name) is not None
