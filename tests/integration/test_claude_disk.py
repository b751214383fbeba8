# SPDX-License-Identifier: Apache-2.0
"""The instructions of the agents reach no disk while Claude Code works with them.

What is sealed and served is looked for, not what Claude Code itself keeps: its transcript holds,
as everything that it tells the model, the text of our startup hook and the agents' descriptions.
The tests show both.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cco.catalog import loader
from tests import capabilities
from tests.daemon import KEY
from tests.integration import diskwatch
from tests.integration.claude import Place, key_lines, placed

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

CATALOG: Final = loader.load(loader.BUILTIN, user=None)
PROMPT: Final = "\n".join(
    [
        "A text that only this prompt holds",
        "offline: agent cco:chief-architect One >> agent cco:python-specialist Nested",
        "offline: agent cco:security-auditor Two",
        "offline: agent cco:code-reviewer Three",
        "offline: bash cat $ORCHESTRATOR_VFS_MOUNT/plugin/agents/*/*.md | sha256sum",
    ]
)


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a place whose daemon does not run yet, on a disk that can be watched."""
    with placed(starts=False) as made:
        if reason := diskwatch.why_not(made.base):
            (pytest.fail if capabilities.IN_CI else pytest.skip)(reason)
        yield made


def secret_lines() -> dict[str, str]:
    """Return lines of all agents' instructions, with the agent that each is from."""
    return {line: one.slug for one in CATALOG.agents for line in key_lines(one.body)}


def test_no_instructions_reach_the_disk(place: Place) -> None:
    secrets = secret_lines()
    assert set(secrets.values()) == {agent.slug for agent in CATALOG.agents}
    hook_text = "You lead a team of"
    descriptions = {agent.description for agent in CATALOG.agents}
    prompt = PROMPT.splitlines()[0]
    mark = f"CCO_RUNTIME_DIR={place.runtime}"

    with diskwatch.watching(
        place.base, {*secrets, *descriptions, hook_text, prompt}, mark=mark
    ) as watch:
        place.start()
        done = place.ask(PROMPT, "--allowedTools", "Agent,Bash")
        assert place.run("invoke", "chief-architect", "x", ANTHROPIC_API_KEY=KEY).returncode == 0
        assert place.run("unseal", "agents").returncode == 0
        assert place.run("daemon", "reload").returncode == 0
        place.stop()

    assert (done.status, done.err) == (0, "")
    for slug in ("chief-architect", "security-auditor", "code-reviewer"):
        assert f"Agent cco:{slug} answered:" in done.result
    assert {(path, secrets[text]) for path, text in watch.found if text in secrets} == set()
    # Claude Code's transcript is the one place of the rest; it also shows that the watch sees.
    (transcript,) = (place.home / ".claude" / "projects").glob("*/*.jsonl")
    assert {path for path, text in watch.found if text == prompt} == {str(transcript)}
    assert {path for path, text in watch.found if text == hook_text} == {str(transcript)}
    assert {path for path, text in watch.found if text in descriptions} == {str(transcript)}
    # The watch saw all that matters: ledger, log, temporary files without a name.
    assert {str(place.state / name) for name in ("cco.db-wal", "cco.log")} <= watch.files
    assert [path for path in watch.elsewhere if not is_bytecode(path)] == []
    # At last, what lies there now, however it came there.
    assert find(place.base, secrets) == []


def is_bytecode(path: str) -> bool:
    """Say whether it is a file in which Python keeps its translation of a module of ours."""
    return Path(path).parent.name == "__pycache__"


def find(base: Path, texts: dict[str, str]) -> list[tuple[str, str]]:
    """Return the files below a directory that hold one of the texts."""
    wanted = {text.encode(): name for text, name in texts.items()}
    return [
        (str(path), name)
        for path in base.rglob("*")
        if path.is_file() and not path.is_symlink()
        for text, name in wanted.items()
        if text in path.read_bytes()
    ]


def test_the_watch_sees_what_is_gone_again(place: Place) -> None:
    with diskwatch.watching(place.base, {"planted"}, mark="CCO_RUNTIME_DIR=none") as watch:
        file = place.project / "a"
        file.write_text("not planted text")
        file.unlink()
        place.execute(["sh", "-c", "mkdir -p b/c && echo planted > b/c/d && rm -r b"])

    assert {Path(path.partition(" ")[0]).name for path, _ in watch.found} == {"a", "d"}
