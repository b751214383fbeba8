# SPDX-License-Identifier: Apache-2.0
import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cco.catalog import asking, frontmatter, render
from cco.catalog.catalog import Catalog
from cco.catalog.hooks import Hook
from cco.catalog.loader import BUILTIN, load
from cco.catalog.problem import Findings
from cco.catalog.rules import Rules
from tests.unit.catalog.samples import make_agent, make_catalog

URL = "http://127.0.0.1:3000/api/hooks"
CAT = Hook("SessionStart", "cat", 5, "Why", matcher="startup|clear", file="context/startup.md")
AFTER = replace(CAT, matcher="compact", file="context/compact.md", compaction="post")
HTTP = Hook("PreCompact", "http", 7, "Why", compaction="pre")
CATALOG = make_catalog(
    make_agent(model="opus-4.1"),
    make_agent(name="Go Specialist", category="codingAgents"),
    rules=Rules(
        {"architecture": ("Chief Architect",), "implementation": ("Gophers", "Chief Architect")},
        {"Gophers": ("Go Specialist",)},
    ),
    hooks=(CAT, AFTER, HTTP),
)


def plugin(catalog: Catalog) -> dict[str, bytes]:
    return render.plugin_files(catalog, version="1.2.3", hooks_url=URL)


def test_agents_document_has_the_documented_shape() -> None:
    document = render.agents_document(CATALOG)

    assert list(document) == ["leadership", "codingAgents"]
    assert document["leadership"] == [
        {
            "name": "Chief Architect",
            "slug": "chief-architect",
            "type": "system-architect",
            "model": "opus-4.1",
            "capabilities": ["architecture", "design"],
            "tools": ["Read", "Bash"],
            "description": "Use for design: and trade-offs",
            "instructions": "You design.\n",
        }
    ]


def test_rules_document_has_the_documented_shape() -> None:
    assert render.rules_document(CATALOG) == {
        "rules": {
            "taskRouting": {
                "architecture": "Chief Architect",
                "implementation": ["Gophers", "Chief Architect"],
            },
            "coordination": {
                "parallelExecution": True,
                "maxConcurrentAgents": 10,
                "knowledgeSharing": True,
            },
        }
    }


def test_hooks_document_says_what_is_before_and_after_a_compaction() -> None:
    rest = {"transport": "cat", "timeoutSeconds": 5, "purpose": "Why"}

    assert render.hooks_document(CATALOG) == {
        "hooks": {
            "PreCompact": [
                {"transport": "http", "timeoutSeconds": 7, "compaction": "pre", "purpose": "Why"}
            ],
            "SessionStart": [
                {"matcher": "startup|clear", "file": "context/startup.md", **rest},
                {
                    "matcher": "compact",
                    "file": "context/compact.md",
                    "compaction": "post",
                    **rest,
                },
            ],
        }
    }


def test_plugin_has_the_files_of_the_catalogue_sorted() -> None:
    files = plugin(CATALOG)

    assert list(files) == [
        ".claude-plugin/plugin.json",
        "agents/codingAgents/go-specialist.md",
        "agents/leadership/chief-architect.md",
        "hooks/ask",
        "hooks/hooks.json",
    ]
    assert json.loads(files[".claude-plugin/plugin.json"]) == {
        "name": "cco",
        "version": "1.2.3",
        "description": "The agents and hooks of CCO",
        "author": {"name": "CCO developers"},
        "agents": [
            "./agents/codingAgents/go-specialist.md",
            "./agents/leadership/chief-architect.md",
        ],
    }


def test_plugin_agent_is_what_claude_code_reads() -> None:
    text = plugin(CATALOG)["agents/leadership/chief-architect.md"].decode()

    assert text == (
        "---\n"
        "name: chief-architect\n"
        'description: "Use for design: and trade-offs"\n'
        "model: opus\n"
        "tools: Read, Bash\n"
        "---\n"
        "You design.\n"
    )


def test_plugin_hooks_are_what_claude_code_reads() -> None:
    assert json.loads(plugin(CATALOG)["hooks/hooks.json"]) == {
        "hooks": {
            "PreCompact": [
                {
                    "hooks": [
                        {
                            "type": "http",
                            "url": f"{URL}/PreCompact",
                            "headers": {"x-cco-session": "${CCO_SESSION}"},
                            "allowedEnvVars": ["CCO_SESSION"],
                            "timeout": 7,
                        }
                    ]
                }
            ],
        }
    }


