# SPDX-License-Identifier: Apache-2.0
"""Rules of the repository that no tool knows."""

import ipaddress
import re
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cco
from tests.capabilities import ROOT
from tests.lint.tree import SCRIPTS, files, texts

TOP_LEVEL: Final = {
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "cco",
    "debian",
    "man",
    "packaging",
    "pyproject.toml",
    "setup.cfg",
    "systemd",
    "tests",
}

COMMENTED_SUFFIXES: Final = {
    ".path",
    ".py",
    ".service",
    ".sh",
    ".slice",
    ".socket",
    ".target",
    ".timer",
    ".toml",
}
"""Kinds of source files in which ``#`` begins a comment."""

NO_UNIT_TEST: Final[dict[str, str]] = {}
"""Modules of cco/ without a test file of their own, each with the reason."""

PLACES: Final = {
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
}
"""Top-level directories that any Linux machine has."""

HOSTS: Final = {
    "api.anthropic.com": "the upstream",
    "arxiv.org": "papers, in an agent's text",
    "doi.org": "papers, in an agent's text",
    "github.com": "an identity in provenance, in an agent's text",
    "token.actions.githubusercontent.com": "an issuer in provenance, in an agent's text",
    "code.claude.com": "documentation of Claude Code",
    "docs.anthropic.com": "documentation of the Messages API",
    "json-schema.org": "a name in JSON schemas",
    "man7.org": "manual pages",
    "platform.claude.com": "documentation of the Messages API",
    "spec.openapis.org": "specification of OpenAPI",
    "www.apache.org": "the licence",
    "www.debian.org": "name of a file format",
    "www.freedesktop.org": "documentation of systemd",
    "www.rfc-editor.org": "standards",
    "www.w3.org": "the name space of SVG",
}
"""Hosts that a text may name. Where packages come from is for each machine's settings to say."""


OF_NO_MODULE: Final = {
    "tests/unit/catalog/test_quality.py": "judges the shipped agents, which are data",
    "tests/unit/orchestration/test_routing_quality.py": "judges the shipped rules, which are data",
}
"""Unit tests that belong to no module, and why."""


def test_top_level_holds_only_what_the_frame_allows() -> None:
    assert {path.parts[0] for path in files()} - TOP_LEVEL == set()


def test_there_is_one_ruff_configuration() -> None:
    # A stray ruff.toml silently wins over pyproject.toml.
    assert [path for path in files() if path.name in {"ruff.toml", ".ruff.toml"}] == []


