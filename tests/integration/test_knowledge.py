# SPDX-License-Identifier: Apache-2.0
"""Knowledge on a running daemon: told through the mount, kept over a restart, left nowhere else."""

import json
import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from cco.offline.server import OfflineUpstream
from cco.orchestration.facts import BYTES_PER_TOKEN
from tests.capabilities import require
from tests.daemon import Daemon, Launched, call, short_directory
from tests.mounting import wait_until
from tests.unit.orchestration.test_transcript import CONVERSATION, SESSION, user

SAID: Final = "We decided to keep money in cents."
STORED: Final = "The parser is written by hand, zirconium"
LAUNCHES: Final = 500


def transcript(cco: Daemon, data: bytes = CONVERSATION) -> Path:
    path = cco.home / ".claude" / "projects" / "-p" / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def post(cco: Daemon, launched: Launched, event: str, **more: Any) -> tuple[int, bytes]:
    """Post a hook as Claude Code does; return status and body."""
    given = {"session_id": SESSION, "hook_event_name": event, "cwd": str(cco.home), **more}
    answer = call(
        cco.port,
        "POST",
        f"/api/hooks/{event}",
        body=json.dumps(given).encode(),
        headers={"x-cco-session": launched.token, "content-type": "application/json"},
    )
    return answer.status, answer.body


def told(cco: Daemon, launched: Launched, name: str) -> str:
    done = cco.read_inside(f"plugin/context/{name}.md", launched.token)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def store(cco: Daemon, text: str = STORED) -> None:
    done = cco.run("knowledge", "store", text)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_session_is_told_of_its_own_project_within_the_cap(cco: Daemon) -> None:
    cco.start()
    mine = cco.launch()
    brief = told(cco, mine, "startup")
    for number in range(100):
        store_many = {"text": f"Fact {number} {'ü' * 300}", "project": str(cco.home)}
        cco.client.call("POST", "/api/knowledge", store_many)
    store(cco)

    text = told(cco, mine, "startup")
    assert text.startswith(brief)
    assert STORED in text
    assert 1500 < len(text.encode()) - len(brief.encode()) <= 1500 * BYTES_PER_TOKEN
    assert len(text) < 10_000
    (cco.home / ".cco.toml").write_text("[knowledge]\ninject_tokens = 150\n")
    small = told(cco, mine, "startup")
    assert 0 < len(small.encode()) - len(brief.encode()) <= 150 * BYTES_PER_TOKEN


@pytest.mark.parametrize("events", [["UserPromptSubmit"], ["UserPromptSubmit", "PreCompact"]])
def test_compaction_leaves_a_record_whether_or_not_it_was_announced(
    events: list[str], cco: Daemon
) -> None:
    cco.start()
    store(cco)
    mine, other = cco.launch(), cco.launch()
    path = transcript(cco)
    for event in events:
        assert post(cco, mine, event, transcript_path=str(path), trigger="auto") == (204, b"")

    text = told(cco, mine, "compact")
    for kept in (SAID, STORED, "Write a parser for the money column", "test the parser"):
        assert kept in text
    assert len(text) < 10_000
    assert SAID not in told(cco, other, "compact")
    assert json.loads(cco.run("knowledge", "stats", "--json").stdout)["memories"] == 1


def test_compaction_leaves_a_record_though_the_daemon_was_restarted_meanwhile(cco: Daemon) -> None:
    cco.start()
    mine = cco.launch()
    path = transcript(cco)
    assert post(cco, mine, "UserPromptSubmit", transcript_path=str(path), prompt="go on")[0] == 204
    assert cco.run("daemon", "restart").returncode == 0

    assert SAID in told(cco, mine, "compact")


def test_transcripts_of_every_kind_are_answered_at_once(cco: Daemon) -> None:
    cco.start()
    mine = cco.launch()
    path = transcript(cco, b"")
    os.truncate(path, 200 * 1024 * 1024)
    with path.open("ab") as file:
        file.write(b"\n" + CONVERSATION + user("half-written")[:-20])
    assert post(cco, mine, "PreCompact", transcript_path=str(path)) == (204, b"")
    assert SAID in told(cco, mine, "compact")

    path.unlink()
    assert post(cco, mine, "PreCompact", transcript_path=str(path)) == (204, b"")
    assert SAID in told(cco, mine, "compact")  # as it was saved
    for hostile in ("/etc/shadow", "/dev/zero", "relative", "", "/proc/self/environ"):
        assert post(cco, mine, "PreCompact", transcript_path=hostile) == (204, b"")


