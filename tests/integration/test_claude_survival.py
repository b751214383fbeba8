# SPDX-License-Identifier: Apache-2.0
"""A running session of Claude Code outlives every process of the daemon."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.daemon import CCO
from tests.integration.claude import MODELS, Done, Place, asking, nano, placed
from tests.integration.terminal import Terminal, terminal
from tests.mounting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse", "tmux")]

VICTIMS: Final = ("worker", "arbiter", "mounter")
AGENTS: Final = ("go-specialist", "rust-specialist", "test-engineer")
PROMPT: Final = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
FIXED: Final = "This fixed text stands in for an answer."
SILENT: Final = "silent 2 times=1"
"""No byte of the answer has come when it is interrupted."""
SLOW: Final = "slow 1 times=1"
"""The answer has begun."""


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


@pytest.mark.parametrize(
    ("victim", "manner"),
    [
        ("worker", SILENT),
        ("worker", SLOW),
        ("arbiter", SILENT),
        ("arbiter", SLOW),
        ("mounter", SILENT),
    ],
)
def test_a_kill_in_the_middle_of_an_answer_is_got_over(
    place: Place, victim: str, manner: str
) -> None:
    prompt = f"offline: agent cco:test-engineer One\noffline: {manner}"
    with place.begin([*CCO, "run", "--", *asking(prompt)]) as process:
        wait_until(place.messages, "the first request has arrived upstream")
        place.kill_and_await(victim)
        out, err = process.communicate()
    done = Done(process.returncode, out, err)
    resumed = place.ask("offline: agent cco:go-specialist Two", "--resume", session_of(done))

    assert (done.status, done.err) == (0, "")
    assert "Agent cco:test-engineer answered:" in done.result
    assert "Agent cco:go-specialist answered:" in resumed.result
    # An answer that was cut is in nobody's sum; all others are in both.
    told = [nano(one.told["total_cost_usd"]) for one in (done, resumed)]
    rows = place.rows("partial = 0")
    assert sum(row["cost_nano"] for row in rows) == sum(told) > 0
    names = {"main", "Test Engineer", "Go Specialist"}
    assert {row["agent"] for row in rows} == names


def session_of(done: Done) -> str:
    return str(done.told["session_id"])


def test_an_interactive_session_goes_on_whatever_is_killed(place: Place) -> None:
    with interactive(place) as shown:
        shown.enter("offline: agent cco:python-specialist zero")
        shown.wait_for("Agent cco:python-specialist answered:")
        for victim, slug in zip(VICTIMS, AGENTS, strict=True):
            place.kill_and_await(victim)
            shown.enter(f"offline: agent cco:{slug} after-the-{victim}")
            shown.wait_for(f"Agent cco:{slug} answered:")
        before, texts = len(place.messages()), shown.screen().count(FIXED)
        shown.enter("offline: silent 3 times=1")
        wait_until(lambda: len(place.messages()) > before, "the request has arrived upstream")
        place.kill_and_await("worker")
        shown.wait_for(FIXED, count=texts + 1)
        # Its token still opens the mount, its prefix is still known.
        shown.enter("offline: bash head -1 $ORCHESTRATOR_VFS_MOUNT/CLAUDE.md")
        shown.wait_for("The team of this session")
        leave(shown)

    rows = place.rows()
    assert len({row["session_id"] for row in rows}) == 1
    assert {row["status"] for row in rows} == {200}
    names = {"main", "Python Specialist", "Go Specialist", "Rust Specialist", "Test Engineer"}
    assert {row["agent"] for row in rows} == names


def test_a_session_waits_for_a_daemon_that_was_stopped(place: Place) -> None:
    with interactive(place, CLAUDE_CODE_MAX_RETRIES="1") as shown:
        shown.enter("hello one")
        shown.wait_for(FIXED)
        place.stop()
        assert place.left_over() == []
        shown.enter("hello two")
        shown.wait_for("Unable to connect to API")
        shown.enter("/clear")
        wait_until(lambda: "hello two" not in shown.screen(), "the conversation is cleared")
        screen = shown.screen().lower()
        assert "hook" not in screen
        assert "plugin" not in screen
        place.start()
        shown.enter("/clear")
        wait_until(lambda: is_cleared(shown), "the conversation is cleared")
        shown.enter("offline: agent cco:test-engineer three")
        shown.wait_for("Agent cco:test-engineer answered:")
        leave(shown)

    last = json.dumps(place.messages()[-1][1]["messages"])
    assert "SessionStart:clear hook success: # CCO: your team" in last
    rows = place.rows()
    assert len({row["session_id"] for row in rows}) == 1
    assert {row["agent"] for row in rows} == {"main", "Test Engineer"}
    assert {row["status"] for row in rows} == {200}


@contextmanager
def interactive(place: Place, **more: str) -> Iterator[Terminal]:
    """Launch Claude Code in a terminal."""
    words = ["run", "--", "--model", MODELS["sonnet"], "--allowedTools", "Bash"]
    environ = place.environ(CLAUDE_CODE_DISABLE_TERMINAL_TITLE="1", **more)
    socket = place.base / "tmux"
    with terminal([*CCO, *words], socket=socket, environ=environ, directory=place.project) as shown:
        shown.wait_for("? for shortcuts")
        yield shown


def is_cleared(shown: Terminal) -> bool:
    """Say whether there is an empty line to type into."""
    screen = shown.screen()
    prompts = [line.strip() for line in screen.splitlines() if line.startswith(PROMPT)]
    return prompts[-1:] == [PROMPT]


def leave(shown: Terminal) -> None:
    shown.enter("/exit")
    wait_until(shown.has_ended, "Claude Code has ended")
