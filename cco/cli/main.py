# SPDX-License-Identifier: Apache-2.0
"""Decides whose command it is, runs it, and turns errors into exit statuses, here only."""

import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from cco.cli.output import show_error
from cco.cli.parser import COMMANDS, build_parser, help_text, next_words
from cco.errors import (
    BudgetExceeded,
    CcoError,
    ConfigError,
    Denied,
    LaunchError,
    NotFound,
    RequestError,
    SealError,
    StoreError,
    Unavailable,
    UpstreamError,
    UpstreamTimeout,
)

EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
OWN_PATHS: Final = ("CCO_CLAUDE", "CCO_CONFIG", "CCO_RUNTIME_DIR")

MODULES: Final = frozenset(
    {
        "completion",
        "daemon",
        "demo",
        "doctor",
        "export",
        "invoke",
        "knowledge",
        "route",
        "run",
        "stats",
        "statusline",
        "tui",
        "version",
    }
)
"""Commands that have a module of their own; the others share `commands`."""
VERBS: Final[Mapping[tuple[str, str], str]] = {("agents", "eval"): "evaluation"}
"""Modules of verbs that have one of their own."""

STATUS: Final[Mapping[type[CcoError], int]] = {
    NotFound: os.EX_NOINPUT,
    RequestError: os.EX_DATAERR,
    ConfigError: os.EX_CONFIG,
    Denied: os.EX_NOPERM,
    BudgetExceeded: os.EX_TEMPFAIL,
    UpstreamTimeout: os.EX_TEMPFAIL,
    UpstreamError: os.EX_UNAVAILABLE,
    StoreError: os.EX_IOERR,
    SealError: os.EX_DATAERR,
    Unavailable: os.EX_UNAVAILABLE,
    LaunchError: EXIT_NOT_EXECUTABLE,
}
"""Exit status of each error, the most particular class first."""

FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk says that takes no more."""

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "claude-missing": EXIT_NOT_FOUND,
    "claude-too-old": os.EX_UNAVAILABLE,
    "no-such-directory": os.EX_NOINPUT,
}


def entry() -> None:
    """Run the command line of this process; the one place that ends it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what the locale cannot say
    sys.exit(main(sys.argv[1:], os.environ))


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one command line; return the exit status."""
    try:
        try:
            return _dispatch(list(argv), _absolute(environ))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has gone is no error
    except CcoError as error:
        show_error(error)
        return status_of(error)
    except BrokenPipeError:
        _drop_output()
        return os.EX_OK
    except OSError as exc:
        if exc.errno not in FULL or exc.filename is not None:
            raise
        _drop_output()
        full = StoreError(
            "output-unwritable",
            f"what is to be shown cannot be written ({exc.strerror})",
            hint="Make room on the disk, or write it elsewhere",
        )
        show_error(full)
        return status_of(full)
    except KeyboardInterrupt:
        return 130


def _drop_output() -> None:
    """Let what is not written yet go nowhere, or Python tries again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def status_of(error: CcoError) -> int:
    """Return the exit status that stands for an error."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def _absolute(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with our own paths as they are from any directory.

    `cco run --project` enters another one, and the daemon lives in the root.
    """
    ours = {name: environ[name] for name in OWN_PATHS if environ.get(name)}
    return {**environ, **{name: os.path.abspath(path) for name, path in ours.items()}}  # noqa: PTH100


def _dispatch(argv: list[str], environ: Mapping[str, str]) -> int:
    if argv == ["statusline"]:  # at once: it runs after every answer, and shall not be felt
        from cco.cli import statusline

        return statusline.run(None, environ)
    if argv and (argv[0] in COMMANDS or argv[0] in ("-h", "--help")):
        if argv[0] == "help" and argv[1:2] not in (["-h"], ["--help"]):
            return _help(argv[1:])
        if argv[0] == "run":
            argv = _guard_run(argv)
        elif len(argv) > 1 and _is_slip_of_verb(argv[0], argv[1]):
            return 2
        return _own(argv, environ)
    if len(argv) == 1 and (meant := _slip(argv[0], COMMANDS)):
        print(f"cco: unknown command '{argv[0]}'; did you mean '{meant}'?", file=sys.stderr)
        print(f"     To give it to Claude Code: cco -- {argv[0]}", file=sys.stderr)
        return 2
    from cco.cli import run

    return run.launch(argv[1:] if argv[:1] == ["--"] else argv, environ)


def _own(argv: list[str], environ: Mapping[str, str]) -> int:
    arguments = build_parser().parse_args(argv)
    name = arguments.command if arguments.command in MODULES else "commands"
    name = VERBS.get((arguments.command, getattr(arguments, "verb", "")), name)
    module = importlib.import_module(f"cco.cli.{name}")  # of the others none is loaded
    return int(module.run(arguments, environ))


def _help(words: Sequence[str]) -> int:
    """Show the help of CCO, or of a command and its verb."""
    if text := help_text(*words):
        print(text, end="")
        return os.EX_OK
    meant = _slip(words[0], COMMANDS) if words[0] not in COMMANDS else None
    suggestion = f"; did you mean '{meant}'?" if meant else ""
    print(f"cco: there is no command '{' '.join(words)}'{suggestion}", file=sys.stderr)
    print("     See them all: cco help", file=sys.stderr)
    return 2


def _is_slip_of_verb(command: str, word: str) -> bool:
    """Say, also to the user, whether `word` is a slip of what may follow a command."""
    known = next_words(command)
    if not known or word in known or word.startswith("-"):
        return False
    meant = _slip(word, known)
    if meant is None:
        return False  # argparse lists what there is
    print(f"cco: '{command}' has no '{word}'; did you mean '{meant}'?", file=sys.stderr)
    print(f"     Run: cco {command} {meant}", file=sys.stderr)
    return True


def _guard_run(argv: list[str]) -> list[str]:
    """Put ``--`` before the first word of `cco run` that is Claude Code's, if there is none."""
    at = 1
    while at < len(argv) and argv[at] != "--":
        word = argv[at]
        if word in ("--dry-run", "--direct", "-h", "--help") or word.startswith(
            ("--project=", "--agents=")
        ):
            at += 1
        elif word in ("--project", "--agents"):
            at += 2
        else:
            return [*argv[:at], "--", *argv[at:]]
    return argv


def _slip(word: str, names: Sequence[str]) -> str | None:
    """Return the command that `word` is within two edits of, if it looks like a slip."""
    if not word.isalpha() or len(word) < 3:
        return None
    near = [(edits(word, name), name) for name in names]
    distance, name = min(near)
    return name if distance <= 2 and distance < len(word) - 1 else None


def edits(one: str, other: str) -> int:
    """Return how many letters must be added, dropped, changed or swapped with a neighbour."""
    rows = [list(range(len(other) + 1))]
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
