# SPDX-License-Identifier: Apache-2.0
"""The launcher: what it gives to Claude Code, what it leaves alone, and what it becomes.

Where only the launch is looked at, a script that tells what it was given stands for Claude Code.
"""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from cco.catalog import render
from cco.catalog.loader import BUILTIN, load
from cco.offline.answer import NOTICE
from cco.offline.server import OfflineUpstream
from tests.daemon import CCO, fake_claude
from tests.integration.claude import Done, Place, asking, placed
from tests.integration.terminal import terminal
from tests.mounting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

TELL: Final = """\
import json, os, sys
environ = dict(os.environ)
told = {"pid": os.getpid(), "argv": sys.argv[1:], "environ": environ, "cwd": os.getcwd()}
settings = sys.argv[sys.argv.index("--settings") + 1] if "--settings" in sys.argv else "{}"
if not settings.startswith("{"):
    told["mode"] = os.stat(settings).st_mode
    settings = open(settings).read()
told["settings"] = json.loads(settings)
json.dump(told, sys.stdout)
"""
HOOKS: Final = render.session_hooks(load(BUILTIN, user=None))
ATTRIBUTION: Final = "x-anthropic-billing-header"
"""Begins the block by which the client attributes a request."""
MANY_TOOLS: Final = """\
import json, sys
tools = [{"name": f"tool{n}", "description": "A tool", "inputSchema": {"type": "object"}}
         for n in range(100)]
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        result = {"protocolVersion": asked["params"]["protocolVersion"],
                  "capabilities": {"tools": {}}, "serverInfo": {"name": "many", "version": "1"}}
    else:
        result = {"tools": tools} if asked.get("method") == "tools/list" else {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Return a place for tests that send no request, which would leave threads behind."""
    with placed() as made:
        yield made
        assert made.upstream.requests == []


@pytest.fixture
def busy() -> Iterator[Place]:
    """Return a place of the test's own, for the real Claude Code."""
    with placed() as made:
        yield made


def tell(place: Place) -> dict[str, str]:
    """Return the environment in which Claude Code is a script that tells what it was given."""
    script = f'exec {shlex.quote(sys.executable)} -I -c {shlex.quote(TELL)} "$@"'
    return {"CCO_CLAUDE": str(fake_claude(place.base, script))}


def play(place: Place, script: str) -> dict[str, str]:
    """Return the environment in which Claude Code is a shell script."""
    return {"CCO_CLAUDE": str(fake_claude(place.base, script))}


def without_shell(environ: dict[str, str]) -> dict[str, str]:
    """Leave out what the shell of the script adds itself."""
    shells = ("PWD", "OLDPWD", "SHLVL", "_")
    return {name: value for name, value in environ.items() if name not in shells}


# What it gives to Claude Code


def test_environment_and_arguments_are_what_is_promised(place: Place) -> None:
    more = tell(place) | {"NO_PROXY": "example.org", "ENABLE_TOOL_SEARCH": "auto"}
    done = place.launch_claude("-p", "a b", "--resume", "x", environ=more)
    told = done.told

    (session,) = {told["environ"]["ANTHROPIC_BASE_URL"].removeprefix(f"{place.url}/s/")}
    mount = place.mount
    assert told["argv"] == [
        *("--plugin-dir", f"{mount}/plugin"),
        *(
            "--settings",
            json.dumps({"env": {"ANTHROPIC_BASE_URL": f"{place.url}/s/{session}"}, "hooks": HOOKS}),
        ),
        *("-p", "a b", "--resume", "x"),
    ]
    given = place.environ(**more)
    added = {k: v for k, v in told["environ"].items() if given.get(k) != v}
    assert len(added.pop("CCO_SESSION")) >= 43
    assert without_shell(added) == {
        "ORCHESTRATOR_ENABLED": "true",
        "ORCHESTRATOR_VFS_MOUNT": str(mount),
        "ORCHESTRATOR_AGENTS": f"{mount}/agents.sealed",
        "ORCHESTRATOR_RULES": f"{mount}/orchestrator.sealed",
        "ORCHESTRATOR_HOOKS": f"{mount}/hooks.sealed",
        "ORCHESTRATOR_MANIFEST": f"{mount}/.manifest",
        "ORCHESTRATOR_API_URL": place.url.replace("127.0.0.1", "localhost"),
        "ANTHROPIC_BASE_URL": f"{place.url}/s/{session}",
        "NO_PROXY": "example.org,127.0.0.1,localhost",
        "no_proxy": "example.org,127.0.0.1,localhost",
    }
    assert told["cwd"] == str(place.project)
    assert (done.status, done.err) == (0, "")  # nobody watches, so nothing is said


