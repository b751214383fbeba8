# SPDX-License-Identifier: Apache-2.0
"""What knowledge needs of the world outside of the daemon's sandbox."""

import json

import pytest

from tests.machine.installed import Chosen, Login
from tests.unit.orchestration.test_transcript import CONVERSATION, SESSION

SAID = "We decided to keep money in cents."


def compacted(login: Login) -> str:
    """Return what a session is told after the compaction of a conversation in the user's home."""
    session = login.launch()
    place = login.home / ".claude/projects/-home-alice"
    file = place / f"{SESSION}.jsonl"
    write = f"umask 077; mkdir -p {place}; cat >{file}"
    login.machine.run(write, user=login.name, stdin=CONVERSATION.decode(), check=True)
    told = {"session_id": SESSION, "transcript_path": str(file), "hook_event_name": "PreCompact"}
    hook = f"bash -p {login.mount}/plugin/hooks/ask PreCompact"
    environment = {"CCO_SESSION": session.token}
    done = login.machine.run(hook, user=login.name, environment=environment, stdin=json.dumps(told))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def is_saved() -> bool:
        asked = login.run(f"cco knowledge stats --project {login.home} --json")
        return bool(json.loads(asked.stdout)["memories"])

    login.machine.wait(is_saved, "a record, for which the hook does not wait for ever")
    login.run(f"rm -r {login.home}/.claude")  # what was saved is saved
    return login.read("plugin/context/compact.md", token=session.token).stdout


def test_daemon_reads_in_its_sandbox_what_a_compaction_must_not_take(running: Login) -> None:
    assert SAID in compacted(running)


def test_so_does_the_systems_daemon(served: Chosen) -> None:
    assert SAID in compacted(served)


@pytest.mark.parametrize("place", ["/tmp/quiet", "~/quiet"])
def test_project_that_wants_no_knowledge_gets_none_wherever_it_is(
    running: Login, place: str
) -> None:
    store = f"mkdir {place} && cd {place} && printf '%s' \"$0\" >.cco.toml; cco knowledge store it"
    try:
        off = running.run(["bash", "-c", store, "[knowledge]\nenabled = false\n"])
        on = running.run(f"cd {place} && rm .cco.toml; cco knowledge store it")
    finally:
        running.run(f"rm -r {place}")
    assert off.returncode != 0
    assert "knowledge is switched off for this project" in off.stderr
    assert on.returncode == 0, on.stderr