def test_start_hooks_are_in_the_settings_of_a_session() -> None:
    # Of a command in a plugin whose mount is gone, Claude Code would tell its user.
    hooks = render.session_hooks(load(BUILTIN, user=None))

    assert hooks["SessionStart"] == [
        {"matcher": matcher, "hooks": [{"type": "command", "command": line, "timeout": 5}]}
        for matcher, line in [("startup|clear", _cat("startup")), ("compact", _cat("compact"))]
    ]


def _cat(name: str) -> str:
    return f'cat "${{ORCHESTRATOR_VFS_MOUNT}}/plugin/context/{name}.md" 2>/dev/null || :'


@pytest.mark.parametrize(("present", "output"), [(True, b"hello\n"), (False, b"")])
def test_start_hook_prints_the_file_or_nothing(
    tmp_path: Path, *, present: bool, output: bytes
) -> None:
    """With the daemon away there is no file: no output, no noise, exit status 0."""
    root = tmp_path / "a b"
    (root / "plugin/context").mkdir(parents=True)
    if present:
        (root / "plugin/context/startup.md").write_text("hello\n")
    hooks = render.session_hooks(CATALOG)
    command = hooks["SessionStart"][0]["hooks"][0]["command"]
    environ = {**os.environ, "ORCHESTRATOR_VFS_MOUNT": str(root)}
    done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, output, b"")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:3000/x",  # no scheme
        "https://127.0.0.1:3000/x",  # we serve none
        "http:///x",  # no host
        "http://127.0.0.1:${PORT}/x",  # Claude Code expands nothing in a URL
        "http://127.0.0.1:3000/x?y",  # the event comes last
        "http://127.0.0.1:3000/x#y",
    ],
)
def test_url_that_would_cost_every_hook_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL for hooks"):
        render.plugin_files(CATALOG, version="1", hooks_url=url)


def test_slash_at_the_end_of_the_url_does_not_matter() -> None:
    with_slash = render.plugin_files(CATALOG, version="1.2.3", hooks_url=f"{URL}/")

    assert with_slash == plugin(CATALOG)


def test_bytes_are_equal_each_time_and_for_any_order_of_agents() -> None:
    backwards = replace(CATALOG, agents=CATALOG.agents[::-1])

    assert plugin(CATALOG) == plugin(CATALOG) == plugin(backwards)
    assert list(plugin(CATALOG)) == list(plugin(backwards))


def test_front_matter_of_any_plugin_agent_reads_back() -> None:
    """Property: what is rendered is read as the same values, and the body to the byte."""
    chance = random.Random(5)
    letters = "ab \"\\[]{},:#'-&*!|>%@`/é日😀"
    for _ in range(300):
        description = "x" + "".join(chance.choices(letters, k=chance.randrange(60)))
        body = "".join(chance.choices([*letters, "\n", "\n---\n", "\t"], k=chance.randrange(30)))
        agent = make_agent(
            description=description,
            body=body,
            model=chance.choice(["haiku", "sonnet-4.5"]),
            tools=tuple(chance.sample(["Read", "Bash", "mcp__a__*"], k=2)),
        )
        findings = Findings("a.md")
        rendered = plugin(make_catalog(agent))["agents/leadership/chief-architect.md"].decode()
        matter = frontmatter.read(rendered, findings)

        assert findings.problems == []
        assert matter is not None
        assert {key: field.value for key, field in matter.fields.items()} == {
            "name": agent.slug,
            "description": description,
            "model": agent.tier,
            "tools": ", ".join(agent.tools),
        }
        assert matter.body == body


def test_package_renders_every_agent_with_its_own_body() -> None:
    catalog = load(BUILTIN, user=None)
    files = plugin(catalog)

    assert len(files) == len(catalog.agents) + 3
    for agent in catalog.agents:
        rendered = files[f"agents/{agent.category}/{agent.slug}.md"]
        assert rendered.endswith(b"\n---\n" + agent.body.encode())


def test_hook_that_asks_is_in_the_settings_of_a_session() -> None:
    hook = Hook("UserPromptSubmit", "ask", 5, "Why")
    files = plugin(make_catalog(hooks=[hook]))

    command = asking.command("UserPromptSubmit")
    assert render.session_hooks(make_catalog(hooks=[hook])) == {
        "UserPromptSubmit": [{"hooks": [{"type": "command", "command": command, "timeout": 5}]}]
    }
    assert json.loads(files["hooks/hooks.json"]) == {"hooks": {}}
    assert files[asking.PATH].decode() == asking.program(URL)