def test_a_version_whose_attribution_spoils_prompt_caching_is_told_to_leave_it_out(
    place: Place,
) -> None:
    name = "CLAUDE_CODE_ATTRIBUTION_HEADER"
    more = {"CCO_CLAUDE": str(fake_claude(place.base, "exec env", version="2.1.180"))}
    assert f"{name}=0" in place.launch_claude("-p", "x", environ=more).out.splitlines()
    chosen = place.launch_claude("-p", "x", environ=more | {name: "1"})
    assert f"{name}=1" in chosen.out.splitlines()


def test_the_session_knows_pid_project_and_directory(place: Place) -> None:
    top = project(place, "repository")
    (top / ".git").mkdir()
    (top / "sub").mkdir()
    command = [*CCO, "run", "--project", str(top / "sub"), "--", "-p", "x"]
    with place.begin(command, play(place, "exec sleep 1000")) as process:
        wait_until(lambda: sessions(place), "there is a session")
        (session,) = sessions(place)
        assert session["pid"] == process.pid
        assert session["project"] == str(top)
        assert session["cwd"] == str(top / "sub")
        process.terminate()
        process.communicate()
    assert sessions(place) == []  # it ends with its process


def sessions(place: Place) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = place.client.call("GET", "/api/sessions")["sessions"]
    return found


def test_a_dry_run_shows_what_a_launch_does_and_does_nothing(place: Place) -> None:
    more = tell(place)
    shown = place.launch_claude("run", "--dry-run", "--", "-p", "x", environ=more).out
    assert sessions(place) == []

    told = place.launch_claude("run", "--", "-p", "x", environ=more).told
    base_url, token = told["environ"]["ANTHROPIC_BASE_URL"], told["environ"]["CCO_SESSION"]
    session = base_url.rpartition("/")[2]
    shown = shown.replace("SESSION", session).replace(
        f"CCO_{session}=TOKEN", f"CCO_SESSION={token}"
    )
    argv, _, rest = shown.removeprefix("argv:\n").partition("environment:\n")
    assert [line.strip() for line in argv.splitlines()] == [more["CCO_CLAUDE"], *told["argv"]]
    environ, _, rest = rest.partition("files:\n")
    lines = [line.strip() for line in environ.splitlines()]
    assert f"CCO_SESSION={token}" in lines
    assert [line for line in lines if line.partition("=")[0] not in told["environ"]] == []
    assert [line for line in lines if told["environ"][line.split("=")[0]] not in line] == []
    assert rest.startswith("upstream:\n  as configured\nagents:\n  *: 119, ~")


def test_direct_is_plain_claude_code_and_needs_no_daemon() -> None:
    with placed(starts=False) as place:
        more = tell(place)
        done = place.launch_claude("run", "--direct", "--", "-p", "x", environ=more)
        assert done.err == "cco: launching Claude Code without CCO\n"
        assert done.told["argv"] == ["-p", "x"]
        assert without_shell(done.told["environ"]) == place.environ(**more)
        assert place.left_over() == []


def test_direct_inside_a_session_is_outside_of_it(place: Place) -> None:
    inner = shlex.join([*CCO, "run", "--direct", "--", "-p", "x"])
    outer = fake_claude(place.base, f"CCO_CLAUDE={place.base}/inner exec {inner}")
    outer.rename(place.base / "outer")
    fake_claude(place.base, "exec env").rename(place.base / "inner")
    for base_url in ("", "http://gateway.example"):
        more = {"CCO_CLAUDE": f"{place.base}/outer"}
        more |= {"ANTHROPIC_BASE_URL": base_url} if base_url else {}
        lines = place.launch_claude("run", environ=more).out.splitlines()
        assert [line for line in lines if line.startswith("CCO_SESSION=")] == []
        found = [line for line in lines if line.startswith("ANTHROPIC_BASE_URL=")]
        assert found == ([f"ANTHROPIC_BASE_URL={base_url}"] if base_url else [])


