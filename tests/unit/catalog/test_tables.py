# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.problem import Findings
from cco.catalog.tables import Tables

TEXT = """\
top = 1

[routes]
a = "x"
"b" = [
    "x",
    'y',
]

[[hook]]
event = "one"

[[hook]]
event = "two"

[other]
a = "z"
"""


@pytest.mark.parametrize(
    ("table", "key", "value", "nth", "line"),
    [
        ("routes", "", "", 0, 3),  # a table
        ("routes", "a", "", 0, 4),  # its key
        ("routes", "a", "x", 0, 4),  # a value on the line of its key
        ("routes", "b", "x", 0, 6),  # a value below its key, not that of another key
        ("routes", "b", "y", 0, 7),  # in the other quotes
        ("routes", "b", "z", 0, 5),  # no such value here: the key
        ("routes", "c", "", 0, 3),  # no such key here: the table
        ("hook", "event", "", 1, 14),  # the second table of a name
        ("other", "a", "", 0, 17),  # a key that another table has as well
        ("nothing", "a", "", 0, 1),  # no such table
    ],
)
def test_line_is_found(table: str, key: str, value: str, nth: int, line: int) -> None:
    assert Tables(TEXT, Findings("a.toml")).line(table, key, value, nth=nth) == line


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a = 1\nb = \n", 2, "is not TOML"),  # no value
        ("a = 1\na = 2\n", 2, "is not TOML"),  # a key twice
        ('a = """\n', 1, "is not TOML"),  # never closed: the last line
        ("a = " + "[" * 50_000, 1, "is not TOML"),  # deeper than the reader can go
        ("a = " + "9" * 5_000, 1, "is not TOML"),  # longer than any number
        ("\ufeffa = 1", 1, "begins with a byte order mark"),
    ],
)
def test_what_is_not_toml_is_one_problem(text: str, line: int, reason: str) -> None:
    findings = Findings("a.toml")
    tables = Tables(text, findings)

    assert tables.data == {}
    assert [problem.line for problem in findings.problems] == [line]
    assert findings.problems[0].message.startswith(reason)
