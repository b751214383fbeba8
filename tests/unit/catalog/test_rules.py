# SPDX-License-Identifier: Apache-2.0
import pytest

from cco.catalog.problem import MAX_SHOWN, Findings
from cco.catalog.rules import Rules, parse

AGENTS = {
    "chief architect": "Chief Architect",
    "chief-architect": "Chief Architect",
    "go specialist": "Go Specialist",
    "go-specialist": "Go Specialist",
}
BASE = Rules({"a": ("Go Specialist",), "b": ("Gophers",)}, {"Gophers": ("Go Specialist",)})


def parse_rules(text: str, base: Rules = BASE) -> tuple[Rules, list[tuple[int, str]]]:
    findings = Findings("rules.toml")
    rules = parse(text, findings, base=base, agents=AGENTS)
    return rules, [(problem.line, problem.message) for problem in findings.problems]


def test_rules_are_read() -> None:
    text = """\
[taskRouting]
architecture = "Chief Architect"
implementation = ["Gophers", "Chief Architect"]
[coordination]
parallelExecution = false
maxConcurrentAgents = 3
knowledgeSharing = false
[groups]
Gophers = ["Go Specialist"]
"""
    rules, problems = parse_rules(text, Rules())

    assert problems == []
    assert rules == Rules(
        {"architecture": ("Chief Architect",), "implementation": ("Gophers", "Chief Architect")},
        {"Gophers": ("Go Specialist",)},
        parallel_execution=False,
        max_concurrent_agents=3,
        knowledge_sharing=False,
    )


def test_names_become_those_of_the_agents() -> None:
    text = '[taskRouting]\nx = ["chief-architect", "CHIEF ARCHITECT", "gophers"]\n'

    assert parse_rules(text)[0].task_routing["x"] == ("Chief Architect", "Gophers")


def test_later_file_overrides_key_by_key() -> None:
    text = """\
[taskRouting]
a = "Chief Architect"
[groups]
Gophers = ["Chief Architect"]
[coordination]
maxConcurrentAgents = 2
"""
    rules, problems = parse_rules(text)

    assert problems == []
    assert rules.task_routing == {"a": ("Chief Architect",), "b": ("Gophers",)}
    assert rules.groups == {"Gophers": ("Chief Architect",)}
    assert (rules.max_concurrent_agents, rules.parallel_execution) == (2, True)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('[taskRouting]\n\na = "Go Expert"', 3, "'a' names 'Go Expert', which is not there"),
        ('[taskRouting]\na = [\n"Gophers",\n"No"]', 4, "'a' names 'No', which is not there"),
        ("[taskRouting]\na = 1", 2, "'a' must be a name or a list of names"),
        ("[taskRouting]\na = []", 2, "'a' must be a name or a list of names"),  # goes to nobody
        ('[taskRouting]\na = ["Gophers", 1]', 2, "'a' must be a name or a list of names"),
        ('[taskRouting]\n"" = "Gophers"', 1, "a key must be 1 to 64 printable characters"),
        (f'[groups]\n{"x" * 65} = "Go"', 2, "a key must be 1 to 64 printable characters"),
        ('taskRouting = "x"', 1, "'taskRouting' must be a table"),
        ('[groups]\nx = ["Gophers"]', 2, "'x' names 'Gophers', which is not there"),  # no nesting
        ("[coordination]\nparallelExecution = 1", 2, "'parallelExecution' must be true or false"),
        ("[coordination]\nmaxConcurrentAgents = 0", 2, "'maxConcurrentAgents' must be a whole"),
        ("[coordination]\nmaxConcurrentAgents = true", 2, "'maxConcurrentAgents' must be a whole"),
        ("[coordination]\nmaxAgents = 1", 2, "unknown key 'maxAgents', did you mean"),
        ("[taskRoutes]\na = 1", 1, "unknown table 'taskRoutes', did you mean 'taskRouting'?"),
        ("[taskRouting", 1, "is not TOML"),
    ],
)
def test_wrong_key_is_a_problem_and_leaves_what_was(text: str, line: int, reason: str) -> None:
    rules, problems = parse_rules(text)

    assert rules == BASE
    assert [at for at, _ in problems] == [line]
    assert problems[0][1].startswith(reason)