# What it becomes


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_exit_status_is_claude_codes_own(place: Place, status: int) -> None:
    assert place.launch_claude("-p", "x", environ=play(place, f"exit {status}")).status == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_it_is_the_same_process_so_signals_are_its_own(
    place: Place, number: signal.Signals
) -> None:
    with place.begin([*CCO, "-p", "x"], play(place, "echo $$; exec sleep 1000")) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(number)
        process.communicate()
    assert process.returncode == -number


def test_standard_input_and_output_are_its_own(place: Place) -> None:
    done = subprocess.run(
        [*CCO, "-p", "x"],
        input=b"piped \xff in",
        env=place.environ(**play(place, "cat; echo err >&2")),
        cwd=place.project,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"piped \xff in", b"err\n")


# The user's own settings


@pytest.mark.parametrize("form", ["inline", "file", "joined"])
def test_settings_of_the_user_are_merged_in_a_private_file_that_goes(
    place: Place, form: str
) -> None:
    theirs = {"env": {"A": "1"}, "permissions": {"allow": ["Bash"]}, "model": "opus"}
    file = place.project / "mine.json"
    file.write_text(json.dumps(theirs))
    words = {
        "inline": ["--settings", json.dumps(theirs)],
        "file": ["--settings", "{}", "--settings", "mine.json"],  # the last one counts
        "joined": [f"--settings={file}"],
    }[form]
    more = tell(place)
    told = place.launch_claude("-p", "x", *words, "-c", environ=more).told

    base_url = told["environ"]["ANTHROPIC_BASE_URL"]
    assert told["settings"] == {
        **theirs,
        "env": {"A": "1", "ANTHROPIC_BASE_URL": base_url},
        "hooks": HOOKS,
    }
    assert told["argv"][4:] == ["-p", "x", "-c"]
    assert stat.S_IMODE(told["mode"]) == 0o600
    assert Path(told["argv"][3]).parent == place.runtime
    assert json.loads(file.read_text()) == theirs
    # The next launch takes away what belongs to nobody any more.
    assert list(place.runtime.glob("cco-settings-*")) == [Path(told["argv"][3])]
    assert place.launch_claude("-p", "x", environ=more).status == 0
    assert list(place.runtime.glob("cco-settings-*")) == []


@pytest.mark.parametrize("given", ["{", "[]", "nowhere.json"])
def test_settings_that_cannot_be_read_are_one_clear_sentence(place: Place, given: str) -> None:
    done = place.launch_claude("-p", "x", "--settings", given, environ=tell(place))
    assert (done.status, done.out) == (os.EX_CONFIG, "")
    assert done.err.startswith("cco: --settings")
    assert len(done.err.splitlines()) == 2
    assert sessions(place) == []


def test_a_project_gets_another_upstream_only_if_the_user_agrees(place: Place) -> None:
    directory = project(place, "foreign")
    (directory / ".claude").mkdir()
    elsewhere = {"env": {"ANTHROPIC_BASE_URL": "http://project.example/x"}}
    (directory / ".claude" / "settings.json").write_text(json.dumps(elsewhere))
    script = f"{shlex.join(CCO)} sessions --json | tr -d '\\n'; echo; sleep 1000"
    environ = place.environ(**play(place, script))
    for answer, upstream in (("y", '"http://project.example/x"'), ("n", "null")):
        socket = place.base / f"tmux-{answer}"
        with terminal([*CCO, "run"], socket=socket, environ=environ, directory=directory) as it:
            it.wait_for("Agree? [y/N]")
            it.enter(answer)
            it.wait_for(f'"upstream": {upstream}')
    # Without a person to ask, it is not used.
    command = ["run", "--project", str(directory), "--dry-run"]
    done = place.launch_claude(*command, environ=tell(place))
    assert "is not a configured upstream: not used" in done.err
    assert "upstream:\n  as configured\n" in done.out


