# SPDX-License-Identifier: Apache-2.0
"""Completion as the package installs it, in the shells themselves."""

import pytest

from tests.machine.machine import Machine

TYPED = "cco daemon sto\t\x01echo got \nexit\n"
"""A part of a word and the tabulator, then the line's begin, where it becomes another command."""


@pytest.mark.parametrize(
    ("shell", "prepare"),
    [
        ("bash --norc -i", "source /usr/share/bash-completion/bash_completion"),
        ("zsh -f -i", "autoload -U compinit; compinit -u -D"),
    ],
    ids=["bash", "zsh"],
)
def test_tabulator_completes_a_command(machine: Machine, shell: str, prepare: str) -> None:
    terminal = ["script", "--quiet", "--command", shell, "/dev/null"]
    typed = f"{prepare}\n{TYPED}"
    done = machine.run(terminal, stdin=typed, environment={"TERM": "dumb"})
    assert "\ngot cco daemon stop" in done.stdout.replace("\r", ""), done.stdout


def test_fish_offers_commands_with_what_they_do(machine: Machine) -> None:
    done = machine.run(["fish", "--command", 'complete -C "cco daemon sto"'], check=True)
    assert done.stdout == "stop\tstop it, sockets and mount too\n"
