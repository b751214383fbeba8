# SPDX-License-Identifier: Apache-2.0
"""What the mount shows, made of a small catalogue."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from cco.api.published import MAX_CONTEXT_BYTES, SEALED, Published, publish
from cco.build import Build
from cco.catalog import render
from cco.catalog.catalog import Catalog
from cco.errors import NotFound
from cco.ledger.rows import SessionRow
from cco.orchestration.sessions import Session
from cco.sealing.vault import Vault
from tests.unit.catalog.samples import make_agent, make_catalog

NOW_NS = 1_790_000_000_000_000_001
CATALOG = make_catalog(make_agent(), make_agent(name="Ü Agent", slug="other", body="Grüße\n"))

LIMITED = make_catalog(CATALOG.agents[0])
MANIFEST = "plugin/.claude-plugin/plugin.json"
DYNAMIC = {"CLAUDE.md", MANIFEST, "plugin/context/startup.md", "plugin/context/compact.md"}
SESSION = Session(
    SessionRow(
        id="s",
        token_hash="t",
        pid=1,
        start_ticks=1,
        project="/p",
        cwd="/p",
        upstream="",
        created_ns=1,
    ),
    pidfd=-1,
)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault.create() as made:
        yield made


def made(vault: Vault, catalog: Catalog = CATALOG) -> Published:
    return publish(
        catalog,
        vault,
        version="1.2.3",
        build=Build("abc", "2026-11-22T00:00:00Z"),
        api_url="http://127.0.0.1:3000",
        now_ns=NOW_NS,
        team_of=lambda session: catalog if session is None else LIMITED,
        at_start=lambda session, room: f"start {session} {room}",
        after_compaction=lambda session, room: f"compacted {session} {room}",
    )


@pytest.fixture
def published(vault: Vault) -> Published:
    return made(vault)


def test_tree_is_that_of_the_manual(published: Published) -> None:
    assert {entry["path"] for entry in published.entries()} == {
        "agents.sealed",
        "orchestrator.sealed",
        "hooks.sealed",
        ".manifest",
        "README.txt",
        "CLAUDE.md",
        "plugin/.claude-plugin/plugin.json",
        "plugin/agents/leadership/chief-architect.md",
        "plugin/agents/leadership/other.md",
        "plugin/hooks/ask",
        "plugin/hooks/hooks.json",
        "plugin/context/startup.md",
        "plugin/context/compact.md",
    }


def test_unsealed_files_are_for_processes_of_a_session(published: Published) -> None:
    access = {entry["path"]: entry["access"] for entry in published.entries()}

    public = {path for path, who in access.items() if who == "public"}
    assert public == {*(f"{name}.sealed" for name in SEALED), ".manifest", "README.txt"}
    assert {who for path, who in access.items() if path not in public} == {"session"}
    for path, who in access.items():
        assert published.read(path).is_private is (who == "session")


def test_entries_tell_size_digest_and_time(published: Published) -> None:
    for entry in published.entries():
        file = published.read(entry["path"])
        assert entry["mtimeNs"] == NOW_NS
        assert file.digest == hashlib.sha256(file.data).hexdigest()
        if entry["dynamic"]:  # rendered for whoever reads it
            assert (entry["size"], entry["digest"]) == (0, "")
            assert entry["path"] in DYNAMIC
        else:
            assert (entry["size"], entry["digest"]) == (len(file.data), file.digest)


def test_manifest_says_what_sha256sum_says(published: Published) -> None:
    manifest = json.loads(published.read(".manifest").data)

    assert manifest == {
        "version": "1.2.3",
        "buildCommit": "abc",
        "buildDate": "2026-11-22T00:00:00Z",
        "agentCount": 2,
        "checksums": {
            f"{name}.sealed": "sha256:"
            + hashlib.sha256(published.read(f"{name}.sealed").data).hexdigest()
            for name in SEALED
        },
    }


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("agents", render.agents_document(CATALOG)),
        ("orchestrator", render.rules_document(CATALOG)),
        ("hooks", render.hooks_document(CATALOG)),
    ],
)
def test_sealed_files_open_to_their_documents(
    name: str, document: object, published: Published, vault: Vault
) -> None:
    file = f"{name}.sealed"

    assert json.loads(vault.unseal(file, published.read(file).data)) == document


def test_no_text_of_an_agent_is_public(published: Published) -> None:
    for entry in published.entries():
        if entry["access"] == "public":
            data = published.read(entry["path"]).data
            assert b"You design." not in data, entry["path"]
            assert "Grüße".encode() not in data, entry["path"]


def test_readme_speaks_of_every_file(published: Published) -> None:
    text = published.read("README.txt").data.decode()

    for name in ("agents.sealed", "orchestrator.sealed", "hooks.sealed", ".manifest", "health"):
        assert name in text
    assert "CLAUDE.md, plugin/" in text


def test_hooks_are_posted_to_the_daemon(published: Published) -> None:
    files = render.plugin_files(
        CATALOG, version="1.2.3", hooks_url="http://127.0.0.1:3000/api/hooks"
    )
    assert {f"plugin/{path}": data for path, data in files.items()} == {
        path: published.read(path).data
        for path in (*published.files, MANIFEST)
        if path.startswith("plugin/")
    }


def test_every_sealing_is_another_generation(vault: Vault, published: Published) -> None:
    # The nonce is new each time, so the mount must fetch anew.
    again = made(vault)

    assert again.generation != published.generation
    assert again.read("agents.sealed").data != published.read("agents.sealed").data
    assert again.read("CLAUDE.md").data == published.read("CLAUDE.md").data


@pytest.mark.parametrize("path", ["", "health", "plugin", "../etc/passwd", "agents.sealed/", "x"])
def test_other_paths_are_not_there(path: str, published: Published) -> None:
    with pytest.raises(NotFound) as caught:
        published.read(path)

    assert caught.value.code == "unknown-file"


@pytest.mark.parametrize(
    ("name", "recalled", "brief"),
    [
        ("startup", "start", render.startup_context(CATALOG)),
        ("compact", "compacted", render.compact_context(CATALOG)),
    ],
)
def test_what_is_remembered_stands_behind_what_all_are_told(
    name: str, recalled: str, brief: str, published: Published
) -> None:
    file = published.read(f"plugin/context/{name}.md")

    room = MAX_CONTEXT_BYTES - len(brief.encode())
    assert file.data.decode() == f"{brief}{recalled} None {room}"
    assert room > 5_000


def test_session_finds_only_agents_of_its_groups(published: Published) -> None:
    whole = json.loads(published.read(MANIFEST).data)
    limited = json.loads(published.read(MANIFEST, SESSION).data)

    files = ["./agents/leadership/chief-architect.md", "./agents/leadership/other.md"]
    assert (whole["agents"], limited["agents"]) == (files, files[:1])
    assert published.read("plugin/agents/leadership/chief-architect.md", SESSION).data
    with pytest.raises(NotFound):
        published.read("plugin/agents/leadership/other.md", SESSION)
    assert published.read("plugin/agents/leadership/other.md").data


@pytest.mark.parametrize("path", sorted(DYNAMIC - {MANIFEST}))
def test_session_is_told_of_no_other_agents(path: str, published: Published) -> None:
    assert published.read(path, SESSION).data != published.read(path).data
    assert b"cco:other" not in published.read(path, SESSION).data
