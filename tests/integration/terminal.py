# SPDX-License-Identifier: Apache-2.0
"""A terminal that a program runs in, driven by keys and looked at as text, through tmux."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.mounting import wait_until


class Terminal:
    """A terminal of its own server; make it with `terminal`."""

    def __init__(self, socket: Path, environ: Mapping[str, str], directory: Path) -> None:
        self._command = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        self._environ = dict(environ)
        self._directory = directory

    def tmux(self, *words: str, check: bool = True) -> str:
        """Run a command of tmux's and return what it prints."""
        return subprocess.run(
            [*self._command, *words],
            env=self._environ,
            cwd=self._directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=check,
        ).stdout

    def screen(self) -> str:
        """Return all that was shown so far, what has scrolled away included; empty at its end."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", check=False)

    def visible(self, *, styled: bool = False) -> list[str]:
        """Return the lines that are in sight, with the escape sequences of their colours or not."""
        more = ["-e"] if styled else []
        shown = self.tmux("capture-pane", "-p", *more, check=False)
        return shown.removesuffix("\n").split("\n")

    def press(self, *keys: str) -> None:
        """Press keys, by the names that tmux gives them."""
        self.tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, text: str, *, count: int = 1) -> str:
        """Return the screen as soon as it shows a text so many times."""
        try:
            wait_until(lambda: self.screen().count(text) >= count, f"the screen shows {text!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None
        return self.screen()

    def enter(self, line: str) -> None:
        """Type a line, wait until it is shown, and press Enter."""
        before = self.screen().count(line)
        self.tmux("send-keys", "-l", line)
        self.wait_for(line, count=before + 1)
        self.tmux("send-keys", "Enter")

    def has_ended(self) -> bool:
        """Say whether the program has ended."""
        return not self.tmux("list-panes", check=False)


@contextmanager
def terminal(
    command: Sequence[str],
    *,
    socket: Path,
    environ: Mapping[str, str],
    directory: Path,
    columns: int = 150,
    rows: int = 50,
) -> Iterator[Terminal]:
    """Run a program in a terminal; it is killed if it has not ended by itself."""
    made = Terminal(socket, environ, directory)
    made.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), "--", *command)
    try:
        yield made
    finally:
        made.tmux("kill-server", check=False)
        # The next terminal of this name is not to meet a server that is on its way out.
        socket.unlink(missing_ok=True)
