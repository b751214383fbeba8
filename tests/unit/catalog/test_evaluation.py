# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from cco.catalog.evaluation import Task, load
from cco.catalog.loader import BUILTIN
from cco.errors import ConfigError


def test_tasks_are_read(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.toml"
    file.write_text("[[task]]\nagent = 'a'\ntask = 'Do it'\nmust_contain = ['x', 'y', 'z']\n")

    assert load(file) == (Task("a", "Do it", ("x", "y", "z")),)


def test_every_agent_of_ours_has_three_things_to_say() -> None:
    tasks = load(BUILTIN / "evaluation.toml")

    assert len(tasks) == 119
    assert {len(task.must_contain) for task in tasks} == {3}


@pytest.mark.parametrize("text", ["", "x", "[[task]]\nagent = 'a'\n", "task = 1\n", "task = [1]\n"])
def test_file_without_tasks_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "evaluation.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)

    assert caught.value.code == "evaluation-invalid"
    assert str(file) in caught.value.message


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path / "gone.toml")
