# SPDX-License-Identifier: Apache-2.0
"""Finding Claude Code, asking its version, and exactly how it is started."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from cco.cli import claude
from cco.cli.claude import Plan, decode_settings, find, plan, split_settings, version
from cco.config import Upstream
from cco.errors import ConfigError, LaunchError
from tests.unit.cli.fakes import make_claude

# Where it is.


def test_program_named_by_the_user_comes_first(tmp_path: Path) -> None:
    named = make_claude(tmp_path / "named" / "my-claude")
    make_claude(tmp_path / "bin" / "claude")
    environ = {"CCO_CLAUDE": str(named), "PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}

    assert find(environ) == named


def test_places_are_searched_in_their_order(tmp_path: Path) -> None:
    places = [
        tmp_path / "one" / "claude",  # PATH, in its own order
        tmp_path / "two" / "claude",
        tmp_path / ".claude/local/claude",
        tmp_path / ".local/bin/claude",
        tmp_path / ".npm-global/bin/claude",
        tmp_path / ".npm/bin/claude",
        tmp_path / "node_modules/.bin/claude",
    ]
    environ = {"PATH": f"{tmp_path}/none:{tmp_path}/one::{tmp_path}/two", "HOME": str(tmp_path)}
    for place in places:
        make_claude(place)
    for place in places:
        assert find(environ) == place
        place.unlink()


def test_what_cannot_be_executed_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a" / "claude").mkdir(parents=True)  # a directory
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "claude").touch()  # no program
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "claude").symlink_to(tmp_path / "nowhere")
    good = make_claude(tmp_path / "d" / "claude")
    path = ":".join(str(tmp_path / name) for name in "abcd")

    assert find({"PATH": path, "HOME": str(tmp_path)}) == good


def test_nowhere_is_said_with_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        find({"PATH": "", "HOME": str(tmp_path)})

    assert caught.value.code == "claude-missing"
    assert "npm install -g @anthropic-ai/claude-code" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "claude-missing"),
        (lambda path: path.mkdir(), "claude-not-executable"),
        (lambda path: path.touch(mode=0o644), "claude-not-executable"),
    ],
)
def test_wrong_name_is_said_instead_of_searching_on(make: Any, code: str, tmp_path: Path) -> None:
    make_claude(tmp_path / "bin" / "claude")
    make(tmp_path / "named")
    with pytest.raises(LaunchError) as caught:
        find({"CCO_CLAUDE": str(tmp_path / "named"), "PATH": str(tmp_path / "bin")})

    assert caught.value.code == code
    assert caught.value.hint == "Correct CCO_CLAUDE or unset it"


# Its version.


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "state" / "claude-version.json"


def asked(path: Path) -> int:
    """Return how often a program was asked for its version."""
    note = Path(f"{path}.asked")
    return len(note.read_text().splitlines()) if note.exists() else 0


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("2.1.197 (Claude Code)", (2, 1, 197)),
        ("2.1.63 (Claude Code)", (2, 1, 63)),  # the oldest
        ("10.0.0", (10, 0, 0)),
        ("2.2.0-beta.1 (Claude Code)", (2, 2, 0)),
    ],
)
def test_version_is_read(told: str, known: tuple[int, ...], tmp_path: Path, cache: Path) -> None:
    assert version(make_claude(tmp_path / "claude", version=told), cache=cache) == known


def test_version_is_asked_once_for_each_installed_file(tmp_path: Path, cache: Path) -> None:
    path = make_claude(tmp_path / "claude")
    link = tmp_path / "link"
    link.symlink_to(path)
    for one in (path, path, link):
        assert version(one, cache=cache) == (2, 1, 197)
    assert asked(path) == 1

    make_claude(path, version="2.2.0 (Claude Code), a little longer")  # an update
    assert version(path, cache=cache) == (2, 2, 0)
    assert asked(path) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"text"', "\ufffd"),
        *('{"KEY": null}', '{"KEY": "abc"}', '{"KEY": 1}', '{"KEY": "2.1"}'),
        *('{"KEY": ["2.1.3"]}', '{"KEY": "2.1.197\\n"}', '{"KEY": "²._.1"}'),
    ],
)
def test_broken_memory_only_costs_time(text: str, tmp_path: Path, cache: Path) -> None:
    path = make_claude(tmp_path / "claude")
    found = path.stat()
    cache.parent.mkdir()
    key = json.dumps(f"{path}:{found.st_mtime_ns}:{found.st_size}")
    cache.write_text(text.replace('"KEY"', key), encoding="utf-8")

    assert version(path, cache=cache) == (2, 1, 197)
    assert asked(path) == 1
    assert version(path, cache=cache) == (2, 1, 197)
    assert asked(path) == 1  # mended


def test_memory_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    path = make_claude(tmp_path / "claude")
    (tmp_path / "file").touch()
    for _ in range(2):
        assert version(path, cache=tmp_path / "file" / "state" / "x.json") == (2, 1, 197)
    assert asked(path) == 2


@pytest.mark.parametrize("told", ["2.1.62 (Claude Code)", "1.99.99", "0.0.1"])
def test_old_version_is_refused_with_the_remedy(told: str, tmp_path: Path, cache: Path) -> None:
    path = make_claude(tmp_path / "claude", version=told)
    for _ in range(2):  # when it is remembered, too
        with pytest.raises(LaunchError) as caught:
            version(path, cache=cache)
        assert caught.value.code == "claude-too-old"
        assert caught.value.hint == "Update it: claude update"


@pytest.mark.parametrize("told", ["", "claude 2.1.197", "v2", "99999999.0.0"])
def test_program_that_tells_no_version_is_none_of_ours(
    told: str, tmp_path: Path, cache: Path
) -> None:
    with pytest.raises(LaunchError) as caught:
        version(make_claude(tmp_path / "claude", version=told), cache=cache)

    assert caught.value.code == "claude-not-executable"
    assert not cache.exists()


def test_program_that_does_not_run_is_told(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "claude"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(LaunchError) as caught:
        version(path, cache=cache)

    assert caught.value.code == "claude-not-executable"
    assert "npm install" in (caught.value.hint or "")


def test_program_that_speaks_another_encoding_is_understood(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "claude"
    path.write_bytes(b"#!/bin/sh\nprintf '2.1.197 \\377\\376'\n")
    path.chmod(0o755)

    assert version(path, cache=cache) == (2, 1, 197)


def test_question_leaves_standard_input_to_the_launch(tmp_path: Path, cache: Path) -> None:
    # `echo prompt | cco -p`: a program that reads would swallow the prompt.
    path = tmp_path / "claude"
    path.write_text("#!/bin/sh\ncat > /dev/null\necho 2.1.197\n")
    path.chmod(0o755)
    read_end, write_end = os.pipe()
    os.write(write_end, b"prompt")
    before = os.dup(0)
    os.dup2(read_end, 0)
    try:
        assert version(path, cache=cache) == (2, 1, 197)
        os.set_blocking(read_end, False)
        assert os.read(read_end, 100) == b"prompt"
    finally:
        os.dup2(before, 0)
        for fd in (before, read_end, write_end):
            os.close(fd)


# How it is started.

MOUNT = Path("/run/user/1/cco")
FILE = Path("/run/user/1/cco-settings-7.json")
TOKEN = "the-token-of-the-session"
BASE_URL = "http://127.0.0.1:3000/s/0123456789abcdef"
OURS = {
    "ORCHESTRATOR_ENABLED": "true",
    "ORCHESTRATOR_VFS_MOUNT": "/run/user/1/cco",
    "ORCHESTRATOR_AGENTS": "/run/user/1/cco/agents.sealed",
    "ORCHESTRATOR_RULES": "/run/user/1/cco/orchestrator.sealed",
    "ORCHESTRATOR_HOOKS": "/run/user/1/cco/hooks.sealed",
    "ORCHESTRATOR_MANIFEST": "/run/user/1/cco/.manifest",
    "ORCHESTRATOR_API_URL": "http://localhost:3000",
    "CCO_SESSION": TOKEN,
    "ANTHROPIC_BASE_URL": BASE_URL,
}
"""What is set for every session."""
OFFERED = {
    "ENABLE_TOOL_SEARCH": "true",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-x",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""What is set where the user has set nothing."""


