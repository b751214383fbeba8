# SPDX-License-Identifier: Apache-2.0
"""What a session of the real Claude Code is told and suggested, and what a compaction leaves it."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests import capabilities
from tests.daemon import CCO
from tests.integration.claude import MODELS, Done, Place, asking, placed, texts
from tests.integration.terminal import Terminal, terminal
from tests.integration.test_claude_agents import TEAM
from tests.mounting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse", "tmux")]

FIXED: Final = "This fixed text stands in for an answer."
SPECIAL: Final = "Audit the login form and its session cookies for vulnerabilities"
STORED: Final = "Money is kept in cents, as integers"
SAID: Final = "Never use floats for money."


EVENT: Final = re.compile(
    "SessionStart|UserPromptSubmit|Subagent(Start|Stop)|PreCompact|SessionEnd"
)
"""What Claude Code calls a hook by when it tells of one."""


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


@contextmanager
def interactive(place: Place) -> Iterator[Terminal]:
    """Launch Claude Code in a terminal, with every tool in its first request."""
    words = ["run", "--", "--model", MODELS["sonnet"], "--allowedTools", "Write,TaskCreate,Bash"]
    environ = place.environ(CLAUDE_CODE_DISABLE_TERMINAL_TITLE="1", ENABLE_TOOL_SEARCH="false")
    socket = place.base / "tmux"
    with terminal([*CCO, *words], socket=socket, environ=environ, directory=place.project) as shown:
        shown.wait_for("? for shortcuts")
        yield shown


def said(place: Place) -> str:
    """Return every text of the last request of the main conversation."""
    asked = [body for one, body in place.messages() if one.header("x-claude-code-agent-id") is None]
    return "\n".join(texts(asked[-1]["messages"]))


def facts(place: Place) -> list[dict[str, Any]]:
    done = place.run("knowledge", "list", "--json", cwd=place.project)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def memories(place: Place) -> list[dict[str, Any]]:
    uri = f"file:{place.state / 'knowledge.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM memories")]


def test_what_was_decided_is_in_the_request_after_a_compaction(place: Place) -> None:
    done = place.run("knowledge", "store", STORED, cwd=place.project)
    assert done.returncode == 0, done.stderr
    with interactive(place) as shown:
        shown.enter(SAID)
        shown.wait_for(FIXED)
        assert STORED in said(place)
        file = place.project / "money.py"
        shown.enter(f'offline: tool Write {{"file_path":"{file}","content":"CENTS = 100"}}')
        shown.wait_for("Write answered")
        shown.enter('offline: tool TaskCreate {"subject":"count the cents","description":"all"}')
        shown.wait_for("TaskCreate answered")
        shown.enter("/compact")
        shown.wait_for("Compacted")
        shown.enter("And now go on")
        wait_until(lambda: "And now go on" in said(place), "the next request is there")
        shown.enter("/exit")

    after = said(place)
    assert "This session is being continued" in after
    assert "SessionStart:compact hook success: # CCO: your team is still here" in after
    assert "SessionStart:startup" not in after  # what was told then is gone
    for kept in (STORED, SAID, "count the cents", "money.py"):
        assert kept in after.partition("SessionStart:compact hook success")[2], kept
    (memory,) = memories(place)
    assert memory["project"] == str(place.project)


def test_what_was_typed_while_a_tool_ran_survives_a_compaction(place: Place) -> None:
    meanwhile = "Please spell zirconium with a z"
    is_typed = place.base / "typed"
    with interactive(place) as shown:
        waiting = f"until [ -e {is_typed} ]; do sleep 0.1; done"
        shown.enter(f'offline: tool Bash {{"command":"{waiting}","description":"wait"}}')
        shown.wait_for("Running")
        shown.enter(meanwhile)
        is_typed.touch()
        shown.wait_for("Bash answered")
        shown.enter("/compact")
        shown.wait_for("Compacted")
        shown.enter("And now go on")
        wait_until(lambda: "And now go on" in said(place), "the next request is there")
        shown.enter("/exit")

    (path,) = place.home.rglob("projects/*/*.jsonl")
    assert '"queued_command"' in path.read_text()
    assert meanwhile in said(place).partition("SessionStart:compact hook success")[2]


def test_next_session_is_told_what_agents_reported(place: Place) -> None:
    done = place.ask(TEAM)
    assert (done.status, done.err) == (0, "")

    # Three of the four say the same, which is one fact.
    (nesting, fixed) = sorted(facts(place), key=lambda fact: len(fact["text"]), reverse=True)
    assert (nesting["source"], nesting["type"]) == ("Chief Architect", "completion")
    assert "Agent cco:python-specialist answered:" in nesting["text"]
    assert fixed["source"] in ("Python Specialist", "Test Engineer", "Knowledge Manager")
    place.ask("Thank you")
    for fact in (nesting, fixed):
        assert f"told by {fact['source']}): {fact['text'][:40]}" in said(place)


def test_project_that_wants_no_knowledge_gets_none(place: Place) -> None:
    assert place.run("knowledge", "store", STORED, cwd=place.project).returncode == 0
    (place.project / ".cco.toml").write_text("[knowledge]\nenabled = false\n")
    done = place.ask(TEAM)

    assert (done.status, done.err) == (0, "")
    assert STORED not in said(place)
    assert [fact["text"] for fact in facts(place)] == [STORED]
    refused = place.run("knowledge", "store", "more", cwd=place.project)
    assert "switched off" in refused.stderr


def test_specialist_is_suggested_where_the_task_calls_for_one(place: Place) -> None:
    def is_suggested() -> bool:
        assert place.ask(SPECIAL).status == 0
        return "CCO: `cco:security-auditor` (Security Auditor) is the specialist" in said(place)

    wait_until(is_suggested, "a daemon that is not kept from it answers in time")
    assert place.ask("Thank you, that is fine").status == 0
    assert "is the specialist for this" not in said(place)


def unplug(place: Place, *, end: bool = False) -> list[str]:
    """Copy the plugin as a session reads it, then stop the daemon: its hooks have nobody to ask.

    Returns options for Claude Code, with the session's own hooks.

    Args:
        place: whose plugin.
        end: whether it is to have a hook for SessionEnd, too.
    """
    script = f"cp -r {place.plugin} {place.base}/plugin && chmod -R u+w {place.base}/plugin"
    asked = {"pid": os.getpid(), "cwd": str(place.project), "project": str(place.project)}
    session = place.client.call("POST", "/api/sessions", asked)
    assert place.execute(["sh", "-c", script], {"CCO_SESSION": session["token"]}).status == 0
    plugin = place.base / "plugin"
    shutil.rmtree(plugin / "context")
    if end:
        file = plugin / "hooks" / "hooks.json"
        hooks = json.loads(file.read_text())
        (posted,) = hooks["hooks"]["SubagentStop"][0]["hooks"]
        url = posted["url"].replace("SubagentStop", "SessionEnd")
        hooks["hooks"]["SessionEnd"] = [{"hooks": [{**posted, "url": url}]}]
        file.write_text(json.dumps(hooks))
    place.stop()
    assert set(session["hooks"]) == {"PreCompact", "SessionStart", "UserPromptSubmit"}
    settings = json.dumps({"hooks": session["hooks"]})
    return ["--plugin-dir", str(plugin), "--settings", settings]


def unplugged(place: Place) -> dict[str, str]:
    """Return what such a session has in its environment, but for the upstream."""
    return {
        "ANTHROPIC_BASE_URL": place.upstream.url,
        "CCO_SESSION": "of-a-session-that-was",
        "ORCHESTRATOR_VFS_MOUNT": str(place.mount),
    }


def ask_unplugged(place: Place, plugged: list[str], prompt: str, *options: str) -> Done:
    words = [str(capabilities.claude()), *plugged, *asking(prompt, *options)]
    return place.execute(words, unplugged(place))


def test_hooks_without_a_daemon_leave_no_trace(place: Place) -> None:
    plugged = unplug(place)
    done = ask_unplugged(place, plugged, f"{TEAM}\n{SPECIAL}")
    compacted = ask_unplugged(place, plugged, "/compact", "--resume", done.told["session_id"])

    for one in (done, compacted):
        assert (one.status, one.err, one.told["is_error"]) == (0, "", False)
    assert "Agent cco:test-engineer answered:" in done.result
    check_transcripts(place)


def test_nobody_at_a_terminal_hears_of_hooks_without_a_daemon(place: Place) -> None:
    words = [str(capabilities.claude()), "--model", MODELS["sonnet"], *unplug(place)]
    environ = place.environ(CLAUDE_CODE_DISABLE_TERMINAL_TITLE="1", **unplugged(place))
    socket = place.base / "tmux"
    with terminal(words, socket=socket, environ=environ, directory=place.project) as shown:
        shown.wait_for("? for shortcuts")
        shown.enter(SPECIAL)
        before = shown.wait_for(FIXED)
        shown.enter("offline: agent cco:test-engineer One")
        before += shown.wait_for("Agent cco:test-engineer answered:")
        assert "hook" not in before.lower()
        shown.enter("/compact")
        after = shown.wait_for("Compacted")
        # Claude Code tells of any PreCompact hook that there is: it went well.
        told = [line for line in after.splitlines() if "hook" in line.lower()]
        assert all("completed successfully" in line for line in told), told
        shown.enter("/exit")

    check_transcripts(place)


def check_transcripts(place: Place) -> None:
    """Neither the model nor a transcript heard of an error."""
    for _, body in place.messages():
        assert not EVENT.search("\n".join(texts(body["messages"])))
    lines = [line for path in place.home.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert any(SPECIAL in line for line in lines)
    assert not [line for line in lines if "_error" in line or "ECONN" in line]


def test_hook_for_the_end_of_a_session_would_be_heard(place: Place) -> None:
    """Why there is none: without a daemon Claude Code complains of this one event."""
    done = ask_unplugged(place, unplug(place, end=True), "hello")

    assert done.status == 0
    assert "SessionEnd hook" in done.err
