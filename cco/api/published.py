# SPDX-License-Identifier: Apache-2.0
"""What the mount shows: made once from the catalogue, served until the next reload.

::

    agents.sealed  orchestrator.sealed  hooks.sealed    ciphertext, anybody of the owner's
    .manifest  README.txt                               plain
    CLAUDE.md, plugin/.claude-plugin/plugin.json,
    plugin/context/startup.md, compact.md               unsealed, rendered for the session
    plugin/…                                            unsealed; of the agents, those of its groups
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cco.build import Build
from cco.catalog import render
from cco.catalog.loader import Catalog
from cco.errors import NotFound
from cco.orchestration.sessions import Session
from cco.sealing.vault import Vault

SEALED: Final = ("agents", "orchestrator", "hooks")
"""Names that `cco unseal` takes; the file of each is NAME.sealed."""

README: Final = """\
This directory is CCO's. It is a file system that the CCO daemon serves from memory: nothing in it
lies on a disk, nothing in it can be written, and it is gone when the daemon stops.

agents.sealed, orchestrator.sealed, hooks.sealed
    The agents, the rules and the hooks, compressed and encrypted (AES-256-GCM) under a key that
    exists only in the daemon's memory. To read one:  cco unseal agents
.manifest
    Version, build, number of agents, and the SHA-256 of each sealed file.
health
    OK, or what is wrong and what to do.
CLAUDE.md, plugin/
    The same in the clear, for Claude Code. Only processes that `cco` started may open them.

More:  cco --help
"""


TeamOf = Callable[[Session | None], Catalog]
"""What a session sees of the catalogue; None is a process outside of all sessions."""
Told = Callable[[Session | None], str]
"""Text for a session; None as above."""
Recalled = Callable[[Session | None, int], str]
"""What is remembered for a session, in at most so many bytes."""

MAX_CONTEXT_BYTES: Final = 9_800
"""Claude Code replaces a hook's output of more than 10 000 characters by its beginning."""
PLUGIN: Final = "plugin/"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the mount."""

    data: bytes
    digest: str
    """SHA-256 of `data`, hexadecimal."""
    is_private: bool
    """Whether only processes of a session may open it."""


@dataclass(frozen=True, slots=True)
class Published:
    """Everything that the mount shows between two reloads."""

    generation: str
    files: Mapping[str, File]
    dynamic: Mapping[str, Told]
    """Paths whose text depends on the session that reads them."""
    agents: Mapping[str, str]
    """Path of the definition of each agent, and the agent's slug."""
    team_of: TeamOf
    made_ns: int

    def entries(self) -> list[dict[str, Any]]:
        """Return the files as the mount's protocol lists them."""
        listed = [
            self._entry(path, size=len(file.data), digest=file.digest, is_private=file.is_private)
            for path, file in self.files.items()
        ]
        listed += [
            {**self._entry(path, size=0, digest="", is_private=True), "dynamic": True}
            for path in self.dynamic
        ]
        return sorted(listed, key=lambda entry: str(entry["path"]))

    def read(self, path: str, session: Session | None = None) -> File:
        """Return one file, rendered now if it depends on the session that reads it.

        Raises:
            NotFound: the mount has no such file, or none for this session.
        """
        if path in self.dynamic:
            return _file(self.dynamic[path](session).encode(), is_private=True)
        is_there = path in self.files
        if is_there and path in self.agents:
            is_there = self.agents[path] in self.team_of(session).slugs
        if not is_there:
            raise NotFound("unknown-file", f"the mount has no file '{path}'")
        return self.files[path]

    def _entry(self, path: str, *, size: int, digest: str, is_private: bool) -> dict[str, Any]:
        return {
            "path": path,
            "size": size,
            "digest": digest,
            "access": "session" if is_private else "public",
            "dynamic": False,
            "mtimeNs": self.made_ns,
        }


def publish(
    catalog: Catalog,
    vault: Vault,
    *,
    version: str,
    build: Build,
    api_url: str,
    now_ns: int,
    team_of: TeamOf,
    at_start: Recalled,
    after_compaction: Recalled,
) -> Published:
    """Seal and render a catalogue.

    Args:
        catalog: agents, rules and hooks.
        vault: seals them; its key decides the generation's ciphertext.
        version: of CCO.
        build: for the manifest.
        api_url: where hooks are posted, such as ``http://127.0.0.1:3000``.
        now_ns: Unix time in nanoseconds, the files' modification time.
        team_of: tells what a session sees.
        at_start: what a new session is told of what is known.
        after_compaction: what a compacted session is told again.
    """
    documents = {
        "agents": render.agents_document(catalog),
        "orchestrator": render.rules_document(catalog),
        "hooks": render.hooks_document(catalog),
    }
    sealed = {
        f"{name}.sealed": vault.seal(f"{name}.sealed", _json(document))
        for name, document in documents.items()
    }
    manifest = {
        "version": version,
        "buildCommit": build.commit,
        "buildDate": build.date,
        "agentCount": len(catalog.agents),
        "checksums": {
            name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in sealed.items()
        },
    }
    open_files = {
        **sealed,
        ".manifest": json.dumps(manifest, indent=2).encode() + b"\n",
        "README.txt": README.encode(),
    }
    plugin = render.plugin_files(catalog, version=version, hooks_url=f"{api_url}/api/hooks")
    private = {f"{PLUGIN}{path}": data for path, data in plugin.items() if path != render.MANIFEST}
    files = {path: _file(data, is_private=False) for path, data in open_files.items()}
    files |= {path: _file(data, is_private=True) for path, data in private.items()}
    return Published(
        generation=files[".manifest"].digest[:16],
        files=files,
        dynamic={
            "CLAUDE.md": lambda session: render.claude_md(team_of(session)),
            f"{PLUGIN}{render.MANIFEST}": lambda session: render.plugin_manifest(
                team_of(session), version=version
            ),
            f"{PLUGIN}context/startup.md": _told(render.startup_context, team_of, at_start),
            f"{PLUGIN}context/compact.md": _told(render.compact_context, team_of, after_compaction),
        },
        agents={f"{PLUGIN}{render.agent_path(agent)}": agent.slug for agent in catalog.agents},
        team_of=team_of,
        made_ns=now_ns,
    )


def _told(brief: Callable[[Catalog], str], team_of: TeamOf, recalled: Recalled) -> Told:
    def told(session: Session | None) -> str:
        text = brief(team_of(session))
        return text + recalled(session, MAX_CONTEXT_BYTES - len(text.encode()))

    return told


def _file(data: bytes, *, is_private: bool) -> File:
    return File(data, hashlib.sha256(data).hexdigest(), is_private)


def _json(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