def planned(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    known: tuple[int, ...] = (2, 1, 197),
    is_anthropic: bool = True,
    api_url: str = "http://127.0.0.1:3000",
    **more: Any,
) -> Plan:
    return plan(
        Path("/bin/claude"),
        arguments,
        environ or {},
        mount=MOUNT,
        api_url=api_url,
        session="0123456789abcdef",
        token=TOKEN,
        **more,
        haiku="claude-haiku-x",
        known=known,
        is_anthropic=is_anthropic,
        file=FILE,
    )


def test_plan_is_exactly_what_the_interface_says() -> None:
    found = planned("-p", "hi", environ={"PATH": "/bin", "ANTHROPIC_API_KEY": "k"})

    assert found.argv == (
        "/bin/claude",
        "--plugin-dir",
        "/run/user/1/cco/plugin",
        "--settings",
        f'{{"env": {{"ANTHROPIC_BASE_URL": "{BASE_URL}"}}}}',
        "-p",
        "hi",
    )
    assert found.added == {**OURS, **OFFERED}
    assert found.environ == {"PATH": "/bin", "ANTHROPIC_API_KEY": "k", **OURS, **OFFERED}
    assert found.file is None
    assert found.file_text == ""


def test_address_of_version_six_keeps_its_name() -> None:
    found = planned(api_url="http://[::1]:3001")

    assert found.environ["ORCHESTRATOR_API_URL"] == "http://[::1]:3001"
    assert found.environ["ANTHROPIC_BASE_URL"].startswith("http://[::1]:3001/s/")
    assert found.environ["NO_PROXY"] == "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    "environ",
    [
        {"ENABLE_TOOL_SEARCH": "false"},
        {"ENABLE_TOOL_SEARCH": ""},  # empty is set, too
        {"ANTHROPIC_DEFAULT_HAIKU_MODEL": "mine"},
        {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_AUTH_TOKEN": "t", "CLAUDE_CODE_OAUTH_TOKEN": "o"},
        {"ANTHROPIC_CUSTOM_HEADERS": "x: y"},
        {"CLAUDE_CODE_ATTRIBUTION_HEADER": "1"},
    ],
)
def test_what_the_user_has_set_stays(environ: dict[str, str]) -> None:
    found = planned(environ=environ, known=(2, 1, 100))

    assert {name: found.environ[name] for name in environ} == environ
    assert not set(environ) & set(found.added)


