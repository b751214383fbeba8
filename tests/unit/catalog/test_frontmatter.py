# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from cco.catalog.frontmatter import MAX_LINE, FrontMatter, Value, read
from cco.catalog.problem import Findings
from tests.unit.catalog.samples import quoted


def read_text(text: str) -> tuple[FrontMatter | None, list[tuple[int, str]]]:
    findings = Findings("a.md")
    matter = read(text, findings)
    return matter, [(problem.line, problem.message) for problem in findings.problems]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("Chief Architect", "Chief Architect"),  # bare text
        ("  spaced out  ", "spaced out"),  # space around it is not part of it
        ("a:b, c#d and it's", "a:b, c#d and it's"),  # harmless in the middle of bare text
        ('"a: b # c"', "a: b # c"),  # quotes hold anything
        (r'"say \"hi\" \u00e9"', 'say "hi" é'),  # escapes as in JSON
        ('""', ""),  # empty, but a value
        ("[Read, Bash]", ("Read", "Bash")),  # list
        ("[ Read ,Bash ]", ("Read", "Bash")),  # space in it does not matter
        ('["a, b", c, "d"]', ("a, b", "c", "d")),  # a quoted item may hold a comma
        ("[]", ()),  # empty list
        ("[mcp__a__*]", ("mcp__a__*",)),  # a star inside is no alias
    ],
)
def test_value_is_read(raw: str, value: Value) -> None:
    matter, problems = read_text(f"---\nkey: {raw}\n---\nbody")

    assert problems == []
    assert matter is not None
    assert matter.fields["key"].value == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is not of the form 'key: value'"),  # blank
        ("# note", "is not of the form 'key: value'"),  # comment
        ("  nested: x", "is not of the form 'key: value'"),  # nesting
        ("- item", "is not of the form 'key: value'"),  # a YAML list over lines
        ("key:value", "is not of the form 'key: value'"),  # YAML wants the space as well
        ("key:", "'key' has no value on its line"),  # the value of YAML could follow
        ("key: |", "'|' needs quotes, as in JSON"),  # a text over several lines
        ("key: 'x'", "\"'x'\" needs quotes, as in JSON"),  # YAML's other quotes
        ("key: a: b", "'a: b' needs quotes, as in JSON"),  # YAML would nest
        ("key: a #b", "'a #b' needs quotes, as in JSON"),  # YAML would cut the comment off
        ("key: a:", "'a:' needs quotes, as in JSON"),  # YAML would nest
        ('key: "open', "a quoted text is not a JSON string"),  # no closing quote
        (r'key: "\x41"', "a quoted text is not a JSON string"),  # an escape that JSON lacks
        ('key: "a" b', "something follows the quoted text of 'key'"),
        ("key: [a", "a list must end with ] on its line"),
        ("key: [a, , b]", "a list has an empty place"),
        ("key: [a,]", "a list must not end with a comma"),
        ('key: ["a" b]', "a comma is missing after a quoted text"),
        ("key: [[a]]", "'[a]' needs quotes, as in JSON"),  # a list in a list
        ("key: " + "a" * MAX_LINE, f"is longer than {MAX_LINE} characters"),
    ],
)
def test_odd_line_is_a_problem_on_its_line(line: str, reason: str) -> None:
    matter, problems = read_text(f"---\nname: x\n{line}\n---\nbody")

    assert problems == [(3, reason)]
    assert matter is not None
    assert list(matter.fields) == ["name"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "no front matter"),  # an empty file
        ("name: x\n", 1, "no front matter"),  # text without a marker
        (" ---\nname: x\n---\n", 1, "no front matter"),  # the marker is exact
        ("---\nname: x\nbody", 1, "no end"),  # never closed
        ("---\nname: x\n--- \nbody", 1, "no end"),  # closed by something else
        ("\ufeff---\nname: x\n---\n", 1, "byte order mark"),
        ("---\nname: x\r\n---\n", 2, "carriage return"),  # Windows line ends
        ("---\nname: x\n---\na\n\x00", 5, "control character 0x00"),  # a binary file
        ("---\nname: x\n---\n\x1b[0m", 4, "control character 0x1b"),  # colours of a terminal
    ],
)
def test_what_is_no_definition_is_one_problem(text: str, line: int, reason: str) -> None:
    matter, problems = read_text(text)

    assert matter is None
    assert [at for at, _ in problems] == [line]
    assert reason in problems[0][1]


def test_second_key_of_a_name_is_a_problem() -> None:
    _, problems = read_text("---\nname: x\nname: y\n---\n")

    assert problems == [(3, "'name' is already on line 2")]


@pytest.mark.parametrize("body", ["", "x", "\nx\n\n", "---\nx\n---\n", " \n\tx", "\u2028x\x85"])
def test_body_is_kept_to_the_byte(body: str) -> None:
    matter, problems = read_text(f"---\nname: x\n---\n{body}")

    assert problems == []
    assert matter is not None
    assert matter.body == body


def test_any_quoted_text_comes_back() -> None:
    """Property: whatever a JSON string can say, alone or in a list, is read as it was."""
    chance = random.Random(7)
    letters = "ab \"\\[]{},:#'-&*!|>%@`/\té\u00a0日😀"
    for _ in range(500):
        texts = ["".join(chance.choices(letters, k=chance.randrange(12))) for _ in range(3)]
        listed = ", ".join(map(quoted, texts))
        matter, problems = read_text(f"---\none: {quoted(texts[0])}\nall: [{listed}]\n---\n")

        assert problems == []
        assert matter is not None
        assert matter.fields["one"].value == texts[0]
        assert matter.fields["all"].value == tuple(texts)


def test_no_text_breaks_the_reader() -> None:
    """Property: every text is either taken apart or has a problem, and none raises."""
    chance = random.Random(11)
    pieces = ["---", "\n", "name", ": ", "[", "]", '"', ",", "\\", "x", "#", "\r", "\x00", "\ufeff"]
    for _ in range(3000):
        text = "---\n" + "".join(chance.choices(pieces, k=chance.randrange(25)))
        matter, problems = read_text(text)

        assert matter is not None or problems