def test_good_keys_beside_a_wrong_one_count() -> None:
    rules, problems = parse_rules('[taskRouting]\na = "Nobody"\nc = "Gophers"\n')

    assert len(problems) == 1
    assert rules.task_routing == {**BASE.task_routing, "c": ("Gophers",)}


def test_many_wrong_keys_are_cut_and_the_good_one_after_them_counts() -> None:
    wrong = "".join(f'k{n} = ["nobody", "no one"]\n' for n in range(MAX_SHOWN))
    rules, problems = parse_rules(f'[taskRouting]\n{wrong}c = "Gophers"\n')

    assert len(problems) == MAX_SHOWN
    assert rules.task_routing == {**BASE.task_routing, "c": ("Gophers",)}


def test_renaming_follows_groups_and_drops_what_is_left_empty() -> None:
    kept = BASE.renamed({"Go Specialist": "Gopher"}.get)
    emptied = BASE.renamed(lambda _: None)

    assert kept.task_routing == {"a": ("Gopher",), "b": ("Gophers",)}
    assert kept.groups == {"Gophers": ("Gopher",)}
    assert (emptied.task_routing, emptied.groups) == ({}, {})


# What tells a task.


def test_patterns_are_read_for_kinds_groups_and_agents() -> None:
    text = """\
[taskRouting]
review = "Chief Architect"
[taskPatterns]
review = 'my diff'
gophers = ['goroutine', 'chan(nel)?']
"go-specialist" = '\\bgo\\b'
"""
    rules, problems = parse_rules(text)

    assert problems == []
    assert {key: [one.pattern for one in told] for key, told in rules.task_patterns.items()} == {
        "review": ["my diff"],
        "Gophers": ["goroutine", "chan(nel)?"],
        "Go Specialist": [r"\bgo\b"],
    }
    assert rules.task_patterns["review"][0].search("Look at MY DIFF")


def test_later_file_overrides_patterns_by_key_and_takes_them_away() -> None:
    base, _ = parse_rules("[taskPatterns]\na = 'one'\nb = 'two'\n")
    rules, problems = parse_rules("[taskPatterns]\na = []\nGophers = 'three'\n", base)

    assert problems == []
    assert {key: len(told) for key, told in rules.task_patterns.items()} == {
        "a": 0,
        "b": 1,
        "Gophers": 1,
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a = '('", "'a' has the pattern '(', which cannot be used: missing ), unterminated"),
        ("a = 'x*'", "'a' has the pattern 'x*', which cannot be used: fits any task"),
        ("a = ''", "'a' has the pattern '', which cannot be used: fits any task"),
        (
            f"a = '{'x' * 501}'",
            f"'a' has the pattern '{'x' * 64}', which cannot be used: is longer",
        ),
        ("a = 1", "'a' must be a pattern or a list of patterns"),
        ("a = [1]", "'a' must be a pattern or a list of patterns"),
        ("Gofers = 'x'", "'Gofers' is no kind of task, group or agent, did you mean 'Gophers'?"),
    ],
)
def test_pattern_that_cannot_be_used_is_refused_and_the_rest_serves(line: str, reason: str) -> None:
    rules, problems = parse_rules(f"[taskPatterns]\n{line}\nb = 'good'\n")

    assert [number for number, _ in problems] == [2]
    assert problems[0][1].startswith(reason)
    assert list(rules.task_patterns) == ["b"]


def test_patterns_go_with_what_they_name() -> None:
    text = "[taskPatterns]\na = 'x'\nb = 'y'\nGophers = 'z'\n'Chief Architect' = 'w'\n"
    rules, _ = parse_rules(text)
    without = rules.renamed(lambda name: None if name == "Go Specialist" else name)
    other = rules.renamed(lambda name: "Lead" if name == "Chief Architect" else name)

    assert list(without.task_patterns) == ["Chief Architect"]
    assert set(other.task_patterns) == {"a", "b", "Gophers", "Lead"}
