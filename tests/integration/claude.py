# SPDX-License-Identifier: Apache-2.0
"""The real Claude Code at work: home, project, daemon, mount, ledger and upstream of its own.

Everything of one `Place` lies below one directory, so a test can look at all of it. The upstream
is the offline one, in the test's own process, and keeps every request as it came.
"""

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from cco.offline.server import OfflineUpstream, Recorded
from tests import capabilities
from tests.daemon import CCO, Daemon, free_port, short_directory
from tests.mounting import wait_until

DEADLINE_S: Final = 120.0
"""How long one program may take; a machine under load is no failure."""

KEY: Final = "sk-ant-test-of-claude-code-with-cco"

MODELS: Final = {
    "opus": "claude-opus-4-8",
    "sonnet": "claude-sonnet-4-6",
    "haiku": "claude-haiku-4-5-20251001",
}
"""On these Claude Code's own price table and ours agree."""

_LISTED: Final = re.compile(r"^- cco:([a-z0-9-]+): (.*) \(Tools: .*\)$", re.MULTILINE)
"""How Claude Code tells the model about an agent of a plugin."""

_SETTLED: Final = {
    "hasCompletedOnboarding": True,
    "theme": "dark",
    "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
}
"""Lets an interactive Claude Code begin without its first questions."""


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """What `claude -p --output-format json` says."""
        assert self.out.startswith("{"), (self.status, self.out, self.err)
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def result(self) -> str:
        """The answer, or the error, as `claude -p` shows it."""
        return str(self.told["result"])


class Place(Daemon):
    """A daemon with a user, who has a project and Claude Code.

    Args:
        base: an empty directory; its path must be short, for there are sockets below it.
        upstream: answers instead of a model provider.
        url: where the daemon finds the upstream, if not at its own address.
        host: address of the daemon's HTTP listener.
    """

    def __init__(
        self, base: Path, upstream: OfflineUpstream, *, url: str = "", host: str = "127.0.0.1"
    ) -> None:
        self.upstream = upstream
        self.url = f"http://{host}:{free_port()}"
        self.project = base / "project"
        self.temporary = base / "tmp"
        self.plugin = base / "run" / "cco" / "plugin"
        for directory in (self.project, self.temporary):
            directory.mkdir()
        super().__init__(base, url or upstream.url)
        trusted = {"projects": {str(self.project): {"hasTrustDialogAccepted": True}}}
        (self.home / ".claude.json").write_text(json.dumps(_SETTLED | trusted))

    def configure(self, more: str = "", *, port: int = 0, threads: int = 64) -> None:
        """Write the settings: the models agree with Claude Code's, the port outlives a restart."""
        models = "\n".join(f'{tier} = "{model}"' for tier, model in MODELS.items())
        super().configure(f"{more}\n[models]\n{models}\n", port=port)
        host, _, own_port = self.url.removeprefix("http://").rpartition(":")
        text = self.settings.read_text()
        self.settings.write_text(text.replace("port = 0", f'host = "{host}"\nport = {own_port}'))

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a user who has all this."""
        models = {f"ANTHROPIC_DEFAULT_{tier.upper()}_MODEL": MODELS[tier] for tier in MODELS}
        mine = {
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.temporary),
            "CCO_CLAUDE": str(capabilities.claude()),
            "ANTHROPIC_API_KEY": KEY,
            # Tests may use no network.
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        }
        return super().environ(**mine | models | more)

    def ask(
        self,
        prompt: str,
        *options: str,
        model: str = MODELS["sonnet"],
        environ: Mapping[str, str] | None = None,
    ) -> Done:
        """Run `cco run -- -p PROMPT` in the project."""
        return self.execute([*CCO, "run", "--", *asking(prompt, *options, model=model)], environ)

    def launch_claude(self, *words: str, environ: Mapping[str, str] | None = None) -> Done:
        """Run `cco WORD…` in the project."""
        return self.execute([*CCO, *words], environ)

    def execute(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> Done:
        """Run a program in the project to its end; `environ` is added to ours."""
        with self.begin(command, environ) as process:
            out, err = process.communicate(timeout=DEADLINE_S)
        return Done(process.returncode, out, err)

    @contextmanager
    def begin(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[str]"]:
        """Start a program in the project; it is killed if it has not ended by itself."""
        with subprocess.Popen(
            command,
            cwd=self.project,
            env=self.environ(**(environ or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def rows(self, where: str = "1") -> list[dict[str, Any]]:
        """Return rows of the ledger as another program finds them on the disk."""
        uri = f"file:{self.state / 'cco.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as ledger:
            ledger.row_factory = sqlite3.Row
            found = ledger.execute(f"SELECT * FROM requests WHERE {where} ORDER BY id")
            return [dict(row) for row in found]

    def unsealed_agents(self) -> dict[str, dict[str, Any]]:
        """Return what `cco unseal agents` prints, by slug."""
        done = self.run("unseal", "agents")
        assert done.returncode == 0, done.stderr
        return {one["slug"]: one for rows in json.loads(done.stdout).values() for one in rows}

    def messages(self) -> list[tuple[Recorded, dict[str, Any]]]:
        """Return the requests for messages that arrived upstream, with their decoded bodies."""
        return [
            (one, json.loads(one.body))
            for one in list(self.upstream.requests)
            if one.method == "POST" and one.target.partition("?")[0] == "/v1/messages"
        ]

    def kill_and_await(self, name: str) -> None:
        """Kill `arbiter`, `worker` or `mounter`, and wait until another one has its place."""
        victim: psutil.Process = getattr(self, name)
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: self._is_replaced(name, victim), f"there is another {name}")

    def _is_replaced(self, name: str, victim: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            return getattr(self, name) != victim and self.is_serving()
        return False


@contextmanager
def placed(*, url: str = "", host: str = "127.0.0.1", starts: bool = True) -> Iterator[Place]:
    """Make a place whose daemon serves; nothing of it is left at the end."""
    capabilities.require("fuse", "claude")
    with OfflineUpstream() as upstream:
        place = Place(short_directory(), upstream, url=url, host=host)
        try:
            if starts:
                place.start()
            yield place
        finally:
            place.close()


def asking(prompt: str, *options: str, model: str = MODELS["sonnet"]) -> list[str]:
    """Return the arguments with which Claude Code answers one prompt in JSON."""
    return ["-p", prompt, "--model", model, "--output-format", "json", *options]


def nano(usd: float) -> int:
    """Return an amount of USD in nano-dollars."""
    return round(usd * 1e9)


def system_texts(body: Mapping[str, Any]) -> list[str]:
    """Return the blocks of a request's system prompt."""
    system = body.get("system", "")
    return [system] if isinstance(system, str) else [str(block["text"]) for block in system]


def listed(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the agents of the plugin that a request lists: slug and description."""
    return dict(pair for text in texts(body["messages"]) for pair in _LISTED.findall(text))


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a decoded body."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts(list(value.values()))
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


def key_lines(instructions: str) -> list[str]:
    """Return three lines that JSON writes as they are and that are too long to be chance."""
    lines = [
        line
        for line in instructions.splitlines()
        if len(line) > 60 and line.isascii() and not set(line) & set('"\\')
    ]
    return [lines[0], lines[len(lines) // 2], lines[-1]]