@pytest.mark.parametrize(
    ("known", "value"), [((2, 1, 180), "0"), ((2, 1, 181), None), ((2, 2, 0), None)]
)
def test_old_clients_are_kept_from_breaking_the_prompt_cache(
    known: tuple[int, ...], value: str | None
) -> None:
    assert planned(known=known).environ.get("CLAUDE_CODE_ATTRIBUTION_HEADER") == value


def test_other_providers_get_no_attribution_and_no_deferred_tools() -> None:
    added = planned(is_anthropic=False).added
    assert added["CLAUDE_CODE_ATTRIBUTION_HEADER"] == "0"
    assert "ENABLE_TOOL_SEARCH" not in added  # so the client decides, as it does without CCO
    chosen = {"CLAUDE_CODE_ATTRIBUTION_HEADER": "1", "ENABLE_TOOL_SEARCH": "true"}
    environ = planned(environ=chosen, is_anthropic=False).environ
    assert {name: environ[name] for name in chosen} == chosen


OURS_AND_THEIRS: Final = (
    Upstream(name="backup", base_url="http://backup.example", family="other", priority=1),
    Upstream(name="corporate", base_url="https://corporate.example/llm/"),
    Upstream(name="too", base_url="https://api.anthropic.com/x", family="other", priority=2),
)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("", True),  # the most preferred one of the settings
        ("https://corporate.example/llm", True),  # so the settings say
        ("http://backup.example/", False),
        ("https://api.anthropic.com/x", False),  # the settings know better than the host's name
        ("https://api.anthropic.com", True),
        ("https://API.Anthropic.com:443/", True),
        ("https://" + "other.anthropic.com", True),
        ("https://" + "api.notanthropic.com", False),  # whoever that is
        ("https://api.anthropic.com.example", False),
        ("http://127.0.0.1:4000", False),
        ("nonsense", False),
    ],
)
def test_family_or_host_tell_whose_the_upstream_is(base_url: str, expected: bool) -> None:
    assert claude.is_anthropic(base_url, OURS_AND_THEIRS) is expected