def test_setup_cfg_is_for_manual_pages_only() -> None:
    sections = re.findall(r"^\[(.+)\]$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert sections == ["build_manpages"]


def test_sources_begin_with_their_licence() -> None:
    wanted = "# SPDX-License-Identifier: Apache-2.0"
    without = []
    for path, text in texts().items():
        if not text or not (
            path.suffix in COMMENTED_SUFFIXES or path.name == "Makefile" or text.startswith("#!")
        ):
            continue
        lines = text.splitlines()
        first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
        if first != wanted:
            without.append(str(path))
    assert not without, "\n".join(without)


def test_every_module_has_its_unit_tests() -> None:
    without = []
    for path in files():
        if path.parts[0] != "cco" or path.suffix != ".py" or path.name.startswith("__"):
            continue
        inside = path.relative_to("cco")
        test = ROOT / "tests" / "unit" / inside.with_name(f"test_{inside.name}")
        if str(path) not in NO_UNIT_TEST and not test.is_file():
            without.append(str(path))
    assert not without, "\n".join(without)


def test_every_excuse_for_a_missing_unit_test_is_in_use() -> None:
    for name, reason in NO_UNIT_TEST.items():
        inside = Path(name).relative_to("cco")
        assert reason
        assert (ROOT / name).is_file(), f"{name} is no more"
        assert not (ROOT / "tests" / "unit" / inside.with_name(f"test_{inside.name}")).exists()


def test_unit_tests_mirror_the_modules() -> None:
    astray = []
    for path in files():
        if path.parts[:2] != ("tests", "unit") or not path.name.startswith("test_"):
            continue
        if str(path) in OF_NO_MODULE:
            continue
        module = path.relative_to("tests/unit").with_name(path.name.removeprefix("test_"))
        package = module.with_suffix("") / "__init__.py"
        if not (ROOT / "cco" / module).exists() and not (ROOT / "cco" / package).exists():
            astray.append(str(path))
    assert not astray, "\n".join(astray)


def test_no_text_names_a_place_of_one_machine() -> None:
    places = {str(ROOT)}
    top = ROOT.parts[1]
    if top not in PLACES:
        places.add(f"/{top}/")
    # Not inside a longer path: a tree may well lie in "src" of the root.
    pattern = re.compile(rf"(?<![\w.*/-])(?:{'|'.join(map(re.escape, sorted(places)))})")
    named = [f"{path}: {one}" for path, text in texts().items() for one in pattern.findall(text)]
    assert not named, "\n".join(named)


def test_texts_name_known_hosts_only() -> None:
    unknown = [
        f"{path}: {host}"
        for path, text in texts().items()
        for host in re.findall(r"\b(?:https?|wss?)://(?:[^/\s@\"']*@)?([A-Za-z0-9.-]+)", text)
        if not _may_be_named(host)
    ]
    assert not unknown, "\n".join(unknown)


def _may_be_named(host: str) -> bool:
    host = host.rstrip(".").lower()
    reserved = host.endswith((".example", ".invalid", ".localhost", ".test")) or re.search(
        r"(^|\.)example\.(com|net|org)$", host
    )
    return "." not in host or host in HOSTS or bool(reserved) or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def test_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", cco.__version__)
    stated = {}
    changelog = ROOT / "debian" / "changelog"
    if changelog.exists():
        first = changelog.read_text().partition("\n")[0]
        stated["debian/changelog"] = first.partition("(")[2].partition(")")[0].partition("-")[0]
    for path in files():
        if path.suffix == ".spec":
            found = re.search(r"^Version:\s*(\S+)$", texts()[path], re.MULTILINE)
            stated[str(path)] = found[1] if found else ""
    assert stated == dict.fromkeys(stated, cco.__version__)


SOURCES = {"llfuse", "systemd-python"}
"""Pins of which there is no wheel."""


def _pins(*names: str) -> dict[str, str]:
    pins: dict[str, str] = {}
    for name in names or ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / "packaging" / name).read_text().splitlines():
            if line and not line.startswith(("#", "    --hash=sha256:")):
                package, exact, version = line.removesuffix(" \\").partition("==")
                assert exact, f"not an exact version: {line}"
                pins[canonicalize_name(package)] = version
    return pins


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_every_pin_has_the_hashes_of_its_files(name: str) -> None:
    assert _pins(f"{name}.txt") == _pins(f"{name}.in")  # else: packaging/pin
    text = (ROOT / "packaging" / f"{name}.txt").read_text()
    for block in re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]:
        pin, *hashes = block.replace(" \\\n", "\n").splitlines()
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in hashes), pin
        wheel = metadata.distribution(pin.partition("==")[0]).read_text("WHEEL") or ""
        is_compiled = "-any" not in wheel and pin.partition("==")[0] not in SOURCES
        assert len(hashes) >= (10 if is_compiled else 1), pin  # wheels of all machines


def test_nothing_unchecked_is_installed() -> None:
    text = (ROOT / "packaging" / "bootstrap").read_text()
    calls = re.findall(r"^ +pip_install (.*)$", text, re.MULTILINE)
    assert len(calls) == 3
    assert all("--require-hashes" in call or "--editable ." in call for call in calls)


@pytest.mark.skipif(
    PurePosixPath(SCRIPTS).parent.name != ".venv", reason="speaks of the environment .venv/ only"
)
def test_environment_is_pinned_whole() -> None:
    pins = _pins()
    seen: set[str] = set()
    ahead = ["cco", *pins]
    wrong = []
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name in seen:
            continue
        seen.add(name)
        installed = metadata.distribution(name)
        if name != "cco" and pins.get(name) != installed.version:
            wrong.append(f"{name} {installed.version}, pinned {pins.get(name)}")
        for line in installed.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                ahead.append(requirement.name)
    assert not wrong, "\n".join(wrong)


def test_every_pin_meets_the_bounds_of_the_project() -> None:
    pins = _pins()
    for line in metadata.requires("cco") or ():
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line
