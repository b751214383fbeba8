# SPDX-License-Identifier: Apache-2.0
"""Hook inputs of chance: whatever comes is answered, and never with a failure of ours."""

import random
from typing import Final

from tests import generated
from tests.daemon import Daemon, call

EVENTS: Final = (
    *("SessionStart", "UserPromptSubmit", "PreToolUse", "SubagentStart", "SubagentStop"),
    *("PreCompact", "PostCompact", "Stop", "SessionEnd", "NoSuchEvent", "%00", "a%2Fb"),
)
MEMBERS: Final = (
    *("session_id", "agent_id", "agent_type", "prompt", "hook_event_name", "cwd", "trigger"),
    *("transcript_path", "agent_transcript_path", "compact_summary", "custom_instructions"),
)


def hook_input(chance: random.Random) -> bytes:
    """Return what a hook could post: an object whose members are anything, or not even that."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(200))
    if chance.random() < 0.1:
        return generated.value(chance).encode()
    members = (f'"{name}":{generated.value(chance)}' for name in chance.sample(MEMBERS, 5))
    return f"{{{','.join(members)}}}".encode()


def post_anything(served: Daemon, count: int, *, seed: int) -> list[str]:
    """Post so many inputs for each event; return what was answered with a failure."""
    chance = random.Random(seed)
    token, port, wrong = served.launch().token, served.port, []
    for event in EVENTS:
        for _ in range(count):
            headers = {"x-cco-session": token} if chance.random() < 0.7 else {}
            body = hook_input(chance)
            answer = call(port, "POST", f"/api/hooks/{event}", body=body, headers=headers)
            if answer.status >= 500:
                wrong.append(f"{answer.status} for {event} with {body!r}: {answer.body!r}")
    return wrong