def test_steps_of_a_launch_are_told_at_a_terminal_only(place: Place) -> None:
    catalog = load(BUILTIN, user=None)
    environ = place.environ(**play(place, "echo launched; sleep 1000"))
    for nth, (words, team) in enumerate(
        (((), catalog), (("--agents", "leadership"), catalog.in_groups(["leadership"])))
    ):
        socket = place.base / f"tmux-steps-{nth}"
        command = [*CCO, "run", *words]
        with terminal(command, socket=socket, environ=environ, directory=place.project) as it:
            lines = it.wait_for("launched").splitlines()
        told = f"cco: agents: {len(team.agents)}, ~{team.context_tokens} tokens of context"
        assert told in lines
    assert place.launch_claude("run", environ=tell(place)).err == ""


# Claude Code is not as it should be


@pytest.mark.parametrize(
    ("version", "mode", "status", "words"),
    [
        ("2.0.0", 0o755, os.EX_UNAVAILABLE, "Claude Code 2.0.0 is too old"),
        ("nothing", 0o755, 126, "does not tell its version"),
        ("2.1.197", 0o644, 126, "cannot be executed"),
        (None, 0, 127, "Claude Code is not installed"),
    ],
)
def test_a_claude_code_that_cannot_be_launched_is_one_clear_sentence(
    place: Place, version: str | None, mode: int, status: int, words: str
) -> None:
    more = {"PATH": f"{place.base}/nowhere:/usr/bin:/bin", "CCO_CLAUDE": ""}
    if version is not None:
        program = fake_claude(place.base, version=version)
        program.chmod(mode)
        more["CCO_CLAUDE"] = str(program)
    done = place.launch_claude("-p", "x", environ=more)
    assert (done.status, done.out) == (status, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 2
    assert sessions(place) == []


# The real Claude Code


def test_what_the_user_set_holds_in_the_real_client(busy: Place) -> None:
    with OfflineUpstream() as theirs:
        tasks: list[Callable[[], None]] = [
            lambda: check_context(busy),
            lambda: check_bypass(busy),
            lambda: check_own_upstream(busy, theirs),
            lambda: check_upstream_in_settings(busy, theirs),
            lambda: check_nested(busy),
            lambda: check_proxy(busy),
        ]
        with ThreadPoolExecutor(3) as pool:
            for ended in [pool.submit(task) for task in tasks]:
                ended.result()


def requests_of(done: Done, upstream: OfflineUpstream) -> list[dict[str, Any]]:
    """Return the bodies that a session sent to an upstream."""
    return [
        json.loads(one.body)
        for one in list(upstream.requests)
        if one.header("x-claude-code-session-id") == done.told["session_id"]
    ]


def project(place: Place, name: str) -> Path:
    """Return a project of its own."""
    directory = place.base / name
    directory.mkdir()
    return directory


def ask_in(directory: Path, place: Place, prompt: str, *options: str, **more: str) -> Done:
    words = ["run", "--project", str(directory), "--", *asking(prompt, *options)]
    return place.launch_claude(*words, environ=more)


def check_context(place: Place) -> None:
    """What a session is told at its start is in its first request, the project's file too."""
    directory = project(place, "context")
    (directory / "CLAUDE.md").write_text("The project says so.\n")
    prompt = "offline: bash cat $ORCHESTRATOR_VFS_MOUNT/plugin/context/startup.md"
    done = ask_in(directory, place, prompt, "--allowedTools", "Bash")
    asked = requests_of(done, place.upstream)[0]
    assert ATTRIBUTION in json.dumps(asked["system"])
    first = json.dumps(asked["messages"])
    startup = done.result.partition("Bash answered:\n")[2].replace("\n> ", "\n")[2:]
    assert startup.startswith("# CCO: your team\n")
    assert json.dumps(f"SessionStart:startup hook success: {startup}".rstrip())[1:-1] in first
    assert "The project says so." in first


def check_bypass(place: Place) -> None:
    """A project that names another gateway does not lead past ours."""
    directory = project(place, "bypass")
    (directory / ".claude").mkdir()
    elsewhere = {"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}
    for name in ("settings.json", "settings.local.json"):
        (directory / ".claude" / name).write_text(json.dumps(elsewhere))
    done = ask_in(directory, place, "hello")
    assert (done.status, done.err.count("not used")) == (0, 2)
    assert done.result.startswith(NOTICE)
    assert len(requests_of(done, place.upstream)) == 1


def check_own_upstream(place: Place, theirs: OfflineUpstream) -> None:
    """A gateway that the user has named in the environment gets the requests, through ours."""
    done = ask_in(project(place, "own"), place, "hello", ANTHROPIC_BASE_URL=f"{theirs.url}/")
    (row,) = place.rows(f"client_session = '{done.told['session_id']}'")
    assert (row["status"], row["project"]) == (200, str(place.base / "own"))
    (asked,) = requests_of(done, theirs)
    assert ATTRIBUTION not in json.dumps(asked["system"])  # which is for Anthropic only
    assert "ToolSearch" not in {tool["name"] for tool in asked["tools"]}
    assert requests_of(done, place.upstream) == []


def check_upstream_in_settings(place: Place, theirs: OfflineUpstream) -> None:
    """So does one in ``--settings``, the rest of which holds."""
    settings = {"env": {"ANTHROPIC_BASE_URL": theirs.url, "MINE": "is-kept"}}
    words = ["--settings", json.dumps(settings), "--allowedTools", "Bash"]
    done = ask_in(project(place, "settings"), place, "offline: bash echo $MINE", *words)
    assert "> is-kept" in done.result
    assert len(requests_of(done, theirs)) == 2
    assert requests_of(done, place.upstream) == []


def check_nested(place: Place) -> None:
    """`cco` within a session is a session of its own, with the same upstream."""
    inner = shlex.join([*CCO, "run", "--", *asking("inner")])
    done = ask_in(
        project(place, "nested"), place, f"offline: bash {inner}", "--allowedTools", "Bash"
    )
    told = json.loads(done.result.partition("> {")[1][2:] + done.result.partition("> {")[2])
    assert told["result"].startswith(NOTICE)
    rows = place.rows(f"project = '{place.base / 'nested'}'")
    sessions = [(row["session_id"], row["client_session"]) for row in rows]
    assert [one for _, one in sessions] == [
        done.told["session_id"],
        told["session_id"],
        done.told["session_id"],
    ]
    assert len(set(sessions)) == 2
    assert {row["agent"] for row in rows} == {"main"}


def check_proxy(place: Place) -> None:
    """A proxy in the environment is not used on the way to the gateway."""
    dead = "http://127.0.0.1:9"
    done = ask_in(
        project(place, "proxy"),
        place,
        "offline: agent cco:test-engineer One",
        HTTP_PROXY=dead,
        http_proxy=dead,
        HTTPS_PROXY=dead,
        https_proxy=dead,
    )
    assert "Agent cco:test-engineer answered:" in done.result
    names = {row["agent"] for row in place.rows(f"project = '{place.base / 'proxy'}'")}
    assert names == {"main", "Test Engineer"}  # hooks reach us too


def test_tool_search_is_on_unless_the_user_has_set_it(busy: Place) -> None:
    server = busy.base / "tools.py"
    server.write_text(MANY_TOOLS)
    servers = {"many": {"command": sys.executable, "args": [str(server)]}}
    words = ["--mcp-config", json.dumps({"mcpServers": servers})]
    chosen = ["mcp__many__tool5", "WebFetch"]
    prompt = f'offline: tool ToolSearch {{"query": "select:{",".join(chosen)}"}}'

    with ThreadPoolExecutor() as pool:
        on = pool.submit(busy.ask, prompt, *words)
        off = pool.submit(busy.ask, "hello", *words, environ={"ENABLE_TOOL_SEARCH": "false"})

    first, second = (body["tools"] for body in requests_of(on.result(), busy.upstream))
    assert "ToolSearch" in {tool["name"] for tool in first}
    assert [tool for tool in first if tool["name"].startswith("mcp__")] == []
    assert {tool["name"] for tool in second if tool.get("defer_loading")} == set(chosen)
    (all_at_once,) = (body["tools"] for body in requests_of(off.result(), busy.upstream))
    assert len([tool for tool in all_at_once if tool["name"].startswith("mcp__many__")]) == 100
