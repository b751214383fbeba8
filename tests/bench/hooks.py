# SPDX-License-Identifier: Apache-2.0
"""What Claude Code waits for at each event of a session."""

import http.client
import json
import os
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cco.cli.service import Service
from tests.bench.figures import show, times_ms
from tests.unit.orchestration.test_transcript import CONVERSATION, SESSION, result, says

COUNT: Final = 300
PROMPT: Final = "Write unit tests for the parser of the money column"


def show_hooks(service: Service, mount: Path, url: str, home: Path) -> None:
    """Measure each hook of a session with a long transcript."""
    asked = {"pid": os.getpid(), "cwd": str(home), "project": str(home)}
    token = service.client.call("POST", "/api/sessions", asked)["token"]
    for number in range(50):
        fact = {"text": f"Fact {number}: {'something known ' * 20}", "project": str(home)}
        service.client.call("POST", "/api/knowledge", fact)
    given = {"session_id": SESSION, "transcript_path": str(_transcript(home)), "prompt": PROMPT}
    subagent = {"agent_id": "a", "agent_type": "cco:test-engineer", "last_assistant_message": "ok"}
    connection = http.client.HTTPConnection(str(urlsplit(url).hostname), urlsplit(url).port)
    for event in ("UserPromptSubmit", "SubagentStart", "SubagentStop"):
        post = partial(_post, connection, event, {**given, **subagent}, token)
        times_ms(10, post)
        show(f"{event}, posted", times_ms(COUNT, post)[0])
    growing = partial(_compact, connection, given, token)
    show("PreCompact, posted, 30 MB transcript", times_ms(100, growing)[0])
    connection.close()
    environ = {**os.environ, "CCO_SESSION": token}
    for name in ("startup", "compact"):
        command = ["cat", str(mount / "plugin/context" / f"{name}.md")]
        show(f"cat context/{name}.md", times_ms(100, partial(_run, command, environ, ""))[0])
    ask = ["bash", "-p", str(mount / "plugin/hooks/ask"), "UserPromptSubmit"]
    show("hooks/ask UserPromptSubmit", times_ms(100, partial(_run, ask, environ, given))[0])
    program = home / "ask"
    program.write_bytes(subprocess.run(["cat", ask[2]], env=environ, capture_output=True).stdout)
    service.stop()
    away = ["bash", "-p", str(program), "UserPromptSubmit"]
    show("the same, daemon away", times_ms(100, partial(_run, away, environ, given))[0])
    service.start()
    service.wait_until_ok()


def _transcript(home: Path) -> Path:
    """Write a long one: most of it results of tools, as in real ones."""
    path = home / "projects" / "-p" / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    bulk = result({"stdout": "x" * 15_000}, text="x" * 15_000)
    path.write_bytes((bulk + says("Now I know more. " * 50) + CONVERSATION) * 900)
    return path


def _post(
    connection: http.client.HTTPConnection, event: str, given: Mapping[str, object], token: str
) -> None:
    headers = {"content-type": "application/json", "x-cco-session": token}
    connection.request("POST", f"/api/hooks/{event}", json.dumps(given).encode(), headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (200, 204):
        raise RuntimeError(f"{event} was answered {answer.status}")


def _compact(
    connection: http.client.HTTPConnection, given: Mapping[str, object], token: str
) -> None:
    with Path(str(given["transcript_path"])).open("ab") as file:
        file.write(CONVERSATION)  # else it is known already
    _post(connection, "PreCompact", given, token)


def _run(command: list[str], environ: Mapping[str, str], given: object) -> None:
    subprocess.run(
        command, env=environ, input=json.dumps(given).encode(), check=True, capture_output=True
    )
