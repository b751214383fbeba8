# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.problem import MAX_SHOWN, Findings, Problem, nearest, refusal


def test_problem_reads_as_file_line_reason() -> None:
    assert str(Problem("a.md", 3, "is bad")) == "a.md:3: is bad"


def test_findings_stop_at_the_limit() -> None:
    findings = Findings("a.md")
    for line in range(MAX_SHOWN + 5):
        findings.add(line, "is bad")

    assert len(findings.problems) == MAX_SHOWN


def test_refusal_tells_all_problems_and_counts_the_rest() -> None:
    two = refusal("agent-invalid", [Problem("a", 1, "x"), Problem("b", 2, "y")], hint="Do it")
    many = refusal("agent-invalid", [Problem("a", 1, "x")] * (MAX_SHOWN + 2), hint="Do it")

    assert (two.code, two.message, two.hint) == ("agent-invalid", "a:1: x; b:2: y", "Do it")
    assert many.message.endswith("a:1: x; and 2 more")


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("mode", ["model", "name"], ", did you mean 'model'?"),  # a slip
        ("zzz", ["model", "name"], ", known are model, name"),  # nothing near, but few
        ("zzz", [f"n{i}" for i in range(10)], ""),  # nothing near, too many to list
        ("zzz", [], ""),  # nothing there at all
        ("m" * 10**6, ["model"], ", known are model"),  # cut before it costs time
    ],
)
def test_nearest_suggests(word: str, known: list[str], expected: str) -> None:
    assert nearest(word, known) == expected
