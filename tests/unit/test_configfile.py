# SPDX-License-Identifier: Apache-2.0
"""Settings files: their order, their origins, and a line for everything that is wrong."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cco import config
from cco.config import Settings, Upstream
from cco.configfile import PROJECT_KEYS, REPEATED, SECTIONS, Loaded, files, load, parse
from cco.errors import ConfigError
from tests.ordinary import ask_as_ordinary_user, open_directory

BASE = Loaded(Settings(), {})


def parsed(text: str, *, base: Loaded = BASE, allowed: frozenset[str] | None = None) -> Loaded:
    return parse(text, source="f.toml", base=base, allowed=allowed)


def refused(text: str, *, allowed: frozenset[str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(text, allowed=allowed)
    return caught.value


# What is read.


def test_nothing_gives_the_defaults() -> None:
    assert parsed("") == BASE
    assert parsed("# only a comment\n[server]\n").settings == Settings()


def test_every_setting_of_the_manual_is_read() -> None:
    text = """
        [server]
        host = "::1"
        port = 0
        threads = 8
        [vfs]
        mount = "/m"
        access = "owner"
        [[upstream]]
        name = "one"
        base_url = "http://localhost:1"
        weight = 2
        priority = 3
        credential = "key"
        family = "f"
        ca_file = "/ca.pem"
        connect_timeout_s = 1
        read_timeout_s = 2.5
        [[upstream]]
        name = "two"
        [cache]
        enabled = false
        max_bytes = 1
        ttl_s = 2
        messages = "exact"
        [agents]
        max_concurrent = 1
        queue_timeout_s = 0
        groups = ["leadership", "Language Specialists"]
        invoke_timeout_s = 1
        invoke_max_usd = 0.5
        [models]
        opus = "claude-x"
        "sonnet-4.5" = "claude-y"
        new = "claude-z"
        [ledger]
        database = "/db"
        retention_days = 1
        max_bytes = 1048576
        prices = "/p"
        [[budget]]
        scope = "session"
        usd = 1
        action = "warn"
        project = "/p"
        [knowledge]
        enabled = false
        inject_tokens = 0
        [tui]
        refresh_s = 1
    """

    assert parsed(text).settings == Settings(
        server=config.Server("::1", 0, 8),
        vfs=config.Vfs("/m", "owner"),
        upstream=(
            Upstream("one", "http://localhost:1", 2, 3, "key", "f", "/ca.pem", 1.0, 2.5),
            Upstream("two"),
        ),
        cache=config.Cache(enabled=False, max_bytes=1, ttl_s=2, messages="exact"),
        agents=config.Agents(1, 0.0, ("leadership", "Language Specialists"), 1.0, 0.5),
        models={
            **config.MODELS,
            "opus": "claude-x",
            "sonnet-4.5": "claude-y",
            "new": "claude-z",
        },
        ledger=config.Ledger("/db", 1, 1048576, "/p"),
        budget=(config.Budget("session", 1.0, "warn", "/p"),),
        knowledge=config.Knowledge(enabled=False, inject_tokens=0),
        tui=config.Tui(1.0),
    )


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = 1",
        "server.port = 1",  # dotted
        'server."port" = 1',
        "'server' . 'port' = 1",
        "server = { port = 1 }",  # inline
        '[ "server" ]\n"port" = 1',
        "[server] # comment\n  port=0x1 # comment",
    ],
)
def test_key_may_be_written_in_every_way_of_toml(text: str) -> None:
    assert parsed(text).settings.server == config.Server(port=1)


def test_later_file_wins_key_by_key() -> None:
    first = parsed('[server]\nport = 1\nthreads = 8\n[models]\nopus = "a"\nhaiku = "b"')
    both = parse('[server]\nport = 2\n[models]\nopus = "c"', source="later", base=first)

    assert both.settings.server == config.Server(port=2, threads=8)
    assert both.settings.models["opus"] == "c"
    assert both.settings.models["haiku"] == "b"
    assert both.origins == {
        "server.port": "later:2",
        "server.threads": "f.toml:3",
        "models.opus": "later:4",
        "models.haiku": "f.toml:6",
    }


def test_repeated_tables_replace_those_of_earlier_files() -> None:
    first = parsed('[[upstream]]\nname = "a"\n[[upstream]]\nname = "b"\nweight = 2')
    both = parse('[[upstream]]\nname = "c"', source="later", base=first)

    assert both.settings.upstream == (Upstream("c"),)
    assert both.origins == {"upstream[0].name": "later:2"}


def test_budgets_can_be_taken_away_again() -> None:
    first = parsed("[[budget]]\nusd = 1")

    assert parse("budget = []", source="later", base=first).settings.budget == ()


def test_whole_numbers_are_numbers() -> None:
    refresh_s = parsed("[tui]\nrefresh_s = 7").settings.tui.refresh_s

    assert (refresh_s, type(refresh_s)) == (7.0, float)


# Where a value came from, and where a mistake is: text, key, line.
LINES = [
    ("\n[server]\n\nport = 1\n", "server.port", 4),
    ("server.port = 1\n", "server.port", 1),
    ("[vfs]\naccess = 'owner'\n[server]\nport = 1\n", "server.port", 4),
    ("# port = 2\n[server]\n# port = 3\nport = 1\n", "server.port", 4),  # comments are no keys
    ("[vfs]\n[server]\n'port' = 1\n", "server.port", 3),
    ("\nserver = { threads = 4, port = 1 }\n", "server.port", 2),  # that of the table
    ("[cache]\nmax_bytes = 1\n[ledger]\nmax_bytes = 1048576\n", "ledger.max_bytes", 4),
    ("[[upstream]]\nname = 'a'\n[[upstream]]\nname = 'b'\n", "upstream[1].name", 4),
    ("[[budget]]\nusd = 1\n[[budget]]\nusd = 2\n[tui]\n[[budget]]\nusd = 3\n", "budget[2].usd", 7),
    ("\nupstream = [\n  { name = 'a' },\n]\n", "upstream[0].name", 2),
    ('[models]\n"opus-4.1" = "x"\n', "models.opus-4.1", 2),
]


@pytest.mark.parametrize(("text", "key", "line"), LINES)
def test_origin_names_file_and_line(text: str, key: str, line: int) -> None:
    assert parsed(text).origins[key] == f"f.toml:{line}"


@pytest.mark.parametrize(
    ("text", "line", "near"),
    [
        ("[server]\nprot = 1\n", 2, "port"),
        ("\nserver.prot = 1\n", 2, "port"),
        ("server = { prot = 1 }\n", 1, "port"),
        ("[[upstream]]\n[[upstream]]\nbaseurl = 'x'\n", 3, "base_url"),
        ("[sever]\nport = 1\n", 1, "server"),  # a section
        ("\nsever.port = 1\n", 2, "server"),
        ("\n\nmodel = 1\n", 3, "models"),
        ("[[upstreams]]\n", 1, "upstream"),
        ("[Server]\n", 1, "server"),  # names are in lower case
        ("[agents]\nmax-concurrent = 1", 2, "max_concurrent"),
    ],
)
def test_unknown_name_is_told_with_line_and_nearest_name(text: str, line: int, near: str) -> None:
    error = refused(text)

    assert error.code == "config-unknown-key"
    assert error.message.startswith(f"f.toml:{line}: unknown key '")
    assert error.hint == f"Did you mean '{near}'?"


def test_name_that_is_near_nothing_is_told_with_what_there_is() -> None:
    error = refused("[tui]\nxyzzy = 1")

    assert error.hint == "Known here: refresh_s"


WRONG_TYPES: Mapping[type, str] = {
    int: '"1"',
    float: "true",
    str: "1",
    bool: "1",
    tuple: '"one"',
}


@pytest.mark.parametrize(
    ("section", "field"),
    [
        pytest.param(section, field, id=f"{section}.{field.name}")
        for section, kind in SECTIONS.items()
        for field in dataclasses.fields(kind)
    ],
)
def test_wrong_type_of_every_setting_is_told_with_its_line(
    section: str, field: dataclasses.Field[Any]
) -> None:
    heading = f"[[{section}]]" if section in REPEATED else f"[{section}]"
    error = refused(f"# comment\n{heading}\n{field.name} = {WRONG_TYPES[type(field.default)]}\n")

    assert error.code == "config-invalid"
    assert error.message.startswith(f"f.toml:3: {field.name} in [{section}] must be ")
    assert error.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nport = 70000", "f.toml:2: port in [server] must be from 0 to 65535"),
        ("[server]\nport = 1.5", "f.toml:2: port in [server] must be a whole number"),
        ("[server]\nport = true", "f.toml:2: port in [server] must be a whole number"),
        ("[tui]\nrefresh_s = nan", "f.toml:2: refresh_s in [tui] must be from 0.5 to 3600"),
        ('[agents]\ngroups = ["a", 1]', "f.toml:2: groups in [agents] must be a list of texts"),
        (
            '[[upstream]]\n\nbase_url = "x"',
            "f.toml:3: base_url in [upstream] must be a URL such as https://api.anthropic.com",
        ),
        ("server = 1", "f.toml:1: server in [server] must be a table"),
        ("\n[[server]]\n", "f.toml:2: server in [server] must be a table"),
        ("\n[upstream]\n", "f.toml:2: upstream in [upstream] must be written [[upstream]]"),
        ("upstream = [1]", "f.toml:1: upstream in [upstream] must be a table"),
        ("upstream = []", "f.toml:1: upstream in [upstream] must hold one upstream or more"),
        (
            '[[upstream]]\nname = "a"\n[[upstream]]\nname = "a"',
            "f.toml:4: name in [upstream] 'a' is taken by another",
        ),
        (
            "[[upstream]]\n[[upstream]]\n",  # both have the default's name
            "f.toml:2: name in [upstream] 'anthropic' is taken by another",
        ),
        ("models = 1", "f.toml:1: models in [models] must be a table"),
        (
            '[models]\nopus-4.1 = "claude-x"',  # a table of the name opus-4
            "f.toml:2: opus-4 in [models] must be the id of a model (a name with a dot is quoted)",
        ),
        ('[models]\nopus = ""', None),
    ],
)
def test_wrong_value_is_told_with_file_and_line(text: str, told: str | None) -> None:
    error = refused(text)

    assert error.code == "config-invalid"
    assert told in (None, error.message)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nport = \n", 2),
        ("[server]\nport = 1\nport = 2\n", 3),  # twice
        ("[server]\n[server]\n", 2),
        ('x = "no end', 1),
        ("[server\n", 1),
        ("port 1", 1),
        ("\n\n[[[x", 3),
        ("x = " + "[" * 5000, 1),  # deeper than the reader goes
    ],
)
def test_bad_syntax_is_told_with_file_and_line(text: str, line: int) -> None:
    error = refused(text)

    assert error.code == "config-syntax"
    assert error.message.startswith(f"f.toml:{line}: ")
    assert "(at line" not in error.message
    assert error.hint


# What a project may say.


def test_project_may_set_groups_and_knowledge() -> None:
    text = '[agents]\ngroups = ["a"]\n[knowledge]\nenabled = false\ninject_tokens = 1'
    settings = parsed(text, allowed=PROJECT_KEYS).settings

    assert settings.agents.groups == ("a",)
    assert settings.knowledge == config.Knowledge(enabled=False, inject_tokens=1)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[agents]\nmax_concurrent = 1", 2),
        ("[agents]\ngroups = []\ninvoke_max_usd = 1.0", 3),
        ("\n[server]\nport = 1", 3),
        ('[vfs]\naccess = "owner"', 2),
        # where credentials go
        ('[[upstream]]\nbase_url = "https://evil.example"', 1),
        ('\nupstream = [{base_url = "https://evil.example"}]', 2),
        ("[[budget]]\nusd = 1e9", 1),
        ('[models]\nopus = "x"', 1),
        ('[ledger]\ndatabase = "/x"', 2),
    ],
)
def test_project_may_set_nothing_else(text: str, line: int) -> None:
    error = refused(text, allowed=PROJECT_KEYS)

    assert error.message.startswith(f"f.toml:{line}: ")
    assert error.message.endswith("cannot be set by a project")


# Files.


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    etc, user, project = tmp_path / "etc", tmp_path / "user", tmp_path / "project"
    for name in ("b.toml", "a.toml", "a.conf"):
        write(etc / "cco.toml.d" / name, "")
        write(user / "cco.toml.d" / name, "")
    extra = write(tmp_path / "extra.toml", "")
    project.mkdir()

    found = files({"CCO_CONFIG": str(extra)}, config=user, etc=etc)

    assert found == [
        etc / "cco.toml",
        etc / "cco.toml.d/a.toml",
        etc / "cco.toml.d/b.toml",
        user / "cco.toml",
        user / "cco.toml.d/a.toml",
        user / "cco.toml.d/b.toml",
        extra,
    ]


def test_later_files_win(tmp_path: Path) -> None:
    etc, user, project = tmp_path / "etc", tmp_path / "user", tmp_path / "project"
    order = [
        write(etc / "cco.toml", "server.port = 1\nserver.threads = 4"),
        write(etc / "cco.toml.d/50.toml", "server.port = 2"),
        write(user / "cco.toml", "server.port = 3"),
        write(user / "cco.toml.d/50.toml", "server.port = 4"),
        write(tmp_path / "extra.toml", "server.port = 5\nagents.groups = ['user']"),
    ]
    write(project / ".cco.toml", "agents.groups = ['project']")
    environ = {"CCO_CONFIG": str(order[-1])}

    for count in range(len(order), 0, -1):
        loaded = load(environ, config=user, etc=etc, project=project)
        assert loaded.settings.server == config.Server(port=count, threads=4)
        assert loaded.settings.agents.groups == ("project",)
        assert loaded.origins["server.port"] == f"{order[count - 1]}:1"
        order[count - 1].write_text("" if count > 1 else "server.threads = 4", encoding="utf-8")
    without = load(environ, config=user, etc=etc, project=None)
    assert without.settings.agents.groups == ("*",)


def test_missing_files_are_no_matter(tmp_path: Path) -> None:
    loaded = load({}, config=tmp_path / "no", etc=tmp_path / "neither", project=tmp_path)

    assert loaded == BASE


def test_file_in_place_of_the_directory_is_no_matter(tmp_path: Path) -> None:
    write(tmp_path / "cco", "")

    assert load({}, config=tmp_path / "cco", etc=tmp_path / "etc") == BASE


@pytest.mark.parametrize("name", ["no.toml", "./no.toml", "d//no.toml", "d/../no.toml"])
def test_file_that_was_named_must_be_there(tmp_path: Path, name: str) -> None:
    # However the path is written: it is not compared as a text.
    with pytest.raises(ConfigError) as caught:
        load({"CCO_CONFIG": f"{tmp_path}/{name}"}, config=tmp_path, etc=tmp_path)

    assert caught.value.code == "config-missing"
    assert caught.value.hint == "Correct CCO_CONFIG or unset it"


def test_empty_name_is_no_name(tmp_path: Path) -> None:
    assert load({"CCO_CONFIG": ""}, config=tmp_path, etc=tmp_path) == BASE


def test_named_file_may_be_empty_or_a_device(tmp_path: Path) -> None:
    assert load({"CCO_CONFIG": os.devnull}, config=tmp_path, etc=tmp_path) == BASE


def test_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "cco.toml").write_bytes(b'[server]\nhost = "\xff"\n')
    with pytest.raises(ConfigError) as caught:
        load({}, config=tmp_path, etc=tmp_path / "etc")

    assert caught.value.code == "config-unreadable"
    assert caught.value.message.endswith("cco.toml cannot be read (it is not UTF-8)")


def test_directory_in_place_of_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "cco.toml").mkdir()
    with pytest.raises(ConfigError) as caught:
        load({}, config=tmp_path, etc=tmp_path / "etc")

    assert caught.value.code == "config-unreadable"
    assert caught.value.message.endswith("cannot be read (Is a directory)")


def test_file_that_may_not_be_read_is_told() -> None:
    def ask() -> str:
        try:
            load({}, config=directory, etc=directory / "etc")
        except ConfigError as error:
            return f"{error.code}: {error.message}"
        return "read"

    with open_directory() as directory:
        write(directory / "cco.toml", "").chmod(0)
        said = ask_as_ordinary_user(ask)

    assert said.startswith("config-unreadable: ")
    assert said.endswith("(Permission denied)")


@pytest.mark.parametrize("target", [os.devnull, "/dev/zero", "/"])
def test_projects_file_must_be_a_regular_one(tmp_path: Path, target: str) -> None:
    # A checkout may hold a link to anything; a device would be read for ever.
    (tmp_path / ".cco.toml").symlink_to(target)
    with pytest.raises(ConfigError) as caught:
        load({}, config=tmp_path, etc=tmp_path, project=tmp_path)

    assert caught.value.code == "config-unreadable"
    assert caught.value.message.endswith("cannot be read (it is not a regular file)")


def test_projects_named_pipe_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".cco.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load({}, config=tmp_path, etc=tmp_path, project=tmp_path)


def test_error_in_a_projects_file_names_it(tmp_path: Path) -> None:
    path = write(tmp_path / ".cco.toml", "\n[server]\nport = 1\n")
    with pytest.raises(ConfigError) as caught:
        load({}, config=tmp_path, etc=tmp_path, project=tmp_path)

    assert caught.value.message == f"{path}:3: port in [server] cannot be set by a project"
