# SPDX-License-Identifier: Apache-2.0
"""`cco completion`: what a shell needs to complete our command lines; pure but for `run`.

The scripts are rendered from the parser and ask nobody: completing starts no program. (Debian 12's
shtab knows no fish, and its argcomplete no zsh of its own and starts Python at every key.) Each
finds out which command it is in by the words so far, then offers the words that may follow, or
files where it knows of none.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cco.cli.parser import build_parser

FILES: Final = ("FILE", "PATH")
"""What a value is called that is completed by the names of files."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command."""

    flags: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...]
    """What the value may be; empty for anything."""
    is_path: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and what may follow it."""

    place: str
    """Its words, with slashes between them: ``cco/daemon/logs``."""
    words: tuple[tuple[str, str], ...]
    """Words that may follow, each with what it is for."""
    options: tuple[Option, ...]


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print the script of a shell."""
    del environ
    print(render(arguments.shell), end="")
    return os.EX_OK


def render(shell: str) -> str:
    """Return the script for a shell of `SHELLS`."""
    commands = list(walk(build_parser(), "cco"))
    return SHELLS[shell](commands)


def walk(parser: argparse.ArgumentParser, place: str) -> Iterator[Command]:
    """Yield a parser's command and those below it."""
    words: list[tuple[str, str]] = []
    options: list[Option] = []
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            below = action.choices
            told = {one.dest: _help(one) for one in action._choices_actions}  # noqa: SLF001
            words += [(name, told.get(name, "")) for name in below]
        elif action.option_strings:
            options.append(_option(action))
        else:
            words += [(str(one), "") for one in action.choices or ()]
    yield Command(place, tuple(words), tuple(options))
    for name, child in below.items():
        yield from walk(child, f"{place}/{name}")


def _option(action: argparse.Action) -> Option:
    return Option(
        flags=tuple(action.option_strings),
        help=_help(action),
        takes_value=action.nargs != 0,
        values=tuple(str(one) for one in action.choices or ()),
        is_path=action.metavar in FILES,
    )


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def _bash(commands: list[Command]) -> str:
    def value(option: Option) -> str:
        # Where nothing is offered, bash completes the names of files.
        return f"words='{' '.join(option.values)}'" if option.values else "return"

    def words(one: Command) -> str:
        offered = [name for name, _ in one.words]
        offered += [flag for option in one.options for flag in option.flags]
        return f"words='{' '.join(offered)}'"

    return f"""\
# bash completion for cco
_cco() {{
    local place=cco words='' word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$place/$word" in
            */--) return ;; # the rest is Claude Code's
            {_places(commands)}) place+=/$word ;;
        esac
    done
    case "$place ${{COMP_WORDS[COMP_CWORD - 1]}}" in
        {_cases(commands, value, words)}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}")
}}
complete -o default -F _cco cco
"""


def _zsh(commands: list[Command]) -> str:
    def value(option: Option) -> str:
        if option.values:
            return f"found=({' '.join(map(_quoted, option.values))})"
        return f"{'_files' if option.is_path else ':'}; return"

    def words(one: Command) -> str:
        offered = [_described(name, told) for name, told in one.words]
        offered += [
            _described(flag, option.help) for option in one.options for flag in option.flags
        ]
        return f"found=({' '.join(offered)})"

    return f"""\
#compdef cco
_cco() {{
    local place=cco word
    local -a found
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case "$place/$word" in
            */--) _files; return ;; # the rest is Claude Code's
            {_places(commands)}) place+=/$word ;;
        esac
    done
    case "$place ${{words[CURRENT-1]}}" in
        {_cases(commands, value, words)}
    esac
    _describe word found || _files
}}
if [[ $funcstack[1] == _cco ]]; then
    _cco "$@"
else
    compdef _cco cco
fi
"""


def _places(commands: list[Command]) -> str:
    return "|".join(one.place for one in commands[1:])


def _cases(
    commands: list[Command], value: Callable[[Option], str], words: Callable[[Command], str]
) -> str:
    """Return the cases of bash and zsh: behind an option its value, else what may follow."""
    lines = []
    for one in commands:
        for option in one.options:
            if option.takes_value:
                pattern = "|".join(f"'{one.place} {flag}'" for flag in option.flags)
                lines.append(f"{pattern}) {value(option)} ;;")
    lines += [f"'{one.place} '*) {words(one)} ;;" for one in commands]
    return "\n        ".join(lines)


def _fish(commands: list[Command]) -> str:
    places = " ".join(one.place for one in commands[1:])
    lines = []
    for one in commands:
        at = f"complete -c cco -n '__cco_at {one.place}'"
        lines += [f"{at} -a {_quoted(name)} -d {_quoted(told)}" for name, told in one.words]
        for option in one.options:
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in option.flags
            )
            value = ""
            if option.values:
                value = f" -x -a {_quoted(' '.join(option.values))}"
            elif option.takes_value:
                value = " -r -F" if option.is_path else " -x"
            lines.append(f"{at} {flags}{value} -d {_quoted(option.help)}")
    body = "\n".join(lines)
    return f"""\
# fish completion for cco
function __cco_at -d 'Say whether the words so far are those of a command'
    set -l place cco
    for word in (commandline -opc)[2..-1]
        switch "$place/$word"
            case '*/--' # the rest is Claude Code's
                return 1
            case {places}
                set place "$place/$word"
        end
    end
    test "$place" = "$argv[1]"
end
{body}
"""


def _described(name: str, told: str) -> str:
    escaped = name.replace(":", "\\:")
    return _quoted(f"{escaped}:{told}" if told else escaped)


def _quoted(text: str) -> str:
    """Return a text as one word of any of the shells."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: Final[Mapping[str, Callable[[list[Command]], str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