@pytest.mark.parametrize(
    ("environ", "upper", "lower"),
    [
        ({}, "127.0.0.1,localhost", "127.0.0.1,localhost"),
        # each spelling by itself
        (
            {"NO_PROXY": "a.example", "no_proxy": "b.example"},
            "a.example,127.0.0.1,localhost",
            "b.example,127.0.0.1,localhost",
        ),
        # one alone must not be hidden from programs that ask for the other first
        (
            {"no_proxy": "b.example"},
            "b.example,127.0.0.1,localhost",
            "b.example,127.0.0.1,localhost",
        ),
        ({"NO_PROXY": "a"}, "a,127.0.0.1,localhost", "a,127.0.0.1,localhost"),
        # what is there is not said twice
        ({"NO_PROXY": "localhost, 127.0.0.1"}, "localhost,127.0.0.1", "localhost,127.0.0.1"),
        ({"NO_PROXY": " , ", "no_proxy": ""}, "127.0.0.1,localhost", "127.0.0.1,localhost"),
        ({"NO_PROXY": "*"}, "*", "*"),  # everything, but only where it stands alone
    ],
)
def test_no_proxy_is_used_for_ourselves(environ: dict[str, str], upper: str, lower: str) -> None:
    found = planned(environ={"HTTP_PROXY": "http://proxy.example:1", **environ})

    assert (found.environ["NO_PROXY"], found.environ["no_proxy"]) == (upper, lower)


# The user's own --settings.


@pytest.mark.parametrize(
    ("arguments", "rest", "settings"),
    [
        ([], [], None),
        (["-p", "x"], ["-p", "x"], None),
        (["--settings", "a", "-p"], ["-p"], "a"),
        (["-p", "--settings=a"], ["-p"], "a"),
        (["--settings=a=b"], [], "a=b"),
        (["--settings", "a", "--settings=b"], [], "b"),  # the last counts, as for Claude Code
        (["--settings=a", "x", "--settings", "b"], ["x"], "b"),
        (["--settings"], [], ""),  # its value is missing
        (["--settings="], [], ""),
        # after -- it is a prompt
        (["--", "--settings", "a"], ["--", "--settings", "a"], None),
        (["--settings", "a", "--", "--settings", "b"], ["--", "--settings", "b"], "a"),
        (["--settings", "--", "x"], ["x"], "--"),  # that is its value
        (["--settingsx", "a"], ["--settingsx", "a"], None),
    ],
)
def test_settings_are_found_among_the_arguments(
    arguments: list[str], rest: list[str], settings: str | None
) -> None:
    assert split_settings(arguments) == (rest, settings)


@pytest.mark.parametrize("how", ["inline", "file", "twice", "spaces"])
def test_users_settings_are_merged_with_ours_in_a_file(how: str, tmp_path: Path) -> None:
    theirs = {
        "model": "opus",
        "env": {"ANTHROPIC_BASE_URL": "https://proxy.example", "SECRET": "s3cret"},
        "permissions": {"allow": ["Bash"]},
    }
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(theirs), encoding="utf-8")
    words = {
        "inline": ["--settings", json.dumps(theirs)],
        "file": [f"--settings={path}"],
        "twice": ["--settings", '{"model": "haiku"}', "--settings", str(path)],
        "spaces": ["--settings", f"\n  {json.dumps(theirs)}"],
    }
    found = planned(*words[how], "-p", "x")

    assert found.argv[3:] == ("--settings", str(FILE), "-p", "x")
    assert found.file == FILE
    assert json.loads(found.file_text) == {
        "model": "opus",
        "env": {"ANTHROPIC_BASE_URL": BASE_URL, "SECRET": "s3cret"},
        "permissions": {"allow": ["Bash"]},
    }
    assert "s3cret" not in " ".join(found.argv)  # everybody may read a command line


