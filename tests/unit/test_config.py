# SPDX-License-Identifier: Apache-2.0
"""The settings: their defaults, their limits, and that each says what it means."""

import ast
import dataclasses
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest

from cco import config
from cco.config import MODELS, Settings
from cco.configfile import REPEATED, SECTIONS

FIELDS = [
    (name, section, field)
    for name, section in SECTIONS.items()
    for field in dataclasses.fields(section)
]


def documented() -> Iterator[tuple[str, str, str]]:
    """Yield class, field and the text under it, as written in the module."""
    for node in ast.parse(inspect.getsource(config)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                text = str(below.value.value) if is_text else ""  # type: ignore[union-attr]
                yield node.name, field.target.id, text


DOCUMENTED = {(section, field): text for section, field, text in documented()}


def test_every_setting_says_what_it_means() -> None:
    for name, section, field in FIELDS:
        text = DOCUMENTED[section.__name__, field.name]
        assert text.endswith("."), f"a sentence: {name}.{field.name}"
        assert "\n" not in text, f"one line: {name}.{field.name}"
        heading = f"``[[{name}]]``" if name in REPEATED else f"``[{name}]``"
        assert (section.__doc__ or "").startswith(heading)


def test_every_default_passes_its_own_check() -> None:
    for name, _, field in FIELDS:
        check = field.metadata["check"]
        assert field.default is not dataclasses.MISSING, f"{name}.{field.name}"
        assert check is None or check(field.default) is None, f"{name}.{field.name}"


def test_every_section_is_a_setting() -> None:
    assert {field.name for field in dataclasses.fields(Settings)} == {*SECTIONS, "models"}


def test_defaults_are_those_of_the_manual() -> None:
    settings = Settings()

    assert settings.server == config.Server("127.0.0.1", 3000, 256)
    assert settings.vfs == config.Vfs("", "session")
    assert settings.upstream == (
        config.Upstream(
            name="anthropic",
            base_url="https://api.anthropic.com",
            weight=1,
            priority=0,
            credential="",
            family="anthropic",
            ca_file="",
            connect_timeout_s=10,
            read_timeout_s=600,
        ),
    )
    assert settings.cache == config.Cache(
        enabled=True, max_bytes=67108864, ttl_s=3600, messages="retry"
    )
    assert settings.agents == config.Agents(10, 30, ("*",), 600, 5.0)
    assert settings.ledger == config.Ledger("", 90, 104857600, "")
    assert settings.budget == ()
    assert config.Budget() == config.Budget("day", 20.0, "block", "")
    assert settings.knowledge == config.Knowledge(enabled=True, inject_tokens=1500)
    assert settings.tui == config.Tui(5)


def test_every_spelling_of_a_model_stands_for_one() -> None:
    assert Settings().models is MODELS
    assert sorted(MODELS) == ["haiku", "haiku-4.5", "opus", "opus-4.1", "sonnet", "sonnet-4.5"]
    assert {name.startswith("claude-") for name in MODELS.values()} == {True}


def check_of(section: type, name: str) -> config.Check:
    (field,) = [one for one in dataclasses.fields(section) if one.name == name]
    check: config.Check = field.metadata["check"]
    return check


# setting, values that are allowed, values that are not
LIMITS: list[tuple[type, str, list[Any], list[Any]]] = [
    # loopback only: a shared gateway is no aim
    (
        config.Server,
        "host",
        ["127.0.0.1", "127.0.0.53", "::1"],
        ["0.0.0.0", "::", "192.168.1.1", "::ffff:10.0.0.1", "localhost", "", "[::1]"],
    ),
    (config.Server, "port", [0, 1, 65535], [-1, 65536]),
    (config.Server, "threads", [4, 4096], [3, 4097]),
    (config.Vfs, "mount", ["", "/run/x"], ["run/x", "~/x"]),
    (config.Vfs, "access", ["session", "owner"], ["", "Session", "all"]),
    (
        config.Upstream,
        "base_url",
        [
            "https://api.anthropic.com",
            "http://127.0.0.1:8080/prefix",
            "http://[::1]:1/",
        ],
        [
            "",
            "api.anthropic.com",  # no scheme
            "ftp://host.example",
            "https://",
            "https://host.example/?key=1",  # the client's path goes behind it
            "https://host.example/#x",
            "http://[::1",  # urlsplit raises
            "http://host.example:99999",  # so does the port
            "http://host.example:http",
            "http://host.example:0",
        ],
    ),
    (config.Upstream, "name", ["a", "A.b_c-9", "x" * 64], ["", "a b", "ü", "x" * 65, "a\n"]),
    (config.Upstream, "connect_timeout_s", [0.1, 300.0], [0.0, 300.5, math.nan, math.inf]),
    (config.Upstream, "weight", [1, 1000], [0, 1001]),
    (config.Cache, "messages", ["off", "retry", "exact"], ["on", ""]),
    (config.Cache, "max_bytes", [0, 2**34], [-1, 2**34 + 1]),
    (config.Budget, "scope", ["day", "project", "session"], ["month"]),
    (config.Budget, "action", ["warn", "block"], ["stop"]),
    (config.Budget, "usd", [0.0, 0.01, 1e9], [-0.01, math.nan]),
    (config.Agents, "max_concurrent", [1, 1000], [0, 1001]),
    (config.Knowledge, "inject_tokens", [0, 3000], [-1, 3001]),
    (config.Tui, "refresh_s", [0.5, 3600.0], [0.4, 3601.0]),
]


@pytest.mark.parametrize(
    ("section", "name", "good", "bad"),
    [pytest.param(*row, id=f"{row[0].__name__}.{row[1]}") for row in LIMITS],
)
def test_limits_are_kept(section: type, name: str, good: list[Any], bad: list[Any]) -> None:
    check = check_of(section, name)

    assert [value for value in good if check(value) is not None] == []
    assert [value for value in bad if check(value) is None] == []


@pytest.mark.parametrize(
    ("section", "name", "bad"),
    [pytest.param(row[0], row[1], row[3], id=f"{row[0].__name__}.{row[1]}") for row in LIMITS],
)
def test_complaint_says_what_must_be(section: type, name: str, bad: list[Any]) -> None:
    complaints = {check_of(section, name)(value) for value in bad}

    assert all(complaint and complaint.startswith("must be ") for complaint in complaints)
    assert all(complaint and not complaint.endswith(".") for complaint in complaints)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings().models["opus"] = "x"  # type: ignore[index]
