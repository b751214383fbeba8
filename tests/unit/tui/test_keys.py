# SPDX-License-Identifier: Apache-2.0
"""The table of keys: complete, without two meanings for one key."""

from cco.tui.keys import BINDINGS, BY_KEY, Command, hints


def test_every_key_means_one_thing() -> None:
    keys = [key for binding in BINDINGS for key in binding.keys]
    assert len(keys) == len(set(keys))


def test_every_command_has_a_key() -> None:
    assert {binding.command for binding in BINDINGS} == set(Command)


def test_keys_that_people_know_do_what_they_know() -> None:
    expected = {
        "?": Command.HELP,
        "h": Command.HELP,
        "q": Command.BACK,
        "1": Command.VIEW,
        "7": Command.VIEW,
        "tab": Command.NEXT,
        "j": Command.DOWN,
        "k": Command.UP,
        "g": Command.FIRST,
        "G": Command.LAST,
        "page up": Command.PAGE_UP,
        "/": Command.FILTER,
        "s": Command.SORT,
        "r": Command.REFRESH,
        "p": Command.PAUSE,
        "+": Command.SLOWER,
        "-": Command.FASTER,
        "c": Command.CLEAR,
        "d": Command.DETAILS,
        "enter": Command.DETAILS,
        "e": Command.EXPORT,
    }
    assert {key: BY_KEY[key] for key in expected} == expected


def test_words_fit_into_the_help_of_the_smallest_terminal() -> None:
    for binding in BINDINGS:
        assert len(binding.shown) <= 8, binding
        assert len(binding.words) <= 28, binding


def test_hints_begin_with_help_and_the_way_out() -> None:
    assert [command for _, _, command in hints()][:2] == [Command.HELP, Command.BACK]
    assert ("⏎", "details", Command.DETAILS) in hints()