@pytest.mark.parametrize(
    ("theirs", "merged"),
    [
        ("{}", {"env": {"ANTHROPIC_BASE_URL": BASE_URL}}),
        ('{"env": null}', {"env": {"ANTHROPIC_BASE_URL": BASE_URL}}),
        ('{"env": []}', {"env": {"ANTHROPIC_BASE_URL": BASE_URL}}),
    ],
)
def test_settings_without_environment_get_one(theirs: str, merged: Any) -> None:
    assert json.loads(planned("--settings", theirs).file_text) == merged


def test_settings_after_the_end_of_options_are_left_there() -> None:
    found = planned("--", "--settings", "{}")

    assert found.file is None
    assert found.argv[-3:] == ("--", "--settings", "{}")


@pytest.mark.parametrize(
    "given",
    ["{", "{]", "no-such-file.json", "", ".", '[{"env": {}}]', '{"a": ' + "[" * 20_000],
)
def test_settings_that_cannot_be_read_are_told(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        planned("--settings", given)

    assert caught.value.code == "settings-unreadable"


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', "{"])
def test_settings_file_without_an_object_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        decode_settings(str(path))

    assert caught.value.code == "settings-unreadable"


def test_settings_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b'{"x": "\xff"}')
    with pytest.raises(ConfigError):
        decode_settings(str(path))


def test_nothing_secret_stands_in_the_command_line() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-secret", "ANTHROPIC_AUTH_TOKEN": "secret-token"}
    found = planned("--settings", '{"env": {"ANTHROPIC_API_KEY": "sk-secret"}}', environ=environ)

    line = " ".join(found.argv)
    assert TOKEN not in line
    assert "secret" not in line
    assert TOKEN not in found.file_text


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"env": {"ANTHROPIC_BASE_URL": "http://x"}}, "http://x"),
        ({"env": {"ANTHROPIC_BASE_URL": ""}}, None),
        ({"env": {"ANTHROPIC_BASE_URL": 1}}, None),
        ({"env": {}}, None),
        ({"env": "x"}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_base_url_of_settings(settings: object, url: str | None) -> None:
    assert claude.base_url_of(settings) == url


@pytest.mark.parametrize("data", [None, b"", b"{", b"\xff", b"[" * 20_000])
def test_settings_that_claude_code_would_pass_over_hold_nothing(
    data: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "settings.json"
    if data is not None:
        path.write_bytes(data)

    assert claude.read_settings(path) is None


def test_settings_that_lead_to_a_device_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "settings.json").symlink_to("/dev/zero")

    assert claude.read_settings(tmp_path / "settings.json") is None


def test_versions_are_in_order() -> None:
    assert claude.MINIMUM < claude.NO_ATTRIBUTION_BEFORE
    assert re.fullmatch(r"\d+\.\d+\.\d+", ".".join(map(str, claude.MINIMUM)))


def test_hooks_of_the_session_run_beside_the_users() -> None:
    ours = {"PreCompact": [{"hooks": ["ours"]}], "UserPromptSubmit": [{"hooks": ["ours"]}]}
    theirs = {"hooks": {"PreCompact": [{"hooks": ["theirs"]}], "Stop": [{"hooks": ["theirs"]}]}}

    alone = planned(hooks=ours)
    assert json.loads(alone.argv[alone.argv.index("--settings") + 1])["hooks"] == ours
    merged = json.loads(planned("--settings", json.dumps(theirs), hooks=ours).file_text)
    assert merged["hooks"] == {
        "PreCompact": [{"hooks": ["theirs"]}, {"hooks": ["ours"]}],
        "Stop": [{"hooks": ["theirs"]}],
        "UserPromptSubmit": [{"hooks": ["ours"]}],
    }