def test_knowledge_outlives_daemon_and_worker(cco: Daemon) -> None:
    cco.start()
    store(cco)
    mine = cco.launch()
    path = transcript(cco)
    post(cco, mine, "PreCompact", transcript_path=str(path))
    path.unlink()
    cco.worker.send_signal(signal.SIGKILL)
    cco.wait_until_serving()
    assert STORED in told(cco, mine, "startup")
    assert SAID in told(cco, mine, "compact")
    assert cco.run("daemon", "restart").returncode == 0

    assert STORED in cco.run("knowledge", "list").stdout
    assert STORED in told(cco, mine, "startup")
    assert SAID in told(cco, mine, "compact")


def test_text_lies_in_one_place_and_is_forgotten_there(cco: Daemon) -> None:
    cco.start()
    store(cco)
    mine = cco.launch()
    post(cco, mine, "PreCompact", transcript_path=str(transcript(cco)))
    last = "The report of an agent, beryllium"
    for event in ("SubagentStart", "SubagentStop"):
        more = {"agent_id": "a", "agent_type": "cco:test-engineer", "last_assistant_message": last}
        assert post(cco, mine, event, **more)[0] == 204
    wait_until(lambda: last in cco.run("knowledge", "list").stdout, "the report is kept")

    def holders(word: str) -> set[str]:
        files = [path for path in cco.state.iterdir() if path.is_file()]
        return {path.name for path in files if word.encode() in path.read_bytes()}

    for word in ("zirconium", "beryllium", SAID):
        assert holders(word)
        assert all(name.startswith("knowledge.db") for name in holders(word)), word
    assert {path.stat().st_mode & 0o777 for path in cco.state.glob("knowledge.db*")} == {0o600}
    asked = cco.run("knowledge", "forget", "--all")
    assert asked.returncode != 0
    assert holders("zirconium")
    done = cco.run("knowledge", "forget", "--all", "--yes")
    assert done.stdout == "2 facts forgotten\n"
    for word in ("zirconium", "beryllium", SAID):
        assert holders(word) == set(), word


def test_secret_is_refused_and_shown_nowhere(cco: Daemon) -> None:
    cco.start()
    secret = "ghp_" + "0123456789abcdefghijklmnopqrstuvwxyz"
    done = cco.run("knowledge", "store", f"push with {secret}")

    assert done.returncode == os.EX_DATAERR
    assert "a GitHub or GitLab token" in done.stderr
    assert secret not in done.stdout + done.stderr + cco.log()
    assert cco.run("knowledge", "list").stdout == "nothing is known yet\n"


def test_five_hundred_launches_leave_nothing_and_nobody_was_asked() -> None:
    """Sessions begin, report, and are killed: no task, thread or descriptor stays, no request."""
    require("fuse")
    with OfflineUpstream() as upstream:
        cco = Daemon(short_directory(), upstream.url)
        try:
            cco.start()
            path = transcript(cco)
            for number in range(20):  # what is made once is made
                launch_and_kill(cco, path, is_busy=number % 2 == 0)
            before = held(cco)
            for number in range(LAUNCHES):
                launch_and_kill(cco, path, is_busy=number % 10 == 0)

            # Threads of the pool and readers of the ledger come when two requests meet, and stay.
            spare = (0, 0, LAUNCHES // 25, LAUNCHES // 25)

            def is_as_before() -> bool:
                return all(
                    now <= then + more
                    for now, then, more in zip(held(cco), before, spare, strict=True)
                )

            wait_until(is_as_before, f"hardly more is held than before: {before}")
            assert upstream.requests == []
        finally:
            cco.close()


def launch_and_kill(cco: Daemon, path: Path, *, is_busy: bool) -> None:
    launched = cco.launch()
    if is_busy:
        prompt = "Write unit tests for the parser of the money column"
        status, _ = post(
            cco, launched, "UserPromptSubmit", transcript_path=str(path), prompt=prompt
        )
        assert status == 200
        assert post(cco, launched, "PreCompact", transcript_path=str(path))[0] == 204
        assert SAID in told(cco, launched, "compact")
    cco.end_sessions()


def held(cco: Daemon) -> tuple[int, int, int, int]:
    """Return how many processes, sessions, threads and descriptors there are."""
    sessions = cco.client.call("GET", "/api/sessions")["sessions"]
    worker = cco.worker
    return len(cco.processes()), len(sessions), worker.num_threads(), worker.num_fds()
