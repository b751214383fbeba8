# SPDX-License-Identifier: Apache-2.0
"""What our documents show is accepted: commands, settings, definitions, and links that lead."""

import re
import shlex
from pathlib import Path

import pytest

from cco import configfile
from cco.catalog import loader
from cco.cli import main
from cco.cli.parser import COMMANDS, build_parser
from cco.config import Settings
from tests.capabilities import ROOT
from tests.documents import Block, blocks, documents, fits, steps

DOCUMENTS = documents()


def of_kind(*kinds: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document, *kinds)]


def commands(line: str) -> list[list[str]]:
    """Return the calls of `cco` in a line of shell."""
    words = shlex.split(line, comments=True)
    calls = []
    for nth, word in enumerate(words):
        is_first = nth == 0 or words[nth - 1] in ("|", "&&", ";", "sudo") or "=" in words[nth - 1]
        if is_first and word.rpartition("/")[2] == "cco":
            rest = words[nth + 1 :]
            end = next((n for n, one in enumerate(rest) if one in ("|", "&&", ";", ">")), len(rest))
            calls.append(rest[:end])
    return calls


@pytest.mark.parametrize("block", of_kind("sh", "console"), ids=str)
def test_commands_are_understood(block: Block) -> None:
    lines = block.text.splitlines()
    if block.kind == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for words in (words for line in lines for words in commands(line)):
        if words and words[0] in COMMANDS and words[0] != "help":
            build_parser().parse_args(main._guard_run(words) if words[0] == "run" else words)


@pytest.mark.parametrize("block", of_kind("toml"), ids=str)
def test_settings_are_accepted(block: Block) -> None:
    configfile.parse(block.text, source=str(block), base=configfile.Loaded(Settings(), {}))


@pytest.mark.parametrize("block", of_kind("markdown"), ids=str)
def test_definitions_of_agents_are_accepted(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "shown-agent.md"
    file.write_text(block.text)

    assert loader.check(file) == ()


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (ROOT / document).read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    astray = [
        link
        for link in links
        if link and "://" not in link and not (ROOT / document.parent / link).exists()
    ]
    assert astray == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_shown_command_has_its_line(document: Path) -> None:
    for block in blocks(document, "console"):
        assert block.text.startswith("$ "), f"{block}: an output without its command"
    assert all(step.command.strip() for step in steps(document))


@pytest.mark.parametrize(
    ("told", "printed", "is_it"),
    [
        ("", "", True),
        ("", "\n", True),
        ("a", "a\n", True),
        ("a", "a  \n", True),
        ("a", "b\n", False),
        ("a …", "a anything\n", True),
        ("a … b", "a 1.5 b\n", True),
        ("a … b", "a\nb\n", False),  # of one line
        ("…", "x\ny\n", True),  # any lines
        ("…", "", True),
        ("a\n…\nb", "a\nb\n", True),
        ("a\n…\nb", "a\nx\ny\nb\n", True),
        ("a\n…", "b\n", False),
        ("$1.0", "$1x0\n", False),  # nothing but … is special
    ],
)
def test_outputs_are_compared(told: str, printed: str, is_it: bool) -> None:
    assert fits(told, printed) == is_it
